/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The receiving half of a stream, up to the message: reading ahead, frames, and what ends it. All that is read here was
 * written by somebody else. Frames are looked at when the frames before them are done with, so that a request to
 * acknowledge is met when everything before it was taken; stream_acked() alone looks ahead. */

#include "core/bytes.h"
#include "core/stream_memory.h"
#include "core/stream_receive.h"

#include "base/error.h"
#include "base/sys.h"

#include <errno.h>

#define PAYLOAD_MASK (((uint64_t)1 << 56) - 1)
#define PILE 1024        /* bytes that a read is to bring */
#define STREAK 4         /* reads in a row that found something: nobody waits for an answer */
#define STREAK_OF_PACKETS 16
#define PAUSES_FIRST 8   /* of cpu_pause(), some 20 ns each */
#define PAUSES_MOST 256
#define PAUSES_A_YIELD 16 /* which takes as long as so many */
#define READ_LEAST ((size_t)4096) /* a read is worth moving a few bytes to make this much room */

static size_t unread(const struct stream_receiving *receiving) { return receiving->end - receiving->start; }

static const uint8_t *bytes_at(const struct stream_receiving *receiving, size_t offset) {
    return receiving->block->data + receiving->start + offset;
}

void stream_advance(struct stream *stream, size_t bytes) {
    struct stream_receiving *receiving = &stream->receiving;
    receiving->start += bytes;
    receiving->position += bytes;
    if (receiving->start == receiving->end && receiving->block && receiving->block->references == 0)
        receiving->start = receiving->end = 0;
}

/* Both halves may come here at once, the sending one by a note. */
void stream_owe(struct stream *stream) {
    /* pairs with message_done */
    uint64_t taken = load_seq_cst(&stream->receiving.taken), owed = load_relaxed(&stream->owed);
    while (owed < taken && !compare_exchange(&stream->owed, &owed, taken)) /* pairs with each load of owed */
        continue;
    store_seq_cst(&stream->link.ack_due, 1); /* pairs with unpaid */
}

/* Either half may come here. A goodbye that lay behind messages is seen after the end of the stream, and counts. */
void stream_close_seen(struct stream *stream, uint32_t why) {
    uint32_t open = 0;
    if (load_relaxed(&stream->closed) == CLOSED_GOODBYE)
        return;
    if (why == CLOSED_GOODBYE)
        store_release(&stream->closed, why); /* pairs with each load of closed */
    else if (!compare_exchange(&stream->closed, &open, why)) /* pairs with each load of closed */
        return;
    link_news(&stream->link);
}

/* ---- Frames ---- */

int frame_read(struct stream *stream, size_t offset, struct frame *ret_frame) {
    const struct stream_receiving *receiving = &stream->receiving;
    size_t head = stream_head_size(stream), left = unread(receiving) - offset;
    if (left < head)
        return -EAGAIN;
    const uint8_t *at = bytes_at(receiving, offset);
    struct frame frame = { .head = (uint8_t)head, .size = bytes_get64(at + head - 8) };
    if (stream->framing == FRAMING_NATIVE) {
        frame.kind = (uint8_t)(frame.size >> 56);
        frame.size &= PAYLOAD_MASK;
    } else if (stream->framing == FRAMING_SP_IPC && at[0] != 1) {
        return link_break(&stream->link, "its message begins with byte %u, not 1", at[0]);
    }
    uint64_t most = stream->link.options.max_message;
    if (frame.kind == FRAME_DATA_FDS) {
        if (frame.size < 8)
            return link_break(&stream->link, "its frame with descriptors is %u bytes long", (unsigned)frame.size);
        if (left < head + 8)
            return -EAGAIN;
        frame.word = bytes_get64(at + head);
        frame.head = (uint8_t)(head + 8);
        frame.size -= 8;
    }
    if (frame.kind <= FRAME_DATA_FDS && (frame.size > most || frame.size > SIZE_MAX / 4))
        return link_break(&stream->link, "it announces a message of %llu bytes; max_message is %llu",
                          (unsigned long long)frame.size, (unsigned long long)most);
    *ret_frame = frame;
    return 0;
}

/* Frames of the stream's own have one size each, but for the hello. */
static int check_size(struct stream *stream, const struct frame *frame) {
    static const uint8_t sizes[] = { [FRAME_ASK] = 0, [FRAME_ACK] = 8, [FRAME_SHUTDOWN] = 0, [FRAME_CLOSE] = 0 };
    if (frame->kind > FRAME_HELLO)
        return link_break(&stream->link, "it sends a frame of unknown kind %u", frame->kind);
    if (frame->kind == FRAME_HELLO ? frame->size > STREAM_HELLO_MAX : frame->size != sizes[frame->kind])
        return link_break(&stream->link, "its frame of kind %u has %llu bytes", frame->kind,
                          (unsigned long long)frame->size);
    return 0;
}

