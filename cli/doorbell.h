/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What `hawser event` and `hawser signal` are told on the command line: both ring, and both wait to be rung. */

#include "arguments.h"

#define DOORBELL_WORDS 64

struct doorbell {
    const char *verb;    /* "event raise" */
    uint64_t value;      /* 1, unless told */
    uint64_t count;      /* 1, unless told */
    int64_t timeout;     /* ns */
    const char *words[DOORBELL_WORDS]; /* address, pid, signals */
    size_t n_words;
};

struct doorbell_usage {
    const char *verb;    /* "event", "signal" */
    const char *ring;    /* what ringing is called: "raise", "send"; the other is "wait" */
    int64_t ring_timeout, wait_timeout;
    bool ring_waits;     /* ringing takes --timeout */
    const char *help;
    int (*run_ring)(const struct doorbell *doorbell);
    int (*run_wait)(const struct doorbell *doorbell);
};

/* The whole verb: parses, and runs what was asked for; the exit code. */
int doorbell_main(const struct doorbell_usage *usage, int argc, char **argv);
