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

struct stream;

struct stream_io {
    /* At most one system call each, without waiting. Bytes moved (> 0), 0 (read: end of the stream), -EAGAIN, or an error;
     * write: -EPIPE when nobody can read any more, and never SIGPIPE. EINTR is retried inside. */
    ssize_t (*read)(struct stream *stream, const struct iovec *vector, int n);
    ssize_t (*write)(struct stream *stream, const struct iovec *vector, int n);
    size_t packet; /* 0: bytes; else read gives one packet of at most this and needs that much room in vector[0] */
    /* Descriptors to sleep on, called from stream_arm. */
    void (*sleep)(struct stream *stream, enum want want, struct sleep_set *set);
};
