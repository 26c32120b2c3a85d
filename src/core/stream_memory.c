/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "core/stream_memory.h"

#include "base/memory.h"

#include <errno.h>
#include <string.h>

#define CLASS_LEAST 8        /* parcels hold at least 256 bytes */
#define SPARE_BLOCKS 4
#define SPARE_BLOCK_MOST ((size_t)64 << 20) /* larger blocks are not kept */
#define SLACK ((size_t)4096) /* room behind a message for the next header and a little more */

/* The power of two that holds the bytes. */
static unsigned class_of(size_t bytes) {
    unsigned class = CLASS_LEAST;
    while (class < sizeof bytes * 8 - 1 && ((size_t)1 << class) < bytes)
        class++;
    return class;
}

/* How many spare parcels of a class are worth keeping: about a megabyte of small ones, a few large ones. */
static unsigned class_limit(unsigned class) {
    if (class > 22)
        return 1;
    size_t fit = ((size_t)1 << 20) >> class;
    return fit > STREAM_LOANS ? STREAM_LOANS : fit < 4 ? 4 : (unsigned)fit;
}

struct parcel *parcel_get(struct stream_sending *sending, size_t capacity) {
    size_t around = STREAM_HEAD_MAX + 1;
    if (capacity > SIZE_MAX / 4)
        return NULL;
    unsigned class = class_of(capacity + around), slot = class - CLASS_LEAST;
    struct parcel *parcel = slot < STREAM_CLASSES ? sending->spare[slot] : NULL;
    if (parcel) {
        sending->spare[slot] = parcel->next;
        sending->n_spare[slot]--;
    } else {
        parcel = memory_resize(NULL, sizeof *parcel + ((size_t)1 << class));
        if (!parcel)
            return NULL;
    }
    parcel->next = NULL;
    parcel->class = class;
    parcel->capacity = capacity;
    parcel->start = parcel->end = 0;
    return parcel;
}

void parcel_put(struct stream_sending *sending, struct parcel *parcel) {
    if (!parcel)
        return;
    unsigned slot = parcel->class - CLASS_LEAST;
    if (slot >= STREAM_CLASSES || sending->n_spare[slot] >= class_limit(parcel->class)) {
        memory_free(parcel);
        return;
    }
    parcel->next = sending->spare[slot];
    sending->spare[slot] = parcel;
    sending->n_spare[slot]++;
}

void parcel_append(struct stream_sending *sending, struct parcel *parcel) {
    parcel->next = NULL;
    if (sending->last)
        sending->last->next = parcel;
    else
        sending->first = parcel;
    sending->last = parcel;
}

static void list_free(struct parcel *parcel) {
    while (parcel) {
        struct parcel *next = parcel->next;
        memory_free(parcel);
        parcel = next;
    }
}

void parcel_drop_all(struct stream_sending *sending) {
    list_free(sending->first);
    sending->first = sending->last = NULL;
    sending->n_rest = 0;
}

void parcel_free_all(struct stream_sending *sending) {
    parcel_drop_all(sending);
    for (unsigned i = 0; i < sending->n_loans; i++)
        memory_free(sending->loans[i]);
    sending->n_loans = 0;
    for (unsigned i = 0; i < STREAM_CLASSES; i++) {
        list_free(sending->spare[i]);
        sending->spare[i] = NULL;
        sending->n_spare[i] = 0;
    }
}

/* A spare block of at least `most` bytes, else one of at least `least`, else a new one of `least`. */
static struct block *block_get(struct stream_receiving *receiving, size_t least, size_t most) {
    struct block **found = NULL;
    for (struct block **at = &receiving->spare; *at; at = &(*at)->next)
        if ((*at)->capacity >= least && (!found || ((*found)->capacity < most && (*at)->capacity > (*found)->capacity)))
            found = at;
    if (found) {
        struct block *block = *found;
        *found = block->next;
        receiving->n_spare--;
        return block;
    }
    struct block *block = memory_resize(NULL, sizeof *block + least);
    if (block)
        *block = (struct block){ .capacity = least };
    return block;
}

