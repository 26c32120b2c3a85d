/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A transport is one mechanism: a table of operations over its links. A new mechanism adds its table to transports[]
 * (transport/transports.c) and a line to the conformance suite.
 *
 * NO operation ever waits: what cannot be done now is -EAGAIN, and the channel does the waiting. (Only connect takes a
 * deadline.) No operation returns -EINTR. Sentences: set with error_set() where an error is made; for -EAGAIN none.
 *
 * Halves. Operations marked [S] run in the sending half, [R] in the receiving half: at most one [S] and one [R] at a
 * time. Where `halves_meet` is set the channel wraps each in that half's lock (as it does with threads=many); otherwise two
 * threads run one of each at once without a lock, so the halves must not share plain memory. Unmarked data operations
 * (woken, look) may come from either at any time. */

#include "core/link.h"
#include "wait/sleeper.h"

#include <hawser/channel.h>
#include <hawser/listener.h>

#define LINK_SLEEP_MAX 4 /* descriptors one arm adds at most */

enum want {
    WANT_RECEIVE = 1, /* [R] a message or the end */
    WANT_SEND = 2,    /* [S] room, or the outbox to move */
    WANT_ACK = 4,     /* [R] an acknowledgement */
};

struct descriptors {
    const int *fds; /* sending: borrowed, at most 16 */
    size_t n;
};

struct received_descriptors {
    int *fds;        /* where to put them */
    size_t capacity;
    size_t n;        /* out; also set, to the number needed, with -EMSGSIZE */
};

/* Does a message of that many bytes and descriptors fit what recv was given? 0; -EMSGSIZE, with its sentence and what it needs.
 * fds may be NULL: they are then dropped. */
int received_fits(uint64_t size, unsigned n_fds, size_t capacity, struct received_descriptors *fds, size_t *ret_size);

struct hawser_listener;
struct pending;

struct transport {
    const char *scheme;
    int capabilities; /* HAWSER_CAN_... */
    bool halves_meet;
    bool dear; /* a try costs a system call */
    bool naps; /* a receiver sleeps on nothing but one socket, and the peer's pidfd */

    /* ---- Making. Errors of all: as documented at the public call. ---- */

    /* Binds the listener's address: sets listener->fd and ->bound (listener.h). */
    int (*listen)(struct hawser_listener *listener);
    /* Moves one connection's hello on: 0 and a begun link, -EAGAIN, or an error: it is dropped. NULL: accept is there. */
    int (*greet)(struct hawser_listener *listener, struct pending *pending, struct link **ret_link);
    /* Instead of accept4 and greet (fifo): 0, -EAGAIN, or an error of the listener itself. */
    int (*accept)(struct hawser_listener *listener, struct link **ret_link);
    /* Tells a newcomer why it is turned away (error_sentence()); the listener closes fd. NULL: rendezvous_refuse for mechanisms
     * with create, else nothing is said. */
    void (*refuse)(int fd, int error);
    /* Gives up the name; listener->fd is closed by the listener. Not called in a forked child. */
    void (*unlisten)(struct hawser_listener *listener);
    /* Removes what dead processes left in RUNTIME besides names; look: only counts it. How many, or an error. NULL: nothing. */
    int (*collect)(bool look);
    int (*connect)(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link);
    int (*pair)(const struct transport *self, const struct options *options, struct link **ret_a, struct link **ret_b);
    /* Pair: first use by this process: sends this end's hello, without waiting for the other's. */
    int (*begin)(struct link *link);
    /* Export: everything the link holds, given away; on success the link is an empty shell that only close() may take. */
    int (*pack)(struct link *link, struct offer *ret_offer);
    /* Adopt: the reverse, role LINK_PAIR, not begun. The offer comes from outside: check it. */
    int (*unpack)(const struct options *options, struct offer *offer, struct link **ret_link);

    /* Mechanisms that use rendezvous.h for the above fill in these instead. */
    int (*create)(const struct options *options, enum link_role role, struct link **ret_link);
    /* Makes ahead, on a link just created for LINK_LISTEN, what its offer will need; NULL: nothing takes long. */
    int (*prepare)(struct link *link);
    int (*join)(struct link *a, struct link *b);             /* pair: makes what both ends share; NULL: nothing */
    int (*offer)(struct link *link, struct offer *ret_offer); /* what our hello hands over; may be empty */
    int (*meet)(struct link *link, struct offer *offer);      /* the peer's hello (hostile): -EPROTO with a sentence */
    int (*note)(struct link *link, const struct note *note); /* one of our own (hostile) */

    /* ---- Data ---- */

