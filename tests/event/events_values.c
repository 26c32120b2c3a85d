/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is raised arrives: values, sums, limits, timeouts, descriptors to poll. */

#include "events.h"

#include <sys/resource.h>

static void a_value_arrives(void) {
    static const uint64_t values[] = { 1, 2, 77, UINT64_C(1) << 40, HAWSER_EVENT_MOST };
    hawser_event *event = create();
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        pid_t child = raise_in_child(event, raise_value, values[i]);
        CHECK(wait_one(event) == values[i]);
        reap(child);
    }
    hawser_event_close(event);
}

static void raise_up_to(hawser_event *raiser, uint64_t most) {
    for (uint64_t i = 1; i <= most; i++)
        EXPECT(hawser_event_raise(raiser, i), 0);
    announce(0);
}

/* Over signal each raise is its own, in order; else what nobody took adds up. */
static void raises_queue_or_add_up(void) {
    hawser_event *event = create();
    uint64_t value;
    if (place->is & NAME) { /* else it is not welcomed before it is waited for */
        pid_t child = raise_in_child(event, raise_up_to, 10);
        wait_sum(event, 55);
        reap(child);
    } else {
        pid_t child = raise_in_child(event, raise_up_to, 10);
        await(0, 1);
        for (uint64_t i = 1; i <= 10 && place->is & SIGNAL; i++)
            CHECK(wait_one(event) == i);
        if (!(place->is & SIGNAL))
            CHECK(wait_one(event) == 55);
        reap(child);
    }
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
    hawser_event_close(event);
}

enum { ROUNDS = 50 };

static void raise_each_time(hawser_event *raiser, uint64_t unused) {
    (void)unused;
    announce(0);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        await(1, i);
        EXPECT(hawser_event_raise(raiser, i), 0);
    }
}

/* Whoever sleeps is woken, and does not find it when it looks by itself. */
static void a_raise_wakes(void) {
    hawser_event *event = create();
    pid_t child = raise_in_child(event, raise_each_time, 0);
    serve_until(event, 0, 1);
    int64_t began = now_ns();
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        announce(1);
        CHECK(wait_one(event) == i);
    }
    CHECK(now_ns() - began < ROUNDS * 25 * MS);
    reap(child);
    hawser_event_close(event);
}

static void timeouts_hold(void) {
    hawser_event *event = create();
    uint64_t value = 99;
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
    for (int64_t timeout = MS; timeout <= 64 * MS; timeout *= 8) {
        int64_t began = now_ns();
        EXPECT(hawser_event_wait(event, timeout, &value), -ETIMEDOUT);
        CHECK(now_ns() - began >= timeout);
        CHECK(now_ns() - began < timeout + SECOND);
    }
    EXPECT(hawser_event_wait(event, -2, &value), -EINVAL);
    EXPECT(hawser_event_wait(event, HAWSER_NOW, NULL), -EINVAL);
    EXPECT(hawser_event_raise(event, 0), -EINVAL);
    EXPECT(hawser_event_raise(event, UINT64_MAX), -EINVAL);
    CHECK(value == 99);
    EXPECT(hawser_event_raise(event, 5), 0); /* the waiter's own handle raises too */
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), 0);
    CHECK(value == 5);
    hawser_event_close(event);
}

static void fill(hawser_event *raiser, uint64_t unused) {
    (void)unused;
    EXPECT(hawser_event_raise(raiser, HAWSER_EVENT_MOST - 1), 0);
    EXPECT(hawser_event_raise(raiser, 2), -EAGAIN);
    EXPECT(hawser_event_raise(raiser, 1), 0);
    EXPECT(hawser_event_raise(raiser, 1), -EAGAIN);
    announce(0);
    await(1, 1);
    EXPECT(hawser_event_raise(raiser, 3), 0);
}

