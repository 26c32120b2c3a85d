/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Semaphores: one process that acquires and releases with nobody beside it; two that give each other turns; eight on two permits. */

#include "bench_sync.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define WORKERS 4 /* of each side */
#define PERMITS 2
#define HELD_PAUSES 8
#define APART 128

/* ---- hawser's gate ---- */

struct semaphores {
    hawser_semaphore *of[GATES_MOST];
};

static void hawser_gate_discard(void *state) {
    struct semaphores *semaphores = state;
    for (unsigned i = 0; i < GATES_MOST; i++)
        hawser_semaphore_close(semaphores->of[i]);
    free(semaphores);
}

static int semaphores_open(const char *address, unsigned n, unsigned permits, void **ret_state) {
    struct semaphores *semaphores = calloc(1, sizeof *semaphores);
    int r = semaphores ? 0 : -ENOMEM;
    for (unsigned i = 0; i < n && r == 0; i++)
        r = hawser_semaphore_open(address, NULL, permits, &semaphores->of[i]);
    if (r < 0 && semaphores)
        hawser_gate_discard(semaphores);
    if (r == 0)
        *ret_state = semaphores;
    return r;
}

static int adaptive_prepare(unsigned n, unsigned permits, void **ret_state) {
    return semaphores_open("sem://?wait=adaptive", n, permits, ret_state);
}

static int blocking_prepare(unsigned n, unsigned permits, void **ret_state) {
    return semaphores_open("sem://?wait=block", n, permits, ret_state);
}

static int hawser_gate_acquire(void *state, unsigned which) {
    return hawser_semaphore_acquire(((struct semaphores *)state)->of[which], 1, HAWSER_FOREVER);
}

static int hawser_gate_release(void *state, unsigned which) {
    return hawser_semaphore_release(((struct semaphores *)state)->of[which], 1);
}

static uint64_t unknown_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

#define HAWSER_GATE(WAIT)                                                                                          \
    static const struct gate gate_##WAIT = {                                                                      \
        .name = "hawser", .prepare = WAIT##_prepare, .acquire = hawser_gate_acquire, .release = hawser_gate_release, \
        .calls = unknown_calls, .discard = hawser_gate_discard, .explain = hawser_explain,                          \
    };                                                                                                            \
    static int WAIT##_relay_prepare(const struct way_setup *setup, void **ret_state) {                             \
        (void)setup;                                                                                              \
        return relay_prepare(&gate_##WAIT, ret_state);                                                             \
    }                                                                                                             \
    static const struct way relay_##WAIT = RELAY_WAY(WAIT);

HAWSER_GATE(adaptive)
HAWSER_GATE(blocking)

/* ---- One gate, for one process or a crowd ---- */

struct counter {
    uint64_t n;
} __attribute__((aligned(APART)));

struct crowd {
    uint32_t ready __attribute__((aligned(APART)));
    uint32_t begin __attribute__((aligned(APART)));
    uint32_t end;
    struct counter counters[2 * WORKERS];
};

struct gated {
    const struct gate *gate;
    void *gates;
    struct crowd *crowd; /* shared */
};

static void gated_discard(void *state) {
    struct gated *gated = state;
    gated->gate->discard(gated->gates);
    munmap(gated->crowd, sizeof *gated->crowd);
    free(gated);
}

static int gated_prepare(const struct gate *gate, unsigned permits, void **ret_state) {
    struct gated *gated = calloc(1, sizeof *gated);
    if (!gated)
        return -ENOMEM;
    gated->gate = gate;
    gated->crowd = mmap(NULL, sizeof *gated->crowd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = gated->crowd == MAP_FAILED ? -ENOMEM : gate->prepare(1, permits, &gated->gates);
    if (r < 0) {
        free(gated);
        return r;
    }
    *ret_state = gated;
    return 0;
}

static void gated_leave(void *state) { (void)state; }

#define GATED_WAY(NAME, GATE, PERMITS_, MORE, EXPLAIN)                                       \
    static int NAME##_prepare(const struct way_setup *setup, void **ret_state) {             \
        (void)setup;                                                                         \
        return gated_prepare(&GATE, PERMITS_, ret_state);                                     \
    }                                                                                        \
    static const struct way NAME##_way = {                                                   \
        .name = #NAME, .can = WAY_CAN_ROUND_TRIP | (MORE), .prepare = NAME##_prepare, .calls = unknown_calls, \
        .leave = gated_leave, .discard = gated_discard, .explain = EXPLAIN,                    \
    };

GATED_WAY(alone_ours, gate_adaptive, 1, WAY_ALONE, hawser_explain)
GATED_WAY(alone_posix, gate_posix, 1, WAY_ALONE, NULL)
GATED_WAY(alone_sysv, gate_sysv, 1, WAY_ALONE, NULL)
GATED_WAY(crowd_ours, gate_adaptive, PERMITS, 0, hawser_explain)
GATED_WAY(crowd_posix, gate_posix, PERMITS, 0, NULL)
GATED_WAY(crowd_sysv, gate_sysv, PERMITS, 0, NULL)

