/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A second reader of the frozen segment format, which is specified at the top of src/shm/format.h: it shares no code with the
 * library, so it reads dumps of any program and tells when the two disagree (tests/cli/inspect_peer.c compares the numbers).
 *
 * A live ring moves while it is walked: what was read of it is a copy of some moment, whose records may be overwritten
 * ones. They are checked as if an enemy had written them. */

#include "inspect.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define RING_RECORD 24u /* bytes of the record that comes before a larger ring */

static bool read_fully(const struct inspect_source *source, uint64_t offset, void *buffer, size_t size) {
    unsigned char *to = buffer;
    if (offset > source->size || size > source->size - offset)
        return false;
    while (size > 0) {
        ssize_t n = pread(source->fd, to, size, (off_t)(source->base + offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static uint32_t word32(const unsigned char *bytes, size_t offset) {
    uint32_t value;
    memcpy(&value, bytes + offset, sizeof value);
    return value;
}

static uint64_t word64(const unsigned char *bytes, size_t offset) {
    uint64_t value;
    memcpy(&value, bytes + offset, sizeof value);
    return value;
}

/* ---- The header ---- */

static const char *check(const struct inspect_segment *segment, uint64_t size) {
    uint64_t ring = segment->ring_size;
    if (ring < INSPECT_RING_MIN || ring > INSPECT_RING_MAX || (ring & (ring - 1)) != 0)
        return "its ring has an impossible size";
    if (segment->size > size)
        return "it is shorter than its header says";
    if (segment->size < INSPECT_RING_OFFSET + ring)
        return "its ring does not fit into it";
    if (segment->state > 2)
        return "its state is none of open, shut down and closed";
    if (segment->freed % 8 != 0)
        return "its cursor is no multiple of 8";
    uint64_t larger = segment->larger_size;
    if (larger != 0 && (larger <= ring || larger > INSPECT_RING_MAX || (larger & (larger - 1)) != 0))
        return "its larger ring has an impossible size";
    if (larger != 0 && (segment->larger_from < RING_RECORD || segment->larger_from % 8 != 0))
        return "its larger ring begins at an impossible position";
    return NULL;
}

const char *inspect_segment_read(const struct inspect_source *source, struct inspect_segment *ret_segment) {
    unsigned char bytes[INSPECT_HEADER];
    if (!read_fully(source, 0, bytes, sizeof bytes))
        return "it is shorter than the header of a segment, or cannot be read";
    if (word32(bytes, INSPECT_AT_MAGIC) != INSPECT_MAGIC)
        return "it does not begin with the magic HWSM";
    if (word32(bytes, INSPECT_AT_VERSION) != INSPECT_VERSION)
        return "its version is not 3, the only one that this hawser knows";
    if (word32(bytes, INSPECT_AT_RELEASE_ENTRIES) != INSPECT_SLOTS)
        return "its release ring has an impossible size";
    struct inspect_segment segment = {
        .size = word64(bytes, INSPECT_AT_SIZE),
        .ring_size = word64(bytes, INSPECT_AT_RING_SIZE),
        .pool_quota = word64(bytes, INSPECT_AT_POOL_QUOTA),
        .barrier = word32(bytes, INSPECT_AT_BARRIER),
        .larger_size = word64(bytes, INSPECT_AT_LARGER_SIZE),
        .larger_from = word64(bytes, INSPECT_AT_LARGER_FROM),
        .larger_inode = word64(bytes, INSPECT_AT_LARGER_INODE),
        .taken = word64(bytes, INSPECT_AT_TAKEN),
        .freed = word64(bytes, INSPECT_AT_FREED),
        .released = word64(bytes, INSPECT_AT_RELEASED),
        .receiver_asleep = word32(bytes, INSPECT_AT_RECEIVER_ASLEEP),
        .sender_asleep = word32(bytes, INSPECT_AT_SENDER_ASLEEP),
        .asker_asleep = word32(bytes, INSPECT_AT_ASKER_ASLEEP),
        .state = word32(bytes, INSPECT_AT_STATE),
    };
    const char *wrong = check(&segment, source->size);
    if (!wrong)
        *ret_segment = segment;
    return wrong;
}

/* ---- Records ---- */

const char *inspect_kind_name(uint32_t kind) {
    static const char *const names[] = { "?", "data", "data+fds", "pool", "own", "chunk", "skip", "ring" };
    return names[kind <= INSPECT_RING ? kind : 0];
}

static void enter_larger(struct inspect_walk *walk, uint64_t first) {
    walk->source = walk->larger;
    walk->ring_offset = 0;
    walk->ring_size = walk->larger ? walk->larger_size : 0;
    walk->first = first;
    walk->window_size = 0;
    walk->in_larger = true;
}

void inspect_walk_begin(struct inspect_walk *walk, const struct inspect_source *source, const struct inspect_segment *segment,
                        const struct inspect_source *larger, uint64_t position, unsigned char *window) {
    *walk = (struct inspect_walk){ .source = source, .larger = larger, .ring_offset = INSPECT_RING_OFFSET,
                                   .ring_size = segment->ring_size, .larger_size = segment->larger_size,
                                   .larger_from = segment->larger_from, .first = position, .position = position,
                                   .window = window };
    if (walk->larger_size != 0 && position >= walk->larger_from)
        enter_larger(walk, position);
}

/* size bytes at an offset of the ring, which lie within it. NULL: they cannot be read. */
static const unsigned char *look(struct inspect_walk *walk, uint64_t offset, size_t size) {
    if (offset < walk->window_offset || offset + size > walk->window_offset + walk->window_size) {
        uint64_t left = walk->ring_size - offset;
        walk->window_offset = offset;
        walk->window_size = left < INSPECT_WINDOW ? (size_t)left : INSPECT_WINDOW;
        if (!read_fully(walk->source, walk->ring_offset + offset, walk->window, walk->window_size)) {
            walk->window_size = 0;
            walk->wrong = "it cannot be read any more";
            return NULL;
        }
    }
    return walk->window + (offset - walk->window_offset);
}

static const char *check_descriptor(const struct inspect_record *record, bool own) {
    if (record->index >= INSPECT_CHUNKS || record->slot >= INSPECT_SLOTS || record->fds > INSPECT_FDS_MAX)
        return "a descriptor's index, slot or count of descriptors is out of range";
    if (record->offset % 64 != 0 || record->offset + record->message < record->offset)
        return "a descriptor's offset is impossible";
    if (own && (record->index != 0 || record->slot != 0 || record->offset != 0))
        return "a message in a memfd of its own has an offset, an index or a slot";
    return NULL;
}

/* What the body says, for the kinds whose body is not just the message. */
static const char *decode(const unsigned char *body, struct inspect_record *record) {
    switch (record->kind) {
    case INSPECT_DATA_FDS:
        record->fds = word32(body, 0);
        record->message = record->body - 8;
        return record->fds < 1 || record->fds > INSPECT_FDS_MAX ? "a message with an impossible number of descriptors" : NULL;
    case INSPECT_RING:
        record->message = word64(body, 0);
        return NULL;
    case INSPECT_CHUNK:
        record->message = word64(body, 0);
        record->index = word32(body, 8);
        return record->index >= INSPECT_CHUNKS ? "a pool memfd's index is out of range" : NULL;
    default: {
        uint32_t last = word32(body, 20);
        record->message = word64(body, 0);
        record->offset = word64(body, 8);
        record->index = word32(body, 16);
        record->slot = last & 0xffff;
        record->fds = last >> 16;
        if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) {
            record->slot = last >> 16;
            record->fds = last & 0xffff;
        }
        return check_descriptor(record, record->kind == INSPECT_OWN);
    }
    }
}

static const char *check_body(const struct inspect_record *record, uint64_t left) {
    static const uint64_t least[] = { 0, 0, 8, 24, 24, 16, 0, 16 }, most[] = { 0, UINT64_MAX, UINT64_MAX, 24, 24, 16, 0, 16 };
    if (record->kind < INSPECT_DATA || record->kind > INSPECT_RING)
        return "a record of no kind there is";
    if (record->body > left)
        return "a record crosses the ring's end";
    if (record->body < least[record->kind] || record->body > most[record->kind])
        return "a record whose size is not its kind's";
    return NULL;
}

/* What a walk cannot go on behind. A file does not tell its records' positions, only where they lie. */
static const char *check_turn(const struct inspect_walk *walk, const struct inspect_record *record, uint64_t next) {
    if (record->kind == INSPECT_SKIP && record->ring_offset == 0)
        return "a skip at the ring's beginning";
    if (next - walk->first > walk->ring_size)
        return "more records than fit into the ring";
    if (record->kind != INSPECT_RING)
        return NULL;
    if (walk->in_larger)
        return "a second larger ring";
    if (record->message != walk->larger_size)
        return "a larger ring's record that the header's words deny: its size is another";
    uint64_t away = next - walk->larger_from;
    return (walk->larger ? away : away & (walk->ring_size - 1)) != 0
               ? "a larger ring's record that the header's words deny: it begins at another position" : NULL;
}

/* The record at the walk's position: 1; 0: there is none; -1: walk->wrong. */
static int read_record(struct inspect_walk *walk, struct inspect_record *record) {
    uint64_t offset = record->ring_offset, left = walk->ring_size - offset - 8;
    const unsigned char *bytes = look(walk, offset, 8);
    uint64_t word = bytes ? word64(bytes, 0) : 0;
    if (word == 0)
        return bytes ? 0 : -1;
    record->kind = (uint32_t)(word >> 56);
    record->body = record->message = word & ((UINT64_C(1) << 56) - 1);
    walk->wrong = check_body(record, left);
    if (walk->wrong || record->kind == INSPECT_DATA || record->kind == INSPECT_SKIP)
        return walk->wrong ? -1 : 1;
    bytes = look(walk, offset + 8, record->kind == INSPECT_DATA_FDS ? 8 : (size_t)record->body);
    if (bytes)
        walk->wrong = decode(bytes, record);
    return walk->wrong ? -1 : 1;
}

bool inspect_walk_next(struct inspect_walk *walk, struct inspect_record *ret_record) {
    struct inspect_record record = { .position = walk->position, .ring_offset = walk->position & (walk->ring_size - 1) };
    if (walk->ring_size == 0)
        return false;
    int found = read_record(walk, &record);
    if (found == 0 && walk->larger && !walk->in_larger) /* its sender writes the words a moment before it publishes the record */
        walk->wrong = "the header tells of a larger ring to which no record leads";
    if (found <= 0)
        return false;
    uint64_t padded = 8 + ((record.body + 7) & ~UINT64_C(7));
    uint64_t next = record.position + (record.kind == INSPECT_SKIP ? walk->ring_size - record.ring_offset : padded);
    walk->wrong = check_turn(walk, &record, next);
    if (walk->wrong)
        return false;
    walk->position = next;
    if (record.kind == INSPECT_RING)
        enter_larger(walk, next);
    *ret_record = record;
    return true;
}
