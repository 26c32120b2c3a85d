/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Many items. Channels that are polled for HAWSER_IN alone become members of the thread's poller (wait/poller.h) and stay armed
 * when the call returns, so that the next one touches only those that something happened to, or that were used since. To their
 * peers such a channel sleeps all the time: its peer rings once for each arm. To this process it is like one that another thread
 * sleeps for: whoever reads what may be for it passes the news on (link_news, channel_kick), here by the poller's bell. And
 * the calls of the receiving half itself, which pass on nothing, disarm it first (channel_disarm_own): it is then stale.
 *
 * The rest (room to send, threads=many, listeners, channels in an event loop of the program's) are armed for each sleep as
 * poll.c does for all. Names in brackets are steps of the model that is checked in tests/model/poll.pml. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/listener.h"
#include "core/poll.h"
#include "wait/poller.h"

#include <errno.h>

_Static_assert(LINK_SLEEP_MAX <= POLLER_FDS, "a member holds what an arm adds");

struct many {
    struct polling *polling;
    struct poller *poller;
    bool again;   /* something happened while arming: do not sleep */
    bool regroup; /* a member has become one of the others */
    void *heap[2]; /* places and descriptors of many others */
};

static bool same(const struct poller *poller, const struct poller_slot *slot, const hawser_poll_item *item, bool departed) {
    if (slot->channel != item->channel || slot->listener != item->listener || slot->events != item->events)
        return false;
    /* another channel may lie where one was that has left */
    return !departed || slot->index == POLLER_NOWHERE || poller->entries[slot->index].generation == slot->generation;
}

/* Its member is waited for no more, unless it is found at another place. Under the poller's lock. */
static void forget(struct poller *poller, size_t i) {
    struct poller_slot *slot = &poller->slots[i];
    if (slot->index != POLLER_NOWHERE) {
        struct poller_entry *entry = &poller->entries[slot->index];
        if (entry->generation == slot->generation && entry->member && entry->member->position == i)
            entry->member->position = POLLER_NOWHERE;
        poller->n_members--;
    }
    *slot = (struct poller_slot){ .index = POLLER_NOWHERE };
}

/* Forgets what is no longer asked for; the slots of items that are new are empty then. Returns whether there are any such. */
static bool compare(struct poller *poller, hawser_poll_item *items, size_t n) {
    bool changed = n != poller->n_slots;
    lock_acquire(&poller->lock);
    bool departed = poller->departed != poller->seen_departed;
    poller->seen_departed = poller->departed;
    for (size_t i = 0; i < poller->n_slots; i++) {
        if (i < n && __builtin_expect(same(poller, &poller->slots[i], &items[i], departed), 1)) {
            items[i].ret_events = 0;
        } else {
            forget(poller, i);
            changed = true;
        }
    }
    lock_release(&poller->lock);
    for (size_t i = poller->n_slots; i < n; i++)
        poller->slots[i] = (struct poller_slot){ .index = POLLER_NOWHERE };
    poller->n_slots = n;
    return changed;
}

/* What an earlier poll left of a channel that is to be waited for in another way, or by another thread's poller. */
static void expel(struct hawser_channel *channel) {
    half_lock(channel, &channel->receiving);
    if (channel->sticky)
        channel_disarm(channel);
    half_unlock(channel, &channel->receiving);
    poller_leave(&channel->member);
}

/* It is among the items before, too: there, it is one of the others from now on. */
static void expel_earlier(struct poller *poller, struct hawser_channel *channel) {
    if (channel->member.poller == poller && channel->member.position != POLLER_NOWHERE) {
        poller->slots[channel->member.position].index = POLLER_NOWHERE;
        poller->n_members--;
    }
    expel(channel);
}

static bool can_be_member(const hawser_poll_item *item) {
    const struct hawser_channel *channel = item->channel;
    return channel && item->events == HAWSER_IN && !channel_many(channel) &&
           (!channel->armed || channel->sticky);
}

static void join(struct poller *poller, const hawser_poll_item *item, size_t i) {
    struct poller_slot *slot = &poller->slots[i];
    struct poller_member *member = &item->channel->member;
    if (member->poller == poller && member->position != POLLER_NOWHERE) {
        expel_earlier(poller, item->channel);
        return;
    }
    if (member->poller && member->poller != poller)
        expel(item->channel);
    if (member->poller) {
        member->position = (uint32_t)i;
        poller_mark_stale(member); /* whatever was heard of it since it was last waited for was not heeded */
    } else if (poller_join(poller, member, (uint32_t)i) < 0) {
        return;
    }
    slot->index = member->index;
    slot->generation = poller->entries[member->index].generation;
    poller->n_members++;
}

static int admit(struct poller *poller, hawser_poll_item *items, size_t i) {
    struct poller_slot *slot = &poller->slots[i];
    hawser_poll_item *item = &items[i];
    if (slot->channel || slot->listener)
        return 0;
    int r = item_begin(items, i);
    if (r < 0)
        return r;
    if (can_be_member(item))
        join(poller, item, i);
    else if (item->channel && item->channel->member.poller)
        expel_earlier(poller, item->channel);
    slot->channel = item->channel;
    slot->listener = item->listener;
    slot->events = item->events;
    return 0;
}

static void list_others(struct poller *poller) {
    poller->n_others = 0;
    for (size_t i = 0; i < poller->n_slots; i++) {
        const struct poller_slot *slot = &poller->slots[i];
        if (slot->index == POLLER_NOWHERE && (slot->channel || slot->listener))
            poller->others[poller->n_others++] = (uint32_t)i;
    }
}

/* The slots are as the items then. */
static int match(struct poller *poller, hawser_poll_item *items, size_t n) {
    int r = 0;
    if (!compare(poller, items, n))
        return 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = admit(poller, items, i);
    list_others(poller);
    return r;
}

/* ---- Members ---- */

static struct hawser_channel *channel_at(const struct many *many, uint32_t position) {
    return many->polling->items[position].channel;
}

/* [stale] Looks at the stale members, of which there are *ret_all; returns how many are ready, or an error. The *ret_n that are not
 * are left in todo, for an arm. */
static int check_stale(struct many *many, size_t *ret_n, size_t *ret_all) {
    struct poller *poller = many->poller;
    size_t n = poller_take_stale(poller, poller->todo), left = 0;
    int ready = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t position = poller->todo[k];
        int r = ready < 0 ? ready : item_check(&many->polling->items[position]);
        if (r == 0)
            poller->todo[left++] = position;
        else
            poller_mark_stale(&channel_at(many, position)->member);
        ready = r < 0 ? r : ready + r;
    }
    *ret_n = left;
    *ret_all = n;
    return ready;
}

