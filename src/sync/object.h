/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* An object is a file, or without a name a memfd, that several processes map, and whose members the KERNEL knows: each process
 * that is one holds a POSIX record lock on a byte of its own (its slot), which the kernel drops whenever the process ends or
 * execs. No pid is stored anywhere.
 *
 * In a process there is ONE struct object for an inode and an access, however often it was opened: it is counted, and what is
 * in it (state too) is shared by all handles. All calls: any thread; none waits, but for a bounded time for another process that
 * is between looking at a name and removing it. */

#include "base/process.h"
#include "core/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBJECT_SLOTS 8191        /* 1 to OBJECT_SLOTS; 0 is nobody */
#define OBJECT_EVERY UINT32_MAX  /* in reclaim: nobody is a member, so whatever any slot holds is left over */
#define OBJECT_PARAMETERS 6
#define OBJECT_HEADER 4096       /* bytes before the body, which is page-aligned therefore */

/* What a file can be; frozen. */
enum object_tag { OBJECT_SEMAPHORE = 1, OBJECT_EVENT = 2, OBJECT_REGION = 3, OBJECT_CELL = 4 };

enum object_access {
    OBJECT_WRITE,   /* descriptor and map can be written; a slot */
    OBJECT_READ,    /* descriptor and map are read-only; no slot of its own (slot is 0), but a member; never makes one */
    OBJECT_GUARDED, /* the descriptor can be written, the map cannot; a slot. object_map_writable() maps part of it so */
};

struct object;
struct object_request;

struct object_kind {
    enum object_tag tag;
    uint32_t version;    /* of the body's layout; another one in a file is -EPROTO */
    const char *scheme;  /* "sem": for sentences and listings */
    const char *what;    /* "a semaphore" */
    size_t state_size;   /* bytes of object->state, zeroed at the process's first open */

    /* All may be NULL. All run under the process's one lock: they must not call object_...(), nor wait. Waking is fine. */

    /* A new one: body is zeroed and nobody sees it yet. object->parameters are request's, and can be changed here. */
    int (*birth)(struct object *object, const struct object_request *request);
    /* An existing one, mapped, this process a member: do its parameters fit the request, and the body its size? Also run at each
     * further open in a process, and at adopt (then request->size is 0 and its parameters are all 0). */
    int (*check)(struct object *object, const struct object_request *request);
    /* What slot holds is left over of a dead process (or nobody's): gives it back. Nobody else can be in the slot meanwhile. Runs
     * again, from the start, should this process be killed in it. Not for OBJECT_READ. */
    void (*reclaim)(struct object *object, uint32_t slot);
    /* The last handle of this process closes, and its slot stays taken until this has returned: gives back what it holds. */
    void (*leave)(struct object *object);
    /* In a forked child that joins: state is zeroed already; object->slot is the child's own. */
    void (*forked)(struct object *object);
};

struct object_request {
    const struct object_kind *kind;
    const struct address *address; /* an empty place: unnamed, always new */
    const struct options *options; /* users, groups: of a new one; peer: whose an existing one may be */
    enum object_access access;
    uint64_t size;                 /* bytes of the body of a new one; 0: it must exist (-ENOENT) */
    uint64_t parameters[OBJECT_PARAMETERS]; /* of a new one; whatever the kind likes */
    bool permanent;                /* a new one's name stays when its last member goes */
    bool fresh;                    /* it must not exist (-EEXIST) */
    bool others_read;              /* users and groups may only read a new one (share=read) */
};

struct object {
    void *body;        /* page-aligned */
    uint64_t size;     /* of the body, bytes; checked against the file */
    uint64_t parameters[OBJECT_PARAMETERS]; /* a copy, made once */
    void *state;       /* this process's, kind->state_size bytes; NULL if that is 0 */
    const struct object_kind *kind;
    enum object_access access;
    uint32_t slot;     /* this process's; 0 with OBJECT_READ. Valid after object_enter() */
    uint32_t process;  /* process_self() of whom all this is true for */
    bool created;      /* by this process's first open of it */
    bool permanent;
    struct object_file *file; /* object.c's own */
    struct object *next;      /* the same */
    unsigned handles;         /* the same */
};

/* Opens or makes. Errors, with sentences: -EINVAL (name, or another kind of thing has that name), -ENOENT, -EEXIST, -EACCES
 * (somebody else's, or not for us), -EPROTO (no object, or damaged), -EOPNOTSUPP (the file system knows no access lists, or no record
 * locks), -EUSERS (no slot is free), -EBUSY (the name changed all the time), -ENOSPC, -ENOMEM, -EMFILE, what kind->birth and check
 * say, and what files say. */
int object_open(const struct object_request *request, struct object **ret_object);

/* Gives one handle up: the process's last leaves, and the last member's removes the name unless it is permanent. In a forked
 * child that has not entered it: only unmaps and closes. Takes NULL; returns NULL. */
struct object *object_close(struct object *object);

/* First in each public call: in a forked child, joins. 0; -ESTALE: the name was given up before this child first used it;
 * -EUSERS, -ENOMEM; -EBUSY: a process stopped while it looked whether the object is left over. */
int object_join(struct object *object);
static inline int object_enter(struct object *object) {
    return __builtin_expect(load_relaxed(&object->process) == process_self(), 1) ? 0 : object_join(object);
}

/* Is the slot's owner dead? true: it was, and what it held has been given back by kind->reclaim. false: alive, or somebody else
 * is reclaiming it just now, or it is our own. One system call while it lives. Any number from shared memory may be given. */
bool object_reclaim(struct object *object, uint32_t slot);

/* The pid of who is in a slot, in this pid namespace: 0: outside the namespace; -ESRCH: nobody. */
int object_holder(struct object *object, uint32_t slot, pid_t *ret_pid);

/* Processes that are members now, this one too, but those with OBJECT_READ count as one together. At most `most`. */
unsigned object_members(struct object *object, unsigned most);

/* Maps bytes of the body [offset, offset + size), page-aligned, to be written, in spite of OBJECT_GUARDED. munmap is the caller's. */
int object_map_writable(struct object *object, uint64_t offset, size_t size, void **ret_map);

/* A descriptor that lets another process adopt the object, any number of times, in any number of processes; the caller's, and
 * harmless to close (it is a ticket: a socket in which the object's descriptor is queued). access: OBJECT_READ, or what this one
 * has: not more than this one has (-EACCES). */
int object_export(struct object *object, enum object_access access, int *ret_fd);

/* Opens what a ticket carries. On success the ticket stays open, and the caller's (close it when no one else shall adopt from
 * it). Errors: -EPROTO (no ticket, or of another kind), -EBADF, -EACCES (access is more than the ticket gives), and as object_open().
 * With OBJECT_WRITE and a ticket that only reads: -EACCES; with OBJECT_READ it always can. */
int object_adopt(int fd, const struct object_kind *kind, enum object_access access, struct object **ret_object);

/* Makes an unnamed object's body unchangeable for all, and this one OBJECT_READ, at the same address. It must be OBJECT_WRITE
 * (-EACCES), of one handle, and mapped to be written by nobody else (-EBUSY); -EOPNOTSUPP: it is no memfd. */
int object_seal(struct object *object);
/* Can nobody write nor cut it, by the kernel's word? */
bool object_sealed(struct object *object);

/* Gives the name up now; the object lives on until its last member goes, unnamed. 0 also when it had none. */
int object_unlink(struct object *object);
