/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Drepper's "Futexes Are Tricky", section 6, mutex 3: a holder wakes somebody only when the word says that
 * somebody waits. */

#include "base/lock.h"

#include "base/sys.h"


void lock_contended(struct lock *lock) {
    for (int i = 0; i < 100; i++) {
        uint32_t free = 0;
        /* pairs with lock_release */
        if (load_relaxed(&lock->word) == 0 && compare_exchange(&lock->word, &free, 1))
            return;
        cpu_pause();
    }
    while (exchange_acquire(&lock->word, 2) != 0) /* pairs with lock_release */
        sys_futex(&lock->word, FUTEX_WAIT | FUTEX_PRIVATE, 2, NULL, 0);
}

void lock_wake(struct lock *lock) { sys_futex(&lock->word, FUTEX_WAKE | FUTEX_PRIVATE, 1, NULL, 0); }
