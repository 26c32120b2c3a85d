/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A plain loop that fetches what comes next: on some processors memcpy becomes one string instruction from 2 KiB on, which
 * moves lines that lie in another core's cache one after the other, at less than half the speed. */

#include "base/copy.h"

#include "base/atomic.h"

#define STEP 64u
#define AHEAD 512u

typedef uint8_t block __attribute__((vector_size(16), aligned(1), may_alias));

static inline void copy_step(uint8_t *to, const uint8_t *from) {
    block a = *(const block *)from, b = *(const block *)(from + 16), c = *(const block *)(from + 32), d = *(const block *)(from + 48);
    *(block *)to = a;
    *(block *)(to + 16) = b;
    *(block *)(to + 32) = c;
    *(block *)(to + 48) = d;
}

void copy_large(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    size_t done = 0, ahead = size > AHEAD ? size - AHEAD : 0;
    for (; done + STEP <= ahead; done += STEP) {
        __builtin_prefetch(f + done + AHEAD);
        prefetch_for_write(t + done + AHEAD);
        copy_step(t + done, f + done);
    }
    for (; done + STEP <= size; done += STEP)
        copy_step(t + done, f + done);
    if (done < size)
        copy_step(t + size - STEP, f + size - STEP); /* overlaps what was copied */
}
