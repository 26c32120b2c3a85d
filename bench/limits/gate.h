/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A gate is a semaphore that the bench can measure: POSIX's, System V's, or hawser's (cli/bench_gates.c). Made in the supervising
 * process, shared with the sides by fork. */

#include "way.h"

#define GATES_MOST 3

struct gate {
    const char *name;
    int (*prepare)(unsigned n, unsigned permits, void **ret_state); /* n gates of so many permits each */
    int (*acquire)(void *state, unsigned which);
    int (*release)(void *state, unsigned which);
    uint64_t (*calls)(void *state); /* system calls made by this side so far, or WAY_CALLS_UNKNOWN */
    void (*discard)(void *state);
    const char *(*explain)(void);
};

extern const struct gate gate_posix, gate_sysv;

/* A ping-pong through a gate: three semaphores of one permit, of which each side holds one that the other waits for. To give a turn is
 * to release one, to take it is to acquire the next, so that every permit is given back by who took it. */
int relay_prepare(const struct gate *gate, void **ret_state);
int relay_join(void *state, enum way_side side);
int relay_send(void *state, const void *data, size_t size);
int relay_recv(void *state, void *buffer, size_t capacity, size_t *ret_size);
uint64_t relay_calls(void *state);
void relay_leave(void *state);
void relay_discard(void *state);

#define RELAY_WAY(GATE)                                                                                              \
    {                                                                                                                \
        .name = "relay", .can = WAY_CAN_BLOCK | WAY_CAN_ADAPT | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,                     \
        .prepare = GATE##_relay_prepare, .join = relay_join, .send = relay_send, .recv = relay_recv, .calls = relay_calls, \
        .leave = relay_leave, .discard = relay_discard,                                                                 \
    }

extern const struct way relay_posix, relay_sysv;
