/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Two processes meet: rendezvous.h draws the round trip. Until the credentials of the other end are checked nothing of
 * ours is sent and nothing of its is received; until its hello is checked no mechanism sees it. */

#include "core/rendezvous.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "core/access.h"
#include "wait/ladder.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct hello) == 40 && sizeof(struct note) == 16,
               "both cross between processes of different builds");

/* ---- Hellos ---- */

static int send_hello(struct link *link) {
    struct offer offer = { 0 };
    struct hello hello = { .magic = HELLO_MAGIC, .version_least = HELLO_VERSION, .version_most = HELLO_VERSION };
    struct note note = { .type = NOTE_HELLO };
    int error = link->transport->offer ? link->transport->offer(link, &offer) : 0;
    if (error < 0) {
        offer_close(&offer);
        return error;
    }
    hello.max_message = link->options.max_message;
    hello.word_size = sizeof(void *);
    hello.offer_size = (uint32_t)offer.size;
    memcpy(hello.scheme, link->transport->scheme, strnlen(link->transport->scheme, sizeof hello.scheme));
    error = packet_send(link->peer.socket, &note, &hello, sizeof hello, offer.data, offer.size, offer.fds, offer.n_fds);
    offer_close(&offer);
    if (error == -EPIPE)
        return error_note(-EPIPE, "the other end hung up before its hello");
    return error < 0 ? error_set(error, "cannot send a hello: %s", error_text(error)) : 0;
}

static int check_scheme(const struct transport *transport, const struct hello *hello) {
    char ours[sizeof hello->scheme] = { 0 }, theirs[sizeof hello->scheme + 1] = { 0 };
    memcpy(ours, transport->scheme, strnlen(transport->scheme, sizeof ours));
    if (memcmp(ours, hello->scheme, sizeof ours) == 0)
        return 0;
    for (unsigned i = 0; i < sizeof hello->scheme && hello->scheme[i]; i++)
        theirs[i] = hello->scheme[i] >= '+' && hello->scheme[i] <= 'z' ? hello->scheme[i] : '?';
    return error_set(-EPROTO, "one end came by %s://, the other by %s://", transport->scheme, theirs);
}

/* hello: a copy of ours already, which nobody changes any more. */
static int check_hello(const struct transport *transport, const struct hello *hello, size_t offer_size) {
    if (hello->magic == __builtin_bswap32(HELLO_MAGIC))
        return error_note(-EPROTO, "the hello has another byte order");
    if (hello->magic != HELLO_MAGIC)
        return error_set(-EPROTO, "no hawser hello: it begins with %08x", hello->magic);
    if (hello->version_least > HELLO_VERSION || hello->version_most < HELLO_VERSION)
        return error_set(-EPROTO, "one end speaks version %d of the protocol, the other %u to %u", HELLO_VERSION,
                         hello->version_least, hello->version_most);
    if (hello->max_message == 0 || hello->max_message >= UINT64_C(1) << 56)
        return error_set(-EPROTO, "the hello's max_message is %llu", (unsigned long long)hello->max_message);
    if (hello->offer_size != offer_size)
        return error_set(-EPROTO, "the hello's offer has %zu bytes and says %u", offer_size, hello->offer_size);
    return check_scheme(transport, hello);
}

/* A packet that should be a hello, checked. */
static int read_hello(const struct transport *transport, struct packet *packet, struct hello *ret_hello,
                      struct offer *ret_offer) {
    struct hello hello = { 0 };
    if (packet->note.type != NOTE_HELLO)
        return error_set(-EPROTO, "expected a hello, got a note of type %u", packet->note.type);
    if (packet->size < sizeof hello || packet->size > sizeof hello + OFFER_DATA)
        return error_set(-EPROTO, "a hello of %zu bytes, expected %zu to %zu", packet->size, sizeof hello,
                         sizeof hello + OFFER_DATA);
    if (packet->starved)
        return error_note(-EMFILE, "no descriptors left for those of a hello; raise RLIMIT_NOFILE");
    memcpy(&hello, packet->data, sizeof hello);
    int error = check_hello(transport, &hello, packet->size - sizeof hello);
    if (!error)
        error = packet_offer(packet, sizeof hello, ret_offer);
    if (!error)
        *ret_hello = hello;
    return error;
}

static int meet(struct link *link, const struct hello *hello, struct offer *offer) {
    int error = link->transport->meet ? link->transport->meet(link, offer) : 0;
    uint64_t ours = link->options.max_message;
    store_relaxed(&link->max_message, hello->max_message < ours ? hello->max_message : ours);
    return error;
}

/* ---- Refusing ---- */

