/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser event raise, hawser event wait: a doorbell between shells. */

#include "doorbell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TEN_SECONDS INT64_C(10000000000)

static int one_address(const struct doorbell *doorbell, char ret_address[HAWSER_ADDRESS_MAX]) {
    if (doorbell->n_words == 0)
        return arguments_wrong(doorbell->verb, "the address is missing", "");
    if (doorbell->n_words > 1)
        return arguments_wrong(doorbell->verb, "one argument too many: ", doorbell->words[1]);
    return arguments_address(doorbell->verb, doorbell->words[0], "event", "", ret_address);
}

/* The library's sentence tells of a listener, which is what carries the name. */
static int not_opened(const struct doorbell *doorbell, int error) {
    if (error != -ETIMEDOUT && error != -EAGAIN)
        return report_failure(doorbell->verb, error);
    fprintf(stderr, "hawser %s: %s; an event is there while somebody waits for it\n", doorbell->verb, hawser_explain());
    return EXIT_TIMED_OUT;
}

static int raise_event(const struct doorbell *doorbell) {
    hawser_event *event;
    char address[HAWSER_ADDRESS_MAX];
    int code = one_address(doorbell, address);
    if (code != EXIT_DONE)
        return code;
    if (doorbell->value == 0 || doorbell->value > HAWSER_EVENT_MOST)
        return arguments_wrong(doorbell->verb, "a raise is by 1 to 2^64-2", "");
    int error = hawser_event_open(address, NULL, doorbell->timeout, &event);
    if (error < 0)
        return not_opened(doorbell, error);
    error = hawser_event_raise(event, doorbell->value);
    code = error < 0 ? report_failure(doorbell->verb, error) : EXIT_DONE;
    hawser_event_close(event);
    return code;
}

static int print_raises(const struct doorbell *doorbell, hawser_event *event) {
    uint64_t value;
    for (uint64_t i = 0; i < doorbell->count; i++) {
        int error = hawser_event_wait(event, doorbell->timeout, &value);
        if (error < 0)
            return report_failure(doorbell->verb, error);
        if (printf("%" PRIu64 "\n", value) < 0 || fflush(stdout) < 0) {
            perror("hawser event wait: standard output");
            return EXIT_FAILED;
        }
    }
    return EXIT_DONE;
}

static int wait_event(const struct doorbell *doorbell) {
    hawser_event *event;
    char address[HAWSER_ADDRESS_MAX];
    int code = one_address(doorbell, address);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_event_create(address, NULL, &event);
    if (error < 0)
        return report_failure(doorbell->verb, error);
    code = print_raises(doorbell, event);
    hawser_event_close(event);
    return code;
}

static const struct doorbell_usage usage = {
    .verb = "event",
    .ring = "raise",
    .ring_timeout = TEN_SECONDS,
    .wait_timeout = HAWSER_FOREVER,
    .ring_waits = true,
    .run_ring = raise_event,
    .run_wait = wait_event,
    .help = "usage: hawser event wait [--count N] [--timeout T] ADDRESS\n"
            "       hawser event raise [--value N] [--timeout T] ADDRESS\n"
            "\n"
            "A doorbell. Waiting makes the event at ADDRESS and prints what it is raised by, a number a line; raising opens it\n"
            "and raises it. What is raised meanwhile adds up; over signal each raise is a line.\n"
            "\n"
            "  --count N      end after N lines (1)\n"
            "  --value N      raise by N, 1 to 2^64-2 (1)\n"
            "  --timeout T    raise: how long to wait for a waiter (10s); wait: for each raise (forever);\n"
            "                 takes ns, us, ms, s\n"
            "\n"
            "ADDRESS: NAME or event://NAME, which is eventfd://NAME; futex://NAME; or signal://NAME?signal=SIGRTMIN+3\n"
            "\n"
            "example, in two terminals:\n"
            "  hawser event wait backup-done && echo done\n"
            "  hawser event raise backup-done\n"
            "\n"
            "exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out\n",
};

int verb_event(int argc, char **argv) { return doorbell_main(&usage, argc, argv); }
