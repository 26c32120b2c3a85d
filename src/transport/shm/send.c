/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The sending half: small messages into the ring, larger ones into the pool, the largest into memfds of their own. Loans live
 * in the pool (or such a memfd), and ring room for their commits is set aside when they are lent. */

#include "transport/shm/shm.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>

#define BATCH 4096u /* bytes of a batch after which the reader gets to see it */
#define POOL_CALM (UINT64_C(4) << 20)
#define STREAM 2 /* messages in the pool at once */
#define QUOTA_UNMET (UINT64_C(1) << 30)

void sender_init(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    uint64_t size = shm_first_ring(&shm->link.options);
    ring_writer_init(&sender->ring, segment_ring(&shm->own), size, shm->link.options.ring > size);
    sender->inline_max = ring_inline_max(size);
}

/* A thread found no room. */
static void sender_saw(struct shm_sender *sender, struct shm_seen seen) {
    sender->seen = seen;
    sender->seen_by = sys_thread_mark();
}

static void sender_quicken(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    uint64_t most = load_relaxed(&shm->link.max_message);
    most = most < sender->inline_max ? most : sender->inline_max;
    sender->quick_below = sender->peer && sender->n_loans == 0 ? most + 1 : 0;
}

/* Another thread may wait for the room that the loan had. */
static void loan_drop(struct shm_link *shm, struct shm_loan *loan) {
    shm->sender.seen_by = NULL;
    link_news(&shm->link);
    if (loan->slot == POOL_NONE) {
        memory_unmap(&loan->memory);
        sys_close(loan->fd);
        shm->sender.own_lent = false;
    } else {
        pool_free(shm->sender.pool, loan->slot);
    }
    *loan = (struct shm_loan){ 0 };
    shm->sender.n_loans--;
    sender_quicken(shm);
}

void sender_deinit(struct shm_link *shm, bool owner) {
    struct shm_sender *sender = &shm->sender;
    for (unsigned i = 0; i < SHM_LOANS; i++) {
        struct shm_loan *loan = &sender->loans[i];
        if (loan->data && loan->slot == POOL_NONE) {
            if (owner)
                memory_unmap(&loan->memory);
            sys_close(loan->fd);
        }
    }
    if (owner)
        memory_unmap(&sender->larger);
    if (sender->pool)
        pool_writer_deinit(sender->pool, owner);
    memory_free(sender->pool);
}

bool sender_meet(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    if (sender->peer)
        return true;
    if (!load_acquire(&shm->met)) /* pairs with shm_meet */
        return false;
    sender->peer = segment_of(&shm->view.memory);
    sender->ring.peer = sender->peer;
    sender->light = shm->light;
    sender_quicken(shm);
    return true;
}

/* What ends sending: a broken link, a peer that closed or died. */
static inline int sender_check(struct shm_link *shm) {
    if (unlikely(load_relaxed(&shm->link.broken)))
        return link_broken(&shm->link);
    if (likely(shm->sender.peer || sender_meet(shm)) && unlikely(load_relaxed(&shm->sender.peer->state) >= SHM_CLOSED))
        return link_peer_gone();
    return unlikely(load_relaxed(&shm->link.peer.gone)) ? link_peer_gone() : 0;
}

static int sender_fault(struct shm_link *shm, const char *fault) {
    return link_break(&shm->link, "%s", fault);
}

static inline int claim(struct shm_link *shm, uint64_t size, uint8_t **ret_body) {
    struct shm_sender *sender = &shm->sender;
    int r = ring_claim(&sender->ring, size, ring_spare(sender->n_loans), ret_body);
    return unlikely(r == -EPROTO) ? sender_fault(shm, sender->ring.fault) : r;
}

static void publish(struct shm_link *shm) {
    uint64_t position; /* each looks, as the reader may nap for that one */
    if (likely(ring_publish(&shm->sender.ring, &position)))
        wake_receiver(shm, position);
}

