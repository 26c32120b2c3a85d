/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What lending, committing, taking and releasing a message costs, its bytes untouched: the same whatever its size, as nothing
 * is copied. Both ends in one process, so that no CPU's distance is in it. */

#include "bench_loop.h"
#include "bench_numbers.h"

#include <hawser/hawser.h>
#include <math.h>

#define LOANS_ADDRESS "shm://?pool=256M&max_message=64M"
#define ROUNDS 15
#define TURNS 2000

static int turn(hawser_channel *from, hawser_channel *to, size_t size) {
    void *data = NULL;
    hawser_message message;
    int r = hawser_loan(from, size, HAWSER_NOW, &data);
    if (r == 0)
        r = hawser_commit(from, data, size);
    if (r == 0)
        r = hawser_take(to, HAWSER_NOW, &message);
    if (r < 0)
        return r;
    if (message.size != size)
        return -1;
    return hawser_release(to, &message);
}

static double measure(hawser_channel *from, hawser_channel *to, size_t size) {
    double ns[ROUNDS];
    if (turn(from, to, size) < 0) /* the pool has grown by then */
        return NAN;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = bench_now();
        for (int i = 0; i < TURNS; i++)
            if (turn(from, to, size) < 0)
                return NAN;
        ns[round] = (double)(bench_now() - start) / TURNS;
    }
    return median(ns, ROUNDS);
}

double loans_measure(size_t size) {
    hawser_channel *a = NULL, *b = NULL;
    if (hawser_pair(LOANS_ADDRESS, NULL, &a, &b) < 0)
        return NAN;
    double ns = measure(a, b, size);
    hawser_close(a);
    hawser_close(b);
    return ns;
}