/* They are looked at in the next call. */
static void put_back(struct many *many, size_t n) {
    for (size_t k = 0; k < n; k++)
        poller_mark_stale(&channel_at(many, many->poller->todo[k])->member);
}

/* From here on it is waited for as the others are. */
static void demote(struct many *many, uint32_t position) {
    struct poller *poller = many->poller;
    expel(channel_at(many, position));
    poller->slots[position].index = POLLER_NOWHERE;
    poller->n_members--;
    many->again = many->regroup = true;
}

/* [register] The bell is published first, and the asleep flag, where there is one, put up [arm]. False: it cannot be a member. */
static bool begin_arm(const struct many *many, struct hawser_channel *channel, int (**settle)(void)) {
    const struct transport *transport = channel->transport;
    if (channel->armed)
        return false;
    int slot = half_sleeper_add(&channel->receiving, many->poller->bell);
    if (slot < 0)
        return false;
    half_lock(channel, &channel->receiving);
    channel->armed = channel->sticky = true;
    store_relaxed(&channel->receiving.quick, 0);
    channel->armed_by = sys_thread_mark();
    channel->sticky_slot = slot;
    channel->sticky_news = load_seq_cst(&channel->link->news); /* the slot is there: later news ring; pairs with link_news */
    if (transport->announce && transport->announce(channel->link))
        *settle = transport->settle;
    half_unlock(channel, &channel->receiving);
    return true;
}

/* Since it was armed, or an interrupt. */
static bool has_news(struct hawser_channel *channel) {
    bool interrupted = load_seq_cst(&channel->interrupted); /* pairs with hawser_interrupt */
    uint32_t news = load_seq_cst(&channel->link->news);     /* pairs with link_news */
    return interrupted || news != channel->sticky_news;
}

