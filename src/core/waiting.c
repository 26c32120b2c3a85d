/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* How a call waits: the ladder says spin or sleep; before a sleep the thread's waker is published so that an
 * interrupt, or the other half's news, can end it. Publishing and the interrupt's flag are both sequentially
 * consistent: either the sleeper sees the flag or the interrupter sees the sleeper. */

#include "core/channel.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>

int half_sleeper_add(struct half *half, int waker) {
    for (int i = 0; i < SLEEPERS_MAX && waker >= 0; i++) {
        int none = 0;
        if (compare_exchange(&half->sleepers[i], &none, waker + 1)) /* pairs with half_wake and half_sleeps */
            return i;
    }
    return -1;
}

void half_sleeper_remove(struct half *half, int slot) {
    if (slot >= 0)
        store_seq_cst(&half->sleepers[slot], 0); /* pairs with half_wake and half_sleeps */
}

void half_wake(struct half *half) {
    for (int i = 0; i < SLEEPERS_MAX; i++) {
        int sleeper = load_seq_cst(&half->sleepers[i]); /* pairs with half_sleeper_add and half_sleeper_remove */
        if (sleeper > 0)
            waker_wake(sleeper - 1);
    }
    int bell = load_seq_cst(&half->bell); /* pairs with arm and channel_disarm */
    if (bell > 0) {
        waker_wake(bell - 1);
        store_seq_cst(&half->rung, 1); /* after the write: it is then there to be read; pairs with arm */
    }
}

static bool half_sleeps(struct half *half) {
    bool sleeps = load_seq_cst(&half->bell) > 0; /* pairs with arm and channel_disarm */
    for (int i = 0; i < SLEEPERS_MAX; i++)
        sleeps |= load_seq_cst(&half->sleepers[i]) > 0; /* pairs with half_sleeper_add and half_sleeper_remove */
    return sleeps;
}

void channel_pass_on(struct hawser_channel *channel) {
    if (half_sleeps(&channel->receiving) && channel->transport->ready(channel->link) != 0)
        half_wake(&channel->receiving);
}

/* [kick] */
void channel_kick_all(struct hawser_channel *channel, uint32_t news) {
    store_relaxed(&channel->kicked, news);
    half_wake(&channel->sending);
    half_wake(&channel->receiving);
}

int channel_cancel(struct hawser_channel *channel) {
    if (exchange_seq_cst(&channel->interrupted, 0) == 0) /* pairs with hawser_interrupt */
        return 0;
    return error_note(-ECANCELED, "the call was interrupted by hawser_interrupt()");
}

static int expired(const struct waiting *waiting) {
    bool receives = waiting->half == &waiting->channel->receiving;
    if (waiting->timeout == HAWSER_NOW)
        return error_note(-EAGAIN, receives ? "no message is there now" : "there is no room for a message now");
    return error_note(-ETIMEDOUT, receives ? "no message came within the timeout"
                                           : "the peer made no room for a message within the timeout");
}

static bool may_nap(const struct waiting *waiting, enum want want) {
    const struct hawser_channel *channel = waiting->channel;
    const void *sender = load_relaxed(&channel->sending.user);
    if (want != WANT_RECEIVE || waiting->napped || channel_many(channel) || (sender && sender != sys_thread_mark()))
        return false;
    return waiting->deadline == DEADLINE_NEVER || waiting->deadline - clock_now() >= 2 * NAP_NS;
}

/* The socket to nap on before sleeping on the set, or -1. */
static int nap_socket(struct waiting *waiting, const struct sleep_set *set) {
    struct hawser_channel *channel = waiting->channel;
    struct link *link = channel->link;
    if (!set->may_nap || !channel->transport->naps || link->naps < 0)
        return -1;
    int socket = -1;
    for (unsigned i = 0; i < set->count; i++) {
        if (set->fds[i].events != POLLIN)
            return -1; /* something of ours waits to leave, too */
        if (set->fds[i].fd != peer_pidfd(&link->peer))
            socket = set->fds[i].fd;
    }
    if (link->naps == 0 && socket >= 0)
        link->naps = nap_prepare(socket) == 0 ? 1 : -1;
    return link->naps > 0 ? socket : -1;
}

/* [sleep] Sleeps until something of the set happened, and tells the transport of it. */
static void sleep_on(struct waiting *waiting, struct sleep_set *set, int waker) {
    struct hawser_channel *channel = waiting->channel;
    bool rung = false;
    waiting->slept = true;
    add_relaxed(&waiting->half->sleeps, 1);
    if (set->word) {
        waiting->napped = !nap_on_word(set->word, &rung);
        if (rung)
            channel->transport->woken(channel->link, -1, 0);
        return;
    }
    int socket = nap_socket(waiting, set);
    if (socket >= 0 && nap_on(socket)) {
        channel->transport->woken(channel->link, socket, POLLIN);
        return;
    }
    /* pairs with hawser_interrupt */
    if (load_seq_cst(&channel->interrupted) || sleep_until(set, waker, waiting->deadline) == 0)
        return;
    for (unsigned i = 0; i < set->count; i++)
        if (set->fds[i].revents)
            channel->transport->woken(channel->link, set->fds[i].fd, set->fds[i].revents);
}

