/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Which process this is, told without a system call on the data path. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A number unlike that of any process this one was forked from; never 0. One load, but for a process's first
 * call. Sees fork, vfork-less clone and _Fork alike, as the kernel wipes the word (MADV_WIPEONFORK, Linux 4.14). */
uint32_t process_self(void);

/* How many CPUs this thread and the process `other` (0: nobody) may run on, taken together: at least 1. With 1, the two
 * never run at the same time. A system call or two. */
unsigned process_cpus(pid_t other);

/* The CPU this thread runs on, or -1 where only a system call could tell. */
int process_cpu(void);
