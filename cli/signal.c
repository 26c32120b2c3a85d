/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser signal send, hawser signal wait: queued signals with a value, for shells. */

#include "doorbell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static int send_to(const struct doorbell *doorbell, pid_t pid, int signal) {
    hawser_signal_target *target;
    int error = hawser_signal_target_pid(pid, &target);
    if (error < 0)
        return report_failure(doorbell->verb, error);
    error = hawser_signal_send(target, signal, doorbell->value);
    int code = error < 0 ? report_failure(doorbell->verb, error) : EXIT_DONE;
    hawser_signal_target_close(target);
    return code;
}

static int send_signal(const struct doorbell *doorbell) {
    uint64_t pid;
    int signal;
    if (doorbell->n_words != 2)
        return arguments_wrong(doorbell->verb, "expected PID and SIGNAL", "");
    if (!arguments_count(doorbell->words[0], INT32_MAX, &pid) || pid == 0)
        return arguments_wrong(doorbell->verb, doorbell->words[0], ": a process is its pid, a number over 0");
    int error = hawser_signal_number(doorbell->words[1], &signal);
    return error < 0 ? report_failure(doorbell->verb, error) : send_to(doorbell, (pid_t)pid, signal);
}

static bool print_info(const struct hawser_signal_info *info) {
    char name[HAWSER_SIGNAL_NAME_MAX];
    if (hawser_signal_name(info->signal, name) < 0)
        return false;
    return printf("%s %" PRIu64 " %d %u\n", name, info->value, (int)info->pid, (unsigned)info->uid) >= 0 && fflush(stdout) == 0;
}

static int wait_for(const struct doorbell *doorbell, hawser_signal_receiver *receiver) {
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    for (uint64_t i = 0; i < doorbell->count; i++) {
        int error = hawser_signal_wait(receiver, doorbell->timeout, &info);
        if (error < 0)
            return report_failure(doorbell->verb, error);
        if (!print_info(&info)) {
            perror("hawser signal wait: standard output");
            return EXIT_FAILED;
        }
    }
    return EXIT_DONE;
}

static int wait_signal(const struct doorbell *doorbell) {
    hawser_signal_receiver *receiver;
    int signals[DOORBELL_WORDS];
    if (doorbell->n_words == 0)
        return arguments_wrong(doorbell->verb, "expected one SIGNAL or more", "");
    for (size_t i = 0; i < doorbell->n_words; i++) {
        int error = hawser_signal_number(doorbell->words[i], &signals[i]);
        if (error < 0)
            return report_failure(doorbell->verb, error);
    }
    int error = hawser_signal_open(signals, doorbell->n_words, NULL, &receiver);
    if (error < 0)
        return report_failure(doorbell->verb, error);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "hawser %s: process %d waits\n", doorbell->verb, (int)getpid());
    int code = wait_for(doorbell, receiver);
    hawser_signal_close(receiver);
    return code;
}

static const struct doorbell_usage usage = {
    .verb = "signal",
    .ring = "send",
    .wait_timeout = HAWSER_FOREVER,
    .run_ring = send_signal,
    .run_wait = wait_signal,
    .help = "usage: hawser signal wait [--count N] [--timeout T] SIGNAL...\n"
            "       hawser signal send [--value N] PID SIGNAL\n"
            "\n"
            "Queued signals with a value. Waiting receives the signals and prints for each a line: its name, its value, and pid\n"
            "and uid of whom its sender claims to be. Real-time signals queue, and none is lost; one that finds no room is told\n"
            "to its sender (exit code 3: again later).\n"
            "\n"
            "  --count N      end after N signals (1)\n"
            "  --timeout T    how long to wait for each (forever); takes ns, us, ms, s\n"
            "  --value N      send with N (1)\n"
            "\n"
            "SIGNAL: SIGRTMIN+3, RTMAX-1, SIGUSR1, TERM, 37\n"
            "\n"
            "example:\n"
            "  hawser signal wait SIGRTMIN+3 & sleep 1; hawser signal send --value 42 $! SIGRTMIN+3; wait\n"
            "\n"
            "exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out\n",
};

int verb_signal(int argc, char **argv) { return doorbell_main(&usage, argc, argv); }
