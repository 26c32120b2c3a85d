/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The shared-memory format, version 3: FROZEN. What changes it takes a new version number, never this one's.
 *
 * Each end of a link owns one segment, a memfd that it alone can write; the other end maps it read-only. All
 * integers are in the machine's byte order, of fixed width and aligned to their size, so that a 32-bit and a 64-bit
 * process see the same bytes. Seals on a segment: F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL; it has no holes.
 *
 *   offset size  SEGMENT
 *        0    4  magic: bytes 48 57 53 4d ("HWSM")
 *        4    4  version: 3
 *        8    8  size of the segment in bytes
 *       16    8  size of the first ring in bytes: a power of two, 4096 to 2^30; it begins at offset 4096
 *       24    8  most bytes of the other end's pool memfds its owner maps
 *       32    4  barrier bits: 1 its owner is registered for, 2 can issue, membarrier GLOBAL_EXPEDITED
 *       36    4  entries of the release ring: 512
 *       40    8  size of the larger ring in bytes, 0 while there is none; this and the next two are for tools: no end relies on them
 *       48    8  position from which on records lie in it
 *       56    8  inode of its memfd
 *       64    8  most bytes of a larger ring of the other end's that its owner takes, 0: none
 *       72   56  zero
 *      128    8  freed: the position in the OTHER end's ring before which everything may be written again
 *      256    8  taken: how many messages of the OTHER end its owner's program has taken
 *      384    8  released: entries ever written to the release ring
 *      512    4  receiver asleep: bits 0 and 1: 0 it does not; 1 its owner's receiving side sleeps and wants a doorbell, the rest
 *                   counts such sleeps; 3 it naps for the record at the position whose bits 3-32 are the rest, and wants
 *                   FUTEX_WAKE on the half of that header word that holds the kind
 *      516    4  sender asleep: 0, 1 and the count, of its sending side, which waits for room
 *      520    4  asker asleep: the same of who waits for messages to be taken
 *      524    4  state: 0 open, 1 shut down (no more messages), 2 closed (nor does it receive)
 *      528    4  takes: 1 once its owner's program took a message in place, and so may hold it for long; until then 0
 *     2048 2048  release ring: 512 entries of 4 bytes, each the slot of a released pool message; entry n at n mod 512
 *     4096       the first ring
 *
 * Positions count bytes (those skipped too) since the first ring was made, in 64 bits; the byte at
 * position p lies at offset p mod ring size. Each record begins at a multiple of 8, never crosses the ring's
 * end, and is a HEADER WORD of 8 bytes and a body, padded to 8:
 *
 *   bits 56-63  kind, below
 *   bits 0-55   bytes of the body, without the padding
 *
 * A word of zero means: nothing here yet. The writer zeroes the header word that follows a record, writes body, and
 * then stores the record's own header word with release semantics: that publishes it. A reader that is killed, or a writer
 * killed between two instructions, leaves whole records and then a zero.
 *
 *   kind  body
 *      1  DATA: a message
 *      2  DATA + DESCRIPTORS: 4 bytes number of descriptors (1 to 16), 4 zero bytes, then the message
 *      3  POOL: a DESCRIPTOR of a message that lies in a pool memfd
 *      4  OWN: a DESCRIPTOR of a message in a memfd of its own (sealed F_SEAL_WRITE too), the first of the
 *         descriptors that cross with it
 *      5  CHUNK: a pool memfd joins: 8 bytes its size, 4 bytes its index (0, 1, 2, ... 15), 4 zero bytes; its
 *         descriptor crosses beside the ring. No message. Seals as a segment's.
 *      6  SKIP, no body: go on at the ring's offset 0, where a record of another kind already lies
 *      7  RING: the records that follow lie in a larger ring, a memfd of just its size, all zero when it joins: 8 bytes its
 *         size, a power of two up to 2^30; 8 zero bytes; its descriptor crosses beside the ring. No message. Positions go on
 *         counting. At most one in the life of a link. Seals as a segment's.
 *
 *   offset size  DESCRIPTOR
 *        0    8  bytes of the message
 *        8    8  its offset in the memfd, a multiple of 64 (OWN: 0)
 *       16    4  index of the pool memfd (OWN: 0)
 *       20    2  slot (0 to 511), which the reader puts into its release ring when done (OWN: 0)
 *       22    2  number of the user's descriptors that cross with it, 0 to 16
 *
 * At most 512 slots are out, so the release ring cannot overflow. Descriptors cross in record order, one packet per
 * record, over a socket that belongs to the link; how is not part of this format. */

#include <stddef.h>
#include <stdint.h>

#define SHM_MAGIC 0x4d535748u
#define SHM_VERSION 3u
#define SHM_RING_OFFSET 4096u
#define SHM_RING_MIN 4096u
#define SHM_RING_MAX (1u << 30)
#define SHM_SLOTS 512u
#define SHM_CHUNKS 16u
#define SHM_POOL_ALIGNMENT 64u
#define SHM_FDS_MAX 16u