static void a_full_event_refuses(void) {
    hawser_event *event = create();
    pid_t child = raise_in_child(event, fill, 0);
    uint64_t got = 0;
    if (place->is & NAME) {
        while (got < HAWSER_EVENT_MOST - 1) /* welcoming it may take the first alone */
            got += wait_one(event);
    } else {
        await(0, 1);
        CHECK(wait_one(event) == HAWSER_EVENT_MOST);
    }
    if (!(place->is & NAME)) {
        announce(1);
        CHECK(wait_one(event) == 3);
        reap(child);
    } else {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    hawser_event_close(event);
}

static void raise_most(hawser_event *raiser, uint64_t unused) {
    (void)unused;
    announce(0);
    await(1, 1);
    EXPECT(hawser_event_raise(raiser, HAWSER_EVENT_MOST), 0);
    announce(2);
}

/* The raisers' sums together need more than 64 bits: nothing of them is lost. */
static void sums_over_64_bits_are_kept(void) {
    enum { RAISERS = 3 };
    hawser_event *event = create();
    pid_t children[RAISERS];
    uint64_t value;
    for (unsigned i = 0; i < RAISERS; i++)
        children[i] = raise_in_child(event, raise_most, 0);
    serve_until(event, 0, RAISERS);
    announce(1);
    await(2, RAISERS);
    for (unsigned i = 0; i < RAISERS; i++)
        CHECK(wait_one(event) == HAWSER_EVENT_MOST);
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
    for (unsigned i = 0; i < RAISERS; i++)
        reap(children[i]);
    hawser_event_close(event);
}

static void a_full_queue_is_told(void) {
    enum { LIMIT = 40 };
    struct rlimit limit = { LIMIT, LIMIT };
    uint64_t raised = 0, value;
    int error;
    hawser_event *event = create();
    setrlimit(RLIMIT_SIGPENDING, &limit);
    while ((error = hawser_event_raise(event, raised + 1)) == 0 && raised < 2 * LIMIT)
        raised++;
    CHECK(error == -EAGAIN && strstr(hawser_explain(), "RLIMIT_SIGPENDING"));
    for (uint64_t i = 1; i <= raised; i++)
        CHECK(wait_one(event) == i);
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
    hawser_event_close(event);
}

static void the_descriptor_polls(void) {
    hawser_event *event = create();
    struct epoll_event found;
    int fd, again, epoll = epoll_create1(EPOLL_CLOEXEC), edge = epoll_create1(EPOLL_CLOEXEC);
    EXPECT(hawser_event_fd(event, &fd), 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN }) == 0);
    CHECK(epoll_ctl(edge, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN | EPOLLET }) == 0);
    pid_t child = raise_in_child(event, raise_when_told, 7);
    serve_until(event, 0, 1);
    while (epoll_wait(edge, &found, 1, 0) > 0) { /* of being welcomed */
    }
    CHECK(epoll_wait(epoll, &found, 1, 0) == 0);
    announce(1);
    CHECK(epoll_wait(epoll, &found, 1, 10000) == 1);
    CHECK(epoll_wait(edge, &found, 1, 10000) == 1);
    CHECK(wait_one(event) == 7);
    reap(child);
    uint64_t value;
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN); /* sees the raiser's end */
    CHECK(epoll_wait(epoll, &found, 1, 0) == 0);
    EXPECT(hawser_event_fd(event, &again), 0);
    CHECK(again == fd);
    EXPECT(hawser_event_raise(event, 2), 0);
    CHECK(epoll_wait(epoll, &found, 1, 10000) == 1);
    CHECK(wait_one(event) == 2);
    close(epoll);
    close(edge);
    hawser_event_close(event);
}

const struct promise value_promises[] = {
    { "a value arrives", a_value_arrives, 0 },
    { "raises queue or add up", raises_queue_or_add_up, 0 },
    { "a raise wakes", a_raise_wakes, 0 },
    { "timeouts hold", timeouts_hold, 0 },
    { "a full event refuses", a_full_event_refuses, SIGNAL },
    { "sums over 64 bits are kept", sums_over_64_bits_are_kept, SIGNAL | FORK | FUTEX },
    { "a full queue is told", a_full_queue_is_told, EVENTFD | FUTEX },
    { "the descriptor polls", the_descriptor_polls, FUTEX },
    { NULL, NULL, 0 },
};
