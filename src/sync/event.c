/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The public calls of events: arguments, whose the event is, and which variant does it. */

#include "sync/event.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"

#include <errno.h>
#include <hawser/signal.h>
#include <string.h>

static const char *const schemes[] = { "event", "eventfd", "futex", "signal", NULL };
static const struct event_variant *const variants[] = { &event_bell, &event_bell, &event_futex, &event_signal };

/* ---- Addresses ---- */

static int read_signal(const char *text, size_t length, void *to) {
    char name[HAWSER_SIGNAL_NAME_MAX];
    int signal = 0;
    if (length >= sizeof name)
        return -EINVAL;
    memcpy(name, text, length);
    name[length] = 0;
    if (signal_parse(name, &signal) < 0 || signal < SIGRTMIN || signal > SIGRTMAX)
        return -EINVAL;
    *(int *)to = signal;
    return 0;
}

/* signal=: who waits must say which, who raises is told by the waiter. */
static int parse(struct hawser_event *event, const char *text, const hawser_options *given, bool waiter) {
    const struct own_option own[] = { { "signal", read_signal, &event->signal, "expected a real-time signal, as SIGRTMIN+3," }, { 0 } };
    unsigned scheme;
    int error = address_parse_as(text, schemes, &event->address, &scheme);
    if (error)
        return error;
    event->variant = variants[scheme];
    bool over_signal = event->variant == &event_signal;
    error = options_resolve_own(given, &event->address, over_signal ? own : NULL, &event->options);
    if (!error && over_signal && waiter && event->signal == 0)
        error = address_error(&event->address, (unsigned)strlen(event->address.text), "expected signal=SIGRTMIN+3, or another real-time one,");
    return error;
}

/* ---- Life ---- */

static int event_new(bool waiter, struct hawser_event **ret_event) {
    struct hawser_event *event = memory_new(sizeof *event);
    if (!event)
        return error_note(-ENOMEM, "no memory for an event");
    event->waiter = waiter;
    event->self = process_self();
    event->bell = event->socket = event->pidfd = event->signalfd = -1;
    crowd_init(&event->crowd);
    *ret_event = event;
    return 0;
}

static void event_free(struct hawser_event *event) {
    crowd_close(&event->crowd);
    cleanup_close(&event->bell);
    cleanup_close(&event->socket);
    cleanup_close(&event->pidfd);
    cleanup_close(&event->signalfd);
    memory_free(event);
}

static int failed(struct hawser_event *event, int error) {
    event_free(event);
    return error;
}

/* A sentence that points at the address says it all. */
static int failed_to_open(struct hawser_event *event, int error) {
    char what[HAWSER_ADDRESS_MAX + 8];
    if (error != -EINVAL && event->address.text[0]) {
        snprintf(what, sizeof what, "open %s", event->address.text);
        error_within(error, what);
    }
    return failed(event, error);
}

HAWSER_PUBLIC int hawser_event_create(const char *address, const hawser_options *options, hawser_event **ret_event) {
    struct hawser_event *event = NULL;
    int error = ret_event ? event_new(true, &event) : error_note(-EINVAL, "ret_event is NULL");
    if (error)
        return error;
    error = parse(event, address, options, true);
    if (!error) {
        ladder_init(&event->ladder, event->options.wait, event->variant != &event_futex, false);
        error = event->variant->create(event);
    }
    if (error)
        return failed(event, error);
    *ret_event = event;
    return 0;
}

HAWSER_PUBLIC int hawser_event_open(const char *address, const hawser_options *options, int64_t timeout, hawser_event **ret_event) {
    struct hawser_event *event = NULL;
    if (timeout < HAWSER_FOREVER || !ret_event)
        return error_note(-EINVAL, ret_event ? "the timeout is negative" : "ret_event is NULL");
    int64_t deadline = deadline_after(timeout);
    int error = event_new(false, &event);
    if (error)
        return error;
    error = parse(event, address, options, false);
    if (!error && !event->address.place[0])
        error = address_error(&event->address, event->address.query, "expected a name: who has none is reached by fork or a ticket,");
    if (!error)
        error = event->variant->open(event, deadline);
    if (error)
        return failed_to_open(event, error);
    *ret_event = event;
    return 0;
}

HAWSER_PUBLIC int hawser_event_adopt(int fd, const hawser_options *options, hawser_event **ret_event) {
    static const struct address nowhere = { 0 };
    struct hawser_event *event = NULL;
    int error = ret_event ? event_new(false, &event) : error_note(-EINVAL, "ret_event is NULL");
    if (error)
        return error;
    error = options_resolve(options, &nowhere, &event->options);
    if (!error && sys_fcntl(fd, F_GETFD, 0) == -EBADF)
        error = error_set(-EBADF, "%d is no descriptor", fd);
    if (!error) {
        event->variant = event_ticket_variant(fd);
        error = event->variant == &event_futex ? event_futex_adopt(event, fd) : event_adopt(event, fd);
    }
    if (error)
        return failed(event, error);
    *ret_event = event;
    return 0;
}

HAWSER_PUBLIC hawser_event *hawser_event_close(hawser_event *event) {
    if (!event)
        return NULL;
    if (event->variant->close)
        event->variant->close(event, event->self == process_self());
    event_free(event);
    return NULL;
}

/* ---- Use ---- */

HAWSER_PUBLIC int hawser_event_raise(hawser_event *event, uint64_t value) {
    if (!event)
        return error_note(-EINVAL, "the event is NULL");
    if (value == 0 || value > HAWSER_EVENT_MOST)
        return error_note(-EINVAL, "a raise is of 1 to 2^64-2");
    return event->variant->raise(event, value);
}

/* Is it ours to wait for? Unnamed, but over signal, it is everybody's who has it by fork. */
static int enter(const struct hawser_event *event, bool shared) {
    if (!event)
        return error_note(-EINVAL, "the event is NULL");
    if (!event->waiter)
        return error_note(-EPERM, "this process opened the event to raise it: only the one that made it waits");
    if (event->self == process_self() || (shared && event->variant != &event_signal && !event->address.place[0]))
        return 0;
    return error_note(-EPERM, "the event belongs to the process that made it, before fork");
}

HAWSER_PUBLIC int hawser_event_wait(hawser_event *event, int64_t timeout, uint64_t *ret_value) {
    int error = enter(event, true);
    if (error)
        return error;
    if (timeout < HAWSER_FOREVER || !ret_value)
        return error_note(-EINVAL, ret_value ? "the timeout is negative" : "ret_value is NULL");
    return event->variant->wait(event, deadline_after(timeout), ret_value);
}

HAWSER_PUBLIC int hawser_event_fd(hawser_event *event, int *ret_fd) {
    int error = enter(event, true);
    if (error)
        return error;
    if (!ret_fd)
        return error_note(-EINVAL, "ret_fd is NULL");
    if (!event->variant->fd)
        return error_note(-EOPNOTSUPP, "an event over futex has no descriptor to poll; one over eventfd has");
    return event->variant->fd(event, ret_fd);
}

HAWSER_PUBLIC int hawser_event_export(hawser_event *event, int *ret_fd) {
    int error = enter(event, false);
    if (error)
        return error;
    return ret_fd ? event->variant->export(event, ret_fd) : error_note(-EINVAL, "ret_fd is NULL");
}
