/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Which process this is, told without a system call on the data path. */

#include "base/atomic.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In a page that the kernel wipes in a forked child; NULL before the first use. */
extern uint32_t *process_word;
uint32_t process_self_slow(void);

/* A number unlike that of any process this one was forked from; never 0. Two loads, but for a process's first call. Sees fork
 * and any clone without CLONE_VM alike, as the kernel wipes the word (MADV_WIPEONFORK, Linux 4.14). */
static inline uint32_t process_self(void) {
    uint32_t *word = load_acquire(&process_word); /* pairs with word_make */
    uint32_t self = __builtin_expect(word != NULL, 1) ? load_relaxed(word) : 0;
    return __builtin_expect(self != 0, 1) ? self : process_self_slow();
}

/* Is this process the one that process_self() said that number in? Two loads and no call. */
static inline bool process_is(uint32_t self) {
    uint32_t *word = load_acquire(&process_word); /* pairs with word_make */
    return __builtin_expect(word != NULL && load_relaxed(word) == self, 1);
}

/* Can this thread and process `pid` run on two CPUs at once, as their affinities stand? 1; 0: both may use the same single
 * CPU only; -1: not known (no such pid, or pid is not positive). Two system calls. */
int process_apart(pid_t pid);

/* The CPU this thread runs on, or -1. */
int process_cpu(void);
