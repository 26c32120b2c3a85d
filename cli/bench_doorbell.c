/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser's events and signals as ways, through the public API alone: bells of 8 bytes, one each way. The bare calls beside them are
 * bare_eventfd, bare_futex and bare_signal. */

#include "bench_doorbell.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t wait_of(enum way_wait wait) {
    static const uint32_t waits[] = {
        [WAY_BLOCK] = HAWSER_WAIT_BLOCK, [WAY_SPIN] = HAWSER_WAIT_SPIN, [WAY_ADAPTIVE] = HAWSER_WAIT_ADAPTIVE,
    };
    return waits[wait];
}

/* ---- Events ---- */

struct bells {
    hawser_event *events[2]; /* by the side that waits */
    hawser_event *in, *out;
    int handover[2];
    uint32_t wait;
};

static void bells_leave(void *state) {
    struct bells *bells = state;
    hawser_event_close(bells->events[0]);
    hawser_event_close(bells->events[1]);
    free(bells);
}

static int bells_prepare(const char *address, const struct way_setup *setup, void **ret_state) {
    hawser_options options = HAWSER_OPTIONS_INIT;
    struct bells *bells = calloc(1, sizeof *bells);
    int r = bells ? 0 : -ENOMEM;
    options.wait = wait_of(setup->wait);
    for (int side = 0; side < 2 && r == 0; side++)
        r = hawser_event_create(address, &options, &bells->events[side]);
    if (r == 0)
        *ret_state = bells;
    else if (bells)
        bells_leave(bells);
    return r;
}

static int bells_join(void *state, enum way_side side) {
    struct bells *bells = state;
    bells->in = bells->events[side];
    bells->out = bells->events[!side];
    return 0;
}

/* 0 would ring nothing. */
static int bells_send(void *state, const void *data, size_t size) {
    uint64_t value;
    if (size != sizeof value)
        return -EMSGSIZE;
    memcpy(&value, data, sizeof value);
    return hawser_event_raise(((struct bells *)state)->out, value + 1);
}

static int bells_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    uint64_t value;
    if (capacity < sizeof value)
        return -EMSGSIZE;
    int r = hawser_event_wait(((struct bells *)state)->in, HAWSER_FOREVER, &value);
    if (r < 0)
        return r;
    value--;
    memcpy(buffer, &value, sizeof value);
    *ret_size = sizeof value;
    return 0;
}

static uint64_t calls_unknown(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

/* Over signal an event's waiter is who made it: each side makes its own, and hands a ticket over. */
static int bells_prepare_late(const char *address, const struct way_setup *setup, void **ret_state) {
    struct bells *bells = calloc(1, sizeof *bells);
    if (!bells)
        return -ENOMEM;
    (void)address;
    memcpy(bells->handover, setup->handover, sizeof bells->handover);
    bells->wait = wait_of(setup->wait);
    *ret_state = bells;
    return 0;
}

union ticket {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int swap_tickets(int socket, int ours, int *ret_theirs) {
    union ticket out = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } }, in = out;
    char byte = 0;
    struct iovec part = { &byte, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &out, .msg_controllen = sizeof out };
    memcpy(CMSG_DATA(&out.head), &ours, sizeof ours);
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1)
        return -EIO;
    message.msg_control = &in;
    message.msg_controllen = sizeof in;
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
        return -EIO;
    memcpy(ret_theirs, CMSG_DATA(&in.head), sizeof *ret_theirs);
    return 0;
}

static int bells_join_late(void *state, enum way_side side) {
    struct bells *bells = state;
    hawser_options options = HAWSER_OPTIONS_INIT;
    char address[HAWSER_ADDRESS_MAX];
    int ours, theirs;
    options.wait = bells->wait;
    snprintf(address, sizeof address, "signal://?signal=%d", SIGRTMIN + 4);
    int r = hawser_event_create(address, &options, &bells->events[side]);
    if (r == 0)
        r = hawser_event_export(bells->events[side], &ours);
    if (r < 0)
        return r;
    r = swap_tickets(bells->handover[side], ours, &theirs);
    close(ours);
    if (r < 0)
        return r;
    r = hawser_event_adopt(theirs, NULL, &bells->events[!side]);
    close(theirs);
    return r < 0 ? r : bells_join(state, side);
}

#define EVENT(NAME, ADDRESS, TITLE, LATE)                                                             \
    static int NAME##_prepare(const struct way_setup *setup, void **ret_state) {                      \
        return bells_prepare##LATE(ADDRESS, setup, ret_state);                                        \
    }                                                                                                 \
    const struct way hawser_##NAME##_way = {                                                          \
        .name = TITLE,                                                                                \
        .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ADAPT | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,      \
        .prepare = NAME##_prepare,                                                                    \
        .join = bells_join##LATE,                                                                         \
        .send = bells_send,                                                                           \
        .recv = bells_recv,                                                                           \
        .calls = calls_unknown,                                                                       \
        .leave = bells_leave,                                                                         \
        .discard = bells_leave,                                                                       \
        .explain = hawser_explain,                                                                    \
    };

EVENT(event, "eventfd://", "event", )
EVENT(event_futex, "futex://", "event-futex", )
EVENT(event_signal, NULL, "event-signal", _late)

/* ---- Signals ---- */

struct signals {
    int handover[2], number;
    uint32_t wait;
    hawser_signal_receiver *receiver;
    hawser_signal_target *target;
};

static int signals_prepare(const struct way_setup *setup, void **ret_state) {
    struct signals *signals = calloc(1, sizeof *signals);
    if (!signals)
        return -ENOMEM;
    memcpy(signals->handover, setup->handover, sizeof signals->handover);
    signals->wait = wait_of(setup->wait);
    signals->number = SIGRTMIN + 4;
    *ret_state = signals;
    return 0;
}

/* Blocks it first: the other may send as soon as it knows who we are. */
static int signals_join(void *state, enum way_side side) {
    struct signals *signals = state;
    hawser_options options = HAWSER_OPTIONS_INIT;
    pid_t self = getpid(), other;
    options.wait = signals->wait;
    int r = hawser_signal_open(&signals->number, 1, &options, &signals->receiver), socket = signals->handover[side];
    if (r < 0)
        return r;
    if (write(socket, &self, sizeof self) != (ssize_t)sizeof self || recv(socket, &other, sizeof other, MSG_WAITALL) != (ssize_t)sizeof other)
        return -EIO;
    return hawser_signal_target_pid(other, &signals->target);
}

static int signals_send(void *state, const void *data, size_t size) {
    struct signals *signals = state;
    uint64_t value;
    if (size != sizeof value)
        return -EMSGSIZE;
    memcpy(&value, data, sizeof value);
    return hawser_signal_send(signals->target, signals->number, value);
}

static int signals_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    if (capacity < sizeof info.value)
        return -EMSGSIZE;
    int r = hawser_signal_wait(((struct signals *)state)->receiver, HAWSER_FOREVER, &info);
    if (r < 0)
        return r;
    memcpy(buffer, &info.value, sizeof info.value);
    *ret_size = sizeof info.value;
    return 0;
}

static void signals_leave(void *state) {
    struct signals *signals = state;
    hawser_signal_target_close(signals->target);
    hawser_signal_close(signals->receiver);
    free(signals);
}

const struct way hawser_signal_way = {
    .name = "signal",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ADAPT | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,
    .prepare = signals_prepare,
    .join = signals_join,
    .send = signals_send,
    .recv = signals_recv,
    .calls = calls_unknown,
    .leave = signals_leave,
    .discard = signals_leave,
    .explain = hawser_explain,
};
