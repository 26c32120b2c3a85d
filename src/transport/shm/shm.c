/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The life of a link over shared memory. Each end makes its segment in the process that uses it, with its hello: the maps are not
 * inherited by fork. An idle link holds three descriptors: the rendezvous socket, the peer's pidfd, the carrier. */

#include "transport/shm/shm.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/rendezvous.h"

#include <errno.h>

#define QUOTA_LEAST (UINT64_C(1) << 30) /* what a peer's pool may have, whatever ours has: only addresses are spent on it */
#define OFFER_MAGIC 0x6d687368u

/* Beside the descriptors of a hello or an exported end. */
struct shm_offer {
    uint32_t magic;
    uint32_t version;
};

static void shm_close(struct link *link, bool owner);

static uint32_t own_barrier(const struct shm_link *shm) { return shm->link.options.fence ? 0 : barrier_prepare(); }

static void offer_begin(struct offer *offer) {
    struct shm_offer data = { .magic = OFFER_MAGIC, .version = SHM_VERSION };
    memcpy(offer->data, &data, sizeof data);
    offer->size = sizeof data;
    offer->n_fds = 0;
}

/* What a peer, or whoever passed us an exported end, sent is refused unless it has just these descriptors. */
static int offer_check(const struct offer *offer, unsigned n_fds) {
    struct shm_offer data;
    if (offer->size < sizeof data)
        return error_set(-EPROTO, "a hello too short for shared memory");
    memcpy(&data, offer->data, sizeof data);
    if (data.magic != OFFER_MAGIC || data.version != SHM_VERSION)
        return error_set(-EPROTO, "a hello of another shared-memory format");
    if (offer->n_fds != n_fds)
        return error_set(-EPROTO, "a hello with %u descriptors where shared memory wants %u", offer->n_fds, n_fds);
    return 0;
}

/* The segment. Made anew only if the hello could not be sent, so nobody has seen the one before. */
static int shm_prepare(struct link *link) {
    struct shm_link *shm = shm_of(link);
    const struct options *options = &link->options;
    uint64_t quota = options->pool > QUOTA_LEAST ? options->pool : QUOTA_LEAST;
    struct segment_plan plan = { .ring_size = shm_first_ring(options), .ring_quota = shm_ring_quota(options), .pool_quota = quota,
                                 .barrier = !options->fence };
    memory_unmap(&shm->own);
    int r = segment_create(&plan, &shm->own, &shm->own_fd);
    if (r == 0)
        sender_init(shm);
    return r;
}

static int shm_offer_hello(struct link *link, struct offer *ret_offer) {
    struct shm_link *shm = shm_of(link);
    int carriers[2] = { -1, -1 };
    if (link->role == LINK_CONNECT) {
        int r = carrier_pair(carriers);
        if (r < 0)
            return r;
    }
    int r = shm->own_fd < 0 ? shm_prepare(link) : 0;
    if (r < 0) {
        carrier_close(carriers, 2);
        return r;
    }
    offer_begin(ret_offer);
    ret_offer->fds[ret_offer->n_fds++] = steal_fd(&shm->own_fd);
    if (link->role == LINK_CONNECT) {
        carrier_close(&shm->carrier, 1);
        shm->carrier = carriers[0];
        ret_offer->fds[ret_offer->n_fds++] = carriers[1];
    }
    return 0;
}

/* The peer's hello. */
static int shm_meet(struct link *link, struct offer *offer) {
    struct shm_link *shm = shm_of(link);
    bool with_carrier = link->role == LINK_LISTEN;
    int r = offer_check(offer, with_carrier ? 2 : 1);
    if (r < 0)
        return r;
    if (load_relaxed(&shm->met))
        return error_set(-EPROTO, "a second hello");
    if (with_carrier) {
        r = carrier_check(offer->fds[1]);
        if (r < 0)
            return r;
    }
    r = segment_adopt(offer->fds[0], &shm->view);
    if (r < 0)
        return r;
    if (with_carrier)
        shm->carrier = steal_fd(&offer->fds[1]);
    uint32_t ours = own_barrier(shm), theirs = shm->view.barrier;
    shm->light = (ours & SHM_BARRIER_REGISTERED) && (theirs & SHM_BARRIER_ISSUES);
    shm->heavy = (theirs & SHM_BARRIER_REGISTERED) && (ours & SHM_BARRIER_ISSUES);
    store_release(&shm->met, 1); /* pairs with each load of met */
    return 0;
}

static int shm_note(struct link *link, const struct note *note) {
    return link_break(link, "a note of unknown type %u", note->type);
}

