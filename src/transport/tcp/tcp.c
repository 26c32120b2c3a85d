/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* TCP makes a channel: v4 and v6, names tried in turn, a pair over loopback.
 *
 * Closing. A kernel that still gets data for a closed socket, or closes one with data unread, answers with a reset, and a
 * reset throws away what of ours has not been acknowledged. So close hangs up its writing side, throws away what comes in, and
 * waits (within linger) until the peer's kernel has acknowledged every byte; not if the peer has hung up as well. */

#include "transport/tcp/tcp.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "core/wire.h"

#include <errno.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#define BACKLOG 4096          /* the kernel cuts it to net.core.somaxconn */
#define KEEPALIVE_IDLE_S 60   /* a silent peer is asked after this long ... */
#define KEEPALIVE_INTERVAL_S 10 /* ... again this often ... */
#define KEEPALIVE_COUNT 6     /* ... and is gone after so many questions: two minutes in all */
#define NEXT_ADDRESS_NS INT64_C(2000000000) /* a host's next address gets its turn after this long at most */
#define DISCARDS_AT_ONCE 64
#define DISCARD_BYTES ((size_t)1 << 20)

struct tcp_link {
    struct stream stream;
    bool hung_up; /* [S] our writing side */
    bool done;    /* [S] nothing is left to wait for */
};

extern const struct transport transport_tcp;

static const struct stream_io tcp_io = { .read = wire_read, .write = wire_write };
static const struct stream_io tcp_pair_io = { .read = wire_read, .write = wire_write, .hello = wire_hello_seen };

static struct stream *tcp_create(const struct options *options, enum link_role role, enum framing framing) {
    struct tcp_link *self = memory_new(sizeof *self);
    if (!self)
        return NULL;
    stream_init(&self->stream, &transport_tcp, options, role, role == LINK_PAIR ? &tcp_pair_io : &tcp_io, framing);
    return &self->stream;
}

static void set_number(int fd, int level, int name, int value) { sys_setsockopt(fd, level, name, &value, sizeof value); }

/* Wishes, all of them. Before connect and listen, as the buffer decides the window's scale; an accepted socket inherits them,
 * but is not relied on to. */
