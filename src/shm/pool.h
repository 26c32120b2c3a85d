/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Payloads outside the ring. The writer owns up to 16 pool memfds and allocates in them; what it knows of them is
 * private memory, so nothing a reader writes can lead it astray: a release names a slot, and is checked. The reader maps the
 * memfds read-only. A lying writer changes only bytes that are its own; a lying reader frees only what was sent to itself. */

#include "shm/segment.h"

#include <stdbool.h>

#define POOL_NONE UINT16_MAX
#define POOL_BLOCKS (2 * SHM_SLOTS + SHM_CHUNKS + 2) /* each slot splits one free block at most */

struct pool_block {
    uint64_t offset, size;
    uint16_t previous, next; /* neighbours in the memfd, or POOL_NONE */
    uint16_t slot;           /* POOL_NONE: free */
    uint16_t chunk;
};

struct pool_slot {
    uint16_t block; /* POOL_NONE: the slot is free */
    bool sent;      /* the reader may release it */
};

struct pool_writer {
    struct memory chunks[SHM_CHUNKS];
    uint16_t first[SHM_CHUNKS]; /* block at offset 0 */
    unsigned n_chunks;
    uint64_t total, budget;     /* bytes of all chunks; at most */
    struct pool_slot slots[SHM_SLOTS];
    uint16_t free_slots[SHM_SLOTS], n_free_slots;
    struct pool_block blocks[POOL_BLOCKS];
    uint16_t free_blocks[POOL_BLOCKS], n_free_blocks;
    uint64_t released;          /* entries of the release ring seen */
    uint64_t sent;              /* slots sent and not seen released */
    const char *fault;
};

struct pool_reader {
    struct memory chunks[SHM_CHUNKS];
    unsigned n_chunks;
    uint64_t total, quota;
    uint64_t held[SHM_SLOTS / 64]; /* bit per slot: taken, not released */
    uint64_t released;
    struct shm_segment *own;
    const char *fault;
};

void pool_writer_init(struct pool_writer *pool, uint64_t budget);
void pool_writer_deinit(struct pool_writer *pool, bool unmap);
void pool_reader_init(struct pool_reader *pool, uint64_t quota, struct shm_segment *own);
void pool_reader_deinit(struct pool_reader *pool, bool unmap);

/* Takes back what the reader released: 0; -EPROTO. peer may be NULL. */
int pool_reap(struct pool_writer *pool, const struct shm_segment *peer);

/* size bytes, 64-byte aligned. -EAGAIN: all of it is in flight; -ENOBUFS: no memfd is large enough: pool_grow(), else
 * the message needs a memfd of its own. */
int pool_allocate(struct pool_writer *pool, uint64_t size, uint16_t *ret_slot, uint8_t **ret_data);
void pool_free(struct pool_writer *pool, uint16_t slot); /* not sent */
struct shm_descriptor pool_send(struct pool_writer *pool, uint16_t slot, uint64_t size); /* to be published now */

/* Can a memfd be added that has room for size bytes? */
bool pool_can_grow(const struct pool_writer *pool, uint64_t size);
/* Adds it; its descriptor and record are to be sent. -EFBIG, -ENOMEM, -ENOSPC, -EMFILE, -ENFILE. */
int pool_grow(struct pool_writer *pool, uint64_t size, int *ret_fd, struct shm_chunk *ret_chunk);
void pool_ungrow(struct pool_writer *pool); /* the newest, as yet unused, could not be sent */

/* A memfd of the peer joins. chunk is a private copy of the record. -EPROTO, -ENOMEM. */
int pool_adopt(struct pool_reader *pool, int fd, const struct shm_chunk *chunk);
/* Where the message is; marks the slot held. descriptor is a private copy. -EPROTO. */
int pool_take(struct pool_reader *pool, const struct shm_descriptor *descriptor, const uint8_t **ret_data);
/* Gives a held slot back to the writer. -EINVAL: it is not held. */
int pool_release(struct pool_reader *pool, uint64_t slot);
