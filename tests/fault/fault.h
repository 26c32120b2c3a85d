/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* System-call and allocation faults. A scenario uses everything of one mechanism, in one process; it runs once to count its
 * calls, then once for each call that is made to fail: in a process of its own, so that a crash or a hang is one failure. */

#include <hawser/hawser.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- faulty.c: what fails ---- */

#define SHORT (-1)      /* instead of an errno: one byte of what was asked */
#define CALLS_MAX 128   /* of the table, and the allocations behind them */
#define ERRORS_MAX 8

struct plan {
    int call;       /* which; -1: none */
    uint64_t nth;   /* of its calls, from 0 */
    int error;      /* positive errno, or SHORT */
};

struct tally {
    uint64_t calls[CALLS_MAX]; /* made while armed */
    uint64_t injected;         /* faults that came about */
};

extern struct tally *tally; /* shared with the processes that run scenarios */

unsigned calls_known(void);                /* how many kinds; the last is the allocation */
const char *call_name(int call);
const int *call_errors(int call);          /* up to ERRORS_MAX, ends with 0 */
void faulty_install(void);
void faulty_arm(const struct plan *plan);  /* NULL: only count */
void faulty_disarm(void);
bool faulty_ended(void);                   /* a fault came about that says that the peer is gone */

/* ---- scenario.c: what is done ---- */

struct mechanism {
    const char *name;
    const char *address; /* where * is the run's directory */
    size_t large;        /* of a message that no queue holds whole */
};

extern const struct mechanism mechanisms[]; /* ends with a NULL name */

void scenario_prepare(void); /* once, before any run */
/* Returns once everything it made is gone again. strict: nothing may fail. Any broken rule is fatal(). */
void scenario_run(const struct mechanism *mechanism, const char *directory, bool strict);

void fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
