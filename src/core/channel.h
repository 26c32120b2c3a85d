/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A channel's inside: shared by channel.c (life), transfer.c (data), wait.c (waiting), poll.c. */

#include "base/lock.h"
#include "base/process.h"
#include "base/sys.h"
#include "core/transport.h"
#include "wait/ladder.h"
#include "wait/poller.h"

#define SLEEPERS_MAX 8 /* threads of one half that can be woken at once; more nap */

/* One direction.
 * quick: while it names this process, nothing is out of the ordinary and a call may take the short way with no other question:
 * the channel was claimed, is not interrupted, nor shut down [S] or armed [R], and the transport has a short way. Whatever changes
 * that stores 0; the long way finds out when all is well again.
 * Counters have one writer at a time (the half's lock or its one thread) and any readers. */
struct half {
    uint32_t quick; /* atomic */
    struct lock lock;
    struct ladder ladder;
    int sleepers[SLEEPERS_MAX]; /* atomic: wakers of threads that sleep for this half, plus 1; 0: free */
    int bell;      /* atomic: [R] the same of the channel's, while it is armed for somebody else's event loop */
    uint32_t rung; /* atomic: that was written to */
    uint64_t messages, bytes, stalls, sleeps, system_calls;
    uint64_t refused_at; /* [S] of messages, when link->refusal was noted: it stands until another one is sent */
    bool slept;       /* [R] the last wait for a message came to a sleep */
    uint64_t answered; /* [R] messages the other half had sent at the last receive */
    const void *user; /* atomic: a mark of the last thread that called for this half */
};

/* Which process owns an end of a pair, in memory that forked processes share. */
struct claim {
    uint32_t owner; /* atomic: process_self() of the owner; 0 nobody yet */
};

struct hawser_channel {
    struct link *link;
    const struct transport *transport;
    int (*put)(struct link *link, const void *data, size_t size); /* the transport's, or NULL, as is ... */
    int (*get)(struct link *link, void *buffer, size_t capacity, size_t *ret_size);
    bool locks;           /* threads=many, or the mechanism's halves meet */
    bool shut;            /* [S] hawser_shutdown was called */
    bool armed;           /* [R] hawser_arm() or a poller armed the link; the next receiving call disarms it ... */
    const void *armed_by; /* [R] ... of this thread, with threads=many: a mark of it */
    bool sticky;          /* [R] a poller did: poll_many.c */
    int sticky_slot;      /* [R] then where its bell stands in receiving.sleepers ... */
    uint32_t sticky_news; /* [R] ... and link->news since */
    struct poller_member member;
    bool exported;
    uint32_t kicked;      /* atomic: link->news when sleepers were last woken for it */
    struct lock claiming; /* first use by two threads at once */
    uint32_t owner;       /* atomic: process_self() of the owner; 0: an end that this process has not used */
    struct claim *claim;  /* pair: shared; else NULL */
    uint32_t interrupted; /* atomic */
    uint64_t told;        /* [R] the count of messages taken that a thread which waits for it was last told */
    struct half sending, receiving;
    int epoll; /* hawser_fd(): -1 until asked for */
    int bell;  /* in it: an eventfd for what a thread of this process reads though the loop sleeps for it */
    unsigned n_watched;
    struct pollfd watched[LINK_SLEEP_MAX]; /* what epoll holds now */
};

int channel_new(struct link *link, struct hawser_channel **ret_channel);

/* Begins every public call: NULL, ownership, first use. 0 or an error with its sentence. */
int channel_claim(struct hawser_channel *channel, uint32_t self);

static inline int channel_enter(struct hawser_channel *channel) {
    uint32_t self = process_self();
    /* acquire: pairs with claim_now; another thread's first use made what this one is about to use */
    if (__builtin_expect(channel && load_acquire(&channel->owner) == self, 1))
        return 0;
    return channel_claim(channel, self);
}

/* Begins a call that can wait: an interrupt that found nobody waiting is for it. */
int channel_cancel(struct hawser_channel *channel);

static inline int channel_enter_waiting(struct hawser_channel *channel) {
    int r = channel_enter(channel);
    if (__builtin_expect(r < 0 || !load_relaxed(&channel->interrupted), 1))
        return r;
    return channel_cancel(channel);
}

static inline void half_lock(struct hawser_channel *channel, struct half *half) {
    if (channel->locks)
        lock_acquire(&half->lock);
}

static inline void half_unlock(struct hawser_channel *channel, struct half *half) {
    if (channel->locks)
        lock_release(&half->lock);
}

static inline bool half_is_quick(const struct half *half) {
    return load_acquire(&half->quick) == process_self(); /* pairs with half_quicken: the channel was claimed */
}

