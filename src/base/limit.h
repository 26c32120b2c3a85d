/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Limits of the running system, asked for when they are needed: they may change under us. */

#include <stdint.h>

/* The first number in a file of /proc/sys. An error leaves *ret_number alone and sets no sentence: there is always something
 * to be said without the number. */
int limit_read(const char *path, uint64_t *ret_number);