void rendezvous_refuse(int fd, int error) {
    struct note note = { .type = NOTE_REFUSE, .value = (uint64_t)-error };
    const char *sentence = error_sentence();
    packet_send(fd, &note, NULL, 0, sentence, strnlen(sentence, OFFER_DATA), NULL,
                0); /* who does not hear it sees the hang-up */
}

void rendezvous_sentence(const struct packet *packet, char *ret_sentence, size_t capacity) {
    size_t i = 0;
    for (; i < packet->size && i + 1 < capacity && packet->data[i]; i++)
        ret_sentence[i] = packet->data[i] < ' ' || packet->data[i] > '~' ? '?' : (char)packet->data[i];
    ret_sentence[i] = 0;
}

/* -EAGAIN: the listener is short of something and may welcome us later. */
static int read_refusal(const struct packet *packet) {
    char sentence[OFFER_DATA + 1];
    rendezvous_sentence(packet, sentence, sizeof sentence);
    switch (packet->note.value) {
    case EACCES:
        return error_set(-EACCES, "permission denied: %s", sentence);
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return error_set(-EAGAIN, "listener turned us away: %s", sentence);
    case ENOSPC:
        return error_set(-ENOSPC, "listener turned us away: %s", sentence);
    default:
        return error_set(-EPROTO, "listener refused: %s", sentence);
    }
}

/* ---- The listening end ---- */

int rendezvous_listen(struct hawser_listener *listener) {
    char path[sizeof listener->name.path];
    int error = name_resolve(&listener->address, path, sizeof path);
    if (!error)
        error = name_take_socket(path, SOCK_SEQPACKET, access_mode(&listener->options), &listener->name, &listener->fd);
    if (error)
        return error;
    listener->local = true;
    snprintf(listener->bound, sizeof listener->bound, "%.8s://%.240s", listener->transport->scheme,
             listener->address.place);
    return 0;
}

void rendezvous_unlisten(struct hawser_listener *listener) { name_release(&listener->name); }

/* The hello is checked; makes the link and answers. On failure the socket is still the pending's, to be refused on. */
static int welcome(struct hawser_listener *listener, struct pending *pending, const struct packet *packet,
                   const struct hello *hello, struct offer *offer, struct link **ret_link) {
    struct link *link = steal_pointer(&listener->prepared);
    int error = link ? 0 : listener->transport->create(&listener->options, LINK_LISTEN, &link);
    if (error < 0)
        return error;
    link->peer.socket = steal_fd(&pending->fd);
    peer_know(&link->peer, packet->pid >= 0 ? packet->pid : pending->pid, pending->uid, pending->gid);
    error = meet(link, hello, offer);
    if (error >= 0)
        error = send_hello(link);
    if (error < 0) {
        pending->fd = steal_fd(&link->peer.socket);
        listener->transport->close(link, true);
        return error;
    }
    *ret_link = link;
    return 0;
}

int rendezvous_greet(struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    struct packet packet;
    struct hello hello = { 0 };
    struct offer offer = { 0 };
    int error = packet_receive(pending->fd, false, &packet);
    if (error == -EAGAIN || error == -EPIPE)
        return error;
    if (!error)
        error = read_hello(listener->transport, &packet, &hello, &offer);
    if (!error)
        error = welcome(listener, pending, &packet, &hello, &offer, ret_link);
    if (error < 0)
        rendezvous_refuse(pending->fd, error);
    offer_close(&offer);
    packet_close(&packet);
    return error < 0 ? error : 0;
}

/* ---- The connecting end ---- */

#define ANSWER_SPIN_NS 200000 /* it has to be woken, and to make a segment or queues */

/* Waits by the ladder: most listeners answer within what a sleep would cost. */
static int await_packet(struct link *link, pid_t listener, int64_t deadline, struct packet *packet) {
    struct ladder ladder;
    ladder_init(&ladder, link->options.wait, true, false);
    ladder_place(&ladder, process_apart(listener));
    ladder.budget_ns = ANSWER_SPIN_NS;
    ladder_begin(&ladder, false);
    for (;;) {
        int error = packet_receive(link->peer.socket, false, packet);
        if (error == -EPIPE)
            return error_note(-EAGAIN, "listener hung up without a word");
        if (error != -EAGAIN)
            return error == -EPROTO ? error_within(error, "listener is no hawser listener") : error;
        if (deadline_passed(deadline))
            return error_note(-EAGAIN, "listener did not answer in time");
        if (ladder_next(&ladder, deadline) != LADDER_SLEEP)
            continue;
        struct pollfd fds[2]; /* the socket and the waker */
        struct sleep_set set = { .fds = fds };
        sleep_add(&set, link->peer.socket, POLLIN);
        sleep_until(&set, waker_self(), deadline);
    }
}

