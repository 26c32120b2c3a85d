/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The waiting ladder: spin for about what a wake costs, where that pays, then sleep. One for each direction of
 * a channel; used by one thread at a time. The owner tries its operation, and on -EAGAIN asks for the next step. */

#include <hawser/options.h>
#include <stdbool.h>
#include <stdint.h>

enum ladder_step {
    LADDER_TRY,     /* try again now */
    LADDER_LOOK,    /* the same, but look at the peer first: a millisecond has gone by */
    LADDER_SLEEP,   /* sleep, then try again */
    LADDER_EXPIRED, /* the deadline has passed */
};

struct ladder {
    uint32_t mode;       /* enum hawser_wait, resolved */
    bool dear;           /* a try costs a system call: look at the clock more often, pause less */
    bool watch;          /* give LADDER_LOOK at all */
    bool spins;          /* this wait spins still ... */
    bool spun;           /* ... or did at its beginning */
    uint32_t until_cpus; /* waits until the number of allowed CPUs is asked for again */
    uint32_t cpus;
    int32_t favour;   /* -8 to 8: how often, of late, what was waited for came within the budget */
    int64_t budget_ns;   /* how long a spin may take: what a sleep has lately cost */
    uint32_t waits;   /* with favour low, one wait in 32 spins all the same, to learn */
    uint32_t tries;   /* of this wait */
    int64_t began_ns; /* 0: the clock was not read yet */
    int64_t looked_ns;
};

void ladder_init(struct ladder *ladder, uint32_t mode, bool dear, bool watch);

/* A wait begins: the first try has just failed. */
void ladder_begin(struct ladder *ladder);

enum ladder_step ladder_next(struct ladder *ladder, int64_t deadline);

/* The wait ended with what was waited for; slept: in the kernel. Learns. */
void ladder_end(struct ladder *ladder, bool slept);