/* [again] Looks once more. What something happened to meanwhile is stale. */
static void end_arm(struct many *many, uint32_t position, bool settled) {
    struct hawser_channel *channel = channel_at(many, position);
    struct pollfd fds[LINK_SLEEP_MAX + 1];
    struct sleep_set set = { .fds = fds };
    half_lock(channel, &channel->receiving);
    bool happened = channel->transport->arm(channel->link, WANT_RECEIVE, &set) != 0 || !settled;
    half_unlock(channel, &channel->receiving);
    happened |= channel_kick_news(channel) || has_news(channel);
    if (!happened) {
        if (set.brief || poller_watch(&channel->member, fds, set.count) < 0)
            demote(many, position);
        return;
    }
    half_lock(channel, &channel->receiving);
    channel_disarm(channel);
    half_unlock(channel, &channel->receiving);
    many->again = true;
}

/* [arm] The first n of todo, with one barrier for all. */
static void arm_members(struct many *many, size_t n) {
    uint32_t *todo = many->poller->todo;
    int (*settle)(void) = NULL;
    size_t begun = 0;
    for (size_t k = 0; k < n; k++) {
        uint32_t position = todo[k];
        if (begin_arm(many, channel_at(many, position), &settle))
            todo[begun++] = position;
        else
            demote(many, position);
    }
    bool settled = !settle || settle() == 0; /* [barrier] else a wake-up could be lost: better not to sleep */
    for (size_t k = 0; k < begun; k++)
        end_arm(many, todo[k], settled);
}

/* [disarm] Something happened to a member: it is stale. The slot goes first, so that the news do not ring our own bell. */
static void member_woken(struct many *many, uint32_t position, int fd, short revents) {
    struct hawser_channel *channel = channel_at(many, position);
    if (channel->sticky)
        half_sleeper_remove(&channel->receiving, channel->sticky_slot);
    channel->transport->woken(channel->link, fd, revents); /* [drain] */
    half_lock(channel, &channel->receiving);
    if (channel->sticky)
        channel_disarm(channel);
    half_unlock(channel, &channel->receiving);
    channel_kick(channel);
}

/* [scan] The bell was rung: by whoever interrupted one of them, or read what may be for one. */
static void scan(struct many *many) {
    for (size_t i = 0; i < many->polling->n; i++) {
        struct hawser_channel *channel = many->polling->items[i].channel;
        if (many->poller->slots[i].index == POLLER_NOWHERE || !channel->sticky)
            continue;
        if (!has_news(channel))
            continue;
        half_lock(channel, &channel->receiving);
        channel_disarm(channel);
        half_unlock(channel, &channel->receiving);
    }
}

/* What the wait found. Returns whether it was anything. */
static bool heed(struct many *many) {
    uint32_t position;
    int fd;
    short revents;
    bool any = false;
    for (;;) {
        switch (poller_find(many->poller, &position, &fd, &revents)) {
        case POLLER_NOTHING: return any;
        case POLLER_MEMBER: member_woken(many, position, fd, revents); break;
        case POLLER_BELL: scan(many); break;
        }
        any = true;
    }
}

/* ---- The others ---- */

/* some: only those that had something. */
static int check_others(struct many *many, bool some) {
    const struct poller *poller = many->poller;
    int ready = 0;
    for (size_t k = 0; k < poller->n_others; k++) {
        if (some && !many->polling->places[k].ready)
            continue;
        int r = item_check(&many->polling->items[poller->others[k]]);
        if (r < 0)
            return r;
        ready += r;
    }
    return ready;
}

/* Returns the earliest deadline of a listener's. */
static int64_t arm_others(struct many *many, struct sleep_set *set) {
    struct polling *polling = many->polling;
    int64_t deadline = DEADLINE_NEVER;
    polling->naps = false;
    for (size_t k = 0; k < many->poller->n_others; k++) {
        const hawser_poll_item *item = &polling->items[many->poller->others[k]];
        deadline = deadline_earlier(deadline, item_arm(polling, item, &polling->places[k], set));
        many->again |= polling->places[k].ready;
    }
    return deadline;
}

