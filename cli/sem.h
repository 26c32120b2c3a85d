/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* hawser sem --list; the exit code. */
int sem_list(void);
