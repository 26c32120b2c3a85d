/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Events over a queued real-time signal: each raise is one signal with its value, to a pidfd of the waiter; the waiter blocks the
 * signal and takes one a wait. The kernel keeps the queue, so nothing is lost: what finds no room is refused. Without a crowd a
 * wait is one sigtimedwait; with one it sleeps in the crowd's epoll, which a signalfd has joined. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "sync/event.h"

#include <errno.h>

#define CROWD_TRIES 16

static int make_pidfd(struct hawser_event *event) {
    int pidfd = sys_pidfd_open(getpid(), 0);
    if (pidfd < 0)
        return error_set(pidfd, "cannot make a pidfd of our own: %s", error_text(pidfd));
    event->bell = pidfd;
    return 0;
}

/* Everything a crowd needs; the signalfd is made with it. */
static int make_crowd(struct hawser_event *event) {
    if (event->crowd.epoll >= 0)
        return 0;
    if (event->signalfd < 0) {
        int fd = sys_signalfd(-1, &event->set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
            return error_set(fd, "cannot make a signalfd: %s", error_text(fd));
        event->signalfd = fd;
    }
    int error = crowd_open(&event->crowd, event->signalfd);
    if (!error)
        crowd_own(&event->crowd, event->signalfd, !event->function);
    return error;
}

/* The process's claim in what it raises. */
static void know_self(struct hawser_event *event) {
    event->pid = getpid();
    event->pid_self = process_self();
}

static int signal_create(struct hawser_event *event) {
    bool named = event->address.place[0];
    know_self(event);
    event->thread = sys_thread_mark();
    sigemptyset(&event->set);
    sigaddset(&event->set, event->signal);
    int error = make_pidfd(event);
    if (!error && named)
        error = event_listen(event);
    if (!error && named)
        error = make_crowd(event);
    if (error)
        return error;
    error = signals_block(&event->set, &event->before);
    return error < 0 ? error_set(error, "cannot block a signal: %s", error_text(error)) : 0;
}

static int signal_open(struct hawser_event *event, int64_t deadline) {
    know_self(event);
    return event_connect(event, deadline);
}

static int signal_raise(struct hawser_event *event, uint64_t value) {
    if (value > UINTPTR_MAX)
        return error_note(-EINVAL, "over signal, values of a 32-bit process have 32 bits");
    bool own = event->waiter && event->self == process_self();
    if (!own && event_waiter_gone(event))
        return event_waiter_gone_error(); /* it may be a zombie still, which signals reach */
    int error = signal_queue(event->bell, event->signal, value, event->pid_self == process_self() ? event->pid : getpid());
    if (error >= 0)
        return 0;
    if (error == -EAGAIN)
        return error_note(-EAGAIN, "as many signals are queued for the waiter's user as its RLIMIT_SIGPENDING allows; nothing was raised");
    if (error == -ESRCH)
        return event_waiter_gone_error();
    return error_note(error, error == -EPERM ? "the waiter is another user's: over signal only its user and root may raise"
                                             : "the event's signal cannot be sent");
}

/* 0, -EAGAIN, -ETIMEDOUT; without sentences. */
static int take(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    siginfo_t information;
    uint64_t value = 1; /* kill(2) carries none, but somebody rang */
    int signal = signals_take(&event->set, &event->ladder, deadline, &information);
    if (signal < 0)
        return signal;
    if (signal_value(&information, &value) && value == 0)
        value = 1;
    *ret_value = value;
    return 0;
}

/* With a crowd: spins on signals, and sleeps on all. Who spins without end looks at the crowd now and then. */
static int wait_crowd(struct hawser_event *event, int64_t deadline, bool handled, uint64_t *ret_value) {
    bool slept = false;
    ladder_begin(&event->ladder, false);
    for (unsigned tries = 0;; tries++) {
        uint64_t none = 0;
        bool own;
        int error = handled ? -EAGAIN : take(event, DEADLINE_PAST, ret_value);
        if (error != -EAGAIN) {
            ladder_end(&event->ladder, slept);
            return error;
        }
        if (deadline == DEADLINE_PAST && tries > 0)
            return -EAGAIN;
        enum ladder_step step = deadline == DEADLINE_PAST ? LADDER_TRY : ladder_next(&event->ladder, deadline);
        if (step == LADDER_EXPIRED)
            return -ETIMEDOUT;
        slept |= step == LADDER_SLEEP;
        if (step == LADDER_SLEEP || tries % CROWD_TRIES == 0)
            crowd_heed(event, step == LADDER_SLEEP ? deadline : DEADLINE_PAST, &none, &own);
    }
}

/* With a handler and no crowd there is nothing but time to wait for. */
static int wait_time(int64_t deadline) {
    struct timespec timeout;
    while (!deadline_passed(deadline))
        sys_ppoll(NULL, 0, sleep_timeout(deadline, &timeout), NULL);
    return deadline == DEADLINE_PAST ? -EAGAIN : -ETIMEDOUT;
}

static int signal_wait(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    bool crowd = event->crowd.epoll >= 0, handled = event->function;
    int error = crowd ? wait_crowd(event, deadline, handled, ret_value)
                      : handled ? wait_time(deadline) : take(event, deadline, ret_value);
    if (error == -EAGAIN)
        return error_note(-EAGAIN, handled ? "the event's raises go to its handler" : "the event was not raised");
    if (error == -ETIMEDOUT)
        return error_note(-ETIMEDOUT, handled ? "the event's raises go to its handler" : "the event was not raised in time");
    return error < 0 ? error_set(error, "cannot wait for a signal: %s", error_text(error)) : 0;
}

static int signal_fd(struct hawser_event *event, int *ret_fd) {
    int error = make_crowd(event);
    if (!error)
        *ret_fd = event->crowd.epoll;
    return error;
}

static int signal_export(struct hawser_event *event, int *ret_fd) {
    int error = make_crowd(event);
    return error ? error : event_ticket(event, ret_fd);
}

/* The mask is a thread's: of another one nothing is known. */
static void signal_close(struct hawser_event *event, bool owner) {
    if (!owner || !event->waiter)
        return;
    event_handler_end(event);
    if (event->thread == sys_thread_mark()) {
        signals_drop(&event->set);
        signals_unblock(&event->set, &event->before);
    }
}

const struct event_variant event_signal = {
    .scheme = "signal",
    .create = signal_create,
    .open = signal_open,
    .raise = signal_raise,
    .wait = signal_wait,
    .fd = signal_fd,
    .export = signal_export,
    .close = signal_close,
};