/* As for the members: whether there was anything. overdue: a hello's time is up. */
static bool disarm_others(struct many *many, bool overdue) {
    struct polling *polling = many->polling;
    bool any = false;
    for (size_t k = 0; k < many->poller->n_others; k++) {
        const hawser_poll_item *item = &polling->items[many->poller->others[k]];
        struct place *place = &polling->places[k];
        item_disarm(polling, item, place);
        place->ready |= overdue || (item->channel && load_relaxed(&item->channel->interrupted));
        any |= place->ready;
    }
    return any;
}

/* Room for the places and descriptors of the others. */
static int reserve(struct many *many) {
    struct polling *polling = many->polling;
    size_t n = many->poller->n_others;
    if (n <= POLL_STACK_ITEMS)
        return 0;
    void *places = memory_resize(many->heap[0], n * sizeof *polling->places);
    many->heap[0] = places ? places : many->heap[0];
    void *fds = memory_resize(many->heap[1], (n * 2 * LINK_SLEEP_MAX + 1) * sizeof *polling->fds);
    many->heap[1] = fds ? fds : many->heap[1];
    if (!places || !fds)
        return error_note(-ENOMEM, "poll: no memory for its table of descriptors");
    polling->places = places;
    polling->fds = fds;
    return 0;
}

static int regroup(struct many *many) {
    many->regroup = false;
    list_others(many->poller);
    return reserve(many);
}

/* ---- The wait ---- */

/* [sleep] Arms the first n of todo and the others, and sleeps. Returns whether anything happened. */
static bool sleep_once(struct many *many, size_t n) {
    struct polling *polling = many->polling;
    struct sleep_set set = { .fds = polling->fds };
    many->again = false;
    arm_members(many, n);
    int64_t hello = arm_others(many, &set), deadline = deadline_earlier(polling->deadline, hello);
    if (polling->naps)
        deadline = deadline_earlier(deadline, clock_now() + NAP_NS);
    poller_wait(many->poller, &set, many->again ? DEADLINE_PAST : deadline);
    bool overdue = hello != DEADLINE_NEVER && clock_now() >= hello;
    bool any = disarm_others(many, overdue);
    return heed(many) || any || many->again;
}

/* Something is ready, or the call is not to wait: what happened to those that are armed? */
static int last_look(struct many *many, int ready, int others) {
    static struct sleep_set none;
    size_t n, all;
    poller_wait(many->poller, &none, DEADLINE_PAST);
    if (heed(many)) {
        ready = check_stale(many, &n, &all);
        put_back(many, n);
    }
    return ready < 0 ? ready : ready + others;
}

static int wait_many(struct many *many) {
    struct polling *polling = many->polling;
    for (bool slept = false;; slept = true) {
        size_t n, all;
        bool some = slept && !many->regroup;
        int r = many->regroup ? regroup(many) : 0;
        if (r < 0)
            return r;
        int ready = check_stale(many, &n, &all), others = ready < 0 ? ready : check_others(many, some);
        bool now = others > 0 || ready > 0 || polling->deadline == DEADLINE_PAST;
        if (others < 0 || now)
            put_back(many, n);
        if (others < 0)
            return others;
        if (now && !slept && all < many->poller->n_members)
            ready = last_look(many, ready, others);
        else if (now)
            ready += others;
        else if (sleep_once(many, n) || !deadline_passed(polling->deadline))
            continue;
        return ready != 0 ? ready : poll_expired(polling);
    }
}

bool poll_many(struct polling *polling, int *ret_result) {
    struct poller *poller = poller_self();
    struct many many = { .polling = polling, .poller = poller };
    if (!poller || poller_reserve_slots(poller, polling->n) < 0)
        return false;
    int r = match(poller, polling->items, polling->n);
    if (r == 0 && poller->n_members == 0)
        return false;
    polling->waker = poller->bell;
    if (r == 0)
        r = reserve(&many);
    *ret_result = r < 0 ? r : wait_many(&many);
    memory_free(many.heap[0]);
    memory_free(many.heap[1]);
    return true;
}