int frame_own(struct stream *stream, size_t offset, const struct frame *frame) {
    int r = check_size(stream, frame);
    if (r < 0)
        return r;
    return unread(&stream->receiving) - offset < frame->head + frame->size ? -EAGAIN : 0;
}

int frame_ack(struct stream *stream, size_t offset) {
    uint64_t count = bytes_get64(bytes_at(&stream->receiving, offset + 8));
    uint64_t before = load_relaxed(&stream->acked);
    if (count < before)
        return link_break(&stream->link, "it acknowledges %llu messages after %llu", (unsigned long long)count,
                          (unsigned long long)before);
    if (count > load_acquire(&stream->sent)) /* pairs with each store of sent: never less than the peer saw */
        return link_break(&stream->link, "it acknowledges %llu messages, more than were sent", (unsigned long long)count);
    store_release(&stream->acked, count); /* pairs with each load of acked */
    link_news(&stream->link);
    return 0;
}

/* A message's header is at the cursor. */
static int enter_message(struct stream *stream, const struct frame *frame) {
    struct stream_receiving *receiving = &stream->receiving;
    if (frame->kind == FRAME_DATA_FDS) {
        if (!stream->io->take_fds)
            return link_break(&stream->link, "it sends descriptors, which this mechanism cannot carry");
        if (frame->word < 1 || frame->word > 16)
            return link_break(&stream->link, "it announces %llu descriptors", (unsigned long long)frame->word);
    }
    receiving->inside = true;
    receiving->kind = frame->kind;
    receiving->size = (size_t)frame->size;
    receiving->n_fds = (uint8_t)frame->word;
    receiving->tail = 0;
    receiving->got = 0;
    stream_advance(stream, frame->head);
    return 0;
}

/* A frame of the stream's own is at the cursor, whole. */
static int act(struct stream *stream, const struct frame *frame) {
    struct stream_receiving *receiving = &stream->receiving;
    switch (frame->kind) {
    case FRAME_ASK:
        stream_owe(stream);
        return 0;
    case FRAME_ACK:
        return receiving->position < receiving->scanned ? 0 : frame_ack(stream, 0);
    case FRAME_CLOSE:
        stream_close_seen(stream, CLOSED_GOODBYE);
        receiving->shut = true;
        return 0;
    case FRAME_SHUTDOWN:
        receiving->shut = true;
        stream_owe(stream); /* who asks after it is answered already: this program may not call again */
        return 0;
    default:
        if (!stream->io->hello)
            return link_break(&stream->link, "it sends a hello where none belongs");
        return stream->io->hello(stream, bytes_at(receiving, frame->head), (size_t)frame->size);
    }
}

static int next_frame(struct stream *stream) {
    struct frame frame = { 0 };
    int r = frame_read(stream, 0, &frame);
    if (r < 0)
        return r;
    if (frame.kind <= FRAME_DATA_FDS)
        return enter_message(stream, &frame);
    r = frame_own(stream, 0, &frame);
    if (r == 0)
        r = act(stream, &frame);
    if (r == 0)
        stream_advance(stream, frame.head + (size_t)frame.size);
    return r;
}

/* ---- Plain text and plain bytes ---- */

static void enter_plain(struct stream *stream, size_t size, uint8_t tail) {
    struct stream_receiving *receiving = &stream->receiving;
    receiving->inside = true;
    receiving->kind = FRAME_DATA;
    receiving->size = size;
    receiving->n_fds = 0;
    receiving->tail = tail;
    receiving->got = 0;
}

/* `got` is how far the line was searched. */
static int next_line(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    size_t size = unread(receiving);
    if (size > receiving->got) {
        const uint8_t *line = bytes_at(receiving, 0);
        const uint8_t *newline = memchr(line + receiving->got, '\n', size - receiving->got);
        receiving->got = size;
        if (newline) {
            enter_plain(stream, (size_t)(newline - line), 1);
            size = receiving->size;
        }
    }
    if (size > stream->link.options.max_message)
        return link_break(&stream->link, "a line of more than max_message (%llu) bytes",
                          (unsigned long long)stream->link.options.max_message);
    if (!receiving->inside && receiving->eof && size > 0)
        enter_plain(stream, size, 0);
    return receiving->inside ? 0 : -EAGAIN;
}

