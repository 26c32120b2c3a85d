/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Kills listeners at every system call's entry and exit, and so many random instructions; how many in all. settled is called
 * after one whole life, nothing_left after each kill. */
uint64_t kill_listeners(size_t random_points, void (*settled)(void), void (*nothing_left)(void));
