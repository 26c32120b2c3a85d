/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The receiving half. Every word of the peer's is loaded once into a private copy, which is checked and used. */

#include "transport/shm/shm.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>

/* message.internal[0]: what holds it; [1]: which */
enum held_in { HELD_RING = 1, HELD_POOL = 2, HELD_KEPT = 3 };

/* A message found but not yet taken. */
struct incoming {
    struct ring_record record;
    uint64_t size;       /* of the message */
    const uint8_t *data; /* in the ring; NULL: described */
    struct shm_descriptor descriptor;
    unsigned fds; /* the user's */
};

static void kept_drop(struct shm_kept *kept, bool unmap) {
    memory_free(kept->copy);
    if (unmap)
        memory_unmap(&kept->memory);
    *kept = (struct shm_kept){ 0 };
}

void receiver_deinit(struct shm_link *shm, bool owner) {
    struct shm_receiver *receiver = &shm->receiver;
    for (size_t i = 0; i < receiver->n_kept; i++)
        kept_drop(&receiver->kept[i], owner);
    memory_free(receiver->kept);
    ring_reader_deinit(&receiver->ring);
    pool_reader_deinit(&receiver->pool, owner);
    if (owner)
        memory_unmap(&receiver->larger);
}

bool receiver_meet(struct shm_link *shm) {
    struct shm_receiver *receiver = &shm->receiver;
    if (likely(receiver->peer != NULL))
        return true;
    if (!load_acquire(&shm->met)) /* pairs with shm_meet */
        return false;
    receiver->peer = segment_of(&shm->view.memory);
    receiver->light = shm->light;
    ring_reader_init(&receiver->ring, segment_ring(&shm->view.memory), shm->view.ring_size, shm_own(shm));
    pool_reader_init(&receiver->pool, load_relaxed(&shm_own(shm)->pool_quota), shm_own(shm));
    return true;
}

static int receiver_fault(struct shm_link *shm, const char *fault) {
    return link_break(&shm->link, "%s", fault);
}

static int ended(int error) {
    return error == -ESHUTDOWN ? error_note(error, "the peer closed, and everything it sent was received")
                               : error_note(error, "the peer is gone without a goodbye, and everything it sent was received");
}

/* A record of 8-byte words, loaded once. */
static void load_words(void *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = load_relaxed(ring_word(from, i));
        memcpy((uint8_t *)to + i, &word, 8);
    }
}

/* A pool memfd joins. The record is consumed only when that worked, so that it can be tried again. */
static int receive_chunk(struct shm_link *shm, const struct ring_record *record) {
    struct shm_receiver *receiver = &shm->receiver;
    struct shm_chunk chunk;
    if (record->size != sizeof chunk)
        return receiver_fault(shm, "a pool memfd's record of impossible size");
    load_words(&chunk, record->body, sizeof chunk);
    cleanup_fd fd = -1;
    int r = carrier_peek(shm, &fd, 1);
    if (r == 0)
        r = pool_adopt(&receiver->pool, fd, &chunk);
    if (r == -EPROTO && !load_relaxed(&shm->link.broken))
        return receiver_fault(shm, receiver->pool.fault ? receiver->pool.fault : error_sentence());
    if (r < 0)
        return r;
    carrier_pop(shm);
    ring_consume(&receiver->ring, record);
    return 0;
}

/* The peer's larger ring joins; consumed as above. */
static int receive_larger(struct shm_link *shm, const struct ring_record *record) {
    struct shm_receiver *receiver = &shm->receiver;
    struct shm_larger larger;
    if (record->size != sizeof larger)
        return receiver_fault(shm, "a larger ring's record of impossible size");
    load_words(&larger, record->body, sizeof larger);
    if (receiver->larger.size > 0)
        return receiver_fault(shm, "a second larger ring");
    if (larger.size <= receiver->ring.size || larger.size > shm_ring_quota(&shm->link.options) ||
        (larger.size & (larger.size - 1)) != 0 || larger.zero != 0)
        return receiver_fault(shm, "a larger ring of impossible size");
    cleanup_fd fd = -1;
    int r = carrier_peek(shm, &fd, 1);
    if (r == 0)
        r = memory_adopt(fd, larger.size, larger.size, 0, &receiver->larger);
    if (r == -EPROTO && !load_relaxed(&shm->link.broken))
        return receiver_fault(shm, error_sentence());
    if (r < 0)
        return r;
    carrier_pop(shm);
    ring_consume(&receiver->ring, record);
    ring_reader_move(&receiver->ring, receiver->larger.base, larger.size);
    return 0;
}

