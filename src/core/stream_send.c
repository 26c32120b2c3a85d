/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The sending half of a stream. Small messages are copied behind one another into a parcel and leave in one write; a large one
 * leaves from the caller's memory. What could not leave though it had begun goes first in the next write: `rest` while it
 * lies in the caller's memory, else the outbox. Nothing new begins while there is any of either, but for committed loans
 * and frames of the stream's own, which queue in the outbox. */

#include "core/bytes.h"
#include "core/stream_memory.h"

#include "base/error.h"

#include <errno.h>

#define PUT_MOST ((size_t)1024) /* bytes of a message that goes the short way */

int stream_sendable(struct stream *stream) {
    int r = link_broken(&stream->link);
    if (r < 0)
        return r;
    /* pairs with stream_close_seen and set_gone */
    if (stream->sending.dead || load_acquire(&stream->closed) || load_acquire(&stream->link.peer.gone))
        return link_peer_gone();
    return 0;
}

void stream_note_stuck(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    uint32_t stuck = sending->first || sending->n_rest > 0 ? STUCK_BYTES : 0;
    store_relaxed(&stream->link.midway_out, stuck ? stream->sending.pushed | 1u << 31 : 0);
    if (stream->framing == FRAMING_NATIVE && sending->paid != load_acquire(&stream->owed)) /* pairs with stream_owe */
        stuck |= stream->link.peer.socket >= 0 ? STUCK_NOTE : STUCK_BYTES;
    if (stuck != load_relaxed(&stream->stuck))
        store_seq_cst(&stream->stuck, stuck); /* pairs with each load of stuck */
    if (stuck)
        store_seq_cst(&stream->link.ack_due, 1); /* pairs with unpaid */
}

static size_t vector_left(const struct iovec *vector, unsigned n) {
    size_t left = 0;
    for (unsigned i = 0; i < n; i++)
        left += vector[i].iov_len;
    return left;
}

/* Takes bytes from the vector's front. */
static void vector_advance(struct iovec *vector, unsigned *n, size_t bytes) {
    unsigned done = 0;
    while (done < *n && bytes >= vector[done].iov_len)
        bytes -= vector[done++].iov_len;
    for (unsigned i = done; i < *n; i++)
        vector[i - done] = vector[i];
    *n -= done;
    if (*n > 0) {
        vector[0].iov_base = (uint8_t *)vector[0].iov_base + bytes;
        vector[0].iov_len -= bytes;
    }
}

/* Writes as much of the vector as goes, which is moved on. 0: all of it; -EAGAIN; -EPIPE and the like. */
static int push(struct stream *stream, struct iovec *vector, unsigned *n, const struct descriptors *fds) {
    for (;;) {
        ssize_t written = fds ? stream->io->write_fds(stream, vector, (int)*n, fds) : stream->io->write(stream, vector, (int)*n);
        if (written == -EPIPE || written == -ECONNRESET) {
            stream->sending.dead = true;
            return link_peer_gone();
        }
        if (written < 0)
            return (int)written;
        stream->sending.pushed++;
        vector_advance(vector, n, (size_t)written);
        if (*n == 0)
            return 0;
        fds = NULL;
        if (!stream->packet)
            return -EAGAIN; /* a short write means full: spare the call that would say so */
    }
}

static int flush_parcel(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    struct parcel *parcel = sending->first;
    struct iovec vector = { parcel->memory + parcel->start, parcel->end - parcel->start };
    unsigned n = 1;
    int r = push(stream, &vector, &n, NULL);
    if (r < 0) {
        parcel->start = parcel->end - vector.iov_len;
        return r;
    }
    sending->first = parcel->next;
    if (!sending->first)
        sending->last = NULL;
    parcel_put(sending, parcel);
    return 0;
}

int stream_flush_bytes(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    int r = 0;
    while (r == 0 && (sending->n_rest > 0 || sending->first))
        r = sending->n_rest > 0 ? push(stream, sending->rest, &sending->n_rest, NULL) : flush_parcel(stream);
    if (r == -EPIPE)
        parcel_drop_all(sending);
    /* A kernel short of memory is like a full one: what has begun must not be lost. */
    return r == -ENOMEM || r == -ENOBUFS ? -EAGAIN : r;
}

/* May a message begin? 0, -EAGAIN, or an error. */
static int begin(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    if (sending->first || sending->n_rest > 0 || load_relaxed(&stream->link.ack_due)) {
        int r = stream_progress(&stream->link);
        if (r < 0)
            return r;
    }
    stream_look_again(stream, &sending->looked_ns);
    return stream_sendable(stream);
}

