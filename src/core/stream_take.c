/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The receiving half of a stream, from the message to the program: copied out, taken in place, given back; and the look
 * ahead for acknowledgements.
 *
 * A large message may be handed: what has arrived of it is in recv's buffer, and the rest is read straight there. The
 * buffer is the caller's, so whatever ends the call but -EAGAIN also ends the handing. */

#include "core/bytes.h"
#include "core/stream_memory.h"
#include "core/stream_receive.h"

#include "base/error.h"

#include <errno.h>

#define HAND_LEAST ((size_t)4096)       /* fewer missing bytes are not worth a second place to read to */
#define LARGE ((size_t)32 << 10)
#define FILLS 256 /* reads in one call: a peer that sends without end must not keep it from its deadline */
#define CHECK 0x9e3779b97f4a7c15u

static size_t unread(const struct stream_receiving *receiving) { return receiving->end - receiving->start; }

/* What must be contiguous for the message under way, or the next header, to be whole. */
static size_t wanted(struct stream *stream) {
    const struct stream_receiving *receiving = &stream->receiving;
    return receiving->inside && !receiving->handed ? receiving->size : 1;
}

static void message_done(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    bool sync = receiving->kind == FRAME_DATA_SYNC;
    receiving->large = receiving->size >= LARGE;
    receiving->inside = false;
    receiving->handed = NULL;
    receiving->unhanded = false;
    receiving->got = 0;
    /* `taken` before `asked`; pairs with asked and stream_owe: the first does the reverse */
    store_seq_cst(&receiving->taken, receiving->taken + 1);
    uint64_t asked = load_seq_cst(&stream->asked); /* pairs with asked */
    if (sync || (asked > load_relaxed(&stream->owed) && asked <= receiving->taken))
        stream_owe(stream);
}

/* ---- Copying out ---- */

int stream_unhand(struct link *link) {
    struct stream *stream = stream_of(link);
    struct stream_receiving *receiving = &stream->receiving;
    if (!receiving->handed)
        return 0;
    uint8_t *handed = receiving->handed;
    receiving->handed = NULL;
    receiving->unhanded = receiving->got > 0;
    if (receiving->got > 0 && block_prepend(receiving, handed, receiving->got) < 0) {
        link_break(link, "no memory for a message that had begun to arrive");
        return -ENOMEM;
    }
    receiving->position -= receiving->got;
    receiving->got = 0;
    return 0;
}

/* Reading straight into the buffer pays when much is missing. Not with many threads: the next call may come from another. */
static void hand_over(struct stream *stream, void *buffer) {
    struct stream_receiving *receiving = &stream->receiving;
    size_t missing = receiving->size - unread(receiving);
    if (receiving->handed || receiving->unhanded || missing < HAND_LEAST || missing < stream->packet ||
        stream->link.options.threads == HAWSER_THREADS_MANY)
        return;
    receiving->handed = buffer;
    receiving->got = 0;
    stream_hand(stream);
}

static int take_fds(struct stream *stream, struct received_descriptors *fds) {
    unsigned n = stream->receiving.n_fds;
    if (n > 0 && stream->io->take_fds(stream, n, fds ? fds->fds : NULL) < 0)
        return link_break(&stream->link, "it announced %u descriptors and sent fewer", n);
    if (fds)
        fds->n = n;
    return 0;
}

/* The whole message is here. */
static int deliver(struct stream *stream, void *buffer, struct received_descriptors *fds, size_t *ret_size) {
    struct stream_receiving *receiving = &stream->receiving;
    int r = take_fds(stream, fds);
    if (r < 0)
        return r;
    size_t size = receiving->size;
    if (!receiving->handed && size > 0)
        memcpy(buffer, receiving->block->data + receiving->start, size);
    stream_advance(stream, (receiving->handed ? 0 : size) + receiving->tail);
    message_done(stream);
    *ret_size = size;
    return 0;
}

