/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the driver (crash.c) and the victims (victim.c) share: the operations that are cut short, and what they send. */

#include <hawser/hawser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (20 * SECOND)
#define MESSAGES_MOST 4
#define LARGEST 70000u /* more than the pool: in a memfd of its own */
#define ADDRESS_OPTIONS "ring=4K&pool=64K" /* so that 400 bytes go through the pool: few instructions copy them */

/* How the points of an operation are chosen. */
enum points {
    POINTS_ALL,  /* every instruction */
    POINTS_CALLS /* every system call's entry and exit, and instructions at random */
};

struct operation {
    const char *name;
    enum points points;
    bool warm;            /* it was done once before: what the first time makes is there */
    bool connects;      /* the operation is hawser_connect() itself */
    bool receives;      /* the driver sends these messages before it, the operation takes them; else it sends them */
    bool ends;          /* it says goodbye: the survivor may see a close instead of a death */
    size_t sizes[MESSAGES_MOST];
    size_t n;           /* messages */
    void (*work)(hawser_channel *channel, const struct operation *operation);
};

extern const struct operation operations[];
extern const size_t n_operations;

/* The victim: connects, waits for the driver's word, stops, does the operation, stops again. Does not return. */
void victim_main(const struct operation *operation, const char *address);

/* Message `index` of an operation: its bytes, and whether these are it. */
void message_fill(uint8_t *data, size_t size, size_t index);
bool message_is(const uint8_t *data, size_t size, size_t index);

void die(const char *file, int line, const char *what, long got, long wanted);

#define EXPECT(CALL, WANTED)                                     \
    do {                                                         \
        long got_ = (long)(CALL), wanted_ = (long)(WANTED);      \
        if (got_ != wanted_)                                     \
            die(__FILE__, __LINE__, #CALL, got_, wanted_);       \
    } while (0)
