/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See object_process.h. The list is changed by single stores of pointers to what is whole, so that a child forked by another
 * thread at any instant finds a list it can walk.
 *
 * Leaving: a member gives its slot back first and only then tries to lock all of them. So of several that leave at once, at
 * least the one that gives back last finds itself alone, and unlinks the file; and whoever wanted to join it meanwhile finds, once
 * it has a slot, that the name is another file's, and starts over. */

#include "sync/object_process.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

/* ---- The lock ---- */

#define NAP_NS 10000000

static uint32_t lock_holder;  /* process_self() of who holds it; 0, or of a process we were forked from: free */
static uint32_t lock_waiters; /* a hint: whoever waits looks again after NAP_NS anyway */

void object_process_enter(void) {
    static const struct timespec nap = { .tv_nsec = NAP_NS };
    uint32_t self = process_self();
    for (;;) {
        uint32_t seen = load_relaxed(&lock_holder);
        if (seen != self && compare_exchange(&lock_holder, &seen, self)) /* pairs with object_process_leave */
            return;
        add_relaxed(&lock_waiters, 1);
        sys_futex(&lock_holder, FUTEX_WAIT | FUTEX_PRIVATE, self, &nap, 0);
        add_relaxed(&lock_waiters, UINT32_MAX);
    }
}

void object_process_leave(void) {
    exchange_release(&lock_holder, 0); /* pairs with object_process_enter */
    if (load_relaxed(&lock_waiters) > 0)
        sys_futex(&lock_holder, FUTEX_WAKE | FUTEX_PRIVATE, 1, NULL, 0);
}

/* ---- Files ---- */

static struct object_file *files;

struct object_file *object_process_find(dev_t device, ino_t inode) {
    for (struct object_file *file = files; file; file = file->next)
        if (file->device == device && file->inode == inode)
            return file;
    return NULL;
}

struct object_file *object_process_add(int fd, bool writable, const struct stat *status, const char *path) {
    struct object_file *file = memory_new(sizeof *file);
    if (!file) {
        error_note(-ENOMEM, "no memory for a shared file");
        return NULL;
    }
    file->device = status->st_dev;
    file->inode = status->st_ino;
    file->bytes = (uint64_t)status->st_size;
    file->write_fd = writable ? fd : -1;
    file->read_fd = writable ? -1 : fd;
    snprintf(file->path, sizeof file->path, "%s", path);
    return file;
}

void object_process_insert(struct object_file *file) {
    file->next = files;
    store_release(&files, file); /* pairs with nothing: a child forked by another thread sees the file whole, or not at all */
}

static void file_remove(struct object_file *file) {
    for (struct object_file **at = &files; *at; at = &(*at)->next)
        if (*at == file) {
            store_relaxed(at, file->next);
            return;
        }
}

void object_process_keep(struct object_file *file, int fd) {
    struct object_stray *stray = memory_new(sizeof *stray);
    if (!stray)
        return; /* it stays open for good: closing it would tell the others that this process died */
    stray->fd = fd;
    stray->next = file->strays;
    store_relaxed(&file->strays, stray);
}

static int join_writer(struct object_file *file, bool *ret_alone) {
    uint32_t slot = 0;
    *ret_alone = object_lock_bytes(file->write_fd, F_WRLCK, 0, OBJECT_LOCK_ALL) == 0;
    int error = object_take_slot(file->write_fd, &slot); /* with all of them locked, that is the first it tries */
    if (!error)
        file->slot = slot;
    return error;
}

static int join_reader(struct object_file *file) {
    int error = object_lock_bytes(file->read_fd, F_RDLCK, 0, 1);
    return error && error != -EAGAIN ? error_set(error, "lock \"%s\": %s", file->path, error_text(error)) : error;
}

int object_process_join(struct object_file *file, bool *ret_alone) {
    uint32_t self = process_self();
    int error = 0;
    *ret_alone = false;
    if (file->process == self && (file->slot || file->write_fd < 0))
        return 0;
    file->slot = 0; /* in a child: its parent's */
    error = file->write_fd >= 0 ? join_writer(file, ret_alone) : join_reader(file);
    if (!error)
        file->process = self;
    return error;
}

void object_process_settle(struct object_file *file) {
    object_lock_bytes(file->write_fd, F_UNLCK, 0, file->slot);
    object_lock_bytes(file->write_fd, F_UNLCK, file->slot + 1, OBJECT_LOCK_ALL - file->slot - 1);
}

/* ---- Leaving ---- */

static bool is_permanent(int fd) {
    struct object_header header;
    ssize_t n = sys_pread(fd, &header, sizeof header, 0);
    return n == sizeof header && header.magic == OBJECT_MAGIC && header.flags & OBJECT_FLAG_PERMANENT;
}

int object_process_collect(int fd, const char *path) {
    struct stat status;
    int error = object_lock_bytes(fd, F_WRLCK, 0, OBJECT_LOCK_ALL);
    if (error == -EAGAIN)
        return 0;
    if (!error)
        error = sys_fstat(fd, &status);
    if (error < 0)
        return error;
    if (is_permanent(fd))
        return 0;
    int ours = object_names(path, status.st_dev, status.st_ino);
    if (ours <= 0)
        return ours;
    error = sys_unlinkat(AT_FDCWD, path, 0);
    return error < 0 ? error : 1;
}

/* Who only reads cannot lock all; whether it is the last it learns with a descriptor of its own, if it may have one. */
static void collect_after_reader(const char *path, dev_t device, ino_t inode) {
    if (object_names(path, device, inode) <= 0)
        return;
    cleanup_fd fd = sys_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    struct stat status;
    if (fd >= 0 && sys_fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode)
        object_process_collect(fd, path);
}

static void close_strays(struct object_file *file) {
    for (struct object_stray *stray = file->strays, *next; stray; stray = next) {
        next = stray->next;
        sys_close(stray->fd);
        memory_free(stray);
    }
}

void object_process_drop(struct object_file *file) {
    bool member = file->process == process_self();
    file_remove(file);
    if (member && file->path[0] && file->write_fd >= 0) {
        object_lock_bytes(file->write_fd, F_UNLCK, 0, OBJECT_LOCK_ALL);
        object_process_collect(file->write_fd, file->path);
    }
    close_strays(file);
    cleanup_close(&file->read_fd);
    cleanup_close(&file->write_fd);
    if (member && file->path[0] && file->write_fd < 0)
        collect_after_reader(file->path, file->device, file->inode);
    memory_free(file);
}

