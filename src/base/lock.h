/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A lock between threads of ONE process, held for a bounded number of instructions and never over a sleep.
 * (Nothing in hawser locks across processes.) One word; 0 is unlocked. */

#include "base/atomic.h"

struct lock {
    uint32_t word; /* 0 free, 1 held, 2 held and wanted */
};

void lock_contended(struct lock *lock);
void lock_wake(struct lock *lock);

static inline void lock_acquire(struct lock *lock) {
    uint32_t free = 0;
    /* acquire: pairs with lock_release */
    if (__builtin_expect(!compare_exchange(&lock->word, &free, 1), 0))
        lock_contended(lock);
}

static inline void lock_release(struct lock *lock) {
    /* release: pairs with lock_acquire and lock_contended */
    if (__builtin_expect(exchange_release(&lock->word, 0) == 2, 0))
        lock_wake(lock);
}
