/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A Unix stream socket. */

#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUFFER 212992 /* what hawser asks for unless it is told otherwise: twice the kernel's default, as the kernel doubles it */

static int unix_open(struct stream *stream, const struct way_setup *setup) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    int r = 0;
    for (int side = 0; side < 2 && r == 0; side++) {
        int bytes = setup->buffer ? (int)setup->buffer : BUFFER;
        stream->in[side] = stream->out[side] = fds[side];
        if (setsockopt(fds[side], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) < 0)
            r = -errno;
        else
            r = stream_tune(stream, fds[side]);
    }
    return r;
}

static int unix_prepare(const struct way_setup *setup, void **ret_state) {
    struct stream *stream = stream_new(setup);
    if (!stream)
        return -ENOMEM;
    stream->socket = true;
    int r = unix_open(stream, setup);
    if (r < 0)
        return stream_free(stream, r);
    *ret_state = stream;
    return 0;
}

const struct way bare_unix = { .name = "unix", .prepare = unix_prepare, STREAM_OPERATIONS };
