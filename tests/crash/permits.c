/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death at any instruction of what is done with a semaphore. A victim, which this process traces, does one operation: first it is stepped
 * through all of it, and after every instruction the permits are counted; then it is killed at every instruction (a sample in the
 * quick run) and at every system call's entry and exit. Each time all permits must be there for one who wants them all: for a sleeper
 * within 100 ms of the death, for one who tries at once; and nobody else may be in line. */

#include "../semaphore/worker.h"
#include "trial.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define QUICK_POINTS 20
#define TOLD_WITHIN (100 * MS)
#define IDLE_NS (2 * MS) /* so long without a stop, and it is looked whether it sleeps */
#define MOST 4u          /* permits */

struct operation {
    const char *name;
    uint32_t permits; /* of the semaphore */
    uint32_t held;    /* by the victim before */
    bool waits;       /* this process holds all the others until the victim sleeps */
    bool crowded;     /* somebody sleeps who wants all */
    int (*work)(hawser_semaphore *semaphore);
    int result;
};

static int take_one(hawser_semaphore *semaphore) { return hawser_semaphore_acquire(semaphore, 1, PATIENCE); }
static int take_three(hawser_semaphore *semaphore) { return hawser_semaphore_acquire(semaphore, 3, PATIENCE); }
static int try_one(hawser_semaphore *semaphore) { return hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW); }
static int wait_in_vain(hawser_semaphore *semaphore) { return hawser_semaphore_acquire(semaphore, 2, 3 * MS); }
static int give_one(hawser_semaphore *semaphore) { return hawser_semaphore_release(semaphore, 1); }
static int give_three(hawser_semaphore *semaphore) { return hawser_semaphore_release(semaphore, 3); }
static int lock(hawser_semaphore *semaphore) { return hawser_lock(semaphore, PATIENCE); }
static int lock_and_unlock(hawser_semaphore *semaphore) {
    int r = lock(semaphore);
    return r < 0 ? r : hawser_unlock(semaphore);
}

static const struct operation operations[] = {
    { .name = "acquire", .permits = 2, .work = take_one },
    { .name = "acquire 3", .permits = MOST, .work = take_three },
    { .name = "acquire that passes a waiter", .permits = 3, .held = 1, .crowded = true, .work = try_one },
    { .name = "acquire that waits", .permits = 2, .waits = true, .work = take_one },
    { .name = "acquire 3 that waits behind another", .permits = MOST, .waits = true, .crowded = true, .work = take_three },
    { .name = "acquire in vain", .permits = 2, .held = 1, .work = wait_in_vain, .result = -ETIMEDOUT },
    { .name = "release", .permits = 2, .held = 1, .work = give_one },
    { .name = "release 3 to a waiter", .permits = MOST, .held = 3, .crowded = true, .work = give_three },
    { .name = "release to a waiter", .permits = 1, .held = 1, .crowded = true, .work = give_one },
    { .name = "lock that waits", .permits = 1, .waits = true, .work = lock },
    { .name = "lock and unlock", .permits = 1, .work = lock_and_unlock },
    { .name = "lock and unlock behind a waiter", .permits = 1, .waits = true, .crowded = true, .work = lock_and_unlock },
};

static hawser_semaphore *semaphore;
static struct worker waiter; /* wants all */

struct victim {
    const struct operation *operation;
    pid_t pid;
    bool held;   /* this process holds what the victim waits for */
    bool served; /* the waiter before it had its turn, and is through */
};

/* ---- Counting ---- */

static struct hawser_semaphore_status status_now(void) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    EXPECT(hawser_semaphore_status(semaphore, &status), 0);
    return status;
}

static uint32_t counted(const struct victim *victim) {
    struct hawser_semaphore_holder holders[4];
    size_t n;
    uint32_t all = status_now().available;
    EXPECT(hawser_semaphore_holders(semaphore, holders, 4, &n), 0);
    for (size_t i = 0; i < n; i++) {
        all += holders[i].permits;
        CHECK(holders[i].pid == victim->pid || holders[i].pid == getpid() || holders[i].pid == waiter.pid);
    }
    return all;
}

/* Each permit is free or one's. Between two readings the waiter may have taken or given back its own. */
static void count(const struct victim *victim) {
    for (unsigned tries = 0; tries < 3; tries++)
        if (counted(victim) == victim->operation->permits)
            return;
    EXPECT(counted(victim), victim->operation->permits);
}

/* ---- Victims ---- */

static void victim_main(const struct operation *operation) {
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0); /* joins */
    EXPECT(hawser_semaphore_release(semaphore, 1), 0);
    if (operation->held > 0)
        EXPECT(hawser_semaphore_acquire(semaphore, operation->held, HAWSER_NOW), 0);
    raise(SIGSTOP);
    int result = operation->work(semaphore);
    raise(SIGSTOP);
    _exit(result != operation->result);
}