/* Writes a message's header, returns its size. */
static size_t put_head(const struct stream *stream, uint8_t *where, enum frame_kind kind, size_t size, size_t n_fds) {
    if (stream->framing == FRAMING_SP_IPC)
        *where++ = 1;
    if (stream->framing <= FRAMING_SP_IPC)
        bytes_put64(where, (stream->framing == FRAMING_NATIVE ? (uint64_t)kind << 56 : 0) | (size + (n_fds > 0 ? 8 : 0)));
    if (n_fds > 0)
        bytes_put64(where + 8, n_fds);
    return stream_head_size(stream) + (n_fds > 0 ? 8 : 0);
}

static size_t tail_size(const struct stream *stream) { return stream->framing == FRAMING_LINE ? 1 : 0; }

/* What the framing cannot carry. */
static int check_payload(const struct stream *stream, const void *data, size_t size) {
    if (stream->framing == FRAMING_LINE && size > 0 && memchr(data, '\n', size))
        return error_set(-EINVAL, "framing=line: a message must not contain a newline");
    if (stream->framing == FRAMING_NONE && size == 0)
        return error_set(-EINVAL, "framing=none cannot carry an empty message");
    return 0;
}

static enum frame_kind kind_of(bool fds, bool sync) {
    return fds ? FRAME_DATA_FDS : sync ? FRAME_DATA_SYNC : FRAME_DATA;
}

/* One message that leaves from where it lies. */
static int send_large(struct stream *stream, const hawser_message *message, const struct descriptors *fds, bool sync) {
    struct stream_sending *sending = &stream->sending;
    int r = check_payload(stream, message->data, message->size);
    if (r < 0)
        return r;
    size_t head = put_head(stream, sending->head, kind_of(fds, sync), message->size, fds ? fds->n : 0);
    sending->n_rest = 0;
    if (head > 0)
        sending->rest[sending->n_rest++] = (struct iovec){ sending->head, head };
    sending->rest[sending->n_rest++] = (struct iovec){ (void *)(uintptr_t)message->data, message->size };
    if (tail_size(stream) > 0) {
        sending->head[0] = '\n';
        sending->rest[sending->n_rest++] = (struct iovec){ sending->head, 1 };
    }
    size_t whole = vector_left(sending->rest, sending->n_rest);
    store_release(&stream->sent, stream->sent + 1); /* before its first byte leaves; pairs with each load of sent */
    r = push(stream, sending->rest, &sending->n_rest, fds);
    if (r == 0)
        return 0;
    if (vector_left(sending->rest, sending->n_rest) < whole && r != -EPIPE)
        return -EINPROGRESS;
    sending->n_rest = 0;
    store_release(&stream->sent, stream->sent - 1); /* pairs with each load of sent */
    return r;
}

static size_t framed_size(const struct stream *stream, const hawser_message *message, const struct descriptors *fds) {
    return stream_head_size(stream) + (fds ? 8 : 0) + message->size + tail_size(stream);
}

/* Copies messages into the parcel while they are small and fit; returns how many, or what is wrong with the first. */
static int gather(struct stream *stream, struct parcel *parcel, const hawser_message *messages, size_t n,
                  const struct descriptors *fds, bool sync, size_t *ret_count) {
    size_t limit = stream->packet && stream->packet < STREAM_GATHER ? stream->packet : STREAM_GATHER;
    size_t i = 0;
    for (; i < n; i++) {
        const hawser_message *message = &messages[i];
        size_t framed = framed_size(stream, message, fds);
        if (i > 0 && (framed > STREAM_SMALL || parcel->end + framed > limit))
            break;
        int r = check_payload(stream, message->data, message->size);
        if (r < 0 && i == 0)
            return r;
        if (r < 0)
            break;
        uint8_t *at = parcel->memory + parcel->end;
        at += put_head(stream, at, kind_of(fds, sync && i == n - 1), message->size, fds ? fds->n : 0);
        if (message->size > 0)
            memcpy(at, message->data, message->size);
        if (tail_size(stream) > 0)
            at[message->size] = '\n';
        parcel->end += framed;
    }
    *ret_count = i;
    return 0;
}

/* The first `left` bytes of the parcel have left. Drops messages that had not begun; returns how many had. */
static size_t cut_unbegun(const struct stream *stream, struct parcel *parcel, size_t left, const hawser_message *messages,
                          const struct descriptors *fds) {
    size_t begun = 0, boundary = 0;
    while (boundary < left)
        boundary += framed_size(stream, &messages[begun++], fds);
    parcel->start = left;
    parcel->end = boundary;
    return begun;
}