#define SHM_KIND_SHIFT 56
#define SHM_SIZE_MASK ((UINT64_C(1) << SHM_KIND_SHIFT) - 1)

enum shm_kind {
    SHM_DATA = 1,
    SHM_DATA_FDS = 2,
    SHM_POOL = 3,
    SHM_OWN = 4,
    SHM_CHUNK = 5,
    SHM_SKIP = 6,
    SHM_RING = 7,
};

#define SHM_SLEEPS 1u /* of the asleep words */
#define SHM_NAPS 3u
#define SHM_SLEEP 4u

enum shm_state { SHM_OPEN = 0, SHM_SHUT_DOWN = 1, SHM_CLOSED = 2 };

#define SHM_BARRIER_REGISTERED 1u
#define SHM_BARRIER_ISSUES 2u

#define SHM_ALIGNED(N) __attribute__((aligned(N)))

struct shm_segment {
    uint32_t magic;
    uint32_t version;
    uint64_t size SHM_ALIGNED(8);
    uint64_t ring_size SHM_ALIGNED(8);
    uint64_t pool_quota SHM_ALIGNED(8);
    uint32_t barrier;
    uint32_t release_entries;
    uint64_t larger_size SHM_ALIGNED(8);
    uint64_t larger_from SHM_ALIGNED(8);
    uint64_t larger_inode SHM_ALIGNED(8);
    uint64_t ring_quota SHM_ALIGNED(8);
    /* Groups that different threads write, or that change at different rates, lie 128 bytes apart: two lines, as
     * the prefetcher fetches lines in pairs. */
    uint64_t freed SHM_ALIGNED(128); /* what the writer looks at, rarely; taken only who waits for that */
    uint64_t taken SHM_ALIGNED(128);
    uint64_t released SHM_ALIGNED(128);
    uint32_t receiver_asleep SHM_ALIGNED(128);
    uint32_t sender_asleep;
    uint32_t asker_asleep;
    uint32_t state;
    uint32_t takes;
    uint32_t release[SHM_SLOTS] SHM_ALIGNED(2048);
};

/* What the asleep word of a receiver is that naps for the record at this position. */
static inline uint32_t shm_nap_at(uint64_t position) { return (uint32_t)(position / 8) * SHM_SLEEP | SHM_NAPS; }

struct shm_descriptor {
    uint64_t size SHM_ALIGNED(8);
    uint64_t offset SHM_ALIGNED(8);
    uint32_t chunk;
    uint16_t slot;
    uint16_t fds;
};

struct shm_chunk {
    uint64_t size SHM_ALIGNED(8);
    uint32_t index;
    uint32_t zero;
};

struct shm_larger {
    uint64_t size SHM_ALIGNED(8);
    uint64_t zero SHM_ALIGNED(8);
};

struct shm_fds_prefix {
    uint32_t count;
    uint32_t zero;
};

#define SHM_AT(TYPE, MEMBER, OFFSET) _Static_assert(offsetof(struct TYPE, MEMBER) == (OFFSET), "frozen format")
SHM_AT(shm_segment, magic, 0);
SHM_AT(shm_segment, version, 4);
SHM_AT(shm_segment, size, 8);
SHM_AT(shm_segment, ring_size, 16);
SHM_AT(shm_segment, pool_quota, 24);
SHM_AT(shm_segment, barrier, 32);
SHM_AT(shm_segment, release_entries, 36);
SHM_AT(shm_segment, larger_size, 40);
SHM_AT(shm_segment, larger_from, 48);
SHM_AT(shm_segment, larger_inode, 56);
SHM_AT(shm_segment, ring_quota, 64);
SHM_AT(shm_segment, freed, 128);
SHM_AT(shm_segment, taken, 256);
SHM_AT(shm_segment, released, 384);
SHM_AT(shm_segment, receiver_asleep, 512);
SHM_AT(shm_segment, sender_asleep, 516);
SHM_AT(shm_segment, asker_asleep, 520);
SHM_AT(shm_segment, state, 524);
SHM_AT(shm_segment, takes, 528);
SHM_AT(shm_segment, release, 2048);
_Static_assert(sizeof(struct shm_segment) == SHM_RING_OFFSET, "frozen format");
SHM_AT(shm_descriptor, size, 0);
SHM_AT(shm_descriptor, offset, 8);
SHM_AT(shm_descriptor, chunk, 16);
SHM_AT(shm_descriptor, slot, 20);
SHM_AT(shm_descriptor, fds, 22);
_Static_assert(sizeof(struct shm_descriptor) == 24, "frozen format");
SHM_AT(shm_chunk, index, 8);
_Static_assert(sizeof(struct shm_chunk) == 16, "frozen format");
_Static_assert(sizeof(struct shm_larger) == 16, "frozen format");
_Static_assert(sizeof(struct shm_fds_prefix) == 8, "frozen format");