struct shm_seen sender_look(const struct shm_sender *sender) {
    if (!sender->peer)
        return (struct shm_seen){ 0 };
    /* pairs with ring_reader_publish and pool_release */
    return (struct shm_seen){ .freed = load_acquire(&sender->peer->freed),
                              .released = load_acquire(&sender->peer->released),
                              .taken = load_acquire(&sender->peer->taken) };
}

/* ---- A larger ring: once, when the reader first leaves no room in the first one ---- */

static int larger_announce(struct shm_link *shm, int fd, uint64_t size) {
    struct ring_writer *ring = &shm->sender.ring;
    struct shm_larger larger = { .size = size };
    uint8_t *body;
    int r = claim(shm, sizeof larger, &body);
    if (r == 0)
        r = carrier_send(shm, &fd, 1);
    if (r < 0)
        return r;
    memcpy(body, &larger, sizeof larger);
    ring_append(ring, SHM_RING, sizeof larger);
    struct stat status = { 0 };
    struct shm_segment *own = shm_own(shm);
    store_relaxed(&own->larger_inode, sys_fstat(fd, &status) < 0 ? 0 : (uint64_t)status.st_ino);
    store_relaxed(&own->larger_from, ring->write);
    store_relaxed(&own->larger_size, size);
    publish(shm);
    return 0;
}

/* What both ends have a mind for. */
static uint64_t larger_size(const struct shm_link *shm) {
    uint64_t size = shm->link.options.ring;
    while (size > shm->view.ring_quota)
        size /= 2;
    return size;
}

/* True: there is more room now. Whatever fails here is no error: the first ring does. */
static bool ring_extend(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    if (sender->ring.reserve == 0 || !sender->peer || !carrier_writable(shm))
        return false;
    publish(shm);
    ring_writer_unreserve(&sender->ring); /* it is tried once */
    cleanup_fd fd = -1;
    struct memory larger = { 0 };
    uint64_t size = larger_size(shm);
    int r = size > sender->ring.size ? memory_create("hawser-ring", size, &larger, &fd) : -ENOBUFS;
    if (r == 0)
        r = larger_announce(shm, fd, size);
    if (r < 0) {
        memory_unmap(&larger);
        return r != -EPROTO;
    }
    sender->larger = larger;
    ring_writer_move(&sender->ring, larger.base, size);
    sender->stream_max = ring_inline_max(size);
    return true;
}

/* Messages too large for the first ring are faster through the larger one than through the pool, to a reader that copies each out at
 * once. (One that takes them in place may hold them, and then what lies behind in a ring would wait.) One that finds two under way
 * already makes the larger ring come. */
static bool streams(struct shm_link *shm, uint64_t size) {
    struct shm_sender *sender = &shm->sender;
    if (!sender->peer || load_relaxed(&sender->peer->takes))
        return false;
    if (unlikely(sender->ring.reserve > 0 && sender->pool && sender->pool->sent >= STREAM && size <= ring_inline_max(larger_size(shm))))
        (void)ring_extend(shm); /* for who sends: it may have broken the link */
    return size <= sender->stream_max;
}

/* ---- The pool ---- */

static int pool_get(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    if (sender->pool)
        return 0;
    sender->pool = memory_resize(NULL, sizeof *sender->pool);
    if (!sender->pool)
        return error_set(-ENOMEM, "send: no memory");
    uint64_t quota = sender->peer ? shm->view.pool_quota : QUOTA_UNMET;
    uint64_t budget = shm->link.options.pool;
    pool_writer_init(sender->pool, budget < quota ? budget : quota);
    return 0;
}

/* Adds a pool memfd and tells the peer, in one batch with what follows. */
static int pool_extend(struct shm_link *shm, uint64_t size) {
    struct pool_writer *pool = shm->sender.pool;
    struct shm_chunk chunk;
    cleanup_fd fd = -1;
    uint8_t *body;
    int r = claim(shm, 2 * sizeof chunk + sizeof(struct shm_descriptor), &body); /* for this record and a descriptor */
    if (r == 0)
        r = pool_grow(pool, size, &fd, &chunk);
    if (r < 0)
        return r;
    r = carrier_send(shm, &fd, 1);
    if (r == 0)
        r = claim(shm, sizeof chunk, &body);
    if (r < 0) {
        pool_ungrow(pool);
        return r;
    }
    memcpy(body, &chunk, sizeof chunk);
    ring_append(&shm->sender.ring, SHM_CHUNK, sizeof chunk);
    publish(shm);
    return 0;
}

