/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One-way throughput, as the receiving side sees it: messages that arrived and were checked, over the time between the
 * first and the last of them. The sender reads the clock every so often only, about twenty microseconds apart. */

#include "bench_loop.h"

#include <errno.h>
#include <math.h>

#define CLOCK_EVERY_NS 20000
#define MESSAGES_MIN 4
#define WARM_PART 5
#define RECEIVE_MOST 64

struct pace {
    uint64_t between; /* messages between two looks at the clock */
    uint64_t next;    /* the message after which to look */
    int64_t last_ns;
};

/* True when the time is up; looks at the clock no more often than it must. */
static bool time_is_up(struct pace *pace, uint64_t sequence, int64_t until_ns) {
    if (sequence < pace->next)
        return false;
    int64_t now = bench_now();
    if (now - pace->last_ns < CLOCK_EVERY_NS / 2 && pace->between < 65536)
        pace->between *= 2;
    else if (now - pace->last_ns > CLOCK_EVERY_NS * 2 && pace->between > 1)
        pace->between /= 2;
    pace->last_ns = now;
    pace->next = sequence + pace->between;
    return now >= until_ns;
}

/* Sends one message, or one batch; `sequence` has then moved past it. */
static int push(struct run *run) {
    const struct way *way = run->request->way;
    int r;
    if (run->pieces) {
        for (size_t i = 0; i < run->batch; i++)
            stamp_put((unsigned char *)(uintptr_t)run->pieces[i].data, run->request->size, run->sequence + i);
        r = way->send_many(run->state, run->pieces, run->batch);
    } else {
        stamp_put(run->out, run->request->size, run->sequence);
        r = way->send(run->state, run->out, run->request->size);
    }
    if (r < 0)
        return loop_fail(run, r, "send");
    run->sequence += run->batch;
    return 0;
}

static int push_for(struct run *run, int64_t time_ns) {
    struct pace pace = { .between = 1, .next = run->sequence, .last_ns = bench_now() };
    int64_t until = pace.last_ns + time_ns;
    uint64_t least = run->sequence + MESSAGES_MIN;
    do {
        int r = push(run);
        if (r < 0)
            return r;
    } while (!time_is_up(&pace, run->sequence, until) || run->sequence < least);
    return 0;
}

int one_way_lead(struct run *run) {
    struct board *board = run->board;
    struct side_report *report = &board->reports[run->side];
    int r = push_for(run, run->request->time_ns / WARM_PART);
    if (r < 0)
        return r;
    double interrupts = interrupts_count();
    way_store(&board->begin, run->sequence);
    snapshot_take(run, &report->begin);
    r = push_for(run, run->request->time_ns);
    if (r < 0)
        return r;
    snapshot_take(run, &report->end);
    board->interrupts = interrupts_count() - interrupts;
    /* the last message of the last batch ends it */
    way_store(&board->end, run->sequence + run->batch - 1);
    return push(run);
}

/* One message that arrived; returns 1 after the last, 0 otherwise. */
static int arrived(struct run *run, const void *data, size_t size) {
    struct board *board = run->board;
    uint64_t sequence = run->sequence++;
    if (size != run->request->size || !stamp_check(data, size, sequence))
        return loop_fail(run, -EBADMSG, "a message arrived lost, altered or out of turn");
    if (sequence == way_load(&board->begin))
        snapshot_take(run, &board->reports[run->side].begin);
    if (sequence != way_load(&board->end))
        return 0;
    snapshot_take(run, &board->reports[run->side].end);
    board->messages = sequence - way_load(&board->begin);
    return 1;
}

static int pull_one(struct run *run) {
    size_t got = 0;
    int r = run->request->way->recv(run->state, run->in, run->request->size + 1, &got);
    return r < 0 ? loop_fail(run, r, "receive") : arrived(run, run->in, got);
}

static int pull_many(struct run *run) {
    const struct way *way = run->request->way;
    struct way_piece pieces[RECEIVE_MOST];
    size_t n = 0;
    int r = way->recv_many(run->state, pieces, RECEIVE_MOST, &n);
    if (r < 0)
        return loop_fail(run, r, "receive");
    for (size_t i = 0; i < n && r == 0; i++)
        r = arrived(run, pieces[i].data, pieces[i].size);
    way->release_many(run->state, pieces, n);
    return r;
}

int one_way_follow(struct run *run) {
    int r;
    bool many = run->request->pattern == PATTERN_ONE_WAY_MANY;
    do {
        r = many ? pull_many(run) : pull_one(run);
    } while (r == 0);
    if (r < 0)
        return r;
    struct side_report *report = &run->board->reports[run->side];
    double took_ns = (double)(report->end.at_ns - report->begin.at_ns);
    run->board->sample.messages_per_s = (double)run->board->messages / took_ns * 1e9;
    return 0;
}

/* Both sides in one process: each message is looked at where it landed, at once. */
int one_way_alone(struct run *run) {
    struct board *board = run->board;
    const struct way *way = run->request->way;
    struct pace pace = { .between = 1, .next = 0, .last_ns = bench_now() };
    struct side_report *report = &board->reports[run->side];
    bool warm = true;
    int64_t until = pace.last_ns + run->request->time_ns / WARM_PART;
    for (;;) {
        struct way_piece piece;
        size_t n = 0;
        uint64_t sequence = run->sequence;
        int r = push(run);
        if (r < 0)
            return r;
        if (way->recv_many(run->state, &piece, 1, &n) < 0 || !stamp_check(piece.data, piece.size, sequence))
            return loop_fail(run, -EBADMSG, "a copy is not what was copied");
        if (!time_is_up(&pace, run->sequence, until))
            continue;
        if (!warm)
            break;
        warm = false;
        way_store(&board->begin, run->sequence);
        board->interrupts = interrupts_count();
        snapshot_take(run, &report->begin);
        until = bench_now() + run->request->time_ns;
    }
    snapshot_take(run, &report->end);
    board->interrupts = interrupts_count() - board->interrupts;
    board->messages = run->sequence - board->begin;
    board->sample.messages_per_s = (double)board->messages / (double)(report->end.at_ns - report->begin.at_ns) * 1e9;
    return 0;
}
