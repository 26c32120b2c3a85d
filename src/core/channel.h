/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A channel's inside: shared by channel.c (life), transfer.c (data), wait.c (waiting), poll.c. */

#include "base/lock.h"
#include "core/transport.h"
#include "wait/ladder.h"

/* One direction. Counters have one writer at a time (the half's lock or its one thread) and any readers. */
struct half {
    struct lock lock;
    struct ladder ladder;
    int sleeper; /* atomic: waker of the thread that sleeps for this half, plus 1; 0: nobody */
    uint64_t messages, bytes, stalls, sleeps, system_calls;
};

/* Which process owns an end of a pair, in memory that forked processes share. */
struct claim {
    uint32_t owner; /* atomic: process_self() of the owner; 0 nobody yet */
};

struct hawser_channel {
    struct link *link;
    const struct transport *transport;
    bool locks;           /* threads=many, or the mechanism's halves meet */
    bool shut;            /* hawser_shutdown was called */
    uint32_t owner;       /* atomic: process_self() of the owner; 0: an end that this process has not used */
    struct claim *claim;  /* pair: shared; else NULL */
    uint32_t interrupted; /* atomic */
    uint64_t sent;        /* messages queued so far: what an acknowledgement is held against */
    uint64_t asked;       /* [S] `sent` when an acknowledgement was last asked for */
    struct half sending, receiving;
    int epoll; /* hawser_fd(): -1 until asked for */
    unsigned n_armed;
    struct pollfd armed[LINK_SLEEP_MAX * 2]; /* what epoll holds now */
};

int channel_new(struct link *link, struct hawser_channel **ret_channel);

/* Begins every public call: NULL, ownership, first use. 0 or an error with its sentence. */
int channel_enter(struct hawser_channel *channel);

static inline void half_lock(struct hawser_channel *channel, struct half *half) {
    if (channel->locks)
        lock_acquire(&half->lock);
}

static inline void half_unlock(struct hawser_channel *channel, struct half *half) {
    if (channel->locks)
        lock_release(&half->lock);
}

/* One call's waiting. */
struct waiting {
    struct hawser_channel *channel;
    struct half *half;
    int64_t deadline;
    bool began, slept;
};

static inline struct waiting waiting_for(struct hawser_channel *channel, struct half *half, int64_t deadline) {
    return (struct waiting){ .channel = channel, .half = half, .deadline = deadline };
}

/* After a try that got -EAGAIN: waits for `want`. 0: try again; -EAGAIN (deadline DEADLINE_PAST), -ETIMEDOUT, -ECANCELED. */
int waiting_step(struct waiting *waiting, enum want want);
void waiting_end(struct waiting *waiting); /* what was waited for came */

/* Wakes the other half's sleeper if the link has had news since. */
void channel_kick(struct hawser_channel *channel, const struct half *self);

/* Sends what acknowledgements are due, if any: after every receiving call. */
void channel_pay(struct hawser_channel *channel);
