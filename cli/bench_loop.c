/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See bench_loop.h. Every message is stamped before it is sent and checked where it arrives, by the same code for
 * every way, so that no figure counts what was lost, merged or cut. */

#include "bench_loop.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define PROBE_NS 1000000
#define PROBE_MOST_NS 10000000
#define PROBE_TRIPS 16
#define PROBE_BATCHES_MIN 32 /* where somebody else wants the CPUs too */
#define PROBE_STOP UINT64_MAX
#define SPINS_BEFORE_YIELD 65536
#define CLOCK_READINGS 2000
#define BATCH_MESSAGES 64
#define BATCH_BYTES (4u << 20)

static int64_t clock_of(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_now(void) { return clock_of(CLOCK_MONOTONIC); }

/* The mean of many, as the clock may step by more than one reading takes. */
static double clock_cost(void) {
    double best = INFINITY;
    for (int round = 0; round < 5; round++) {
        int64_t start = bench_now();
        for (int i = 1; i < CLOCK_READINGS; i++)
            bench_now();
        double mean = (double)(bench_now() - start) / CLOCK_READINGS;
        best = mean < best ? mean : best;
    }
    return best;
}

void stamp_put(unsigned char *data, size_t size, uint64_t sequence) {
    uint64_t inverse = ~sequence;
    if (size >= 2 * sizeof sequence) {
        memcpy(data, &sequence, sizeof sequence);
        memcpy(data + size - sizeof inverse, &inverse, sizeof inverse);
    } else {
        memcpy(data, &sequence, size < sizeof sequence ? size : sizeof sequence);
    }
}

bool stamp_check(const unsigned char *data, size_t size, uint64_t sequence) {
    uint64_t first = 0, last = ~sequence;
    if (size < sizeof first)
        return memcmp(data, &sequence, size) == 0;
    memcpy(&first, data, sizeof first);
    if (size >= 2 * sizeof first)
        memcpy(&last, data + size - sizeof last, sizeof last);
    return first == sequence && last == ~sequence;
}

static uint64_t await_change(const uint64_t *word, uint64_t old) {
    uint64_t value;
    for (unsigned spins = 1; (value = way_load(word)) == old; spins++) {
        way_pause();
        if (spins % SPINS_BEFORE_YIELD == 0)
            sched_yield();
    }
    return value;
}

double probe_lead(struct board *board) {
    struct histogram *histogram = calloc(1, sizeof *histogram);
    uint64_t value = 0, old = way_load(&board->probe_follow); /* 0, or PROBE_STOP of the time before */
    int64_t start = bench_now(), now = start;
    while (histogram && (now - start < PROBE_NS || (histogram->n < PROBE_BATCHES_MIN && now - start < PROBE_MOST_NS))) {
        int64_t before = now;
        for (int trip = 0; trip < PROBE_TRIPS; trip++) {
            way_store(&board->probe_lead, ++value);
            old = await_change(&board->probe_follow, old);
        }
        now = bench_now();
        histogram_add(histogram, now - before);
    }
    way_store(&board->probe_lead, PROBE_STOP);
    await_change(&board->probe_follow, old);
    /* the lower quartile: a line's way has no other reason to be long than the distance, but for interruptions */
    double ns = histogram ? histogram_quantile(histogram, 0.25) / PROBE_TRIPS : NAN;
    free(histogram);
    return ns;
}

void probe_follow(struct board *board) {
    uint64_t value = way_load(&board->probe_follow);
    do {
        value = await_change(&board->probe_lead, value);
        way_store(&board->probe_follow, value);
    } while (value != PROBE_STOP);
}

void snapshot_take(struct run *run, struct snapshot *ret_snapshot) {
    struct rusage usage;
    uint64_t calls = run->request->way->calls(run->state);
    getrusage(RUSAGE_SELF, &usage);
    *ret_snapshot = (struct snapshot){
        .at_ns = bench_now(),
        .cpu_ns = (double)clock_of(CLOCK_PROCESS_CPUTIME_ID),
        .calls = calls == WAY_CALLS_UNKNOWN ? NAN : (double)calls,
        .switches = (double)(usage.ru_nvcsw + usage.ru_nivcsw),
    };
}

int loop_fail(struct run *run, int error, const char *what) {
    struct side_report *report = &run->board->reports[run->side];
    const char *reason = run->request->way->explain ? run->request->way->explain() : NULL;
    if (report->error == 0) {
        report->error = error;
        snprintf(report->sentence, sizeof report->sentence, "%s: %s", what, reason && *reason ? reason : strerror(-error));
    }
    return error;
}

static int run_open(struct run *run) {
    size_t size = run->request->size, room = size + 64;
    run->batch = 1;
    if (run->request->pattern == PATTERN_ONE_WAY_MANY) {
        run->batch = size * BATCH_MESSAGES > BATCH_BYTES ? BATCH_BYTES / size + 1 : BATCH_MESSAGES;
        run->pieces = calloc(run->batch, sizeof *run->pieces);
    }
    run->out = calloc(run->batch, room);
    run->in = calloc(1, room);
    if (!run->out || !run->in || (run->batch > 1 && !run->pieces))
        return loop_fail(run, -ENOMEM, "prepare buffers");
    memset(run->out, 0x5a, run->batch * room); /* so that no page fault is measured */
    memset(run->in, 0xa5, room);
    for (size_t i = 0; run->pieces && i < run->batch; i++)
        run->pieces[i] = (struct way_piece){ .data = run->out + i * room, .size = size };
    run->clock_ns = clock_cost();
    return 0;
}

static void run_close(struct run *run) {
    free(run->out);
    free(run->in);
    free(run->pieces);
}

static void probe(struct run *run, int which) {
    if (run->request->cpus.together)
        run->board->sample.probes_ns[which] = NAN;
    else if (run->side == WAY_LEAD)
        run->board->sample.probes_ns[which] = probe_lead(run->board);
    else
        probe_follow(run->board);
}

static int measure(struct run *run) {
    bool lead = run->side == WAY_LEAD;
    if (run->request->pattern == PATTERN_ROUND_TRIP)
        return lead ? round_trip_lead(run) : round_trip_follow(run);
    return lead ? one_way_lead(run) : one_way_follow(run);
}

int loop_run(const struct sample_request *request, struct board *board, void *state, enum way_side side) {
    struct run run = { .request = request, .board = board, .state = state, .side = side };
    if (request->work)
        return request->work(&run);
    int r = request->way->join(state, side);
    if (r < 0)
        return loop_fail(&run, r, side == WAY_LEAD ? "join the far side" : "welcome the far side");
    r = run_open(&run);
    if (r == 0 && (request->way->can & WAY_ALONE)) {
        board->sample.probes_ns[0] = board->sample.probes_ns[1] = NAN;
        r = one_way_alone(&run);
    } else if (r == 0) {
        probe(&run, 0);
        r = measure(&run);
        if (r == 0)
            probe(&run, 1);
    }
    run_close(&run);
    return r;
}
