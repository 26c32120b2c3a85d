/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The process at the other end, for mechanisms of one machine: who it is, whether it still lives, and the rendezvous
 * socket to it. The socket (SOCK_SEQPACKET, non-blocking) stays open for the life of the link and carries notes:
 * doorbells, acknowledgements, late hellos, and the mechanism's own (which may carry descriptors).
 *
 * Death is hang-up of the socket OR readability of the pidfd. Both are looked at only where a call sleeps or looks.
 * Everything here may be called by both halves of a channel at once: `lock` guards draining. */

#include "base/lock.h"
#include "wait/sleeper.h"

#include <hawser/channel.h>
#include <stdbool.h>

struct link;

#define OFFER_FDS 16
#define OFFER_DATA 192

/* What crosses in a hello. Descriptors in it are given away: whoever sends it
 * closes them after, whoever receives it sets those it keeps to -1; the rest are closed. */
struct offer {
    uint8_t data[OFFER_DATA];
    size_t size;
    int fds[OFFER_FDS];
    unsigned n_fds;
};

void offer_close(struct offer *offer);

enum note_type {
    NOTE_HELLO = 1,  /* see rendezvous.h */
    NOTE_REFUSE = 2, /* value: errno; data: a sentence */
    NOTE_RING = 3,   /* wake up and look */
    NOTE_ACK = 4,    /* value: messages this end's program has taken so far */
    NOTE_OWN = 16,   /* from here on the mechanism's own */
};

/* Host byte order: both ends run on one machine (the hello checks it). Only hellos and refusals are followed by anything. */
struct note {
    uint32_t type;
    uint32_t reserved;
    uint64_t value;
};

struct peer {
    int socket; /* -1: none (unix, tcp, fifo) */
    int pidfd;  /* -1: unknown */
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint32_t known; /* atomic: pid, uid, gid and pidfd are filled in */
    uint32_t gone;  /* atomic: hang-up or death was seen; never goes back */
    uint64_t acked; /* atomic: largest NOTE_ACK so far */
    uint64_t rings; /* atomic: doorbells heard */
    uint32_t starved; /* atomic: the hello brings descriptors and there were none free: it stays on the socket */
    struct lock lock;
};

void peer_init(struct peer *peer);
void peer_deinit(struct peer *peer); /* closes what it holds */

/* Fills in who it is from credentials the kernel vouched for, and opens the pidfd (-1 where that fails, as for a pid of
 * another namespace: the socket alone then tells; where it has died since, a descriptor that is readable just so). */
void peer_know(struct peer *peer, pid_t pid, uid_t uid, gid_t gid);

/* -1: not known yet; the other half may just be filling it in. */
int peer_pidfd(const struct peer *peer);

/* Adds socket and pidfd to a sleep. */
void peer_sleep(const struct peer *peer, struct sleep_set *set);
/* The same, but not for notes: only the end of the peer, or of a brief moment, ends the sleep. */
void peer_sleep_deaf(const struct peer *peer, struct sleep_set *set);

/* One descriptor of a sleep had revents: is it one of ours? Then takes a note or sets gone; returns true. */
bool peer_woken(struct link *link, int fd, short revents);

/* The spinner's look: socket and pidfd polled without waiting, notes drained. Returns nonzero when gone. */
int peer_look(struct link *link);

/* The sending half's look, for mechanisms whose queue takes what nobody will read: at most once a millisecond, and without a
 * drain, so that no doorbell of the other half is lost. *looked_ns starts as 0. Returns nonzero when gone. */
int peer_glance(struct link *link, int64_t *looked_ns);

/* Takes the rendezvous socket of an end of a pair that travelled; sets *fd to -1. -EPROTO with a sentence: it is none. */
int peer_adopt(struct peer *peer, int *fd);

/* Reads every note now on the socket and acts on it: ACK here, HELLO by rendezvous, others by transport->note. A
 * malformed note breaks the link (link_break). Bumps link->news. */
void peer_drain(struct link *link);

/* Sends a note without waiting: 0, -EAGAIN (socket full), -EPIPE. ring: -EAGAIN counts as success, as the peer then has
 * something to wake for. */
int peer_note(struct peer *peer, uint32_t type, uint64_t value);
int peer_ring(struct peer *peer);
