/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The limit of all shared memory: one line written by each side, the other spins on it. The 8 bytes are
 * the message themselves; as they count up, a new value is a new message. */

#include "bell.h"

#include <errno.h>
#include <string.h>

static int cache_send(void *state, const void *data, size_t size) {
    struct bell *bell = state;
    uint64_t value;
    if (size != sizeof value)
        return -EMSGSIZE;
    memcpy(&value, data, sizeof value);
    way_store(&bell->mine->value, value + 1); /* release: pairs with the load in cache_recv; 0 means none yet */
    return 0;
}

static int cache_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct bell *bell = state;
    uint64_t value;
    if (capacity < sizeof value)
        return -EMSGSIZE;
    while ((value = way_load(&bell->theirs->value)) == bell->seen)
        way_pause();
    bell->seen = value;
    value--;
    memcpy(buffer, &value, sizeof value);
    *ret_size = sizeof value;
    return 0;
}

const struct way bare_cache = {
    .name = "cache",
    .can = WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,
    .prepare = bell_prepare,
    .join = bell_join,
    .send = cache_send,
    .recv = cache_recv,
    .calls = bell_calls,
    .leave = bell_leave,
    .discard = bell_leave,
};