static int pairs(const struct gated *gated, unsigned n) {
    int r = 0;
    for (unsigned i = 0; i < n && r >= 0; i++) {
        r = gated->gate->acquire(gated->gates, 0);
        if (r >= 0)
            r = gated->gate->release(gated->gates, 0);
    }
    return r;
}

static void no_distance(struct run *run) { run->board->sample.probes_ns[0] = run->board->sample.probes_ns[1] = NAN; }

static int work_alone(struct run *run) {
    const struct gated *gated = run->state;
    struct histogram *histogram = &run->board->batched;
    uint64_t n = 0;
    int r = pairs(gated, 16 * BATCH); /* the first ones make what they need */
    int64_t start = bench_now(), now = start;
    while (r >= 0 && now - start < run->request->time_ns) {
        int64_t before = now;
        r = pairs(gated, BATCH);
        now = bench_now();
        histogram_add(histogram, now - before);
        n += BATCH;
    }
    if (r < 0)
        return loop_fail(run, r, "acquire and release");
    no_distance(run);
    run->board->sample.p50_ns = histogram_quantile(histogram, 0.5) / BATCH;
    run->board->sample.mean_ns = (double)(now - start) / (double)n;
    run->board->messages = n;
    return 0;
}

static void __attribute__((noreturn)) worker(const struct gated *gated, unsigned index, pid_t parent) {
    struct crowd *crowd = gated->crowd;
    uint64_t n = 0;
    int r = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    __atomic_fetch_add(&crowd->ready, 1, __ATOMIC_SEQ_CST);
    while (!way_load(&crowd->begin))
        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    while (r >= 0 && !way_load(&crowd->end)) {
        r = gated->gate->acquire(gated->gates, 0);
        for (int i = 0; i < HELD_PAUSES; i++)
            way_pause();
        if (r >= 0)
            r = gated->gate->release(gated->gates, 0);
        way_store(&crowd->counters[index].n, ++n);
    }
    _exit(r < 0 ? 1 : 0);
}

static uint64_t count(const struct crowd *crowd) {
    uint64_t n = 0;
    for (unsigned i = 0; i < 2 * WORKERS; i++)
        n += way_load(&crowd->counters[i].n);
    return n;
}

static void pause_for(int64_t ns) { nanosleep(&(struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 }, NULL); }

/* Lets all begin, and counts what they do in the time. */
static void conduct(struct run *run) {
    struct crowd *crowd = ((struct gated *)run->state)->crowd;
    while (way_load(&crowd->ready) < 2 * WORKERS)
        pause_for(100000);
    way_store(&crowd->begin, 1);
    pause_for(run->request->time_ns / 5);
    uint64_t before = count(crowd);
    int64_t start = bench_now();
    pause_for(run->request->time_ns);
    uint64_t n = count(crowd) - before;
    run->board->sample.p50_ns = run->board->sample.mean_ns = (double)(bench_now() - start) / (double)(n ? n : 1);
    run->board->messages = n;
    way_store(&crowd->end, 1);
}

static int work_in_crowd(struct run *run) {
    const struct gated *gated = run->state;
    pid_t own = getpid(), pids[WORKERS];
    int r = 0, status;
    for (unsigned i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            worker(gated, (unsigned)run->side * WORKERS + i, own);
        if (pids[i] < 0)
            return loop_fail(run, -errno, "start a process");
    }
    no_distance(run);
    if (run->side == WAY_LEAD)
        conduct(run);
    for (unsigned i = 0; i < WORKERS; i++)
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            r = -ECHILD;
    return r < 0 ? loop_fail(run, r, "one of the crowd failed") : 0;
}

#define ALONE(NAME, WHO) { NAME, &alone_##WHO##_way, work_alone }
#define CROWD(NAME, WHO) { NAME, &crowd_##WHO##_way, work_in_crowd }

const struct sync_case sync_semaphores[] = {
    { .mechanism = "semaphore", .work = "acquire, release", .wait = WAY_ADAPTIVE, .ours = ALONE("hawser", ours),
      .beside = { ALONE("sem_wait, sem_post", posix), ALONE("semop, SEM_UNDO", sysv) }, .limits = { 1.2 } },
    { .mechanism = "semaphore", .work = "ping-pong", .wait = WAY_BLOCK, .ours = { "hawser", &relay_blocking, NULL },
      .beside = { { "sem_wait, sem_post", &relay_posix, NULL }, { "semop, SEM_UNDO", &relay_sysv, NULL } }, .limits = { 1.0 } },
    { .mechanism = "semaphore", .work = "ping-pong", .wait = WAY_ADAPTIVE, .ours = { "hawser", &relay_adaptive, NULL },
      .beside = { { "sem_wait, sem_post", &relay_posix, NULL }, { "semop, SEM_UNDO", &relay_sysv, NULL } }, .limits = { 1.0 } },
    { .mechanism = "semaphore", .work = "8 processes, 2 permits", .wait = WAY_ADAPTIVE, .ours = CROWD("hawser", ours),
      .beside = { CROWD("sem_wait, sem_post", posix), CROWD("semop, SEM_UNDO", sysv) }, .limits = { 1.0 } },
    { .mechanism = NULL },
};