/* Nothing comes while this thread has the only CPU. */
static inline bool alone(const struct shm_link *shm) { return load_relaxed(&shm->link.apart) == 0; }

/* Waits a moment for the answer to what we sent; true: it is there. Its receiver, too, will likely send next. */
static inline bool await_answer(struct shm_link *shm) {
    if (alone(shm) || !ring_await_answer(&shm->receiver.ring, load_relaxed(&shm->sender.ring.messages)))
        return false;
    ring_expect(&shm->sender.ring);
    return true;
}

/* Nothing in the ring: why? The ring is looked at again after whatever tells of an end, as that was told later. */
static int receiver_empty(struct shm_link *shm, struct ring_record *record) {
    struct shm_receiver *receiver = &shm->receiver;
    if (await_answer(shm) || (!alone(shm) && ring_step_back(&receiver->ring))) {
        int r = ring_next(&receiver->ring, record);
        if (r != 0)
            return r;
    }
    uint32_t state = load_acquire(&receiver->peer->state); /* pairs with shm_tell */
    uint32_t gone = load_acquire(&shm->link.peer.gone); /* pairs with set_gone */
    if (likely(state == SHM_OPEN && !gone)) {
        shm_glance_again(shm, &receiver->glance);
        return -EAGAIN;
    }
    int r = ring_next(&receiver->ring, record);
    if (r != 0)
        return r;
    state = load_acquire(&receiver->peer->state); /* pairs with shm_tell */
    return ended(state != SHM_OPEN ? -ESHUTDOWN : -ECONNRESET);
}

static int receiver_unmet(struct shm_link *shm) {
    uint32_t gone = load_acquire(&shm->link.peer.gone); /* pairs with set_gone */
    wake_drain(shm);
    if (receiver_meet(shm))
        return 0;
    if (load_relaxed(&shm->link.broken))
        return link_broken(&shm->link);
    return gone ? ended(-ECONNRESET) : -EAGAIN;
}

/* The next record that is a message: 1; or a negative errno. */
static int next_record(struct shm_link *shm, struct ring_record *record) {
    struct shm_receiver *receiver = &shm->receiver;
    if (unlikely(load_relaxed(&shm->link.broken)))
        return link_broken(&shm->link);
    if (unlikely(!receiver_meet(shm))) {
        int r = receiver_unmet(shm);
        if (r < 0)
            return r;
    }
    for (;;) {
        int r = ring_next(&receiver->ring, record);
        if (r == 0)
            r = receiver_empty(shm, record);
        if (unlikely(r == -EPROTO))
            return receiver_fault(shm, receiver->ring.fault);
        if (r < 0 || likely(record->kind < SHM_CHUNK))
            return r;
        r = record->kind == SHM_CHUNK ? receive_chunk(shm, record) : receive_larger(shm, record);
        if (r < 0)
            return r;
    }
}

static int described(struct shm_link *shm, struct incoming *incoming) {
    struct ring_record *record = &incoming->record;
    if (record->kind == SHM_DATA_FDS) {
        struct shm_fds_prefix prefix;
        if (record->size < sizeof prefix)
            return receiver_fault(shm, "a record too short for its number of descriptors");
        load_words(&prefix, record->body, sizeof prefix);
        if (prefix.count == 0 || prefix.count > SHM_FDS_MAX)
            return receiver_fault(shm, "a message with an impossible number of descriptors");
        incoming->fds = prefix.count;
        incoming->data = record->body + sizeof prefix;
        incoming->size = record->size - sizeof prefix;
        return 0;
    }
    if (record->size != sizeof incoming->descriptor)
        return receiver_fault(shm, "a message's description of impossible size");
    load_words(&incoming->descriptor, record->body, sizeof incoming->descriptor);
    if (incoming->descriptor.fds > SHM_FDS_MAX)
        return receiver_fault(shm, "a message with an impossible number of descriptors");
    if (record->kind == SHM_OWN && incoming->descriptor.size == 0)
        return receiver_fault(shm, "an empty message in a memfd of its own");
    incoming->fds = incoming->descriptor.fds;
    incoming->data = NULL;
    incoming->size = incoming->descriptor.size;
    return 0;
}

