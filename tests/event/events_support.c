/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See events.h. */

#include "events.h"

#include <stdarg.h>
#include <sys/prctl.h>

const struct place *place;
uint64_t *shared;

/* ---- Checks ---- */

void fail(int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("#   line %d: ", line);
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

void expect(int line, const char *text, int got, int wanted) {
    if (got != wanted)
        fail(line, "%s: %d (%s), not %d", text, got, got < 0 ? hawser_explain() : "", wanted);
    if (got < 0 && !hawser_explain()[0])
        fail(line, "%s: no sentence", text);
}

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- A waiter and its raisers ---- */

pid_t fork_child(void) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    CHECK(child >= 0);
    return child;
}

void reap(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

hawser_event *create(void) {
    hawser_event *event;
    EXPECT(hawser_event_create(place->address, NULL, &event), 0);
    return event;
}

int ticket_of(hawser_event *event) {
    int ticket = -1;
    if (place->is & TICKET)
        EXPECT(hawser_event_export(event, &ticket), 0);
    return ticket;
}

hawser_event *raiser_of(hawser_event *event, int ticket) {
    hawser_event *raiser = event;
    if (place->is & NAME)
        EXPECT(hawser_event_open(place->address, NULL, 10 * SECOND, &raiser), 0);
    if (place->is & TICKET)
        EXPECT(hawser_event_adopt(ticket, NULL, &raiser), 0);
    return raiser;
}

pid_t raise_in_child(hawser_event *event, act *what, uint64_t argument) {
    int ticket = ticket_of(event);
    pid_t child = fork_child();
    if (child > 0) {
        if (ticket >= 0)
            close(ticket);
        return child;
    }
    hawser_event *raiser = raiser_of(event, ticket);
    what(raiser, argument);
    if (raiser != event)
        hawser_event_close(raiser);
    _exit(0);
}

uint64_t wait_one(hawser_event *event) {
    uint64_t value = 0;
    EXPECT(hawser_event_wait(event, 10 * SECOND, &value), 0);
    CHECK(value > 0);
    return value;
}

void wait_sum(hawser_event *event, uint64_t sum) {
    uint64_t got = 0, value;
    while (got < sum)
        got += wait_one(event);
    CHECK(got == sum);
    EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
}

void serve_until(hawser_event *event, uint64_t word, uint64_t wanted) {
    int64_t began = now_ns();
    uint64_t value;
    while (__atomic_load_n(&shared[word], __ATOMIC_ACQUIRE) < wanted) {
        int error = hawser_event_wait(event, MS, &value);
        CHECK(error == -ETIMEDOUT || (error == -EPERM && !(place->is & NAME)));
        CHECK(now_ns() - began < 10 * SECOND);
    }
}

void await(uint64_t word, uint64_t wanted) {
    int64_t began = now_ns();
    while (__atomic_load_n(&shared[word], __ATOMIC_ACQUIRE) < wanted) {
        CHECK(now_ns() - began < 10 * SECOND);
        sched_yield();
    }
}

void announce(uint64_t word) { __atomic_fetch_add(&shared[word], 1, __ATOMIC_ACQ_REL); }

void raise_value(hawser_event *raiser, uint64_t value) { EXPECT(hawser_event_raise(raiser, value), 0); }

void raise_when_told(hawser_event *raiser, uint64_t value) {
    announce(0);
    await(1, 1);
    EXPECT(hawser_event_raise(raiser, value), 0);
}
