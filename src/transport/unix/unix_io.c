/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Bytes and descriptors over a Unix stream socket.
 *
 * Descriptors belong to a place in the stream, but reading ahead with room for them would cost every receive. So a frame
 * with descriptors leaves in two pieces: its first byte (the kind), carrying the descriptors once as a barrier, and the
 * rest, carrying them again. Linux ends a receive behind a piece that carries descriptors, and a receive without room for them
 * drops them and says so (MSG_CTRUNC). Thus a reader that ran into a barrier knows that descriptors come next, and stands
 * exactly before them. It peeks at them first: if this process has no free descriptors they stay where they are, but for a call that does not want them.
 * A liar can put descriptors anywhere: those without a barrier are dropped, those without a frame fill `held` and end
 * reading, and a frame that finds fewer than it names breaks the link. */

#include "transport/unix/unix.h"

#include "base/cleanup.h"
#include "base/control.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

static struct unix_link *unix_of(struct stream *stream) { return (struct unix_link *)stream; }

static void close_all(int *fds, unsigned *n) {
    for (unsigned i = 0; i < *n; i++)
        sys_close(fds[i]);
    *n = 0;
}

void unix_forget_fds(struct unix_link *link) {
    close_all(link->held, &link->n_held);
    close_all(link->late, &link->n_late);
}

/* ---- Receiving ---- */

/* No room for more: legitimate while acknowledgements are looked for behind messages that nobody receives. */
static int held_full(struct unix_link *link) {
    const struct stream_receiving *receiving = &link->stream.receiving;
    if (receiving->start == receiving->end)
        return link_break(&link->stream.link, "it sends descriptors that no message announces");
    return error_note(-ENOBUFS, "too many descriptors of messages that this program has not received");
}

/* The next byte carries descriptors: takes duplicates. 1: done; 0 the end; -EAGAIN; -EMFILE: they are still there. */
static ssize_t peek_fds(struct unix_link *link) {
    uint8_t byte;
    union wire_control control;
    struct iovec vector = { &byte, 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    if (link->n_held + sizeof control / sizeof(int) > UNIX_HELD)
        return held_full(link);
    ssize_t got;
    do
        got = sys_recvmsg(link->stream.read_fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got == -EINTR);
    got = wire_read_result(got);
    if (got <= 0)
        return got;
    unsigned n = control_take_fds(&message, link->held + link->n_held, UNIX_HELD - link->n_held), arrived = n;
    link->n_held += n;
    if (n <= UNIX_FDS && !(message.msg_flags & MSG_CTRUNC)) {
        link->expects_fds = false;
        return 1;
    }
    link->n_held -= n;
    close_all(link->held + link->n_held, &n);
    if (arrived > UNIX_FDS) /* whether or not all of them found room: more will never be free */
        return link_break(&link->stream.link, "it sends more than %u descriptors at once", UNIX_FDS);
    if (link->stream.receiving.drops_fds) {
        link->dropped = true;
        link->expects_fds = false;
        return 1;
    }
    return error_note(-EMFILE, "the message carries descriptors and too few are free: raise RLIMIT_NOFILE; the message stays");
}

static ssize_t unix_read(struct stream *stream, const struct iovec *vector, int n) {
    struct unix_link *link = unix_of(stream);
    union wire_control control;
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = (__typeof__(message.msg_iovlen))n };
    bool carries = link->expects_fds;
    if (carries) {
        ssize_t r = peek_fds(link);
        if (r <= 0)
            return r;
    }
    if (link->expects_hello) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(struct ucred)); /* no room for descriptors behind them */
    }
    ssize_t got;
    do
        got = sys_recvmsg(stream->read_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got == -EINTR);
    if (got > 0 && link->expects_hello && link->who.pid < 0)
        link->who = wire_credentials(&message);
    /* Descriptors dropped just now were a barrier, but for those that were taken by the peek. */
    if (got > 0 && message.msg_flags & MSG_CTRUNC && !carries)
        link->expects_fds = true;
    return wire_read_result(got);
}

static int unix_take_fds(struct stream *stream, unsigned n, int *fds) {
    struct unix_link *link = unix_of(stream);
    if (n > link->n_held && link->dropped && !fds) {
        link->dropped = false;
        close_all(link->held, &link->n_held);
        return 0;
    }
    if (n > link->n_held)
        return -EPROTO;
    if (fds)
        memcpy(fds, link->held, n * sizeof(int));
    for (unsigned i = 0; i < n && !fds; i++)
        sys_close(link->held[i]);
    link->n_held -= n;
    memmove(link->held, link->held + n, link->n_held * sizeof(int));
    return 0;
}

