/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What runs in the two processes of a sample, and the board through which they and the supervisor speak. */

#include "bench.h"
#include "bench_numbers.h"

#define BOARD_LINE 128 /* so that no two of these share what a processor fetches at once */
#define BOARD_NEVER UINT64_MAX

/* One side's counters at the first and after the last measured message. */
struct snapshot {
    int64_t at_ns;
    double cpu_ns, calls, switches;
};

struct side_report {
    struct snapshot begin, end;
    int error;
    char sentence[SENTENCE_MAX];
};

struct board {
    /* The lead says which message is the first and the one after the last to count, before it sends them. */
    uint64_t begin __attribute__((aligned(BOARD_LINE)));
    uint64_t end;
    uint64_t probe_lead __attribute__((aligned(BOARD_LINE)));
    uint64_t probe_follow __attribute__((aligned(BOARD_LINE)));
    struct side_report reports[2] __attribute__((aligned(BOARD_LINE)));
    struct sample sample; /* p50_ns to mean_ns and the probes; by the lead */
    uint64_t messages;    /* counted and checked; by whoever received them */
    double interrupts;
    double descriptors[2]; /* connect, by side */
    struct histogram single, batched; /* of round trips */
};

struct run {
    const struct sample_request *request;
    struct board *board;
    void *state;
    enum way_side side;
    unsigned char *out, *in;
    struct way_piece *pieces; /* one-way-many: the batch */
    size_t batch;
    uint64_t sequence; /* of the next message */
    double clock_ns;   /* what reading the clock costs */
};

/* The whole work of one side; 0 or a negative errno and a sentence on the board. */
int loop_run(const struct sample_request *request, struct board *board, void *state, enum way_side side);

/* Keeps the first error's sentence; returns error. */
int loop_fail(struct run *run, int error, const char *what);

void snapshot_take(struct run *run, struct snapshot *ret_snapshot);

int round_trip_lead(struct run *run);
int round_trip_follow(struct run *run);
int one_way_lead(struct run *run);
int one_way_follow(struct run *run);
int one_way_alone(struct run *run);

/* A message's number stands in its first eight bytes and, inverted, in its last. */
void stamp_put(unsigned char *data, size_t size, uint64_t sequence);
bool stamp_check(const unsigned char *data, size_t size, uint64_t sequence);

/* A cache line there and back, in ns; both sides call theirs. About a millisecond. */
double probe_lead(struct board *board);
void probe_follow(struct board *board);

int64_t bench_now(void);
