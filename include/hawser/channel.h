/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_CHANNEL_H
#define HAWSER_CHANNEL_H

/* A channel joins two processes. A message arrives whole, once, in order, or not at all; full means wait.
 *
 * Threads: one thread may send (send*, loan, commit, discard, flush, shutdown) while another receives
 * (recv*, take*, release, arm); with threads=many any number may do both. hawser_close() is for when
 * no other call is under way.
 *
 * Processes: after fork a channel belongs to the process that used it (an end of a pair: to the one that
 * uses it first). Another process's calls get -EPERM; its hawser_close() only closes descriptors.
 *
 * Errors that any call on a channel can return, besides what stands at it:
 *   -EINVAL     a NULL or malformed argument; nothing was done
 *   -EPERM      the channel belongs to another process (after fork), or was exported
 *   -ECANCELED  hawser_interrupt()
 *   -ENOMEM     no memory; nothing was done
 *   -EPROTO     the peer broke the protocol: the link is closed, the sentence names the failed check
 * and, where it sends:
 *   -EPIPE      the peer is gone, or hawser_shutdown() was called
 *   -ETIMEDOUT  the queue stayed full for the timeout (-EAGAIN with HAWSER_NOW); nothing was sent
 * and, where it receives:
 *   -ESHUTDOWN  the end: the peer closed or shut down, and everything it sent was received
 *   -ECONNRESET the end: the peer died, and every whole message it sent was received
 *   -ETIMEDOUT  nothing arrived within the timeout (-EAGAIN with HAWSER_NOW) */

#include <hawser/base.h>
#include <hawser/options.h>
#include <sys/types.h>

HAWSER_BEGIN

typedef struct hawser_channel hawser_channel;

/* A message, as hawser_take() gives and hawser_send_many() wants it. */
typedef struct hawser_message {
    const void *data;     /* its first byte; may be NULL where size is 0 */
    size_t size;          /* bytes */
    uint32_t stable;      /* taken: 1 when its bytes can no longer change, 0 when a hostile sender could change them */
    uint32_t reserved;    /* 0 */
    uint64_t internal[2]; /* taken: whose it is; leave alone */
} hawser_message;

#define HAWSER_ADDRESS_MAX 256 /* bytes of any address text, its NUL included */

/* Who is at the other end. What cannot be known is -1 or the empty string. */
struct hawser_peer {
    size_t struct_size; /* sizeof(struct hawser_peer); set by HAWSER_PEER_INIT */
    pid_t pid;          /* in this process's pid namespace; -1 unknown (tcp, fifo), 0 outside the namespace */
    uid_t uid;          /* (uid_t)-1 unknown */
    gid_t gid;          /* (gid_t)-1 unknown */
    int pidfd;          /* the channel's own: valid until hawser_close(), not to be closed; -1 unknown */
    char address[HAWSER_ADDRESS_MAX]; /* tcp: "192.0.2.1:4000" or "[2001:db8::1]:4000"; else "" */
    uint64_t reserved[4];
};

#define HAWSER_PEER_INIT { .struct_size = sizeof(struct hawser_peer) }

/* Counted since the channel was made. */
struct hawser_statistics {
    size_t struct_size; /* sizeof(struct hawser_statistics); set by HAWSER_STATISTICS_INIT */
    uint64_t messages_sent;
    uint64_t messages_received; /* taken by the program */
    uint64_t bytes_sent;        /* payload only */
    uint64_t bytes_received;
    uint64_t stalls;       /* times a sender found the queue full */
    uint64_t sleeps;       /* times a call slept in the kernel */
    uint64_t wakes;        /* times a sleeping peer was woken, by a doorbell or a futex (shm, sysv) */
    uint64_t system_calls; /* made inside calls on this channel */
    uint64_t reserved[8];
};

#define HAWSER_STATISTICS_INIT { .struct_size = sizeof(struct hawser_statistics) }

/* What a mechanism can do; hawser_capabilities(). */
#define HAWSER_CAN_TWO_WAY (1 << 0)     /* both ends send */
#define HAWSER_CAN_SYNC (1 << 1)        /* send_sync, flush */
#define HAWSER_CAN_ZERO_COPY (1 << 2)   /* loans and taken messages live in memory both ends share */
#define HAWSER_CAN_DESCRIPTORS (1 << 3) /* send_fds, recv_fds */
#define HAWSER_CAN_REMOTE (1 << 4)      /* reaches other machines */
#define HAWSER_CAN_CREDENTIALS (1 << 5) /* the kernel vouches for the peer's user */
#define HAWSER_CAN_PAIR (1 << 6)        /* hawser_pair(), hawser_export() */
#define HAWSER_CAN_GOODBYE (1 << 7)     /* tells a peer that closed from one that died */
#define HAWSER_CAN_ORDERED (1 << 8)     /* every mechanism so far */

