/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* First fit from the lowest address: what was just freed is reused while it is still in the caches, and a reader that keeps
 * up lets a stream live in the first few blocks. Blocks of a memfd form a list in address order; free neighbours are merged. */

#include "shm/pool.h"

#include "base/atomic.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>

#define CHUNK_FIRST (UINT64_C(2) << 20)

void pool_writer_init(struct pool_writer *pool, uint64_t budget) {
    *pool = (struct pool_writer){ .budget = budget & ~UINT64_C(4095) };
    for (unsigned i = 0; i < SHM_SLOTS; i++) {
        pool->slots[i].block = POOL_NONE;
        pool->free_slots[pool->n_free_slots++] = (uint16_t)(SHM_SLOTS - 1 - i);
    }
    for (unsigned i = 0; i < POOL_BLOCKS; i++)
        pool->free_blocks[pool->n_free_blocks++] = (uint16_t)(POOL_BLOCKS - 1 - i);
}

void pool_writer_deinit(struct pool_writer *pool, bool unmap) {
    for (unsigned i = 0; unmap && i < pool->n_chunks; i++)
        memory_unmap(&pool->chunks[i]);
    pool->n_chunks = 0;
}

static uint16_t block_new(struct pool_writer *pool, uint16_t chunk, uint64_t offset, uint64_t size) {
    uint16_t fresh = pool->free_blocks[--pool->n_free_blocks]; /* POOL_BLOCKS says why there is one */
    pool->blocks[fresh] = (struct pool_block){ .offset = offset, .size = size, .previous = POOL_NONE, .next = POOL_NONE,
                                               .slot = POOL_NONE, .chunk = chunk };
    return fresh;
}

/* Cuts a free block to size; what is left over becomes a free block behind it. */
static void block_split(struct pool_writer *pool, uint16_t index, uint64_t size) {
    struct pool_block *block = &pool->blocks[index];
    if (block->size == size)
        return;
    uint16_t rest = block_new(pool, block->chunk, block->offset + size, block->size - size);
    pool->blocks[rest].previous = index;
    pool->blocks[rest].next = block->next;
    if (block->next != POOL_NONE)
        pool->blocks[block->next].previous = rest;
    block->next = rest;
    block->size = size;
}

/* Joins a free block with the free one behind it. */
static void block_merge_next(struct pool_writer *pool, uint16_t index) {
    struct pool_block *block = &pool->blocks[index];
    uint16_t next = block->next;
    if (next == POOL_NONE || pool->blocks[next].slot != POOL_NONE)
        return;
    block->size += pool->blocks[next].size;
    block->next = pool->blocks[next].next;
    if (block->next != POOL_NONE)
        pool->blocks[block->next].previous = index;
    pool->free_blocks[pool->n_free_blocks++] = next;
}

static uint16_t block_find(const struct pool_writer *pool, uint64_t size) {
    for (unsigned chunk = 0; chunk < pool->n_chunks; chunk++) {
        if (pool->chunks[chunk].size < size)
            continue;
        for (uint16_t i = pool->first[chunk]; i != POOL_NONE; i = pool->blocks[i].next)
            if (pool->blocks[i].slot == POOL_NONE && pool->blocks[i].size >= size)
                return i;
    }
    return POOL_NONE;
}

static uint64_t padded(uint64_t size) {
    return size == 0 ? SHM_POOL_ALIGNMENT : (size + SHM_POOL_ALIGNMENT - 1) / SHM_POOL_ALIGNMENT * SHM_POOL_ALIGNMENT;
}

int pool_allocate(struct pool_writer *pool, uint64_t size, uint16_t *ret_slot, uint8_t **ret_data) {
    if (size > pool->budget)
        return -ENOBUFS;
    size = padded(size);
    if (pool->n_free_slots == 0)
        return -EAGAIN;
    uint16_t block = block_find(pool, size);
    if (block == POOL_NONE) {
        for (unsigned i = 0; i < pool->n_chunks; i++)
            if (pool->chunks[i].size >= size)
                return -EAGAIN;
        return -ENOBUFS;
    }
    block_split(pool, block, size);
    uint16_t slot = pool->free_slots[--pool->n_free_slots];
    pool->slots[slot] = (struct pool_slot){ .block = block };
    pool->blocks[block].slot = slot;
    *ret_slot = slot;
    *ret_data = pool->chunks[pool->blocks[block].chunk].base + pool->blocks[block].offset;
    return 0;
}

void pool_free(struct pool_writer *pool, uint16_t slot) {
    uint16_t block = pool->slots[slot].block;
    pool->slots[slot] = (struct pool_slot){ .block = POOL_NONE };
    pool->free_slots[pool->n_free_slots++] = slot;
    pool->blocks[block].slot = POOL_NONE;
    block_merge_next(pool, block);
    uint16_t previous = pool->blocks[block].previous;
    if (previous != POOL_NONE && pool->blocks[previous].slot == POOL_NONE)
        block_merge_next(pool, previous);
}

struct shm_descriptor pool_send(struct pool_writer *pool, uint16_t slot, uint64_t size) {
    const struct pool_block *block = &pool->blocks[pool->slots[slot].block];
    pool->slots[slot].sent = true;
    pool->sent++;
    return (struct shm_descriptor){ .size = size, .offset = block->offset, .chunk = block->chunk, .slot = slot };
}

