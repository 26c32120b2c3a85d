/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A Unix stream socket makes a channel: at a path, under an abstract name, or as a pair. Who the peer is comes from the
 * kernel: SO_PEERCRED before a word is said, SCM_CREDENTIALS with the hello (it names the process that speaks, not the one
 * that once called listen). A plain SP peer says no hello, so the pid of one that listens stays unknown. */

#include "transport/unix/unix.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/access.h"

#include <errno.h>
#include <string.h>

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

extern const struct transport transport_unix;

static struct unix_link *unix_of(struct link *link) { return (struct unix_link *)link; }

static struct stream *unix_create(const struct options *options, enum link_role role, enum framing framing) {
    struct unix_link *self = memory_new(sizeof *self);
    if (!self)
        return NULL;
    stream_init(&self->stream, &transport_unix, options, role, &unix_io, framing);
    self->expects_hello = role == LINK_PAIR;
    self->who.pid = -1;
    return &self->stream;
}

static void set_buffer(int fd, const struct options *options) {
    int bytes = options->buffer > INT32_MAX ? INT32_MAX : options->buffer > 0 ? (int)options->buffer : WIRE_UNIX_BUFFER;
    sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* a wish: the kernel cuts it to net.core.wmem_max */
}

/* ---- Places ---- */

/* /PATH or @NAME; the rest of what a path may be, name_resolve and the kernel know. */
static int check_place(const struct address *address) {
    unsigned at = (unsigned)(strlen(address->transport->scheme) + strlen("://"));
    size_t length = strlen(address->place);
    if (address->place[0] != '/' && address->place[0] != '@')
        return address_error(address, at, "expected an absolute path or @NAME");
    if (address->place[0] == '@' && length == 1)
        return address_error(address, at + 1, "expected a name after @");
    if (length >= sizeof((struct name *)0)->path)
        return address_error(address, at + (unsigned)sizeof((struct name *)0)->path, "the name of a Unix socket ends before here");
    return 0;
}

