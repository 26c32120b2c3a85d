/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* How a raiser gets to what it raises: over the rendezvous of all local mechanisms, credentials checked on both sides, by
 * name; or by a ticket, one end of a socket pair in which the waiter's hello is queued already. The hello hands over:
 *
 *   over eventfd   an eventfd, made for this raiser (or this ticket)
 *   over signal    the signal's number. The process is found by the socket: SO_PEERPIDFD (Linux 6.5), else the pid of the kernel's
 *                  credentials, with a look after that the socket is not hung up: it is before a dead one's pid is given anew
 *
 * After that neither says anything more: the socket is there to hang up. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "core/access.h"
#include "core/rendezvous.h"
#include "sync/event.h"

#include <errno.h>
#include <string.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5, include/uapi/asm-generic/socket.h */
#endif

#define OFFER_VERSION 1
#define LEAST_REAL_TIME 34 /* below are the C libraries' own */
#define GLANCE_NS 1000000
#define WELCOMES_AT_ONCE 16

/* What follows a hello; host byte order, as the hello says. */
struct event_offer {
    uint32_t version;
    uint32_t signal; /* over signal, from the waiter; else 0 */
};

_Static_assert(sizeof(struct event_offer) == 8, "it crosses between processes of different builds");

struct event_link {
    struct link link;
    int bell;
    uint32_t signal;
    bool joined;    /* the waiter's: it has a place in the crowd, so that nothing can go wrong once the hello is out */
    uint32_t place;
};

static struct event_link *own_link(struct link *link) { return (struct event_link *)(void *)link; }

/* ---- The table that core's rendezvous drives ---- */

static const struct transport bell_transport, signal_transport;

static int link_create(const struct transport *transport, const struct options *options, enum link_role role, struct link **ret_link) {
    struct event_link *link = memory_new(sizeof *link);
    if (!link)
        return error_note(-ENOMEM, "no memory for an event");
    link_init(&link->link, transport, options, role);
    link->bell = -1;
    *ret_link = &link->link;
    return 0;
}

static int bell_create(const struct options *options, enum link_role role, struct link **ret_link) {
    return link_create(&bell_transport, options, role, ret_link);
}

static int signal_create(const struct options *options, enum link_role role, struct link **ret_link) {
    return link_create(&signal_transport, options, role, ret_link);
}

/* The waiter's event; a raiser's link has none. */
static struct hawser_event *event_of(const struct link *link) {
    return link->role == LINK_LISTEN ? link->options.admit_context : NULL;
}

static void link_close(struct link *link, bool owner) {
    (void)owner;
    if (own_link(link)->joined)
        crowd_forget(&event_of(link)->crowd, own_link(link)->place);
    cleanup_close(&own_link(link)->bell);
    link_deinit(link);
    memory_free(link);
}

/* [eventfd, the waiter's] Non-blocking, for the raiser; how the waiter reads it does not depend on that. */
static int offer_bell(struct event_link *link, struct offer *offer) {
    int bell = sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0)
        return error_set(bell, "cannot make an eventfd: %s", error_text(bell));
    link->bell = bell;
    int given = sys_fcntl(bell, F_DUPFD_CLOEXEC, 0);
    if (given < 0)
        return error_set(given, "cannot duplicate an eventfd: %s", error_text(given));
    offer->fds[0] = given;
    offer->n_fds = 1;
    return 0;
}

static int join(struct hawser_event *event, struct event_link *link) {
    int error = crowd_join(&event->crowd, link->link.peer.socket, link->bell, link->link.peer.uid, &link->place);
    link->joined = error == 0;
    return error;
}

static int link_offer(struct link *link, struct offer *ret_offer) {
    struct hawser_event *event = event_of(link);
    struct event_offer offer = { .version = OFFER_VERSION };
    if (event)
        offer.signal = (uint32_t)event->signal;
    memcpy(ret_offer->data, &offer, sizeof offer);
    ret_offer->size = sizeof offer;
    if (!event)
        return 0;
    int error = link->transport == &bell_transport ? offer_bell(own_link(link), ret_offer) : 0;
    return error ? error : join(event, own_link(link));
}

/* What a hostile waiter gives as its eventfd must not be a thing that raises SIGPIPE, or blocks, when written to: an eventfd is an
 * inode without a type, as all others that are not files, pipes, sockets or devices. */
static int take_bell(struct event_link *link, struct offer *offer) {
    struct stat status;
    if (offer->n_fds != 1)
        return error_set(-EPROTO, "the waiter's hello brings %u descriptors, expected 1", offer->n_fds);
    int error = sys_fstat(offer->fds[0], &status);
    if (error < 0 || (status.st_mode & S_IFMT) != 0)
        return error_note(-EPROTO, "what the waiter's hello brings is no eventfd");
    link->bell = steal_fd(&offer->fds[0]);
    return 0;
}

