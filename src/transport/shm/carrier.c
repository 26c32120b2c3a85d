/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Descriptors beside the ring: a seqpacket socket of the link's own, one packet per record that has descriptors, in record
 * order. A packet is looked at before it is taken: should there be no free descriptors, it stays, and so does its message. */

#include "transport/shm/shm.h"

#include "base/control.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>

#define CONTROL CMSG_SPACE(CARRIER_MAX * sizeof(int))

int carrier_pair(int *ret_fds) {
    int r = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds);
    return r < 0 ? error_set(r, "make a socket for descriptors: %s", error_text(r)) : 0;
}

int carrier_check(int fd) {
    int domain = -1, type = -1;
    socklen_t length = sizeof domain;
    int r = sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    length = sizeof type;
    if (r == 0)
        r = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    if (r < 0 || domain != AF_UNIX || type != SOCK_SEQPACKET)
        return error_set(-EPROTO, "the peer's socket for descriptors is none");
    return 0;
}

void carrier_close(int *fds, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (fds[i] >= 0)
            sys_close(fds[i]);
}

/* Linux calls a Unix socket writable while no more than a quarter of its buffer is in use. Sending only then keeps room for
 * the one packet that must not fail: that of a commit. */
bool carrier_writable(const struct shm_link *shm) {
    struct pollfd poll = { .fd = shm->carrier, .events = POLLOUT };
    struct timespec none = { 0 };
    int r;
    do
        r = sys_ppoll(&poll, 1, &none, NULL);
    while (r == -EINTR);
    return r != 0; /* an error: let sending say what is wrong, rather than wait for it to go away */
}

int carrier_send(struct shm_link *shm, const int *fds, unsigned n) {
    union {
        struct cmsghdr header;
        char bytes[CONTROL];
    } control = { 0 };
    uint32_t count = n;
    struct iovec vector = { .iov_base = &count, .iov_len = sizeof count };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control };
    control_put_fds(&message, fds, n);
    if (!carrier_writable(shm))
        return -EAGAIN;
    ssize_t sent;
    do
        sent = sys_sendmsg(shm->carrier, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent == -EINTR);
    if (sent >= 0 || sent == -EAGAIN)
        return sent >= 0 ? 0 : -EAGAIN;
    if (sent == -EPIPE || sent == -ECONNRESET || sent == -ENOTCONN)
        return error_set(-EPIPE, "send descriptors: the peer is gone");
    if (sent == -ETOOMANYREFS)
        return error_set(-ETOOMANYREFS, "send descriptors: too many are under way; raise RLIMIT_NOFILE, or let the peer receive");
    return error_set((int)sent, "send descriptors: %s", error_text((int)sent));
}

int carrier_peek(struct shm_link *shm, int *fds, unsigned n) {
    union {
        struct cmsghdr header;
        char bytes[CONTROL];
    } control;
    uint32_t count = 0;
    struct iovec vector = { .iov_base = &count, .iov_len = sizeof count };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t got;
    do
        got = sys_recvmsg(shm->carrier, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got == -EINTR);
    if (got == -ENOMEM || got == -ENOBUFS)
        return error_set(-ENOMEM, "receive descriptors: %s", error_text((int)got));
    int fresh[CARRIER_MAX];
    unsigned arrived = got >= 0 ? control_take_fds(&message, fresh, CARRIER_MAX) : 0; /* an empty packet may bring some, too */
    if (got >= 0 && control_has_others(&message)) { /* it takes the place of descriptors */
        carrier_close(fresh, arrived);
        return link_break(&shm->link, "the socket for descriptors was told to bring something else, too");
    }
    if (got != sizeof count || count != n) {
        carrier_close(fresh, arrived);
        return link_break(&shm->link, "the descriptors that a message promised did not come");
    }
    if (arrived == n && !(message.msg_flags & MSG_CTRUNC)) {
        memcpy(fds, fresh, n * sizeof(int));
        return 0;
    }
    carrier_close(fresh, arrived);
    if (arrived < n && message.msg_flags & MSG_CTRUNC) /* else it brings more than it promised */
        return error_set(-EMFILE, "receive descriptors: no free ones in this process; raise RLIMIT_NOFILE or close some");
    return link_break(&shm->link, "a message came with %u descriptors and promised %u", arrived, n);
}

/* A packet that stayed would be taken for the next message's: whatever fails here is tried again, and in the end breaks the link. */
void carrier_pop(struct shm_link *shm) {
    uint32_t count;
    ssize_t r = -EINTR;
    for (unsigned tries = 0; r < 0 && r != -EAGAIN && tries < 8; tries++)
        r = sys_recv(shm->carrier, &count, sizeof count, MSG_DONTWAIT); /* the kernel drops the packet's descriptors */
    if (r < 0)
        link_break(&shm->link, "the descriptors that a message promised did not come");
}