static int listen_abstract(const char *place, int *ret_fd) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(place);
    memcpy(address.sun_path + 1, place + 1, length - 1);
    cleanup_fd fd = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(fd, "cannot make a Unix socket: %s", error_text(fd));
    int r = sys_bind(fd, (const struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    if (r >= 0)
        r = sys_listen(fd, BACKLOG);
    if (r < 0)
        return error_set(r, r == -EADDRINUSE ? "a live listener has the name \"%s\"%s" : "cannot listen at \"%s\": %s", place,
                         r == -EADDRINUSE ? "" : error_text(r));
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int unix_listen(struct hawser_listener *listener) {
    char path[sizeof listener->name.path];
    int r = check_place(&listener->address);
    if (r == 0 && listener->address.place[0] == '@')
        r = listen_abstract(listener->address.place, &listener->fd);
    else if (r == 0)
        r = name_resolve(&listener->address, path, sizeof path);
    if (r == 0 && listener->fd < 0)
        r = name_take_socket(path, SOCK_STREAM, access_mode(&listener->options), &listener->name, &listener->fd);
    if (r < 0)
        return r;
    listener->local = true;
    snprintf(listener->bound, sizeof listener->bound, "unix://%.240s", listener->address.place);
    return 0;
}

static void unix_unlisten(struct hawser_listener *listener) { name_release(&listener->name); }

static int unix_dial(const struct address *address, const struct options *options, int64_t deadline,
                     struct dialled *ret_dialled) {
    cleanup_fd fd = -1;
    pid_t pid;
    int r = name_connect_socket(address->place, SOCK_STREAM, deadline, &fd);
    if (r == 0)
        r = access_credentials(fd, &pid, &ret_dialled->uid, &ret_dialled->gid);
    if (r == 0)
        r = access_expect(options, ret_dialled->uid, ret_dialled->gid);
    if (r < 0)
        return r;
    set_buffer(fd, options);
    ret_dialled->fd = steal_fd(&fd);
    return 0;
}

static const struct wire unix_wire = {
    .transport = &transport_unix,
    .local = true,
    .plain = FRAMING_SP_IPC,
    .create = unix_create,
    .dial = unix_dial,
};

static int unix_greet(struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    int r = wire_greet(&unix_wire, listener, pending, ret_link);
    if (r == 0)
        set_buffer(stream_of(*ret_link)->write_fd, &listener->options);
    return r;
}

static int unix_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link) {
    int r = check_place(address);
    return r < 0 ? r : wire_connect(&unix_wire, address, options, deadline, ret_link);
}

/* ---- Pairs ---- */

/* Takes fd, also when it fails. */
static int make_end(const struct options *options, int fd, struct link **ret_link) {
    cleanup_fd own = fd;
    int r = wire_ask_credentials(fd, true); /* before the other end can have sent anything: so its hello has them */
    if (r < 0)
        return r;
    struct stream *stream = unix_create(options, LINK_PAIR, FRAMING_NATIVE);
    if (!stream)
        return error_note(-ENOMEM, "no memory for a link");
    stream->read_fd = stream->write_fd = steal_fd(&own);
    *ret_link = &stream->link;
    return 0;
}

static int unix_pair(const struct transport *self, const struct options *options, struct link **ret_a, struct link **ret_b) {
    struct link *a, *b;
    int fds[2];
    (void)self;
    int r = sys_socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
    if (r < 0)
        return error_set(r, "cannot make a pair of sockets: %s", error_text(r));
    set_buffer(fds[0], options);
    set_buffer(fds[1], options);
    r = make_end(options, fds[0], &a);
    if (r < 0) {
        sys_close(fds[1]);
        return r;
    }
    r = make_end(options, fds[1], &b);
    if (r < 0) {
        stream_close(a, false);
        return r;
    }
    *ret_a = a;
    *ret_b = b;
    return 0;
}

static int unix_begin(struct link *link) { return wire_begin(&unix_wire, link); }

static int unix_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    int r = wire_check_offer(offer, AF_UNIX, AF_UNIX);
    return r < 0 ? r : make_end(options, steal_fd(&offer->fds[0]), ret_link);
}

/* The end of a pair that waits in the socket unread tells who sent it; it stays there for the stream to read. */
static void peek_hello(struct unix_link *self) {
    uint8_t kind;
    union wire_control control;
    struct iovec vector = { &kind, 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = CMSG_SPACE(sizeof(struct ucred)) };
    ssize_t got = sys_recvmsg(self->stream.read_fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct ucred who = { .pid = -1 };
    if (got > 0)
        who = wire_credentials(&message);
    if (who.pid >= 0)
        unix_know(self, &who);
}

static void unix_look(struct link *link) {
    if (link->role == LINK_PAIR && !load_acquire(&link->peer.known)) /* pairs with peer_know */
        peek_hello(unix_of(link));
    stream_look(link);
}

/* ---- The end ---- */

/* Also tells the end to a plain SP peer while a forked child of ours holds the socket open. What the peer has not read yet
 * stays readable. */
static int unix_drained(struct link *link) {
    int r = stream_drained(link);
    if (r == 0)
        sys_shutdown(stream_of(link)->write_fd, SHUT_RDWR);
    return r;
}

static void unix_close(struct link *link, bool owner) {
    unix_forget_fds(unix_of(link));
    stream_close(link, owner);
}

const struct transport transport_unix = {
    .scheme = "unix",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_DESCRIPTORS | HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR |
                    HAWSER_CAN_GOODBYE | HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .dear = true,
    .naps = true,
    .listen = unix_listen,
    .greet = unix_greet,
    .refuse = wire_refuse,
    .unlisten = unix_unlisten,
    .connect = unix_connect,
    .pair = unix_pair,
    .begin = unix_begin,
    .pack = wire_pack,
    .unpack = unix_unpack,
    WIRE_STREAM_OPERATIONS,
    .arm = stream_arm,
    .drained = unix_drained,
    .close = unix_close,
    .look = unix_look,
};
