/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* ZeroMQ with its defaults, over ipc and tcp: PUSH to PULL one way, PAIR there and back. */

#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define ADDRESS_MAX 256

struct queue {
    char place[ADDRESS_MAX]; /* what the receiving side binds */
    int handover[2];
    bool one_way;
    void *context, *socket;
};

static int prepare(const struct way_setup *setup, const char *place, void **ret_state) {
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    snprintf(queue->place, sizeof queue->place, "%s", place);
    memcpy(queue->handover, setup->handover, sizeof queue->handover);
    queue->one_way = setup->one_way;
    *ret_state = queue;
    return 0;
}

static int ipc_prepare(const struct way_setup *setup, void **ret_state) {
    char place[ADDRESS_MAX];
    int length = snprintf(place, sizeof place, "ipc://%s/%s", setup->directory, setup->name);
    return length < 0 || (size_t)length >= sizeof place ? -ENAMETOOLONG : prepare(setup, place, ret_state);
}

static int tcp_prepare(const struct way_setup *setup, void **ret_state) {
    return prepare(setup, "tcp://127.0.0.1:*", ret_state);
}

/* The receiver binds and tells the sender where. */
static int join_receiver(struct queue *queue) {
    char address[ADDRESS_MAX] = "";
    size_t length = sizeof address;
    if (zmq_bind(queue->socket, queue->place) < 0 || zmq_getsockopt(queue->socket, ZMQ_LAST_ENDPOINT, address, &length) < 0)
        return -zmq_errno();
    return write(queue->handover[WAY_FOLLOW], address, sizeof address) == (ssize_t)sizeof address ? 0 : -EIO;
}

static int join_sender(struct queue *queue) {
    char address[ADDRESS_MAX];
    if (read(queue->handover[WAY_LEAD], address, sizeof address) != (ssize_t)sizeof address)
        return -EIO;
    address[sizeof address - 1] = 0;
    return zmq_connect(queue->socket, address) < 0 ? -zmq_errno() : 0;
}

static int queue_join(void *state, enum way_side side) {
    struct queue *queue = state;
    int kind = !queue->one_way ? ZMQ_PAIR : side == WAY_LEAD ? ZMQ_PUSH : ZMQ_PULL;
    queue->context = zmq_ctx_new();
    queue->socket = queue->context ? zmq_socket(queue->context, kind) : NULL;
    if (!queue->socket)
        return -ENOMEM;
    return side == WAY_FOLLOW ? join_receiver(queue) : join_sender(queue);
}

static int queue_send(void *state, const void *data, size_t size) {
    struct queue *queue = state;
    while (zmq_send(queue->socket, data, size, 0) < 0)
        if (zmq_errno() != EINTR)
            return -zmq_errno();
    return 0;
}

static int queue_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct queue *queue = state;
    int got;
    while ((got = zmq_recv(queue->socket, buffer, capacity, 0)) < 0)
        if (zmq_errno() != EINTR)
            return -zmq_errno();
    if ((size_t)got > capacity)
        return -EMSGSIZE;
    *ret_size = (size_t)got;
    return 0;
}

static uint64_t queue_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

/* Waits, as is its default, until everything has left. */
static void queue_leave(void *state) {
    struct queue *queue = state;
    if (queue->socket)
        zmq_close(queue->socket);
    if (queue->context)
        zmq_ctx_term(queue->context);
    free(queue);
}

static void queue_discard(void *state) { free(state); }

#define OPERATIONS                                                                                                     \
    .can = WAY_CAN_BLOCK | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY, .join = queue_join, .send = queue_send, .recv = queue_recv, \
    .calls = queue_calls, .leave = queue_leave, .discard = queue_discard

static const struct way ipc = { .name = "zmq-ipc", .prepare = ipc_prepare, OPERATIONS };
static const struct way tcp = { .name = "zmq-tcp", .prepare = tcp_prepare, OPERATIONS };

__attribute__((visibility("default"))) const struct way *const PEER_WAYS[] = { &ipc, &tcp, NULL };
