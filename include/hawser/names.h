/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_NAMES_H
#define HAWSER_NAMES_H

/* What names there are in a directory, who has them open, and the removal of what processes that were killed left behind.
 *
 * Whatever closes takes its name along. What is killed, or ends without closing, does not: its name stays until the next one opens it as
 * the same kind, who makes it anew, or until hawser_gc(). Memory needs no such thing: the kernel frees it with the last process that has it open, but for the file
 * behind a name. */

#include <hawser/base.h>

HAWSER_BEGIN

enum hawser_name_kind {
    HAWSER_NAME_SEMAPHORE = 1,
    HAWSER_NAME_EVENT = 2,
    HAWSER_NAME_REGION = 3,
    HAWSER_NAME_CELL = 4,
    HAWSER_NAME_LISTENER = 5, /* a socket at which a channel's, or an event's, other end connects */
    HAWSER_NAME_FIFO = 6,
    HAWSER_NAME_QUEUES = 7,   /* System V message queues of dead processes, all of them as one; gc only */
    HAWSER_NAME_HALF = 8,     /* a temporary name of one who was killed while it made something */
};

/* Valid during the call it is given to. */
struct hawser_name {
    size_t struct_size;  /* sizeof(struct hawser_name), as the library knows it */
    const char *path;
    const char *address; /* "sem://jobs", which opens it; "" for what no address tells (kinds 5 to 8) */
    uint32_t kind;       /* enum hawser_name_kind */
    uint32_t members;    /* processes that have it open; those that only read count as one. Sockets and FIFOs: 1 or 0. Over 1000: 1000 */
    uint32_t permanent;  /* 1: stays without members */
    uint32_t version;    /* of the file's layout; 0 for sockets and FIFOs */
    uint64_t size;       /* bytes of data; 0 for sockets and FIFOs */
    uint64_t bytes;      /* that the file takes of the file system */
    uint64_t reserved[4];
};

/* Anything but 0 ends the walk, and is what the walk returns then. Must not open or close anything of hawser's. */
typedef int (*hawser_name_function)(void *context, const struct hawser_name *name);

/* Calls function for each name of hawser's in a directory. directory: NULL: RUNTIME (see hawser(3)). In another directory only
 * semaphores, regions, cells and events in files are told: of a socket or FIFO there nobody can say that it is hawser's.
 * Whoever listens at a socket sees somebody connect and leave. Any thread.
 * Errors: -ENOENT, -EACCES and what files say, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_names_list(const char *directory, hawser_name_function function, void *context);

#define HAWSER_GC_LOOK 1u /* removes nothing, but counts and tells what would go */

/* Removes the names of dead processes in a directory, as hawser_names_list() knows them, and in RUNTIME also dead listeners'
 * sockets and FIFOs, and System V message queues that nobody uses. What is permanent, or in use, or what this user
 * may not remove, stays. function, if not NULL, is called for each that goes, before it does. *ret_removed, if not NULL: how many went. Any thread.
 * Errors: as hawser_names_list(). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_gc(const char *directory, uint32_t flags, hawser_name_function function, void *context,
                                              size_t *ret_removed);

HAWSER_END

#endif