/* As many messages as one write takes. */
static int send_small(struct stream *stream, const hawser_message *messages, size_t n, const struct descriptors *fds,
                      bool sync, size_t *ret_sent) {
    struct stream_sending *sending = &stream->sending;
    struct parcel *parcel = parcel_get(sending, n == 1 ? messages->size + 8 : STREAM_GATHER + STREAM_SMALL);
    if (!parcel)
        return error_note(-ENOMEM, "send: no memory");
    size_t count = 0;
    int r = gather(stream, parcel, messages, n, fds, sync, &count);
    if (r < 0) {
        parcel_put(sending, parcel);
        return r;
    }
    struct iovec vector = { parcel->memory, parcel->end };
    unsigned n_vector = 1;
    store_release(&stream->sent, stream->sent + count); /* before the first byte leaves; pairs with each load of sent */
    r = push(stream, &vector, &n_vector, fds);
    size_t left = n_vector > 0 ? parcel->end - vector.iov_len : parcel->end;
    size_t begun = r == 0 ? count : r == -EPIPE ? 0 : cut_unbegun(stream, parcel, left, messages, fds);
    if (begun < count)
        store_release(&stream->sent, stream->sent - (count - begun)); /* pairs with each load of sent */
    if (begun > 0)
        *ret_sent = begun;
    if (r == 0 || begun == 0 || parcel->start == parcel->end) {
        parcel_put(sending, parcel);
        return begun > 0 ? 0 : r;
    }
    parcel_append(sending, parcel);
    return -EINPROGRESS;
}

static int check_kind(const struct stream *stream, const struct descriptors *fds, bool sync) {
    if (fds && (stream->framing != FRAMING_NATIVE || !stream->io->write_fds))
        return error_set(-EOPNOTSUPP, "this mechanism, or this peer, cannot carry descriptors");
    if (sync && stream->framing != FRAMING_NATIVE)
        return error_set(-EOPNOTSUPP, "this peer does not acknowledge: it speaks plain SP, or this is a fifo");
    return 0;
}

int stream_send(struct link *link, const hawser_message *messages, size_t n, const struct descriptors *fds, bool sync,
                size_t *ret_sent) {
    struct stream *stream = stream_of(link);
    if (fds && fds->n == 0)
        fds = NULL;
    int r = begin(stream);
    if (r == 0)
        r = check_kind(stream, fds, sync);
    size_t done = 0;
    while (r == 0 && done < n) {
        size_t sent = 0;
        if (framed_size(stream, &messages[done], fds) > STREAM_SMALL) {
            r = send_large(stream, &messages[done], fds, sync && done == n - 1);
            sent = r == 0 || r == -EINPROGRESS ? 1 : 0;
        } else {
            r = send_small(stream, messages + done, n - done, fds, sync, &sent);
        }
        done += sent;
    }
    if (stream->sending.first || stream->sending.n_rest > 0)
        stream_note_stuck(stream);
    if (done == 0)
        return r;
    if (sync && done == n)
        store_relaxed(&stream->sending.asked, stream->sent);
    *ret_sent = done;
    return r == -EINPROGRESS ? r : 0;
}

/* Part of a message has left, so the rest must. Without memory the link is broken, as the next call will tell. */
static void put_rest(struct stream *stream, const uint8_t *bytes, size_t size) {
    struct parcel *parcel = parcel_get(&stream->sending, size);
    if (!parcel) {
        link_break(&stream->link, "no memory for the rest of a message that had begun to leave");
        return;
    }
    memcpy(parcel->memory, bytes, size);
    parcel->end = size;
    parcel_append(&stream->sending, parcel);
    stream_note_stuck(stream);
}

int stream_put(struct link *link, const void *data, size_t size) {
    struct stream *stream = stream_of(link);
    struct stream_sending *sending = &stream->sending;
    uint8_t piece[STREAM_HEAD_MAX + PUT_MOST];
    size_t most = stream->packet && stream->packet < sizeof piece ? stream->packet : sizeof piece;
    if (size + STREAM_HEAD_MAX > most || size > load_relaxed(&link->max_message) || stream->framing > FRAMING_SP_IPC ||
        sending->first || sending->n_rest > 0 || load_relaxed(&link->ack_due))
        return 1;
    stream_look_again(stream, &sending->looked_ns);
    if (load_relaxed(&link->broken) || sending->dead || load_relaxed(&stream->closed) || load_relaxed(&link->peer.gone))
        return 1;
    size_t head = put_head(stream, piece, FRAME_DATA, size, 0);
    if (size > 0)
        memcpy(piece + head, data, size);
    struct iovec vector = { piece, head + size };
    store_release(&stream->sent, stream->sent + 1); /* before its first byte leaves; pairs with each load of sent */
    ssize_t put = stream->io->write(stream, &vector, 1);
    if (put == (ssize_t)vector.iov_len)
        return 0;
    if (put > 0) {
        put_rest(stream, piece + put, vector.iov_len - (size_t)put);
        return -EINPROGRESS;
    }
    store_release(&stream->sent, stream->sent - 1); /* pairs with each load of sent */
    return 1;
}

