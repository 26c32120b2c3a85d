/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Processes started and killed at random over one semaphore: 1,000 at a time for a minute in the long run, fewer and shorter in the quick
 * one. Each holder writes its pid into a seat of shared memory while it is inside, and clears it before it releases. At every step, of
 * every process, at most as many seats as there are permits are taken by processes that live; and in the end all permits are there.
 *
 * A seat is taken only by its owner, so one that a killed process left is told from a living one's by its pid: this process, the
 * parent of all, has not waited for it then, so no other can have the pid yet. */

#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERMITS 5u
#define CROWD_LONG 1000u
#define CROWD_QUICK 60u
#define TIME_LONG (60000 * MS)
#define TIME_QUICK (2000 * MS)

#define load(P) __atomic_load_n((P), __ATOMIC_SEQ_CST)
#define store(P, V) __atomic_store_n((P), (V), __ATOMIC_SEQ_CST)
#define ROUNDS_LEAST 100
#define add(P, N) __atomic_add_fetch((P), (N), __ATOMIC_SEQ_CST)

struct seat {
    pid_t pid; /* 0: not inside */
    uint32_t permits;
};

static struct {
    uint32_t failed;
    uint64_t rounds, told; /* acquired; of them with HAWSER_OWNER_DIED */
    struct seat seats[CROWD_LONG];
} *shared;

static uint32_t crowd;
static hawser_semaphore *semaphore;

/* ---- Users ---- */

/* Is it inside, and alive? A killed one is a zombie, or gone. */
static bool lives(pid_t pid) {
    char path[48], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %*s %c", &state) != 1)
        state = 'Z';
    if (file)
        fclose(file);
    return state != 'Z' && state != 'X';
}

/* Permits of those who are inside and live. */
static uint32_t inside(bool living) {
    uint32_t all = 0;
    for (uint32_t i = 0; i < crowd; i++) {
        uint32_t permits = load(&shared->seats[i].permits);
        pid_t pid = load(&shared->seats[i].pid);
        if (pid != 0 && permits <= PERMITS && (!living || lives(pid)))
            all += permits;
    }
    return all;
}

/* The dead are looked for only where there seem to be too many, as that is slow. */
static void check_inside(void) {
    for (unsigned tries = 0; inside(false) > PERMITS && inside(true) > PERMITS; tries++)
        if (tries == 3) /* between two readings one may have gone out and another in */
            store(&shared->failed, 1);
}

static _Noreturn void use(uint32_t number) {
    unsigned seed = (unsigned)getpid();
    struct seat *seat = &shared->seats[number];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (nice(10) < 0) { /* so that who kills them has its turn */
    }
    for (;;) {
        uint32_t n = (uint32_t)rand_r(&seed) % 8 == 0 ? PERMITS : 1 + (uint32_t)rand_r(&seed) % 2;
        int64_t timeout = (uint32_t)rand_r(&seed) % 4 == 0 ? 2 * MS : HAWSER_FOREVER;
        int r = hawser_semaphore_acquire(semaphore, n, timeout);
        if (r == -ETIMEDOUT)
            continue;
        if (r < 0)
            die(__FILE__, __LINE__, "acquire", r, 0);
        store(&seat->permits, n);
        store(&seat->pid, getpid());
        add(&shared->rounds, 1);
        add(&shared->told, (uint64_t)r);
        check_inside();
        if (rand_r(&seed) % 16 == 0)
            sched_yield();
        store(&seat->pid, 0);
        if ((r = hawser_semaphore_release(semaphore, n)) < 0)
            die(__FILE__, __LINE__, "release", r, 0);
        if (rand_r(&seed) % 64 == 0)
            _exit(0); /* with its semaphore open */
    }
}

/* ---- The crowd ---- */

static pid_t *pids;

static void start(uint32_t number) {
    store(&shared->seats[number].pid, 0);
    pids[number] = fork();
    if (pids[number] == 0)
        use(number);
    if (pids[number] < 0)
        pids[number] = 0;
}

/* One that ended, by itself or killed; 0: none has. A user that failed a check exits with 1. */
static void replace_ended(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
            store(&shared->failed, 1);
        for (uint32_t i = 0; i < crowd; i++)
            if (pids[i] == pid)
                start(i);
    }
}

static bool enough(void) { return load(&shared->rounds) > ROUNDS_LEAST && load(&shared->told) > 0; }

static uint64_t churn(int64_t time_ns) {
    unsigned seed = 7;
    uint64_t kills = 0;
    const struct timespec nap = { .tv_nsec = MS };
    /* on a busy machine on, until something has happened */
    for (int64_t end = now() + time_ns; (now() < end || (!enough() && now() < end + TIME_LONG)) && !load(&shared->failed);) {
        for (unsigned i = 0; i < 4; i++, kills++)
            kill(pids[(uint32_t)rand_r(&seed) % crowd], SIGKILL);
        nanosleep(&nap, NULL);
        replace_ended();
    }
    return kills;
}

static void end_crowd(void) {
    for (uint32_t i = 0; i < crowd; i++)
        kill(pids[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

int main(void) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    bool is_long = getenv("HAWSER_TEST_LONG") != NULL;
    crowd = is_long ? CROWD_LONG : CROWD_QUICK;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pids = calloc(crowd, sizeof *pids);
    EXPECT(hawser_semaphore_open("sem://", NULL, PERMITS, &semaphore), 0);
    for (uint32_t i = 0; i < crowd; i++)
        start(i);
    uint64_t kills = churn(is_long ? TIME_LONG : TIME_QUICK);
    uint64_t rounds = load(&shared->rounds);
    end_crowd();
    EXPECT(load(&shared->failed), 0);
    CHECK(hawser_semaphore_acquire(semaphore, PERMITS, 100 * MS) >= 0);
    EXPECT(hawser_semaphore_release(semaphore, PERMITS), 0);
    EXPECT(hawser_semaphore_status(semaphore, &status), 0);
    CHECK(status.available == PERMITS && status.waiting == 0);
    CHECK(rounds > ROUNDS_LEAST && load(&shared->told) > 0);
    printf("ok chaos: %u processes, %llu kills, acquired %llu times, %llu of them from the dead\n", crowd, (unsigned long long)kills,
           (unsigned long long)rounds, (unsigned long long)load(&shared->told));
    hawser_semaphore_close(semaphore);
    free(pids);
    return 0;
}
