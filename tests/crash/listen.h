/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kills listeners at every system call's entry and exit, and so many random instructions; how many in all. */
uint64_t kill_listeners(size_t random_points);

/* What the driver counts (crash.c): that all is as it was when this was settled. Before that it counts nothing. */
void settled(bool now);
void nothing_left(void);
