/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_CELL_H
#define HAWSER_CELL_H

/* A cell holds the latest value of ONE writer for any number of readers: a sensor's reading, a configuration, a price. Values that
 * were overtaken are gone; for every value, use a channel. Readers never hold the writer up, nor know of each other, and map
 * the memory read-only; what they read is always one whole value. A value has up to as many bytes as the cell was made for.
 *
 * Address: "cell://NAME", a file in RUNTIME or at an absolute path, as hawser(3) has it; or "cell://", a cell without a name, for
 * hawser_cell_export() or for a child after fork. What only cells have in their query: "size=64", "permanent=yes".
 *
 * The writer may be killed between any two instructions: the last value stays whole and readable, and the next writer, of which
 * hawser_cell_create() makes one, goes on from it. Values are numbered by a version: 1, 2, 3, ... through all writers.
 * The cell goes when the last process that has it open closes it or ends, unless it is permanent; then hawser_cell_remove().
 *
 * Trust: readers of other users (options users, groups) can only read. Readers of the writer's own user map the memory read-only
 * too, but could write to the file. Writers are of the user who made the cell. What readers read was checked: a writer that lies can
 * give wrong values, and keep hawser_cell_get() busy as long as it keeps writing, but write nobody's memory. Who may write the file of a
 * named cell can also cut it, and its readers die of SIGBUS; a cell without a name is sealed against that. A reader that means ill can keep
 * others from opening a named cell, and so its next writer (docs/limits.md), but holds up neither the one there is nor who reads already.
 *
 * Threads: a handle's hawser_cell_get(), look, intact, size and status: any number at once, beside one that writes and one that
 * waits. Processes: a forked child reads through its parent's handle; only the process that called hawser_cell_create() writes. */

#include <hawser/options.h>

HAWSER_BEGIN

typedef struct hawser_cell hawser_cell;

#define HAWSER_CELL_SIZE_MAX (UINT64_C(1) << 30) /* bytes of a value, at most */

/* A value in place, for as long as hawser_cell_intact() says so. */
typedef struct hawser_cell_view {
    const void *data; /* its first byte, 8-byte aligned */
    size_t size;      /* bytes */
    uint64_t version;
    uint64_t internal; /* leave alone */
} hawser_cell_view;

struct hawser_cell_status {
    size_t struct_size;  /* sizeof(struct hawser_cell_status); set by HAWSER_CELL_STATUS_INIT */
    uint64_t size;       /* most bytes of a value */
    uint64_t version;    /* of the newest value; 0: none yet */
    pid_t writer;        /* the process that writes, in this pid namespace; 0: nobody, -1: somebody outside the namespace */
    uint32_t processes;  /* that have it open, the writer too; those that can only read count as one together */
    uint64_t bytes;      /* of shared memory */
    uint64_t reserved[4];
};

#define HAWSER_CELL_STATUS_INIT { .struct_size = sizeof(struct hawser_cell_status) }

/* Makes a cell for values of up to size bytes (1 to HAWSER_CELL_SIZE_MAX), or becomes the writer of one that exists.
 * size: 0: what the address's query says, and if it says nothing the cell must exist (-ENOENT).
 * options: users, groups: who may read it, besides the own user; wait. NULL for the defaults.
 * The memory is 8 to 32 times the size (status.bytes), as each value is written where nobody reads.
 * Errors: -EBUSY (it has a writer that lives), -EINVAL (address, size, another than in the address, or than that of the cell that is there:
 * the sentence tells both), -EACCES (somebody else's), -EPROTO (the name is no cell's), -EOPNOTSUPP (users or groups on a file system
 * without access lists), -ENOSPC, -ENOMEM, -EMFILE, and what the system calls on files say. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_create(const char *address, const hawser_options *options, uint64_t size,
                                                       hawser_cell **ret_cell);

/* Opens a cell to read it, waiting up to timeout, ns, for it to be made. It needs no value, nor a writer, yet.
 * options: peer: whose it may be (default: the own user's or root's); wait. "size=" in the query: it must be that.
 * Errors: -ETIMEDOUT or -EAGAIN (there is none), and as hawser_cell_create() but -EBUSY. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_open(const char *address, const hawser_options *options, int64_t timeout,
                                                     hawser_cell **ret_cell);

/* Closes it; a writer gives the writing up. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_cell *hawser_cell_close(hawser_cell *cell);

/* Removes the name of a cell, permanent or not; who has it open keeps it. -ENOENT: there is none; else as hawser_cell_open(). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_remove(const char *address, const hawser_options *options);

/* A descriptor that lets other processes read the cell (hawser_cell_adopt()), passed by any means, any number of times. It stays
 * the caller's. Who has it can read the cell, not alter it. Errors: -EMFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_export(hawser_cell *cell, int *ret_fd);

/* Opens the cell behind such a descriptor to read it; fd stays the caller's. options: wait.
 * Errors: -EBADF, -EPROTO (no exported cell), -EACCES (it has a name, and is a file of another user, who could cut it: open it by its
 * name, with peer=), -EMFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_adopt(int fd, const hawser_options *options, hawser_cell **ret_cell);

/* Sets the value: size bytes, 0 to that of the cell. Never waits, makes no system call unless a reader sleeps, and costs the same
 * however many readers there are. One thread at a time. data may be NULL where size is 0.
 * Errors: -EMSGSIZE (too large; nothing was set), -EPERM (the cell was opened to read, or by another process), -EINVAL. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_set(hawser_cell *cell, const void *data, size_t size);

/* The same in place: where the next value is to be written, and, once it is, to publish it. The place is 8-byte aligned, in cells
 * of over 56 bytes 64-byte, and has room for as many bytes as the cell's size; an old value lies there. To begin again without
 * publishing gives the same place. Errors as hawser_cell_set(). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_begin(hawser_cell *cell, void **ret_data);
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_publish(hawser_cell *cell, size_t size);

/* Copies the newest value into the caller's buffer of capacity bytes. ret_size, ret_version: may be NULL. Never waits: it copies
 * again only when further values were set during its copying, in cells of over 56 bytes 7 or more of them.
 * Errors: -ENODATA (no value was set yet), -EMSGSIZE (too small for the value; *ret_size, as an exception, is the size it needs).
 * On failure the buffer's content is undefined. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_get(hawser_cell *cell, void *buffer, size_t capacity, size_t *ret_size,
                                                    uint64_t *ret_version);

/* The newest value in place, not copied. What is read there may be overwritten meanwhile: read, do nothing yet that depends on it,
 * then ask hawser_cell_intact(): 1: all that was read is of that one value; 0: it was overwritten, look again.
 * Errors of look: -ENODATA, -EINVAL. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_look(hawser_cell *cell, hawser_cell_view *ret_view);
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_intact(hawser_cell *cell, const hawser_cell_view *view);

/* Waits until the cell's version is another than version (0: until there is a value), up to timeout, ns; *ret_version, which may
 * be NULL, is what it is then. One thread of a handle at a time. A reader that can only read (another user's, or of an exported
 * cell) cannot ask to be woken: it looks again after an eighth of the time it has waited so far, at least 50 us, at most 10 ms.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW), -EINVAL. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_wait(hawser_cell *cell, uint64_t version, int64_t timeout, uint64_t *ret_version);

/* Most bytes of a value; 0 for NULL. */
HAWSER_PUBLIC size_t hawser_cell_size(const hawser_cell *cell);

/* Fills in what is known of the cell. -EINVAL: struct_size. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_cell_status(hawser_cell *cell, struct hawser_cell_status *ret_status);

HAWSER_END

#endif