static void release_own(struct victim *victim) {
    if (victim->held)
        EXPECT(hawser_semaphore_release(semaphore, victim->operation->permits), 0);
    victim->held = false;
}

/* The waiter had all; in time, if somebody died. */
static void serve_waiter(struct victim *victim, int64_t death) {
    struct answer answer = worker_answer(&waiter);
    CHECK(answer.result >= 0);
    if (answer.at_ns - death > TOLD_WITHIN)
        die(__FILE__, __LINE__, "a waiter was served after ns", (long)(answer.at_ns - death), TOLD_WITHIN);
    EXPECT(worker_do(&waiter, (struct order){ .verb = RELEASE, .n = victim->operation->permits }), 0);
    victim->served = true;
}

/* The victim sleeps: what it waits for. */
static void move_on(struct victim *victim) {
    struct pollfd item = { .fd = waiter.socket, .events = POLLIN };
    if (!victim->operation->waits)
        return;
    release_own(victim);
    if (victim->operation->crowded && !victim->served && poll(&item, 1, 0) > 0)
        serve_waiter(victim, INT64_MAX);
}

static int await_stop(void *argument) {
    struct victim *victim = argument;
    const struct timespec idle = { .tv_nsec = IDLE_NS };
    int status;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (waitpid(victim->pid, &status, WNOHANG) != victim->pid)
        if (sigtimedwait(&child, NULL, &idle) < 0 && errno == EAGAIN && trace_asleep(victim->pid))
            move_on(victim);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static void await_line(uint32_t waiting) {
    while (status_now().waiting < waiting)
        sched_yield();
}

static struct order acquire_all(void) {
    return (struct order){ .verb = ACQUIRE, .n = status_now().permits, .timeout = PATIENCE };
}

/* A victim at the beginning of its operation. */
static void victim_start(struct victim *victim, const struct operation *operation) {
    *victim = (struct victim){ .operation = operation, .pid = fork() };
    if (victim->pid == 0)
        victim_main(operation);
    EXPECT(waitpid(victim->pid, NULL, 0), victim->pid);
    victim->held = operation->waits;
    if (operation->waits)
        EXPECT(hawser_semaphore_acquire(semaphore, operation->permits, HAWSER_NOW), 0);
    if (operation->crowded) {
        worker_tell(&waiter, acquire_all(), -1);
        await_line(1);
    }
}

static int64_t victim_kill(const struct victim *victim) {
    kill(victim->pid, SIGKILL);
    waitpid(victim->pid, NULL, 0);
    return now();
}

/* One who wants all gets them, in time. */
static void all_are_there(struct victim *victim, int64_t death) {
    uint32_t all = victim->operation->permits;
    release_own(victim);
    if (victim->operation->crowded && !victim->served) {
        serve_waiter(victim, death);
    } else {
        int r;
        while ((r = hawser_semaphore_acquire(semaphore, all, HAWSER_NOW)) == -EAGAIN && now() - death < TOLD_WITHIN)
            sched_yield();
        CHECK(r >= 0);
        EXPECT(hawser_semaphore_release(semaphore, all), 0);
    }
    struct hawser_semaphore_status status = status_now();
    EXPECT(status.available, victim->operation->permits);
    EXPECT(status.waiting, 0);
    /* what came back from the dead, with nobody told yet */
    CHECK(hawser_semaphore_acquire(semaphore, all, HAWSER_NOW) >= 0);
    EXPECT(hawser_semaphore_release(semaphore, all), 0);
}

/* ---- The kills ---- */

static pid_t begin(void *scene) {
    struct victim *victim = scene;
    victim_start(victim, victim->operation);
    return victim->pid;
}

static void look(void *scene) { count(scene); }

static void end(void *scene) { all_are_there(scene, victim_kill(scene)); }

static uint64_t try_operation(const struct operation *operation) {
    char address[HAWSER_ADDRESS_MAX];
    struct victim victim = { .operation = operation };
    struct trial trial = { .what = operation->name, .scene = &victim, .begin = begin, .await = await_stop, .look = look, .end = end };
    snprintf(address, sizeof address, "sem://crash-%d?wait=block", (int)getpid());
    EXPECT(hawser_semaphore_open(address, NULL, operation->permits, &semaphore), 0);
    waiter = worker_start(semaphore);
    uint64_t points = trial_run(&trial, QUICK_POINTS);
    worker_end(&waiter);
    hawser_semaphore_close(semaphore);
    return points;
}

static uint64_t try_all(const char *only) {
    uint64_t points = 0;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (!only || strcmp(only, operations[i].name) == 0)
            points += try_operation(&operations[i]);
    return points;
}

int main(int argc, char **argv) { return trial_main(argc, argv, try_all); }
