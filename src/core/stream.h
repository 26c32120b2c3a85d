/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Messages over anything that carries bytes in order: pipe, FIFO, socket, and (a packet being a piece of the byte
 * stream) message queues. Six mechanisms share it; each brings a way to read and to write bytes.
 *
 * Frames. A native frame is an 8-byte big-endian word, its top byte the kind, the other 56 bits the payload's size,
 * then the payload. SP frames (docs/wire.md) have a 64-bit big-endian size, on Unix sockets behind a byte 01.
 *
 * Receiving. Bytes are read ahead into reference-counted blocks, so that one system call brings many messages and a
 * taken message stays where it was read until released. A large message is read straight into recv's buffer once its
 * header is known.
 * Sending. A message leaves in one write, header and payload together; small ones are gathered into one contiguous
 * buffer first, many at a time in send_many. What could not leave though it had begun lies in the outbox: a queue of parcels
 * (at most one message, but for committed loans, whose memory simply moves there).
 *
 * Acknowledgements count messages: a frame of kind DATA_SYNC or ASK makes the receiver owe "n messages taken so far" once the
 * messages before have been taken by its program. It pays in its own later calls: by NOTE_ACK on the rendezvous socket where
 * there is one, else by an ACK frame in the stream (never into the middle of a message). */

#include "core/transport.h"

#include <sys/uio.h>

enum frame_kind {
    FRAME_DATA = 0,
    FRAME_DATA_SYNC = 1,  /* acknowledge once taken */
    FRAME_DATA_FDS = 2,   /* unix: descriptors come with it, see transport/unix; stream calls io->receive_fds */
    FRAME_ASK = 3,        /* no payload: acknowledge once all before is taken */
    FRAME_ACK = 4,        /* payload: 8 bytes big-endian, messages taken so far */
    FRAME_SHUTDOWN = 5,   /* no payload: no more messages follow; acknowledgements may */
    FRAME_CLOSE = 6,      /* no payload: the end, nobody receives here any more */
    FRAME_HELLO = 7,      /* first frame of a native unix or tcp link: limits; payload in docs/wire.md */
};

enum framing {
    FRAMING_NATIVE,
    FRAMING_SP,     /* tcp: 8 bytes of size */
    FRAMING_SP_IPC, /* unix: 01, 8 bytes of size */
    FRAMING_LINE,   /* fifo */
    FRAMING_NONE,   /* fifo */
};

#define STREAM_HEAD_MAX 16 /* room in front of a payload for its header, so that both leave in one piece */
#define STREAM_SMALL ((size_t)16 << 10) /* header and payload up to this are copied together: cheaper than an iovec */
#define STREAM_GATHER ((size_t)64 << 10) /* most bytes of one gathering write */
#define STREAM_BLOCK ((size_t)64 << 10) /* first size of a block of read-ahead */
#define STREAM_LOANS 64         /* loans out at once */
#define STREAM_HELLO_MAX 256    /* bytes of a FRAME_HELLO's payload */
#define STREAM_CLASSES 28       /* parcels are recycled by the power of two that they hold */

/* On the rendezvous socket, beside the frames of the same meaning: by the end that closes, as a child of its process may hold the
 * stream's descriptors open; and by the one that asks for acknowledgement of `value` messages, as the peer may wait
 * for one itself and then does not read the stream. */
#define NOTE_STREAM_CLOSE (NOTE_OWN + 0)
#define NOTE_STREAM_ASK (NOTE_OWN + 1)

struct stream;

struct stream_io {
    /* At most one system call each, without waiting. Bytes moved (> 0), 0 (read: end of the stream), -EAGAIN, or an error;
     * write: -EPIPE when nobody can read any more, and never SIGPIPE. EINTR is retried inside. */
    ssize_t (*read)(struct stream *stream, const struct iovec *vector, int n);
    ssize_t (*write)(struct stream *stream, const struct iovec *vector, int n);

    size_t packet; /* 0: bytes; else read gives one packet of at most this and needs that much room in vector[0], and write may
                    * send fewer bytes than it is given: one packet. stream->packet, set by stream_init, is what counts. */
    bool unpollable; /* arm must try a read before a sleep, as no descriptor tells that bytes have come */

    /* The three below may be NULL. */

