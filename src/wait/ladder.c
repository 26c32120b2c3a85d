/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* How long to spin. To sleep costs two wakes of an idle CPU a round trip, which is about the shorter third of the waits that
 * sleepers have lately seen: spinning for as long as that is at most twice the best choice there was (the ski-rental argument:
 * Karlin et al., "Competitive snoopy caching", 1988). Whether to spin at all is learned too: `favour` rises when what
 * was waited for came within that time and falls when a spin was in vain.
 *
 * A spin never helps when both ends may use the same single CPU only: the peer cannot run meanwhile. Then even wait=spin
 * sleeps. A thread bound to one CPU with its peer on another is free to spin; where the peer's CPUs are not known it is left
 * to learning, which begins out of favour and probes rarely. */

#include "wait/ladder.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/sys.h"

#define BUDGET_FIRST_NS 50000
#define BUDGET_LEAST_NS 20000
#define BUDGET_MOST_NS 200000 /* on a busy host a wake of a virtual CPU takes 90 us, and a round trip of sleepers two */
#define LOOK_NS 1000000
#define FAVOUR_MOST 8
#define PROBE_WAITS 32          /* out of favour, one wait in so many spins all the same ... */
#define PROBE_WAITS_UNKNOWN 256 /* ... where it may be that no spin can ever pay */
#define PROBE_PIECES 16
#define PROBE_WON 4             /* a probe that was not in vain */
#define PLACE_WAITS 1024        /* affinities are asked for again after so many waits */
#define CLOCK_TRIES_DEAR 4    /* a try takes some 300 ns, the clock 25 */
#define CLOCK_TRIES_CHEAP 64  /* a try takes a few ns and a pause some 15 to 40 */

void ladder_init(struct ladder *ladder, uint32_t mode, bool dear, bool watch) {
    *ladder = (struct ladder){ .mode = mode, .dear = dear, .watch = watch, .apart = 1, .budget_ns = BUDGET_FIRST_NS };
}

void ladder_place(struct ladder *ladder, int apart) {
    if (apart < 0 && ladder->apart >= 0)
        ladder->favour = -FAVOUR_MOST;
    ladder->apart = (int8_t)apart;
    ladder->until_placed = PLACE_WAITS;
}

static bool wants_spin(struct ladder *ladder) {
    if (ladder->apart == 0 || (ladder->mode == HAWSER_WAIT_BLOCK && !ladder->midway))
        return false;
    if (ladder->mode == HAWSER_WAIT_SPIN || (ladder->midway ? ladder->favour_midway : ladder->favour) >= 0)
        return true;
    uint32_t probe = ladder->midway ? PROBE_PIECES : ladder->apart > 0 ? PROBE_WAITS : PROBE_WAITS_UNKNOWN;
    return ++ladder->waits % probe == 0;
}

void ladder_begin(struct ladder *ladder, bool midway) {
    ladder->midway = midway;
    if (ladder->until_placed > 0)
        ladder->until_placed--;
    ladder->spins = ladder->spun = wants_spin(ladder);
    ladder->tries = 0;
    ladder->began_ns = 0;
}

static enum ladder_step next_sleep(struct ladder *ladder, int64_t deadline) {
    if (ladder->began_ns == 0 && ladder->mode == HAWSER_WAIT_ADAPTIVE)
        ladder->began_ns = clock_now();
    return deadline != DEADLINE_NEVER && clock_now() >= deadline ? LADDER_EXPIRED : LADDER_SLEEP;
}

static enum ladder_step next_spin(struct ladder *ladder, int64_t deadline) {
    int64_t now = clock_now();
    if (ladder->began_ns == 0)
        ladder->began_ns = ladder->looked_ns = now;
    if (now >= deadline)
        return LADDER_EXPIRED;
    if (ladder->mode != HAWSER_WAIT_SPIN && now - ladder->began_ns >= ladder->budget_ns) {
        ladder->spins = false;
        return LADDER_SLEEP;
    }
    if (!ladder->watch || now - ladder->looked_ns < LOOK_NS)
        return LADDER_TRY;
    ladder->looked_ns = now;
    return LADDER_LOOK;
}

enum ladder_step ladder_next(struct ladder *ladder, int64_t deadline) {
    if (!ladder->spins)
        return next_sleep(ladder, deadline);
    cpu_pause();
    uint32_t period = ladder->dear ? CLOCK_TRIES_DEAR : CLOCK_TRIES_CHEAP;
    if (++ladder->tries % period != 0)
        return LADDER_TRY;
    if (ladder->apart < 0)
        sys_sched_yield(); /* should it be the same CPU, the peer runs now */
    return next_spin(ladder, deadline);
}

static void favour_add(int32_t *favour, int32_t n) {
    *favour += n;
    *favour = *favour > FAVOUR_MOST ? FAVOUR_MOST : *favour < -FAVOUR_MOST ? -FAVOUR_MOST : *favour;
}

/* Settles where a third of the waits are shorter. A single short one must not pull it down: of two ends that sleep for
 * lack of budget neither would ever find the other awake. */
static void budget_learn(struct ladder *ladder, int64_t waited_ns) {
    int64_t budget = ladder->budget_ns, step = budget / 32;
    budget += waited_ns > budget ? step : -2 * step;
    budget = budget < BUDGET_LEAST_NS ? BUDGET_LEAST_NS : budget;
    ladder->budget_ns = budget > BUDGET_MOST_NS ? BUDGET_MOST_NS : budget;
}

void ladder_end(struct ladder *ladder, bool slept) {
    int32_t *favour = ladder->midway ? &ladder->favour_midway : &ladder->favour;
    if (ladder->mode == HAWSER_WAIT_SPIN || (ladder->mode == HAWSER_WAIT_BLOCK && !ladder->midway))
        return;
    if (!slept) {
        favour_add(favour, *favour < 0 ? PROBE_WON : 1);
        return;
    }
    if (ladder->spun) { /* its time holds the spin: no measure of a sleep */
        favour_add(favour, -2);
        return;
    }
    if (ladder->midway)
        return;
    int64_t waited_ns = clock_now() - ladder->began_ns;
    favour_add(favour, waited_ns <= ladder->budget_ns + ladder->budget_ns / 4 ? 1 : -1);
    budget_learn(ladder, waited_ns);
}