/* A pool that has outgrown the caches is slower than waiting for a reader that is on its way: with a few messages' room it
 * grows only when the reader has taken everything and holds on to it, or loans have the room. */
static bool pool_suffices(const struct shm_sender *sender, uint64_t size) {
    const struct pool_writer *pool = sender->pool;
    /* pairs with ring_reader_publish; a lie costs the liar room */
    uint64_t taken = sender->peer ? load_acquire(&sender->peer->taken) : 0;
    return pool->sent > 0 && pool->total >= POOL_CALM && pool->total / 4 >= size && taken < load_relaxed(&sender->ring.messages);
}

/* Room in the pool, adding to it where the budget allows. -ENOBUFS: never in the pool. */
static int pool_room(struct shm_link *shm, uint64_t size, uint16_t *ret_slot, uint8_t **ret_data) {
    int r = pool_get(shm);
    if (r < 0)
        return r;
    struct pool_writer *pool = shm->sender.pool;
    r = pool_reap(pool, shm->sender.peer);
    if (r < 0)
        return sender_fault(shm, pool->fault);
    r = pool_allocate(pool, size, ret_slot, ret_data);
    if (r == 0 || pool->n_free_slots == 0 || !pool_can_grow(pool, size))
        return r;
    if (r == -EAGAIN && pool_suffices(&shm->sender, size))
        return r;
    int grown = pool_extend(shm, size);
    if (grown == 0)
        return pool_allocate(pool, size, ret_slot, ret_data);
    /* What cannot be had now may come back from the reader; that is to be waited for. */
    return r == -EAGAIN && pool->sent > 0 && grown != -EPROTO && grown != -EPIPE ? -EAGAIN : grown;
}

static void put_descriptor(struct shm_link *shm, uint8_t *body, uint32_t kind, const struct shm_descriptor *descriptor) {
    memcpy(body, descriptor, sizeof *descriptor);
    ring_append(&shm->sender.ring, kind, sizeof *descriptor);
}

static int send_pool(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    uint8_t *body, *data;
    uint16_t slot;
    int r = claim(shm, sizeof(struct shm_descriptor), &body);
    if (r == 0)
        r = pool_room(shm, message->size, &slot, &data);
    if (r < 0)
        return r;
    r = claim(shm, sizeof(struct shm_descriptor), &body); /* the pool's growth may have moved it */
    if (r == 0 && fds && fds->n > 0)
        r = carrier_send(shm, fds->fds, (unsigned)fds->n);
    if (r < 0) {
        pool_free(shm->sender.pool, slot);
        return r;
    }
    copy_bytes(data, message->data, message->size);
    struct shm_descriptor descriptor = pool_send(shm->sender.pool, slot, message->size);
    descriptor.fds = fds ? (uint16_t)fds->n : 0;
    put_descriptor(shm, body, SHM_POOL, &descriptor);
    return 0;
}

/* ---- Memfds of their own: one at a time, as each is as large as the pool. ---- */

static int own_free(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    if (sender->own_lent)
        return -EAGAIN;
    if (sender->own_message == 0)
        return 0;
    uint64_t taken = sender->peer ? load_acquire(&sender->peer->taken) : 0; /* pairs with ring_reader_publish */
    if (taken > load_relaxed(&sender->ring.messages))
        return sender_fault(shm, "it took more messages than were sent");
    return taken >= sender->own_message ? 0 : -EAGAIN;
}

