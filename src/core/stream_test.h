/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Streams over socket pairs, whose reads and writes can be cut to any length. */

#include "base/memory.h"
#include "base/sys.h"
#include "core/bytes.h"
#include "core/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define MOST ((size_t)8 << 20)

static size_t write_most = SIZE_MAX, read_most = SIZE_MAX; /* bytes one call moves at most */
static unsigned random_state = 1;

static unsigned random_next(unsigned bound) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

static int cut(const struct iovec *vector, int n, size_t most, struct iovec *ret_cut) {
    int used = 0;
    for (; used < n && most > 0; used++) {
        ret_cut[used] = vector[used];
        if (ret_cut[used].iov_len > most)
            ret_cut[used].iov_len = most;
        most -= ret_cut[used].iov_len;
    }
    return used;
}

static ssize_t test_read(struct stream *stream, const struct iovec *vector, int n) {
    struct iovec less[4];
    return sys_readv(stream->read_fd, less, cut(vector, n, read_most, less));
}

static ssize_t test_write(struct stream *stream, const struct iovec *vector, int n) {
    struct iovec less[4];
    struct msghdr message = { .msg_iov = less };
    message.msg_iovlen = (size_t)cut(vector, n, write_most, less);
    return write_most == 0 ? -EAGAIN : sys_sendmsg(stream->write_fd, &message, MSG_NOSIGNAL);
}

static const struct stream_io io = { .read = test_read, .write = test_write };
static const struct transport transport = { .scheme = "test" };

static struct stream *stream_new(int fd, enum framing framing) {
    struct options options = { .max_message = MOST, .read_ahead = 1 << 20 };
    struct stream *stream = memory_new(sizeof *stream);
    stream_init(stream, &transport, &options, LINK_PAIR, &io, framing);
    stream->read_fd = stream->write_fd = fd;
    return stream;
}

static struct stream *raw_new(int *ret_fd) {
    int fds[2];
    assert_int_equal(sys_socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    write_most = read_most = SIZE_MAX;
    *ret_fd = fds[1];
    return stream_new(fds[0], FRAMING_NATIVE);
}

static int send_one(struct stream *stream, const void *data, size_t size, bool sync) {
    hawser_message message = { .data = data, .size = size };
    size_t sent = 0;
    int r = stream_send(&stream->link, &message, 1, NULL, sync, &sent);
    if (r == -EINPROGRESS)
        assert_int_equal(stream_keep(&stream->link), 0);
    return r == -EINPROGRESS ? 0 : r;
}
