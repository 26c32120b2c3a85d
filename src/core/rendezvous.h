/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The one rendezvous of all local mechanisms: a SOCK_SEQPACKET Unix socket at RUNTIME/NAME. One round trip:
 *
 *   connecting end: connect; check SO_PEERCRED of the listener; send HELLO with its offer
 *   listening end:  check SO_PEERCRED; receive HELLO and SCM_CREDENTIALS, check; send HELLO with its offer, or REFUSE
 *   connecting end: receive, check SCM_CREDENTIALS, meet
 *
 * The hello is a struct note (NOTE_HELLO) and a struct hello, then the offer's data; the descriptors go with it. An end of
 * a pair sends its HELLO at its first use and receives the other's, when it comes, as any note (peer_drain).
 * So a mechanism sees: connect: create, offer, meet; listen: create, meet, offer; pair: create, join, offer and meet in either
 * order. A link that fails on the way is given to close().
 * A mechanism names these functions in its table and fills in create, join, offer, meet and note. */

#include "core/listener.h"
#include "core/packet.h"

#define HELLO_MAGIC 0x72737768u /* "hwsr", little-endian: its bytes tell the byte order */
#define HELLO_VERSION 1

struct hello {
    uint32_t magic;
    uint16_t version_least, version_most;
    uint64_t features; /* unknown bits are ignored */
    uint64_t max_message; /* what this end accepts */
    char scheme[8];       /* NUL-padded: both ends must mean the same mechanism */
    uint32_t word_size;   /* sizeof(void *), for the curious */
    uint32_t offer_size;
};

int rendezvous_listen(struct hawser_listener *listener);
int rendezvous_greet(struct hawser_listener *listener, struct pending *pending, struct link **ret_link);
void rendezvous_unlisten(struct hawser_listener *listener);
int rendezvous_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link);
int rendezvous_pair(const struct transport *self, const struct options *options, struct link **ret_a, struct link **ret_b);
int rendezvous_begin(struct link *link);
void rendezvous_refuse(int fd, int error);

/* The sentence of a REFUSE, without what could harm a terminal. */
void rendezvous_sentence(const struct packet *packet, char *ret_sentence, size_t capacity);

/* A HELLO that arrived on a link that had none yet (pair). */
int rendezvous_hello(struct link *link, struct packet *packet);
