/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The peer's death and its notes. Order matters at the end: what the peer sent before it went is read first, and only
 * then `gone` is set, so that who sees `gone` has seen everything. `lock` lets one half drain at a time. */

#include "core/peer.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/rendezvous.h"

#include <errno.h>
#include <string.h>

#define NOTES_AT_ONCE 64      /* a peer that never stops sending notes must not keep us here */
#define DRAINS_OF_THE_DEAD 16 /* more than any socket's buffer holds */
#define TRIES 4

enum drained {
    DRAINED_EMPTY, /* nothing more, for now */
    DRAINED_MORE,  /* the bound was reached */
    DRAINED_STUCK, /* a note needs descriptors and there are none */
    DRAINED_END,   /* hang-up */
};

void peer_init(struct peer *peer) {
    memset(peer, 0, sizeof *peer);
    peer->socket = peer->pidfd = -1;
    peer->pid = -1;
    peer->uid = (uid_t)-1;
    peer->gid = (gid_t)-1;
}

void peer_deinit(struct peer *peer) {
    cleanup_close(&peer->socket);
    cleanup_close(&peer->pidfd);
    peer->socket = peer->pidfd = -1;
}

void peer_know(struct peer *peer, pid_t pid, uid_t uid, gid_t gid) {
    peer->pid = pid;
    peer->uid = uid;
    peer->gid = gid;
    int pidfd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;
    if (pidfd == -ESRCH) /* it has died since, and a child may hold the socket: readable, as its pidfd would be */
        pidfd = sys_eventfd(1, EFD_CLOEXEC);
    peer->pidfd = pidfd >= 0 ? pidfd : -1;
    store_release(&peer->known, 1); /* pairs with each load of known: pid, uid, gid and pidfd come before */
}

int peer_pidfd(const struct peer *peer) {
    return load_acquire(&peer->known) ? peer->pidfd : -1; /* pairs with peer_know */
}

static void sleep_for(const struct peer *peer, short events, struct sleep_set *set) {
    if (load_seq_cst(&peer->gone)) /* both would be ready for ever; pairs with set_gone */
        return;
    sleep_add(set, peer->socket, events);
    sleep_add(set, peer_pidfd(peer), POLLIN);
}

void peer_sleep(const struct peer *peer, struct sleep_set *set) { sleep_for(peer, POLLIN, set); }

void peer_sleep_deaf(const struct peer *peer, struct sleep_set *set) {
    sleep_for(peer, 0, set); /* a hang-up is told without asking */
    set->brief = true;
}

static void take_ack(struct link *link, uint64_t value) {
    /* Only the drainer writes it. A count that runs ahead of what was sent hurts nobody but the liar's link. */
    if (value > load_relaxed(&link->peer.acked))
        store_release(&link->peer.acked, value); /* pairs with each load of acked */
}

static void refused(struct link *link, const struct packet *packet) {
    char sentence[OFFER_DATA];
    rendezvous_sentence(packet, sentence, sizeof sentence);
    link_break(link, "it refused: %s", sentence);
}

static void take_own(struct link *link, const struct note *note) {
    int error = link->transport->note ? link->transport->note(link, note) : -EPROTO;
    if (error < 0 && !link_broken(link))
        link_break(link, "a bad note of type %u", note->type);
}

/* Of a peer that has said hello. */
static void take_note(struct link *link, const struct note *note) {
    if (note->type == NOTE_RING)
        count_add(&link->peer.rings, 1);
    else if (note->type == NOTE_ACK)
        take_ack(link, note->value);
    else if (note->type >= NOTE_OWN)
        take_own(link, note);
    else
        link_break(link, "an unexpected note of type %u", note->type);
    link_news(link); /* a ring too: it may have been for the other half, which sleeps on the same socket */
}

/* Takes the packet off that was just peeked at; descriptors that came with it stay in the kernel and die there.
 * Whatever fails is tried again: a note must not be acted on twice. */
static enum drained discard(int fd) {
    for (unsigned tries = 0; tries < TRIES; tries++)
        if (sys_recv(fd, NULL, 0, MSG_DONTWAIT) >= 0)
            break;
    return DRAINED_MORE;
}

/* Only a hello carries descriptors: they are duplicated by a peek first, so that it can stay where it is if there are none free. */
static enum drained drain_hello(struct link *link) {
    struct packet packet;
    int error = packet_receive(link->peer.socket, true, &packet);
    if (error == -EPIPE)
        return DRAINED_END;
    if (error == -EPROTO) {
        link_break(link, "%s", error_sentence());
        return discard(link->peer.socket);
    }
    if (error)
        return DRAINED_EMPTY;
    store_relaxed(&link->peer.starved, packet.starved);
    if (packet.starved) {
        packet_close(&packet);
        return DRAINED_STUCK;
    }
    discard(link->peer.socket);
    if (packet.note.type == NOTE_HELLO)
        rendezvous_hello(link, &packet);
    else if (packet.note.type == NOTE_REFUSE)
        refused(link, &packet);
    else
        link_break(link, "a note of type %u before its hello", packet.note.type);
    link_news(link);
    packet_close(&packet);
    return DRAINED_MORE;
}

