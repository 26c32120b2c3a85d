/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A named FIFO each way; the names go as soon as both ends are open. */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_ends(struct stream *stream, const struct way_setup *setup, const char *path, enum way_side reader) {
    /* the reading end first and without waiting for a writer, which this process itself becomes */
    int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    stream->in[reader] = in;
    if (in < 0)
        return -errno;
    int out = open(path, O_WRONLY | O_CLOEXEC);
    stream->out[!reader] = out;
    if (out < 0)
        return -errno;
    if (!stream->spin && fcntl(in, F_SETFL, 0) < 0)
        return -errno;
    if (setup->buffer && fcntl(out, F_SETPIPE_SZ, (int)setup->buffer) < 0)
        return -errno;
    return stream_tune(stream, out);
}

static int open_one(struct stream *stream, const struct way_setup *setup, enum way_side reader) {
    char path[512];
    int length = snprintf(path, sizeof path, "%s/%s-%d", setup->directory, setup->name, (int)reader);
    if (length < 0 || (size_t)length >= sizeof path)
        return -ENAMETOOLONG;
    if (mkfifo(path, 0600) < 0)
        return -errno;
    int r = open_ends(stream, setup, path, reader);
    unlink(path);
    return r;
}

static int fifo_prepare(const struct way_setup *setup, void **ret_state) {
    struct stream *stream = stream_new(setup);
    int r = stream ? open_one(stream, setup, WAY_FOLLOW) : -ENOMEM;
    if (r == 0 && !setup->one_way)
        r = open_one(stream, setup, WAY_LEAD);
    if (r < 0)
        return stream_free(stream, r);
    *ret_state = stream;
    return 0;
}

const struct way bare_fifo = { .name = "fifo", .prepare = fifo_prepare, STREAM_OPERATIONS };
