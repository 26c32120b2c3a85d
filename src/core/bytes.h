/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Big-endian words at any address, as they lie on the wire. */

#include <stdint.h>
#include <string.h>

static inline uint64_t bytes_swap64(uint64_t word) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static inline void bytes_put64(void *where, uint64_t word) {
    word = bytes_swap64(word);
    memcpy(where, &word, sizeof word);
}

static inline uint64_t bytes_get64(const void *where) {
    uint64_t word;
    memcpy(&word, where, sizeof word);
    return bytes_swap64(word);
}