/* 1 and the next message, without taking it. */
static inline int next_message(struct shm_link *shm, struct incoming *incoming) {
    int r = next_record(shm, &incoming->record);
    if (unlikely(r < 0))
        return r;
    incoming->data = incoming->record.body;
    incoming->size = incoming->record.size;
    incoming->fds = 0;
    if (unlikely(incoming->record.kind != SHM_DATA)) {
        r = described(shm, incoming);
        if (r < 0)
            return r;
    }
    if (unlikely(incoming->size > shm->link.options.max_message))
        return link_break(&shm->link, "the peer announced a message of %llu bytes, over max_message",
                          (unsigned long long)incoming->size);
    return 1;
}

static inline void taken(struct shm_link *shm) {
    ring_reader_publish(&shm->receiver.ring);
    wake_sender(shm);
}

/* ---- Messages that are not plain bytes of the ring ---- */

/* The descriptors of a message: of an OWN one the first is its memory, which is mapped; the user's go to ret_fds, or are
 * closed where that is NULL. What fails leaves the message where it is. */
static int fetch_fds(struct shm_link *shm, const struct incoming *incoming, int *ret_fds, struct memory *ret_memory) {
    unsigned own = incoming->record.kind == SHM_OWN;
    if (incoming->fds + own == 0)
        return 0;
    if (!own && !ret_fds) {
        carrier_pop(shm);
        return 0;
    }
    int fds[CARRIER_MAX];
    int r = carrier_peek(shm, fds, incoming->fds + own);
    if (r < 0)
        return r;
    if (own)
        r = memory_adopt(fds[0], incoming->size, incoming->size, 1, ret_memory);
    if (r == -EPROTO)
        r = receiver_fault(shm, error_sentence());
    carrier_close(fds, own);
    if (r < 0 || !ret_fds)
        carrier_close(fds + own, incoming->fds);
    else
        memcpy(ret_fds, fds + own, incoming->fds * sizeof(int));
    if (r == 0)
        carrier_pop(shm);
    return r;
}

/* The bytes of a message, wherever they lie. A pool message's slot is held from here on. */
static int open_message(struct shm_link *shm, const struct incoming *incoming, int *ret_fds, struct memory *ret_memory,
                        const uint8_t **ret_data) {
    struct shm_receiver *receiver = &shm->receiver;
    const uint8_t *data = incoming->data;
    if (incoming->record.kind == SHM_POOL && pool_take(&receiver->pool, &incoming->descriptor, &data) < 0)
        return receiver_fault(shm, receiver->pool.fault);
    int r = fetch_fds(shm, incoming, ret_fds, ret_memory);
    if (r < 0) {
        if (incoming->record.kind == SHM_POOL) /* held no more, but not released either: it will be taken again */
            receiver->pool.held[incoming->descriptor.slot / 64] &= ~(UINT64_C(1) << (incoming->descriptor.slot % 64));
        return r;
    }
    *ret_data = incoming->record.kind == SHM_OWN ? ret_memory->base : data;
    return 0;
}

static int recv_other(struct shm_link *shm, const struct incoming *incoming, void *buffer, struct received_descriptors *fds) {
    struct shm_receiver *receiver = &shm->receiver;
    struct memory memory = { 0 };
    const uint8_t *data = NULL;
    int r = open_message(shm, incoming, fds ? fds->fds : NULL, &memory, &data);
    if (r < 0)
        return r;
    copy_bytes(buffer, data, incoming->size);
    if (incoming->record.kind == SHM_POOL)
        (void)pool_release(&receiver->pool, incoming->descriptor.slot);
    memory_unmap(&memory);
    ring_consume(&receiver->ring, &incoming->record);
    return 0;
}

