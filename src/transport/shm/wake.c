/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Falling asleep and waking. Who is about to sleep makes its word in its own segment odd, issues the barrier, and looks
 * once more; who publishes looks at the word after. So one of the two sees the other. A word counts up with each
 * sleep, so that a peer rings once for each, however many messages it sends before the sleeper is up.
 *
 * A receiver that waits for nothing else first naps, for some ms: in a futex on the header word that will be stored where it reads
 * next, which lies in memory that it cannot even write. The word in its segment then names that position, and only what is
 * published there wakes it. That is a third cheaper than the socket, and deaf to all but messages.
 *
 * Names in brackets are steps of the model that is checked in tests/model/wake.pml.
 *
 * All doorbells of a link come over one socket, on which both halves may sleep: whoever drains it while another
 * half sleeps passes the news on. */

#include "transport/shm/shm.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>

#define RINGS_IN_VAIN 64u /* heard at once without cause before the bell is left alone */
#define RINGS_FOR_ONE 2u  /* in order for each message that was taken or sent */

static uint32_t sleeping(const struct shm_link *shm) {
    uint32_t n = 0;
    for (unsigned i = 0; i < SLEEPERS; i++)
        n += load_relaxed(&shm->sleepers[i]);
    return n;
}

/* [ring] */
void wake_ring(struct shm_link *shm) {
    add_relaxed(&shm->link.wakes, 1);
    (void)peer_ring(&shm->link.peer); /* a peer that is gone needs none; a full socket wakes it as well */
}

/* [ring] A receiver naps on the header that was just published: the kernel looks at it under its own lock, so none comes too early. */
void wake_nap(struct shm_link *shm, uint64_t position) {
    const struct ring_writer *ring = &shm->sender.ring;
    add_relaxed(&shm->link.wakes, 1);
    word_wake(ring_kind(ring->data + (position & ring->mask)));
}

void wake_drain(struct shm_link *shm) {
    peer_drain(&shm->link);
    if (sleeping(shm) > 0)
        link_news(&shm->link);
}

/* [S] The peer's hello had not come when we published. Had it come since, the peer may sleep already; if it comes
 * later, the peer looks at our ring after its hello, and finds the message. */
void wake_unmet(struct shm_link *shm, uint64_t position) {
    fence_seq_cst(); /* pairs with fall_asleep */
    wake_drain(shm);
    if (sender_meet(shm))
        wake_receiver(shm, position);
}

static enum shm_sleeper sleeper_of(enum want want) {
    return want == WANT_RECEIVE ? SLEEPER_RECEIVER : want == WANT_SEND ? SLEEPER_SENDER : SLEEPER_ASKER;
}

static uint32_t *asleep_word(struct shm_link *shm, enum shm_sleeper sleeper) {
    struct shm_segment *own = shm_own(shm);
    if (sleeper == SLEEPER_RECEIVER)
        return &own->receiver_asleep;
    return sleeper == SLEEPER_SENDER ? &own->sender_asleep : &own->asker_asleep;
}

static bool send_changed(struct shm_link *shm) {
    struct shm_sender *sender = &shm->sender;
    if (sender->seen_by != sys_thread_mark())
        return true;
    if (!sender_meet(shm))
        return false;
    struct shm_seen now = sender_look(sender);
    if (load_relaxed(&sender->peer->state) == SHM_CLOSED)
        return true;
    return now.freed != sender->seen.freed || now.released != sender->seen.released || now.taken != sender->seen.taken;
}

static bool ack_changed(struct shm_link *shm) {
    if (!load_acquire(&shm->met)) /* pairs with shm_meet */
        return false;
    const struct shm_segment *peer = segment_of(&shm->view.memory);
    /* pairs with ring_reader_publish */
    return load_acquire(&peer->taken) != load_relaxed(&shm->acked) || load_relaxed(&peer->state) == SHM_CLOSED;
}

static bool receive_changed(struct shm_link *shm) {
    struct shm_receiver *receiver = &shm->receiver;
    struct ring_record record;
    if (!receiver_meet(shm))
        return false;
    return ring_next(&receiver->ring, &record) != 0 || load_relaxed(&receiver->peer->state) != SHM_OPEN;
}

/* A peer may ring for a message or two of each sleep, and now and then for nothing. One that rings much more often, to keep us
 * awake, is not listened to: the sleep looks every millisecond, until what comes has made up for it. Two threads here at once
 * may count wrong; that costs the liar a millisecond, or us a wake. */