/* Connects to a listener, waiting up to timeout for one to appear and to welcome us.
 * address: see the README's table; options: NULL for the defaults.
 * tcp: a host's name is looked up first, within the call, by getaddrinfo(3), which no timeout of ours ends: while no name server
 * answers, resolv.conf(5) says how long that takes (by default glibc gives up after 10 s or more). Numbers are not looked up.
 * Errors: -EINVAL (the sentence points at the character), -ETIMEDOUT or -EAGAIN (no listener), -EACCES (the
 * listener refuses our user, or runs as one we do not expect), -EPROTO (not a hawser listener, or one of
 * another version), -EMFILE, -ENFILE, -ENOMEM, -ENOSPC (a system-wide limit; the sentence names it),
 * -EOPNOTSUPP, and what the system calls of the mechanism say. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_connect(const char *address, const hawser_options *options, int64_t timeout,
                                                   hawser_channel **ret_channel);

/* Makes both ends of a channel, for two threads or, by fork or hawser_export(), two processes. The place
 * in the address is ignored and may be empty ("shm://"). The process that first uses an end owns it.
 * Errors: -EINVAL, -EOPNOTSUPP (fifo), -EMFILE, -ENFILE, -ENOMEM, -ENOSPC. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_pair(const char *address, const hawser_options *options, hawser_channel **ret_a,
                                                hawser_channel **ret_b);

/* Packs an unused end of a pair into one descriptor, to be passed to another process by any means (exec,
 * SCM_RIGHTS, hawser_send_fds()). The channel can then only be closed; the descriptor is the caller's.
 * Errors: -EBUSY (the end was used, or is no end of a pair), -EOPNOTSUPP, -EMFILE. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_export(hawser_channel *channel, int *ret_fd);

/* Makes an exported end a channel of this process, once. On success fd belongs to the channel; on failure
 * it stays the caller's. Options as for hawser_pair(); the mechanism is the exporter's.
 * Errors: -EBADF, -EPROTO (not an exported channel, or adopted before), -EMFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_adopt(int fd, const hawser_options *options, hawser_channel **ret_channel);

/* Says that nothing more comes from this end; receiving goes on. Again is 0. Does not wait. */
HAWSER_PUBLIC int hawser_shutdown(hawser_channel *channel);

/* Says goodbye, drains what is still queued here for up to linger, and frees the channel. What has not left by then is
 * lost, and to the peer this end died (-ECONNRESET). Messages not released and loans not committed end with it.
 * Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_channel *hawser_close(hawser_channel *channel);

/* Makes the call that waits on this channel, else the next one, return -ECANCELED; what it had begun to send
 * is still sent. Async-signal-safe; any thread. Does nothing on NULL. A sleeping call may take 12 ms to notice. */
HAWSER_PUBLIC void hawser_interrupt(hawser_channel *channel);

/* Sends: asynchronous, returns once the message is queued. data may be NULL where size is 0.
 * Errors: -EMSGSIZE (over max_message, here or at the peer; nothing sent, link intact). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_send(hawser_channel *channel, const void *data, size_t size, int64_t timeout);

/* Sends and returns once the peer's program has taken the message.
 * Errors: as hawser_send() (-EPIPE: the peer was gone before, nothing was sent); -ETIMEDOUT or -EAGAIN not sent,
 * -EINPROGRESS sent but not yet taken, -ESHUTDOWN or -ECONNRESET the peer closed, or died, without taking it, -ENOBUFS sent,
 * but read_ahead is full of messages of the peer that nobody receives (unix, tcp), -EOPNOTSUPP (fifo, SP peers). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_send_sync(hawser_channel *channel, const void *data, size_t size, int64_t timeout);

/* Waits until the peer's program has taken everything sent so far; 0 at once when nothing was. Errors as hawser_send_sync(), but
 * -ETIMEDOUT and -EAGAIN only when what is still in the outbox could not leave, and never -EPIPE: of a peer that is gone
 * it tells what became of the messages, 0, -ESHUTDOWN or -ECONNRESET. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_flush(hawser_channel *channel, int64_t timeout);

/* Receives into the caller's buffer of capacity bytes; *ret_size is the message's size. The bytes no longer
 * change. Errors: -EMSGSIZE (too small; the message stays, and *ret_size, as an exception, is the size it needs). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_recv(hawser_channel *channel, void *buffer, size_t capacity, int64_t timeout,
                                                size_t *ret_size);

/* Lends size bytes to write a message in place; several loans may be out at once. Waits for room like
 * hawser_send(). The memory is 8-byte aligned, its content undefined, the caller's until commit or discard.
 * Errors: -EMSGSIZE, -ENOBUFS (too many loans out: 64, or more bytes than can ever be had). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_loan(hawser_channel *channel, size_t size, int64_t timeout, void **ret_data);

/* Sends the first size bytes of a loan; never waits; the order of messages is the order of commits.
 * Errors: -EMSGSIZE (more than was lent; the loan stays), -EINVAL (not a loan), -EPIPE (the loan is gone). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_commit(hawser_channel *channel, void *data, size_t size);

/* Gives a loan back unsent. -EINVAL: not a loan of this channel. NULL is 0. */
HAWSER_PUBLIC int hawser_discard(hawser_channel *channel, void *data);

