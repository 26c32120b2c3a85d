/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One waiter, four workers that do not trust each other: each gets a ticket of its own, rings when it has done something, and
 * rings more than it should if it likes; the others do not notice. Then the same by an interrupt. usage: doorbell [ADDRESS] */

#include <hawser/hawser.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4
#define STEPS 100

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, hawser_explain());
    return 1;
}

static int work(int ticket) {
    hawser_event *event;
    if (hawser_event_adopt(ticket, NULL, &event) < 0)
        return failed("adopt");
    for (int i = 0; i < STEPS; i++)
        if (hawser_event_raise(event, 1) < 0)
            return failed("raise");
    hawser_event_close(event);
    return 0;
}

static int start(hawser_event *event) {
    int ticket;
    if (hawser_event_export(event, &ticket) < 0)
        return failed("export");
    if (fork() == 0)
        _exit(work(ticket));
    close(ticket);
    return 0;
}

static int wait_for_all(hawser_event *event) {
    uint64_t sum = 0, value;
    for (int i = 0; i < WORKERS; i++)
        if (start(event))
            return 1;
    while (sum < WORKERS * STEPS) {
        if (hawser_event_wait(event, HAWSER_FOREVER, &value) < 0)
            return failed("wait");
        sum += value;
    }
    printf("%u steps by %d workers\n", (unsigned)sum, WORKERS);
    return sum != WORKERS * STEPS;
}

/* ---- The same, while we do something else ---- */

static volatile sig_atomic_t interrupts;

static void count(void *context, uint64_t value) {
    (void)context;
    (void)value;
    interrupts++;
}

static int be_interrupted(hawser_event *event) {
    unsigned long work_done = 0;
    if (hawser_event_handler(event, count, NULL) < 0)
        return failed("handler");
    if (start(event))
        return 1;
    while (interrupts < STEPS)
        work_done++;
    printf("interrupted %d times while counting to %lu\n", (int)interrupts, work_done);
    return 0;
}

static int run(const char *address, int (*what)(hawser_event *event)) {
    hawser_event *event;
    if (hawser_event_create(address, NULL, &event) < 0)
        return failed("create");
    int error = what(event);
    while (wait(NULL) > 0) {
    }
    hawser_event_close(event);
    return error;
}

int main(int argc, char **argv) {
    int error = run(argc > 1 ? argv[1] : "eventfd://", wait_for_all);
    return error ? error : run("signal://?signal=SIGRTMIN+3", be_interrupted);
}
