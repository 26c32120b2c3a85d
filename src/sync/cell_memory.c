/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Everything follows from the size that the cell was made with, so nothing of the layout is ever read from the shared memory. */

#include "sync/cell_memory.h"

#define MANY_UP_TO 4096u
#define SOME_UP_TO 65536u

_Static_assert(CELL_PUBLISHED_OFFSET % CELL_LINE == 0 && CELL_WORD + CELL_SMALL_SIZE == CELL_LINE, "a small value lies in one line");
_Static_assert(CELL_PUBLISHED_OFFSET % sizeof(struct word_pair) == 0, "the word and 8 bytes are read at once");
_Static_assert(CELL_SMALL_SIZE < 64, "a small value's size has six bits");
_Static_assert(CELL_BUFFERS_OFFSET == CELL_PUBLISHED_OFFSET + CELL_LINE, "buffers begin with a line, at the second copy's");

static void lay_out(struct cell_memory *memory, uint64_t size) {
    *memory = (struct cell_memory){ .size = (size_t)size };
    if (size <= CELL_SMALL_SIZE) {
        memory->pairs = pairs_are_atomic();
        return;
    }
    memory->stride = ((size_t)(size + CELL_WORD + CELL_LINE - 1) / CELL_LINE | 1) * CELL_LINE;
    memory->n = size <= MANY_UP_TO ? 32 : size <= SOME_UP_TO ? 16 : 8;
}

uint64_t cell_memory_bytes(uint64_t size) {
    struct cell_memory memory;
    lay_out(&memory, size);
    return CELL_BUFFERS_OFFSET + (memory.n == 0 ? CELL_LINE : (uint64_t)memory.n * memory.stride);
}

void cell_memory_init(struct cell_memory *memory, void *body, uint64_t size) {
    uint8_t *bytes = body;
    lay_out(memory, size);
    memory->published = (uint64_t *)(void *)(bytes + CELL_PUBLISHED_OFFSET);
    memory->buffers = bytes + CELL_BUFFERS_OFFSET;
}

void cell_memory_succeed(const struct cell_memory *memory) {
    struct cell_view view;
    if (memory->n == 0 && (load_relaxed(memory->published) & 1) && cell_memory_look(memory, &view))
        cell_settle_small(memory, view.published, view.data, view.size);
}
