/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Which process this is, told without a system call on the data path. */

#include <stdbool.h>
#include <stdint.h>

/* A number unlike that of any process this one was forked from; never 0. One load, but for a process's first
 * call. Sees fork, vfork-less clone and _Fork alike, as the kernel wipes the word (MADV_WIPEONFORK, Linux 4.14). */
uint32_t process_self(void);

/* How many CPUs this thread may run on, at least 1. A system call. */
unsigned process_cpus(void);

/* The CPU this thread runs on, or -1 where only a system call could tell. */
int process_cpu(void);
