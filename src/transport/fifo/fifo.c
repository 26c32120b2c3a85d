/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A named FIFO, one way: the connecting end writes, holding a flock on it, and the listening end reads. There is no way
 * back: no acknowledgements, no identity of the peer, and what the wrong end asks for is -EOPNOTSUPP. */

#include "transport/fifo/fifo.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/access.h"
#include "core/bytes.h"
#include "core/name.h"
#include "core/pipe_io.h"

#include <errno.h>

#define FIONREAD 0x541bul /* include/uapi/asm-generic/ioctls.h: bytes that wait to be read */

static const struct stream_io fifo_stream_io = { .read = pipe_read, .write = pipe_write };

static bool writes(const struct link *link) { return link->role == LINK_CONNECT; }

static int not_here(const struct link *link) {
    return error_note(-EOPNOTSUPP, writes(link) ? "fifo is one-way: the connecting end only sends"
                                                : "fifo is one-way: the listening end only receives");
}

enum framing fifo_framing(const struct options *options) {
    return options->framing == HAWSER_FRAMING_LINE   ? FRAMING_LINE
           : options->framing == HAWSER_FRAMING_NONE ? FRAMING_NONE : FRAMING_NATIVE;
}

int fifo_link_new(const struct options *options, enum link_role role, int fd, struct link **ret_link) {
    struct stream *stream = memory_new(sizeof *stream);
    if (!stream) {
        sys_close(fd);
        return error_note(-ENOMEM, "fifo: no memory for a link");
    }
    stream_init(stream, &transport_fifo, options, role, &fifo_stream_io, fifo_framing(options));
    stream->link.begun = true;
    if (role == LINK_CONNECT) {
        stream->write_fd = fd;
    } else {
        stream->read_fd = fd;
        stream->sending.shut = stream->sending.closing = true; /* it has nothing to say goodbye on */
    }
    *ret_link = &stream->link;
    return 0;
}

int fifo_path(const struct address *address, char *ret_path, size_t capacity) {
    if (address->place[0] != '/')
        return address_error(address, (unsigned)(sizeof "fifo://" - 1), "expected an absolute path: fifo:///PATH");
    return name_resolve(address, ret_path, capacity);
}

/* ---- Connecting ---- */

/* The writer's turn: the lock is ours, the name still means this FIFO, and nobody's bytes lie in it. 0, or -EAGAIN. */
static int take_turn(const char *path, int fd, const struct stat *status) {
    struct stat now;
    int left = 0;
    int r = sys_flock(fd, LOCK_EX | LOCK_NB);
    if (r < 0)
        return r == -EWOULDBLOCK || r == -EINTR ? -EAGAIN : error_set(r, "cannot lock \"%s\": %s", path, error_text(r));
    r = sys_fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW);
    if (r < 0 || now.st_ino != status->st_ino || now.st_dev != status->st_dev)
        return -EAGAIN;
    r = sys_ioctl(fd, FIONREAD, &left);
    return r < 0 || left > 0 ? -EAGAIN : 0;
}

static int say_hello(int fd) {
    uint8_t hello[8 + FIFO_HELLO] = { 0 };
    struct stream writer = { .write_fd = fd };
    struct iovec vector = { hello, sizeof hello };
    bytes_put64(hello, (uint64_t)FRAME_HELLO << 56 | FIFO_HELLO);
    bytes_put64(hello + 8, (uint64_t)FIFO_MAGIC << 32 | FIFO_VERSION << 16);
    ssize_t written = pipe_write(&writer, &vector, 1);
    return written == (ssize_t)sizeof hello ? 0 : -EAGAIN; /* gone, or full: either way not our turn */
}