int shm_recv(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size) {
    struct shm_link *shm = shm_of(link);
    struct incoming incoming;
    int r = next_message(shm, &incoming);
    if (r < 0)
        return r;
    if (unlikely(incoming.size > capacity || fds)) {
        r = received_fits(incoming.size, incoming.fds, capacity, fds, ret_size);
        if (r < 0)
            return r;
    }
    if (likely(incoming.record.kind == SHM_DATA)) {
        copy_bytes(buffer, incoming.data, (size_t)incoming.size);
        ring_consume(&shm->receiver.ring, &incoming.record);
    } else {
        r = recv_other(shm, &incoming, buffer, fds);
        if (r < 0)
            return r;
    }
    taken(shm);
    if (fds)
        fds->n = incoming.fds;
    *ret_size = (size_t)incoming.size;
    return 0;
}

int shm_get(struct link *link, void *buffer, size_t capacity, size_t *ret_size) {
    struct shm_link *shm = shm_of(link);
    struct shm_receiver *receiver = &shm->receiver;
    struct ring_reader *ring = &receiver->ring;
    uint64_t most = link->options.max_message < SHM_SIZE_MASK ? link->options.max_message : SHM_SIZE_MASK, size;
    if (unlikely(!receiver->peer || load_relaxed(&link->broken)))
        return 1;
    most = capacity < most ? capacity : most;
    if (!ring_get(ring, buffer, most, &size) && !(await_answer(shm) && ring_get(ring, buffer, most, &size)))
        return 1;
    *ret_size = (size_t)size;
    taken(shm);
    return 0;
}

/* ---- Taking in place ---- */

static int kept_slot(struct shm_receiver *receiver, size_t *ret_index) {
    for (size_t i = 0; i < receiver->n_kept; i++)
        if (!receiver->kept[i].copy && receiver->kept[i].memory.size == 0) {
            *ret_index = i;
            return 0;
        }
    size_t n = receiver->n_kept ? receiver->n_kept * 2 : 4;
    struct shm_kept *more = memory_resize(receiver->kept, n * sizeof *more);
    if (!more)
        return error_set(-ENOMEM, "take: no memory");
    memset(more + receiver->n_kept, 0, (n - receiver->n_kept) * sizeof *more);
    *ret_index = receiver->n_kept;
    receiver->kept = more;
    receiver->n_kept = n;
    return 0;
}

/* Into memory of ours: an OWN message's map, or a copy. */
static int take_kept(struct shm_link *shm, const struct incoming *incoming, hawser_message *ret_message) {
    struct shm_receiver *receiver = &shm->receiver;
    struct shm_kept kept = { 0 };
    size_t index = 0;
    int r = kept_slot(receiver, &index);
    if (r < 0)
        return r;
    bool own = incoming->record.kind == SHM_OWN;
    if (!own && !(kept.copy = memory_resize(NULL, (size_t)incoming->size)))
        return error_set(-ENOMEM, "take: no memory for a copy of %llu bytes", (unsigned long long)incoming->size);
    if (own) {
        const uint8_t *data = NULL;
        r = open_message(shm, incoming, NULL, &kept.memory, &data);
        if (r == 0)
            ring_consume(&receiver->ring, &incoming->record);
    } else {
        r = recv_other(shm, incoming, kept.copy, NULL);
    }
    if (r < 0) {
        memory_free(kept.copy);
        return r;
    }
    receiver->kept[index] = kept;
    *ret_message = (hawser_message){ .data = own ? kept.memory.base : kept.copy, .size = (size_t)incoming->size, .stable = 1,
                                     .internal = { HELD_KEPT, index } };
    return 0;
}

static int take_pool(struct shm_link *shm, const struct incoming *incoming, hawser_message *ret_message) {
    const uint8_t *data = NULL;
    int r = open_message(shm, incoming, NULL, NULL, &data);
    if (r < 0)
        return r;
    ring_consume(&shm->receiver.ring, &incoming->record); /* its ring bytes were copied: only the slot is held */
    *ret_message = (hawser_message){ .data = data, .size = (size_t)incoming->size,
                                     .internal = { HELD_POOL, incoming->descriptor.slot } };
    return 0;
}

/* A message that streamed through the larger ring to a reader that so far had copied all: from now on such come by the pool, and
 * this one must not be held where all that follow would wait. */
static bool streamed(const struct shm_link *shm, const struct incoming *incoming) {
    return incoming->data && shm->receiver.larger.size > 0 && incoming->size > ring_inline_max(shm->view.ring_size);
}

