/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Reading a cell while a writer on the other CPU sets it as fast as it can, beside a memcpy from memory that a writer copies into as fast
 * as it can: which may give a mixture of values, as nothing guards it. Values carry a number at both ends; the reader looks at both. */

#include "bench_sync.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WAIT_NS INT64_C(10000000000)
#define BATCH_NS 2000
#define BATCH_MOST 1024
#define WRITES_PER_LOOK 16 /* at whether it is over */

struct copying {
    size_t size;
    int handover[2];
    char address[HAWSER_ADDRESS_MAX];
    hawser_cell *cell;      /* ours */
    unsigned char *memory;  /* bare; shared */
    uint64_t torn;          /* reads that gave a mixture */
};

static int copying_prepare(const struct way_setup *setup, struct copying **ret_copying) {
    struct copying *copying = calloc(1, sizeof *copying);
    if (!copying)
        return -ENOMEM;
    copying->size = setup->size;
    memcpy(copying->handover, setup->handover, sizeof copying->handover);
    snprintf(copying->address, sizeof copying->address, "cell://%s", setup->name);
    *ret_copying = copying;
    return 0;
}

static uint64_t copying_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

/* ---- hawser ---- */

static int cell_prepare(const struct way_setup *setup, void **ret_state) {
    return copying_prepare(setup, (struct copying **)(void *)ret_state);
}

static int cell_join(void *state, enum way_side side) {
    struct copying *copying = state;
    hawser_options options = HAWSER_OPTIONS_INIT;
    return side == WAY_FOLLOW ? hawser_cell_create(copying->address, &options, copying->size, &copying->cell)
                              : hawser_cell_open(copying->address, &options, WAIT_NS, &copying->cell);
}

static void cell_leave(void *state) {
    struct copying *copying = state;
    hawser_cell_close(copying->cell);
    free(copying);
}

static void cell_discard(void *state) {
    struct copying *copying = state;
    int r = hawser_cell_remove(copying->address, NULL); /* there only if a side was killed */
    (void)r;
    free(copying);
}

static const struct way cell_way = {
    .name = "cell",
    .prepare = cell_prepare,
    .join = cell_join,
    .calls = copying_calls,
    .leave = cell_leave,
    .discard = cell_discard,
    .explain = hawser_explain,
};

/* ---- memcpy ---- */