static int receive(struct stream *stream, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size) {
    for (int fills = 0; fills < FILLS; fills++) {
        int r = stream_next(stream);
        if (r < 0 && r != -EAGAIN)
            return r == -ESHUTDOWN ? stream_farewell(stream) : r;
        if (r == 0) {
            r = received_fits(stream->receiving.size, stream->receiving.n_fds, capacity, fds, ret_size);
            if (r < 0)
                return r;
            if (stream_whole(stream))
                return deliver(stream, buffer, fds, ret_size);
            hand_over(stream, buffer);
        }
        r = stream_fill(stream, wanted(stream));
        if (r < 0)
            return r;
    }
    return -EAGAIN;
}

int stream_recv(struct link *link, void *buffer, size_t capacity, struct received_descriptors *fds, size_t *ret_size) {
    struct stream *stream = stream_of(link);
    struct stream_receiving *receiving = &stream->receiving;
    int r = receiving->handed && receiving->handed != buffer ? stream_unhand(link) : 0;
    receiving->drops_fds = !fds;
    if (r == 0)
        r = receive(stream, buffer, capacity, fds, ret_size);
    receiving->drops_fds = false;
    if (r < 0 && r != -EAGAIN && receiving->handed && stream_unhand(link) < 0 && r == -EMSGSIZE)
        return -ENOMEM;
    return r;
}

int stream_get(struct link *link, void *buffer, size_t capacity, size_t *ret_size) {
    struct stream *stream = stream_of(link);
    struct stream_receiving *receiving = &stream->receiving;
    if (receiving->inside || receiving->shut || stream->framing != FRAMING_NATIVE || load_relaxed(&link->broken))
        return 1;
    if (unread(receiving) == 0) {
        int r = link->options.wait == HAWSER_WAIT_BLOCK ? 1 : stream_fill(stream, 1); /* block: it may rather sleep first */
        if (r != 0 || receiving->eof)
            return r == -EAGAIN ? r : 1;
    }
    if (unread(receiving) < 8)
        return 1;
    const uint8_t *frame = receiving->block->data + receiving->start;
    uint64_t size = bytes_get64(frame); /* of another kind than FRAME_DATA, which is 0: impossibly large */
    if (size > unread(receiving) - 8 || size > capacity || size > link->options.max_message)
        return 1;
    if (size > 0)
        memcpy(buffer, frame + 8, (size_t)size);
    stream_advance(stream, 8 + (size_t)size);
    receiving->kind = FRAME_DATA;
    receiving->size = (size_t)size;
    message_done(stream);
    *ret_size = (size_t)size;
    return 0;
}

/* ---- In place ---- */

static uint64_t check_word(const struct stream *stream, const hawser_message *message) {
    return ((uint64_t)(uintptr_t)stream ^ message->internal[0] ^ (uintptr_t)message->data) * CHECK;
}

static void take_one(struct stream *stream, hawser_message *ret_message) {
    struct stream_receiving *receiving = &stream->receiving;
    struct block *block = receiving->block;
    block->references++;
    *ret_message = (hawser_message){
        .data = block->data + receiving->start,
        .size = receiving->size,
        .stable = 1,
        .internal = { (uint64_t)(uintptr_t)block },
    };
    ret_message->internal[1] = check_word(stream, ret_message);
    stream_advance(stream, receiving->size + receiving->tail);
    message_done(stream);
}

int stream_take(struct link *link, hawser_message *ret_messages, size_t n, size_t *ret_taken) {
    struct stream *stream = stream_of(link);
    size_t taken = 0;
    int r = stream_unhand(link), fills = 0;
    stream->receiving.drops_fds = true;
    while (r == 0 && taken < n) {
        r = stream_next(stream);
        if (r == 0 && stream_whole(stream)) {
            r = take_fds(stream, NULL);
            if (r == 0)
                take_one(stream, &ret_messages[taken++]);
        } else if (taken > 0) {
            break;
        } else if (r == 0 || r == -EAGAIN) {
            r = fills++ < FILLS ? stream_fill(stream, wanted(stream)) : -EAGAIN;
        }
    }
    if (taken == 0 && r == -ESHUTDOWN)
        r = stream_farewell(stream);
    stream->receiving.drops_fds = false;
    if (taken == 0)
        return r;
    *ret_taken = taken;
    return 0;
}

