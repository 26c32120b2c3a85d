/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A listener's inside, as its transport sees it. Connections whose hello is under way stand in `pending`, each with
 * a deadline; they move on only inside accept, poll and the like: there is no thread. */

#include "core/name.h"
#include "core/transport.h"

#define PENDING_MAX 128     /* hellos under way, in all ... */
#define PENDING_PER_USER 32 /* ... and of one user */

struct pending {
    int fd; /* -1: free slot; steal it (steal_fd) into the link */
    int64_t deadline;
    pid_t pid; /* SO_PEERCRED: who called connect; -1 for tcp */
    uid_t uid;
    gid_t gid;
    bool watched; /* the listener's epoll holds it */
    uint32_t got; /* bytes of hello so far */
    uint8_t hello[64];
};

struct hawser_listener {
    const struct transport *transport;
    struct options options;
    struct address address;
    char bound[HAWSER_ADDRESS_MAX]; /* hawser_listener_address() */
    int fd;                         /* what accept4 is called on; non-blocking */
    bool local;                     /* credentials are asked for and checked before greet */
    struct name name;               /* the file system's name, if any */
    void *state;                    /* the transport's own */
    int spare;                      /* a descriptor to give up when there are none: who connects is then turned away at once */
    int epoll;                      /* hawser_listener_fd(); holds fd, wake, timer and every pending */
    int watched;                    /* the fd that epoll holds now as ours; -1: none */
    int wake;                       /* eventfd: an interrupt reaches every sleeper, whoever and however many they are */
    int timer;                      /* timerfd of the earliest deadline, for who sleeps on epoll alone; -1 until asked for */
    struct link *kept;              /* ready for the next accept */
    struct link *prepared;          /* made while nobody wanted it, for the next who connects */
    uint32_t self;                  /* process_self() of the maker */
    uint32_t interrupted;           /* atomic */
    struct lock lock;               /* guards pending and accept; never held over a sleep */
    unsigned silent;                /* newcomers not to be waited for, as one did not speak at once */
    unsigned n_pending;
    struct pending pending[PENDING_MAX];
};

/* hawser_listen() of what is parsed; address->transport need not be one that addresses can name. */
int listener_open(const struct address *address, const struct options *options, struct hawser_listener **ret_listener);

/* One step of everything under way: accepts what waits, moves hellos on, drops the overdue. 0 and a link, -EAGAIN, or an
 * error of accept itself. For hawser_accept and hawser_poll. */
int listener_step(struct hawser_listener *listener, struct link **ret_link);

/* For a mechanism that accepts by itself and changes fd as it does: before it closes fd, as the number may be another
 * thread's a moment later. */
void listener_unwatch(struct hawser_listener *listener);

/* Takes an interrupt: -ECANCELED, with its sentence, or 0. Ask before every step; one that comes later ends the sleep. */
int listener_interrupted(struct hawser_listener *listener);

/* poll: 1 when a link is ready to be accepted (it is kept for the next accept), or accept has an error to tell; else 0. */
int listener_ready(struct hawser_listener *listener);

/* Adds the one descriptor to sleep on; the earliest deadline of a hello comes back, DEADLINE_NEVER if there is none. */
int64_t listener_sleep(struct hawser_listener *listener, struct sleep_set *set);
