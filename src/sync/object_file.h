/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The file behind an object: what lies in it, how it is made, and the record locks by which its members are known. */

#include "sync/object.h"

#include "core/name.h"

/* The header, frozen: the first 4096 bytes of the file, in the byte order of the machine; the rest of them is 0. The body follows,
 * and the file ends with it. */
#define OBJECT_MAGIC UINT64_C(0x4a424f7265777348) /* "HswerOBJ", read as little-endian */
#define OBJECT_VERSION 1
#define OBJECT_FLAG_PERMANENT 1u

struct object_header {
    uint64_t magic;
    uint32_t version;      /* OBJECT_VERSION */
    uint32_t tag;          /* enum object_tag */
    uint32_t body_version; /* of the kind */
    uint32_t flags;        /* OBJECT_FLAG_... */
    uint64_t size;         /* of the body, bytes */
    uint64_t identity;     /* random, not 0: who knows it has seen the file */
    uint64_t parameters[OBJECT_PARAMETERS];
};

_Static_assert(offsetof(struct object_header, size) == 24 && offsetof(struct object_header, parameters) == 40, "frozen");
_Static_assert(sizeof(struct object_header) == 88, "frozen");

/* Record locks, far beyond the file's end: byte BASE + slot for each process that may write, written-locked; byte BASE + 0 for
 * those that only read, who all share it. Who holds ALL of them write-locked found nobody else, and unlinks the file. */
#define OBJECT_LOCK_BASE (INT64_C(1) << 40)
#define OBJECT_LOCK_ALL (OBJECT_SLOTS + 1)
#define OBJECT_LOCK_NAME OBJECT_LOCK_ALL /* a byte more: who removes the name while others have it open */

/* Locks without waiting; type: F_WRLCK, F_RDLCK, F_UNLCK. -EAGAIN: somebody else holds some of it. */
int object_lock_bytes(int fd, short type, uint32_t first, uint32_t n);

/* Who else holds a conflicting lock there: 1 and what of it lies where (relative to BASE); 0: nobody. Takes no lock. */
struct object_holding {
    uint32_t first, n;
    pid_t pid; /* 0 outside this pid namespace */
};
int object_look(int fd, uint32_t first, uint32_t n, struct object_holding *ret_holding);

/* Others' locks in a range; at most `most`. Each look tells of one, somewhere in the range; the rest lies before and after it. */
unsigned object_count_others(int fd, uint32_t first, uint32_t n, unsigned most);

/* Takes any free slot. -EAGAIN: somebody just looks whether the file can go; -EUSERS: all are taken. */
int object_take_slot(int fd, uint32_t *ret_slot);

/* Does path name the inode of this status? 1, 0, or an error. A path of "" names nothing. */
int object_names(const char *path, dev_t device, ino_t inode);

/* What is wrong with the header of a mapped file of `bytes`, or 0 and a copy. tag 0: any kind, body_version is not looked at. what,
 * path: for sentences. */
int object_check_header(const struct object_header *header, uint64_t bytes, const struct object_kind *kind, const char *path,
                        struct object_header *ret_copy);

/* Maps the whole file. */
int object_map(int fd, uint64_t bytes, bool writable, void **ret_map);

/* A new file that nobody sees, mapped, its header written, the maker's slot locked. */
struct object_new {
    int fd;
    void *map;
    uint64_t bytes;
    uint32_t slot;
    dev_t device;
    ino_t inode;
    char temporary[sizeof(((struct name *)0)->path)]; /* "": it has no name at all */
};

#define OBJECT_NEW_NONE ((struct object_new){ .fd = -1 })

/* path "": a memfd. */
int object_new_make(const struct object_request *request, const char *path, struct object_new *ret_new);
/* Gives it its name: -EEXIST. */
int object_new_link(struct object_new *fresh, const char *path);
void object_new_drop(struct object_new *fresh);

#define OBJECT_TEMPORARY ".hawser-object-" /* and 8 hexadecimal digits: where there is no O_TMPFILE */

/* Whether whoever owns this file is one we take it from: 0 or -EACCES. */
int object_check_owner(const struct options *options, const char *path, uid_t owner);