static void set_manners(int fd, const struct options *options) {
    set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    int bytes = options->buffer > INT32_MAX ? INT32_MAX : (int)options->buffer;
    if (bytes > 0) {
        set_number(fd, SOL_SOCKET, SO_SNDBUF, bytes);
        set_number(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    }
}

static int make_socket(int family, const struct options *options, int *ret_fd) {
    int fd = sys_socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return error_set(fd, "cannot make a TCP socket: %s", error_text(fd));
    set_manners(fd, options);
    *ret_fd = fd;
    return 0;
}

/* Names of both ends of a connected socket. */
static int ask_names(int fd, struct sockaddr_storage *ret_own, struct sockaddr_storage *ret_peer) {
    socklen_t own = sizeof *ret_own, peer = sizeof *ret_peer;
    memset(ret_own, 0, sizeof *ret_own);
    memset(ret_peer, 0, sizeof *ret_peer);
    int r = sys_getsockname(fd, (struct sockaddr *)ret_own, &own);
    return r < 0 ? r : sys_getpeername(fd, (struct sockaddr *)ret_peer, &peer);
}

/* ---- Listening ---- */

static int listen_at(const struct sockaddr *name, socklen_t length, const struct options *options, int *ret_fd) {
    cleanup_fd fd = -1;
    int r = make_socket(name->sa_family, options, &fd);
    if (r < 0)
        return r;
    set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* connections of a listener that is gone do not bar the next */
    if (name->sa_family == AF_INET6)
        set_number(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    r = sys_bind(fd, name, length);
    if (r >= 0)
        r = sys_listen(fd, BACKLOG);
    if (r < 0)
        return r;
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* The first address of the host that can be bound. For any host v6 comes first, as it takes v4 too. */
static int listen_first(const struct addrinfo *list, bool any, const struct options *options, int *ret_fd) {
    static const int families[] = { AF_INET6, AF_INET };
    int r = -EADDRNOTAVAIL;
    if (!any) {
        for (const struct addrinfo *entry = list; entry && r < 0; entry = entry->ai_next)
            r = listen_at(entry->ai_addr, entry->ai_addrlen, options, ret_fd);
        return r;
    }
    for (unsigned i = 0; i < 2 && r < 0 && r != -EADDRINUSE; i++)
        for (const struct addrinfo *entry = list; entry && r < 0; entry = entry->ai_next)
            if (entry->ai_family == families[i])
                r = listen_at(entry->ai_addr, entry->ai_addrlen, options, ret_fd);
    return r;
}

static int tcp_listen(struct hawser_listener *listener) {
    struct tcp_place place;
    struct addrinfo *list;
    struct sockaddr_storage name = { 0 };
    socklen_t length = sizeof name;
    int r = tcp_parse(&listener->address, true, &place);
    if (r == 0)
        r = tcp_resolve(&place, &list);
    if (r < 0)
        return r == -EAGAIN ? -EHOSTUNREACH : r;
    r = listen_first(list, !place.host[0], &listener->options, &listener->fd);
    freeaddrinfo(list);
    if (r >= 0)
        r = sys_getsockname(listener->fd, (struct sockaddr *)&name, &length);
    if (r == -EADDRINUSE)
        return error_set(r, "a live listener has port %s", place.port);
    if (r < 0)
        return error_set(r, "cannot listen at %s: %s", listener->address.place, error_text(r));
    memcpy(listener->bound, "tcp://", sizeof "tcp://");
    tcp_show(&name, listener->bound + strlen("tcp://"), sizeof listener->bound - strlen("tcp://"));
    return 0;
}

static void tcp_unlisten(struct hawser_listener *listener) { (void)listener; }

/* ---- Connecting ---- */

static bool past(int64_t deadline) {
    return deadline == DEADLINE_PAST || (deadline != DEADLINE_NEVER && clock_now() >= deadline);
}

/* Until the connection stands: 0, or why it does not; -ETIMEDOUT at the deadline. */
static int await_connection(int fd, int64_t deadline) {
    for (;;) {
        struct pollfd fds[2];
        struct sleep_set set = { .fds = fds };
        sleep_add(&set, fd, POLLOUT);
        if (sleep_until(&set, waker_self(), deadline) > 0) {
            int error = 0;
            socklen_t length = sizeof error;
            int r = sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
            return r < 0 ? r : -error;
        }
        if (past(deadline))
            return -ETIMEDOUT;
    }
}

/* A connection to a free port of this machine can meet itself, when the kernel happens to choose that very port. */
static int check_connection(int fd, struct dialled *dialled) {
    struct sockaddr_storage own, peer;
    int r = ask_names(fd, &own, &peer);
    if (r < 0)
        return r;
    if (memcmp(&own, &peer, sizeof own) == 0)
        return -ECONNREFUSED;
    tcp_show(&peer, dialled->remote, sizeof dialled->remote);
    return 0;
}

static int dial_at(const struct addrinfo *entry, const struct options *options, int64_t deadline, struct dialled *ret_dialled) {
    cleanup_fd fd = -1;
    int r = make_socket(entry->ai_family, options, &fd);
    if (r < 0)
        return r;
    r = sys_connect(fd, entry->ai_addr, entry->ai_addrlen);
    if (r == -EINPROGRESS || r == -EINTR)
        r = await_connection(fd, deadline);
    if (r >= 0)
        r = check_connection(fd, ret_dialled);
    if (r < 0)
        return r;
    ret_dialled->fd = steal_fd(&fd);
    return 0;
}

static bool nobody_yet(int error) {
    return error == -ECONNREFUSED || error == -ECONNRESET || error == -ETIMEDOUT || error == -EAGAIN || error == -ENOTCONN ||
           error == -EADDRNOTAVAIL /* the kernel's free ports ran out */;
}

static int dial_list(const struct addrinfo *list, const struct address *address, const struct options *options, int64_t deadline,
                     struct dialled *ret_dialled) {
    int worst = -ECONNREFUSED;
    bool yet = false;
    for (const struct addrinfo *entry = list; entry; entry = entry->ai_next) {
        int64_t turn = deadline;
        if (entry->ai_next && deadline != DEADLINE_PAST)
            turn = deadline_earlier(deadline, clock_now() + NEXT_ADDRESS_NS);
        int r = dial_at(entry, options, turn, ret_dialled);
        if (r == 0)
            return 0;
        worst = r;
        yet = yet || nobody_yet(r);
    }
    if (yet)
        return error_set(-EAGAIN, "no listener at %s (%s)", address->place, error_text(worst));
    return error_set(worst, "cannot connect to %s: %s", address->place, error_text(worst));
}

static int tcp_dial(const struct address *address, const struct options *options, int64_t deadline, struct dialled *ret_dialled) {
    struct tcp_place place;
    struct addrinfo *list;
    if (options->peer_given && !options->peer.any)
        return error_set(-EOPNOTSUPP, "tcp cannot tell who listens: leave peer out, or use a local mechanism");
    int r = tcp_parse(address, false, &place);
    if (r == 0)
        r = tcp_resolve(&place, &list);
    if (r < 0)
        return r;
    r = dial_list(list, address, options, deadline, ret_dialled);
    freeaddrinfo(list);
    return r;
}

static const struct wire tcp_wire = {
    .transport = &transport_tcp,
    .plain = FRAMING_SP,
    .create = tcp_create,
    .dial = tcp_dial,
};

static int tcp_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link) {
    return wire_connect(&tcp_wire, address, options, deadline, ret_link);
}

static int tcp_greet(struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    struct sockaddr_storage own, peer;
    if (pending->got == 0)
        set_manners(pending->fd, &listener->options);
    int r = wire_greet(&tcp_wire, listener, pending, ret_link);
    if (r == 0 && ask_names(pending->fd, &own, &peer) >= 0)
        tcp_show(&peer, (*ret_link)->address, sizeof (*ret_link)->address);
    return r;
}

/* ---- Pairs ---- */

static int listen_loopback(const struct options *options, struct sockaddr_storage *ret_name, socklen_t *ret_length, int *ret_fd) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int r = listen_at((const struct sockaddr *)&v4, sizeof v4, options, ret_fd);
    if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)
        r = listen_at((const struct sockaddr *)&v6, sizeof v6, options, ret_fd);
    *ret_length = sizeof *ret_name;
    return r < 0 ? r : sys_getsockname(*ret_fd, (struct sockaddr *)ret_name, ret_length);
}

