/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The rare turns of the ring: the end of a lap, a full ring, hostile words, many held messages. */

#include "shm/ring.h"

#include "base/memory.h"

#define HELD_FIRST 64

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* A record may end at the ring's end: the zero after it lies at the beginning, 8 bytes further. */
static void reckon(struct ring_writer *writer) {
    writer->limit = writer->freed + writer->size - writer->reserve;
    writer->stop = lesser(writer->limit, lesser(writer->look, (writer->write | writer->mask) + 1) + 8);
}

void ring_writer_init(struct ring_writer *writer, uint8_t *data, uint64_t size, bool may_grow) {
    *writer = (struct ring_writer){ .data = data, .size = size, .mask = size - 1, .look = RING_EARLY, .every = RING_EARLY,
                                    .reserve = may_grow ? RING_LARGER : 0, .expected = data };
    reckon(writer);
}

/* What lies in the ring before counts as if it lay in this one: less room for a while, never too much. */
void ring_writer_move(struct ring_writer *writer, uint8_t *data, uint64_t size) {
    writer->data = data;
    writer->size = size;
    writer->mask = size - 1;
    writer->every = RING_EARLY;
    writer->look = writer->write + RING_EARLY;
    reckon(writer);
    ring_expected(writer);
}

void ring_writer_unreserve(struct ring_writer *writer) {
    writer->reserve = 0;
    reckon(writer);
}

void ring_reader_move(struct ring_reader *reader, const uint8_t *data, uint64_t size) {
    reader->data = data;
    reader->size = size;
    reader->mask = size - 1;
}

void ring_reader_init(struct ring_reader *reader, const uint8_t *data, uint64_t size, struct shm_segment *own) {
    *reader = (struct ring_reader){ .data = data, .size = size, .mask = size - 1, .own = own };
}

void ring_reader_deinit(struct ring_reader *reader) {
    memory_free(reader->held.ends);
    reader->held = (struct ring_held){ 0 };
}

static int writer_fault(struct ring_writer *writer, const char *fault) {
    writer->fault = fault;
    return -EPROTO;
}

/* [refresh] */
int ring_refresh(struct ring_writer *writer) {
    if (!writer->peer)
        return 0;
    uint64_t freed = load_acquire(&writer->peer->freed); /* pairs with ring_reader_publish */
    if (freed < writer->freed)
        return writer_fault(writer, "the reader's cursor went backwards");
    if (freed > writer->write)
        return writer_fault(writer, "the reader's cursor is beyond what was written");
    if (freed & 7)
        return writer_fault(writer, "the reader's cursor is not a multiple of 8");
    writer->freed = freed;
    reckon(writer);
    return 0;
}

/* Bytes of this lap that must lie behind for the next one to begin early: they are all the room there is until this message is
 * freed. A reader that takes in place may hold it for long; the larger ones stream. */
static uint64_t behind(const struct ring_writer *writer, uint64_t need, uint64_t spare) {
    uint64_t least = need + spare + writer->reserve + 8;
    if (writer->peer && load_relaxed(&writer->peer->takes))
        return least + writer->size / 2;
    return need > 2 * RING_EARLY ? least + 3 * need : least;
}

int ring_claim_slow(struct ring_writer *writer, uint64_t size, uint64_t spare, uint8_t **ret_body) {
    uint64_t need = 8 + ring_padded(size);
    if (need > writer->size - 8)
        return -EAGAIN; /* callers send such sizes through the pool */
    int r = ring_refresh(writer);
    if (r < 0)
        return r;
    uint64_t offset = writer->write & writer->mask;
    uint64_t start = writer->write;
    bool over = offset + need > writer->size;
    if (start + need > writer->look) {
        bool caught_up = offset + need >= RING_EARLY && writer->freed == start;
        over = over || (caught_up && behind(writer, need, spare) <= offset);
        /* not at each message, and ever more rarely: this look costs a cache line from the other CPU */
        writer->every = caught_up ? RING_EARLY : writer->every < writer->size / 8 ? writer->every * 2 : writer->every;
        writer->look = start + need + writer->every;
    }
    if (over)
        start += writer->size - offset;
    if (start + need + spare + 8 > writer->limit)
        return -EAGAIN;
    if (over)
        writer->look = start + need + writer->every;
    reckon(writer);
    writer->start = start;
    *ret_body = writer->data + (start & writer->mask) + 8;
    return 0;
}

