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

/* ---- A segment: the frozen format of version 2, read from its specification alone ---- */

#define INSPECT_MAGIC 0x4d535748u
#define INSPECT_VERSION 2u
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
    uint64_t taken, freed, released;
    uint32_t receiver_asleep, sender_asleep, asker_asleep, state;
};

/* NULL, or what is wrong with it. */
const char *inspect_segment_read(const struct inspect_source *source, struct inspect_segment *ret_segment);

struct inspect_record {
    uint64_t position; /* of its header word */
    uint64_t body;     /* bytes */
    uint32_t kind;
    uint64_t message; /* bytes of the message; of the memfd: CHUNK */
    uint32_t fds;     /* the user's descriptors */
    uint32_t index;   /* of the pool memfd: POOL, CHUNK */
    uint32_t slot;    /* POOL */
    uint64_t offset;  /* in the memfd: POOL */
};

/* From a position on, record by record. window is a copy of some of the ring: one call reads many records. */
struct inspect_walk {
    const struct inspect_source *source;
    uint64_t ring_size, first, position;
    uint64_t window_offset;
    size_t window_size;
    unsigned char *window; /* the caller's, INSPECT_WINDOW bytes */
    const char *wrong;     /* why it ended before its end */
};
#define INSPECT_WINDOW 65536

void inspect_walk_begin(struct inspect_walk *walk, const struct inspect_source *source, uint64_t ring_size, uint64_t position,
                        unsigned char *window);
/* False at the end (an empty word) and when walk->wrong says what is wrong at walk->position. */
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
    struct inspect_map {
        uint64_t start, size, inode;
        bool writable, pool;
    } * maps; /* by inode, the writable first */
    size_t n_maps;
};

struct inspect_side {
    const struct inspect_process *process;
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
    int *memories; /* of each process that serves; -1 */
};

int inspect_links_find(const char *address, const struct inspect_sockets *sockets, struct inspect_links *ret_links);
void inspect_links_free(struct inspect_links *links);