int stream_keep(struct link *link) {
    struct stream *stream = stream_of(link);
    struct stream_sending *sending = &stream->sending;
    if (sending->n_rest == 0)
        return 0;
    struct parcel *parcel = parcel_get(sending, vector_left(sending->rest, sending->n_rest));
    if (!parcel) {
        sending->n_rest = 0;
        link_break(link, "no memory for the rest of a message that had begun to leave");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < sending->n_rest; i++) {
        memcpy(parcel->memory + parcel->end, sending->rest[i].iov_base, sending->rest[i].iov_len);
        parcel->end += sending->rest[i].iov_len;
    }
    sending->n_rest = 0;
    parcel->next = sending->first; /* before what was queued meanwhile */
    sending->first = parcel;
    if (!sending->last)
        sending->last = parcel;
    return 0;
}

/* ---- Loans ---- */

int stream_loan(struct link *link, size_t size, void **ret_data) {
    struct stream *stream = stream_of(link);
    struct stream_sending *sending = &stream->sending;
    int r = begin(stream);
    if (r < 0)
        return r;
    if (sending->n_loans == STREAM_LOANS)
        return error_set(-ENOBUFS, "loan: %d loans are out, more there cannot be: commit or discard some", STREAM_LOANS);
    struct parcel *parcel = parcel_get(sending, size);
    if (!parcel)
        return error_set(-ENOMEM, "loan: no memory for %zu bytes", size);
    sending->loans[sending->n_loans++] = parcel;
    *ret_data = parcel->memory + STREAM_HEAD_MAX;
    return 0;
}

/* The loan's index, or n_loans. The latest ones first: few are out, and the last lent is mostly the next committed. */
static unsigned loan_find(const struct stream_sending *sending, const void *data) {
    for (unsigned i = sending->n_loans; i-- > 0;)
        if (sending->loans[i]->memory + STREAM_HEAD_MAX == data)
            return i;
    return sending->n_loans;
}

static struct parcel *loan_steal(struct stream_sending *sending, unsigned i) {
    struct parcel *parcel = sending->loans[i];
    sending->loans[i] = sending->loans[--sending->n_loans];
    return parcel;
}

/* Writes the parcel, or what is left of it goes to the outbox: no call of this thread need follow that moves it on, so another one's
 * that sleeps already is to. */
static int push_or_queue(struct stream *stream, struct parcel *parcel) {
    struct stream_sending *sending = &stream->sending;
    bool idle = !sending->first && sending->n_rest == 0;
    parcel_append(sending, parcel);
    int r = stream_flush_bytes(stream);
    if (sending->first)
        stream_note_stuck(stream);
    if (sending->first && idle)
        link_news(&stream->link);
    return r == -EAGAIN ? 0 : r;
}

int stream_commit(struct link *link, void *data, size_t size) {
    struct stream *stream = stream_of(link);
    struct stream_sending *sending = &stream->sending;
    unsigned i = loan_find(sending, data);
    if (i == sending->n_loans)
        return error_set(-EINVAL, "commit: %p is not a loan of this channel", data);
    if (size > sending->loans[i]->capacity)
        return error_set(-EMSGSIZE, "commit: %zu bytes, but %zu were lent", size, sending->loans[i]->capacity);
    int r = check_payload(stream, data, size);
    if (r < 0)
        return r;
    struct parcel *parcel = loan_steal(sending, i);
    r = stream_sendable(stream);
    if (r < 0) {
        parcel_put(sending, parcel);
        return r;
    }
    parcel->start = STREAM_HEAD_MAX - stream_head_size(stream);
    parcel->end = STREAM_HEAD_MAX + size + tail_size(stream);
    put_head(stream, parcel->memory + parcel->start, FRAME_DATA, size, 0);
    if (tail_size(stream) > 0)
        parcel->memory[parcel->end - 1] = '\n';
    store_release(&stream->sent, stream->sent + 1); /* before its first byte leaves; pairs with each load of sent */
    return push_or_queue(stream, parcel);
}

int stream_discard(struct link *link, void *data) {
    struct stream_sending *sending = &stream_of(link)->sending;
    if (!data)
        return 0;
    unsigned i = loan_find(sending, data);
    if (i == sending->n_loans)
        return error_set(-EINVAL, "discard: %p is not a loan of this channel", data);
    parcel_put(sending, loan_steal(sending, i));
    return 0;
}

/* ---- Frames of the stream's own ---- */

int stream_frame(struct stream *stream, enum frame_kind kind, const void *payload, size_t size) {
    int r = stream_sendable(stream);
    if (r < 0)
        return r;
    struct parcel *parcel = parcel_get(&stream->sending, size);
    if (!parcel)
        return error_note(-ENOMEM, "no memory for a frame");
    parcel->end = put_head(stream, parcel->memory, kind, size, 0) + size;
    if (size > 0)
        memcpy(parcel->memory + parcel->end - size, payload, size);
    return push_or_queue(stream, parcel);
}