static int own_publish(struct shm_link *shm, int fd, uint64_t size, const struct descriptors *fds, uint64_t spare) {
    int all[CARRIER_MAX] = { fd };
    unsigned n = fds ? (unsigned)fds->n : 0;
    for (unsigned i = 0; i < n; i++)
        all[i + 1] = fds->fds[i];
    struct ring_writer *ring = &shm->sender.ring;
    uint8_t *body;
    int r = ring_claim(ring, sizeof(struct shm_descriptor), spare, &body);
    if (r == 0)
        r = carrier_send(shm, all, n + 1);
    if (r < 0)
        return r == -EPROTO ? sender_fault(shm, ring->fault) : r;
    struct shm_descriptor descriptor = { .size = size, .fds = (uint16_t)n };
    put_descriptor(shm, body, SHM_OWN, &descriptor);
    shm->sender.own_message = load_relaxed(&ring->messages);
    return 0;
}

static int send_own(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    uint8_t *body;
    int r = own_free(shm);
    if (r == 0)
        r = claim(shm, sizeof(struct shm_descriptor), &body);
    if (r < 0)
        return r;
    cleanup_fd fd = -1;
    r = memory_message(message->size, message->data, &fd);
    if (r == 0)
        r = memory_seal(fd, message->size);
    if (r < 0)
        return r;
    return own_publish(shm, fd, message->size, fds, ring_spare(shm->sender.n_loans));
}

/* ---- Sending ---- */

static inline int send_data(struct shm_link *shm, const hawser_message *message) {
    uint8_t *body;
    int r = claim(shm, message->size, &body);
    if (unlikely(r < 0))
        return r;
    copy_bytes(body, message->data, message->size);
    ring_append(&shm->sender.ring, SHM_DATA, message->size);
    return 0;
}

static int send_inline(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    if (!fds || fds->n == 0)
        return send_data(shm, message);
    struct shm_fds_prefix prefix = { .count = (uint32_t)fds->n };
    uint8_t *body;
    int r = claim(shm, sizeof prefix + message->size, &body);
    if (r == 0)
        r = carrier_send(shm, fds->fds, (unsigned)fds->n);
    if (r < 0)
        return r;
    memcpy(body, &prefix, sizeof prefix);
    copy_bytes(body + sizeof prefix, message->data, message->size);
    ring_append(&shm->sender.ring, SHM_DATA_FDS, sizeof prefix + message->size);
    return 0;
}

static int send_other(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    bool inside = message->size <= shm->sender.inline_max || streams(shm, message->size);
    if (load_relaxed(&shm->link.broken))
        return link_broken(&shm->link);
    if (inside)
        return send_inline(shm, message, fds);
    if (message->size > SHM_SIZE_MASK)
        return error_set(-EMSGSIZE, "send: a message of over 2^56 bytes");
    int r = send_pool(shm, message, fds);
    return r == -ENOBUFS ? send_own(shm, message, fds) : r;
}

static inline int send_one(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    if (unlikely(message->size > shm->sender.inline_max || (fds && fds->n > 0)))
        return send_other(shm, message, fds);
    return send_data(shm, message);
}

/* Is it the ring that lacks room, rather than what lies outside of it? */
static bool ring_lacks(struct shm_link *shm, uint64_t size, const struct descriptors *fds) {
    bool inside = size <= shm->sender.inline_max || streams(shm, size);
    uint64_t body = inside ? size + (fds ? sizeof(struct shm_fds_prefix) : 0) : sizeof(struct shm_descriptor);
    return ring_room(&shm->sender.ring, body, ring_spare(shm->sender.n_loans)) == 0;
}

/* No room: notes what the reader looked like before a last try, so that arm can tell whether anything changed since. */
static __attribute__((noinline)) int send_again(struct shm_link *shm, const hawser_message *message, const struct descriptors *fds) {
    if (!shm->sender.peer)
        wake_drain(shm); /* the peer's hello may wait; it has the cursors */
    sender_meet(shm);
    struct shm_seen seen = sender_look(&shm->sender);
    int r = send_one(shm, message, fds);
    if (r == -EAGAIN && ring_lacks(shm, message->size, fds) && ring_extend(shm))
        r = send_one(shm, message, fds);
    if (r == -EAGAIN) {
        sender_saw(&shm->sender, seen);
        shm_glance_again(shm, &shm->sender.glance);
    }
    return r;
}