    /* As write, with descriptors attached to the first byte that leaves. [S] */
    ssize_t (*write_fds)(struct stream *stream, const struct iovec *vector, int n, const struct descriptors *fds);
    /* Hands over the oldest n (1 to 16) descriptors that read brought: copied to fds, or closed when that is NULL. Returns
     * -EPROTO without touching any when fewer came. [R] A message with descriptors is a frame FRAME_DATA_FDS whose payload
     * begins with an 8-byte big-endian word, their number; the message follows. */
    int (*take_fds)(struct stream *stream, unsigned n, int *fds);
    /* The payload (up to STREAM_HELLO_MAX bytes, hostile) of a FRAME_HELLO: 0 or link_break()'s -EPROTO. NULL: a hello in
     * the stream breaks the link. [R] */
    int (*hello)(struct stream *stream, const uint8_t *payload, size_t size);

    /* Descriptors to sleep on; called by stream_arm after its own checks. NULL: stream_sleep. */
    void (*sleep)(struct stream *stream, enum want want, struct sleep_set *set);
};

struct parcel; /* memory of a loan, the stage, or something in the outbox */
struct block;  /* memory of read-ahead and taken messages */

/* Belongs to the sending half. Bytes leave in this order: rest, then the outbox. */
struct stream_sending {
    struct parcel *first, *last; /* outbox */
    struct iovec rest[2];        /* of a message that still lies in the caller's memory, and its header */
    unsigned n_rest;
    uint8_t head[STREAM_HEAD_MAX];
    struct parcel *loans[STREAM_LOANS];
    unsigned n_loans;
    struct parcel *spare[STREAM_CLASSES];
    uint8_t n_spare[STREAM_CLASSES];
    uint64_t asked; /* atomic: of `sent`, when an acknowledgement was last asked for */
    uint64_t paid;  /* of `owed`, what was acknowledged */
    uint32_t pushed; /* writes that took something */
    bool shut;      /* SHUTDOWN is on its way ... */
    bool closing;   /* ... CLOSE is ... */
    bool noted;     /* ... and NOTE_STREAM_CLOSE was sent */
    bool dead;      /* a write found that nobody reads */
    int64_t looked_ns; /* when this half last looked whether the peer lives */
};

/* Belongs to the receiving half. Unread bytes are block[start..end). With `inside` the header of a message was read: its
 * first payload byte is at start, or, while the message is `handed`, `got` bytes of it lie in recv's buffer and what
 * is in the block comes after them. */
struct stream_receiving {
    struct block *block;
    size_t start, end;
    uint64_t position, scanned; /* offsets in the whole stream, less what acked() took out of it: of start; of the first frame
                                 * that acked() has not looked at */
    struct block *spare;        /* blocks nobody refers to */
    unsigned n_spare;
    struct block *held; /* left behind, but taken messages lie in them */
    bool inside;
    uint8_t kind;
    uint8_t n_fds; /* that come with the message */
    uint8_t tail;  /* bytes behind the payload: a newline */
    size_t size, got;
    uint8_t *handed;
    bool unhanded; /* it was, and was taken back: once is enough, as that copies all of it that has come */
    uint64_t taken; /* atomic: messages. Written by [R] */
    uint64_t told;  /* what acked() last returned ... */
    uint64_t heard; /* ... and how many bytes of the whole stream it had then */
    bool large;     /* the last message was: read little at a time, so that the next one's bytes need not be copied */
    bool drops_fds; /* the call under way does not want descriptors: io may drop those there is no room for */
    bool empty;     /* the last read got -EAGAIN */
    unsigned pauses, streak; /* before the next read: see moderate() */
    uint64_t sent_seen; /* of stream->sent, at the last read */
    int64_t looked_ns; /* as in stream_sending */
    bool shut, eof; /* SHUTDOWN was read; read returned 0 */
};

struct stream {
    struct link link;
    const struct stream_io *io;
    int read_fd, write_fd; /* closed by stream_deinit; the same for a socket; -1: none (sysv) */
    enum framing framing;
    size_t packet; /* of io; a transport whose packet size is an option sets its own before the first use */
    uint64_t sent;   /* atomic: messages whose first byte may have left. Written by [S] before they leave */
    uint64_t owed;   /* atomic: what is to be acknowledged; only grows */
    uint64_t asked;  /* atomic: the most that a NOTE_STREAM_ASK wanted acknowledged */
    uint64_t acked;  /* atomic: by ACK frames. Written by [R] */
    uint32_t closed; /* atomic: CLOSED_ of the peer: sending is -EPIPE */
    uint32_t stuck;  /* atomic: STUCK_ bits of what progress could not do. Written by [S] */
    struct stream_sending sending;
    struct stream_receiving receiving;
};

