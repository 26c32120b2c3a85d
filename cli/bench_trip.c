/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Round trips. Below two microseconds one reading of the clock would be a good part of what is read, and its
 * step too coarse: there the median is taken over batches, and only the tail over single trips, less the clock's
 * own cost. The trips that carry the marks (first and one after the last) are not measured. */

#include "bench_loop.h"

#include <errno.h>
#include <math.h>

#define SHORT_TRIP_NS 2000.0
#define TRIPS_MIN 3
#define WARM_PART 5 /* a fifth of the time */

static void think(const struct run *run) {
    if (run->request->think_ns > 0)
        for (int64_t until = bench_now() + run->request->think_ns; bench_now() < until;)
            ;
}

static int trip(struct run *run) {
    const struct way *way = run->request->way;
    size_t size = run->request->size, got = 0;
    uint64_t sequence = run->sequence++;
    think(run);
    stamp_put(run->out, size, sequence);
    int r = way->send(run->state, run->out, size);
    if (r < 0)
        return loop_fail(run, r, "send");
    r = way->recv(run->state, run->in, size + 1, &got);
    if (r < 0)
        return loop_fail(run, r, "receive");
    if (got != size || !stamp_check(run->in, size, sequence))
        return loop_fail(run, -EBADMSG, "a message came back lost, altered or out of turn");
    return 0;
}

static int warm_up(struct run *run, double *ret_trip_ns) {
    int64_t start = bench_now(), now = start;
    int64_t until = start + run->request->time_ns / WARM_PART;
    uint64_t trips = 0;
    for (; trips < TRIPS_MIN || now < until; now = bench_now(), trips++) {
        int r = trip(run);
        if (r < 0)
            return r;
    }
    *ret_trip_ns = (double)(now - start) / (double)trips;
    return 0;
}

/* Trips in batches until the time is up; each batch is one entry, less the clock's cost. */
static int time_trips(struct run *run, int64_t time_ns, unsigned batch, struct histogram *histogram, double *sum_ns) {
    int64_t now = bench_now(), until = now + time_ns;
    do {
        int64_t before = now;
        for (unsigned i = 0; i < batch; i++) {
            int r = trip(run);
            if (r < 0)
                return r;
        }
        now = bench_now();
        double took = (double)(now - before) - run->clock_ns - 2.0 * batch * (double)run->request->think_ns;
        histogram_add(histogram, (int64_t)(took + 0.5));
        *sum_ns += took;
    } while (now < until || histogram->n < TRIPS_MIN);
    return 0;
}

static int measure(struct run *run, double trip_ns) {
    struct board *board = run->board;
    struct sample *sample = &board->sample;
    bool in_batches = trip_ns < SHORT_TRIP_NS;
    unsigned batch = in_batches ? (unsigned)(SHORT_TRIP_NS / (trip_ns + 1)) + 1 : 1;
    int64_t single_ns = run->request->time_ns, batched_ns = 0;
    double sum_ns = 0;
    if (in_batches) {
        batched_ns = single_ns / 4 * 3;
        single_ns -= batched_ns;
    }
    int r = in_batches ? time_trips(run, batched_ns, batch, &board->batched, &sum_ns) : 0;
    if (r == 0)
        r = time_trips(run, single_ns, 1, &board->single, &sum_ns);
    if (r < 0)
        return r;
    double trips = (double)board->single.n + (double)board->batched.n * batch;
    sample->p50_ns = in_batches ? histogram_quantile(&board->batched, 0.5) / batch : histogram_quantile(&board->single, 0.5);
    sample->p99_ns = histogram_quantile(&board->single, 0.99);
    sample->p999_ns = histogram_quantile(&board->single, 0.999);
    sample->mean_ns = sum_ns / trips;
    sample->messages_per_s = 2e9 / sample->mean_ns;
    board->messages = 2 * (uint64_t)trips;
    return 0;
}

int round_trip_lead(struct run *run) {
    struct board *board = run->board;
    struct side_report *report = &board->reports[run->side];
    double trip_ns = 0;
    int r = warm_up(run, &trip_ns);
    if (r < 0)
        return r;
    double interrupts = interrupts_count();
    way_store(&board->begin, run->sequence);
    r = trip(run);
    if (r < 0)
        return r;
    snapshot_take(run, &report->begin);
    r = measure(run, trip_ns);
    if (r < 0)
        return r;
    snapshot_take(run, &report->end);
    board->interrupts = interrupts_count() - interrupts;
    way_store(&board->end, run->sequence);
    return trip(run);
}

static int follow_one(struct run *run, uint64_t sequence) {
    const struct way *way = run->request->way;
    size_t size = run->request->size, got = 0;
    int r = way->recv(run->state, run->in, size + 1, &got);
    if (r < 0)
        return loop_fail(run, r, "receive");
    if (got != size || !stamp_check(run->in, size, sequence))
        return loop_fail(run, -EBADMSG, "a message arrived lost, altered or out of turn");
    if (sequence == way_load(&run->board->end))
        snapshot_take(run, &run->board->reports[run->side].end);
    think(run);
    r = way->send(run->state, run->in, size);
    if (r < 0)
        return loop_fail(run, r, "send back");
    if (sequence == way_load(&run->board->begin))
        snapshot_take(run, &run->board->reports[run->side].begin);
    return 0;
}

int round_trip_follow(struct run *run) {
    for (;;) {
        uint64_t sequence = run->sequence++;
        int r = follow_one(run, sequence);
        if (r < 0)
            return r;
        if (sequence == way_load(&run->board->end))
            return 0;
    }
}
