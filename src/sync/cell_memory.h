/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The memory of a cell, version 1: FROZEN. One process writes it, any number read it, without a lock and without a word of theirs.
 *
 * All integers are in the machine's byte order, of fixed width and aligned to their size.
 *
 *   offset size  BODY
 *        0    4  waiting: nonzero while a reader may sleep. A hint that readers write
 *       64    4  writer: slot of the process that writes, 0: none. The rest of the page is zero
 *     4096    8  published: the newest value's VERSION in bits 8-63 (0: none yet), its PLACE in bits 0-7
 *     4104   56  small cells, of up to 56 bytes: the first copy
 *     4168   56  small cells: the second copy
 *     4160       other cells: the buffers, each an odd number of lines of 64 bytes: the value, and in the last 8 bytes its size
 *
 *   a cell of     buffers  place, bits 0-7
 *   1 to 56 B              0: the value is in the first copy, 1: in the second; bits 1-6: its size; bit 7: 0
 *   to 4 KiB           32  which buffer
 *   to 64 KiB          16  the same
 *   larger              8  the same
 *
 * The writer may be killed between any two instructions: the last value that was published is whole, and stays so.
 *
 * A small cell's writer writes the second copy, publishes it, writes the first, and publishes that, with the same version. What a reader
 * copied is whole if `published` is still the same word. So all that a reader fetches, most of the time, is one cache line. Who succeeds a
 * writer that left the second copy published writes the first before all else.
 *
 * A value of up to 8 bytes lies beside the word. A processor that writes 16 bytes at once needs no second copy for it, one that reads so
 * needs no second look: both may be mixed with the above, as the first copy never changes while the word says that it is the value.
 *
 * In other cells values are written into the buffers in turn; then `published` is stored. A reader copies the buffer that it names and
 * then looks at it again: until all but one of the other buffers have been published since, the buffer was not begun again. Else it
 * copied a mixture, and starts over. There are many buffers where they are cheap, so that a reader seldom starts over, and an odd
 * number of lines in each, so that they do not lie on each other in a cache. */

#include "base/atomic.h"
#include "base/copy.h"

#include <stddef.h>

#define CELL_VERSION 1u
#define CELL_WAITING_OFFSET 0u
#define CELL_WRITER_OFFSET 64u
#define CELL_PAGE 4096u /* these two lie in one, which readers map to be written */
#define CELL_PUBLISHED_OFFSET 4096u
#define CELL_BUFFERS_OFFSET 4160u
#define CELL_SMALL_SIZE 56u
#define CELL_WORD 8u /* bytes of published, before a small value; and of a size, at the end of a buffer */
#define CELL_LINE 64u

/* How a cell of some size lies in its memory; and where. */
struct cell_memory {
    uint64_t *published;
    uint8_t *buffers;
    size_t size;   /* most bytes of a value */
    size_t stride; /* from one buffer to the next */
    uint32_t n;    /* buffers; 0: it is a small one */
    bool pairs;    /* a small one, and here the word and 8 bytes are read and written at once */
};

/* What a reader found: where the newest value lies, for as long as cell_memory_intact() says so. */
struct cell_view {
    const uint8_t *data;
    size_t size;
    uint64_t published;
};

/* Bytes of the body of a cell for values of up to size bytes, at least 1. */
uint64_t cell_memory_bytes(uint64_t size);

/* The same, laid over a body of so many bytes. */
void cell_memory_init(struct cell_memory *memory, void *body, uint64_t size);

static inline uint64_t cell_version_of(uint64_t published) { return published >> 8; }

#define CELL_SHORT 512u

/* Bytes that another process reads or writes meanwhile: whoever copied a mixture finds out afterwards. */
#ifdef __SANITIZE_THREAD__ /* which must see that this is meant; byte by byte, as nobody relies on more */
static inline void cell_store(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        store_relaxed((uint8_t *)to + i, ((const uint8_t *)from)[i]);
}

static inline void cell_load(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = load_relaxed((const uint8_t *)from + i);
}

static inline void cell_load_short(void *to, const void *from, size_t size) { cell_load(to, from, size); }
#else
static inline void cell_store(void *to, const void *from, size_t size) { copy_bytes(to, from, size); }
static inline void cell_load(void *to, const void *from, size_t size) { copy_bytes(to, from, size); }

/* At most CELL_SHORT bytes: never a call. Overlapping ends, as in copy_bytes(). */
static inline void cell_load_short(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (size == 8 || (size >= 16 && size <= 64)) {
        copy_bytes(t, f, size > 64 ? 64 : size);
    } else if (size > 64) {
        for (size_t done = 0; done + 64 < size; done += 64)
            copy_bytes(t + done, f + done, 64);
        copy_bytes(t + size - 64, f + size - 64, 64);
    } else if (size > 8) {
        memcpy(t, f, 8);
        memcpy(t + size - 8, f + size - 8, 8);
    } else if (size >= 4) {
        memcpy(t, f, 4);
        memcpy(t + size - 4, f + size - 4, 4);
    } else if (size > 0) {
        t[0] = f[0];
        t[size / 2] = f[size / 2];
        t[size - 1] = f[size - 1];
    }
}
#endif

static inline uint8_t *cell_first(const struct cell_memory *memory) { return (uint8_t *)memory->published + CELL_WORD; }
static inline uint8_t *cell_second(const struct cell_memory *memory) { return cell_first(memory) + CELL_LINE; }
static inline uint8_t *cell_buffer(const struct cell_memory *memory, uint32_t which) { return memory->buffers + which * memory->stride; }
static inline uint64_t *cell_size_of(const struct cell_memory *memory, const uint8_t *buffer) {
    return (uint64_t *)(uintptr_t)(buffer + memory->stride - CELL_WORD);
}

