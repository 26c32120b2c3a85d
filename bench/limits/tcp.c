/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* TCP over the loopback, TCP_NODELAY, a port of the kernel's choice. */

#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int tune(struct stream *stream, const struct way_setup *setup, int fd) {
    int yes = 1, bytes = (int)setup->buffer;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
        return -errno;
    if (bytes && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) < 0 ||
                  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0))
        return -errno;
    return stream_tune(stream, fd);
}

/* Joins two sockets of this process through a listening one. */
static int meet(struct stream *stream, int listener) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    int lead = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stream->in[WAY_LEAD] = stream->out[WAY_LEAD] = lead;
    if (lead < 0 || connect(lead, (struct sockaddr *)&address, length) < 0)
        return -errno;
    int follow = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    stream->in[WAY_FOLLOW] = stream->out[WAY_FOLLOW] = follow;
    return follow < 0 ? -errno : 0;
}

static int tcp_open(struct stream *stream, const struct way_setup *setup) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return -errno;
    int r = meet(stream, listener);
    close(listener);
    for (int side = 0; side < 2 && r == 0; side++)
        r = tune(stream, setup, stream->in[side]);
    return r;
}

static int tcp_prepare(const struct way_setup *setup, void **ret_state) {
    struct stream *stream = stream_new(setup);
    if (!stream)
        return -ENOMEM;
    stream->socket = true;
    int r = tcp_open(stream, setup);
    if (r < 0)
        return stream_free(stream, r);
    *ret_state = stream;
    return 0;
}

const struct way bare_tcp = { .name = "tcp", .prepare = tcp_prepare, STREAM_OPERATIONS };
