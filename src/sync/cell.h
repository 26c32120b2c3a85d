/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A handle of a cell. What it points to belongs to the object, but for the page of `waiting` and `writer_slot`, which is a map of its
 * own where the object's is read-only. The writer's part (writer, begun) is used by one thread; the ladder by the one that waits. */

#include "base/process.h"
#include "sync/cell_memory.h"
#include "sync/object.h"
#include "wait/ladder.h"

#include <hawser/cell.h>

struct hawser_cell {
    struct cell_memory memory;
    struct object *object;
    uint32_t *waiting;    /* NULL: this process can only read, so it cannot ask to be woken */
    uint32_t *writer_slot; /* may be read only where waiting is NULL */
    void *page_map;       /* NULL: they lie in the object's */
    uint32_t writer;      /* process_self() of the process that writes through this handle; 0: none */
    bool begun;           /* hawser_cell_begin() gave a place that was not published yet */
    bool registered;      /* the writer's process is, for membarrier: who is about to sleep makes it see that */
    struct ladder ladder; /* of who waits */
};

/* What this process keeps of a cell, in object->state. */
struct cell_state {
    uint32_t stale; /* our slot was a dead writer's, and this could not be noted where the map is read-only: cell_settle() does */
};

/* In a forked child, on its first call. */
int cell_join(struct hawser_cell *cell);

static inline int cell_enter(struct hawser_cell *cell) {
    return __builtin_expect(load_relaxed(&cell->object->process) == process_self(), 1) ? 0 : cell_join(cell);
}

/* Somebody sleeps, or did a moment ago: wakes all. */
void cell_wake(struct hawser_cell *cell);

/* After each value: one load, where nobody waits. */
static inline void cell_tell(struct hawser_cell *cell) {
    if (__builtin_expect(!cell->registered, 0))
        fence_seq_cst(); /* pairs with announce: either we see that somebody waits, or he sees the value */
    else
        fence_compiler(); /* pairs with announce: its membarrier makes this a full one */
    if (__builtin_expect(load_relaxed(cell->waiting) != 0, 0))
        cell_wake(cell);
}
