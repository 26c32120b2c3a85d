/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Events over eventfd. Unnamed, and without tickets, there is one eventfd, and all processes that share it by fork raise and read it
 * by the same handle. Else each raiser has its own (event_crowd.c), and the handle's is watched beside them.
 *
 * A wait of the first kind that may sleep at once and without end (wait=block) is one blocking read, as of a bare eventfd. For
 * that the eventfd is in blocking mode as long as nothing needs it otherwise: a wait with a timeout, a crowd, or a raise that could
 * block for want of room. A process's raises in that mode add up to BLOCKING_MOST at most, so it takes 255 processes, and none
 * that waits, to fill it. The mode is the eventfd's, so another process may have changed it: both calls see that. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "sync/event.h"

#include <errno.h>

#define BLOCKING_MOST (UINT64_C(1) << 56)

/* Once. Without it the mode stays, and waits could be longer than told. Async-signal-safe. */
static int unblock(struct hawser_event *event) {
    int error = load_relaxed(&event->blocking) ? sys_fcntl(event->bell, F_SETFL, O_RDWR | O_NONBLOCK) : 0;
    if (error < 0)
        return error_note(error, "cannot make the event's eventfd non-blocking");
    store_relaxed(&event->blocking, 0);
    return 0;
}

/* In a forked child an unnamed event is its bell alone: the crowd is its parent's. */
static bool alone(const struct hawser_event *event) { return event->crowd.epoll < 0 || event->self != process_self(); }

static int bell_create(struct hawser_event *event) {
    bool named = event->address.place[0];
    event->blocking = !named && event->options.wait == HAWSER_WAIT_BLOCK;
    int bell = sys_eventfd(0, EFD_CLOEXEC | (event->blocking ? 0 : EFD_NONBLOCK));
    if (bell < 0)
        return error_set(bell, "cannot make an eventfd: %s", error_text(bell));
    event->bell = bell;
    if (!named)
        return 0;
    int error = event_listen(event);
    return error ? error : crowd_open(&event->crowd, bell);
}

/* ---- Raising ---- */

static int raise_failed(ssize_t error) {
    if (error == -EAGAIN)
        return error_note(-EAGAIN, "what was raised and not yet taken would add up to more than an event holds");
    return error_note((int)error, "the event's eventfd cannot be written");
}

/* The sum is one process's: threads of it that are here at once see each other's. */
static bool could_block(struct hawser_event *event, uint64_t value) {
    return value > BLOCKING_MOST || add_relaxed(&event->raised, value) + value > BLOCKING_MOST;
}

static int bell_raise(struct hawser_event *event, uint64_t value) {
    if (load_relaxed(&event->blocking) && could_block(event, value)) {
        int error = unblock(event);
        if (error)
            return error;
    }
    if (event->socket >= 0 && event_waiter_gone(event))
        return event_waiter_gone_error();
    ssize_t n;
    do
        n = sys_write(event->bell, &value, sizeof value);
    while (n == -EINTR);
    return n == sizeof value ? 0 : raise_failed(n);
}

/* ---- Waiting ---- */

uint64_t bell_read(int bell) {
    uint64_t value = 0;
    struct iovec vector = { &value, sizeof value };
    ssize_t n;
    do
        n = sys_preadv2(bell, &vector, 1, -1, RWF_NOWAIT);
    while (n == -EINTR);
    return n == sizeof value ? value : 0;
}

void event_gather(struct hawser_event *event, uint64_t value, uint64_t *sum) {
    if (!__builtin_add_overflow(*sum, value, sum))
        return;
    *sum -= value; /* as it was */
    if (sys_write(event->bell, &value, sizeof value) != sizeof value)
        event->carry = value;
}

/* Of an eventfd in non-blocking mode that only processes hold which trust each other. */
static uint64_t read_alone(struct hawser_event *event) {
    uint64_t value = 0;
    ssize_t n;
    do
        n = sys_read(event->bell, &value, sizeof value);
    while (n == -EINTR);
    return n == sizeof value ? value : 0;
}