static int link_meet(struct link *link, struct offer *offer) {
    struct event_offer theirs;
    if (offer->size != sizeof theirs)
        return error_set(-EPROTO, "an event's hello of %zu bytes, expected %zu", offer->size, sizeof theirs);
    memcpy(&theirs, offer->data, sizeof theirs);
    if (theirs.version != OFFER_VERSION)
        return error_set(-EPROTO, "version %u of events, expected %d", theirs.version, OFFER_VERSION);
    struct hawser_event *event = event_of(link);
    if (event)
        return crowd_room(&event->crowd, link->peer.uid);
    if (link->transport == &bell_transport)
        return take_bell(own_link(link), offer);
    if (theirs.signal < LEAST_REAL_TIME || theirs.signal > SIGNAL_LAST)
        return error_set(-EPROTO, "the waiter's signal is %u, which is not real-time", theirs.signal);
    own_link(link)->signal = theirs.signal;
    return 0;
}

/* clang-format off */
#define TRANSPORT(SCHEME, CREATE) { \
    .scheme = SCHEME, .capabilities = HAWSER_CAN_CREDENTIALS, .listen = rendezvous_listen, .greet = rendezvous_greet, \
    .unlisten = rendezvous_unlisten, .create = CREATE, .offer = link_offer, .meet = link_meet, .close = link_close }
/* clang-format on */

static const struct transport bell_transport = TRANSPORT("eventfd", bell_create);
static const struct transport signal_transport = TRANSPORT("signal", signal_create);

static const struct transport *transport_of(const struct hawser_event *event) {
    return event->variant == &event_signal ? &signal_transport : &bell_transport;
}

/* ---- The waiter ---- */

static int admit(void *context, const struct hawser_peer *peer) {
    struct hawser_event *event = context;
    return event->options.admit(event->options.admit_context, peer);
}

/* Its links find the event by it. */
static struct options listener_options(struct hawser_event *event) {
    struct options options = event->options;
    options.admit = event->options.admit ? admit : NULL;
    options.admit_context = event;
    return options;
}

int event_listen(struct hawser_event *event) {
    struct options options = listener_options(event);
    event->address.transport = transport_of(event);
    return listener_open(&event->address, &options, &event->crowd.listener);
}

/* Of one that was welcomed all that is kept is what the crowd has. */
static void keep(struct link *link) {
    link->peer.socket = own_link(link)->bell = -1;
    own_link(link)->joined = false;
    link_close(link, true);
}

void event_welcome(struct hawser_event *event) {
    struct link *link;
    for (unsigned i = 0; i < WELCOMES_AT_ONCE; i++) {
        if (listener_step(event->crowd.listener, &link) < 0) /* who was turned away was told why */
            return;
        event->raiser = link->peer.pid;
        event->ladder.until_placed = 0; /* where it runs counts from now on */
        keep(link);
    }
}

static int ticket_sockets(int *ret_fds) {
    static const int on = 1;
    int error = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds);
    if (error < 0)
        return error_set(error, "cannot make a ticket's sockets: %s", error_text(error));
    error = sys_setsockopt(ret_fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on); /* before the hello is sent */
    if (error >= 0)
        return 0;
    sys_close(ret_fds[0]);
    sys_close(ret_fds[1]);
    return error_set(error, "cannot ask for credentials: %s", error_text(error));
}

int event_ticket(struct hawser_event *event, int *ret_fd) {
    struct options options = listener_options(event);
    struct link *link = NULL;
    int fds[2];
    if (crowd_room(&event->crowd, (uid_t)-1) < 0 && !crowd_sweep(&event->crowd))
        return error_note(-EUSERS, "the event has as many raisers as it can have");
    int error = ticket_sockets(fds);
    if (error)
        return error;
    cleanup_fd ticket = fds[1];
    error = link_create(transport_of(event), &options, LINK_LISTEN, &link);
    if (error) {
        sys_close(fds[0]);
        return error;
    }
    link->peer.socket = fds[0];
    error = rendezvous_begin(link);
    if (error) {
        link_close(link, true);
        return error;
    }
    keep(link);
    *ret_fd = steal_fd(&ticket);
    return 0;
}

/* ---- A raiser ---- */

static bool hung_up(int socket, int pidfd) {
    static const struct timespec at_once = { 0, 0 };
    struct pollfd fds[2] = { { .fd = socket, .events = POLLRDHUP }, { .fd = pidfd, .events = POLLIN } };
    return sys_ppoll(fds, 2, &at_once, NULL) > 0;
}

