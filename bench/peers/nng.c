/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* nng's pair0 over ipc with its defaults. */

#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

#define ADDRESS_MAX 256

struct pair {
    char address[ADDRESS_MAX];
    int handover[2];
    nng_socket socket;
};

static const char *reason; /* nng's own words for its last error */

/* nng's errors are its own numbers; some are errnos. */
static int failed(int error) {
    reason = nng_strerror(error);
    return -EIO;
}

static int pair_prepare(const struct way_setup *setup, void **ret_state) {
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair)
        return -ENOMEM;
    snprintf(pair->address, sizeof pair->address, "ipc://%s/%s", setup->directory, setup->name);
    memcpy(pair->handover, setup->handover, sizeof pair->handover);
    *ret_state = pair;
    return 0;
}

static int pair_join(void *state, enum way_side side) {
    struct pair *pair = state;
    char ready = 0;
    int r = nng_pair0_open(&pair->socket);
    if (r == 0) /* its default refuses what is longer than 1 MiB */
        r = nng_socket_set_size(pair->socket, NNG_OPT_RECVMAXSZ, 0);
    if (r == 0 && side == WAY_FOLLOW)
        r = nng_listen(pair->socket, pair->address, NULL, 0);
    if (r != 0)
        return failed(r);
    if (side == WAY_FOLLOW)
        return write(pair->handover[side], &ready, 1) == 1 ? 0 : -EIO;
    if (read(pair->handover[side], &ready, 1) != 1)
        return -EIO;
    r = nng_dial(pair->socket, pair->address, NULL, 0);
    return r == 0 ? 0 : failed(r);
}

static int pair_send(void *state, const void *data, size_t size) {
    struct pair *pair = state;
    int r = nng_send(pair->socket, (void *)(uintptr_t)data, size, 0);
    return r == 0 ? 0 : failed(r);
}

static int pair_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct pair *pair = state;
    int r = nng_recv(pair->socket, buffer, &capacity, 0);
    if (r != 0)
        return failed(r);
    *ret_size = capacity;
    return 0;
}

static uint64_t pair_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

static void pair_leave(void *state) {
    struct pair *pair = state;
    nng_close(pair->socket);
    free(pair);
}

static void pair_discard(void *state) { free(state); }

static const char *pair_explain(void) { return reason; }

static const struct way nng = {
    .name = "nng",
    .can = WAY_CAN_BLOCK | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = pair_prepare,
    .join = pair_join,
    .send = pair_send,
    .recv = pair_recv,
    .calls = pair_calls,
    .leave = pair_leave,
    .discard = pair_discard,
    .explain = pair_explain,
};

__attribute__((visibility("default"))) const struct way *const PEER_WAYS[] = { &nng, NULL };