/* One try. -EAGAIN: nobody reads there yet, or somebody else writes. */
static int try_open(const char *path, const struct options *options, int *ret_fd) {
    struct stat status;
    cleanup_fd fd = sys_openat(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd == -ENXIO || fd == -ENOENT || fd == -EINTR)
        return -EAGAIN;
    if (fd < 0)
        return error_set(fd, "cannot open \"%s\" to write: %s", path, error_text(fd));
    int r = sys_fstat(fd, &status);
    if (r < 0)
        return error_set(r, "cannot look at \"%s\": %s", path, error_text(r));
    if (!S_ISFIFO(status.st_mode))
        return error_set(-EPROTO, "\"%s\" is no FIFO", path);
    r = access_expect(options, status.st_uid, status.st_gid);
    if (r == 0)
        r = take_turn(path, fd, &status);
    if (r == 0 && fifo_framing(options) == FRAMING_NATIVE)
        r = say_hello(fd);
    if (r == 0)
        *ret_fd = steal_fd(&fd);
    return r;
}

int fifo_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link) {
    char path[sizeof(((struct name *)0)->path)];
    int64_t nap_ns = NAME_NAP_NS;
    int fd = -1;
    int r = fifo_path(address, path, sizeof path);
    if (r < 0)
        return r;
    while ((r = try_open(path, options, &fd)) == -EAGAIN) {
        if (deadline == DEADLINE_PAST)
            return error_set(-EAGAIN, "no listener at \"%s\", or another writer has it", path);
        if (deadline != DEADLINE_NEVER && clock_now() >= deadline)
            return error_set(-ETIMEDOUT, "no listener appeared at \"%s\" in time, or another writer kept it", path);
        name_nap(&nap_ns, deadline);
    }
    return r < 0 ? r : fifo_link_new(options, LINK_CONNECT, fd, ret_link);
}

/* ---- One way ---- */

static int fifo_send(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync,
                     size_t *ret_sent) {
    return writes(link) ? stream_send(link, messages, n, fds, sync, ret_sent) : not_here(link);
}

static int fifo_progress(struct link *link) {
    if (writes(link))
        return stream_progress(link);
    store_seq_cst(&link->ack_due, 0); /* whatever the writer asks for; pairs with unpaid */
    return 0;
}

static int fifo_loan(struct link *link, size_t size, void **ret_data) {
    return writes(link) ? stream_loan(link, size, ret_data) : not_here(link);
}

static int fifo_recv(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size) {
    return writes(link) ? not_here(link) : stream_recv(link, buffer, capacity, fds, ret_size);
}

static int fifo_take(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken) {
    return writes(link) ? not_here(link) : stream_take(link, ret_messages, n, ret_taken);
}

static int fifo_ready(struct link *link) { return writes(link) ? 1 : stream_ready(link); }

static int fifo_room(struct link *link) { return writes(link) ? stream_room(link) : 1; }

static int fifo_no_sync(struct link *link) {
    (void)link;
    return error_note(-EOPNOTSUPP, "fifo has no acknowledgements, so neither send_sync nor flush");
}

static int fifo_acked(struct link *link, uint64_t *ret_taken) {
    (void)ret_taken;
    return fifo_no_sync(link);
}

static int fifo_drained(struct link *link) { return writes(link) ? stream_drained(link) : 0; }

static int fifo_arm(struct link *link, enum want want, struct sleep_set *set) {
    return writes(link) == (want == WANT_SEND) ? stream_arm(link, want, set) : 1;
}

const struct transport transport_fifo = {
    .scheme = "fifo",
    .capabilities = HAWSER_CAN_GOODBYE | HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .dear = true,
    .listen = fifo_listen,
    .accept = fifo_accept,
    .unlisten = fifo_unlisten,
    .connect = fifo_connect,
    .send = fifo_send,
    .progress = fifo_progress,
    STREAM_OPERATIONS,
    .loan = fifo_loan,
    .recv = fifo_recv,
    .take = fifo_take,
    .ready = fifo_ready,
    .room = fifo_room,
    .ask = fifo_no_sync,
    .acked = fifo_acked,
    .drained = fifo_drained,
    .close = stream_close,
    .arm = fifo_arm,
    .disarm = stream_disarm,
    .woken = stream_woken,
    .look = stream_look,
};
