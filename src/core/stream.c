/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A stream's life, its goodbye, and how one waits for it. */

#include "core/stream.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/bytes.h"
#include "core/stream_memory.h"
#include "core/stream_receive.h"

#include <errno.h>

void stream_init(struct stream *stream, const struct transport *transport, const struct options *options, enum link_role role,
                 const struct stream_io *io, enum framing framing) {
    link_init(&stream->link, transport, options, role);
    stream->io = io;
    stream->read_fd = stream->write_fd = -1;
    stream->framing = framing;
    stream->packet = io->packet;
}

void stream_deinit(struct stream *stream) {
    if (stream->write_fd >= 0 && stream->write_fd != stream->read_fd)
        sys_close(stream->write_fd);
    if (stream->read_fd >= 0)
        sys_close(stream->read_fd);
    stream->read_fd = stream->write_fd = -1;
    parcel_free_all(&stream->sending);
    block_free_all(&stream->receiving);
    link_deinit(&stream->link);
}

int stream_preload(struct stream *stream, const void *bytes, size_t size) {
    struct stream_receiving *receiving = &stream->receiving;
    int r = block_reserve(receiving, size, size);
    if (r < 0)
        return error_note(r, "no memory to receive into");
    if (size > 0)
        memcpy(receiving->block->data + receiving->end, bytes, size);
    receiving->end += size;
    return 0;
}

/* ---- Moving on ---- */

#define LOOK_AGAIN_NS INT64_C(20000000)

/* Acknowledges what is owed. A frame goes only where the stream is between messages, and only one: the number may have
 * grown by the time it leaves. */
static void pay(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    struct peer *peer = &stream->link.peer;
    uint64_t owed = load_acquire(&stream->owed); /* pairs with stream_owe */
    if (owed == sending->paid || stream->framing != FRAMING_NATIVE)
        return;
    int r = -EAGAIN;
    if (peer->socket >= 0) {
        r = peer_note(peer, NOTE_ACK, owed);
    } else if (!sending->first && sending->n_rest == 0) {
        uint8_t count[8];
        bytes_put64(count, owed);
        r = stream_frame(stream, FRAME_ACK, count, sizeof count);
    }
    if (r != -EAGAIN && r != -ENOMEM)
        sending->paid = owed;
}

int stream_progress(struct link *link) {
    struct stream *stream = stream_of(link);
    store_seq_cst(&link->ack_due, 0); /* before `owed` is read: what is owed later raises it again; pairs with unpaid */
    int r = stream_sendable(stream);
    if (r < 0) {
        parcel_drop_all(&stream->sending);
        store_seq_cst(&stream->stuck, 0); /* pairs with each load of stuck */
        return r;
    }
    r = stream_flush_bytes(stream);
    if (r == 0 || r == -EAGAIN)
        pay(stream); /* what cannot be paid now raises ack_due again */
    stream_note_stuck(stream);
    return r == 0 && stream->sending.first ? -EAGAIN : r;
}

int stream_ask(struct link *link) {
    struct stream *stream = stream_of(link);
    if (stream->framing != FRAMING_NATIVE)
        return error_set(-EOPNOTSUPP, "this peer does not acknowledge: it speaks plain SP, or this is a fifo");
    int r = stream_progress(link);
    if (r < 0 || load_relaxed(&stream->sending.asked) == stream->sent)
        return r;
    r = stream_frame(stream, FRAME_ASK, NULL, 0);
    if (r < 0)
        return r;
    store_relaxed(&stream->sending.asked, stream->sent);
    if (link->peer.socket >= 0)
        peer_note(&link->peer, NOTE_STREAM_ASK, stream->sent); /* full: the frame must do */
    return 0;
}

/* ---- Goodbye ---- */

static int say(struct stream *stream, bool *said, enum frame_kind kind) {
    if (*said || stream->framing != FRAMING_NATIVE)
        return 0;
    int r = stream_keep(&stream->link); /* nothing follows half a message */
    if (r == 0)
        r = stream_frame(stream, kind, NULL, 0);
    if (r == 0)
        *said = true;
    return r == -EPIPE ? 0 : r;
}

int stream_shutdown(struct link *link) {
    struct stream *stream = stream_of(link);
    return say(stream, &stream->sending.shut, FRAME_SHUTDOWN);
}

/* The note of the close follows the last acknowledgement. */
static int note_close(struct stream *stream) {
    struct stream_sending *sending = &stream->sending;
    struct peer *peer = &stream->link.peer;
    if (sending->noted || peer->socket < 0)
        return 0;
    int r = stream->stuck & STUCK_NOTE ? -EAGAIN : peer_note(peer, NOTE_STREAM_CLOSE, 0);
    sending->noted = r != -EAGAIN;
    return r == -EAGAIN ? r : 0;
}

int stream_drained(struct link *link) {
    struct stream *stream = stream_of(link);
    if (!stream->sending.closing) {
        stream_owe(stream); /* a flush after this end has gone is to know what it took */
        stream_progress(link);
    }
    say(stream, &stream->sending.closing, FRAME_CLOSE);
    int r = stream_progress(link);
    int noted = note_close(stream);
    return r == -EAGAIN || (r == 0 && noted < 0) ? -EAGAIN : 0;
}

void stream_close(struct link *link, bool owner) {
    struct stream *stream = stream_of(link);
    if (owner && !stream->sending.closing)
        stream_drained(link);
    stream_deinit(stream);
    memory_free(stream);
}