/* On the long way, in the half and under its lock; fit: what else there is to ask. An interrupt stores its flag first. */
static inline void half_quicken(struct hawser_channel *channel, struct half *half, bool fit) {
    if (load_relaxed(&half->quick) != 0 || !fit)
        return;
    store_seq_cst(&half->quick, process_self()); /* pairs with half_is_quick */
    if (load_seq_cst(&channel->interrupted)) /* pairs with hawser_interrupt */
        store_relaxed(&half->quick, 0);
}

/* A thread that naps in a receive is deaf to the others (sleeper.h), so it may only while no other uses the channel. */
static inline void half_use(struct half *half) { store_relaxed(&half->user, sys_thread_mark()); }

/* One call's waiting. */
struct waiting {
    struct hawser_channel *channel;
    struct half *half;
    int64_t timeout, deadline; /* the deadline is reckoned at the first step: most calls need none, and no clock */
    uint64_t calls;  /* sys_calls_made when the call began */
    bool began, slept, napped; /* napped: long enough */
    uint64_t told;   /* WANT_ACK: what this thread was told of the channel's count */
    uint32_t midway; /* the link's, when the ladder last began */
    struct ladder ladder; /* the half's, while it began */
};

static inline void waiting_init(struct waiting *waiting, struct hawser_channel *channel, struct half *half, int64_t timeout) {
    waiting->channel = channel;
    waiting->half = half;
    waiting->timeout = timeout;
    waiting->calls = sys_calls_made;
    waiting->began = waiting->slept = waiting->napped = false;
    waiting->told = 0;
    half_use(half);
}

/* After a try that got -EAGAIN: waits for `want`. 0: try again; -EAGAIN (HAWSER_NOW), -ETIMEDOUT, -ECANCELED. */
int waiting_step(struct waiting *waiting, enum want want);

/* The call ends; came: what was waited for did. Notes what was learned and counted. */
void waiting_end(struct waiting *waiting, bool came);

/* Publishes the calling thread's waker (may be negative) for half; the slot, or -1 (nap then). And takes it back. */
int half_sleeper_add(struct half *half, int waker);
void half_sleeper_remove(struct half *half, int slot);
void half_wake(struct half *half);

/* What hawser_arm(), or a poller, did is undone; under the receiving half's lock. */
void channel_disarm(struct hawser_channel *channel);

static inline bool channel_many(const struct hawser_channel *channel) {
    return channel->link->options.threads == HAWSER_THREADS_MANY;
}

/* A receiving call: hawser_arm() or a poller left the link armed. But another thread's event loop sleeps on. Under the receiving half's lock. */
static inline void channel_disarm_own(struct hawser_channel *channel) {
    if (__builtin_expect(channel->armed, 0) && (!channel_many(channel) || channel->armed_by == sys_thread_mark()))
        channel_disarm(channel);
}

/* threads=many, under the receiving half's lock: something was found and is still there, read into memory maybe, where those who
 * sleep on a descriptor do not see it. */
void channel_pass_on(struct hawser_channel *channel);

/* Wakes all sleepers if the link has had news since it was last called. */
void channel_kick_all(struct hawser_channel *channel, uint32_t news);

static inline void channel_kick(struct hawser_channel *channel) {
    uint32_t news = load_seq_cst(&channel->link->news); /* pairs with link_news */
    if (__builtin_expect(news != load_relaxed(&channel->kicked), 0))
        channel_kick_all(channel, news);
}

/* The same after an arm, true: there was news. What the arm read is for another sleeper, or of a kind that only another try heeds; it
 * may also have been the doorbell for the very sleep that is about to begin (the peer rings once for each). */
static inline bool channel_kick_news(struct hawser_channel *channel) {
    bool news = load_seq_cst(&channel->link->news) != load_relaxed(&channel->kicked); /* pairs with link_news */
    channel_kick(channel);
    return news;
}

/* Sends what acknowledgements are due, if any: after every receiving call. */
void channel_pay_due(struct hawser_channel *channel);

static inline void channel_pay(struct hawser_channel *channel) {
    if (__builtin_expect(load_relaxed(&channel->link->ack_due) != 0, 0))
        channel_pay_due(channel);
}

/* [S] A send or loan found no room. */
static inline void channel_refused(struct hawser_channel *channel, struct refusal refusal) {
    channel->link->refusal = refusal;
    channel->sending.refused_at = load_relaxed(&channel->sending.messages);
}

/* As process_apart(), of the peer. */
int channel_apart(struct hawser_channel *channel);

/* The half whose lock an arm for `want` needs. */
static inline struct half *want_half(struct hawser_channel *channel, enum want want) {
    return want == WANT_SEND ? &channel->sending : &channel->receiving;
}
