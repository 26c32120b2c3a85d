/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Messages over a byte stream, whatever its descriptors are: an 8-byte header with the size, then the
 * payload, both in one call each way. Pipes, FIFOs and stream sockets share it. */

#include "way.h"

struct stream {
    int in[2];  /* by side: what it reads from; -1 for none */
    int out[2]; /* by side: what it writes to; a socket stands in both */
    int from, to;
    bool socket;
    bool spin;      /* descriptors do not block: try again at once */
    bool no_signal; /* pwritev2 knows RWF_NOSIGNAL */
    size_t size;
    uint64_t calls;
    char *scratch; /* header and payload together, where that is small */
};

#define STREAM_SMALL (16 << 10) /* as in hawser: up to here a copy is cheaper than a second piece */

struct stream *stream_new(const struct way_setup *setup);
int stream_free(struct stream *stream, int error); /* returns error */

/* The way's operations; pipe, fifo, unix and tcp differ in prepare() only. */
int stream_join(void *state, enum way_side side);
int stream_send(void *state, const void *data, size_t size);
int stream_recv(void *state, void *buffer, size_t capacity, size_t *ret_size);
uint64_t stream_calls(void *state);
void stream_leave(void *state);
void stream_discard(void *state);

/* Makes a descriptor non-blocking if the stream spins. */
int stream_tune(const struct stream *stream, int fd);

#define STREAM_CAN (WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY)
#define STREAM_OPERATIONS                                                                               \
    .can = STREAM_CAN, .join = stream_join, .send = stream_send, .recv = stream_recv, .calls = stream_calls, \
    .leave = stream_leave, .discard = stream_discard
