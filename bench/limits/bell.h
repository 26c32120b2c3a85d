/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Two cache lines shared by both sides, one written by each: what futex and the cache ping-pong ring on. */

#include "way.h"

#define LINE_SIZE 128 /* two lines, as processors fetch them in pairs */

struct bell_line {
    uint64_t value; /* the 8 bytes of the message */
    uint32_t ring;  /* counts messages */
    uint32_t asleep;
} __attribute__((aligned(LINE_SIZE)));

struct bell {
    struct bell_line *lines; /* by the side that writes; shared */
    struct bell_line *mine, *theirs;
    uint64_t seen; /* the last ring, or value, of theirs */
    uint64_t calls;
};

int bell_prepare(const struct way_setup *setup, void **ret_state);
int bell_join(void *state, enum way_side side);
uint64_t bell_calls(void *state);
void bell_leave(void *state);