int shm_send(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync, size_t *ret_sent) {
    struct shm_link *shm = shm_of(link);
    struct ring_writer *ring = &shm->sender.ring;
    (void)sync; /* what was taken always stands in the peer's segment */
    int r = sender_check(shm);
    if (unlikely(r < 0))
        return r;
    uint64_t published = ring->write;
    size_t sent = 0;
    for (; sent < n; sent++) {
        r = send_one(shm, &messages[sent], fds);
        if (unlikely(r == -EAGAIN && sent == 0))
            r = send_again(shm, &messages[0], fds);
        if (unlikely(r < 0))
            break;
        if (ring->write - published >= BATCH) {
            publish(shm);
            published = ring->write;
        }
    }
    if (unlikely(sent == 0))
        return r;
    publish(shm);
    *ret_sent = sent;
    return 0;
}

int shm_put(struct link *link, const void *data, size_t size) {
    struct shm_link *shm = shm_of(link);
    struct shm_sender *sender = &shm->sender;
    uint64_t position = sender->ring.write;
    if (unlikely(size >= sender->quick_below || load_relaxed(&link->broken) ||
                 load_relaxed(&link->peer.gone) || load_relaxed(&sender->peer->state) >= SHM_CLOSED ||
                 !ring_put(&sender->ring, data, size)))
        return 1;
    wake_met_receiver(shm, position);
    return 0;
}

/* Would a message outside the ring, or a loan, find room? What the pool grows by here serves the send that follows. */
static bool room_outside(struct shm_link *shm, uint64_t size) {
    uint16_t slot;
    uint8_t *data;
    int r = pool_room(shm, size, &slot, &data);
    if (r == 0)
        pool_free(shm->sender.pool, slot);
    if (r != -ENOBUFS)
        return r != -EAGAIN;
    return own_free(shm) != -EAGAIN && carrier_writable(shm);
}

static bool room_for(struct shm_link *shm, const struct refusal *refusal) {
    struct shm_sender *sender = &shm->sender;
    bool outside = refusal->loan || (refusal->size > sender->inline_max && !streams(shm, refusal->size));
    uint64_t least = sender->inline_max < 256 ? sender->inline_max : 256;
    uint64_t size = outside ? sizeof(struct shm_descriptor) : refusal->size > least ? refusal->size : least;
    if (refusal->fds && !outside)
        size += sizeof(struct shm_fds_prefix);
    if (ring_room(&sender->ring, size, ring_spare(sender->n_loans + refusal->loan)) == 0)
        return false;
    return (!refusal->fds || carrier_writable(shm)) && (!outside || room_outside(shm, refusal->size));
}

int shm_room(struct link *link) {
    struct shm_link *shm = shm_of(link);
    struct shm_sender *sender = &shm->sender;
    if (sender_check(shm) < 0)
        return 1; /* sending would fail, not wait */
    struct shm_seen seen = sender_look(sender);
    bool room = room_for(shm, &link->refusal);
    if (!room)
        sender_saw(sender, seen);
    return room;
}

/* ---- Loans ---- */

static int loan_own(struct shm_link *shm, uint64_t size, struct shm_loan *loan) {
    if (shm->sender.own_lent)
        return error_set(-ENOBUFS, "lend %llu bytes: one loan larger than the pool is out already", (unsigned long long)size);
    cleanup_fd fd = -1;
    int r = own_free(shm);
    if (r == 0)
        r = memory_message(size, NULL, &fd);
    if (r == 0)
        r = memory_map_writable(fd, size, &loan->memory);
    if (r < 0)
        return r;
    loan->data = loan->memory.base;
    loan->slot = POOL_NONE;
    loan->fd = steal_fd(&fd);
    shm->sender.own_lent = true;
    return 0;
}