int stream_release(struct link *link, hawser_message *message) {
    struct stream *stream = stream_of(link);
    if (message->internal[0] == 0 || message->internal[1] != check_word(stream, message))
        return error_set(-EINVAL, "release: the message was not taken from this channel, or was released before");
    block_release(&stream->receiving, (struct block *)(uintptr_t)message->internal[0]);
    *message = (hawser_message){ 0 };
    return 0;
}

/* Is there, without reading, a message or the end? */
static bool at_hand(struct stream *stream) {
    int r = stream_next(stream);
    return r == 0 ? stream_whole(stream) : r != -EAGAIN;
}

int stream_ready(struct link *link) {
    struct stream *stream = stream_of(link);
    for (int fills = 0; !at_hand(stream) && fills < FILLS; fills++) {
        int r = stream_fill(stream, wanted(stream));
        if (r < 0)
            return r == -EAGAIN ? 0 : 1;
    }
    return 1;
}

/* ---- Acknowledgements ---- */

static int scan_frame(struct stream *stream, size_t offset, const struct frame *frame) {
    int r = frame_own(stream, offset, frame);
    if (r == 0 && frame->kind == FRAME_ACK)
        r = frame_ack(stream, offset);
    if (r == 0 && frame->kind == FRAME_CLOSE)
        stream_close_seen(stream, CLOSED_GOODBYE);
    return r;
}

/* Where, behind the cursor, the first frame begins that was not looked at; SIZE_MAX: inside a message that is under way. */
static size_t scan_start(const struct stream_receiving *receiving) {
    size_t first = receiving->inside && !receiving->handed ? receiving->size : 0;
    if (receiving->handed && receiving->got < receiving->size)
        return SIZE_MAX;
    if (receiving->scanned > receiving->position && receiving->scanned - receiving->position > first)
        first = (size_t)(receiving->scanned - receiving->position);
    return first;
}

/* Unread bytes that are to go; those behind them move up, each once, when the next hole begins or the look is over. */
struct hole {
    size_t start, size;
};

/* Another hole, at offset: what lies between the two stays. */
static void hole_add(struct stream_receiving *receiving, struct hole *hole, size_t offset, size_t size) {
    uint8_t *at = receiving->block->data + receiving->start + hole->start;
    if (hole->size > 0)
        memmove(at, at + hole->size, offset - hole->start - hole->size);
    hole->start = offset - hole->size;
    hole->size += size;
}

static void hole_close(struct stream_receiving *receiving, struct hole *hole) {
    if (hole->size > 0)
        hole_add(receiving, hole, unread(receiving), 0);
    receiving->end -= hole->size;
}

/* Looks for acknowledgements and the goodbye among what was read but not received. An acknowledgement that was noted is taken
 * out: read_ahead is for messages, and what is kept here is bounded by it nevertheless. */
static int scan(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    struct hole hole = { 0 };
    size_t offset = scan_start(receiving);
    int r = 0;
    while (offset <= unread(receiving)) {
        struct frame frame = { 0 };
        r = frame_read(stream, offset, &frame);
        if (r == 0 && frame.kind > FRAME_DATA_FDS)
            r = scan_frame(stream, offset, &frame);
        if (r < 0)
            break;
        size_t size = frame.head + (size_t)frame.size;
        if (frame.kind == FRAME_ACK)
            hole_add(receiving, &hole, offset, size);
        offset += size;
        receiving->scanned = receiving->position + offset - hole.size;
    }
    hole_close(receiving, &hole);
    return r == -EAGAIN ? 0 : r;
}