static int take_one(struct shm_link *shm, const struct incoming *incoming, hawser_message *ret_message) {
    struct shm_segment *own = shm_own(shm);
    if (unlikely(!load_relaxed(&own->takes)))
        store_relaxed(&own->takes, 1); /* may be seen late: see streamed() */
    if (unlikely(shm->link.options.stable || incoming->record.kind == SHM_OWN || streamed(shm, incoming)))
        return take_kept(shm, incoming, ret_message);
    if (incoming->record.kind == SHM_POOL)
        return take_pool(shm, incoming, ret_message);
    uint64_t ticket;
    int r = ring_hold(&shm->receiver.ring, &incoming->record, &ticket);
    if (unlikely(r < 0))
        return r == -EPROTO ? receiver_fault(shm, shm->receiver.ring.fault) : error_set(r, "take: no memory to remember what is held");
    if (unlikely(incoming->fds > 0))
        carrier_pop(shm);
    *ret_message = (hawser_message){ .data = incoming->data, .size = (size_t)incoming->size, .internal = { HELD_RING, ticket } };
    return 0;
}

int shm_take(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken) {
    struct shm_link *shm = shm_of(link);
    struct ring_reader *ring = &shm->receiver.ring;
    struct incoming incoming;
    size_t count = 0;
    int r = 0;
    while (count < n) {
        /* only the first may find out why there is none */
        struct ring_record ahead;
        r = count > 0 && ring_next(ring, &ahead) == 0 ? -EAGAIN : next_message(shm, &incoming);
        if (r >= 0)
            r = take_one(shm, &incoming, &ret_messages[count]);
        if (r < 0)
            break;
        count++;
    }
    if (count == 0)
        return r;
    taken(shm);
    *ret_taken = count;
    return 0;
}

int shm_release(struct link *link, hawser_message *message) {
    struct shm_link *shm = shm_of(link);
    struct shm_receiver *receiver = &shm->receiver;
    uint64_t which = message->internal[1];
    int r = -EINVAL;
    if (receiver->peer && message->internal[0] == HELD_RING)
        r = ring_release(&receiver->ring, which);
    else if (receiver->peer && message->internal[0] == HELD_POOL)
        r = pool_release(&receiver->pool, which);
    else if (message->internal[0] == HELD_KEPT && which < receiver->n_kept &&
             (receiver->kept[which].copy || receiver->kept[which].memory.size > 0)) {
        kept_drop(&receiver->kept[which], true);
        r = 0;
    }
    if (r < 0)
        return error_set(-EINVAL, "release: not a message taken from this channel");
    taken(shm);
    return 0;
}

int shm_ready(struct link *link) {
    struct ring_record record;
    return next_record(shm_of(link), &record) != -EAGAIN;
}

/* The end is told only once no new acknowledgement came with it: what was taken before it counts. */
static int acked_by(struct shm_link *shm, const struct shm_segment *peer, uint32_t gone, uint64_t *ret_taken) {
    uint32_t state = load_acquire(&peer->state); /* pairs with shm_tell */
    uint64_t now = load_acquire(&peer->taken); /* pairs with ring_reader_publish */
    uint64_t sent = load_relaxed(&shm->sender.ring.messages), before = load_relaxed(&shm->acked);
    if (now < before || now > sent)
        return receiver_fault(shm, "its count of taken messages is impossible");
    if (now == before && now < sent && (state >= SHM_CLOSED || gone))
        return state >= SHM_CLOSED ? error_note(-ESHUTDOWN, "the peer closed without taking everything")
                                   : error_note(-ECONNRESET, "the peer died without taking everything");
    store_relaxed(&shm->acked, now);
    *ret_taken = now;
    return 0;
}

int shm_acked(struct link *link, uint64_t *ret_taken) {
    struct shm_link *shm = shm_of(link);
    if (load_relaxed(&link->broken))
        return link_broken(link);
    uint32_t gone = load_acquire(&link->peer.gone); /* pairs with set_gone */
    if (!load_acquire(&shm->met)) /* pairs with shm_meet */
        wake_drain(shm);
    if (load_acquire(&shm->met)) /* pairs with shm_meet */
        return acked_by(shm, segment_of(&shm->view.memory), gone, ret_taken);
    if (gone)
        return ended(-ECONNRESET);
    *ret_taken = 0;
    return 0;
}
