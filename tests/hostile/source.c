/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Where a liar's decisions come from. */

#include "liar.h"

static uint64_t next_of_seed(struct source *source) { /* xorshift64*: Vigna, 2014 */
    source->seed ^= source->seed >> 12;
    source->seed ^= source->seed << 25;
    source->seed ^= source->seed >> 27;
    return source->seed * UINT64_C(2685821657736338717);
}

static uint64_t next_of_data(struct source *source, unsigned bytes) {
    uint64_t value = 0;
    for (; bytes > 0 && source->left > 0; bytes--, source->left--)
        value = value << 8 | *source->data++;
    return value;
}

uint64_t draw(struct source *source) { return source->data ? next_of_data(source, 8) : next_of_seed(source); }

uint64_t draw_below(struct source *source, uint64_t limit) {
    if (!source->data)
        return (next_of_seed(source) >> 32) * limit >> 32; /* limits are small */
    unsigned bytes = limit <= 256 ? 1 : limit <= 65536 ? 2 : 4;
    return next_of_data(source, bytes) % limit;
}

uint64_t draw_near(struct source *source, uint64_t truth) {
    static const int steps[] = { 1, -1, 7, -7, 8, -8, 9, -9, 63, 64, -64, 4096, -4096 };
    switch (draw_below(source, 6)) {
    case 0: return truth + (uint64_t)steps[draw_below(source, COUNT(steps))];
    case 1: return UINT64_C(1) << draw_below(source, 64);
    case 2: return (UINT64_C(1) << draw_below(source, 64)) - 1;
    case 3: return 0 - truth;
    case 4: return draw(source);
    default: return draw_below(source, 64);
    }
}
