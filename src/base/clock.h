/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Time in nanoseconds of CLOCK_MONOTONIC. A deadline is such a time, or one of the two ends below. */

#include <hawser/base.h>
#include <stdbool.h>
#include <time.h>

#define DEADLINE_NEVER INT64_MAX
#define DEADLINE_PAST INT64_MIN /* do not wait: no clock is read for it */

static inline int64_t clock_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail on Linux; answered without a system call */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same clock as of the last timer tick, 1 to 10 ms ago: a quarter of the price. */
static inline int64_t clock_coarse(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* timeout: as given to a public call, already checked to be -1 or more. */
static inline int64_t deadline_after(int64_t timeout) {
    if (timeout == HAWSER_FOREVER)
        return DEADLINE_NEVER;
    if (timeout == HAWSER_NOW)
        return DEADLINE_PAST;
    int64_t now = clock_now();
    return timeout > INT64_MAX - 1 - now ? DEADLINE_NEVER : now + timeout;
}

/* No clock is read for a deadline that is one of the two ends. */
static inline bool deadline_passed(int64_t deadline) {
    return deadline == DEADLINE_PAST || (deadline != DEADLINE_NEVER && clock_now() >= deadline);
}

static inline int64_t deadline_earlier(int64_t a, int64_t b) { return a < b ? a : b; }
