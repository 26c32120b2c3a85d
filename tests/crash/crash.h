/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the driver (crash.c), its reading of a victim's segments (look.c), its leading of processes (trace.c) and the victims
 * (victim.c) share: the operations that are cut short, and what they send. */

#include <hawser/hawser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (120 * SECOND)
#define SIZES_MOST 4
#define MESSAGES_MOST 32
#define LARGEST 5000u /* more than the pool: in a memfd of its own */
#define SIXTH 12000u  /* six of these are more than a ring of 64 KiB, a sixth of them more than it has room for */
#define OPTIONS "pool=4K&hello_timeout=120s&"
#define OPTIONS_SMALL OPTIONS "ring=4K" /* so that 400 bytes go through the pool: few instructions copy them */
#define OPTIONS_SLEEPING OPTIONS_SMALL "&wait=block"
#define OPTIONS_GROWING OPTIONS "ring=128K" /* 64 KiB at first */

/* How the points of an operation are chosen. */
enum points {
    POINTS_ALL,  /* every instruction */
    POINTS_CALLS /* every system call's entry and exit, and instructions at random */
};

struct operation {
    const char *name;
    enum points points;
    unsigned warm;       /* how often it was done before: what the first time makes is there, and the ring is written so far */
    bool connects;       /* the operation is hawser_connect() itself */
    bool receives;       /* the driver sends these messages before it, the operation takes them; else it sends them */
    bool waits;          /* it sleeps: the driver goes on when it does, and not before */
    bool ends;           /* it says goodbye: the survivor may see a close instead of a death */
    unsigned fds;        /* descriptors with each message */
    const char *options; /* of both ends; NULL: OPTIONS_SMALL */
    size_t sizes[SIZES_MOST]; /* of messages 0 to 3, and of every fourth after each */
    size_t n;            /* messages */
    void (*work)(hawser_channel *channel, const struct operation *operation);
};

extern const struct operation operations[];
extern const size_t n_operations;

static inline size_t size_of(const struct operation *operation, size_t index) { return operation->sizes[index % SIZES_MOST]; }

/* The victim: connects, waits for the driver's word, stops, does the operation, stops again. Does not return. */
void victim_main(const struct operation *operation, const char *address);

/* Message `index` of an operation: its bytes, and whether these are it. */
void message_fill(uint8_t *data, size_t size, size_t index);
bool message_is(const uint8_t *data, size_t size, size_t index);

/* ns; without the time for which this process was ready to run, and others did: the machine may be busy. */
int64_t now(void);

void die(const char *file, int line, const char *what, long got, long wanted);

#define EXPECT(CALL, WANTED)                                     \
    do {                                                         \
        long got_ = (long)(CALL), wanted_ = (long)(WANTED);      \
        if (got_ != wanted_)                                     \
            die(__FILE__, __LINE__, #CALL, got_, wanted_);       \
    } while (0)