static void sleep_alone(struct hawser_event *event, int64_t deadline) {
    struct timespec timeout;
    struct pollfd item = { .fd = event->bell, .events = POLLIN };
    sys_ppoll(&item, 1, sleep_timeout(deadline, &timeout), NULL);
}

/* One look at everything; until: DEADLINE_PAST, or sleep until something happens. spinning: many looks follow each other. */
static uint64_t gather(struct hawser_event *event, int64_t until, bool spinning) {
    bool own;
    if (alone(event)) {
        if (until != DEADLINE_PAST)
            sleep_alone(event, until);
        return read_alone(event);
    }
    uint64_t sum = event->carry;
    event->carry = 0;
    if (until == DEADLINE_PAST && spinning)
        crowd_glance(event, &sum, &own);
    else
        crowd_heed(event, sum > 0 ? DEADLINE_PAST : until, &sum, &own);
    uint64_t value = own && event->carry == 0 ? bell_read(event->bell) : 0;
    if (value > 0)
        event_gather(event, value, &sum);
    return sum;
}

static int wait_spinning(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    bool slept = false;
    ladder_begin(&event->ladder, false);
    for (;;) {
        enum ladder_step step = ladder_next(&event->ladder, deadline);
        if (step == LADDER_EXPIRED)
            return error_note(-ETIMEDOUT, "the event was not raised in time");
        slept |= step == LADDER_SLEEP;
        uint64_t value = gather(event, step == LADDER_SLEEP ? deadline : DEADLINE_PAST, true);
        if (value > 0) {
            ladder_end(&event->ladder, slept);
            *ret_value = value;
            return 0;
        }
    }
}

/* wait=block, no timeout, nobody but us: one blocking read. 1: not to be had, or no longer. */
static int wait_reading(struct hawser_event *event, uint64_t *ret_value) {
    ssize_t n;
    do
        n = sys_read(event->bell, ret_value, sizeof *ret_value);
    while (n == -EINTR);
    if (n == sizeof *ret_value)
        return 0;
    store_relaxed(&event->blocking, 0); /* another process, or a raise, has changed the mode */
    return 1;
}

static int bell_wait(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    bool at_once = event->ladder.mode == HAWSER_WAIT_BLOCK && deadline != DEADLINE_PAST;
    if (load_relaxed(&event->blocking) && deadline == DEADLINE_NEVER && wait_reading(event, ret_value) == 0)
        return 0;
    int error = unblock(event);
    if (error)
        return error;
    if (ladder_unplaced(&event->ladder))
        ladder_place(&event->ladder, event->raiser > 0 ? process_apart(event->raiser) : signals_apart());
    uint64_t value = at_once ? 0 : gather(event, DEADLINE_PAST, deadline != DEADLINE_PAST); /* who sleeps at once looks then */
    if (value == 0 && deadline != DEADLINE_PAST)
        return wait_spinning(event, deadline, ret_value);
    if (value == 0)
        return error_note(-EAGAIN, "the event was not raised");
    *ret_value = value;
    return 0;
}

/* ---- The rest ---- */

/* The maker's is an epoll from the first, so that it stays the same, whoever joins later. */
static int bell_fd(struct hawser_event *event, int *ret_fd) {
    bool maker = event->self == process_self();
    int error = unblock(event);
    if (!error && maker)
        error = crowd_open(&event->crowd, event->bell);
    if (!error)
        *ret_fd = maker ? event->crowd.epoll : event->bell;
    return error;
}

static int bell_export(struct hawser_event *event, int *ret_fd) {
    int error = unblock(event);
    if (!error)
        error = crowd_open(&event->crowd, event->bell);
    return error ? error : event_ticket(event, ret_fd);
}

const struct event_variant event_bell = {
    .scheme = "eventfd",
    .create = bell_create,
    .open = event_connect,
    .raise = bell_raise,
    .wait = bell_wait,
    .fd = bell_fd,
    .export = bell_export,
};
