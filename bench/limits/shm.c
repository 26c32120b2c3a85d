/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What shared memory can do between two processes that trust each other and do nothing else: a ring each way in one mapping
 * that both may write, a commit word before each message, both ends copying. Neither checks anything, sleeps, or can
 * hear of the other's death. The layout is the fastest of those tried (docs/decisions.md). */

#include "way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; musl lacks it */
#endif

#define RING_LEAST ((uint64_t)1 << 20)
#define EARLY 8192u /* bytes after which a writer whose reader has caught up starts over at the ring's beginning */
#define STREAK 8    /* messages after which a reader that only receives steps back from an empty ring ... */
#define STEP_BACK 64 /* ... for so many pauses */
#define WORD_MESSAGE ((uint64_t)1 << 56)
#define WORD_SKIP ((uint64_t)2 << 56)

struct ring {
    uint64_t freed __attribute__((aligned(128))); /* the reader's: everything before it may be written again */
    uint8_t data[] __attribute__((aligned(4096)));
};

struct bare_ring {
    void *mapping;
    uint64_t size; /* of one ring's data, a power of two */
    struct ring *out, *in;
    uint64_t write, limit, look, every, sent;
    uint64_t read, taken, streak, sent_seen;
};

static size_t ring_bytes(const struct bare_ring *bare) { return sizeof(struct ring) + bare->size; }

static int shm_prepare(const struct way_setup *setup, void **ret_state) {
    struct bare_ring *bare = calloc(1, sizeof *bare);
    if (!bare)
        return -ENOMEM;
    bare->size = RING_LEAST;
    while (bare->size < 4 * setup->size)
        bare->size *= 2;
    bare->mapping = mmap(NULL, 2 * ring_bytes(bare), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bare->mapping == MAP_FAILED) {
        free(bare);
        return -ENOMEM;
    }
    *ret_state = bare;
    return 0;
}

static int shm_join(void *state, enum way_side side) {
    struct bare_ring *bare = state;
    uint8_t *second = (uint8_t *)bare->mapping + ring_bytes(bare);
    madvise(bare->mapping, 2 * ring_bytes(bare), MADV_POPULATE_WRITE); /* so that no page fault is measured */
    bare->out = side == WAY_LEAD ? bare->mapping : (void *)second;
    bare->in = side == WAY_LEAD ? (void *)second : bare->mapping;
    bare->limit = bare->size;
    bare->look = bare->every = EARLY;
    return 0;
}

static uint64_t *word_at(const struct bare_ring *bare, struct ring *ring, uint64_t position) {
    return (uint64_t *)(void *)(ring->data + (position & (bare->size - 1)));
}

static uint64_t padded(uint64_t size) { return (size + 7) & ~UINT64_C(7); }

static inline void copy(void *to, const void *from, size_t size) {
    if (size == 8)
        memcpy(to, from, 8);
    else if (size == 64)
        memcpy(to, from, 64);
    else
        memcpy(to, from, size);
}

/* Where the next message goes, a position; waits until there is room. */
static uint64_t await_room(struct bare_ring *bare, uint64_t need) {
    for (;; way_pause()) {
        uint64_t offset = bare->write & (bare->size - 1), start = bare->write;
        uint64_t freed = way_load(&bare->out->freed);
        bool over = offset + need > bare->size;
        bare->limit = freed + bare->size;
        if (start >= bare->look) {
            bool caught_up = freed == start && offset >= EARLY;
            over |= caught_up;
            bare->every = caught_up ? EARLY : bare->every < bare->size / 8 ? bare->every * 2 : bare->every;
            bare->look = start + bare->every;
        }
        if (over)
            start += bare->size - offset;
        if (start + need + 8 <= bare->limit)
            return start;
    }
}

static inline int shm_send(void *state, const void *data, size_t size) {
    struct bare_ring *bare = state;
    uint64_t need = 8 + padded(size), start = bare->write;
    if (start >= bare->look || (start & (bare->size - 1)) + need > bare->size || start + need + 8 > bare->limit)
        start = await_room(bare, need);
    uint64_t *header = word_at(bare, bare->out, start), word = WORD_MESSAGE | size;
    __atomic_store_n(word_at(bare, bare->out, start + need), 0, __ATOMIC_RELAXED);
    copy(header + 1, data, size);
    if (start != bare->write) {
        __atomic_store_n(header, word, __ATOMIC_RELAXED);
        header = word_at(bare, bare->out, bare->write);
        word = WORD_SKIP;
        bare->look = start + bare->every;
    }
    way_store(header, word);
    bare->write = start + need;
    bare->sent++;
    return 0;
}

/* Nothing is there. A reader on the writer's heels takes each line dirty out of the other core's cache, the slow case: unless
 * this is the wait for an answer it steps back and lets work pile up. */
static void await_word(struct bare_ring *bare, const uint64_t *header) {
    if (bare->sent != bare->sent_seen) {
        bare->sent_seen = bare->sent;
        bare->streak = bare->taken;
    } else if (bare->taken - bare->streak >= STREAK) {
        bare->streak = bare->taken;
        for (int i = 0; i < STEP_BACK; i++)
            way_pause();
    }
    while (way_load(header) == 0)
        way_pause();
}

static inline int shm_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct bare_ring *bare = state;
    uint64_t *header = word_at(bare, bare->in, bare->read), word = way_load(header);
    if (word == 0) {
        await_word(bare, header);
        word = way_load(header);
    }
    if (word == WORD_SKIP) {
        bare->read = (bare->read | (bare->size - 1)) + 1;
        header = word_at(bare, bare->in, bare->read);
        word = way_load(header);
    }
    size_t size = (size_t)(word ^ WORD_MESSAGE);
    if (size > capacity)
        return -EMSGSIZE;
    copy(buffer, header + 1, size);
    bare->read += 8 + padded(size);
    bare->taken++;
    way_store(&bare->in->freed, bare->read);
    *ret_size = size;
    return 0;
}

static uint64_t shm_calls(void *state) {
    (void)state;
    return 0;
}

static void shm_leave(void *state) {
    struct bare_ring *bare = state;
    munmap(bare->mapping, 2 * ring_bytes(bare));
    free(bare);
}

const struct way bare_shm = {
    .name = "shm",
    .can = WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = shm_prepare,
    .join = shm_join,
    .send = shm_send,
    .recv = shm_recv,
    .calls = shm_calls,
    .leave = shm_leave,
    .discard = shm_leave,
};
