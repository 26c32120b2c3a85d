/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A futex each way, 8 bytes beside it. Always wakes: what a flag saves is not measured here. */

#include "bell.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FUTEX_WAIT 0 /* include/uapi/linux/futex.h */
#define FUTEX_WAKE 1

static int futex_send(void *state, const void *data, size_t size) {
    struct bell *bell = state;
    if (size != sizeof bell->mine->value)
        return -EMSGSIZE;
    memcpy(&bell->mine->value, data, size);
    way_store(&bell->mine->ring, bell->mine->ring + 1); /* release: pairs with the load in futex_recv */
    bell->calls++;
    return syscall(SYS_futex, &bell->mine->ring, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int futex_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct bell *bell = state;
    uint32_t ring;
    if (capacity < sizeof bell->theirs->value)
        return -EMSGSIZE;
    while ((ring = way_load(&bell->theirs->ring)) == (uint32_t)bell->seen) {
        bell->calls++;
        if (syscall(SYS_futex, &bell->theirs->ring, FUTEX_WAIT, ring, NULL, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    bell->seen = ring;
    memcpy(buffer, &bell->theirs->value, sizeof bell->theirs->value);
    *ret_size = sizeof bell->theirs->value;
    return 0;
}

const struct way bare_futex = {
    .name = "futex",
    .can = WAY_CAN_BLOCK | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,
    .prepare = bell_prepare,
    .join = bell_join,
    .send = futex_send,
    .recv = futex_recv,
    .calls = bell_calls,
    .leave = bell_leave,
    .discard = bell_leave,
};
