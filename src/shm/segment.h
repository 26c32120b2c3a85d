/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Memory that one process writes and another reads: memfds, their seals and maps. A map is not inherited by fork
 * (MADV_DONTFORK), so a forked child must not unmap it either: something else may lie there by then. */

#include "shm/format.h"

#include <stdbool.h>

/* What a memfd has to have before its reader maps it: the writer can then neither truncate under the reader (SIGBUS)
 * nor hand the right to write to anybody, nor change its mind. */
#define MEMORY_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

struct memory {
    uint8_t *base;
    size_t size; /* 0: none */
};

/* Makes size bytes (rounded up to pages), mapped to write, sealed, without holes, zeroed. name is for
 * /proc. Errors: -EFBIG (RLIMIT_FSIZE), -ENOMEM, -ENOSPC, -EMFILE, -ENFILE. */
int memory_create(const char *name, uint64_t size, struct memory *ret_memory, int *ret_fd);

/* Maps what a peer sent, read-only, if it is at least minimum and at most maximum bytes, has the seals
 * (F_SEAL_WRITE too where stable) and no holes. The descriptor stays the caller's.
 * Errors: -EPROTO names the failed check; -ENOMEM. */
int memory_adopt(int fd, uint64_t minimum, uint64_t maximum, int stable, struct memory *ret_memory);

void memory_unmap(struct memory *memory);

/* An unmapped memfd for one message of size bytes: these, or where data is NULL zeros, to be mapped and written. Then closed by
 * memory_seal(). */
int memory_message(uint64_t size, const void *data, int *ret_fd);
int memory_map_writable(int fd, uint64_t size, struct memory *ret_memory);
int memory_seal(int fd, uint64_t size); /* cuts it to size first; no writable map may be left */

/* What a segment's owner says of itself. */
struct segment_plan {
    uint64_t ring_size;
    uint64_t ring_quota, pool_quota; /* most that it maps of the other end's larger ring and pool */
    bool barrier;                    /* no: both ends use fences */
};
int segment_create(const struct segment_plan *plan, struct memory *ret_memory, int *ret_fd);

/* Maps the peer's segment and checks its header; the sizes that were checked are returned, never read again. */
struct segment_view {
    struct memory memory;
    uint64_t ring_size;
    uint64_t ring_quota, pool_quota;
    uint32_t barrier;
};
int segment_adopt(int fd, struct segment_view *ret_view);

static inline struct shm_segment *segment_of(const struct memory *memory) {
    return (struct shm_segment *)(void *)memory->base;
}

static inline uint8_t *segment_ring(const struct memory *memory) { return memory->base + SHM_RING_OFFSET; }

/* The asymmetric barrier. A side about to sleep says so, issues barrier_heavy(), and looks once more; the side that publishes then
 * needs no fence between its store and its look at the other's word. Needs the publisher registered. */
uint32_t barrier_prepare(void); /* registers this process; SHM_BARRIER_ bits of what it can do */
int barrier_heavy(void);        /* 0, or negative: the caller must not sleep for long */
