/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A link is a mechanism's side of a channel: the first member of each mechanism's own struct. The channel owns it and
 * is the only one that calls its transport's operations; it serialises them as transport.h says. */

#include "core/options.h"
#include "core/peer.h"

struct transport;

enum link_role {
    LINK_CONNECT, /* made by hawser_connect */
    LINK_LISTEN,  /* made by hawser_accept */
    LINK_PAIR,    /* an end of a pair: its process, and so its own memory, come with its first use */
};

/* What found no room last: poll is to tell of room for the like of it. */
struct refusal {
    uint64_t size;  /* bytes; 0: a small message, or none was refused */
    bool many, fds; /* of several messages, the first; it carries descriptors */
    bool loan;
};

struct link {
    const struct transport *transport;
    struct options options;
    enum link_role role;
    struct peer peer;
    struct refusal refusal; /* [S] */
    uint64_t max_message; /* atomic: what may be sent: the lesser of ours and, once known, the peer's */
    bool begun;       /* pair: the hello of this end was sent */
    int8_t naps;      /* 1: the socket that a receiver sleeps on is fit for naps; -1: it never is; 0: not known yet. [R] */
    bool patient;     /* the call would rather sleep than try in vain: recv may say -EAGAIN unseen, once. [R] */
    uint32_t midway_in;  /* atomic: not 0: half a message has come, so the rest is on its way; changes as it comes. Written by [R] */
    uint32_t midway_out; /* atomic: the same of one that has left in half: the peer is making room. Written by [S] */
    int32_t apart;    /* atomic: as process_apart() says of the peer and the receiving thread; 0, shm: -1, until asked. Written by [R] */
    bool plain;       /* the peer speaks plain SP: no acknowledgements, goodbyes or descriptors */
    uint32_t news;    /* atomic: bumped when something arrived that the OTHER half may wait for (ack, hello, death, room) */
    uint32_t ack_due; /* atomic: an acknowledgement waits to be sent; transport->progress sends it */
    uint32_t broken;  /* atomic: 0, or the errno (positive) that ended the link: EPROTO */
    char sentence[160]; /* why, written once before broken is */
    uint64_t wakes;   /* atomic: doorbells rung */
    char address[HAWSER_ADDRESS_MAX]; /* tcp: the remote address; else "" */
};

void link_init(struct link *link, const struct transport *transport, const struct options *options, enum link_role role);
void link_deinit(struct link *link); /* the peer's descriptors */

/* The peer broke the protocol: remembers the sentence (the first one stays), bumps news, returns -EPROTO. Every later
 * operation must return link_broken(). Printf-like; name the check that failed. */
int link_break(struct link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 0, or -EPROTO with the sentence set for the calling thread. */
int link_broken(const struct link *link);

/* -EPIPE with its sentence, the same for all. */
int link_peer_gone(void);

/* pairs with channel_kick, channel_kick_news, begin_arm and has_news */
static inline void link_news(struct link *link) { add_seq_cst(&link->news, 1); }