/* Acts on what is at the cursor and looks beyond. 0, or -EPROTO. */
static int look_ahead(struct stream *stream) {
    int r = stream_next(stream);
    if (r == -EPROTO)
        return r;
    return scan(stream);
}

static int acked_now(struct stream *stream, uint64_t *ret_count) {
    /* pairs with frame_ack and take_ack */
    uint64_t count = load_acquire(&stream->acked), noted = load_acquire(&stream->link.peer.acked);
    if (noted > count)
        count = noted;
    if (count > load_acquire(&stream->sent)) /* notes come unchecked; pairs with each store of sent */
        return link_break(&stream->link, "it acknowledges %llu messages, more than were sent", (unsigned long long)count);
    *ret_count = count;
    return 0;
}

static bool acks_ended(const struct stream *stream) {
    /* pairs with stream_close_seen and set_gone */
    return load_acquire(&stream->closed) || load_acquire(&stream->link.peer.gone) || stream->receiving.eof;
}

static int acks_end_told(const struct stream *stream) {
    if (load_acquire(&stream->closed) == CLOSED_GOODBYE) /* pairs with stream_close_seen */
        return error_note(-ESHUTDOWN, "the peer has closed without taking everything");
    return error_note(-ECONNRESET, "the peer is gone without taking everything");
}

/* Has the count moved since it was last told, or nothing more to wait for? */
static bool is_news(struct stream *stream, uint64_t count) {
    return count != stream->receiving.told || count == load_acquire(&stream->sent); /* pairs with each store of sent */
}

/* Reads on in search of acknowledgements. 0: bytes came, or the end; -EAGAIN, -ENOBUFS, or an error. */
static int read_ahead(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    size_t have = unread(receiving);
    if (receiving->eof)
        return -EAGAIN;
    if (!receiving->handed && have >= stream->link.options.read_ahead)
        return error_set(-ENOBUFS, "read_ahead (%llu bytes) is full of messages that this program has not received",
                         (unsigned long long)stream->link.options.read_ahead);
    int r = stream_fill(stream, have + 1 > wanted(stream) ? have + 1 : wanted(stream));
    if (r == 0)
        link_news(&stream->link); /* it may be a message */
    return r;
}

/* The same where acknowledgements are notes. 0: there is one, or the end; -EAGAIN. */
static int read_notes(struct stream *stream, uint64_t count, bool ended) {
    peer_drain(&stream->link);
    if (!ended && acks_ended(stream))
        return 0;
    /* pairs with take_ack */
    return load_acquire(&stream->link.peer.acked) != count || link_broken(&stream->link) < 0 ? 0 : -EAGAIN;
}

int stream_acked(struct link *link, uint64_t *ret_taken) {
    struct stream *stream = stream_of(link);
    uint64_t count = 0;
    int r = link_broken(link), fills = 0;
    if (stream->framing != FRAMING_NATIVE)
        return error_set(-EOPNOTSUPP, "this peer does not acknowledge: it speaks plain SP, or this is a fifo");
    while (r == 0) {
        bool ended = acks_ended(stream); /* before the count: what came before the end counts */
        r = look_ahead(stream);
        if (r == 0)
            r = acked_now(stream, &count);
        if (r < 0)
            return r;
        if (is_news(stream, count) || fills++ == FILLS)
            break;
        if (!ended && acks_ended(stream))
            continue;
        r = link->peer.socket >= 0 ? read_notes(stream, count, ended) : read_ahead(stream);
        if (ended && r == -EAGAIN)
            return acks_end_told(stream);
    }
    if (r < 0 && r != -EAGAIN)
        return r;
    stream->receiving.told = count;
    stream->receiving.heard = stream->receiving.position + unread(&stream->receiving);
    *ret_taken = count;
    return 0;
}
