/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the parts of hawser inspect share: reading a segment (inspect_segment.c), and finding whose it is (inspect_sockets.c,
 * inspect_links.c).
 *
 * Nothing is ever mapped, written or connected to: bytes are copied out with pread, so that neither a lying nor a shrinking
 * file can do more than be told. All that is read is hostile: it is checked, and only the checked copy is used. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- A segment: the frozen format of version 3, read from its specification alone ---- */

#define INSPECT_MAGIC 0x4d535748u
#define INSPECT_VERSION 3u
#define INSPECT_RING_OFFSET 4096u
#define INSPECT_RING_MIN 4096u
#define INSPECT_RING_MAX (1u << 30)
#define INSPECT_SLOTS 512u
#define INSPECT_CHUNKS 16u
#define INSPECT_FDS_MAX 16u

enum inspect_kind {
    INSPECT_DATA = 1,
    INSPECT_DATA_FDS = 2,
    INSPECT_POOL = 3,
    INSPECT_OWN = 4,
    INSPECT_CHUNK = 5,
    INSPECT_SKIP = 6,
    INSPECT_RING = 7,
};

enum inspect_offset {
    INSPECT_AT_MAGIC = 0,
    INSPECT_AT_VERSION = 4,
    INSPECT_AT_SIZE = 8,
    INSPECT_AT_RING_SIZE = 16,
    INSPECT_AT_POOL_QUOTA = 24,
    INSPECT_AT_BARRIER = 32,
    INSPECT_AT_RELEASE_ENTRIES = 36,
    INSPECT_AT_LARGER_SIZE = 40,
    INSPECT_AT_LARGER_FROM = 48,
    INSPECT_AT_LARGER_INODE = 56,
    INSPECT_AT_FREED = 128,
    INSPECT_AT_TAKEN = 256,
    INSPECT_AT_RELEASED = 384,
    INSPECT_AT_RECEIVER_ASLEEP = 512,
    INSPECT_AT_SENDER_ASLEEP = 516,
    INSPECT_AT_ASKER_ASLEEP = 520,
    INSPECT_AT_STATE = 524,
    INSPECT_HEADER = 528,
};

/* Where a segment's bytes lie: in a file, or in the memory of a process (/proc/PID/mem). Not owned. */
struct inspect_source {
    int fd;
    uint64_t base, size;
};

struct inspect_segment {
    uint64_t size, ring_size, pool_quota;
    uint32_t barrier;
    uint64_t larger_size, larger_from, larger_inode; /* the first is 0 while there is no larger ring */
    uint64_t taken, freed, released;
    uint32_t receiver_asleep, sender_asleep, asker_asleep, state;
};

/* NULL, or what is wrong with it. */
const char *inspect_segment_read(const struct inspect_source *source, struct inspect_segment *ret_segment);

struct inspect_record {
    uint64_t position; /* of its header word */
    uint64_t ring_offset;
    uint64_t body;     /* bytes */
    uint32_t kind;
    uint64_t message; /* bytes of the message; of the memfd: CHUNK, RING */
    uint32_t fds;     /* the user's descriptors */
    uint32_t index;   /* of the pool memfd: POOL, CHUNK */
    uint32_t slot;    /* POOL */
    uint64_t offset;  /* in the memfd: POOL */
};

/* From a position on, record by record, out of the segment's ring into the larger one, whose memfd is all ring. window is a
 * copy of some of the ring: one call reads many records. */
struct inspect_walk {
    const struct inspect_source *source, *larger; /* of the ring that the position lies in; of the one that may follow, or NULL */
    uint64_t ring_offset, ring_size;              /* in source; ring_size is 0 in a larger ring that is not to be had */
    uint64_t larger_size, larger_from;
    uint64_t first, position; /* first: from where on the records must fit into the ring */
    uint64_t window_offset;
    size_t window_size;
    unsigned char *window; /* the caller's, INSPECT_WINDOW bytes */
    bool in_larger;
    const char *wrong; /* why it ended before its end */
};
#define INSPECT_WINDOW 65536

/* larger may be NULL: the walk ends, in_larger, where the larger ring begins. */
void inspect_walk_begin(struct inspect_walk *walk, const struct inspect_source *source, const struct inspect_segment *segment,
                        const struct inspect_source *larger, uint64_t position, unsigned char *window);
/* False at the end (an empty word, or a larger ring that is not to be had) and when walk->wrong says what is wrong at
 * walk->position. */
bool inspect_walk_next(struct inspect_walk *walk, struct inspect_record *ret_record);

const char *inspect_kind_name(uint32_t kind);

/* ---- Sockets: what the kernel tells of the name ---- */

struct inspect_sockets {
    uint32_t *listening; /* inodes */
    size_t n_listening;
    struct inspect_meeting {
        uint32_t ours, peers; /* inodes of both ends */
    } * meetings;
    size_t n_meetings;
};

/* Those of the listener whose name lies at path. 0, or prints why not: an exit code. */
int inspect_sockets_find(const char *path, struct inspect_sockets *ret_sockets);
void inspect_sockets_free(struct inspect_sockets *sockets);

/* ---- Links: which processes share which segments ---- */

struct inspect_process {
    pid_t pid;
    char name[17];
    bool listens; /* holds the listening socket */
    bool serves;  /* holds it, or a socket that was accepted from it */
    bool connects;
    int memory; /* -1 until it is read */
    unsigned misses; /* how often a segment named a ring that it does not map */
    struct inspect_map {
        uint64_t start, size, inode;
        enum inspect_map_kind { INSPECT_MAP_SEGMENT, INSPECT_MAP_POOL, INSPECT_MAP_RING } kind;
        bool writable;
    } * maps; /* by inode, the writable first */
    size_t n_maps;
};

struct inspect_side {
    struct inspect_process *process;
    struct inspect_source source; /* its own segment, in the memory of the listener's process */
    uint64_t pool;                /* bytes of its pool memfds that the other end maps */
};

/* sides[0] is the listener's. */
struct inspect_link {
    struct inspect_side sides[2];
    bool guessed; /* the two processes share more links than one: which segments belong together is by their order */
};

struct inspect_links {
    struct inspect_process *processes;
    size_t n_processes;
    size_t n_hidden; /* peers' sockets whose process may not be looked into, or is in another pid namespace */
    struct inspect_link *links;
    size_t n_links;
};

int inspect_links_find(const char *address, const struct inspect_sockets *sockets, struct inspect_links *ret_links);

/* The larger ring that this side's segment tells of. NULL, or why it cannot be read; *ret_hidden: that is no fault of the
 * segment's. */
const char *inspect_links_larger(const struct inspect_link *link, unsigned side, const struct inspect_segment *segment,
                                 struct inspect_source *ret_source, bool *ret_hidden);
void inspect_links_free(struct inspect_links *links);
