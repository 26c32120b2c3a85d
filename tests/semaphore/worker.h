/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Processes that do with a semaphore what a test tells them, one order after the other, until they are killed or told to end. */

#include <hawser/hawser.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MS INT64_C(1000000)
#define PATIENCE (INT64_C(60000) * MS)

/* How a worker comes by the semaphore. */
enum variant {
    NAMED,  /* opens it by its name */
    FORKED, /* uses what its parent opened */
    TICKET, /* adopts it */
};

enum verb { OPEN, ADOPT, ACQUIRE, RELEASE, LOCK, UNLOCK, CLOSE, THREAD_UNLOCK, END };

struct order {
    enum verb verb;
    uint32_t n; /* permits */
    int64_t timeout;
    char address[HAWSER_ADDRESS_MAX]; /* of OPEN */
};

struct answer {
    int result;
    int64_t at_ns;      /* when it was there, but for the time for which the worker was ready to run and others did */
    uint64_t calls;     /* system calls that the order took, as hawser counts them */
};

struct worker {
    pid_t pid;
    int socket;
};

int64_t now(void); /* ns */

/* Starts one; semaphore: what it uses if it is to be FORKED, else NULL. */
struct worker worker_start(hawser_semaphore *semaphore);

void worker_tell(const struct worker *worker, struct order order, int fd); /* fd: of ADOPT, else -1 */
struct answer worker_answer(const struct worker *worker);
int worker_do(const struct worker *worker, struct order order); /* both; the result */
void worker_kill(struct worker *worker);                        /* dead when this returns */
void worker_end(struct worker *worker);                         /* as it should: it ends by itself, with its semaphore open */

_Noreturn void die(const char *file, int line, const char *what, long got, long wanted);

#define EXPECT(CALL, WANTED)                               \
    do {                                                   \
        long got_ = (long)(CALL), wanted_ = (long)(WANTED); \
        if (got_ != wanted_)                               \
            die(__FILE__, __LINE__, #CALL, got_, wanted_); \
    } while (0)
#define CHECK(CONDITION) EXPECT(!!(CONDITION), 1)
