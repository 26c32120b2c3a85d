/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* How two ends of a socket agree on what they speak: SP headers, then, between two hawser ends, hellos. docs/wire.md
 * specifies every byte. unix and tcp share this; each brings a struct wire that says what is its own. */

#include "core/listener.h"
#include "core/stream.h"

#include <sys/socket.h>

#define WIRE_HEAD 8           /* bytes of an SP header */
#define WIRE_PAIR0 0x0010u    /* SP's PAIR, version 0 */
#define WIRE_NATIVE 0x6877u   /* "hw": of no protocol that nanomsg's registry knows */
#define WIRE_VERSION 1        /* of the native frames */
#define WIRE_HELLO_LEAST 24   /* bytes of a hello's payload: what version 1 says ... */
#define WIRE_HELLO_MOST 48    /* ... and what later features may add */
#define WIRE_HELLO_FRAME (8 + WIRE_HELLO_LEAST)
#define WIRE_REFUSE 8         /* a frame's kind, in place of the listener's hello: 8 bytes of errno, a sentence */
#define WIRE_SENTENCE_MAX 192 /* bytes of that sentence */

/* What SO_SNDBUF of a Unix stream socket is asked to be, unless buffer= says otherwise: what every stock kernel grants without
 * privilege (net.core.wmem_max; it is doubled). Half as much costs a 1 MiB message about a tenth, more gains nothing. */
#define WIRE_UNIX_BUFFER 212992

struct dialled {
    int fd;    /* connected, non-blocking */
    uid_t uid; /* of who listens; local only */
    gid_t gid;
    char remote[HAWSER_ADDRESS_MAX];
};

struct wire {
    const struct transport *transport;
    bool local;         /* the kernel vouches for who sends a hello */
    enum framing plain; /* of plain SP: FRAMING_SP, FRAMING_SP_IPC */
    /* NULL: no memory. */
    struct stream *(*create)(const struct options *options, enum link_role role, enum framing framing);
    /* One try to reach the listener: 0; -EAGAIN, with a sentence: nobody there now; or an error. */
    int (*dial)(const struct address *address, const struct options *options, int64_t deadline, struct dialled *ret_dialled);
};

struct wire_hello {
    uint64_t features;    /* unknown ones are ignored */
    uint64_t max_message; /* what the sender accepts */
};

/* The operations greet, connect and refuse of both mechanisms. */
int wire_greet(const struct wire *wire, struct hawser_listener *listener, struct pending *pending, struct link **ret_link);
int wire_connect(const struct wire *wire, const struct address *address, const struct options *options, int64_t deadline,
                 struct link **ret_link);
void wire_refuse(int fd, int error);

/* Pair: sends this end's hello on a fresh socket. */
int wire_begin(const struct wire *wire, struct link *link);
/* stream_io.hello: the other end's, as the first frame of a pair. */
int wire_hello_seen(struct stream *stream, const uint8_t *payload, size_t size);

/* Export and adopt: the socket is all there is to an end. The check takes a connected stream socket of either family and makes
 * it non-blocking. */
int wire_pack(struct link *link, struct offer *ret_offer);
int wire_check_offer(const struct offer *offer, int family, int other_family);

/* stream_io.read and .write. */
ssize_t wire_read(struct stream *stream, const struct iovec *vector, int n);
ssize_t wire_write(struct stream *stream, const struct iovec *vector, int n);
/* What the network may say is one of two things to a stream: the peer is gone, or an error of our own. */
ssize_t wire_read_result(ssize_t result);
ssize_t wire_write_result(ssize_t result);

void wire_head_put(uint8_t *where, uint16_t protocol);
/* -EPROTO with a sentence: not an SP header. */
int wire_head_get(const uint8_t *head, uint16_t *ret_protocol);
void wire_hello_put(uint8_t *frame, uint64_t max_message); /* WIRE_HELLO_FRAME bytes */
/* -EPROTO with a sentence. */
int wire_hello_get(const uint8_t *payload, size_t size, struct wire_hello *ret_hello);

/* Room for credentials, descriptors or both; aligned for struct cmsghdr. */
union wire_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
};

/* Sends all of it, a few bytes on a fresh socket, without waiting; with who we are. -EPIPE, or an error with a sentence. */
int wire_say(int fd, const void *bytes, size_t size, bool credentials);
/* Receives without waiting; `with` credentials of who sent it (pid -1: none came). Bytes, -EAGAIN, -EPIPE at the end, errors. */
ssize_t wire_hear(int fd, void *bytes, size_t size, struct ucred *with);
/* The credentials among what came, pid -1 if there are none. */
struct ucred wire_credentials(const struct msghdr *message);
int wire_ask_credentials(int fd, bool wanted);

/* The part of a mechanism's table that is the stream's own. */
#define WIRE_STREAM_OPERATIONS                                                                                   \
    STREAM_OPERATIONS, .send = stream_send, .progress = stream_progress, .loan = stream_loan, .recv = stream_recv, \
    .take = stream_take, .ready = stream_ready, .room = stream_room, .ask = stream_ask, .acked = stream_acked,     \
    .disarm = stream_disarm, .woken = stream_woken