static int memory_prepare(const struct way_setup *setup, void **ret_state) {
    struct copying *copying;
    int r = copying_prepare(setup, &copying);
    if (r < 0)
        return r;
    copying->memory = mmap(NULL, copying->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (copying->memory == MAP_FAILED) {
        free(copying);
        return -ENOMEM;
    }
    *ret_state = copying;
    return 0;
}

static int memory_join(void *state, enum way_side side) {
    (void)state, (void)side;
    return 0;
}

static void memory_discard(void *state) {
    struct copying *copying = state;
    munmap(copying->memory, copying->size);
    free(copying);
}

static const struct way memory_way = {
    .name = "memcpy",
    .prepare = memory_prepare,
    .join = memory_join,
    .calls = copying_calls,
    .leave = memory_discard,
    .discard = memory_discard,
};

/* ---- The work ---- */

/* The compiler must not take one copy for the next. */
static inline int put_value(struct copying *copying, const void *value) {
    __asm__ volatile("" ::: "memory");
    if (copying->cell)
        return hawser_cell_set(copying->cell, value, copying->size);
    memcpy(copying->memory, value, copying->size);
    return 0;
}

static inline int get_value(struct copying *copying, void *value) {
    __asm__ volatile("" ::: "memory");
    if (copying->cell)
        return hawser_cell_get(copying->cell, value, copying->size, NULL, NULL);
    memcpy(value, copying->memory, copying->size);
    return 0;
}

/* Sets until it is over; quietly: once only. */
static int write_values(struct run *run, unsigned char *value, bool quietly) {
    const struct sample_request *request = run->request;
    struct copying *copying = run->state;
    for (uint64_t n = 1; way_load(&run->board->end) == BOARD_NEVER;) {
        for (int i = 0; i < WRITES_PER_LOOK && !(quietly && n > 1); i++, n++) {
            stamp_put(value, request->size, n);
            int r = put_value(copying, value);
            if (r < 0)
                return loop_fail(run, r, "set");
        }
        if (n == 1 + (quietly ? 1 : WRITES_PER_LOOK) && sync_tell(copying->handover[WAY_FOLLOW]) < 0)
            return loop_fail(run, -EIO, "keep step");
        if (quietly)
            return sync_await(copying->handover[WAY_FOLLOW]) < 0 ? loop_fail(run, -EIO, "keep step") : 0;
    }
    return 0;
}

/* A batch of reads; how many ns it took, or a negative errno. */
static int64_t read_batch(struct run *run, unsigned char *value, unsigned n) {
    struct copying *copying = run->state;
    size_t size = copying->size;
    int64_t start = bench_now();
    for (unsigned i = 0; i < n; i++) {
        uint64_t first = 0, last = 0;
        int r = get_value(copying, value);
        if (r < 0)
            return r;
        memcpy(&first, value, sizeof first);
        memcpy(&last, value + size - sizeof last, sizeof last);
        copying->torn += size >= 2 * sizeof first && first != ~last;
    }
    return bench_now() - start;
}

static int read_for(struct run *run, unsigned char *value, int64_t time_ns, unsigned *batch, uint64_t *ret_reads, int64_t *ret_ns) {
    struct histogram *histogram = &run->board->batched;
    for (int64_t all_ns = 0;;) {
        int64_t took = read_batch(run, value, *batch);
        if (took < 0)
            return (int)took;
        all_ns += took;
        *ret_ns = all_ns;
        *ret_reads += *batch;
        if (ret_ns && histogram)
            histogram_add(histogram, took);
        if (all_ns >= time_ns)
            return 0;
        if (took < BATCH_NS && *batch < BATCH_MOST && *ret_reads < 64 * BATCH_MOST && histogram->n < 64)
            *batch *= 2;
    }
}

static int read_values(struct run *run, unsigned char *value) {
    struct copying *copying = run->state;
    struct sample *sample = &run->board->sample;
    unsigned batch = 1;
    uint64_t reads = 0;
    int64_t took_ns = 0;
    if (sync_await(copying->handover[WAY_LEAD]) < 0)
        return loop_fail(run, -EIO, "keep step");
    int r = read_for(run, value, run->request->time_ns / 5, &batch, &reads, &took_ns);
    memset(&run->board->batched, 0, sizeof run->board->batched);
    reads = 0;
    if (r == 0)
        r = read_for(run, value, run->request->time_ns, &batch, &reads, &took_ns);
    if (r == 0 && copying->torn > 0 && copying->cell)
        r = -EBADMSG;
    if (r < 0)
        return loop_fail(run, r, r == -EBADMSG ? "a value is a mixture of two" : "read");
    sample->mean_ns = (double)took_ns / (double)reads;
    sample->p50_ns = histogram_quantile(&run->board->batched, 0.5) / batch;
    run->board->messages = reads;
    return 0;
}

static int work(struct run *run, bool quietly) {
    const struct sample_request *request = run->request;
    struct copying *copying = run->state;
    bool reads = run->side == WAY_LEAD;
    unsigned char *value = calloc(1, request->size + 64);
    int r = value ? request->way->join(copying, run->side) : -ENOMEM;
    if (r < 0)
        r = loop_fail(run, r, "join");
    if (r == 0 && !request->cpus.together)
        run->board->sample.probes_ns[0] = reads ? probe_lead(run->board) : (probe_follow(run->board), run->board->sample.probes_ns[0]);
    if (r == 0)
        r = reads ? read_values(run, value) : write_values(run, value, quietly);
    if (reads) {
        way_store(&run->board->end, 0);
        sync_tell(copying->handover[WAY_LEAD]);
    }
    run->board->sample.probes_ns[1] = run->board->sample.probes_ns[0];
    free(value);
    return r;
}

static int work_at_full_speed(struct run *run) { return work(run, false); }

static int work_quietly(struct run *run) { return work(run, true); }

#define READ(SIZE)                                                                                                 \
    {                                                                                                              \
        .mechanism = "cell", .work = "read, writer at full speed", .size = (SIZE), .wait = WAY_SPIN,                \
        .ours = { "cell", &cell_way, work_at_full_speed }, .beside = { { "memcpy", &memory_way, work_at_full_speed } }, \
        .limits = { 1.3 },                                                                                          \
    }
#define READ_QUIETLY(SIZE)                                                                                         \
    {                                                                                                              \
        .mechanism = "cell", .work = "read, nobody writes", .size = (SIZE), .wait = WAY_SPIN,                        \
        .ours = { "cell", &cell_way, work_quietly }, .beside = { { "memcpy", &memory_way, work_quietly } },          \
    }

const struct sync_case sync_cells[] = {
    READ(8), READ(24), READ(64), READ(128), READ(256), READ(1024), READ(4096), READ(65536), READ(1 << 20),
    READ_QUIETLY(8), READ_QUIETLY(1024), READ_QUIETLY(1 << 20), { .mechanism = NULL },
};