static void block_put(struct stream_receiving *receiving, struct block *block) {
    if (receiving->n_spare >= SPARE_BLOCKS || block->capacity > SPARE_BLOCK_MOST) {
        memory_free(block);
        return;
    }
    block->next = receiving->spare;
    receiving->spare = block;
    receiving->n_spare++;
}

/* The stream goes on in another block. */
static void block_replace(struct stream_receiving *receiving, struct block *fresh, size_t start, size_t end) {
    struct block *old = receiving->block;
    receiving->block = fresh;
    receiving->start = start;
    receiving->end = end;
    if (!old)
        return;
    if (old->references == 0) {
        block_put(receiving, old);
        return;
    }
    old->previous = NULL;
    old->next = receiving->held;
    if (old->next)
        old->next->previous = old;
    receiving->held = old;
}

static int block_move(struct stream_receiving *receiving, size_t least, size_t most) {
    struct block *fresh = block_get(receiving, least, most);
    if (!fresh)
        return -ENOMEM;
    size_t unread = receiving->end - receiving->start;
    if (unread > 0)
        memcpy(fresh->data, receiving->block->data + receiving->start, unread);
    block_replace(receiving, fresh, 0, unread);
    return 0;
}

/* What the block should hold for `want` bytes to be read on, given what has arrived. */
static size_t block_target(size_t want, size_t unread, size_t least) {
    size_t earned = unread < STREAM_BLOCK / 2 ? STREAM_BLOCK : 2 * unread;
    size_t target = want < earned ? want + SLACK : earned;
    if (target < STREAM_BLOCK)
        target = STREAM_BLOCK;
    return target < unread + least ? unread + least : target;
}

static bool spare_holds(const struct stream_receiving *receiving, size_t want) {
    for (const struct block *block = receiving->spare; block; block = block->next)
        if (block->capacity >= want)
            return true;
    return false;
}

int block_reserve(struct stream_receiving *receiving, size_t want, size_t least) {
    struct block *block = receiving->block;
    size_t start = receiving->start, unread = receiving->end - start;
    if (want < unread + least)
        want = unread + least;
    size_t target = block_target(want, unread, least);
    if (!block)
        return block_move(receiving, target, want);
    if (block->capacity - start >= want)
        return 0;
    if (block->references > 0 || (block->capacity < want && spare_holds(receiving, want)))
        return block_move(receiving, target, want);
    if (start > 0) { /* nobody else looks */
        memmove(block->data, block->data + start, unread);
        receiving->start = 0;
        receiving->end = unread;
    }
    /* not as soon as a little more is earned: each small piece would move all that has arrived */
    if (block->capacity >= target || (block->capacity - unread >= least && unread < block->capacity / 4 * 3))
        return 0;
    struct block *grown = memory_resize(block, sizeof *block + target);
    if (!grown)
        return -ENOMEM;
    grown->capacity = target;
    receiving->block = grown;
    return 0;
}

int block_prepend(struct stream_receiving *receiving, const void *bytes, size_t size) {
    size_t unread = receiving->end - receiving->start;
    size_t wanted = size + unread + SLACK;
    struct block *fresh = block_get(receiving, wanted < STREAM_BLOCK ? STREAM_BLOCK : wanted, wanted);
    if (!fresh)
        return -ENOMEM;
    memcpy(fresh->data, bytes, size);
    if (unread > 0)
        memcpy(fresh->data + size, receiving->block->data + receiving->start, unread);
    block_replace(receiving, fresh, 0, size + unread);
    return 0;
}

void block_release(struct stream_receiving *receiving, struct block *block) {
    if (--block->references > 0)
        return;
    if (block == receiving->block) {
        if (receiving->start == receiving->end)
            receiving->start = receiving->end = 0;
        return;
    }
    if (block->next)
        block->next->previous = block->previous;
    if (block->previous)
        block->previous->next = block->next;
    else
        receiving->held = block->next;
    block_put(receiving, block);
}

static void chain_free(struct block **chain) {
    while (*chain) {
        struct block *next = (*chain)->next;
        memory_free(*chain);
        *chain = next;
    }
}

void block_free_all(struct stream_receiving *receiving) {
    memory_free(receiving->block);
    receiving->block = NULL;
    chain_free(&receiving->spare);
    chain_free(&receiving->held);
}
