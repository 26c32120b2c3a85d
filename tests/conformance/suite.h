/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The conformance suite: a list of promises times a table of places. Each (promise, place) is a cell: it runs in a
 * process group of its own, in a directory of its own, under a time limit; whatever it does, the next one begins clean.
 *
 * Inside a cell the first failed check, in whichever process or thread, prints its sentence and ends the whole cell. */

#include <hawser/hawser.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

enum mechanism {
    SHM = 1 << 0,
    PIPE = 1 << 1,
    FIFO = 1 << 2,
    UNIX = 1 << 3,
    TCP = 1 << 4,
    MQ = 1 << 5,
    SYSV = 1 << 6,
    RENDEZVOUS = SHM | PIPE | MQ | SYSV, /* meet at RUNTIME/NAME */
};

enum kind {
    PLAIN = 1 << 0,  /* the address as it is */
    LADDER = 1 << 1, /* wait=spin, wait=block */
    TIGHT = 1 << 2,  /* the smallest queues */
    MANY = 1 << 3,   /* threads=many */
};

struct place {
    const char *title;
    enum mechanism mechanism;
    enum kind kind;
    const char *base;  /* where * is the cell's directory and # a number of its own */
    const char *query; /* "" or "wait=spin" */
};

extern const struct place places[]; /* ends with a NULL title */

struct cell;

struct promise {
    const char *name;
    void (*run)(struct cell *cell);
    unsigned excused; /* mechanisms that the design's list excuses, or that the promise is not about */
    unsigned kinds;   /* of places to run at; 0: PLAIN only */
    bool kills;       /* leaves what a killed process leaves: names until the next open */
    unsigned seconds; /* 0: 20 */
};

struct theme {
    const char *name;
    const struct promise *promises; /* ends with a NULL name */
};

extern const struct promise exchange_promises[], limits_promises[], timeouts_promises[], sync_promises[],
    ending_promises[], death_promises[], fork_promises[], export_promises[], interrupt_promises[], poll_promises[],
    threads_promises[], access_promises[], listener_promises[], hostile_promises[], loans_promises[], many_promises[],
    crowd_promises[], descriptors_promises[], report_promises[], leaks_promises[];

struct cell {
    const struct promise *promise;
    const struct place *place;
    char directory[128];            /* its own; "own" in it is for what a promise puts there itself */
    unsigned made;                  /* names so far */
    char bound[HAWSER_ADDRESS_MAX]; /* where the last listener listens, without a query */
    uint64_t *shared;               /* 512 zeroed words that all processes of the cell share */
};

/* ---- settings of the run ---- */

extern bool suite_long;
unsigned long long amount(unsigned long long quick, unsigned long long in_long); /* which of the two */
int adopt_main(const char *fd); /* export.c: what the suite is when it executes itself */

/* ---- checks ---- */

void fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
void skip(const char *why) __attribute__((noreturn)); /* from the cell's first process */
long expect(const char *file, int line, const char *text, long got, long wanted, long or_wanted);

#define CHECK(CONDITION) ((CONDITION) ? (void)0 : fail(__FILE__, __LINE__, "%s", #CONDITION))
/* The call returns WANTED; for an error hawser_explain() must have a sentence. */
#define EXPECT(CALL, WANTED) expect(__FILE__, __LINE__, #CALL, (CALL), (WANTED), (WANTED))
#define EXPECT_EITHER(CALL, ONE, OTHER) expect(__FILE__, __LINE__, #CALL, (CALL), (ONE), (OTHER))

/* ---- addresses and ends ---- */

bool can(const struct cell *cell, int capability);

/* A fresh address of the cell's place, with the place's query and this one ("" for none). */
void address_new(struct cell *cell, const char *query, char *ret_address);
/* Where the last listener listens, with the place's query and this one. */
void address_bound(const struct cell *cell, const char *query, char *ret_address);

hawser_listener *listen_new(struct cell *cell, const char *query);
hawser_channel *connect_bound(const struct cell *cell, const char *query);
hawser_channel *accept_one(hawser_listener *listener);

/* Both ends in this process, by listen, connect and accept: the connecting end can send on every mechanism. */
void ends_open(struct cell *cell, const char *query, hawser_channel **ret_sender, hawser_channel **ret_receiver);

/* ---- two processes ---- */

struct side {
    struct cell *cell;
    hawser_channel *channel; /* closed after, unless the act did and set it to NULL */
    int control;             /* tell() and hear() */
    pid_t other;
    bool child;  /* the other is a child of this process */
    bool killed; /* it was killed, and is reaped already */
};

typedef void act(struct side *side);

/* A forked process connects (else listens) and does one act; this one meets it and does the other. */
void meet_as(struct cell *cell, const char *query, bool child_connects, act *child, act *parent);
/* The forked process connects. */
void meet(struct cell *cell, const char *query, act *connecting, act *listening);
/* As meet(); where both ways exist, again with the roles swapped. */
void meet_both_ways(struct cell *cell, const char *query, act *sender, act *receiver);

pid_t fork_child(void); /* dies with its parent */
void reap(pid_t child); /* expects exit status 0 */
void tell(struct side *side);
void hear(struct side *side);
void kill_other(struct side *side); /* a child: SIGKILL, and waits for the death */

/* ---- time ---- */

#define MS 1000000ll
#define SECOND 1000000000ll
int64_t now_ns(void);
void nap(int64_t ns);
/* Until all of the process's threads sleep, or 10 ms are over, as a spinner never sleeps; returns whether they do. */
bool until_asleep(pid_t pid);

/* ---- messages ---- */

#define NOISE (1u << 20)
uint64_t random_next(uint64_t *state);
const uint8_t *noise(uint64_t number); /* NOISE bytes that differ from number to number */

void send_one(hawser_channel *channel, uint64_t number, size_t size);
void recv_one(hawser_channel *channel, uint64_t number, size_t size); /* receives it, for ever, and checks it */
void check_bytes(const void *data, size_t size, uint64_t number, size_t expected_size);
/* Sends small messages without waiting until the queue is full; returns how many there was room for. */
uint64_t fill(hawser_channel *channel, uint64_t first, size_t size);
/* Receives n messages from first on; the sender, in this thread too, moves its outbox on when nothing comes. */
void drain(hawser_channel *sender, hawser_channel *receiver, uint64_t first, uint64_t n, size_t size);

unsigned descriptors_open(void);
unsigned maps_count(void);
