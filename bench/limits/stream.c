/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See stream.h. The stream owns all its descriptors; join() closes those of the other side. Care for
 * SIGPIPE is hawser's: MSG_NOSIGNAL for sockets; for pipes RWF_NOSIGNAL where the kernel has it, else the signal is
 * blocked around the write and consumed. */

#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif

struct stream *stream_new(const struct way_setup *setup) {
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    *stream = (struct stream){ .in = { -1, -1 }, .out = { -1, -1 }, .from = -1, .to = -1 };
    stream->spin = setup->wait == WAY_SPIN;
    stream->no_signal = true;
    stream->size = setup->size;
    stream->scratch = malloc(STREAM_SMALL + WAY_HEADER_SIZE);
    if (!stream->scratch) {
        free(stream);
        return NULL;
    }
    return stream;
}

static void close_side(struct stream *stream, int side) {
    if (stream->in[side] >= 0)
        close(stream->in[side]);
    if (stream->out[side] >= 0 && stream->out[side] != stream->in[side])
        close(stream->out[side]);
    stream->in[side] = stream->out[side] = -1;
}

int stream_free(struct stream *stream, int error) {
    if (!stream)
        return error;
    close_side(stream, WAY_LEAD);
    close_side(stream, WAY_FOLLOW);
    free(stream->scratch);
    free(stream);
    return error;
}

int stream_tune(const struct stream *stream, int fd) {
    if (!stream->spin)
        return 0;
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int stream_join(void *state, enum way_side side) {
    struct stream *stream = state;
    close_side(stream, side == WAY_LEAD ? WAY_FOLLOW : WAY_LEAD);
    stream->from = stream->in[side];
    stream->to = stream->out[side];
    return 0;
}

/* The way of kernels before 6.18: three or four calls where one would do, as a library must not touch
 * the disposition of its user's signals. */
static ssize_t write_masked(struct stream *stream, const struct iovec *vector, int n) {
    sigset_t pipe_set, old;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    ssize_t written = writev(stream->to, vector, n);
    int error = errno;
    stream->calls += 3;
    if (written < 0 && error == EPIPE && !sigismember(&old, SIGPIPE))
        sigtimedwait(&pipe_set, NULL, &(struct timespec){ 0 });
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = error;
    return written;
}

static ssize_t write_some(struct stream *stream, struct iovec *vector, int n) {
    if (stream->socket && n == 1) {
        stream->calls++;
        return send(stream->to, vector->iov_base, vector->iov_len, MSG_NOSIGNAL);
    }
    if (stream->socket) {
        struct msghdr message = { .msg_iov = vector, .msg_iovlen = (size_t)n };
        stream->calls++;
        return sendmsg(stream->to, &message, MSG_NOSIGNAL);
    }
    if (stream->no_signal) {
        stream->calls++;
        /* the raw call, as musl has no wrapper: offset -1 in two halves means the file's own position */
        ssize_t written = syscall(SYS_pwritev2, stream->to, vector, (long)n, -1L, -1L, RWF_NOSIGNAL);
        if (written >= 0 || errno != EOPNOTSUPP)
            return written;
        stream->no_signal = false;
    }
    return write_masked(stream, vector, n);
}

/* Drops the first `done` bytes of the vector. */
static void advance(struct iovec **vector, int *n, size_t done) {
    while (*n > 0 && done >= (*vector)->iov_len) {
        done -= (*vector)->iov_len;
        (*vector)++;
        (*n)--;
    }
    if (*n > 0) {
        (*vector)->iov_base = (char *)(*vector)->iov_base + done;
        (*vector)->iov_len -= done;
    }
}

static int again(const struct stream *stream) {
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN || !stream->spin)
        return -errno;
    way_pause();
    return 0;
}

static int send_all(struct stream *stream, struct iovec *vector, int n) {
    while (n > 0) {
        ssize_t written = write_some(stream, vector, n);
        int r = written < 0 ? again(stream) : 0;
        if (r < 0)
            return r;
        if (written > 0)
            advance(&vector, &n, (size_t)written);
    }
    return 0;
}

int stream_send(void *state, const void *data, size_t size) {
    struct stream *stream = state;
    uint64_t header = size;
    if (size <= STREAM_SMALL) {
        memcpy(stream->scratch, &header, sizeof header);
        memcpy(stream->scratch + sizeof header, data, size);
        return send_all(stream, &(struct iovec){ stream->scratch, sizeof header + size }, 1);
    }
    struct iovec pieces[2] = { { &header, sizeof header }, { (void *)(uintptr_t)data, size } };
    return send_all(stream, pieces, 2);
}

static int recv_all(struct stream *stream, struct iovec *vector, int n) {
    while (n > 0) {
        stream->calls++;
        ssize_t got = n == 1 ? read(stream->from, vector->iov_base, vector->iov_len) : readv(stream->from, vector, n);
        int r = got < 0 ? again(stream) : 0;
        if (r < 0)
            return r;
        if (got == 0)
            return -ECONNRESET;
        if (got > 0)
            advance(&vector, &n, (size_t)got);
    }
    return 0;
}

/* Asks for exactly one message, whose size is known: one call per message, as the fastest loop one would
 * write by hand without a buffer that reads ahead. */
int stream_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct stream *stream = state;
    uint64_t header = 0;
    size_t size = stream->size < capacity ? stream->size : capacity;
    bool small = size <= STREAM_SMALL;
    struct iovec whole = { stream->scratch, sizeof header + size };
    struct iovec pieces[2] = { { &header, sizeof header }, { buffer, size } };
    int r = small ? recv_all(stream, &whole, 1) : recv_all(stream, pieces, 2);
    if (r < 0)
        return r;
    if (small) {
        memcpy(&header, stream->scratch, sizeof header);
        memcpy(buffer, stream->scratch + sizeof header, size);
    }
    if (header != size)
        return -EPROTO;
    *ret_size = size;
    return 0;
}

uint64_t stream_calls(void *state) { return ((struct stream *)state)->calls; }

void stream_leave(void *state) { stream_free(state, 0); }

void stream_discard(void *state) { stream_free(state, 0); }
