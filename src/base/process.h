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

/* Can this thread and process `pid` run on two CPUs at once, as their affinities stand? 1; 0: both may use the same single
 * CPU only; -1: not known (no such pid, or pid is not positive). Two system calls. */
int process_apart(pid_t pid);

/* The CPU this thread runs on, or -1. */
int process_cpu(void);