/* Anyone on this machine may connect to the listener: only the one whose names mirror ours is our other end. 1, 0, or an error:
 * to pass over our own for want of its name would be to wait for ever. */
static int mirrors(int a, int b) {
    struct sockaddr_storage a_own, a_peer, b_own, b_peer;
    int r = ask_names(a, &a_own, &a_peer);
    if (r < 0)
        return r;
    r = ask_names(b, &b_own, &b_peer);
    if (r < 0)
        return r == -ENOTCONN ? 0 : r; /* a stranger who has gone already */
    return memcmp(&a_own, &b_peer, sizeof a_own) == 0 && memcmp(&a_peer, &b_own, sizeof a_peer) == 0;
}

static int accept_own(int listener, int a, int *ret_b) {
    for (;;) {
        struct pollfd fds[2];
        struct sleep_set set = { .fds = fds };
        sleep_add(&set, listener, POLLIN);
        sleep_until(&set, waker_self(), DEADLINE_NEVER); /* a stands, so its other end is on its way */
        cleanup_fd b = sys_accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r = b >= 0 ? mirrors(a, b) : 0;
        if (r > 0)
            *ret_b = steal_fd(&b);
        if (r != 0)
            return r < 0 ? r : 0;
        if (b < 0 && b != -EAGAIN && b != -EINTR && b != -ECONNABORTED)
            return b;
    }
}

static int connect_loopback(const struct options *options, int *ret_a, int *ret_b) {
    struct sockaddr_storage name = { 0 };
    socklen_t length;
    cleanup_fd listener = -1, a = -1;
    int r = listen_loopback(options, &name, &length, &listener);
    if (r < 0)
        return r;
    r = make_socket(name.ss_family, options, &a);
    if (r == 0)
        r = sys_connect(a, (const struct sockaddr *)&name, length);
    if (r == -EINPROGRESS || r == -EINTR)
        r = await_connection(a, DEADLINE_NEVER);
    if (r >= 0)
        r = accept_own(listener, a, ret_b);
    if (r < 0)
        return r;
    set_manners(*ret_b, options);
    *ret_a = steal_fd(&a);
    return 0;
}

/* Takes fd, also when it fails. */
static int make_end(const struct options *options, int fd, struct link **ret_link) {
    struct sockaddr_storage own, peer;
    cleanup_fd mine = fd;
    struct stream *stream = tcp_create(options, LINK_PAIR, FRAMING_NATIVE);
    if (!stream)
        return error_note(-ENOMEM, "no memory for a link");
    if (ask_names(fd, &own, &peer) >= 0)
        tcp_show(&peer, stream->link.address, sizeof stream->link.address);
    stream->read_fd = stream->write_fd = steal_fd(&mine);
    *ret_link = &stream->link;
    return 0;
}

