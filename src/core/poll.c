/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Several channels and listeners at once. A pass asks each item whether it is ready; a sleep arms them all, gathers their
 * descriptors in one ppoll and, after it, asks again only those that had something. With a few items the pass is repeated for
 * a while before the first sleep (the ladder of the first channel); with many a pass costs more than it could save, and
 * poll_many.c goes another way, if it can. */

#include "core/poll.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/listener.h"

#include <errno.h>

#define ITEMS_MAX ((size_t)1 << 20)
#define SPIN_ITEMS 4

int item_begin(hawser_poll_item *items, size_t i) {
    hawser_poll_item *item = &items[i];
    item->ret_events = 0;
    if (item->channel && item->listener)
        return error_set(-EINVAL, "poll: item %zu has both a channel and a listener", i);
    if (item->events & ~(HAWSER_IN | HAWSER_OUT))
        return error_set(-EINVAL, "poll: item %zu asks for unknown events", i);
    if (item->listener && item->listener->self != process_self())
        return error_note(-EPERM, "poll: a listener belongs to the process that made it");
    return item->channel ? channel_enter(item->channel) : 0;
}

static int begin_all(hawser_poll_item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int r = item_begin(items, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static uint32_t channel_events(struct hawser_channel *channel, uint32_t wanted) {
    const struct transport *transport = channel->transport;
    uint32_t events = 0;
    if (wanted & HAWSER_IN) {
        half_lock(channel, &channel->receiving);
        if (channel->sticky) /* what it reads now would not wake the poller that holds it */
            channel_disarm(channel);
        events |= transport->ready(channel->link) ? HAWSER_IN : 0;
        if (events && channel_many(channel))
            channel_pass_on(channel); /* it need not be this thread that receives it */
        half_unlock(channel, &channel->receiving);
    }
    if (wanted & HAWSER_OUT) {
        half_lock(channel, &channel->sending);
        if (load_relaxed(&channel->sending.messages) != channel->sending.refused_at)
            channel->link->refusal = (struct refusal){ 0 };
        events |= transport->room(channel->link) ? HAWSER_OUT : 0;
        half_unlock(channel, &channel->sending);
    }
    channel_kick(channel);
    channel_pay(channel);
    return events;
}

int item_check(hawser_poll_item *item) {
    if (item->channel) {
        if (load_relaxed(&item->channel->interrupted) && channel_cancel(item->channel) < 0)
            return -ECANCELED;
        item->ret_events = channel_events(item->channel, item->events);
    } else if (item->listener && item->events & HAWSER_IN) {
        int r = listener_interrupted(item->listener);
        if (r == 0)
            r = listener_ready(item->listener);
        if (r < 0)
            return r;
        item->ret_events = r ? HAWSER_IN : 0;
    }
    return item->ret_events != 0;
}

/* some: only items that had something. Returns how many are ready, or an error. */
static int pass(struct polling *polling, bool some) {
    int ready = 0;
    for (size_t i = 0; i < polling->n; i++) {
        if (some && !polling->places[i].ready)
            continue;
        int r = item_check(&polling->items[i]);
        if (r < 0)
            return r;
        ready += r;
    }
    return ready;
}

static bool arm_half(struct hawser_channel *channel, enum want want, struct sleep_set *set) {
    struct half *half = want_half(channel, want);
    half_lock(channel, half);
    bool happened = channel->transport->arm(channel->link, want, set) != 0;
    half_unlock(channel, half);
    /* pairs with hawser_interrupt */
    return channel_kick_news(channel) || happened || load_seq_cst(&channel->interrupted);
}

static void disarm_half(struct hawser_channel *channel, enum want want) {
    struct half *half = want_half(channel, want);
    half_lock(channel, half);
    channel->transport->disarm(channel->link, want);
    half_unlock(channel, half);
}

static int publish(struct polling *polling, struct half *half) {
    int slot = half_sleeper_add(half, polling->waker);
    polling->naps |= slot < 0;
    return slot;
}

/* Publishes the waker first, arms then: see waiting.c. */
int64_t item_arm(struct polling *polling, const hawser_poll_item *item, struct place *place, struct sleep_set *set) {
    int64_t deadline = DEADLINE_NEVER;
    *place = (struct place){ .first = set->count, .slot_in = -1, .slot_out = -1 };
    if (item->channel && item->events & HAWSER_IN) {
        place->slot_in = publish(polling, &item->channel->receiving);
        place->ready |= arm_half(item->channel, WANT_RECEIVE, set);
    }
    if (item->channel && item->events & HAWSER_OUT) {
        place->slot_out = publish(polling, &item->channel->sending);
        place->ready |= arm_half(item->channel, WANT_SEND, set);
    }
    if (item->listener && item->events & HAWSER_IN)
        deadline = listener_sleep(item->listener, set); /* an interrupt makes its descriptor readable */
    place->count = set->count - place->first;
    return deadline;
}

void item_disarm(struct polling *polling, const hawser_poll_item *item, struct place *place) {
    for (unsigned k = place->first; k < place->first + place->count; k++) {
        struct pollfd *fd = &polling->fds[k];
        if (fd->revents && item->channel)
            item->channel->transport->woken(item->channel->link, fd->fd, fd->revents);
        place->ready |= fd->revents != 0;
    }
    if (item->channel && item->events & HAWSER_IN) {
        disarm_half(item->channel, WANT_RECEIVE);
        half_sleeper_remove(&item->channel->receiving, place->slot_in);
    }
    if (item->channel && item->events & HAWSER_OUT) {
        disarm_half(item->channel, WANT_SEND);
        half_sleeper_remove(&item->channel->sending, place->slot_out);
    }
    if (item->channel)
        channel_kick(item->channel);
}

/* Sleeps once; leaves in places[].ready which items are worth a check. Returns whether any is. */
static bool sleep_once(struct polling *polling) {
    struct sleep_set set = { .fds = polling->fds };
    int64_t deadline = polling->deadline, hello = DEADLINE_NEVER;
    bool ready = false;
    polling->naps = false;
    for (size_t i = 0; i < polling->n; i++) {
        hello = deadline_earlier(hello, item_arm(polling, &polling->items[i], &polling->places[i], &set));
        ready |= polling->places[i].ready;
    }
    if (!ready)
        sleep_until(&set, polling->naps ? -1 : polling->waker, deadline_earlier(deadline, hello));
    bool overdue = hello != DEADLINE_NEVER && clock_now() >= hello, any = false;
    for (size_t i = 0; i < polling->n; i++) {
        item_disarm(polling, &polling->items[i], &polling->places[i]);
        polling->places[i].ready |= overdue || (polling->items[i].channel && load_relaxed(&polling->items[i].channel->interrupted));
        any |= polling->places[i].ready;
    }
    return any;
}

static const hawser_poll_item *first_channel(const struct polling *polling) {
    for (size_t i = 0; i < polling->n; i++)
        if (polling->items[i].channel)
            return &polling->items[i];
    return NULL;
}

/* Of the half that is polled: the other may be another thread's. */
static int32_t favour_of(const hawser_poll_item *item) {
    struct half *half = want_half(item->channel, item->events & HAWSER_IN ? WANT_RECEIVE : WANT_SEND);
    half_lock(item->channel, half);
    int32_t favour = half->ladder.favour;
    half_unlock(item->channel, half);
    return favour;
}

int poll_expired(const struct polling *polling) {
    if (polling->deadline == DEADLINE_PAST)
        return error_note(-EAGAIN, "poll: no item is ready now");
    return error_note(-ETIMEDOUT, "poll: no item became ready within the timeout");
}

/* A spinner hears of a peer's death only if it looks. */
static void look_all(struct polling *polling) {
    for (size_t i = 0; i < polling->n; i++)
        if (polling->items[i].channel) {
            polling->items[i].channel->transport->look(polling->items[i].channel->link);
            channel_kick(polling->items[i].channel);
        }
}

/* Spins, if that may pay, and then sleeps until something is ready. The ladder is the first channel's, as a copy: what it
 * learns belongs to that channel's own waits. */
static int poll_wait(struct polling *polling) {
    const hawser_poll_item *item = polling->n <= SPIN_ITEMS ? first_channel(polling) : NULL;
    struct hawser_channel *first = item ? item->channel : NULL;
    struct ladder ladder;
    ladder_init(&ladder, first ? first->link->options.wait : HAWSER_WAIT_BLOCK, first && first->transport->dear,
                first && first->link->options.watch);
    if (first) {
        ladder_place(&ladder, channel_apart(first));
        ladder.favour = favour_of(item);
    }
    ladder_begin(&ladder, false);
    for (;;) {
        bool some = false;
        switch (ladder_next(&ladder, polling->deadline)) {
        case LADDER_EXPIRED: return poll_expired(polling);
        case LADDER_SLEEP:
            if (!sleep_once(polling))
                continue;
            some = true;
            break;
        case LADDER_LOOK: look_all(polling); break;
        default: break;
        }
        int ready = pass(polling, some);
        if (ready != 0)
            return ready;
    }
}

/* Arms all for each sleep. */
static int poll_each(struct polling *polling) {
    cleanup_memory struct place *places = NULL;
    cleanup_memory struct pollfd *fds = NULL;
    int r = begin_all(polling->items, polling->n);
    if (r < 0)
        return r;
    if (polling->n > POLL_STACK_ITEMS) {
        polling->places = places = memory_resize(NULL, polling->n * sizeof *places);
        polling->fds = fds = memory_resize(NULL, (polling->n * 2 * LINK_SLEEP_MAX + 1) * sizeof *fds);
        if (!places || !fds)
            return error_note(-ENOMEM, "poll: no memory for its table of descriptors");
    }
    polling->waker = waker_self();
    r = pass(polling, false);
    if (r != 0)
        return r;
    return polling->deadline == DEADLINE_PAST ? poll_expired(polling) : poll_wait(polling);
}

HAWSER_PUBLIC int hawser_poll(hawser_poll_item *items, size_t n, int64_t timeout) {
    struct place places[POLL_STACK_ITEMS];
    struct pollfd fds[POLL_STACK_ITEMS * 2 * LINK_SLEEP_MAX + 1];
    struct polling polling = { .items = items, .n = n, .places = places, .fds = fds };
    if (timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, "poll: the timeout is negative but not HAWSER_FOREVER");
    if (n > ITEMS_MAX || (!items && n > 0))
        return error_note(-EINVAL, "poll: items is NULL, or n is over 2^20");
    polling.deadline = deadline_after(timeout);
    int r;
    if (n > POLL_STACK_ITEMS && poll_many(&polling, &r))
        return r;
    return poll_each(&polling);
}
