/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_REGION_H
#define HAWSER_REGION_H

/* A region is shared memory in the raw: bytes that several processes map, by a name or without one. Who may write it can write it at
 * any time, and who reads sees it happen; so a region that others can write is for processes that TRUST EACH OTHER. Those that do
 * not, use a channel (channel.h), whose pages have one writer each, a cell (cell.h) for the latest value of one writer, or a
 * region that was sealed before it was handed out.
 *
 * Its guard keeps it from being read half-written, among those that use it: hawser_region_lock(), shared or exclusive. A holder
 * that dies gives it back; if it had it exclusively, whoever has it next is told, by HAWSER_OWNER_DIED, that the data may be
 * half-written, until one that has it exclusively unlocks it, and by that says that it mended the data.
 *
 * The generation counts what was written: it is odd while somebody has the guard exclusively (or died with it), and even and
 * greater afterwards. So who may only read, and cannot have the guard, copies what it wants between two looks at the generation: if it was
 * the same and even both times, the copy is whole.
 *
 * Names: "region://NAME" is a file in the runtime directory (hawser(3)), or of an absolute path; the last close removes it, after
 * kills the next open does, or hawser_gc(), unless it is permanent. "region://" has no name: it is shared with forked children, and
 * with others by hawser_region_export(), and is gone with the last that has it open.
 *
 * In the query besides the options (options.h): size=64K; share=read: users and groups may only read it (default: share=write);
 * permanent=yes; access=read: this process maps it to be read only, and need not be allowed to write it.
 *
 * Threads: any number may use a region at once; hawser_region_close() and hawser_region_seal() are for when no other call is under
 * way. Fork: a child may use what its parent opened: it becomes a user of its own at its first call, without the guard.
 *
 * Errors that any call can return, besides what stands at it:
 *   -EINVAL  a NULL or malformed argument; nothing was done
 *   -ESTALE  this is a forked child, and its parent's region was given up before the child first used it
 *   -EUSERS  this is a forked child, and 8191 processes have the region open */

#include <hawser/base.h>
#include <hawser/options.h>

HAWSER_BEGIN

typedef struct hawser_region hawser_region;

enum hawser_region_access { HAWSER_REGION_WRITE = 0, HAWSER_REGION_READ = 1 };
enum hawser_region_mode { HAWSER_SHARED = 1, HAWSER_EXCLUSIVE = 2 };

/* Opens the region at the address, or makes it, of size bytes, all 0. size 0: that of the query's size=; without one it must exist.
 * options (NULL: the defaults) that matter: users, groups: who besides the own user may open one that is made; peer: whose an existing
 * one may be (default: own user or root); wait: how long to spin for the guard.
 * Errors: -EINVAL (the sentence points at the character; or it has another size, or the name is not a region's), -ENOENT (it does not
 * exist, and no size says to make it), -EACCES (another user's; or you may only read it: access=read), -EPROTO (the file is
 * damaged), -EUSERS (8191 processes have it open), -EOPNOTSUPP (users or groups, and the file system has no access lists), -ENOSPC,
 * -EFBIG (RLIMIT_FSIZE), -EMFILE, -ENFILE, -ENOMEM, and what the system says of the file. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_region_open(const char *address, const hawser_options *options, size_t size,
                                                       hawser_region **ret_region);

/* Unmaps it and frees the handle: its data are no longer to be touched, but by further handles of this process. With the process's
 * last handle the guard is given back too; closing is no unlocking, so if it was exclusive, who has it next is told. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_region *hawser_region_close(hawser_region *region);

/* The first byte, 4096-byte aligned, and how many there are. Both stay the same while the handle is open. Writing what is
 * mapped to be read only raises SIGSEGV. A member who cuts the file of a name from outside makes all others' touch raise SIGBUS; an unnamed
 * one cannot be cut. NULL and 0 for NULL. Any thread. */
