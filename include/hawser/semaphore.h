/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_SEMAPHORE_H
#define HAWSER_SEMAPHORE_H

/* A semaphore guards a resource by a count: so many permits, shared by the processes that open it. All its users can write the
 * memory it lives in, so it is for processes that TRUST EACH OTHER: one that misbehaves can make the others wait for ever, or hold
 * more permits than there are. Processes that do not trust each other use an event (event.h), or call one that owns the resource.
 *
 * Permits have owners. When a process dies, by whatever cause and at whatever instruction, its permits come back, and a sleeping
 * waiter has them within 100 ms; who then acquires one of them is told by HAWSER_OWNER_DIED, so that it can look after what was
 * guarded; as long as somebody has the semaphore open all the time: it goes with the last, and what is made anew knows of no death (the
 * guard of a permanent region does: region.h). The owner is the process, not the thread: permits of a thread that ends stay the
 * process's, and any thread of it may release them.
 *
 * Fairness: waiters are served in the order in which they began to sleep. A newcomer who finds permits free takes them although others
 * wait, so that they are not idle while a sleeper wakes up; but once the waiter that is first in line has been woken for a permit and
 * found it taken, no newcomer passes it any more, and before that at most 1024 do (and those whose calls are under way at that moment):
 * then they queue behind it, until one in line is served. Of several permits that may be one behind the first, as there is enough for
 * both; but only 31 of those let newcomers pass again before the first has its own. So the one at place k is passed at most 1024 times k,
 * of several permits 32768 times k; and who waits for several permits by nobody once it is first in line, so that it is not starved by
 * those who want one.
 *
 * Names: "sem://NAME" is a file in the runtime directory (hawser(3)), or of an absolute path, that exists while a process has it open; the
 * last close removes it, after kills the next open does, or hawser_gc(). "sem://" has no name: it is shared with forked children,
 * and with others by hawser_semaphore_export().
 *
 * Threads: any number may use a semaphore at once; hawser_semaphore_close() is for when no other call is under way. Fork: a child may use
 * what its parent opened: it becomes a user of its own at its first call, with no permits.
 *
 * Errors that any call can return, besides what stands at it:
 *   -EINVAL  a NULL or malformed argument; nothing was done
 *   -ESTALE  this is a forked child, and its parent's semaphore was given up before the child first used it
 *   -EUSERS  this is a forked child, and 8191 processes have the semaphore open
 *   -EBUSY   this is a forked child, or hawser_semaphore_open(), and for 2 s a process was stopped in the instant in which it looks
 *            whether the semaphore is left over */

#include <hawser/base.h>
#include <hawser/options.h>
#include <sys/types.h>

HAWSER_BEGIN

typedef struct hawser_semaphore hawser_semaphore;

#define HAWSER_PERMITS_MAX 65536u

/* Opens the semaphore at the address, or makes it with so many permits, 1 to HAWSER_PERMITS_MAX, all free. permits 0: it must
 * exist. options (NULL: the defaults) that matter: wait; users and groups, who besides the own user may open it (when it is made; their
 * ids become an access list of the file); peer, whose it may be.
 * Errors: -EINVAL (the sentence points at the character; or it has another number of permits, or the name is not a semaphore's),
 * -ENOENT (permits is 0), -EACCES (another user's, or not for you), -EPROTO (the file is not hawser's, or damaged), -EUSERS (8191 processes have
 * it open), -EOPNOTSUPP (users or groups, and the file system has no access lists), -ENOSPC, -EMFILE, -ENFILE, -ENOMEM, and what the
 * system says of the file. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_semaphore_open(const char *address, const hawser_options *options, uint32_t permits,
                                                          hawser_semaphore **ret_semaphore);

/* Frees the handle. With the process's last handle of a semaphore, permits it still holds are released. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_semaphore *hawser_semaphore_close(hawser_semaphore *semaphore);

/* Takes n permits, 1 to all of them; all or none. 0, or HAWSER_OWNER_DIED: they are taken, and at least one of them came back from a
 * process that died with it, after which nobody has held it until now.
 * Where they are free and nobody waits this is no system call.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW; also when a permit is free, but this caller may not pass those who wait). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_semaphore_acquire(hawser_semaphore *semaphore, uint32_t n, int64_t timeout);

/* Gives n permits back. Errors: -EPERM (this process holds fewer; it keeps those, unless threads of it release them at the same time). */
HAWSER_PUBLIC int hawser_semaphore_release(hawser_semaphore *semaphore, uint32_t n);

/* A semaphore of one permit is a lock, whose owner is the thread. Not to be mixed with acquire and release.
 * hawser_lock(): 0, or HAWSER_OWNER_DIED: it is locked, and who had it last died with it.
 * Errors: -EDEADLK (this thread has it), -EINVAL (it has more permits than one), -ETIMEDOUT, -EAGAIN (HAWSER_NOW).
 * hawser_unlock(): -EPERM (this thread does not have it). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_lock(hawser_semaphore *semaphore, int64_t timeout);
HAWSER_PUBLIC int hawser_unlock(hawser_semaphore *semaphore);

/* Some moment's. */
struct hawser_semaphore_status {
    size_t struct_size; /* sizeof(struct hawser_semaphore_status); set by HAWSER_SEMAPHORE_STATUS_INIT */
    uint32_t permits;   /* there are */
    uint32_t available; /* that nobody holds */
    uint32_t waiting;   /* sleepers in line */
    uint32_t held;      /* by this process */
    uint64_t deaths;    /* processes that died holding permits, since the semaphore was made */
    uint64_t reserved[4];
};

#define HAWSER_SEMAPHORE_STATUS_INIT { .struct_size = sizeof(struct hawser_semaphore_status) }

/* What the dead held is taken back first: a system call for each holder. */
HAWSER_PUBLIC int hawser_semaphore_status(hawser_semaphore *semaphore, struct hawser_semaphore_status *ret_status);

struct hawser_semaphore_holder {
    pid_t pid;        /* in this process's pid namespace; 0: outside of it */
    uint32_t permits; /* that it holds */
};

/* Who holds how many: up to capacity of them; *ret_n is how many there are. As of some moment, the dead taken out.
 * Errors: -ENOMEM. */
HAWSER_PUBLIC int hawser_semaphore_holders(hawser_semaphore *semaphore, struct hawser_semaphore_holder *ret_holders, size_t capacity,
                                           size_t *ret_n);

/* A descriptor by which other processes adopt the semaphore, any number of times: to be passed on by exec, SCM_RIGHTS or
 * hawser_send_fds(). It is the caller's, and no more than a ticket: closing it closes nothing.
 * Errors: -EMFILE, -ENFILE. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_semaphore_export(hawser_semaphore *semaphore, int *ret_fd);

/* Opens what such a descriptor leads to; it stays the caller's. Of the options only wait matters.
 * Errors: -EBADF, -EPROTO (it leads to no semaphore), -EACCES (it has a name, and is a file of another user, who could cut it: open it by
 * its name, with peer=), -EUSERS, -EMFILE, -ENFILE, -ENOMEM. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_semaphore_adopt(int fd, const hawser_options *options,
                                                           hawser_semaphore **ret_semaphore);

HAWSER_END

#endif
