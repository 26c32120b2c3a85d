/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* ZeroMQ PUSH to PULL, one way, over ipc and tcp, with its defaults. The library is loaded when it is measured,
 * so that the command does not depend on it; its header is needed to build this. */

#include "peers.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define ADDRESS_MAX 256

#define ZMQ_CALLS(X)                                                                                              \
    X(zmq_ctx_new) X(zmq_ctx_term) X(zmq_socket) X(zmq_close) X(zmq_bind) X(zmq_connect) X(zmq_setsockopt) \
    X(zmq_getsockopt) X(zmq_send) X(zmq_recv) X(zmq_errno)

static struct {
#define X(NAME) __typeof__(&NAME) NAME;
    ZMQ_CALLS(X)
#undef X
} zmq;

struct queue {
    char place[ADDRESS_MAX]; /* what the receiving side binds */
    int handover[2];
    void *context, *socket;
};

static int load(void) {
    void *library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return -ENOPKG;
    /* POSIX's own way to make a function of dlsym's object pointer */
#define X(NAME)                                           \
    *(void **)(void *)&zmq.NAME = dlsym(library, #NAME); \
    if (!zmq.NAME)                                        \
        return -ENOPKG;
    ZMQ_CALLS(X)
#undef X
    return 0;
}

static int prepare(const struct way_setup *setup, const char *place, void **ret_state) {
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -ENOMEM;
    snprintf(queue->place, sizeof queue->place, "%s", place);
    memcpy(queue->handover, setup->handover, sizeof queue->handover);
    *ret_state = queue;
    return 0;
}

static int zmq_ipc_prepare(const struct way_setup *setup, void **ret_state) {
    char place[ADDRESS_MAX];
    int length = snprintf(place, sizeof place, "ipc://%s/%s", setup->directory, setup->name);
    return length < 0 || (size_t)length >= sizeof place ? -ENAMETOOLONG : prepare(setup, place, ret_state);
}

static int zmq_tcp_prepare(const struct way_setup *setup, void **ret_state) {
    return prepare(setup, "tcp://127.0.0.1:*", ret_state);
}

/* The receiver binds and tells the sender where. */
static int join_receiver(struct queue *queue) {
    char address[ADDRESS_MAX] = "";
    size_t length = sizeof address;
    if (zmq.zmq_bind(queue->socket, queue->place) < 0 ||
        zmq.zmq_getsockopt(queue->socket, ZMQ_LAST_ENDPOINT, address, &length) < 0)
        return -zmq.zmq_errno();
    return write(queue->handover[WAY_FOLLOW], address, sizeof address) == (ssize_t)sizeof address ? 0 : -EIO;
}

static int join_sender(struct queue *queue) {
    char address[ADDRESS_MAX];
    if (read(queue->handover[WAY_LEAD], address, sizeof address) != (ssize_t)sizeof address)
        return -EIO;
    address[sizeof address - 1] = 0;
    return zmq.zmq_connect(queue->socket, address) < 0 ? -zmq.zmq_errno() : 0;
}

static int zmq_join(void *state, enum way_side side) {
    struct queue *queue = state;
    int r = load();
    if (r < 0)
        return r;
    queue->context = zmq.zmq_ctx_new();
    queue->socket = queue->context ? zmq.zmq_socket(queue->context, side == WAY_LEAD ? ZMQ_PUSH : ZMQ_PULL) : NULL;
    if (!queue->socket)
        return -ENOMEM;
    return side == WAY_FOLLOW ? join_receiver(queue) : join_sender(queue);
}

static int zmq_send_message(void *state, const void *data, size_t size) {
    struct queue *queue = state;
    while (zmq.zmq_send(queue->socket, data, size, 0) < 0)
        if (zmq.zmq_errno() != EINTR)
            return -zmq.zmq_errno();
    return 0;
}

static int zmq_recv_message(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct queue *queue = state;
    int got;
    while ((got = zmq.zmq_recv(queue->socket, buffer, capacity, 0)) < 0)
        if (zmq.zmq_errno() != EINTR)
            return -zmq.zmq_errno();
    if ((size_t)got > capacity)
        return -EMSGSIZE;
    *ret_size = (size_t)got;
    return 0;
}

static uint64_t zmq_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

/* Waits, as is its default, until everything has left. */
static void zmq_leave(void *state) {
    struct queue *queue = state;
    if (queue->socket)
        zmq.zmq_close(queue->socket);
    if (queue->context)
        zmq.zmq_ctx_term(queue->context);
    free(queue);
}

static void zmq_discard(void *state) { free(state); }

static const char *zmq_explain(void) {
    return zmq.zmq_errno ? NULL : "libzmq.so.5 cannot be loaded: install libzmq5";
}

#define OPERATIONS                                                                                          \
    .can = WAY_CAN_BLOCK | WAY_CAN_ONE_WAY, .join = zmq_join, .send = zmq_send_message, .recv = zmq_recv_message, \
    .calls = zmq_calls, .leave = zmq_leave, .discard = zmq_discard, .explain = zmq_explain

static const struct way zmq_ipc = { .name = "zmq-ipc", .prepare = zmq_ipc_prepare, OPERATIONS };
static const struct way zmq_tcp = { .name = "zmq-tcp", .prepare = zmq_tcp_prepare, OPERATIONS };

const struct way *const peer_ways[] = { &zmq_ipc, &zmq_tcp, NULL };