/* Notes are drained by one half at a time. */
static void asked(struct stream *stream, uint64_t count) {
    if (count <= load_relaxed(&stream->asked))
        return;
    /* `asked` before `taken`; pairs with message_done: it does the reverse, so one of the two sees */
    store_seq_cst(&stream->asked, count);
    if (count <= load_seq_cst(&stream->receiving.taken)) /* pairs with message_done */
        stream_owe(stream);
}

int stream_note(struct link *link, const struct note *note) {
    struct stream *stream = stream_of(link);
    if (note->type == NOTE_STREAM_ASK) {
        asked(stream, note->value);
        return 0;
    }
    if (note->type != NOTE_STREAM_CLOSE)
        return link_break(link, "it sends a note of unknown type %u", note->type);
    stream_close_seen(stream, CLOSED_GOODBYE);
    return 0;
}

/* ---- Waiting ---- */

/* 1: POLLOUT, or an error that a send would tell. */
static int writable(const struct stream *stream) {
    struct pollfd poll = { .fd = stream->write_fd, .events = POLLOUT };
    struct timespec now = { 0 };
    return sys_ppoll(&poll, 1, &now, NULL) != 0; /* EINTR and the like: let the send find out */
}

int stream_room(struct link *link) {
    struct stream *stream = stream_of(link);
    if (stream_sendable(stream) < 0)
        return 1;
    if (stream->sending.first || stream->sending.n_rest > 0) {
        int r = stream_flush_bytes(stream);
        stream_note_stuck(stream);
        if (r < 0)
            return r != -EAGAIN;
    }
    return writable(stream);
}

/* One entry a descriptor: epoll takes none twice. */
static void sleep_on(struct sleep_set *set, unsigned first, int fd, short events) {
    for (unsigned i = first; i < set->count; i++) {
        if (set->fds[i].fd == fd) {
            set->fds[i].events = (short)(set->fds[i].events | events);
            return;
        }
    }
    sleep_add(set, fd, events);
}

void stream_sleep(struct stream *stream, enum want want, struct sleep_set *set) {
    unsigned first = set->count;
    uint32_t stuck = load_seq_cst(&stream->stuck); /* pairs with each store of stuck */
    struct peer *peer = &stream->link.peer;
    peer_sleep(peer, set);
    if (want == WANT_RECEIVE || (want == WANT_ACK && peer->socket < 0))
        sleep_on(set, first, stream->read_fd, POLLIN);
    if (want == WANT_SEND || stuck & STUCK_BYTES)
        sleep_on(set, first, stream->write_fd, POLLOUT);
    if (stuck & STUCK_NOTE && peer->socket >= 0)
        sleep_on(set, first, peer->socket, POLLOUT);
}

/* Is there something to receive? Where a descriptor tells of new bytes, a read that got -EAGAIN need not be tried again. */
static bool receivable(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    /* pairs with set_gone */
    if (stream->io->unpollable || !receiving->empty || load_acquire(&stream->link.peer.gone))
        return stream_ready(&stream->link) > 0;
    int r = stream_next(stream);
    return r == 0 ? stream_whole(stream) : r != -EAGAIN;
}

/* Is there news for one who waits for an acknowledgement? */
static bool acknowledged(struct stream *stream) {
    struct link *link = &stream->link;
    /* pairs with frame_ack and take_ack */
    uint64_t count = load_acquire(&stream->acked), noted = load_acquire(&link->peer.acked);
    if (noted > count)
        count = noted;
    struct stream_receiving *receiving = &stream->receiving;
    bool unheard = receiving->heard != receiving->position + (receiving->end - receiving->start);
    /* pairs with stream_close_seen, set_gone and link_break */
    return count != receiving->told || unheard || load_acquire(&stream->closed) || load_acquire(&link->peer.gone) ||
           stream->receiving.eof || load_acquire(&link->broken);
}

/* An acknowledgement was found to be owed by the very look that precedes this sleep; the caller pays before the next. */
static bool unpaid(struct stream *stream) {
    /* pairs with each store of ack_due and each store of stuck */
    return load_seq_cst(&stream->link.ack_due) && !load_seq_cst(&stream->stuck);
}

int stream_arm(struct link *link, enum want want, struct sleep_set *set) {
    struct stream *stream = stream_of(link);
    bool happened = want == WANT_RECEIVE ? receivable(stream)
                    : want == WANT_ACK   ? acknowledged(stream)
                                         : stream_sendable(stream) < 0;
    if (happened || unpaid(stream))
        return 1;
    if (stream->io->sleep)
        stream->io->sleep(stream, want, set);
    else
        stream_sleep(stream, want, set);
    return 0;
}

void stream_disarm(struct link *link, enum want want) {
    (void)link;
    (void)want;
}

void stream_woken(struct link *link, int fd, short revents) { peer_woken(link, fd, revents); }

void stream_look_again(struct stream *stream, int64_t *looked_ns) {
    struct link *link = &stream->link;
    if (link->peer.socket < 0 && !load_relaxed(&link->peer.known))
        return;
    int64_t now = clock_coarse();
    if (now - *looked_ns < LOOK_AGAIN_NS)
        return;
    *looked_ns = now;
    if (link->options.watch)
        peer_look(link);
}

void stream_look(struct link *link) { peer_look(link); }
