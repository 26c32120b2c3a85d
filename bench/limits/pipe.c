/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A pipe each way. */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int open_one(struct stream *stream, const struct way_setup *setup, enum way_side reader) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    stream->in[reader] = fds[0];
    stream->out[!reader] = fds[1];
    if (setup->buffer && fcntl(fds[1], F_SETPIPE_SZ, (int)setup->buffer) < 0)
        return -errno;
    int r = stream_tune(stream, fds[0]);
    return r < 0 ? r : stream_tune(stream, fds[1]);
}

static int pipe_prepare(const struct way_setup *setup, void **ret_state) {
    struct stream *stream = stream_new(setup);
    int r = stream ? open_one(stream, setup, WAY_FOLLOW) : -ENOMEM;
    if (r == 0 && !setup->one_way)
        r = open_one(stream, setup, WAY_LEAD);
    if (r < 0)
        return stream_free(stream, r);
    *ret_state = stream;
    return 0;
}

const struct way bare_pipe = { .name = "pipe", .prepare = pipe_prepare, STREAM_OPERATIONS };