static int reader_fault(struct ring_reader *reader, const char *fault) {
    reader->fault = fault;
    return -EPROTO;
}

static void record_at(const struct ring_reader *reader, uint32_t kind, uint64_t size, uint64_t position, struct ring_record *ret_record) {
    *ret_record = (struct ring_record){ .kind = kind, .size = size, .body = reader->data + (position & reader->mask) + 8,
                                        .end = position + 8 + ring_padded(size) };
}

/* A skip, a larger ring, or a word that cannot be. */
int ring_next_slow(struct ring_reader *reader, uint64_t word, struct ring_record *ret_record) {
    uint64_t offset = reader->read & reader->mask;
    uint64_t size = word & SHM_SIZE_MASK;
    uint32_t kind = (uint32_t)(word >> SHM_KIND_SHIFT);
    if (kind == 0 || kind > SHM_RING)
        return reader_fault(reader, "a record of unknown kind");
    if (kind != SHM_SKIP && size > reader->size - offset - 8)
        return reader_fault(reader, "a record that is longer than the rest of the ring");
    if (kind != SHM_SKIP) {
        record_at(reader, kind, size, reader->read, ret_record);
        return 1;
    }
    if (size != 0 || offset == 0)
        return reader_fault(reader, "a skip with a body, or at the ring's start");
    /* What the skip leads to was written before the skip: the acquire that read the skip covers it. */
    word = load_acquire(ring_word(reader->data, 0)); /* pairs with ring_publish */
    size = word & SHM_SIZE_MASK;
    kind = (uint32_t)(word >> SHM_KIND_SHIFT);
    if (kind == 0 || kind == SHM_SKIP || kind > SHM_RING)
        return reader_fault(reader, "a skip that leads to no record");
    if (size > reader->size - 8)
        return reader_fault(reader, "a record that is longer than the ring");
    record_at(reader, kind, size, reader->read + (reader->size - offset), ret_record);
    return 1;
}

/* Doubles the queue; entry n lies at n mod capacity, so they move. */
int ring_hold_grow(struct ring_reader *reader) {
    struct ring_held *held = &reader->held;
    uint64_t capacity = held->capacity ? held->capacity * 2 : HELD_FIRST;
    /* Held messages keep their room, so no more than fit are taken after the oldest of them: else the writer overwrote it. */
    if (capacity > HELD_FIRST && capacity > reader->size / 4)
        return reader_fault(reader, "more messages than the ring has room for");
    if (capacity > SIZE_MAX / sizeof(uint64_t))
        return -ENOMEM;
    uint64_t *ends = memory_resize(NULL, (size_t)capacity * sizeof *ends);
    if (!ends)
        return -ENOMEM;
    for (uint64_t i = held->first; i != held->next; i++)
        ends[i & (capacity - 1)] = held->ends[i & (held->capacity - 1)];
    memory_free(held->ends);
    held->ends = ends;
    held->capacity = capacity;
    return 0;
}

/* Consumed while older ones are held: it is freed with the youngest of those, whose end therefore moves up. That one may
 * be released later than this was taken, which costs room, not correctness. */
void ring_consume_held(struct ring_reader *reader, uint64_t end) {
    struct ring_held *held = &reader->held;
    uint64_t *youngest = &held->ends[(held->next - 1) & (held->capacity - 1)];
    *youngest = end | (*youngest & 1);
}