static bool deafened(struct shm_link *shm) {
    uint64_t rings = load_relaxed(&shm->link.peer.rings), due = load_relaxed(&shm->rings_due);
    if (likely(rings - due < RINGS_IN_VAIN))
        return false;
    uint64_t brought = load_relaxed(&shm_own(shm)->taken) + load_relaxed(&shm->sender.ring.messages) + load_relaxed(&shm->acked);
    int64_t now_ns = clock_coarse();
    uint64_t more = RINGS_FOR_ONE * (brought - load_relaxed(&shm->brought)) + (uint64_t)(now_ns - load_relaxed(&shm->rings_ns)) / BRIEF_NS;
    if (more == 0)
        return true;
    store_relaxed(&shm->brought, brought);
    store_relaxed(&shm->rings_ns, now_ns);
    due += more < rings - due ? more : rings - due;
    store_relaxed(&shm->rings_due, due);
    return rings - due >= RINGS_IN_VAIN;
}

static uint32_t sleep_word(struct shm_link *shm, enum shm_sleeper sleeper) {
    return ++shm->sleeps[sleeper] * SHM_SLEEP | SHM_SLEEPS;
}

static void fall_asleep(struct shm_link *shm, enum shm_sleeper sleeper, bool nap) {
    count_add(&shm->sleepers[sleeper], 1);
    uint32_t word = nap ? shm_nap_at(shm->receiver.ring.read) : sleep_word(shm, sleeper);
    store_relaxed(asleep_word(shm, sleeper), word); /* [arm] */
    fence_seq_cst(); /* pairs with wake_met_receiver, wake_sender, wake_unmet and shm_tell */
}

static bool wants_barrier(struct shm_link *shm) {
    return load_acquire(&shm->met) && shm->heavy; /* pairs with shm_meet */
}

/* A peer whose hello is read only after this has its news told; see shm_meet. */
bool shm_announce(struct link *link) {
    struct shm_link *shm = shm_of(link);
    fall_asleep(shm, SLEEPER_RECEIVER, false);
    shm->announced = true;
    return wants_barrier(shm);
}

int shm_settle(void) { return barrier_heavy(); }

/* [R] A receiver that waits for nothing else, and not beside others, may nap on the word it would find next. */
static bool naps(struct shm_link *shm, enum want want, const struct sleep_set *set) {
    return set->may_nap && want == WANT_RECEIVE && receiver_meet(shm) && load_relaxed(&shm->sleepers[SLEEPER_RECEIVER]) == 0 &&
           !deafened(shm);
}

int shm_arm(struct link *link, enum want want, struct sleep_set *set) {
    struct shm_link *shm = shm_of(link);
    bool announced = want == WANT_RECEIVE && shm->announced, nap = !announced && naps(shm, want, set);
    int r = 0;
    if (announced) {
        shm->announced = false;
    } else {
        fall_asleep(shm, sleeper_of(want), nap);
        /* On one CPU the switch to the peer is a barrier. A thread of it that runs elsewhere after all costs the rest of a nap at most. */
        bool same_cpu = nap && load_relaxed(&link->apart) == 0;
        r = wants_barrier(shm) && !same_cpu ? barrier_heavy() : 0; /* [barrier] */
    }
    /* [again] */
    bool changed = want == WANT_RECEIVE ? receive_changed(shm) : want == WANT_SEND ? send_changed(shm) : ack_changed(shm);
    if (r < 0 || changed || load_relaxed(&link->peer.gone) || load_relaxed(&link->broken))
        return 1; /* without a barrier a wake-up could be lost: better not to sleep */
    if (nap)
        set->word = ring_kind(ring_next_header(&shm->receiver.ring));
    else if (deafened(shm))
        peer_sleep_deaf(&link->peer, set);
    else
        peer_sleep(&link->peer, set);
    return 0;
}

/* Of several threads that sleep for the same, the others sleep on: the word stays odd, but counts as a new sleep. (Who naps
 * does so alone.) */
void shm_disarm(struct link *link, enum want want) {
    struct shm_link *shm = shm_of(link);
    enum shm_sleeper sleeper = sleeper_of(want);
    count_add(&shm->sleepers[sleeper], (uint32_t)-1);
    uint32_t word = load_relaxed(&shm->sleepers[sleeper]) > 0 ? sleep_word(shm, sleeper) : 0;
    store_relaxed(asleep_word(shm, sleeper), word); /* [disarm] */
}

void shm_woken(struct link *link, int fd, short revents) {
    if (fd < 0) { /* from a nap */
        count_add(&link->peer.rings, 1);
        return;
    }
    if (peer_woken(link, fd, revents) && sleeping(shm_of(link)) > 1)
        link_news(link);
}

void shm_look(struct link *link) {
    peer_look(link);
    if (sleeping(shm_of(link)) > 0)
        link_news(link);
}
