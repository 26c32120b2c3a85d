/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A way is one manner of carrying messages between two processes that the bench can measure: bare system
 * calls (this folder), another library (bench/peers), or hawser itself (cli/bench_hawser.c). All are one
 * table of operations, so that the loop that measures, stamps and checks is the same for every one.
 *
 * Life of a way's state: prepare() in the supervising process, then a fork for each side and join() in it,
 * send() and recv() there, leave() in each side; discard() in the supervisor once both sides are gone, however
 * they ended, removes whatever a killed side left in the system. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum way_wait { WAY_BLOCK = 0, WAY_SPIN = 1, WAY_ADAPTIVE = 2 };

enum way_side {
    WAY_LEAD = 0,   /* sends first; in a one-way run it only sends */
    WAY_FOLLOW = 1, /* sends back, or only receives */
};

#define WAY_CAN_BLOCK (1u << 0)
#define WAY_CAN_SPIN (1u << 1)
#define WAY_CAN_ADAPT (1u << 2)
#define WAY_CAN_ROUND_TRIP (1u << 3)
#define WAY_CAN_ONE_WAY (1u << 4)
#define WAY_CAN_MANY (1u << 5)
#define WAY_NOTIFIES (1u << 6) /* carries exactly 8 bytes: a bell, not a queue */
#define WAY_ALONE (1u << 7)    /* one process, no far side: a copy in memory */

#define WAY_HEADER_SIZE 8 /* in front of every payload, as in hawser */
#define WAY_CALLS_UNKNOWN UINT64_MAX

struct way_setup {
    const char *directory; /* private to this run; for names */
    const char *name;      /* unique in it, and in the system */
    enum way_wait wait;
    size_t size;     /* bytes of every message */
    bool one_way;    /* lead to follow only */
    size_t buffer;   /* bytes of kernel buffer, 0: hawser's default; as hawser's option of the same name */
    uint32_t depth;  /* mq: packets a queue holds, 0: hawser's default */
    uint32_t packet; /* mq, sysv: bytes of a packet, 0: hawser's default */
    int handover[2]; /* a socket pair, one end for each side: for what only one side can know (a port) */
};

/* A message of a batch. */
struct way_piece {
    const void *data;
    size_t size;
    void *internal[4]; /* the way's own */
};

/* Every operation returns 0 or a negative errno and handles EINTR itself. */
struct way {
    const char *name;
    unsigned can;
    int (*prepare)(const struct way_setup *setup, void **ret_state);
    int (*join)(void *state, enum way_side side);
    int (*send)(void *state, const void *data, size_t size);
    int (*recv)(void *state, void *buffer, size_t capacity, size_t *ret_size);
    int (*send_many)(void *state, const struct way_piece *pieces, size_t n);
    int (*recv_many)(void *state, struct way_piece *ret_pieces, size_t n, size_t *ret_n);
    void (*release_many)(void *state, struct way_piece *pieces, size_t n);
    uint64_t (*calls)(void *state); /* system calls made by this side so far, or WAY_CALLS_UNKNOWN */
    void (*leave)(void *state);
    void (*discard)(void *state);
    const char *(*explain)(void); /* the last failure in words; NULL: its errno says it all */
};

extern const struct way *const bare_ways[]; /* ends with NULL */
const struct way *bare_way_find(const char *name);

extern const struct way bare_shm, bare_pipe, bare_fifo, bare_unix, bare_seqpacket, bare_tcp, bare_mq, bare_sysv, bare_futex,
    bare_eventfd, bare_signal, bare_cache, bare_memcpy;

/* The bench lies outside the library and shares memory only with itself; these are all it needs. */
#define way_load(P) __atomic_load_n((P), __ATOMIC_ACQUIRE)
#define way_store(P, V) __atomic_store_n((P), (V), __ATOMIC_RELEASE)

static inline void way_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}