static int shm_create(const struct options *options, enum link_role role, struct link **ret_link) {
    struct shm_link *shm = memory_new(sizeof *shm);
    if (!shm)
        return error_set(-ENOMEM, "no memory for a channel");
    link_init(&shm->link, &transport_shm, options, role);
    shm->carrier = shm->own_fd = -1;
    shm->link.apart = -1; /* nobody has asked yet */
    *ret_link = &shm->link;
    return 0;
}

static int shm_join(struct link *a, struct link *b) {
    int fds[2];
    int r = carrier_pair(fds);
    if (r < 0)
        return r;
    shm_of(a)->carrier = fds[0];
    shm_of(b)->carrier = fds[1];
    return 0;
}

static int shm_pack(struct link *link, struct offer *ret_offer) {
    offer_begin(ret_offer);
    ret_offer->fds[ret_offer->n_fds++] = steal_fd(&link->peer.socket);
    ret_offer->fds[ret_offer->n_fds++] = steal_fd(&shm_of(link)->carrier);
    return 0;
}

static int shm_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    int r = offer_check(offer, 2);
    if (r == 0)
        r = carrier_check(offer->fds[1]);
    if (r < 0)
        return r;
    struct link *link = NULL;
    r = shm_create(options, LINK_PAIR, &link);
    if (r < 0)
        return r;
    r = peer_adopt(&link->peer, &offer->fds[0]);
    if (r < 0) {
        shm_close(link, false);
        return r;
    }
    shm_of(link)->carrier = steal_fd(&offer->fds[1]);
    *ret_link = link;
    return 0;
}

/* [tell] Says in our segment that the end has come, and wakes whoever sleeps for it. */
static void shm_tell(struct shm_link *shm, uint32_t state) {
    struct shm_segment *own = shm_own(shm);
    if (load_relaxed(&own->state) >= state)
        return;
    store_release(&own->state, state); /* pairs with receiver_empty and acked_by: the messages come before */
    fence_seq_cst();                   /* pairs with fall_asleep */
    wake_receiver(shm, shm->sender.ring.write); /* a nap that begins just now lasts */
    if (state == SHM_CLOSED && receiver_meet(shm))
        wake_sender(shm);
}

static int shm_shutdown(struct link *link) {
    struct shm_link *shm = shm_of(link);
    if (shm->own.size > 0)
        shm_tell(shm, SHM_SHUT_DOWN);
    return 0;
}

/* Nothing to drain: what was published lies in memory that the peer holds too, or in sockets that keep it. */
static int shm_drained(struct link *link) {
    (void)link;
    return 0;
}

static int shm_progress(struct link *link) {
    (void)link;
    return 0;
}

static int shm_unhand(struct link *link) {
    (void)link;
    return 0;
}

static int shm_ask(struct link *link) {
    (void)link;
    return 0;
}

static void shm_close(struct link *link, bool owner) {
    struct shm_link *shm = shm_of(link);
    if (owner && shm->own.size > 0)
        shm_tell(shm, SHM_CLOSED);
    sender_deinit(shm, owner);
    receiver_deinit(shm, owner);
    if (owner) { /* in a forked child something else may lie there: the maps were not inherited */
        memory_unmap(&shm->own);
        memory_unmap(&shm->view.memory);
    }
    carrier_close(&shm->carrier, 1);
    cleanup_close(&shm->own_fd);
    link_deinit(link);
    memory_free(shm);
}

const struct transport transport_shm = {
    .scheme = "shm",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_ZERO_COPY | HAWSER_CAN_DESCRIPTORS |
                    HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE | HAWSER_CAN_ORDERED,
    .listen = rendezvous_listen,
    .greet = rendezvous_greet,
    .prepare = shm_prepare,
    .unlisten = rendezvous_unlisten,
    .connect = rendezvous_connect,
    .pair = rendezvous_pair,
    .begin = rendezvous_begin,
    .pack = shm_pack,
    .unpack = shm_unpack,
    .create = shm_create,
    .join = shm_join,
    .offer = shm_offer_hello,
    .meet = shm_meet,
    .note = shm_note,
    .send = shm_send,
    .put = shm_put,
    .get = shm_get,
    .progress = shm_progress,
    .keep = shm_progress,
    .loan = shm_loan,
    .commit = shm_commit,
    .discard = shm_discard,
    .recv = shm_recv,
    .unhand = shm_unhand,
    .take = shm_take,
    .release = shm_release,
    .ready = shm_ready,
    .room = shm_room,
    .ask = shm_ask,
    .acked = shm_acked,
    .shutdown = shm_shutdown,
    .drained = shm_drained,
    .close = shm_close,
    .arm = shm_arm,
    .announce = shm_announce,
    .settle = shm_settle,
    .disarm = shm_disarm,
    .woken = shm_woken,
    .look = shm_look,
};