    /* [S] Sends n >= 1 messages in order, as many as there is room for; sync: ask the peer to acknowledge the last. fds: NULL, or
     * descriptors that go with the one message (n == 1). Sizes are already checked against max_message.
     *   0             *ret_sent >= 1 were queued whole
     *   -EINPROGRESS  *ret_sent >= 1 count as sent, but the rest of the last still lies in the caller's memory: the caller
     *                 calls progress until it returns 0, or keep
     *   -EAGAIN       nothing was queued (no room, or the outbox is not empty: progress was tried)
     *   -EPIPE        the peer is gone */
    int (*send)(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync,
                size_t *ret_sent);
    /* [S] Moves on what is on its way: outbox, rest of a message, due acknowledgements. 0: all out; -EAGAIN; -EPIPE. */
    int (*progress)(struct link *link);
    /* [S] After -EINPROGRESS: copies what still lies in the caller's memory to the outbox. 0 or -ENOMEM (then the link is
     * broken: half a message has left). */
    int (*keep)(struct link *link);

    /* [S] Lends. -EAGAIN no room now, -ENOBUFS, -ENOMEM. NULL triple: never; every mechanism has loans. */
    int (*loan)(struct link *link, size_t size, void **ret_data);
    int (*commit)(struct link *link, void *data, size_t size); /* [S] never -EAGAIN */
    int (*discard)(struct link *link, void *data);             /* [S] */

    /* [R] Copies the next message out. 0; -EAGAIN; -EMSGSIZE (message stays, *ret_size is its size); -ESHUTDOWN, -ECONNRESET
     * (all was received); -EPROTO. fds: NULL: descriptors of the message are closed. -EMFILE: message stays. While it returns
     * -EAGAIN it may keep reading into `buffer`: the channel calls it again with the same one, or unhand. */
    int (*recv)(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size);
    /* [R] The caller's buffer goes away: copies what was read into it to memory of the link's own. 0, or -ENOMEM (broken). */
    int (*unhand)(struct link *link);
    /* [R] Takes up to n in place. 0 and *ret_taken >= 1, or as recv. Counts as taken (for acknowledgements) here. */
    int (*take)(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken);
    int (*release)(struct link *link, hawser_message *message); /* [R] -EINVAL: not ours */

    int (*ready)(struct link *link); /* [R] 1: recv would not return -EAGAIN; 0. Reads ahead to know. */
    int (*room)(struct link *link);  /* [S] 1: send of a small message, or of the like of link->refusal, would not be -EAGAIN; 0 */

    int (*ask)(struct link *link);   /* [S] flush: makes sure the peer acknowledges all that was sent. 0, -EAGAIN, -EPIPE */
    /* [R] How many messages the peer's program has taken. Reads what must be read to know. 0; -ENOBUFS; -ESHUTDOWN or
     * -ECONNRESET when no more acknowledgements can come. */
    int (*acked)(struct link *link, uint64_t *ret_taken);

    /* [S] Queues a goodbye behind all that was sent: 0, also when it has to wait in the outbox; again is 0. */
    int (*shutdown)(struct link *link);
    /* [S] Close, with or without a shutdown before: the first call also tells the peer that nothing more comes and that nobody
     * receives here any more (FRAME_CLOSE or the like; or close does); 0 when nothing of ours is left to drain (or cannot be), -EAGAIN. */
    int (*drained)(struct link *link);
    /* Frees the link. owner: this process used it; otherwise (after fork) only descriptors are closed and private memory
     * freed: nothing the owner or the peer could notice. */
    void (*close)(struct link *link, bool owner);

    /* The short way of send and recv: one message without descriptors or acknowledgement, where nothing is out of the ordinary;
     * without sentences. put compares the size with max_message itself. 0; 1: nothing happened, take the long way. put also -EINPROGRESS: the rest of the message is in the
     * outbox; get also -EAGAIN, as recv. May be NULL, both. */
    int (*put)(struct link *link, const void *data, size_t size);                         /* [S] */
    int (*get)(struct link *link, void *buffer, size_t capacity, size_t *ret_size); /* [R] */

    /* ---- Waiting ---- */

    /* [R] or [S] by `want` (one bit): about to sleep. 1: something happened, try again instead; 0: descriptors were added to set
     * and any "asleep" flag the peer looks at is up. Must not lose a wake-up between the last try and the sleep. */
    int (*arm)(struct link *link, enum want want, struct sleep_set *set);
    /* Many at once: announce() puts up the flag, true: settle() must follow, once for any number of them (a barrier; negative: it
     * failed), before the arm of each, which then only looks. NULL, both: arm does all. */
    bool (*announce)(struct link *link); /* [R] for WANT_RECEIVE */
    int (*settle)(void);
    void (*disarm)(struct link *link, enum want want); /* [R] or [S]: after every arm */
    void (*woken)(struct link *link, int fd, short revents); /* a descriptor of the set fired */
    int (*apart)(struct link *link); /* as process_apart(); NULL: by the peer's pid */
    void (*look)(struct link *link); /* the spinner's, once a millisecond: does the peer live? drains notes */
};

/* The table of mechanisms, NULL at its end. Defined in transport/transports.c, as core names no mechanism. */
extern const struct transport *const transports[];

const struct transport *transport_find(const char *scheme, size_t length);
