/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* System V queues cannot be polled, so who waits for one sleeps on the rendezvous socket, and says so in its page
 * of bells; who has put a message in, or taken one out, looks at the other's page and rings.
 *
 * The sleeper makes its word odd, fences, and looks at the queue once more; the other moves its message, fences, and
 * looks at the word. So one of the two sees the other. Both halves of a link may sleep on the one socket: whoever
 * drains it while somebody sleeps passes the news on. */

#include "transport/sysv/sysv.h"

#include "base/error.h"

#include <errno.h>

static struct bells *bells_of(const struct memory *memory) { return (struct bells *)(void *)memory->base; }

static uint32_t sleeping(const struct sysv_link *sysv) {
    uint32_t n = 0;
    for (unsigned i = 0; i < SLEEPERS; i++)
        n += load_relaxed(&sysv->bedroom.n[i]);
    return n;
}

int bells_make(struct sysv_link *sysv, int *ret_fd) {
    memory_unmap(&sysv->own);
    int r = memory_create("hawser-sysv", sizeof(struct bells), &sysv->own, ret_fd);
    if (r < 0)
        return r;
    struct bells *own = bells_of(&sysv->own);
    own->magic = BELLS_MAGIC;
    own->version = BELLS_VERSION;
    return 0;
}

int bells_adopt(struct sysv_link *sysv, int fd) {
    struct memory memory;
    int r = memory_adopt(fd, sizeof(struct bells), 1 << 16, 0, &memory); /* a page, which may be of 64 KiB */
    if (r < 0)
        return r;
    const struct bells *theirs = bells_of(&memory);
    if (load_relaxed(&theirs->magic) != BELLS_MAGIC || load_relaxed(&theirs->version) != BELLS_VERSION) {
        memory_unmap(&memory);
        return error_set(-EPROTO, "the peer's page of bells has another format");
    }
    sysv->theirs = memory;
    store_release(&sysv->met, 1); /* pairs with each load of met */
    return 0;
}

/* The other end of a pair says hello at its first use. Had it come since our last look, its owner may sleep already; if it comes
 * later, its owner looks at the queue after its hello. */
static bool meet_peer(struct sysv_link *sysv) {
    if (load_acquire(&sysv->met)) /* pairs with bells_adopt */
        return true;
    peer_drain(&sysv->stream.link);
    if (sleeping(sysv) > 0)
        link_news(&sysv->stream.link);
    return load_acquire(&sysv->met); /* pairs with bells_adopt */
}

/* rang keeps a peer that sleeps on, for its own reasons, from being rung for each message. */
static void ring(struct sysv_link *sysv, const uint32_t *word, uint32_t *rang) {
    uint32_t asleep = load_relaxed(word);
    if (!(asleep & 1) || asleep == *rang)
        return;
    add_relaxed(&sysv->stream.link.wakes, 1);
    if (peer_ring(&sysv->stream.link.peer) == 0) /* one that is gone needs none; a full socket wakes as well */
        *rang = asleep;
}

bool bells_empty(struct sysv_link *sysv) {
    if (sysv->seen_sent != sysv->received) /* more was seen than was taken: spare the other CPU's cache line */
        return false;
    if (!load_acquire(&sysv->met)) /* pairs with bells_adopt */
        return false;
    sysv->seen_sent = load_relaxed(&bells_of(&sysv->theirs)->sent);
    /* pairs with set_gone; one that died may have put in more than it counted */
    return sysv->seen_sent == sysv->received && !load_acquire(&sysv->stream.link.peer.gone);
}

uint32_t bells_received(const struct sysv_link *sysv) {
    return load_acquire(&sysv->met) ? load_relaxed(&bells_of(&sysv->theirs)->received) : 0; /* pairs with bells_adopt */
}

bool bells_full(const struct sysv_link *sysv) {
    return load_relaxed(&sysv->full) && bells_received(sysv) == load_relaxed(&sysv->full_received);
}

/* An end of a pair that was never used says goodbye, too, but has no page. */
void bells_announce(struct sysv_link *sysv, int packets) {
    sysv->sent += (uint32_t)packets;
    if (sysv->own.size > 0)
        store_relaxed(&bells_of(&sysv->own)->sent, sysv->sent);
}

void bell_receiver(struct sysv_link *sysv) {
    fence_seq_cst(); /* pairs with sysv_arm */
    if (meet_peer(sysv))
        ring(sysv, &bells_of(&sysv->theirs)->receiver_asleep, &sysv->rang_receiver);
}

void bell_sender(struct sysv_link *sysv) {
    store_relaxed(&bells_of(&sysv->own)->received, ++sysv->received);
    fence_seq_cst(); /* pairs with sysv_arm */
    if (meet_peer(sysv))
        ring(sysv, &bells_of(&sysv->theirs)->sender_asleep, &sysv->rang_sender);
}

static enum sleeper sleeper_of(enum want want) {
    return want == WANT_RECEIVE ? SLEEPER_RECEIVER : want == WANT_SEND ? SLEEPER_SENDER : SLEEPER_ASKER;
}

/* Odd if somebody sleeps, and in any case another number than before. */
static void set_word(uint32_t *word, bool asleep) {
    uint32_t next = load_relaxed(word) + 1;
    store_relaxed(word, (next & 1) == asleep ? next : next + 1);
}

static void set_words(struct sysv_link *sysv, bool room_changed) {
    const struct bedroom *bedroom = &sysv->bedroom;
    struct bells *own = bells_of(&sysv->own);
    set_word(&own->receiver_asleep, bedroom->n[SLEEPER_RECEIVER] > 0);
    if (room_changed)
        set_word(&own->sender_asleep, bedroom->wants_room[SLEEPER_RECEIVER] || bedroom->wants_room[SLEEPER_SENDER] ||
                                          bedroom->wants_room[SLEEPER_ASKER]);
}

int sysv_arm(struct link *link, enum want want, struct sleep_set *set) {
    struct sysv_link *sysv = sysv_of(link);
    struct bedroom *bedroom = &sysv->bedroom;
    enum sleeper sleeper = sleeper_of(want);
    bool stuck = load_seq_cst(&sysv->stream.stuck) & STUCK_BYTES; /* pairs with each store of stuck */
    bool wants_room = want == WANT_SEND || stuck;
    lock_acquire(&bedroom->lock);
    count_add(&bedroom->n[sleeper], 1);
    bedroom->wants_room[sleeper] |= wants_room;
    set_words(sysv, wants_room);
    lock_release(&bedroom->lock);
    fence_seq_cst(); /* pairs with bell_receiver and bell_sender */
    if (wants_room && !bells_full(sysv))
        return 1;
    return stream_arm(link, want, set);
}

void sysv_disarm(struct link *link, enum want want) {
    struct sysv_link *sysv = sysv_of(link);
    struct bedroom *bedroom = &sysv->bedroom;
    enum sleeper sleeper = sleeper_of(want);
    stream_disarm(link, want);
    lock_acquire(&bedroom->lock);
    count_add(&bedroom->n[sleeper], (uint32_t)-1);
    bool room_changed = bedroom->n[sleeper] == 0 && bedroom->wants_room[sleeper];
    if (room_changed)
        bedroom->wants_room[sleeper] = false;
    set_words(sysv, room_changed);
    lock_release(&bedroom->lock);
}

void sysv_woken(struct link *link, int fd, short revents) {
    if (peer_woken(link, fd, revents) && sleeping(sysv_of(link)) > 1)
        link_news(link);
}

void sysv_look(struct link *link) {
    peer_look(link);
    if (sleeping(sysv_of(link)) > 0)
        link_news(link);
}
