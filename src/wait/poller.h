/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What one thread waits for again and again: an epoll set that outlives the calls, so that a wait costs what happened and not
 * how much is waited for. Its members stay in the set, and armed, between two waits; one that is used otherwise meanwhile, or
 * that something happened to, is stale: it is looked at, and armed again, before the next sleep.
 *
 * A poller belongs to one thread of one process. Its members lie in their owners' memory and hold a reference to it, as they may
 * outlive the thread. The lock guards entries, the stale list and the epoll's content: a member is taken out by whoever may use
 * it, in any thread. All else is the thread's own. A member whose position is POLLER_NOWHERE may be in use elsewhere: the
 * thread knows it by its entry only, and looks at it under the lock. */

#include "base/lock.h"
#include "wait/sleeper.h"

#include <stddef.h>
#include <sys/epoll.h>

#define POLLER_FDS 4 /* descriptors of a member, at most */
#define POLLER_NOWHERE UINT32_MAX

struct poller;

struct poller_member {
    struct poller *poller; /* NULL: in none */
    uint32_t index;        /* of its entry */
    uint32_t position;     /* among what the thread waits for now */
    uint32_t n_fds;
    struct pollfd fds[POLLER_FDS]; /* in the epoll */
};

struct poller_entry {
    struct poller_member *member; /* NULL: free */
    uint32_t generation;          /* an event or a slot of an earlier member is told by it */
    uint32_t next_free;
    bool stale;                   /* on the list, also when its member has left */
};

/* What the thread waited for last, as the core wants it remembered; index POLLER_NOWHERE: no member. */
struct poller_slot {
    const void *channel, *listener;
    uint32_t events, index, generation;
};

struct poller {
    struct lock lock;
    uint32_t self;       /* process_self() of its maker */
    uint32_t references; /* atomic: the thread's and one of each member */
    uint32_t departed;   /* bumped by each member that leaves */
    int epoll, bell;     /* the bell, an eventfd in the epoll, tells that something happened to some member: see poller_find() */
    struct poller_entry *entries;
    uint32_t *stale; /* indices of entries */
    uint32_t first_free;
    size_t n_entries, capacity, n_stale;

    struct epoll_event *events; /* of the last wait */
    size_t n_events, next_event, events_capacity;

    /* The core's. */
    struct poller_slot *slots;
    size_t n_slots, slots_capacity;
    uint32_t seen_departed;
    uint32_t *others; /* positions of what can be no member */
    uint32_t *todo;   /* room for the positions of all members */
    size_t n_others, n_members;
};

/* The calling thread's, made at its first call. NULL: there are no descriptors or no memory for one. */
struct poller *poller_self(void);

/* Room to remember n slots; what is there stays. -ENOMEM. */
int poller_reserve_slots(struct poller *poller, size_t n);

/* A member that is in no poller joins at that position; it is stale. -ENOMEM. */
int poller_join(struct poller *poller, struct poller_member *member, uint32_t position);

/* Out of its poller, if it is in one; its descriptors must still be open. By whoever may use it, or a forked child that closes. */
void poller_leave(struct poller_member *member);

/* To be looked at before the thread sleeps again. By whoever may use it. */
void poller_mark_stale(struct poller_member *member);

/* Takes the positions of the stale members off their list; ret_positions has room for all members. Those that are not waited for
 * now are forgotten: they are marked again when they are. */
size_t poller_take_stale(struct poller *poller, uint32_t *ret_positions);

/* The set holds just these descriptors of the member. What epoll_ctl says; then it holds any of them. */
int poller_watch(struct poller_member *member, const struct pollfd *fds, unsigned n);

/* Sleeps until something happens to a descriptor of a member's or of the set's, the bell rings, or the deadline comes. The set has
 * room for one more. Never fails; may end for nothing. */
void poller_wait(struct poller *poller, struct sleep_set *set, int64_t deadline);

enum poller_found { POLLER_NOTHING, POLLER_MEMBER, POLLER_BELL };

/* The next thing that the last wait found. MEMBER: its position, descriptor and events. BELL: it was rung, and is quiet again. */
enum poller_found poller_find(struct poller *poller, uint32_t *ret_position, int *ret_fd, short *ret_revents);