static int loan_try(struct shm_link *shm, uint64_t size, struct shm_loan *loan) {
    struct shm_sender *sender = &shm->sender;
    int r = ring_room(&sender->ring, sizeof(struct shm_descriptor), ring_spare(sender->n_loans + 1));
    if (r <= 0)
        return r < 0 ? sender_fault(shm, sender->ring.fault) : -EAGAIN;
    uint8_t *data = NULL;
    r = pool_room(shm, size, &loan->slot, &data);
    if (r == -ENOBUFS)
        return loan_own(shm, size, loan);
    if (r == -EAGAIN && sender->pool && sender->pool->sent == 0 && sender->n_loans > 0)
        return error_set(-ENOBUFS, "lend %llu bytes: the loans that are out hold the whole pool", (unsigned long long)size);
    loan->data = data;
    return r;
}

int shm_loan(struct link *link, size_t size, void **ret_data) {
    struct shm_link *shm = shm_of(link);
    struct shm_sender *sender = &shm->sender;
    int r = sender_check(shm);
    if (r < 0)
        return r;
    if (sender->n_loans == SHM_LOANS)
        return error_set(-ENOBUFS, "lend: %d loans are out already", SHM_LOANS);
    struct shm_loan *loan = sender->loans;
    while (loan->data)
        loan++;
    if (!sender->peer)
        wake_drain(shm);
    sender_meet(shm);
    struct shm_seen seen = sender_look(sender);
    struct shm_loan fresh = { .size = size };
    r = loan_try(shm, size, &fresh);
    if (r < 0) {
        if (r == -EAGAIN)
            sender_saw(sender, seen);
        return r;
    }
    *loan = fresh;
    sender->n_loans++;
    sender_quicken(shm);
    *ret_data = loan->data;
    return 0;
}

static struct shm_loan *loan_find(struct shm_link *shm, const void *data) {
    for (unsigned i = 0; data && i < SHM_LOANS; i++)
        if (shm->sender.loans[i].data == data)
            return &shm->sender.loans[i];
    return NULL;
}

/* The map must go before the memfd can be sealed against writing. Should a step fail, the loan is lost with it. */
static int commit_own(struct shm_link *shm, struct shm_loan *loan, uint64_t size) {
    memory_unmap(&loan->memory);
    int r = memory_seal(loan->fd, size);
    if (r == 0)
        r = own_publish(shm, loan->fd, size, NULL, 0);
    return r == -EAGAIN ? error_set(-ETOOMANYREFS, "commit: too many descriptors are under way to the peer") : r;
}

static int commit_pool(struct shm_link *shm, struct shm_loan *loan, uint64_t size) {
    uint8_t *body;
    int r = ring_claim(&shm->sender.ring, sizeof(struct shm_descriptor), 0, &body); /* set aside by the loan */
    if (r < 0)
        return sender_fault(shm, r == -EPROTO ? shm->sender.ring.fault : "its cursor took back the room of a loan");
    struct shm_descriptor descriptor = pool_send(shm->sender.pool, loan->slot, size);
    put_descriptor(shm, body, SHM_POOL, &descriptor);
    *loan = (struct shm_loan){ 0 };
    shm->sender.n_loans--;
    sender_quicken(shm);
    return 0;
}

int shm_commit(struct link *link, void *data, size_t size) {
    struct shm_link *shm = shm_of(link);
    struct shm_loan *loan = loan_find(shm, data);
    if (!loan)
        return error_set(-EINVAL, "commit: %p is no loan of this channel", data);
    if (size > loan->size)
        return error_set(-EMSGSIZE, "commit: %zu bytes, but %llu were lent", size, (unsigned long long)loan->size);
    int r = sender_check(shm);
    if (r == 0 && loan->slot != POOL_NONE)
        r = commit_pool(shm, loan, size);
    else if (r == 0)
        r = commit_own(shm, loan, size);
    if (loan->data)
        loan_drop(shm, loan);
    if (r < 0)
        return r;
    publish(shm);
    return 0;
}

int shm_discard(struct link *link, void *data) {
    struct shm_link *shm = shm_of(link);
    struct shm_loan *loan = loan_find(shm, data);
    if (!loan)
        return error_set(-EINVAL, "discard: %p is no loan of this channel", data);
    loan_drop(shm, loan);
    return 0;
}
