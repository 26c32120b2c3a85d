/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A ring of records with one writer and one reader (format.h). The writer owns the ring's pages; the reader owns the page its
 * cursors lie in. Everything below is private to its side, and each side is used by one thread at a time.
 *
 * The writer's invariant: the header word at `write` is zero in memory, so that a reader always stops there.
 * Names in brackets are steps of the model that is checked in tests/model/ring.pml.
 * A round trip touches few lines: once past 8 KiB the writer looks whether the reader has caught up and, if so, starts over
 * at offset 0. A stream gets the whole ring. */

#include "base/atomic.h"
#include "base/copy.h"
#include "shm/format.h"

#include <errno.h>
#include <string.h>

#define RING_EARLY 8192u /* bytes after which a writer whose reader keeps up starts over */
#define RING_LOOKS 25    /* at an empty ring when an answer is due: some 1 us ... */
#define RING_PAUSES 2    /* ... with so many pauses between: each look takes the line from the writer, who has to fetch it back */
#define RING_AHEAD 512u  /* bytes: how far ahead of what is written lines are fetched for writing, and at most how many */
#define RING_STEP 128    /* pauses of a reader that steps back */
#define RING_LOAN 32u    /* bytes of ring a commit takes: a header and a descriptor */
#define RING_LARGER 64u  /* bytes kept back for the record of a larger ring: a skip, a header, its body, the zero after it */

#define likely(X) __builtin_expect(!!(X), 1)
#define unlikely(X) __builtin_expect(!!(X), 0)

struct ring_writer {
    uint8_t *data;
    uint64_t size, mask;
    uint64_t write; /* position of the next record's header */
    uint8_t *expected; /* where that header goes; atomic, as the other half reads it */
    uint64_t freed;   /* as the reader last said, checked */
    uint64_t reserve; /* bytes kept back while a larger ring may come, else 0 */
    uint64_t limit;   /* freed + size - reserve: position that must not be reached */
    uint64_t look;    /* position from which to see whether the reader has caught up */
    uint64_t stop;    /* before limit, look and the ring's end: up to here a message needs no other question */
    uint64_t every;   /* bytes between two such looks: more and more, while it has not */
    uint64_t start; /* of a claim: where its header goes; beyond `write` when a skip comes first */
    uint64_t *pending; /* a batch's first header word, still zero in memory, and what it will be */
    uint64_t pending_word, pending_at;
    uint64_t messages;           /* appended, ever; atomic, as the other half reads it */
    const struct shm_segment *peer; /* NULL until it is known: its cursors count as 0 */
    const char *fault;           /* of -EPROTO: the check that failed */
};

struct ring_record {
    uint32_t kind;
    uint32_t reserved;
    uint64_t size; /* of the body; body + size lies within the ring */
    const uint8_t *body;
    uint64_t end; /* position after it */
};

/* The reader's account of what it took and did not release yet: a queue of ends in the order of taking, bit 0 set once released. */
struct ring_held {
    uint64_t *ends;
    uint64_t capacity; /* power of two or 0 */
    uint64_t first, next;
};

struct ring_reader {
    const uint8_t *data;
    uint64_t size, mask;
    uint64_t read;  /* position of the next record's header */
    uint64_t freed; /* private copies of what is published in own */
    uint64_t taken;
    uint64_t streak; /* messages taken since it last stepped back, or its own side sent */
    uint64_t sent_seen;
    struct shm_segment *own;
    struct ring_held held;
    const char *fault;
};

static inline uint64_t ring_padded(uint64_t size) { return (size + 7) & ~UINT64_C(7); }

static inline uint64_t *ring_word(const uint8_t *data, uint64_t offset) { return (uint64_t *)(void *)(uintptr_t)(data + offset); }

