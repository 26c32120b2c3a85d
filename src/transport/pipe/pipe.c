/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Two pipes make a channel. The listening end creates both and hands the peer its ends at the rendezvous (for a pair, whoever
 * makes the pair does); each end holds one reading and one writing end. The rendezvous socket carries acknowledgements and
 * tells of death even while a forked child keeps the pipes open. */

#include "base/cleanup.h"
#include "base/error.h"
#include "core/pipe_io.h"
#include "core/rendezvous.h"
#include "transport/pipe/pipe.h"

#include <errno.h>

static const struct stream_io pipe_stream_io = { .read = pipe_read, .write = pipe_write };

struct pipe_link {
    struct stream stream;
    int given[2]; /* the peer's ends, until they are offered: read, write; -1 */
};

static struct pipe_link *pipe_of(struct link *link) { return (struct pipe_link *)link; }

static int pipe_create(const struct options *options, enum link_role role, struct link **ret_link) {
    struct pipe_link *self = memory_new(sizeof *self);
    if (!self)
        return error_note(-ENOMEM, "pipe: no memory for a link");
    stream_init(&self->stream, &transport_pipe, options, role, &pipe_stream_io, FRAMING_NATIVE);
    self->given[0] = self->given[1] = -1;
    *ret_link = &self->stream.link;
    return 0;
}

/* One pipe, without waiting on either end. */
static int make_pipe(const struct options *options, int *ret_read, int *ret_write) {
    int fds[2];
    int r = sys_pipe2(fds, O_CLOEXEC | O_NONBLOCK);
    if (r < 0)
        return error_set(r, "pipe: no pipe could be made: %s", error_text(r));
    pipe_set_room(fds[1], options);
    *ret_read = fds[0];
    *ret_write = fds[1];
    return 0;
}

static int pipe_join(struct link *a, struct link *b) {
    struct stream *first = &pipe_of(a)->stream, *second = &pipe_of(b)->stream;
    int r = make_pipe(&a->options, &first->read_fd, &second->write_fd);
    return r < 0 ? r : make_pipe(&b->options, &second->read_fd, &first->write_fd);
}

static int pipe_offer(struct link *link, struct offer *ret_offer) {
    struct pipe_link *self = pipe_of(link);
    *ret_offer = (struct offer){ 0 };
    if (link->role != LINK_LISTEN)
        return 0;
    int r = make_pipe(&link->options, &self->stream.read_fd, &self->given[1]);
    if (r == 0)
        r = make_pipe(&link->options, &self->given[0], &self->stream.write_fd);
    if (r < 0)
        return r;
    ret_offer->fds[ret_offer->n_fds++] = steal_fd(&self->given[0]);
    ret_offer->fds[ret_offer->n_fds++] = steal_fd(&self->given[1]);
    return 0;
}

/* A descriptor from outside: is it a pipe's end of this kind? Makes it non-blocking: 0, or a negative errno. */
static int check_end(int fd, int access) {
    struct stat status;
    int r = sys_fstat(fd, &status);
    if (r < 0)
        return r;
    int flags = sys_fcntl(fd, F_GETFL, 0);
    if (flags < 0)
        return flags;
    if (!S_ISFIFO(status.st_mode) || (flags & O_ACCMODE) != access)
        return -EPROTO;
    return sys_fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Whoever handed the end over may hold the same description, and could make it wait again. So we open our own, where that
 * can be: the pipe of another user, whom this one has said to trust, stays as it is. */
static void open_again(int *fd, int access) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    int own = sys_openat(AT_FDCWD, path, access | O_NONBLOCK | O_CLOEXEC, 0);
    if (own < 0)
        return;
    sys_close(*fd);
    *fd = own;
}

static int take_ends(struct stream *stream, struct offer *offer, unsigned first) {
    if (check_end(offer->fds[first], O_RDONLY) < 0 || check_end(offer->fds[first + 1], O_WRONLY) < 0)
        return error_set(-EPROTO, "pipe: the descriptors handed over are not a pipe to read and a pipe to write");
    open_again(&offer->fds[first], O_RDONLY);
    open_again(&offer->fds[first + 1], O_WRONLY);
    stream->read_fd = steal_fd(&offer->fds[first]);
    stream->write_fd = steal_fd(&offer->fds[first + 1]);
    return 0;
}

static int pipe_meet(struct link *link, struct offer *offer) {
    unsigned expected = link->role == LINK_CONNECT ? 2 : 0;
    if (offer->n_fds != expected)
        return error_set(-EPROTO, "pipe: the peer handed over %u descriptors, not %u", offer->n_fds, expected);
    return expected > 0 ? take_ends(&pipe_of(link)->stream, offer, 0) : 0;
}

static int pipe_pack(struct link *link, struct offer *ret_offer) {
    struct stream *stream = &pipe_of(link)->stream;
    *ret_offer = (struct offer){ .n_fds = 3 };
    ret_offer->fds[0] = steal_fd(&link->peer.socket);
    ret_offer->fds[1] = steal_fd(&stream->read_fd);
    ret_offer->fds[2] = steal_fd(&stream->write_fd);
    return 0;
}

static int pipe_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    struct link *link = NULL;
    if (offer->n_fds != 3)
        return error_set(-EPROTO, "pipe: the exported end has %u descriptors, not 3", offer->n_fds);
    int r = pipe_create(options, LINK_PAIR, &link);
    if (r < 0)
        return r;
    r = peer_adopt(&link->peer, &offer->fds[0]);
    if (r == 0)
        r = take_ends(&pipe_of(link)->stream, offer, 1);
    if (r < 0) {
        stream_close(link, false);
        return r;
    }
    *ret_link = link;
    return 0;
}

static void pipe_close(struct link *link, bool owner) {
    struct pipe_link *self = pipe_of(link);
    cleanup_close(&self->given[0]);
    cleanup_close(&self->given[1]);
    stream_close(link, owner);
}

const struct transport transport_pipe = {
    .scheme = "pipe",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE |
                    HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .dear = true,
    .listen = rendezvous_listen,
    .greet = rendezvous_greet,
    .unlisten = rendezvous_unlisten,
    .connect = rendezvous_connect,
    .pair = rendezvous_pair,
    .begin = rendezvous_begin,
    .pack = pipe_pack,
    .unpack = pipe_unpack,
    .create = pipe_create,
    .join = pipe_join,
    .offer = pipe_offer,
    .meet = pipe_meet,
    .note = stream_note,
    .send = stream_send,
    .progress = stream_progress,
    STREAM_OPERATIONS,
    .loan = stream_loan,
    .recv = stream_recv,
    .take = stream_take,
    .ready = stream_ready,
    .room = stream_room,
    .ask = stream_ask,
    .acked = stream_acked,
    .drained = stream_drained,
    .close = pipe_close,
    .arm = stream_arm,
    .disarm = stream_disarm,
    .woken = stream_woken,
    .look = stream_look,
};