HAWSER_PUBLIC void *hawser_region_data(hawser_region *region);
HAWSER_PUBLIC size_t hawser_region_size(hawser_region *region);

/* Takes the guard: shared by up to 64 holders at once, or exclusive. 0, or HAWSER_OWNER_DIED: it is taken, and somebody died who had
 * it exclusively, since when nobody has unlocked it exclusively. Exclusive belongs to the thread, shared to the process (a thread
 * that has it shared and wants it exclusive waits for itself).
 * Errors: -EDEADLK (this thread has it exclusively), -EACCES (mapped to be read only from a descriptor that cannot be written, or
 * sealed), -ETIMEDOUT, -EAGAIN (HAWSER_NOW). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_region_lock(hawser_region *region, int mode, int64_t timeout);

/* Gives back what hawser_region_lock() took last. Errors: -EPERM (this thread has it not exclusively, and the process not shared). */
HAWSER_PUBLIC int hawser_region_unlock(hawser_region *region);

/* The generation; loads before the call happen before it, and those after it after. */
HAWSER_PUBLIC int hawser_region_generation(hawser_region *region, uint64_t *ret_generation);

/* Makes an unnamed region unchangeable for good: nobody can write it any more, nor change its size, and the kernel vouches for that to whom it
 * is handed out (hawser_region_status(), sealed). The data stay at their address. The guard ends: what cannot change needs none.
 * Errors: -EBUSY (another process has it mapped to be written, or this one has another handle), -EOPNOTSUPP (it has a name: only
 * unnamed memory can be sealed), -EACCES (mapped to be read only). */
HAWSER_PUBLIC int hawser_region_seal(hawser_region *region);

/* A descriptor with which other processes adopt the region, any number of times; it can travel by exec, SCM_RIGHTS or
 * hawser_send_fds(), and is the caller's to close. It is no descriptor of the memory itself, and who has it can make it useless for others
 * who have the same one: whom you do not trust gets one of its own. access: what who adopts it may do, by the kernel's word where that is
 * another user, and not root; of a sealed region HAWSER_REGION_READ alone.
 * Errors: -EACCES (more than this handle may), -EMFILE, -ENFILE, -ENOMEM, -ETOOMANYREFS. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_region_export(hawser_region *region, int access, int *ret_fd);

/* Opens what an exported descriptor leads to, as far as it allows. fd stays the caller's. options: wait.
 * Errors: -EBADF, -EPROTO (not an exported region), -EACCES (it has a name, and is a file of another user, who could cut it: open it by its
 * name, with peer=), -EMFILE, -ENFILE, -ENOMEM, -EUSERS. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_region_adopt(int fd, const hawser_options *options, hawser_region **ret_region);

/* Removes a name, permanent or not; those who have it open keep the memory. options: peer. Errors: -ENOENT, and as hawser_region_open(). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_region_remove(const char *address, const hawser_options *options);

/* Some moment's. */
struct hawser_region_status {
    size_t struct_size;  /* sizeof(struct hawser_region_status); set by HAWSER_REGION_STATUS_INIT */
    uint64_t size;       /* bytes of data */
    uint64_t generation;
    uint32_t members;    /* processes that have it open, this one too; those that only may read count as one. Over 1000: 1000 */
    uint32_t writable;   /* 1: this handle may write */
    uint32_t sealed;     /* 1: nobody can write or cut it, by the kernel's word */
    uint32_t permanent;  /* 1: its name stays when nobody has it open */
    uint32_t created;    /* 1: this process made it */
    uint32_t holders;    /* of the guard: 64 exclusive, else how many share it */
    uint32_t torn;       /* 1: who had the guard exclusively died, and nobody mended the data yet */
    uint32_t reserved_word;
    uint64_t reserved[4];
};

#define HAWSER_REGION_STATUS_INIT { .struct_size = sizeof(struct hawser_region_status) }

HAWSER_PUBLIC int hawser_region_status(hawser_region *region, struct hawser_region_status *ret_status);

HAWSER_END

#endif
