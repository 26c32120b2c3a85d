/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Events over a word in shared memory, for processes that trust each other. The body, frozen:
 *
 *   0   count    8 bytes: what was raised and not yet taken, 0 to HAWSER_EVENT_MOST
 *   8   asleep   4 bytes: 1: somebody sleeps, or is about to; the futex
 *   12  waiter   4 bytes: the slot of the process that made it; WAITER_GONE: it has closed, or died
 *
 * Raising adds to count, and if somebody sleeps makes asleep 0 and wakes all. Sleeping: asleep 1, then one more look at count. A raiser that
 * is killed between the two wakes nobody: so no sleep is longer than SLEEP_MOST_NS. A waiter's death shows by its slot, which the
 * kernel unlocks; a raiser looks once a millisecond. Whoever gets that slot next is told to give it up first. */

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "sync/event.h"
#include "sync/object.h"

#include <errno.h>
#include <limits.h>

#define WAITER_GONE UINT32_MAX
#define SLEEP_MOST_NS INT64_C(40000000)
#define LOOK_NS 1000000
#define TAKEOVERS 16

struct body {
    uint64_t count;
    uint32_t asleep;
    uint32_t waiter;
};

_Static_assert(sizeof(struct body) == 16 && offsetof(struct body, waiter) == 12, "frozen");

static struct body *body_of(const struct hawser_event *event) { return event->object->body; }

/* ---- Opening ---- */

static int birth(struct object *object, const struct object_request *request) {
    (void)request;
    struct body *body = object->body;
    store_relaxed(&body->waiter, object->slot);
    return 0;
}

static int check(struct object *object, const struct object_request *request) {
    (void)request;
    return object->size >= sizeof(struct body) ? 0 : error_note(-EPROTO, "the file is too short for an event");
}

static void reclaim(struct object *object, uint32_t slot) {
    struct body *body = object->body;
    if (slot == OBJECT_EVERY || load_relaxed(&body->waiter) == slot)
        store_relaxed(&body->waiter, WAITER_GONE);
}

static const struct object_kind kind = {
    .tag = OBJECT_EVENT,
    .version = 1,
    .scheme = "futex",
    .what = "an event",
    .birth = birth,
    .check = check,
    .reclaim = reclaim,
};

static int open_object(struct hawser_event *event, bool fresh, struct object **ret_object) {
    struct object_request request = {
        .kind = &kind,
        .address = &event->address,
        .options = &event->options,
        .access = OBJECT_WRITE,
        .size = fresh ? sizeof(struct body) : 0,
        .fresh = fresh,
    };
    return object_open(&request, ret_object);
}

static bool waiter_lives(struct object *object) {
    struct body *body = object->body;
    pid_t pid;
    uint32_t waiter = load_relaxed(&body->waiter);
    return waiter != WAITER_GONE && object_holder(object, waiter, &pid) != -ESRCH;
}

/* The name is in use: by a live waiter, or only by raisers whose waiter is gone, who keep the old one without its name. */
static int take_over(struct hawser_event *event) {
    struct object *old;
    int error = open_object(event, false, &old);
    if (error)
        return error == -ENOENT ? 0 : error;
    error = waiter_lives(old) ? error_set(-EADDRINUSE, "\"%s\" is taken: the event has a live waiter", event->address.place)
                              : object_unlink(old);
    object_close(old);
    return error;
}

static int futex_create(struct hawser_event *event) {
    int error = -EEXIST;
    for (unsigned i = 0; i < TAKEOVERS && error == -EEXIST; i++) {
        error = open_object(event, true, &event->object);
        if (error != -EEXIST)
            return error;
        int taken = take_over(event);
        if (taken < 0)
            return taken;
    }
    return error_set(-EBUSY, "\"%s\" changed hands all the time", event->address.place);
}

/* One try: -EAGAIN: there is no waiter yet. */
static int open_once(struct hawser_event *event) {
    struct object *object;
    int error = open_object(event, false, &object);
    if (error == -ENOENT)
        return error_set(-EAGAIN, "there is no event \"%s\"", event->address.place);
    if (error)
        return error;
    if (!waiter_lives(object)) {
        object_close(object);
        return error_set(-EAGAIN, "the waiter of \"%s\" is gone", event->address.place);
    }
    event->object = object;
    return 0;
}

static int futex_open(struct hawser_event *event, int64_t deadline) {
    int64_t nap_ns = NAME_NAP_NS;
    for (;;) {
        int error = open_once(event);
        if (error != -EAGAIN || deadline == DEADLINE_PAST)
            return error;
        if (deadline_passed(deadline))
            return error_set(-ETIMEDOUT, "timed out: %s", error_sentence());
        name_nap(&nap_ns, deadline);
    }
}

