/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A Unix seqpacket socket: the kernel keeps the messages apart, one packet each. The header goes along all the same,
 * so that the bytes moved are those of the other ways. A packet cannot exceed the send buffer. */

#include "way.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PACKET_OVERHEAD 4096 /* of the kernel's own, charged to the buffer with the payload */

struct seqpacket {
    int fds[2];
    int fd;
    bool spin;
    uint64_t calls;
};

static int tune(const struct way_setup *setup, int fd) {
    int bytes = setup->buffer ? (int)setup->buffer : 0;
    int needed = (int)setup->size + PACKET_OVERHEAD, standing = 0;
    socklen_t length = sizeof standing;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &standing, &length) < 0)
        return -errno;
    if (bytes == 0 && standing < needed)
        bytes = needed;
    /* beyond net.core.wmem_max only the privileged way works */
    if (bytes && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) < 0)
        return -errno;
    if (setup->wait == WAY_SPIN && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static void seqpacket_discard(void *state) {
    struct seqpacket *link = state;
    for (int side = 0; side < 2; side++)
        if (link->fds[side] >= 0)
            close(link->fds[side]);
    free(link);
}

static int seqpacket_prepare(const struct way_setup *setup, void **ret_state) {
    struct seqpacket *link = calloc(1, sizeof *link);
    if (!link)
        return -ENOMEM;
    link->spin = setup->wait == WAY_SPIN;
    link->fds[0] = link->fds[1] = -1;
    int r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link->fds) < 0 ? -errno : 0;
    for (int side = 0; side < 2 && r == 0; side++)
        r = tune(setup, link->fds[side]);
    if (r < 0) {
        seqpacket_discard(link);
        return r;
    }
    *ret_state = link;
    return 0;
}

static int seqpacket_join(void *state, enum way_side side) {
    struct seqpacket *link = state;
    link->fd = link->fds[side];
    close(link->fds[!side]);
    link->fds[!side] = -1;
    return 0;
}

static int again(const struct seqpacket *link) {
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN || !link->spin)
        return -errno;
    way_pause();
    return 0;
}

static int seqpacket_send(void *state, const void *data, size_t size) {
    struct seqpacket *link = state;
    uint64_t header = size;
    struct iovec pieces[2] = { { &header, sizeof header }, { (void *)(uintptr_t)data, size } };
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 2 };
    for (;;) {
        link->calls++;
        if (sendmsg(link->fd, &message, MSG_NOSIGNAL) >= 0)
            return 0;
        int r = again(link);
        if (r < 0)
            return r;
    }
}

static int seqpacket_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct seqpacket *link = state;
    uint64_t header = 0;
    struct iovec pieces[2] = { { &header, sizeof header }, { buffer, capacity } };
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 2 };
    ssize_t got;
    do {
        link->calls++;
        got = recvmsg(link->fd, &message, 0);
        int r = got < 0 ? again(link) : 0;
        if (r < 0)
            return r;
    } while (got < 0);
    if (got == 0)
        return -ECONNRESET;
    if ((message.msg_flags & MSG_TRUNC) || (size_t)got != sizeof header + header)
        return -EPROTO;
    *ret_size = (size_t)header;
    return 0;
}

static uint64_t seqpacket_calls(void *state) { return ((struct seqpacket *)state)->calls; }

const struct way bare_seqpacket = {
    .name = "seqpacket",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = seqpacket_prepare,
    .join = seqpacket_join,
    .send = seqpacket_send,
    .recv = seqpacket_recv,
    .calls = seqpacket_calls,
    .leave = seqpacket_discard,
    .discard = seqpacket_discard,
};
