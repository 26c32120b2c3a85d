/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What carries no messages: semaphores, events, signals and cells, each beside the bare calls that do the same work, in turn. A case
 * is one piece of work; its figure is ns for one: a pair of acquire and release, a round trip, a read. */

#include "bench_loop.h"
#include "gate.h"

#define BESIDE_MOST 2

struct contender {
    const char *name;
    const struct way *way;
    int (*work)(struct run *run); /* NULL: round trips */
};

struct sync_case {
    const char *mechanism, *work; /* "semaphore", "ping-pong" */
    size_t size;                  /* bytes; 0: none that matter */
    enum way_wait wait;
    struct contender ours, beside[BESIDE_MOST];
    double limits[BESIDE_MOST]; /* of ours / beside, promised; 0: nothing is */
};

/* In the order in which they are measured; ends with a NULL mechanism. */
extern const struct sync_case sync_semaphores[], sync_events[], sync_signals[], sync_cells[];

/* Is it one of what sync_run() measures? */
bool sync_is(const char *mechanism);

/* Measures those mechanisms. table, json: where to; either may be NULL. An exit code. */
int sync_run(struct session *session, const char *const *mechanisms, size_t n, FILE *table, FILE *json);

/* Only the cases that something is promised of, as lines of --targets. An exit code. */
int sync_targets(struct session *session);

/* The two sides of a sample keep step by single bytes over the handover. 0 or -EIO. */
int sync_tell(int fd);
int sync_await(int fd);
