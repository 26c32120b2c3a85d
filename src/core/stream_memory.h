/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The memory of a stream. Parcels belong to the sending half, blocks to the receiving one; neither is shared, and in steady
 * state neither is allocated: both are kept for the next message when they come free. */

#include "core/stream.h"

/* Bytes that wait to leave are memory[start..end). A loan is lent from memory + STREAM_HEAD_MAX on, so that its header fits
 * in front of it; one byte more than was asked for stands behind it, for the newline of FRAMING_LINE. */
struct parcel {
    struct parcel *next;
    size_t capacity; /* of the payload */
    size_t start, end;
    unsigned class;
    _Alignas(16) uint8_t memory[];
};

struct parcel *parcel_get(struct stream_sending *sending, size_t capacity); /* NULL: no memory */
void parcel_put(struct stream_sending *sending, struct parcel *parcel);     /* takes NULL */
void parcel_append(struct stream_sending *sending, struct parcel *parcel);  /* to the outbox's end */
void parcel_drop_all(struct stream_sending *sending);                       /* the outbox */
void parcel_free_all(struct stream_sending *sending);                       /* everything: outbox, loans, spare */

/* A block stays where it is while anybody refers to it: taken messages lie in it. */
struct block {
    struct block *next, *previous; /* among the spare or the held ones; the current one is in no list */
    uint32_t references; /* messages taken from it; the stream's own use is not counted */
    uint32_t reserved;
    size_t capacity;
    _Alignas(16) uint8_t data[];
};

/* Makes room behind the unread bytes, at least `least`; they, and `want` bytes from their first on, are to be contiguous in
 * the end. Grows only in proportion to the bytes that have arrived: want is what a peer announced. -ENOMEM. */
int block_reserve(struct stream_receiving *receiving, size_t want, size_t least);

/* Replaces the block by one that has `size` bytes in front of the unread ones. -ENOMEM: nothing was changed. */
int block_prepend(struct stream_receiving *receiving, const void *bytes, size_t size);

void block_release(struct stream_receiving *receiving, struct block *block); /* one reference less */
void block_free_all(struct stream_receiving *receiving); /* with the taken messages in them */