/* The process that the socket leads to, whatever its pid is or will be. Who said hello must have made the socket: else it could
 * name one that we may signal, and it may not. */
static int find_process(struct link *link) {
    int pidfd = -1;
    socklen_t length = sizeof pidfd;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    int error = access_credentials(link->peer.socket, &pid, &uid, &gid);
    if (error < 0)
        return error;
    if (pid != link->peer.pid)
        return error_set(-EPROTO, "the hello is of process %d, its socket of process %d", link->peer.pid, pid);
    error = sys_getsockopt(link->peer.socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length);
    if (error >= 0) {
        cleanup_close(&link->peer.pidfd);
        link->peer.pidfd = pidfd;
    }
    return link->peer.pidfd < 0 || hung_up(link->peer.socket, link->peer.pidfd) ? event_waiter_gone_error() : 0;
}

/* Takes what the link brought. */
static int take_link(struct hawser_event *event, struct link *link) {
    struct event_link *own = own_link(link);
    bool signals = link->transport == &signal_transport;
    int error = signals ? find_process(link) : 0;
    if (error)
        return error;
    event->socket = steal_fd(&link->peer.socket);
    event->pidfd = steal_fd(&link->peer.pidfd);
    event->signal = (int)own->signal;
    event->bell = signals ? event->pidfd : steal_fd(&own->bell);
    if (signals)
        event->pidfd = -1; /* the bell is it */
    return 0;
}

int event_connect(struct hawser_event *event, int64_t deadline) {
    struct link *link;
    event->address.transport = transport_of(event);
    int error = rendezvous_connect(&event->address, &event->options, deadline, &link);
    if (error)
        return error;
    error = take_link(event, link);
    link_close(link, true);
    return error;
}

/* Descriptors stay in the ticket: to close one of an object that this process has open would tell the others that it died. */
const struct event_variant *event_ticket_variant(int fd) {
    struct {
        struct note note;
        struct hello hello;
    } begin = { 0 };
    ssize_t n;
    do
        n = sys_recv(fd, &begin, sizeof begin, MSG_PEEK | MSG_DONTWAIT);
    while (n == -EINTR);
    if (n != sizeof begin || begin.note.type != NOTE_HELLO || begin.hello.magic != HELLO_MAGIC)
        return &event_futex;
    return strncmp(begin.hello.scheme, signal_transport.scheme, sizeof begin.hello.scheme) == 0 ? &event_signal : &event_bell;
}

/* The hello stays in the ticket, for the next. */
static int read_ticket(struct link *link, const struct options *options) {
    struct packet packet;
    int error = packet_receive(link->peer.socket, true, &packet);
    if (error)
        return error == -EAGAIN || error == -EPIPE ? error_note(-EPROTO, "the descriptor is no ticket of an event") : error;
    if (packet.starved)
        error = error_note(-EMFILE, "no descriptors left for those of a ticket; raise RLIMIT_NOFILE");
    if (!error && options->peer_given)
        error = access_expect(options, packet.uid, packet.gid);
    if (!error)
        error = rendezvous_hello(link, &packet);
    packet_close(&packet);
    return error;
}

int event_adopt(struct hawser_event *event, int fd) {
    struct link *link = NULL;
    int error = link_create(transport_of(event), &event->options, LINK_PAIR, &link);
    if (error)
        return error;
    link->peer.socket = sys_fcntl(fd, F_DUPFD_CLOEXEC, 0);
    error = link->peer.socket < 0 ? error_set(link->peer.socket, "cannot duplicate a ticket: %s", error_text(link->peer.socket)) : 0;
    if (!error)
        error = read_ticket(link, &event->options);
    if (!error && hung_up(link->peer.socket, -1))
        error = event_waiter_gone_error();
    if (!error)
        error = take_link(event, link);
    link_close(link, true);
    return error;
}

int event_waiter_gone_error(void) { return error_note(-EPIPE, "the waiter is gone: nobody hears what is raised"); }

bool event_waiter_gone(struct hawser_event *event) {
    if (load_relaxed(&event->gone))
        return true;
    int64_t now_ns = clock_coarse(); /* a tick is a few ms, its reading a quarter of clock_now's */
    if (now_ns - load_relaxed(&event->looked_ns) < GLANCE_NS)
        return false;
    store_relaxed(&event->looked_ns, now_ns);
    bool gone = hung_up(event->socket, event->pidfd >= 0 ? event->pidfd : event->variant == &event_signal ? event->bell : -1);
    store_relaxed(&event->gone, gone);
    return gone;
}
