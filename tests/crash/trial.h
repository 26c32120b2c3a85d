/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What all these tests do with a victim: step through its work and look, then cut the work short, again and again. */

#include "trace.h"

struct trial {
    const char *what;             /* the work, for what is printed */
    void *scene;                  /* argument of all these */
    pid_t (*begin)(void *scene);  /* a victim that is traced and has stopped before its work; it stops again after it */
    trace_await await;
    void (*look)(void *scene);    /* while the victim stands somewhere; NULL: nothing is to be seen */
    void (*done)(void *scene);    /* it stands after all its work; NULL: the same */
    void (*end)(void *scene);     /* kills it, and sees to it that all is as it should be */
};

extern bool is_long; /* the run */

/* All instructions of it, with a look after each. The caller frees it. */
struct path trial_observe(const struct trial *trial);

void trial_kill_at(const struct trial *trial, const struct path *path, size_t step);
uint64_t trial_kill_at_random(const struct trial *trial, const struct path *path, uint64_t n);
uint64_t trial_kill_at_calls(const struct trial *trial);

/* Prints how much was tried. */
void trial_report(const struct trial *trial, const struct path *path, uint64_t points);

/* Observes it, kills it at each instruction (in the quick run: at so many, by chance) and at each system call, and reports: how often. */
uint64_t trial_run(const struct trial *trial, uint64_t quick_points);

/* A program's main: try_all gives the number of kills; only: the one trial that was asked for, or NULL. */
int trial_main(int argc, char **argv, uint64_t (*try_all)(const char *only));