static int read_answer(struct link *link, struct packet *packet, uid_t uid, gid_t gid) {
    struct hello hello = { 0 };
    struct offer offer = { 0 };
    if (packet->note.type == NOTE_REFUSE)
        return read_refusal(packet);
    int error = read_hello(link->transport, packet, &hello, &offer);
    if (!error) {
        peer_know(&link->peer, packet->pid, uid, gid); /* first: a mechanism may ask who offers */
        error = meet(link, &hello, &offer);
    }
    offer_close(&offer);
    return error < 0 ? error : 0;
}

static int exchange_hellos(struct link *link, int64_t deadline, pid_t listener, uid_t uid, gid_t gid) {
    static const int on = 1;
    struct packet packet;
    int error = sys_setsockopt(link->peer.socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (error < 0)
        return error_set(error, "cannot ask for credentials: %s", error_text(error));
    error = send_hello(link);
    /* One that refuses may do so, and hang up, before our hello is out: its reason is on the socket all the same. */
    if (error == 0 || error == -EPIPE)
        error = await_packet(link, listener, deadline, &packet);
    if (error)
        return error;
    error = read_answer(link, &packet, uid, gid);
    packet_close(&packet);
    return error;
}

/* One try. -EAGAIN, with a sentence: another may do better. */
static int attempt(const struct address *address, const struct options *options, int64_t deadline,
                   struct link **ret_link) {
    char path[sizeof(((struct name *)0)->path)];
    struct link *link;
    cleanup_fd fd = -1;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    int error = name_resolve(address, path, sizeof path);
    if (!error)
        error = name_connect_socket(path, SOCK_SEQPACKET, deadline, &fd);
    if (!error)
        error = access_credentials(fd, &pid, &uid, &gid);
    if (!error)
        error = access_expect(options, uid, gid);
    if (!error)
        error = address->transport->create(options, LINK_CONNECT, &link);
    if (error)
        return error;
    link->peer.socket = steal_fd(&fd);
    error = exchange_hellos(link, deadline, pid, uid, gid);
    if (error)
        address->transport->close(link, true);
    else
        *ret_link = link;
    return error;
}

int rendezvous_connect(const struct address *address, const struct options *options, int64_t deadline,
                       struct link **ret_link) {
    int64_t nap_ns = NAME_NAP_NS;
    for (;;) {
        int error = attempt(address, options, deadline, ret_link);
        if (error != -EAGAIN && error != -EINTR)
            return error;
        if (deadline_passed(deadline))
            return deadline == DEADLINE_PAST ? -EAGAIN : error_set(-ETIMEDOUT, "timed out: %s", error_sentence());
        name_nap(&nap_ns, deadline);
    }
}

/* ---- Pairs ---- */

static int pair_sockets(int *ret_fds) {
    static const int on = 1;
    int fds[2];
    int error = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
    if (error < 0)
        return error_set(error, "cannot make a pair of sockets: %s", error_text(error));
    for (unsigned i = 0; i < 2 && error >= 0; i++)
        error = sys_setsockopt(fds[i], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (error < 0) {
        sys_close(fds[0]);
        sys_close(fds[1]);
        return error_set(error, "cannot ask for credentials: %s", error_text(error));
    }
    memcpy(ret_fds, fds, sizeof fds);
    return 0;
}

int rendezvous_pair(const struct transport *self, const struct options *options, struct link **ret_a,
                    struct link **ret_b) {
    struct link *links[2] = { NULL, NULL };
    int fds[2];
    int error = pair_sockets(fds);
    if (error)
        return error;
    for (unsigned i = 0; i < 2 && error >= 0; i++) {
        error = self->create(options, LINK_PAIR, &links[i]);
        if (error >= 0)
            links[i]->peer.socket = steal_fd(&fds[i]);
    }
    if (error >= 0 && self->join)
        error = self->join(links[0], links[1]);
    if (error >= 0) {
        *ret_a = links[0];
        *ret_b = links[1];
        return 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        cleanup_close(&fds[i]);
        if (links[i])
            self->close(links[i], true);
    }
    return error;
}

int rendezvous_begin(struct link *link) {
    int error = send_hello(link);
    if (error < 0 && error != -EPIPE) /* that the other end is gone already is for sending and receiving to tell */
        return error;
    link->begun = true;
    return 0;
}

int rendezvous_hello(struct link *link, struct packet *packet) {
    struct hello hello = { 0 };
    struct offer offer = { 0 };
    if (link->role != LINK_PAIR || load_acquire(&link->peer.known)) /* pairs with peer_know; the last drainer's */
        return link_break(link, "a second hello");
    int error = read_hello(link->transport, packet, &hello, &offer);
    if (!error)
        error = meet(link, &hello, &offer);
    offer_close(&offer);
    if (error < 0)
        return link_break(link, "%s", error_sentence());
    peer_know(&link->peer, packet->pid, packet->uid, packet->gid);
    return 0;
}
