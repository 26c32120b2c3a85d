/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "core/pipe_io.h"

#include "base/atomic.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>

static uint32_t signals; /* atomic: the kernel was found to lack RWF_NOSIGNAL */

ssize_t pipe_read(struct stream *stream, const struct iovec *vector, int n) {
    for (;;) {
        ssize_t got = n == 1 ? sys_read(stream->read_fd, vector->iov_base, vector->iov_len) : sys_readv(stream->read_fd, vector, n);
        if (got != -EINTR)
            return got;
    }
}

static bool sigpipe_pending(void) {
    sigset_t pending;
    return sys_sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

static ssize_t write_plain(int fd, const struct iovec *vector, int n) {
    for (;;) {
        ssize_t written = n == 1 ? sys_write(fd, vector->iov_base, vector->iov_len) : sys_writev(fd, vector, n);
        if (written != -EINTR)
            return written;
    }
}

/* A SIGPIPE that was pending before is somebody else's and stays; then ours was merged into it and there is none to consume. */
static ssize_t write_masked(int fd, const struct iovec *vector, int n) {
    sigset_t only, before;
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    bool pending = sigpipe_pending();
    int r = sys_pthread_sigmask(SIG_BLOCK, &only, &before);
    if (r < 0)
        return r;
    ssize_t written = write_plain(fd, vector, n);
    if (written == -EPIPE && !pending) {
        static const struct timespec now = { 0 };
        while (sys_sigtimedwait(&only, NULL, &now) == -EINTR)
            continue;
    }
    sys_pthread_sigmask(SIG_SETMASK, &before, NULL);
    return written;
}

ssize_t pipe_write(struct stream *stream, const struct iovec *vector, int n) {
    while (!load_relaxed(&signals)) {
        ssize_t written = sys_pwritev2(stream->write_fd, vector, n, -1, RWF_NOSIGNAL);
        if (written == -EOPNOTSUPP || written == -ENOSYS)
            store_relaxed(&signals, 1);
        else if (written != -EINTR)
            return written;
    }
    return write_masked(stream->write_fd, vector, n);
}

void pipe_set_room(int fd, const struct options *options) {
    uint64_t size = options->buffer ? options->buffer : PIPE_BUFFER;
    if (size > INT_MAX)
        size = INT_MAX;
    sys_fcntl(fd, F_SETPIPE_SZ, (long)size);
}
