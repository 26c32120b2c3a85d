/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What permits.c and line.c, two halves of one thing, need of each other. */

#include "sync/permits.h"

/* ---- permits.c ---- */

bool permits_free_at_least(const struct permits *permits, uint64_t n);

/* Takes all n or none, whoever is in line: 0, PERMITS_HELD_DIED, -EAGAIN. */
int permits_take(struct permits *permits, uint32_t n);

/* The same for one who is not in line, and may not pass those who are without end. */
int permits_take_new(struct permits *permits, uint32_t n);

/* The same; and what the dead hold is as good as free: looks for them, but not for a millisecond after a look in vain. */
int permits_try(struct permits *permits, uint32_t n);

/* Passes bought before count no more. */
enum permits_turn {
    TURN_FIRST,  /* the first in line has what it wants: passes begin anew */
    TURN_AHEAD,  /* another has, as there was enough for both: the same, but only so often before the first has */
    TURN_CLOSED, /* nobody passes for now */
};
void permits_next_turn(struct permits *permits, enum permits_turn turn);

/* ---- line.c ---- */

/* permits_acquire(), when a first try got -EAGAIN and the deadline is not past. */
int line_wait(struct permits *permits, uint32_t n, int64_t deadline);

/* permits_serve(), when somebody may be in line. */
void line_serve(struct permits *permits);

/* Looks whether those still live who concern this waiter (NULL: one who is not in line); true: some were dead, and what they had is
 * reclaimed. */
bool line_look(struct permits *permits, const struct permits_waiter *self);

/* The places of a dead slot. */
void line_reclaim(struct permits *permits, uint32_t slot);