/* [drain] Without room for descriptors: the kernel drops those of a liar. */
static enum drained drain_note(struct link *link) {
    struct note note;
    for (unsigned tries = 0; tries < TRIES; tries++) {
        ssize_t n = sys_recv(link->peer.socket, &note, sizeof note, MSG_DONTWAIT);
        if (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS)
            return DRAINED_EMPTY;
        if (n == 0)
            return DRAINED_END;
        if (n < 0) /* -EINTR; or -ECONNRESET, told once when the peer closed with notes of ours unread: its own are still here */
            continue;
        if ((size_t)n < sizeof note)
            link_break(link, "a note of %zd bytes, expected %zu", n, sizeof note);
        else if (!load_relaxed(&link->broken))
            take_note(link, &note);
        return DRAINED_MORE;
    }
    return DRAINED_EMPTY;
}

static enum drained drain_one(struct link *link) {
    bool met = load_acquire(&link->peer.known); /* pairs with peer_know */
    return met || load_relaxed(&link->broken) ? drain_note(link) : drain_hello(link);
}

/* [gone] */
static void set_gone(struct link *link) {
    if (exchange_seq_cst(&link->peer.gone, 1) == 0) /* pairs with each load of gone: what came before it was read */
        link_news(link);
}

static enum drained drain(struct link *link, unsigned notes) {
    enum drained drained = DRAINED_MORE;
    if (link->peer.socket < 0)
        return DRAINED_EMPTY;
    lock_acquire(&link->peer.lock);
    for (unsigned i = 0; i < notes && drained == DRAINED_MORE; i++)
        drained = drain_one(link);
    lock_release(&link->peer.lock);
    if (drained == DRAINED_END)
        set_gone(link);
    return drained;
}

void peer_drain(struct link *link) { drain(link, NOTES_AT_ONCE); }

static void drain_dead(struct link *link) {
    drain(link, NOTES_AT_ONCE * DRAINS_OF_THE_DEAD);
    set_gone(link);
}

static bool heed(struct link *link, int fd, short revents, unsigned notes) {
    struct peer *peer = &link->peer;
    if (fd < 0)
        return false;
    if (fd == peer_pidfd(peer)) {
        drain_dead(link);
        return true;
    }
    if (fd != peer->socket)
        return false;
    if (revents & (POLLHUP | POLLERR | POLLNVAL))
        drain_dead(link);
    else
        drain(link, notes);
    return true;
}

/* Mostly there is one note; of more the next sleep hears at once. */
bool peer_woken(struct link *link, int fd, short revents) { return heed(link, fd, revents, 1); }

int peer_look(struct link *link) {
    static const struct timespec at_once = { 0, 0 };
    struct pollfd fds[2];
    struct sleep_set set = { .fds = fds };
    peer_sleep(&link->peer, &set);
    if (set.count > 0 && sys_ppoll(set.fds, set.count, &at_once, NULL) > 0)
        for (unsigned i = 0; i < set.count; i++)
            if (fds[i].revents)
                heed(link, fds[i].fd, fds[i].revents, NOTES_AT_ONCE);
    return (int)load_seq_cst(&link->peer.gone); /* pairs with set_gone */
}

int peer_glance(struct link *link, int64_t *looked_ns) {
    enum { GLANCE_NS = 1000000 };
    static const struct timespec at_once = { 0, 0 };
    const struct peer *peer = &link->peer;
    int64_t now_ns = clock_coarse(); /* a tick is a few ms, its reading a quarter of clock_now's */
    if (now_ns - *looked_ns >= GLANCE_NS && !load_relaxed(&peer->gone)) {
        struct pollfd fds[2] = { { .fd = peer->socket, .events = POLLRDHUP },
                                 { .fd = peer_pidfd(peer), .events = POLLIN } };
        *looked_ns = now_ns;
        if (sys_ppoll(fds, 2, &at_once, NULL) > 0)
            peer_look(link);
    }
    return (int)load_seq_cst(&peer->gone); /* pairs with set_gone */
}

int peer_adopt(struct peer *peer, int *fd) {
    int domain = -1, type = -1;
    socklen_t length = sizeof domain;
    int r = sys_getsockopt(*fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    length = sizeof type;
    if (r == 0)
        r = sys_getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &length);
    if (r < 0 || domain != AF_UNIX || type != SOCK_SEQPACKET)
        return error_note(-EPROTO, "adopt: the end's rendezvous socket is none");
    peer->socket = steal_fd(fd);
    return 0;
}

int peer_note(struct peer *peer, uint32_t type, uint64_t value) {
    struct note note = { .type = type, .value = value };
    if (peer->socket < 0)
        return -EPIPE;
    ssize_t n;
    do
        n = sys_send(peer->socket, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n == -EINTR);
    return packet_sent(n);
}

int peer_ring(struct peer *peer) {
    int error = -ENOMEM;
    /* A ring that is lost may be waited for without end. */
    for (unsigned tries = 0; tries < TRIES && (error == -ENOMEM || error == -EAGAIN); tries++)
        error = peer_note(peer, NOTE_RING, 0);
    return error == -EAGAIN ? 0 : error;
}