static int next_plain(struct stream *stream) {
    size_t size = unread(&stream->receiving);
    if (size == 0)
        return -EAGAIN;
    enter_plain(stream, size, 0);
    return 0;
}

/* ---- The end ---- */

/* Nothing more can be read and no whole message is left. */
static int end_told(struct stream *stream) {
    const struct stream_receiving *receiving = &stream->receiving;
    bool boundary = !receiving->inside && unread(receiving) == 0;
    bool goodbye = stream->framing == FRAMING_LINE || stream->framing == FRAMING_NONE ||
                   (stream->framing != FRAMING_NATIVE && boundary);
    if (goodbye)
        return error_note(-ESHUTDOWN, "the peer has closed, and everything it sent was received");
    return error_note(-ECONNRESET, "the peer is gone without a goodbye, and every whole message it sent was received");
}

bool stream_whole(struct stream *stream) {
    const struct stream_receiving *receiving = &stream->receiving;
    if (!receiving->inside)
        return false;
    return receiving->handed ? receiving->got == receiving->size : unread(receiving) >= receiving->size;
}

/* Behind a SHUTDOWN: frames of the stream's own, a CLOSE above all. */
static int next_behind(struct stream *stream) {
    while (load_relaxed(&stream->closed) != CLOSED_GOODBYE) {
        struct frame frame = { 0 };
        int r = frame_read(stream, 0, &frame);
        if (r == 0 && frame.kind <= FRAME_DATA_FDS)
            return link_break(&stream->link, "it sends a message behind its SHUTDOWN");
        if (r == 0)
            r = next_frame(stream);
        if (r == -EAGAIN)
            break;
        if (r < 0)
            return r;
    }
    return error_note(-ESHUTDOWN, "the peer has shut down, and everything it sent was received");
}

int stream_farewell(struct stream *stream) {
    if (!load_relaxed(&stream->closed) && stream->receiving.shut)
        stream_fill(stream, 1); /* whatever it says: the end is known */
    return stream_next(stream);
}

int stream_next(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    int r = link_broken(&stream->link);
    if (r < 0)
        return r;
    while (!receiving->inside) {
        if (receiving->shut)
            return next_behind(stream);
        r = stream->framing == FRAMING_LINE ? next_line(stream)
            : stream->framing == FRAMING_NONE ? next_plain(stream) : next_frame(stream);
        if (r < 0)
            return r == -EAGAIN && receiving->eof ? end_told(stream) : r;
    }
    return receiving->eof && !stream_whole(stream) ? end_told(stream) : 0;
}

/* ---- Reading ---- */

/* Bytes of a handed message that came into the block go where they belong. */
void stream_hand(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    size_t bytes = unread(receiving), missing = receiving->size - receiving->got;
    if (bytes > missing)
        bytes = missing;
    if (bytes == 0)
        return;
    memcpy(receiving->handed + receiving->got, bytes_at(receiving, 0), bytes);
    receiving->got += bytes;
    stream_advance(stream, bytes);
}

/* The read found the end, or an error that is one. */
static int read_end(struct stream *stream) {
    stream->receiving.eof = true;
    if (stream->framing == FRAMING_NATIVE)
        stream_close_seen(stream, CLOSED_DIED);
    return 0;
}

/* How many bytes to ask for behind those of the message that is being read. */
static size_t read_limit(const struct stream *stream, size_t missing) {
    const struct stream_receiving *receiving = &stream->receiving;
    size_t limit = receiving->large ? missing + READ_LEAST : SIZE_MAX;
    if (stream->framing == FRAMING_NONE && limit > stream->link.options.max_message)
        limit = (size_t)stream->link.options.max_message;
    return limit < stream->packet ? stream->packet : limit;
}

/* The places for the next read: the rest of a handed message, then the block. -ENOMEM. */
static int read_places(struct stream *stream, size_t want, struct iovec *vector, int *n, size_t *ret_direct) {
    struct stream_receiving *receiving = &stream->receiving;
    size_t missing = receiving->handed ? receiving->size - receiving->got : 0;
    size_t direct = missing > 0 && missing >= stream->packet ? missing : 0;
    *n = 0;
    if (direct > 0)
        vector[(*n)++] = (struct iovec){ receiving->handed + receiving->got, direct };
    if (direct > 0 && stream->packet) {
        *ret_direct = direct;
        return 0;
    }
    size_t least = stream->packet > READ_LEAST ? stream->packet : READ_LEAST;
    int r = block_reserve(receiving, receiving->handed ? 0 : want, least);
    *ret_direct = direct;
    if (r < 0)
        return direct > 0 ? 0 : error_note(r, "no memory to receive into");
    size_t room = receiving->block->capacity - receiving->end, have = unread(receiving);
    size_t limit = read_limit(stream, !receiving->handed && want > have ? want - have : 0);
    vector[(*n)++] = (struct iovec){ receiving->block->data + receiving->end, room < limit ? room : limit };
    return 0;
}

