/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The checker: reads a victim's segment as its peer would, between any two of the victim's instructions. */

#include "look.h"

#include "core/channel.h"
#include "transport/shm/shm.h"

#include <string.h>
#include <unistd.h>

static bool record_is(const struct ring_record *record, const struct operation *operation, size_t index) {
    struct shm_descriptor descriptor;
    struct shm_fds_prefix prefix;
    if (index >= operation->n)
        return false;
    size_t size = size_of(operation, index);
    switch (record->kind) {
    case SHM_DATA:
        return record->size == size && message_is(record->body, size, index) && operation->fds == 0;
    case SHM_DATA_FDS:
        memcpy(&prefix, record->body, sizeof prefix);
        return record->size == size + sizeof prefix && message_is(record->body + sizeof prefix, size, index) &&
               prefix.count == operation->fds;
    default:
        memcpy(&descriptor, record->body, sizeof descriptor);
        return record->size == sizeof descriptor && descriptor.size == size && descriptor.fds == operation->fds;
    }
}

/* The bytes of a message in the pool: those of one whose chunk is known already. */
static bool pool_is(const struct shm_receiver *receiver, const struct ring_record *record, size_t index) {
    static struct pool_reader pool;
    struct shm_descriptor descriptor;
    const uint8_t *data;
    memcpy(&descriptor, record->body, sizeof descriptor);
    pool = receiver->pool;
    if (record->kind != SHM_POOL || descriptor.chunk >= pool.n_chunks)
        return true;
    return pool_take(&pool, &descriptor, &data) == 0 && message_is(data, descriptor.size, index);
}

/* Where the records go on in a larger ring: its memfd waits in the carrier, and stays there. */
static struct memory follow(struct shm_link *shm, struct ring_reader *reader, const struct ring_record *record) {
    struct memory memory;
    struct shm_larger larger;
    int fd;
    EXPECT(record->size, sizeof larger);
    memcpy(&larger, record->body, sizeof larger);
    EXPECT(carrier_peek(shm, &fd, 1), 0);
    EXPECT(memory_adopt(fd, larger.size, larger.size, 0, &memory), 0);
    close(fd);
    ring_reader_move(reader, memory.base, larger.size);
    return memory;
}

static void look_at_sender(struct victim *victim) {
    struct shm_link *shm = shm_of(victim->channel->link);
    EXPECT(receiver_meet(shm), true);
    uint32_t state = load_acquire(&shm->receiver.peer->state); /* pairs with shm_tell */
    struct ring_reader reader = shm->receiver.ring;
    struct ring_record record;
    struct memory larger = { 0 };
    uint64_t messages = victim->received;
    int r;
    while ((r = ring_next(&reader, &record)) == 1) {
        if (record.kind < SHM_CHUNK) {
            if (!record_is(&record, victim->operation, (size_t)messages) || !pool_is(&shm->receiver, &record, (size_t)messages))
                die(__FILE__, __LINE__, "a message that can be read is whole", 0, 1);
            messages++;
        }
        reader.read = record.end;
        if (record.kind == SHM_RING)
            larger = follow(shm, &reader, &record);
    }
    EXPECT(r, 0);
    memory_unmap(&larger);
    if (messages < victim->visible)
        die(__FILE__, __LINE__, "messages that can be read", (long)messages, (long)victim->visible);
    if (state != SHM_OPEN) /* a goodbye comes after everything */
        EXPECT(messages, victim->operation->n);
    victim->visible = messages;
}

/* What the victim took and released, and what of its own it sent. */
static void look_at_receiver(struct victim *victim) {
    static struct pool_writer pool;
    struct shm_link *shm = shm_of(victim->channel->link);
    struct shm_sender *sender = &shm->sender;
    EXPECT(receiver_meet(shm), true);
    struct ring_writer writer = sender->ring;
    struct ring_reader reader = shm->receiver.ring;
    struct ring_record record;
    uint64_t taken = load_acquire(&sender->peer->taken); /* pairs with ring_reader_publish */
    EXPECT(ring_refresh(&writer), 0);
    EXPECT(taken >= victim->visible && taken <= load_relaxed(&writer.messages), 1);
    victim->visible = taken;
    if (sender->pool) {
        pool = *sender->pool;
        EXPECT(pool_reap(&pool, sender->peer), 0);
    }
    EXPECT(ring_next(&reader, &record), 0);
}

void look_at(struct victim *victim) {
    if (!victim->channel)
        return;
    if (victim->operation->receives)
        look_at_receiver(victim);
    else
        look_at_sender(victim);
}
