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
    bool midway;         /* this wait is in the middle of a message */
    bool spins;          /* this wait spins still ... */
    bool spun;           /* ... or did at its beginning */
    int8_t apart;        /* can the peer run while this thread does? 1, 0, -1 not known: ladder_place() */
    uint32_t until_placed; /* waits until that is asked again */
    int32_t favour;   /* -8 to 8: how often, of late, what was waited for came within the budget */
    int32_t favour_midway; /* the same of waits in the middle of a message */
    int64_t budget_ns;   /* how long a spin may take: what a sleep has lately cost */
    uint32_t waits;   /* with favour low, one wait in 32 (256 with a peer nobody knows where) spins all the same, to learn */
    uint32_t tries;   /* of this wait */
    int64_t began_ns; /* 0: the clock was not read yet */
    int64_t looked_ns;
};

void ladder_init(struct ladder *ladder, uint32_t mode, bool dear, bool watch);

/* Whether the owner should find out again where the peer can run, and tell it: process_apart(). */
static inline bool ladder_unplaced(const struct ladder *ladder) { return ladder->until_placed == 0; }
void ladder_place(struct ladder *ladder, int apart);

/* A wait begins: the first try has just failed. midway: the peer is moving the other half of a message now, so that a spin
 * pays in any mode. */
void ladder_begin(struct ladder *ladder, bool midway);

enum ladder_step ladder_next(struct ladder *ladder, int64_t deadline);

/* The wait ended with what was waited for; slept: in the kernel. Learns. */
void ladder_end(struct ladder *ladder, bool slept);