static void fall_asleep(struct waiting *waiting, enum want want) {
    struct hawser_channel *channel = waiting->channel;
    struct half *guard = want_half(channel, want);
    struct pollfd fds[LINK_SLEEP_MAX + 1];
    struct sleep_set set = { .fds = fds, .may_nap = may_nap(waiting, want) };
    int waker = waker_self();
    int slot = half_sleeper_add(waiting->half, waker); /* [register] */
    if (load_seq_cst(&channel->interrupted) == 0) { /* pairs with hawser_interrupt */
        half_lock(channel, guard);
        int happened = channel->transport->arm(channel->link, want, &set);
        /* The arm compares with what was last told; when that was another thread, this one would sleep on its own news. */
        happened |= want == WANT_ACK && channel->told != waiting->told;
        half_unlock(channel, guard);
        happened |= channel_kick_news(channel);
        if (happened == 0)
            sleep_on(waiting, &set, slot >= 0 ? waker : -1);
        half_lock(channel, guard);
        channel->transport->disarm(channel->link, want);
        half_unlock(channel, guard);
    }
    half_sleeper_remove(waiting->half, slot);
    channel_kick(channel);
}

int channel_apart(struct hawser_channel *channel) {
    struct link *link = channel->link;
    if (channel->transport->apart)
        return channel->transport->apart(link);
    return process_apart(load_acquire(&link->peer.known) ? link->peer.pid : -1); /* pairs with peer_know */
}

/* Not 0: what is waited for is half there; another number than before: more of it is. */
static uint32_t midway(const struct hawser_channel *channel, enum want want) {
    const struct link *link = channel->link;
    return want == WANT_RECEIVE ? load_relaxed(&link->midway_in) : want == WANT_SEND ? load_relaxed(&link->midway_out) : 0;
}

static void begin(struct waiting *waiting, enum want want) {
    struct hawser_channel *channel = waiting->channel;
    half_lock(channel, waiting->half);
    waiting->ladder = waiting->half->ladder;
    half_unlock(channel, waiting->half);
    waiting->midway = midway(channel, want);
    if (ladder_unplaced(&waiting->ladder)) {
        ladder_place(&waiting->ladder, channel_apart(channel));
        if (want == WANT_RECEIVE)
            store_relaxed(&channel->link->apart, waiting->ladder.apart);
    }
    waiting->deadline = deadline_after(waiting->timeout);
    ladder_begin(&waiting->ladder, waiting->midway != 0);
    waiting->began = true;
}

/* Each piece of a message is waited for anew. */
static void go_on(struct waiting *waiting, uint32_t midway) {
    if (midway == 0 || midway == waiting->midway)
        return;
    ladder_end(&waiting->ladder, waiting->slept);
    waiting->midway = midway;
    waiting->slept = false;
    ladder_begin(&waiting->ladder, true);
}

int waiting_step(struct waiting *waiting, enum want want) {
    struct hawser_channel *channel = waiting->channel;
    if (waiting->timeout == HAWSER_NOW)
        return expired(waiting);
    if (__builtin_expect(load_relaxed(&channel->interrupted) != 0, 0)) {
        int r = channel_cancel(channel);
        if (r < 0)
            return r;
    }
    bool first = !waiting->began;
    if (first)
        begin(waiting, want);
    else
        go_on(waiting, midway(channel, want));
    switch (ladder_next(&waiting->ladder, waiting->deadline)) {
    case LADDER_TRY: break;
    case LADDER_LOOK:
        channel->transport->look(channel->link);
        channel_kick(channel);
        break;
    case LADDER_SLEEP: fall_asleep(waiting, want); break;
    case LADDER_EXPIRED:
        if (!first)
            return expired(waiting);
        break; /* the thread did not run for all of its time: what came meanwhile is to be found, by a patient call above all */
    }
    return 0;
}

void waiting_end(struct waiting *waiting, bool came) {
    struct hawser_channel *channel = waiting->channel;
    uint64_t calls = sys_calls_made - waiting->calls;
    if (!waiting->began && calls == 0)
        return;
    if (waiting->began && came)
        ladder_end(&waiting->ladder, waiting->slept);
    half_lock(channel, waiting->half);
    count_add(&waiting->half->system_calls, calls);
    if (waiting->began) {
        waiting->half->ladder = waiting->ladder;
        waiting->half->slept = waiting->slept;
    }
    half_unlock(channel, waiting->half);
}

void channel_pay_due(struct hawser_channel *channel) {
    half_lock(channel, &channel->sending);
    channel->transport->progress(channel->link); /* what cannot leave now leaves in a later call */
    half_unlock(channel, &channel->sending);
    channel_kick(channel);
}
