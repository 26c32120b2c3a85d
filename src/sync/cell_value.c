/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Setting and getting: what is done a million times a second. No call here waits or allocates. */

#include "base/error.h"
#include "sync/cell.h"

#include <errno.h>

static int refuse_set(const struct hawser_cell *cell, const void *data, size_t size) {
    if (!cell || (!data && size > 0))
        return error_note(-EINVAL, "set a cell: an argument is NULL");
    if (cell->writer == 0)
        return error_note(-EPERM, "set a cell: it was opened to be read; its one writer is who calls hawser_cell_create()");
    if (cell->writer != process_self())
        return error_note(-EPERM, "set a cell: its writer is the process that made it, not one forked from it");
    return error_set(-EMSGSIZE, "set a cell: the value has %zu bytes, the cell room for %zu", size, cell->memory.size);
}

static inline bool may_set(const struct hawser_cell *cell) {
    return __builtin_expect(cell && cell->writer == process_self(), 1); /* which is never 0 */
}

HAWSER_PUBLIC int hawser_cell_set(hawser_cell *cell, const void *data, size_t size) {
    if (!may_set(cell) || size > cell->memory.size || (!data && size > 0))
        return refuse_set(cell, data, size);
    cell_memory_set(&cell->memory, data, size);
    cell->begun = false;
    cell_tell(cell);
    return 0;
}

HAWSER_PUBLIC int hawser_cell_begin(hawser_cell *cell, void **ret_data) {
    if (!may_set(cell) || !ret_data)
        return refuse_set(ret_data ? cell : NULL, "", 0);
    cell->begun = true;
    *ret_data = cell_memory_begin(&cell->memory);
    return 0;
}

HAWSER_PUBLIC int hawser_cell_publish(hawser_cell *cell, size_t size) {
    if (!may_set(cell) || size > cell->memory.size)
        return refuse_set(cell, "", size);
    if (!cell->begun)
        return error_note(-EINVAL, "publish a cell's value: none was begun");
    cell->begun = false;
    cell_memory_publish(&cell->memory, size);
    cell_tell(cell);
    return 0;
}

static int refuse_get(const struct hawser_cell *cell, const void *output) {
    if (!cell || !output)
        return error_note(-EINVAL, "read a cell: an argument is NULL");
    return error_note(-ENODATA, "read a cell: no value was set yet");
}

static inline int got(const struct cell_view *view, size_t *ret_size, uint64_t *ret_version) {
    if (ret_size)
        *ret_size = view->size;
    if (ret_version)
        *ret_version = cell_version_of(view->published);
    return 0;
}

static __attribute__((noinline)) int get_slowly(hawser_cell *cell, void *buffer, size_t capacity, size_t *ret_size,
                                                uint64_t *ret_version) {
    struct cell_view view;
    if (!cell || (!buffer && capacity > 0))
        return refuse_get(cell, buffer);
    int r = cell_enter(cell);
    if (r < 0)
        return r;
    do {
        if (!cell_memory_look(&cell->memory, &view))
            return refuse_get(cell, "");
        if (view.size <= capacity)
            cell_load(buffer, view.data, view.size);
    } while (!cell_memory_intact(&cell->memory, &view));
    if (view.size > capacity && ret_size)
        *ret_size = view.size;
    if (view.size > capacity)
        return error_set(-EMSGSIZE, "read a cell: the value has %zu bytes, the buffer %zu", view.size, capacity);
    return got(&view, ret_size, ret_version);
}

/* Where values are short the first try makes no call, which would cost as much as fetching one. */
static __attribute__((noinline)) int get_short(hawser_cell *cell, void *buffer, size_t capacity, size_t *ret_size,
                                               uint64_t *ret_version) {
    struct cell_view view;
    const struct cell_memory memory = cell->memory; /* which no store to the buffer can change */
    bool there = cell_memory_look(&memory, &view) && view.size <= capacity;
    if (__builtin_expect(there, 1))
        cell_load_short(buffer, view.data, view.size);
    if (__builtin_expect(!there || !cell_memory_intact(&memory, &view), 0))
        return get_slowly(cell, buffer, capacity, ret_size, ret_version);
    return got(&view, ret_size, ret_version);
}

HAWSER_PUBLIC int hawser_cell_get(hawser_cell *cell, void *buffer, size_t capacity, size_t *ret_size, uint64_t *ret_version) {
    struct cell_view view;
    uint64_t value;
    if (__builtin_expect(!cell || !buffer || !process_is(load_relaxed(&cell->object->process)), 0))
        return get_slowly(cell, buffer, capacity, ret_size, ret_version);
    if (cell->memory.pairs && cell_get_pair(&cell->memory, &view, &value) && view.size <= capacity) {
        cell_spill(buffer, value, view.size);
        return got(&view, ret_size, ret_version);
    }
    return (cell->memory.size <= CELL_SHORT ? get_short : get_slowly)(cell, buffer, capacity, ret_size, ret_version);
}

HAWSER_PUBLIC int hawser_cell_look(hawser_cell *cell, hawser_cell_view *ret_view) {
    struct cell_view view;
    if (!cell || !ret_view)
        return refuse_get(cell, ret_view);
    int r = cell_enter(cell);
    if (r < 0)
        return r;
    do {
        if (!cell_memory_look(&cell->memory, &view))
            return refuse_get(cell, "");
    } while (!cell_memory_intact(&cell->memory, &view)); /* so that its size is its own */
    *ret_view = (hawser_cell_view){ view.data, view.size, cell_version_of(view.published), view.published };
    return 0;
}

HAWSER_PUBLIC int hawser_cell_intact(hawser_cell *cell, const hawser_cell_view *view) {
    if (!cell || !view)
        return refuse_get(cell, view);
    struct cell_view seen = { .published = view->internal };
    return cell_memory_intact(&cell->memory, &seen);
}
