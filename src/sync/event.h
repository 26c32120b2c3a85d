/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* An event's inside. Its variants are tables of operations:
 *
 *   event_bell.c     over eventfd: one eventfd by fork, one for each raiser by name or ticket
 *   event_signal.c   over a queued signal; event_handler.c its interrupts
 *   event_futex.c    over a word in shared memory
 *
 * and the first two share event_link.c, how a raiser by name or ticket gets to what it raises, and event_crowd.c, the waiter's raisers.
 *
 * The waiter owns the listener, the crowd and what its own handle raises; a raiser owns its socket to the waiter and a
 * descriptor: its eventfd, or the waiter's pidfd. */

#include "core/listener.h"
#include "wait/ladder.h"
#include "wait/signals.h"

#include <hawser/event.h>

#define EVENT_RAISERS_MAX 1024
#define EVENT_RAISERS_PER_USER 256

struct hawser_event;
struct object;

/* Operations return what event.h says of the public calls, with sentences. `raise` may be called by a signal handler: it notes
 * literals, and formats none. NULL: -EOPNOTSUPP. */
struct event_variant {
    const char *scheme;
    int (*create)(struct hawser_event *event);
    int (*open)(struct hawser_event *event, int64_t deadline);
    int (*raise)(struct hawser_event *event, uint64_t value);
    int (*wait)(struct hawser_event *event, int64_t deadline, uint64_t *ret_value);
    int (*fd)(struct hawser_event *event, int *ret_fd);
    int (*export)(struct hawser_event *event, int *ret_fd);
    void (*close)(struct hawser_event *event, bool owner); /* what it made; owner: in the process that did */
};

extern const struct event_variant event_bell, event_signal, event_futex;

/* One who got in by name or ticket. */
struct raiser {
    int socket;          /* to it; its hang-up is its end */
    int bell;            /* eventfd; -1 over signal */
    uid_t uid;           /* (uid_t)-1 for a ticket's, who can be many */
    uint32_t generation; /* tells an epoll event of one that had the place before; odd: taken */
    uint32_t vain;       /* times it was readable for nothing, of late */
};

/* Those of one waiter, and what they and the waiter's own bell are watched by. */
struct crowd {
    int epoll;                        /* -1: there is no crowd: only the event's own bell */
    struct hawser_listener *listener; /* NULL: unnamed */
    struct raiser *raisers;
    uint32_t n, capacity; /* n: taken places */
    uint32_t hot;         /* the place of whose bell was read last, ... */
    uint32_t hot_tries;   /* and how often it alone was looked at since everything was */
};

struct hawser_event {
    const struct event_variant *variant;
    struct address address;
    struct options options;
    bool waiter;        /* made it; else opened or adopted it */
    uint32_t self;      /* process_self() of whom it belongs to */
    struct ladder ladder;

    /* over eventfd and signal */
    int bell;           /* what this handle raises: an eventfd; over signal the waiter's pidfd. The waiter's own: what it reads */
    int socket, pidfd;  /* a raiser's, to its waiter: -1: none */
    uint32_t gone;      /* atomic: the waiter's end was seen */
    int64_t looked_ns;  /* atomic: when that was last looked for */
    struct crowd crowd;
    pid_t raiser;       /* the last that was welcomed, for where it runs; 0: none */

    /* over eventfd */
    uint32_t blocking;  /* atomic: bell is in blocking mode: see event_bell.c */
    uint64_t raised;    /* atomic: sum of this process's raises while it was */
    uint64_t carry;     /* taken off a bell, but the sum was full, and so is ours */

    /* over signal */
    int signal;
    int signalfd;       /* -1: not asked for */
    sigset_t set, before;
    const void *thread; /* whose mask was `before` */
    pid_t pid;          /* of the process `pid_self`, for what its signals claim */
    uint32_t pid_self;
    hawser_event_function *function; /* the handler; see event_handler.c */
    void *context;
    const void *handler_thread;
    int masks;
    struct sigaction disposition; /* before the handler */

    struct object *object; /* over futex */
};

/* ---- event_link.c ---- */

/* Listens at the event's name. */
int event_listen(struct hawser_event *event);

/* A raiser's: connects by name, and takes what the waiter offers. */
int event_connect(struct hawser_event *event, int64_t deadline);

/* Welcomes whoever waits to be welcomed. */
void event_welcome(struct hawser_event *event);

/* Both ends of a raiser by ticket: the raiser's is the ticket. */
int event_ticket(struct hawser_event *event, int *ret_fd);

/* What the ticket holds; says nothing of whether it is a good one. */
const struct event_variant *event_ticket_variant(int fd);
int event_adopt(struct hawser_event *event, int fd);

/* A raiser's look, at most once a millisecond, at whether its waiter is gone. Async-signal-safe. */
bool event_waiter_gone(struct hawser_event *event);
int event_waiter_gone_error(void); /* -EPIPE with its sentence */

/* ---- event_crowd.c ---- */

void crowd_init(struct crowd *crowd);

/* Makes the epoll and watches own (a descriptor the event reads by itself) and the listener, if there is one. */
int crowd_open(struct crowd *crowd, int own);
void crowd_own(struct crowd *crowd, int own, bool watched); /* if there is an epoll: from now on, or not for now; cannot fail */

/* A raiser joins: both descriptors are the crowd's from now on, unless it is forgotten. */
int crowd_join(struct crowd *crowd, int socket, int bell, uid_t uid, uint32_t *ret_place);

/* It did not come to be one: the descriptors are the caller's again. */
void crowd_forget(struct crowd *crowd, uint32_t place);

/* Is there a place for one more of this user ((uid_t)-1: of nobody in particular)? 0, or -EBUSY with a sentence. */
int crowd_room(const struct crowd *crowd, uid_t uid);

/* Ends raisers that hung up and left nothing in their bell. False: there were none. */
bool crowd_sweep(struct crowd *crowd);

/* Waits for something to happen until the deadline; then tells what: reads bells into *sum, as far as it can hold them, ends raisers
 * that hang up or break the rules, welcomes newcomers. *ret_own: the event's own descriptor is readable. */
void crowd_heed(struct hawser_event *event, int64_t deadline, uint64_t *sum, bool *ret_own);

/* A cheap look, for who spins: at the bell that was read last; and at everything each time in eight, so that one who floods keeps
 * nobody out. */
void crowd_glance(struct hawser_event *event, uint64_t *sum, bool *ret_own);

/* Everything closed, the name given back. */
void crowd_close(struct crowd *crowd);

/* ---- event_bell.c ---- */

/* Reads a bell whoever else reads it or plays with its flags; never waits. 0: nothing there. */
uint64_t bell_read(int bell);

/* Adds; or, where the sum is full, keeps it for the next wait, in the event's own bell, so that who polls knows; only where that is full,
 * and polls anyway, in `carry`. */
void event_gather(struct hawser_event *event, uint64_t value, uint64_t *sum);

/* ---- event_futex.c ---- */

int event_futex_adopt(struct hawser_event *event, int fd); /* -EPROTO: the ticket is not of an event over futex */

/* ---- event_handler.c ---- */

void event_handler_end(struct hawser_event *event); /* if there is one */
