/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Waiting for another version: spin, then sleep on the published word itself, which a reader may even where it cannot write. What it
 * must write is the hint that somebody sleeps, so that the writer makes no system call for nobody. The hint may be lost to
 * whoever else writes it, and the writer may die between the value and the wake: so no sleep is long. */

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "shm/segment.h"
#include "sync/cell.h"

#include <errno.h>
#include <limits.h>

#define SLEEP_MOST_NS INT64_C(25000000) /* what was missed is had within 100 ms on a busy machine, too */
#define UNSURE_MOST_NS INT64_C(10000000) /* where the writer may not see the hint */
#define NAP_LEAST_NS INT64_C(50000)      /* where there is none ... */
#define NAP_MOST_NS INT64_C(10000000)
#define NAP_PART 8                       /* ... this part of the time waited so far */

/* The half of the published word that changes with each value. */
static uint32_t *futex_word(const struct hawser_cell *cell) {
    uint32_t *halves = (uint32_t *)(void *)cell->memory.published;
    return halves + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 1 : 0);
}

void cell_wake(struct hawser_cell *cell) {
    store_relaxed(cell->waiting, 0); /* before the wake: who says so again after it sees the value */
    sys_futex(futex_word(cell), FUTEX_WAKE, INT_MAX, NULL, 0);
}

/* Says that somebody sleeps, and makes the writer see it; how long a sleep may then be. */
static int64_t announce(struct hawser_cell *cell, int64_t waited_ns) {
    if (!cell->waiting) {
        int64_t nap_ns = waited_ns / NAP_PART;
        return nap_ns < NAP_LEAST_NS ? NAP_LEAST_NS : nap_ns < NAP_MOST_NS ? nap_ns : NAP_MOST_NS;
    }
    store_relaxed(cell->waiting, 1);
    fence_seq_cst(); /* pairs with cell_tell */
    bool sure = (barrier_prepare() & SHM_BARRIER_ISSUES) && barrier_heavy() == 0;
    return sure ? SLEEP_MOST_NS : UNSURE_MOST_NS;
}

/* Sleeps while the published word is this one; may end for nothing. */
static void sleep_on(struct hawser_cell *cell, uint64_t published, int64_t began_ns, int64_t deadline) {
    int64_t now = clock_now(), most_ns = announce(cell, now - began_ns);
    if (load_relaxed(cell->memory.published) != published)
        return;
    if (deadline != DEADLINE_NEVER && deadline - now < most_ns)
        most_ns = deadline - now;
    struct timespec timeout = { .tv_nsec = most_ns > 0 ? (long)most_ns : 0 };
    sys_futex(futex_word(cell), FUTEX_WAIT, (uint32_t)published, &timeout, 0); /* EINTR, EAGAIN, ETIMEDOUT: look again */
}

/* A spin pays where the writer runs on another CPU. */
static void place(struct hawser_cell *cell) {
    pid_t pid = 0;
    if (object_holder(cell->object, load_relaxed(cell->writer_slot), &pid) < 0)
        pid = 0;
    ladder_place(&cell->ladder, process_apart(pid));
}

static int wait_on(struct hawser_cell *cell, uint64_t version, int64_t deadline, uint64_t *ret_published) {
    uint64_t published;
    int64_t began_ns = 0;
    if (ladder_unplaced(&cell->ladder))
        place(cell);
    ladder_begin(&cell->ladder, false);
    while (cell_version_of(published = load_acquire(cell->memory.published)) == version) { /* pairs with cell_memory_publish, cell_publish_small */
        enum ladder_step step = ladder_next(&cell->ladder, deadline);
        if (step == LADDER_EXPIRED)
            return error_note(-ETIMEDOUT, "wait for a cell: no other value was set within the timeout");
        if (step != LADDER_SLEEP)
            continue;
        began_ns = began_ns ? began_ns : clock_now();
        sleep_on(cell, published, began_ns, deadline);
    }
    ladder_end(&cell->ladder, began_ns != 0);
    *ret_published = published;
    return 0;
}

HAWSER_PUBLIC int hawser_cell_wait(hawser_cell *cell, uint64_t version, int64_t timeout, uint64_t *ret_version) {
    if (!cell || timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, "wait for a cell: the cell is NULL, or the timeout negative");
    int r = cell_enter(cell);
    if (r < 0)
        return r;
    uint64_t published = load_acquire(cell->memory.published); /* pairs with cell_memory_publish, cell_publish_small */
    if (cell_version_of(published) == version) {
        if (timeout == HAWSER_NOW)
            return error_note(-EAGAIN, "wait for a cell: no other value was set yet");
        r = wait_on(cell, version, deadline_after(timeout), &published);
    }
    if (r == 0 && ret_version)
        *ret_version = cell_version_of(published);
    return r;
}