void unix_know(struct unix_link *link, const struct ucred *who) {
    struct peer *peer = &link->stream.link.peer;
    lock_acquire(&peer->lock); /* either half, or a look, may be the first to learn it */
    if (!load_relaxed(&peer->known) && who->pid >= 0)
        peer_know(peer, who->pid, who->uid, who->gid);
    lock_release(&peer->lock);
}

static int unix_hello(struct stream *stream, const uint8_t *payload, size_t size) {
    struct unix_link *link = unix_of(stream);
    if (!link->expects_hello)
        return link_break(&stream->link, "it says hello twice");
    int r = wire_hello_seen(stream, payload, size);
    if (r < 0)
        return r;
    unix_know(link, &link->who);
    link->expects_hello = false;
    wire_ask_credentials(stream->read_fd, false); /* they would slow every receive */
    return 0;
}

/* ---- Sending ---- */

static ssize_t send_with(struct stream *stream, const struct iovec *vector, int n, const int *fds, unsigned n_fds) {
    union wire_control control = { 0 };
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)vector,
                              .msg_iovlen = (__typeof__(message.msg_iovlen))n,
                              .msg_control = &control };
    control_put_fds(&message, fds, n_fds);
    ssize_t put;
    do
        put = sys_sendmsg(stream->write_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put == -EINTR);
    return wire_write_result(put);
}

/* What began must not be lost: a kernel that is short of something now is like a full one. */
static ssize_t not_now(ssize_t result) {
    return result == -ETOOMANYREFS || result == -ENOMEM || result == -ENOBUFS ? -EAGAIN : result;
}

static ssize_t unix_write(struct stream *stream, const struct iovec *vector, int n) {
    struct unix_link *link = unix_of(stream);
    if (__builtin_expect(link->n_late == 0, 1))
        return wire_write(stream, vector, n);
    ssize_t put = not_now(send_with(stream, vector, n, link->late, link->n_late));
    if (put > 0)
        close_all(link->late, &link->n_late);
    return put;
}

/* The barrier has left, the rest cannot: the descriptors are the caller's, so keep our own. */
static int keep_fds(struct unix_link *link, const struct descriptors *fds) {
    for (unsigned i = 0; i < fds->n; i++) {
        int copy = sys_fcntl(fds->fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            close_all(link->late, &link->n_late);
            link_break(&link->stream.link, "not the peer but this end: half a message with descriptors has left, and there is "
                                           "no free descriptor to keep the rest with (%s)", error_text(copy));
            return copy;
        }
        link->late[link->n_late++] = copy;
    }
    return 0;
}

/* What is left of the vector behind its first byte. Its first part is a whole frame header at least. */
static ssize_t send_rest(struct stream *stream, const struct iovec *vector, int n, const struct descriptors *fds) {
    struct iovec rest[3];
    if (n > 3)
        return -EINVAL;
    memcpy(rest, vector, (size_t)n * sizeof rest[0]);
    rest[0].iov_base = (uint8_t *)rest[0].iov_base + 1;
    rest[0].iov_len--;
    return send_with(stream, rest, n, fds->fds, (unsigned)fds->n);
}

static ssize_t unix_write_fds(struct stream *stream, const struct iovec *vector, int n, const struct descriptors *fds) {
    struct unix_link *link = unix_of(stream);
    struct iovec first = { vector->iov_base, 1 };
    ssize_t put = send_with(stream, &first, 1, fds->fds, (unsigned)fds->n);
    if (put == -ETOOMANYREFS)
        return error_note(-ETOOMANYREFS, "too many descriptors are in flight: the kernel allows as many as RLIMIT_NOFILE");
    if (put == -EBADF)
        return error_note(-EBADF, "one of the descriptors to send is not open");
    if (put <= 0)
        return put;
    put = send_rest(stream, vector, n, fds);
    if (put > 0)
        return put + 1;
    if (not_now(put) == -EAGAIN)
        keep_fds(link, fds); /* a failure broke the link, which the next look shows */
    return 1;
}

const struct stream_io unix_io = {
    .read = unix_read,
    .write = unix_write,
    .write_fds = unix_write_fds,
    .take_fds = unix_take_fds,
    .hello = unix_hello,
};