#define CLOSED_GOODBYE 1u /* it said CLOSE */
#define CLOSED_DIED 2u    /* the stream ended without */

#define STUCK_BYTES 1u /* the outbox waits for room in write_fd */
#define STUCK_NOTE 2u  /* an acknowledgement waits for room in the rendezvous socket */

/* stream is zeroed memory, the first member of the mechanism's own struct; calls link_init. Cannot fail: memory comes
 * with the first message. Descriptors are -1 until the mechanism puts them there; they must be O_NONBLOCK. */
void stream_init(struct stream *stream, const struct transport *transport, const struct options *options, enum link_role role,
                 const struct stream_io *io, enum framing framing);
/* Closes the descriptors, frees messages, loans and outbox, calls link_deinit. Says nothing to the peer. */
void stream_deinit(struct stream *stream);

/* [R] Bytes that were read before the stream began (by greet, say) come first. -ENOMEM. */
int stream_preload(struct stream *stream, const void *bytes, size_t size);
/* [S] Puts a frame of the library's own (a HELLO) behind all that was sent and tries to move it on. 0 also when it has to
 * wait; -ENOMEM, -EPIPE. */
int stream_frame(struct stream *stream, enum frame_kind kind, const void *payload, size_t size);
/* The sleep of streams whose descriptors can be polled: read_fd, write_fd while something is stuck, and the peer's. */
void stream_sleep(struct stream *stream, enum want want, struct sleep_set *set);

/* The data operations of a transport's table; see transport.h. The tables set halves_meet and dear. */
int stream_send(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync,
                size_t *ret_sent);
int stream_put(struct link *link, const void *data, size_t size);
int stream_progress(struct link *link);
int stream_keep(struct link *link);
int stream_loan(struct link *link, size_t size, void **ret_data);
int stream_commit(struct link *link, void *data, size_t size);
int stream_discard(struct link *link, void *data);
int stream_recv(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size);
int stream_get(struct link *link, void *buffer, size_t capacity, size_t *ret_size);
int stream_unhand(struct link *link);
int stream_take(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken);
int stream_release(struct link *link, hawser_message *message);
int stream_ready(struct link *link);
int stream_room(struct link *link);
int stream_ask(struct link *link);
int stream_acked(struct link *link, uint64_t *ret_taken);
int stream_shutdown(struct link *link);
int stream_drained(struct link *link);             /* also says CLOSE */
void stream_close(struct link *link, bool owner);  /* CLOSE if it was not said; stream_deinit; frees link */
int stream_arm(struct link *link, enum want want, struct sleep_set *set);
void stream_disarm(struct link *link, enum want want);
void stream_woken(struct link *link, int fd, short revents);
void stream_look(struct link *link);
int stream_note(struct link *link, const struct note *note); /* NOTE_STREAM_...; others: -EPROTO */

/* Those that no mechanism has to add to, for its table. */
#define STREAM_OPERATIONS                                                                       \
    .keep = stream_keep, .commit = stream_commit, .discard = stream_discard, .unhand = stream_unhand, \
    .release = stream_release, .shutdown = stream_shutdown, .put = stream_put, .get = stream_get

/* Between the stream_*.c files. */

/* For a program that never waits, and so would hear neither of notes nor of a peer's death while a child of it holds the
 * stream open: looks at the peer unless that was done of late. Both halves do. */
void stream_look_again(struct stream *stream, int64_t *looked_ns);
int stream_sendable(struct stream *stream);           /* [S] 0, -EPROTO, -EPIPE */
int stream_flush_bytes(struct stream *stream);        /* [S] rest and outbox: 0, -EAGAIN, -EPIPE */
void stream_note_stuck(struct stream *stream);        /* [S] tells the receiving half what is stuck */
int stream_next(struct stream *stream);  /* [R] 0: inside a message; -EAGAIN: bytes are missing; or the end's error */
void stream_owe(struct stream *stream);   /* an acknowledgement of all that was taken */
bool stream_whole(struct stream *stream); /* [R] inside a message, and all of it came */
int stream_fill(struct stream *stream, size_t want); /* [R] one read: 0 bytes came, -EAGAIN, or an error */


static inline struct stream *stream_of(struct link *link) { return (struct stream *)link; }

static inline size_t stream_head_size(const struct stream *stream) {
    static const uint8_t sizes[] = { [FRAMING_NATIVE] = 8, [FRAMING_SP] = 8, [FRAMING_SP_IPC] = 9 };
    return stream->framing <= FRAMING_SP_IPC ? sizes[stream->framing] : 0;
}
