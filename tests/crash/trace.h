/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Leading a traced process: by instructions, by system calls, or straight to a place it came by before. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

bool trace_allowed(void);

/* Waits until the process stops: its signal; 0: it ended. */
typedef int (*trace_await)(void *argument);

/* By one instruction; one that repeats itself (a copy) is one. As await says. */
int trace_step(pid_t pid, trace_await await, void *argument);
/* To the next system call's entry or exit. */
int trace_call(pid_t pid, trace_await await, void *argument);

/* Does it sleep in a call? Neither when it stopped nor when it would go on, but others run. */
bool trace_asleep(pid_t pid);

/* Where an operation went when it was stepped through: the address after each instruction. */
struct path {
    uint64_t *places;
    size_t n, capacity;
    uint32_t *from; /* the step to go to by a breakpoint, on the way to each; 0: the beginning */
    uint32_t *hits; /* how often it is hit until then */
};

void path_add(struct path *path, pid_t pid);
void path_end(struct path *path); /* nothing more will be added */
void path_free(struct path *path);

/* From an operation's beginning to the step, or near it: stopping only where the place of `from` is passed, and by single steps
 * from there. False: it ended before. */
bool path_follow(const struct path *path, pid_t pid, size_t step, trace_await await, void *argument);

#define TRACE_PATH 256

/* A runtime directory of the test's own, in that of the run if there is one, so that the names in it can be counted; the caller removes
 * it. */
void trace_runtime(char ret_directory[TRACE_PATH]);
