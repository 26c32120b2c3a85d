/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Copies between a program's memory and that shared with another process. The C library's memcpy serves memory that lies in
 * this CPU's cache; here one side lies in the other's. See docs/decisions.md for the figures. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COPY_LARGE 2048 /* bytes from which on copy_large() is faster than memcpy */

/* size is at least 64. The ranges must not overlap. */
void copy_large(void *to, const void *from, size_t size);

/* The common small sizes take a few moves. */
static inline void copy_bytes(void *to, const void *from, size_t size) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (size == 8) {
        memcpy(t, f, 8);
    } else if (size >= 16 && size <= 64) {
        size_t half = size > 32 ? 32 : 16; /* overlapping ends: no loop, no tail */
        if (half == 32) {
            memcpy(t, f, 32);
            memcpy(t + size - 32, f + size - 32, 32);
        } else {
            memcpy(t, f, 16);
            memcpy(t + size - 16, f + size - 16, 16);
        }
    } else if (size >= COPY_LARGE) {
        copy_large(t, f, size);
    } else if (size > 0) {
        memcpy(t, f, size);
    }
}
