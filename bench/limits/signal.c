/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A queued real-time signal each way, with 8 bytes as its value: sigqueue, and a signalfd to receive it. It queues, so it could
 * also run one way; but a sender is not told when there is room again. */

#include "way.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct signals {
    int handover[2];
    int fd; /* signalfd */
    int number;
    pid_t other;
    bool spin;
    uint64_t calls;
};

static int signal_prepare(const struct way_setup *setup, void **ret_state) {
    struct signals *signals = calloc(1, sizeof *signals);
    if (!signals)
        return -ENOMEM;
    memcpy(signals->handover, setup->handover, sizeof signals->handover);
    signals->spin = setup->wait == WAY_SPIN;
    signals->number = SIGRTMIN + 4;
    signals->fd = -1;
    *ret_state = signals;
    return 0;
}

/* Blocks it first: the other may send as soon as it knows who we are. */
static int signal_join(void *state, enum way_side side) {
    struct signals *signals = state;
    pid_t self = getpid();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signals->number);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | (signals->spin ? SFD_NONBLOCK : 0));
    if (signals->fd < 0)
        return -errno;
    int socket = signals->handover[side];
    if (write(socket, &self, sizeof self) != (ssize_t)sizeof self ||
        recv(socket, &signals->other, sizeof signals->other, MSG_WAITALL) != (ssize_t)sizeof signals->other)
        return -EIO;
    return 0;
}

static int again(const struct signals *signals) {
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN || !signals->spin)
        return -errno;
    way_pause();
    return 0;
}

static int signal_send(void *state, const void *data, size_t size) {
    struct signals *signals = state;
    union sigval value = { 0 };
    if (size != sizeof value.sival_ptr)
        return -EMSGSIZE;
    memcpy(&value.sival_ptr, data, size);
    signals->calls++;
    return sigqueue(signals->other, signals->number, value) < 0 ? -errno : 0;
}

static int signal_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct signals *signals = state;
    struct signalfd_siginfo information;
    if (capacity < sizeof information.ssi_ptr)
        return -EMSGSIZE;
    for (;;) {
        signals->calls++;
        if (read(signals->fd, &information, sizeof information) >= 0)
            break;
        int r = again(signals);
        if (r < 0)
            return r;
    }
    memcpy(buffer, &information.ssi_ptr, sizeof information.ssi_ptr);
    *ret_size = sizeof information.ssi_ptr;
    return 0;
}

static uint64_t signal_calls(void *state) { return ((struct signals *)state)->calls; }

static void signal_leave(void *state) {
    struct signals *signals = state;
    if (signals->fd >= 0)
        close(signals->fd);
    free(signals);
}

const struct way bare_signal = {
    .name = "signal",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_NOTIFIES,
    .prepare = signal_prepare,
    .join = signal_join,
    .send = signal_send,
    .recv = signal_recv,
    .calls = signal_calls,
    .leave = signal_leave,
    .discard = signal_leave,
};