static int tcp_pair(const struct transport *self, const struct options *options, struct link **ret_a, struct link **ret_b) {
    int a = -1, b = -1;
    struct link *first;
    (void)self;
    int r = connect_loopback(options, &a, &b);
    if (r < 0)
        return error_set(r, "cannot connect two sockets over loopback: %s", error_text(r));
    r = make_end(options, a, &first);
    if (r < 0) {
        sys_close(b);
        return r;
    }
    r = make_end(options, b, ret_b);
    if (r < 0)
        stream_close(first, false);
    else
        *ret_a = first;
    return r;
}

/* Nobody tells a TCP peer's pid. But over loopback a segment is received on the CPU that sent it (its softirq runs there), so a
 * thread bound to one CPU learns from SO_INCOMING_CPU whether its peer shares it. With a network card between, the answer is
 * the card's interrupt's CPU: then not to spin where that shares ours is right as well. */
static int tcp_apart(struct link *link) {
    int apart = process_apart(-1), cpu = -1;
    socklen_t length = sizeof cpu;
    if (apart >= 0 || sys_getsockopt(stream_of(link)->read_fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &length) < 0 || cpu < 0)
        return apart;
    int own = process_cpu();
    return own < 0 ? -1 : cpu != own;
}

static int tcp_begin(struct link *link) { return wire_begin(&tcp_wire, link); }

static int tcp_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    int r = wire_check_offer(offer, AF_INET, AF_INET6);
    return r < 0 ? r : make_end(options, steal_fd(&offer->fds[0]), ret_link);
}

/* ---- The end ---- */

/* What comes in from now on is for nobody. Returns true once nothing can come any more. */
static bool discard_input(int fd) {
    for (unsigned i = 0; i < DISCARDS_AT_ONCE; i++) {
        ssize_t got = sys_recv(fd, NULL, DISCARD_BYTES, MSG_DONTWAIT | MSG_TRUNC); /* tcp(7): thrown away, not copied */
        if (got == -EAGAIN || got == -EINTR || got == -ENOMEM)
            return false;
        if (got <= 0)
            return true;
    }
    return false;
}

/* Has the peer's kernel all that we sent? The hang-up itself counts as a byte, but matters to nobody. */
static bool all_acknowledged(int fd) {
    int unacknowledged = 0;
    return sys_ioctl(fd, TIOCOUTQ, &unacknowledged) < 0 || unacknowledged <= 1;
}

static int tcp_drained(struct link *link) {
    struct tcp_link *self = (struct tcp_link *)link;
    int fd = self->stream.write_fd;
    int r = self->hung_up ? 0 : stream_drained(link);
    if (r != 0 || self->done)
        return r;
    bool first = !self->hung_up;
    if (first)
        sys_shutdown(fd, SHUT_WR);
    self->hung_up = true;
    self->done = discard_input(fd) || all_acknowledged(fd);
    if (self->done || first)
        return self->done ? 0 : -EAGAIN;
    /* No descriptor tells of an acknowledgement, so the one operation that naps: a millisecond at a time, while closing. */
    struct pollfd poll = { .fd = fd, .events = POLLIN };
    struct timespec nap = { .tv_nsec = 1000000 };
    sys_ppoll(&poll, 1, &nap, NULL);
    return -EAGAIN;
}

/* While it waits for acknowledgements there is nothing to sleep on. */
static int tcp_arm(struct link *link, enum want want, struct sleep_set *set) {
    return ((struct tcp_link *)link)->hung_up ? 1 : stream_arm(link, want, set);
}

const struct transport transport_tcp = {
    .scheme = "tcp",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_REMOTE | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE |
                    HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .apart = tcp_apart,
    .dear = true,
    .naps = true,
    .listen = tcp_listen,
    .greet = tcp_greet,
    .refuse = wire_refuse,
    .unlisten = tcp_unlisten,
    .connect = tcp_connect,
    .pair = tcp_pair,
    .begin = tcp_begin,
    .pack = wire_pack,
    .unpack = tcp_unpack,
    WIRE_STREAM_OPERATIONS,
    .arm = tcp_arm,
    .drained = tcp_drained,
    .close = stream_close,
    .look = stream_look,
};