/* The half of a header word that holds the kind, 0 while nothing is published there: a reader may nap on it. */
static inline const uint32_t *ring_kind(const void *header) {
    return (const uint32_t *)header + (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
}

/* Largest body sent inline: what always finds room once the reader has freed everything, loans and a skip included. */
static inline uint64_t ring_inline_max(uint64_t ring_size) { return ring_size >= 65536 ? ring_size / 4 : ring_size / 16; }

void ring_writer_init(struct ring_writer *writer, uint8_t *data, uint64_t size, bool may_grow);
void ring_reader_init(struct ring_reader *reader, const uint8_t *data, uint64_t size, struct shm_segment *own);
void ring_reader_deinit(struct ring_reader *reader);

/* [move] The record of a larger ring was published, or consumed: the next one lies there. The writer's is all zero. */
void ring_writer_move(struct ring_writer *writer, uint8_t *data, uint64_t size);
void ring_reader_move(struct ring_reader *reader, const uint8_t *data, uint64_t size);

/* Gives what was kept back for that record to it, or, as none will come, to the messages. */
void ring_writer_unreserve(struct ring_writer *writer);

/* Ring bytes to keep free for the commits of n loans: they never wait. At most one skip falls among them. */
static inline uint64_t ring_spare(uint64_t loans) { return loans > 0 ? (loans + 1) * RING_LOAN : 0; }

/* The slow ways of the inline functions below. */
int ring_claim_slow(struct ring_writer *writer, uint64_t size, uint64_t spare, uint8_t **ret_body);
int ring_refresh(struct ring_writer *writer); /* looks at the reader's cursor: 0, -EPROTO */
int ring_next_slow(struct ring_reader *reader, uint64_t word, struct ring_record *ret_record);
int ring_hold_grow(struct ring_reader *reader);
void ring_consume_held(struct ring_reader *reader, uint64_t end);

/* ---- Writing: claim, write the body, append; claim, ...; publish. ---- */

/* As many lines as were written: a writer would wait for each in turn, as the store buffer holds but a few messages. Beyond
 * the ring's end it does nothing. */
static inline void ring_fetch_ahead(const uint8_t *next_header, uint64_t size) {
    const uint8_t *from = next_header + RING_AHEAD, *to = from + (size < RING_AHEAD ? size : RING_AHEAD);
    for (const uint8_t *line = from; line <= to; line += 64)
        prefetch_for_write(line);
}

static inline void ring_expected(struct ring_writer *writer) {
    store_relaxed(&writer->expected, writer->data + (writer->write & writer->mask));
}

/* [claim] Room for a body of size bytes, leaving `spare` bytes untouched for others. -EAGAIN; -EPROTO. Does not advance. */
static inline int ring_claim(struct ring_writer *writer, uint64_t size, uint64_t spare, uint8_t **ret_body) {
    uint64_t need = 8 + ring_padded(size);
    if (unlikely(writer->write + need + spare + 8 > writer->stop))
        return ring_claim_slow(writer, size, spare, ret_body);
    writer->start = writer->write;
    *ret_body = writer->expected + 8;
    return 0;
}

/* Is there room for a body of size bytes? 1, 0, -EPROTO. */
static inline int ring_room(struct ring_writer *writer, uint64_t size, uint64_t spare) {
    uint8_t *body;
    int r = ring_claim(writer, size, spare, &body);
    return r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}

/* The claimed body (size may be less than claimed) becomes a record. Not seen by the reader before ring_publish(). */
static inline void ring_append(struct ring_writer *writer, uint32_t kind, uint64_t size) {
    uint64_t word = (uint64_t)kind << SHM_KIND_SHIFT | size;
    uint64_t next = writer->start + 8 + ring_padded(size);
    store_relaxed(ring_word(writer->data, next & writer->mask), 0); /* [zero] */
    if (unlikely(writer->start != writer->write)) {
        store_relaxed(ring_word(writer->data, writer->start & writer->mask), word); /* [word] */
        word = (uint64_t)SHM_SKIP << SHM_KIND_SHIFT;
    }
    uint64_t at = writer->write, *header = ring_word(writer->data, at & writer->mask);
    writer->write = next;
    ring_expected(writer);
    ring_fetch_ahead(writer->expected, size);
    if (kind < SHM_CHUNK) /* before it is published: whoever hears that it was taken must find it counted */
        count_add(&writer->messages, 1);
    if (writer->pending) {
        store_relaxed(header, word); /* [word]: the reader cannot come here before the batch's first word */
        return;
    }
    writer->pending = header;
    writer->pending_word = word;
    writer->pending_at = at;
}

/* False: nothing was pending. *ret_position: where it was published; a reader may nap there. */
static inline bool ring_publish(struct ring_writer *writer, uint64_t *ret_position) {
    if (!writer->pending)
        return false;
    store_release(writer->pending, writer->pending_word); /* [publish]; pairs with ring_next, ring_next_slow and ring_get */
    writer->pending = NULL;
    *ret_position = writer->pending_at;
    return true;
}

/* One message at once, where nothing is in the way; false: nothing happened, ask ring_claim. Not while a batch is pending or
 * a loan out. */
static inline bool ring_put(struct ring_writer *writer, const void *data, uint64_t size) {
    uint64_t next = writer->write + 8 + ring_padded(size);
    if (unlikely(next + 8 > writer->stop))
        return false;
    uint64_t *header = (uint64_t *)(void *)writer->expected;
    uint8_t *next_header = writer->data + (next & writer->mask);
    store_relaxed((uint64_t *)(void *)next_header, 0); /* [zero] first: it may be slow, and a polling reader would take the other line back */
    copy_bytes(header + 1, data, size); /* [body] */
    count_add(&writer->messages, 1);
    writer->write = next;
    store_relaxed(&writer->expected, next_header);
    store_release(header, (uint64_t)SHM_DATA << SHM_KIND_SHIFT | size); /* [publish]; pairs with ring_next, ring_get */
    ring_fetch_ahead(next_header, size);
    return true;
}

/* Likely a message is written soon: its line is on its way while the program still works on what to write. From any thread. */
static inline void ring_expect(const struct ring_writer *writer) {
    const uint8_t *header = load_relaxed(&writer->expected);
    prefetch_for_write(header);
    prefetch_for_write(header + 64); /* beyond the ring's end it does nothing */
}

/* ---- Reading ---- */

static inline const void *ring_next_header(const struct ring_reader *reader) { return reader->data + (reader->read & reader->mask); }

/* [next] The next record, without taking it: 1; 0 empty; -EPROTO. */
static inline int ring_next(struct ring_reader *reader, struct ring_record *ret_record) {
    uint64_t offset = reader->read & reader->mask;
    uint64_t word = load_acquire(ring_word(reader->data, offset)); /* pairs with ring_publish and ring_put */
    if (word == 0)
        return 0;
    uint64_t size = word & SHM_SIZE_MASK;
    uint32_t kind = (uint32_t)(word >> SHM_KIND_SHIFT);
    if (unlikely(kind - 1 >= SHM_CHUNK || size > reader->size - offset - 8))
        return ring_next_slow(reader, word, ret_record);
    ret_record->kind = kind;
    ret_record->size = size;
    ret_record->body = reader->data + offset + 8;
    ret_record->end = reader->read + 8 + ring_padded(size);
    return 1;
}

/* [consume] Takes the record for good: its bytes were copied, or are not needed. */
static inline void ring_consume(struct ring_reader *reader, const struct ring_record *record) {
    reader->read = record->end;
    reader->taken += record->kind < SHM_CHUNK;
    if (unlikely(reader->held.first != reader->held.next))
        ring_consume_held(reader, record->end);
    else
        reader->freed = record->end;
}

/* [hold] Takes the record but keeps its bytes until ring_release() with *ret_ticket. -ENOMEM; -EPROTO. */
static inline int ring_hold(struct ring_reader *reader, const struct ring_record *record, uint64_t *ret_ticket) {
    struct ring_held *held = &reader->held;
    if (unlikely(held->next - held->first >= held->capacity)) {
        int r = ring_hold_grow(reader);
        if (r < 0)
            return r;
    }
    reader->read = record->end;
    reader->taken++;
    held->ends[held->next & (held->capacity - 1)] = record->end;
    *ret_ticket = held->next++;
    return 0;
}

/* [release] -EINVAL: no such ticket is out. */
static inline int ring_release(struct ring_reader *reader, uint64_t ticket) {
    struct ring_held *held = &reader->held;
    if (ticket - held->first >= held->next - held->first)
        return -EINVAL;
    uint64_t *end = &held->ends[ticket & (held->capacity - 1)];
    if (*end & 1)
        return -EINVAL;
    *end |= 1;
    while (held->first != held->next && (held->ends[held->first & (held->capacity - 1)] & 1))
        reader->freed = held->ends[held->first++ & (held->capacity - 1)] & ~UINT64_C(1);
    return 0;
}

/* [free] Tells the writer what was taken and freed. Plain stores to a line of our own; the writer looks rarely. */
static inline void ring_reader_publish(struct ring_reader *reader) {
    store_release(&reader->own->freed, reader->freed); /* pairs with ring_refresh and sender_look: our loads come before */
    store_release(&reader->own->taken, reader->taken); /* pairs with each load of taken */
}

/* The next message into the buffer at once; false: there is none, or ring_next is to look at it. capacity is below 2^56. */
static inline bool ring_get(struct ring_reader *reader, void *buffer, uint64_t capacity, uint64_t *ret_size) {
    uint64_t read = reader->read, offset = read & reader->mask;
    const uint64_t *header = ring_word(reader->data, offset);
    uint64_t word = load_acquire(header); /* pairs with ring_publish and ring_put */
    uint64_t size = word ^ (uint64_t)SHM_DATA << SHM_KIND_SHIFT; /* of another kind: impossibly large */
    if (unlikely(size > capacity || size > reader->size - offset - 8 || reader->held.first != reader->held.next))
        return false;
    copy_bytes(buffer, header + 1, size); /* [copy] */
    reader->read = reader->freed = read + 8 + ring_padded(size);
    reader->taken++;
    *ret_size = size;
    return true;
}

/* Found empty. If our side sent since (own_sent: how many messages so far), this is likely the wait for an answer: a few looks
 * more, for less than going round the waiting ladder once or twice costs. True: something is there. */
static inline bool ring_await_answer(struct ring_reader *reader, uint64_t own_sent) {
    const uint64_t *word = ring_word(reader->data, reader->read & reader->mask);
    if (own_sent == reader->sent_seen)
        return false;
    reader->sent_seen = own_sent;
    reader->streak = reader->taken;
    for (int i = 0; i < RING_LOOKS; i++) {
        if (load_relaxed(word) != 0)
            return true;
        for (int k = 0; k < RING_PAUSES; k++)
            cpu_pause();
    }
    return false;
}

/* Found empty otherwise. After a streak it steps back: a reader on the writer's heels takes each line dirty out of the other
 * core's cache, the slow case, so one that only receives lets work pile up. True: look again. */
static inline bool ring_step_back(struct ring_reader *reader) {
    if (reader->taken - reader->streak < 8)
        return false;
    reader->streak = reader->taken;
    for (int i = 0; i < RING_STEP; i++)
        cpu_pause();
    return true;
}
