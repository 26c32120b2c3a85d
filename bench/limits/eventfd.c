/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* An eventfd each way. It adds up what is written, so it could merge messages; in a round trip there is
 * one under way at a time, and the value read is the value written: that is how it is checked. */

#include "way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct events {
    int fds[2]; /* by the side that reads */
    int in, out;
    bool spin;
    uint64_t calls;
};

static void eventfd_discard(void *state) {
    struct events *events = state;
    for (int side = 0; side < 2; side++)
        if (events->fds[side] >= 0)
            close(events->fds[side]);
    free(events);
}

static int eventfd_prepare(const struct way_setup *setup, void **ret_state) {
    struct events *events = calloc(1, sizeof *events);
    if (!events)
        return -ENOMEM;
    events->spin = setup->wait == WAY_SPIN;
    int r = 0;
    for (int side = 0; side < 2; side++) {
        events->fds[side] = eventfd(0, EFD_CLOEXEC | (events->spin ? EFD_NONBLOCK : 0));
        if (events->fds[side] < 0)
            r = -errno;
    }
    if (r < 0) {
        eventfd_discard(events);
        return r;
    }
    *ret_state = events;
    return 0;
}

static int eventfd_join(void *state, enum way_side side) {
    struct events *events = state;
    events->in = events->fds[side];
    events->out = events->fds[!side];
    return 0;
}

static int again(const struct events *events) {
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN || !events->spin)
        return -errno;
    way_pause();
    return 0;
}

static int eventfd_send(void *state, const void *data, size_t size) {
    struct events *events = state;
    uint64_t value;
    if (size != sizeof value)
        return -EMSGSIZE;
    memcpy(&value, data, sizeof value);
    value++; /* 0 would ring nothing */
    for (;;) {
        events->calls++;
        if (write(events->out, &value, sizeof value) >= 0)
            return 0;
        int r = again(events);
        if (r < 0)
            return r;
    }
}

static int eventfd_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct events *events = state;
    uint64_t value = 0;
    if (capacity < sizeof value)
        return -EMSGSIZE;
    for (;;) {
        events->calls++;
        if (read(events->in, &value, sizeof value) >= 0)
            break;
        int r = again(events);
        if (r < 0)
            return r;
    }
    value--;
    memcpy(buffer, &value, sizeof value);
    *ret_size = sizeof value;
    return 0;
}

static uint64_t eventfd_calls(void *state) { return ((struct events *)state)->calls; }

const struct way bare_eventfd = {
    .name = "eventfd",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,
    .prepare = eventfd_prepare,
    .join = eventfd_join,
    .send = eventfd_send,
    .recv = eventfd_recv,
    .calls = eventfd_calls,
    .leave = eventfd_discard,
    .discard = eventfd_discard,
};
