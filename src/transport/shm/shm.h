/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A link over shared memory: what life (shm.c), sending (send.c), receiving (receive.c), waiting (wake.c) and the passing of
 * descriptors (carrier.c) share.
 *
 * Each end owns a segment; the ring in it is what it sends. The two halves share no plain memory: what both look at (met, the
 * peer's view) is written once, before `met` is released. Besides the rendezvous socket a link has a second one, the carrier:
 * descriptors that belong to records (the user's, pool memfds, memfds of single messages) wait in it until the receiver
 * comes to their record, so none can be lost for lack of free descriptors, nor stand in a doorbell's way. */

#include "core/transport.h"
#include "shm/pool.h"
#include "shm/ring.h"

#define SHM_LOANS 64
#define SHM_FIRST_RING (UINT64_C(64) << 10) /* bytes; a larger one comes when a reader does not keep up */

struct shm_loan {
    void *data; /* NULL: none */
    uint64_t size;
    uint16_t slot;        /* POOL_NONE: in a memfd of its own */
    struct memory memory; /* then its map */
    int fd;
};

/* What a sender that found no room last saw of the reader; it sleeps only while nothing of it changed. */
struct shm_seen {
    uint64_t freed, released, taken;
};

/* A program that never waits (HAWSER_NOW) hears of a death from its own tries: each 64th in vain may look. */
struct shm_glance {
    uint32_t vain;
    int64_t looked_ns;
};

struct shm_sender {
    struct ring_writer ring;
    const struct shm_segment *peer; /* NULL until this half has seen `met` */
    uint64_t inline_max;
    uint64_t stream_max;  /* in the larger ring, once there is one, to a reader that holds nothing */
    uint64_t quick_below; /* smaller messages may take the short way: none before the peer is met, nor with loans out */
    uint32_t rung;      /* the peer's receiver_asleep when it was last rung */
    struct memory larger; /* the larger ring, once there is one */
    bool light;         /* publishing needs no fence: the peer issues a barrier before it sleeps */
    uint64_t own_message; /* number of the last message in a memfd of its own, 0: none */
    bool own_lent;
    struct shm_seen seen;
    const void *seen_by; /* a mark of the thread that did: another one's look says nothing of what this one may send */
    struct shm_glance glance;
    struct pool_writer *pool; /* made when first wanted */
    unsigned n_loans;
    struct shm_loan loans[SHM_LOANS];
};

/* A taken message that is neither in the ring nor in the pool: a memfd of its own, or a copy (stable=yes). */
struct shm_kept {
    struct memory memory;
    void *copy;
};

struct shm_receiver {
    struct ring_reader ring;
    struct memory larger; /* the peer's larger ring, once there is one */
    const struct shm_segment *peer;
    uint32_t rung_sender, rung_asker;
    bool light;
    struct pool_reader pool;
    struct shm_kept *kept;
    size_t n_kept;
    struct shm_glance glance;
};

enum shm_sleeper { SLEEPER_RECEIVER, SLEEPER_SENDER, SLEEPER_ASKER, SLEEPERS };

struct shm_link {
    struct link link;
    struct memory own; /* the segment; size 0 until the first use */
    int own_fd;        /* its descriptor, between its making and the hello */
    int carrier;
    uint32_t met; /* atomic: view below is filled in */
    struct segment_view view;
    bool light; /* both of us can do with the asymmetric barrier, for what we publish ... */
    bool heavy; /* ... and for what the peer publishes: then we issue it before we sleep */
    char gap[128];
    struct shm_sender sender;
    char second_gap[128];
    struct shm_receiver receiver;
    uint64_t acked; /* the asker's: the peer's taken count when last looked at; atomic */
    uint32_t sleepers[SLEEPERS]; /* atomic: arms without their disarm */
    uint32_t sleeps[SLEEPERS];   /* of each ever */
    bool announced; /* [R] an arm has begun */
    uint64_t rings_due, brought; /* atomic: doorbells that were in order, and what they had brought by ... */
    int64_t rings_ns;            /* ... this time; atomic */
};

static inline struct shm_link *shm_of(struct link *link) { return (struct shm_link *)(void *)link; }

/* Who forgoes looks at the peer wants no system calls at all: its ring has its full size from the first. */
static inline uint64_t shm_first_ring(const struct options *options) {
    return options->watch && options->ring > SHM_FIRST_RING ? SHM_FIRST_RING : options->ring;
}

/* Nor does it take a larger ring of the peer's: mapping that takes some. */
static inline uint64_t shm_ring_quota(const struct options *options) { return options->watch ? options->ring : 0; }

static inline struct shm_segment *shm_own(const struct shm_link *shm) { return segment_of(&shm->own); }

extern const struct transport transport_shm;

/* ---- carrier.c ---- */

#define CARRIER_MAX (SHM_FDS_MAX + 1)

int carrier_pair(int *ret_fds);
int carrier_check(int fd); /* the peer's: -EPROTO unless it is a Unix seqpacket socket */
/* One packet. -EAGAIN; -EPIPE; -EBADF; -ETOOMANYREFS; ... */
int carrier_send(struct shm_link *shm, const int *fds, unsigned n);
/* Not writable: carrier_send() would say -EAGAIN. */
bool carrier_writable(const struct shm_link *shm);
/* The next packet, which must carry n descriptors: they are the caller's, the packet stays until carrier_pop().
 * -EMFILE; -EPROTO (the link is broken). */
int carrier_peek(struct shm_link *shm, int *fds, unsigned n);
void carrier_pop(struct shm_link *shm);
void carrier_close(int *fds, unsigned n);

/* ---- send.c ---- */

void sender_init(struct shm_link *shm);
void sender_deinit(struct shm_link *shm, bool owner);
bool sender_meet(struct shm_link *shm); /* has this half the peer's segment by now? */
struct shm_seen sender_look(const struct shm_sender *sender);
int shm_send(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync, size_t *ret_sent);
int shm_put(struct link *link, const void *data, size_t size);
int shm_loan(struct link *link, size_t size, void **ret_data);
int shm_commit(struct link *link, void *data, size_t size);
int shm_discard(struct link *link, void *data);
int shm_room(struct link *link);

/* ---- receive.c ---- */

void receiver_deinit(struct shm_link *shm, bool owner);
bool receiver_meet(struct shm_link *shm);
int shm_recv(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size);
int shm_get(struct link *link, void *buffer, size_t capacity, size_t *ret_size);
int shm_take(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken);
int shm_release(struct link *link, hawser_message *message);
int shm_ready(struct link *link);

/* The asker's: it may run beside both halves, and shares nothing with them. */
int shm_acked(struct link *link, uint64_t *ret_taken);

/* ---- wake.c ---- */

void wake_unmet(struct shm_link *shm, uint64_t position);
void wake_nap(struct shm_link *shm, uint64_t position);
void wake_ring(struct shm_link *shm);
void wake_drain(struct shm_link *shm);
bool shm_announce(struct link *link);
int shm_settle(void);
int shm_arm(struct link *link, enum want want, struct sleep_set *set);
void shm_disarm(struct link *link, enum want want);
void shm_woken(struct link *link, int fd, short revents);
void shm_look(struct link *link);

static inline void shm_glance_again(struct shm_link *shm, struct shm_glance *glance) {
    if (++glance->vain % 64 == 0 && shm->link.options.watch)
        peer_glance(&shm->link, &glance->looked_ns);
}

/* [S] [look] after publishing at that position: a doorbell, once for each time the peer's receiver fell asleep; if it naps, when that
 * is for what was published here: this look may come so late that it naps for the next already. The peer was met. */
static inline void wake_met_receiver(struct shm_link *shm, uint64_t position) {
    struct shm_sender *sender = &shm->sender;
    if (likely(sender->light))
        fence_compiler(); /* pairs with barrier_heavy: shm_arm, or shm_settle, has the peer issue it */
    else
        fence_seq_cst(); /* [fence]; pairs with fall_asleep */
    uint32_t asleep = load_relaxed(&sender->peer->receiver_asleep);
    if (likely(!(asleep & SHM_SLEEPS)))
        return;
    if (asleep == shm_nap_at(position)) {
        wake_nap(shm, position);
    } else if (asleep != sender->rung && (asleep & SHM_NAPS) != SHM_NAPS) {
        sender->rung = asleep;
        wake_ring(shm);
    }
}

/* The same, met or not. */
static inline void wake_receiver(struct shm_link *shm, uint64_t position) {
    if (likely(shm->sender.peer != NULL))
        wake_met_receiver(shm, position);
    else
        wake_unmet(shm, position);
}

/* [R] [look] after publishing cursors or releases. */
static inline void wake_sender(struct shm_link *shm) {
    struct shm_receiver *receiver = &shm->receiver;
    if (receiver->light)
        fence_compiler(); /* pairs with barrier_heavy: shm_arm, or shm_settle, has the peer issue it */
    else
        fence_seq_cst(); /* [fence]; pairs with fall_asleep */
    uint32_t sender = load_relaxed(&receiver->peer->sender_asleep);
    uint32_t asker = load_relaxed(&receiver->peer->asker_asleep);
    if (likely(!((sender | asker) & SHM_SLEEPS)))
        return;
    if (!((sender & SHM_SLEEPS) && sender != receiver->rung_sender) && !((asker & SHM_SLEEPS) && asker != receiver->rung_asker))
        return;
    receiver->rung_sender = sender;
    receiver->rung_asker = asker;
    wake_ring(shm);
}