/* As link->midway_in. */
static uint32_t midway(const struct stream_receiving *receiving) {
    uint64_t come = receiving->position + unread(receiving);
    return receiving->inside || unread(receiving) > 0 ? (uint32_t)come | 1u << 31 : 0;
}

/* A reader on the heels of the writer takes each message by a call of its own, and both contend for the queue. One that only
 * receives, from a writer on another CPU, therefore lets messages pile up: for some 4 us at most, and only while they come faster
 * than that. */
static void pause_for(const struct stream *stream, unsigned pauses) {
    int32_t apart = load_relaxed(&stream->link.apart);
    for (unsigned i = 0; i < pauses && apart != 0; i++) {
        if (apart > 0)
            cpu_pause();
        else if (i % PAUSES_A_YIELD == 0)
            sys_sched_yield(); /* should it be the same CPU, the writer runs now */
    }
}

static void moderate(struct stream *stream) {
    struct stream_receiving *receiving = &stream->receiving;
    uint64_t sent = load_relaxed(&stream->sent);
    if (sent != receiving->sent_seen)
        receiving->pauses = receiving->streak = 0;
    receiving->sent_seen = sent;
    pause_for(stream, receiving->pauses);
}

/* Packets come one a call in any case, but apart from the writer's; so one waits only where it has caught up. */
static void moderate_next(struct stream *stream, ssize_t got) {
    struct stream_receiving *receiving = &stream->receiving;
    if (got <= 0) {
        if (stream->packet && receiving->streak > STREAK_OF_PACKETS)
            pause_for(stream, PAUSES_MOST);
        receiving->pauses = receiving->streak = 0;
    } else if (stream->packet) {
        receiving->streak++;
    } else if (got >= PILE) {
        receiving->pauses -= receiving->pauses / 4;
    } else if (++receiving->streak > STREAK) {
        unsigned more = receiving->pauses > 0 ? receiving->pauses * 2 : PAUSES_FIRST;
        receiving->pauses = more < PAUSES_MOST ? more : PAUSES_MOST;
    }
}

int stream_fill(struct stream *stream, size_t want) {
    struct stream_receiving *receiving = &stream->receiving;
    struct iovec vector[2];
    size_t direct = 0;
    int n = 0;
    if (receiving->eof)
        return 0;
    if (stream->link.patient) {
        stream->link.patient = false;
        receiving->empty = true; /* so that the sleep's descriptors are asked */
        store_relaxed(&stream->link.midway_in, 0);
        return -EAGAIN;
    }
    int r = read_places(stream, want, vector, &n, &direct);
    if (r < 0)
        return r;
    /* Before the read: a doorbell that the look takes off the socket announces what the read then finds. The other way round
     * it could announce what came in between, and a thread about to sleep would never hear of it. */
    stream_look_again(stream, &receiving->looked_ns);
    moderate(stream);
    /* pairs with set_gone: what a peer wrote before it was seen to be gone is there to be read now, and nothing is the end */
    uint32_t gone = load_acquire(&stream->link.peer.gone);
    ssize_t got = stream->io->read(stream, vector, n);
    moderate_next(stream, got);
    receiving->empty = got == -EAGAIN;
    if (receiving->empty)
        store_relaxed(&stream->link.midway_in, midway(receiving));
    if (got == 0 || got == -ECONNRESET || got == -EPIPE || (got == -EAGAIN && gone))
        return read_end(stream);
    if (got < 0)
        return (int)got;
    size_t handed = (size_t)got < direct ? (size_t)got : direct;
    receiving->got += handed;
    receiving->position += handed;
    receiving->end += (size_t)got - handed;
    if (stream->link.peer.socket < 0 && load_relaxed(&stream->sending.asked) > load_relaxed(&stream->acked))
        link_news(&stream->link); /* it may hold, behind messages, the acknowledgement that the sending half sleeps for */
    if (receiving->handed)
        stream_hand(stream);
    return 0;
}