int event_futex_adopt(struct hawser_event *event, int fd) {
    int error = object_adopt(fd, &kind, OBJECT_WRITE, &event->object);
    if (!error && !waiter_lives(event->object)) {
        event->object = object_close(event->object);
        error = event_waiter_gone_error();
    }
    return error;
}

/* ---- Raising ---- */

/* Of one who opened it; those who have it by fork may all wait for it. Async-signal-safe. */
static bool waiter_gone(struct hawser_event *event) {
    if (event->waiter)
        return false;
    if (load_relaxed(&event->gone) || load_relaxed(&body_of(event)->waiter) == WAITER_GONE)
        return true;
    int64_t now_ns = clock_coarse();
    if (now_ns - load_relaxed(&event->looked_ns) < LOOK_NS)
        return false;
    store_relaxed(&event->looked_ns, now_ns);
    bool gone = !waiter_lives(event->object);
    store_relaxed(&event->gone, gone);
    return gone;
}

/* After count has changed. */
static void wake(struct body *body) {
    if (load_seq_cst(&body->asleep) == 0) /* [look] pairs with sleep_on: either it sees the count, or we that it sleeps */
        return;
    store_relaxed(&body->asleep, 0);                        /* [clear] before: who falls asleep meanwhile must not be forgotten */
    sys_futex(&body->asleep, FUTEX_WAKE, INT_MAX, NULL, 0); /* [wake] */
}

static int futex_raise(struct hawser_event *event, uint64_t value) {
    struct body *body = body_of(event);
    int error = object_enter(event->object);
    if (error)
        return error;
    if (waiter_gone(event))
        return event_waiter_gone_error();
    uint64_t count = load_relaxed(&body->count);
    do {
        if (count > HAWSER_EVENT_MOST - value)
            return error_note(-EAGAIN, "what was raised and not yet taken would add up to more than an event holds");
    } while (!compare_exchange(&body->count, &count, count + value)); /* [raise] pairs with take and sleep_on */
    wake(body);
    return 0;
}

/* ---- Waiting ---- */

static uint64_t take(struct body *body) {
    /* [take] pairs with futex_raise: what a raiser did before it is seen */
    return load_relaxed(&body->count) > 0 ? exchange_seq_cst(&body->count, 0) : 0;
}

static void sleep_on(struct body *body, int64_t deadline) {
    struct timespec timeout;
    int64_t most = clock_now() + SLEEP_MOST_NS;
    store_seq_cst(&body->asleep, 1);     /* [arm] pairs with wake */
    if (load_seq_cst(&body->count) == 0) /* [again] pairs with futex_raise; [sleep], or, after a death, [nap] */
        sys_futex(&body->asleep, FUTEX_WAIT, 1, sleep_timeout(deadline_earlier(deadline, most), &timeout), 0);
}

static int wait_on(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    bool slept = false;
    ladder_begin(&event->ladder, false);
    for (;;) {
        enum ladder_step step = ladder_next(&event->ladder, deadline);
        if (step == LADDER_EXPIRED)
            return error_note(-ETIMEDOUT, "the event was not raised in time");
        slept |= step == LADDER_SLEEP;
        if (step == LADDER_SLEEP)
            sleep_on(body_of(event), deadline);
        uint64_t value = take(body_of(event));
        if (value > 0) {
            ladder_end(&event->ladder, slept);
            *ret_value = value;
            return 0;
        }
    }
}

static int futex_wait(struct hawser_event *event, int64_t deadline, uint64_t *ret_value) {
    int error = object_enter(event->object);
    if (error)
        return error;
    uint64_t value = take(body_of(event));
    if (value > 0) {
        *ret_value = value;
        return 0;
    }
    if (deadline == DEADLINE_PAST)
        return error_note(-EAGAIN, "the event was not raised");
    if (ladder_unplaced(&event->ladder))
        ladder_place(&event->ladder, signals_apart());
    return wait_on(event, deadline, ret_value);
}

/* ---- The rest ---- */

static int futex_export(struct hawser_event *event, int *ret_fd) {
    int error = object_enter(event->object);
    return error ? error : object_export(event->object, OBJECT_WRITE, ret_fd);
}

static void futex_close(struct hawser_event *event, bool owner) {
    if (owner && event->waiter && event->object)
        store_relaxed(&body_of(event)->waiter, WAITER_GONE);
    event->object = object_close(event->object);
}

const struct event_variant event_futex = {
    .scheme = "futex",
    .create = futex_create,
    .open = futex_open,
    .raise = futex_raise,
    .wait = futex_wait,
    .export = futex_export,
    .close = futex_close,
};