/* Takes the next message to read in place. It stays valid until hawser_release() or hawser_close(). Several
 * may be held; releases come in any order. What is held takes room from the sender; over shm a message of up to 16 KiB takes that of all
 * that is sent after it, too, until it is released: a ring's worth can be under way. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_take(hawser_channel *channel, int64_t timeout, hawser_message *ret_message);

/* Gives a taken message back and clears it. -EINVAL: not taken from this channel. */
HAWSER_PUBLIC int hawser_release(hawser_channel *channel, hawser_message *message);

/* Sends n messages (1 to 2^20) in order, as few system calls as the mechanism allows; of each only data and size are read.
 * Waits until all are queued, the timeout is over or hawser_interrupt() came (then the next call is -ECANCELED): 0 if at
 * least one is queued, and *ret_sent says how many.
 * Errors: as hawser_send(), when none was sent; -EMSGSIZE for one over max_message, wherever it stands. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_send_many(hawser_channel *channel, const hawser_message *messages, size_t n,
                                                     int64_t timeout, size_t *ret_sent);

/* Takes up to n messages: waits for the first only. Each must be released. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_take_many(hawser_channel *channel, hawser_message *ret_messages, size_t n,
                                                     int64_t timeout, size_t *ret_taken);

/* Sends a message with n (0 to 16) descriptors; they are duplicated, the caller's stay open.
 * Errors: as hawser_send(); -EOPNOTSUPP, -EBADF, -ETOOMANYREFS (the kernel's limit of descriptors in flight). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_send_fds(hawser_channel *channel, const void *data, size_t size, const int *fds,
                                                    size_t n, int64_t timeout);

/* Receives a message and up to capacity_fds descriptors (close-on-exec, now the caller's). recv, take and
 * take_many of a message that carries descriptors close them.
 * Errors: as hawser_recv(); -EMSGSIZE also for more descriptors than capacity_fds (*ret_n says how many), -EMFILE (none
 * free; the message stays). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_recv_fds(hawser_channel *channel, void *buffer, size_t capacity, int *fds,
                                                    size_t capacity_fds, int64_t timeout, size_t *ret_size, size_t *ret_n);

/* A descriptor for epoll, libuv, GLib: readable when hawser_arm() should be called again and receiving tried. It
 * belongs to the channel. The order is: hawser_arm(), sleep on it, receive until -EAGAIN. Works level- and edge-triggered.
 * It is readable also for the rest of a message to leave (hawser_arm() moves that on), but does not tell of room to send. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_fd(hawser_channel *channel, int *ret_fd);

/* To be called before each sleep on hawser_fd(). 0: sleep; 1: there is something to receive, or hawser_interrupt() was called:
 * do not sleep. An interrupt makes the descriptor readable; the receive that follows gets the -ECANCELED.
 * Errors: -EINVAL also when hawser_fd() was not called yet. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_arm(hawser_channel *channel);

/* Who is at the other end. -EAGAIN: an end of a pair whose other end nobody has used yet. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_peer(hawser_channel *channel, struct hawser_peer *ret_peer);

/* Counters. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_statistics(hawser_channel *channel,
                                                      struct hawser_statistics *ret_statistics);

/* What the mechanism of an address can do: HAWSER_CAN_... bits (positive), or -EINVAL. Any thread. */
HAWSER_PUBLIC int hawser_capabilities(const char *address);

HAWSER_END

#endif