int pool_reap(struct pool_writer *pool, const struct shm_segment *peer) {
    if (!peer || pool->sent == 0)
        return 0;
    uint64_t released = load_acquire(&peer->released); /* pairs with pool_release: the reader's loads of the bytes come before */
    if (released - pool->released > pool->sent) {
        pool->fault = "the reader released more messages than it was sent";
        return -EPROTO;
    }
    for (; pool->released != released; pool->released++) {
        uint32_t slot = load_relaxed(&peer->release[pool->released % SHM_SLOTS]);
        if (slot >= SHM_SLOTS || !pool->slots[slot].sent) {
            pool->fault = "the reader released a message it does not hold";
            return -EPROTO;
        }
        pool->sent--;
        pool_free(pool, (uint16_t)slot);
    }
    return 0;
}

/* Doubles what there is, with room for two of these messages if the budget allows; 0: the budget does not allow even one. */
static uint64_t grown(const struct pool_writer *pool, uint64_t size) {
    uint64_t left = pool->budget - pool->total;
    size = padded(size);
    if (pool->n_chunks == SHM_CHUNKS || size > left)
        return 0;
    uint64_t wish = pool->total > CHUNK_FIRST ? pool->total : CHUNK_FIRST;
    if (wish < size)
        wish = size <= left / 2 ? 2 * size : size;
    wish = (wish + 4095) & ~UINT64_C(4095);
    return wish < left ? wish : left;
}

bool pool_can_grow(const struct pool_writer *pool, uint64_t size) { return grown(pool, size) > 0; }

int pool_grow(struct pool_writer *pool, uint64_t size, int *ret_fd, struct shm_chunk *ret_chunk) {
    uint64_t wish = grown(pool, size);
    if (wish == 0)
        return error_set(-ENOBUFS, "the pool's budget of %llu bytes is used up", (unsigned long long)pool->budget);
    int r = memory_create("hawser-pool", wish, &pool->chunks[pool->n_chunks], ret_fd);
    if (r < 0)
        return r;
    uint16_t index = (uint16_t)pool->n_chunks++;
    pool->total += wish;
    pool->first[index] = block_new(pool, index, 0, wish);
    *ret_chunk = (struct shm_chunk){ .size = wish, .index = index };
    return 0;
}

void pool_ungrow(struct pool_writer *pool) {
    unsigned index = --pool->n_chunks;
    pool->total -= pool->chunks[index].size;
    pool->free_blocks[pool->n_free_blocks++] = pool->first[index];
    memory_unmap(&pool->chunks[index]);
}

void pool_reader_init(struct pool_reader *pool, uint64_t quota, struct shm_segment *own) {
    *pool = (struct pool_reader){ .quota = quota, .own = own };
}

void pool_reader_deinit(struct pool_reader *pool, bool unmap) {
    for (unsigned i = 0; unmap && i < pool->n_chunks; i++)
        memory_unmap(&pool->chunks[i]);
    pool->n_chunks = 0;
}

static int reader_fault(struct pool_reader *pool, const char *fault) {
    pool->fault = fault;
    return -EPROTO;
}

int pool_adopt(struct pool_reader *pool, int fd, const struct shm_chunk *chunk) {
    if (pool->n_chunks == SHM_CHUNKS || chunk->index != pool->n_chunks)
        return reader_fault(pool, "a pool memfd out of turn");
    if (chunk->size > pool->quota - pool->total)
        return reader_fault(pool, "pool memfds beyond the quota");
    pool->fault = NULL;
    int r = memory_adopt(fd, chunk->size, chunk->size, 0, &pool->chunks[pool->n_chunks]);
    if (r < 0)
        return r;
    pool->n_chunks++;
    pool->total += chunk->size;
    return 0;
}

int pool_take(struct pool_reader *pool, const struct shm_descriptor *descriptor, const uint8_t **ret_data) {
    if (descriptor->chunk >= pool->n_chunks)
        return reader_fault(pool, "a message in a pool memfd that never came");
    const struct memory *chunk = &pool->chunks[descriptor->chunk];
    if (descriptor->offset % SHM_POOL_ALIGNMENT != 0 || descriptor->offset > chunk->size ||
        descriptor->size > chunk->size - descriptor->offset)
        return reader_fault(pool, "a message beyond the end of its pool memfd");
    if (descriptor->slot >= SHM_SLOTS)
        return reader_fault(pool, "a message in an impossible slot");
    uint64_t bit = UINT64_C(1) << (descriptor->slot % 64);
    if (pool->held[descriptor->slot / 64] & bit)
        return reader_fault(pool, "a message in a slot that is still held");
    pool->held[descriptor->slot / 64] |= bit;
    *ret_data = chunk->base + descriptor->offset;
    return 0;
}

int pool_release(struct pool_reader *pool, uint64_t slot) {
    if (slot >= SHM_SLOTS)
        return -EINVAL;
    uint64_t bit = UINT64_C(1) << (slot % 64);
    if (!(pool->held[slot / 64] & bit))
        return -EINVAL;
    pool->held[slot / 64] &= ~bit;
    store_relaxed(&pool->own->release[pool->released % SHM_SLOTS], (uint32_t)slot);
    store_release(&pool->own->released, ++pool->released); /* pairs with pool_reap and sender_look */
    return 0;
}