/* ---- The writer. One thread of one process. ---- */

/* The buffer for the next value. */
static inline uint32_t cell_next(const struct cell_memory *memory) {
    uint32_t next = ((uint32_t)load_relaxed(memory->published) & 255) + 1;
    return next >= memory->n ? 0 : next;
}

/* Where the next value is to be written; what lies there is an older one. Nobody looks at it before it is published. */
static inline void *cell_memory_begin(const struct cell_memory *memory) {
    fence_release(); /* pairs with cell_memory_intact: who sees a byte of the next value sees what was published before it began */
    return memory->n == 0 ? cell_second(memory) : cell_buffer(memory, cell_next(memory));
}

/* From the second copy, which `value` equals and which was just published as this word, to the first. */
static inline void cell_settle_small(const struct cell_memory *memory, uint64_t word, const void *value, size_t size) {
    fence_release(); /* pairs with cell_memory_intact: the same of the first copy */
    cell_store(cell_first(memory), value, size);
    store_release(memory->published, word & ~UINT64_C(1)); /* pairs with cell_memory_look */
}

static inline void cell_publish_small(const struct cell_memory *memory, const void *value, size_t size) {
    uint64_t word = (cell_version_of(load_relaxed(memory->published)) + 1) << 8 | size << 1 | 1;
    store_release(memory->published, word); /* pairs with cell_memory_look, wait_on, hawser_cell_wait */
    cell_settle_small(memory, word, value, size);
}

/* Publishes what was written there; size is at most that of the cell. */
static inline void cell_memory_publish(const struct cell_memory *memory, size_t size) {
    if (memory->n == 0) {
        cell_publish_small(memory, cell_second(memory), size);
        return;
    }
    uint32_t next = cell_next(memory);
    uint64_t version = cell_version_of(load_relaxed(memory->published)) + 1;
    store_relaxed(cell_size_of(memory, cell_buffer(memory, next)), size);
    store_release(memory->published, version << 8 | next); /* pairs with cell_memory_look, wait_on, hawser_cell_wait */
}

static inline void cell_set_pair(const struct cell_memory *memory, const void *data, size_t size) {
    struct word_pair pair = { (cell_version_of(load_relaxed(memory->published)) + 1) << 8 | size << 1, 0 };
    if (__builtin_expect(size == 8, 1))
        memcpy(&pair.second, data, 8);
    else
        cell_load_short(&pair.second, data, size);
    store_pair(memory->published, pair); /* pairs with cell_get_pair, cell_memory_look, wait_on, hawser_cell_wait */
}

static inline void cell_memory_set(const struct cell_memory *memory, const void *data, size_t size) {
    if (memory->pairs && size <= CELL_WORD) {
        cell_set_pair(memory, data, size);
        return;
    }
    cell_store(cell_memory_begin(memory), data, size);
    if (memory->n == 0)
        cell_publish_small(memory, data, size); /* what was just written is not read again */
    else
        cell_memory_publish(memory, size);
}

/* A writer that takes over first ends what its predecessor had begun. */
void cell_memory_succeed(const struct cell_memory *memory);

/* ---- Readers ---- */

/* The newest value; false: there is none yet. All of it is from memory that another process writes: the view is within it. */
static inline bool cell_memory_look(const struct cell_memory *memory, struct cell_view *ret_view) {
    uint64_t published = load_acquire(memory->published), size; /* pairs with cell_memory_publish, cell_publish_small, cell_settle_small */
    if (__builtin_expect(cell_version_of(published) == 0, 0))
        return false;
    if (memory->n == 0) {
        ret_view->data = cell_first(memory) + (published & 1) * CELL_LINE;
        size = published >> 1 & 63;
    } else {
        uint32_t which = (uint32_t)published & 255;
        const uint8_t *buffer = cell_buffer(memory, which < memory->n ? which : 0);
        size = load_relaxed(cell_size_of(memory, buffer));
        ret_view->data = buffer;
    }
    ret_view->size = size > memory->size ? memory->size : (size_t)size;
    ret_view->published = published;
    return true;
}

/* Is all that was read of the view so far of one value? */
static inline bool cell_memory_intact(const struct cell_memory *memory, const struct cell_view *view) {
    fence_acquire(); /* pairs with cell_memory_begin, cell_settle_small */
    uint64_t now = load_relaxed(memory->published);
    return memory->n == 0 ? now == view->published : cell_version_of(now) - cell_version_of(view->published) < memory->n - 1;
}

/* Up to 8 bytes from a register, little-endian as all machines with pairs are. */
static inline void cell_spill(void *to, uint64_t value, size_t size) {
    uint8_t *t = to;
    if (__builtin_expect(size == 8, 1)) {
        memcpy(t, &value, 8);
        return;
    }
    for (unsigned part = 4; part > 0; part /= 2) {
        if (size & part) {
            memcpy(t, &value, part);
            value >>= 8 * part;
            t += part;
        }
    }
}

/* The newest value, if it has at most 8 bytes and its first copy is there: its version and size, and the bytes in *ret_value. */
static inline bool cell_get_pair(const struct cell_memory *memory, struct cell_view *ret_view, uint64_t *ret_value) {
    struct word_pair pair = load_pair(memory->published); /* pairs with cell_set_pair, cell_settle_small */
    ret_view->size = pair.first >> 1 & 127; /* with bit 7, which is 0 */
    ret_view->published = pair.first;
    *ret_value = pair.second;
    return (pair.first & 1) == 0 && ret_view->size <= CELL_WORD && cell_version_of(pair.first) != 0;
}
