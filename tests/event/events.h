/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the promises of events share: the place a cell is about, checks that end the cell, a waiter and its raisers. */

#include "base/sys.h"

#include <hawser/hawser.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)

enum variant { EVENTFD = 1, SIGNAL = 2, FUTEX = 4 };
enum share { FORK = 8, NAME = 16, TICKET = 32 };

struct place {
    const char *title;
    unsigned is; /* variant and share */
    const char *address;
};

struct promise {
    const char *name;
    void (*run)(void);
    unsigned not_for; /* variants and shares that the promise is not about */
};

extern const struct promise value_promises[], end_promises[], access_promises[]; /* end with a NULL name */

extern const struct place *place;
extern uint64_t *shared; /* by all processes of the cell */

void fail(int line, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
void expect(int line, const char *text, int got, int wanted);

#define CHECK(CONDITION) ((CONDITION) ? (void)0 : fail(__LINE__, "%s", #CONDITION))
#define EXPECT(CALL, WANTED) expect(__LINE__, #CALL, (CALL), (WANTED))

int64_t now_ns(void);
pid_t fork_child(void); /* dies with its parent */
void reap(pid_t child); /* expects exit status 0 */

hawser_event *create(void);
int ticket_of(hawser_event *event); /* -1 where none is needed */

/* In the raiser's process; by fork, the waiter's own handle. */
hawser_event *raiser_of(hawser_event *event, int ticket);

typedef void act(hawser_event *raiser, uint64_t argument);
pid_t raise_in_child(hawser_event *event, act *what, uint64_t argument);
void raise_value(hawser_event *raiser, uint64_t value); /* an act */
void raise_when_told(hawser_event *raiser, uint64_t value); /* announces at 0, awaits 1 at 1 */

uint64_t wait_one(hawser_event *event);
void wait_sum(hawser_event *event, uint64_t sum); /* everything until it is that much, and then nothing */

/* Words of `shared`: one process counts them up, others wait for them, a waiter welcoming newcomers meanwhile. */
void announce(uint64_t word);
void await(uint64_t word, uint64_t wanted);
void serve_until(hawser_event *event, uint64_t word, uint64_t wanted);
