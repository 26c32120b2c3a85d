/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See object_list.h. An inode that this process has open is looked at by the descriptor it has; another by one of its own, which
 * is closed before anybody else in the process can make an object of it. */

#include "sync/object_list.h"

#include "base/cleanup.h"
#include "sync/object_process.h"

#include <errno.h>

#define MEMBERS_MOST 1000

unsigned object_count_others(int fd, uint32_t first, uint32_t n, unsigned most) {
    struct object_holding holding;
    unsigned count = 0;
    while (n > 0 && count < most && object_look(fd, first, n, &holding) > 0) {
        uint32_t end = first + n;
        count += 1 + object_count_others(fd, first, holding.first - first, most - count - 1);
        first = holding.first + holding.n;
        n = end - first;
    }
    return count;
}

/* 0, or -ENOENT: it is no object. */
static int summarize(int fd, const struct stat *status, bool temporary, struct object_summary *ret_summary) {
    struct object_header header = { 0 };
    ssize_t n;
    do
        n = sys_pread(fd, &header, sizeof header, 0);
    while (n == -EINTR);
    if (n < 0)
        return (int)n;
    if (!temporary && (n != sizeof header || header.magic != OBJECT_MAGIC))
        return -ENOENT;
    *ret_summary = (struct object_summary){
        .tag = temporary ? 0 : header.tag,
        .version = header.version,
        .permanent = header.flags & OBJECT_FLAG_PERMANENT,
        .members = object_count_others(fd, 0, OBJECT_LOCK_ALL, MEMBERS_MOST),
        .size = header.size,
        .first_parameter = header.parameters[0],
        .bytes = (uint64_t)status->st_blocks * 512,
    };
    return 0;
}

static int open_regular(const char *path, int flags, struct stat *ret_status, int *ret_fd) {
    int error = sys_fstatat(AT_FDCWD, path, ret_status, AT_SYMLINK_NOFOLLOW);
    if (error < 0)
        return error;
    if (!S_ISREG(ret_status->st_mode))
        return -ENOENT;
    struct object_file *file = object_process_find(ret_status->st_dev, ret_status->st_ino);
    if (file)
        return -EBUSY;
    cleanup_fd fd = sys_openat(AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    error = sys_fstat(fd, ret_status);
    if (error < 0)
        return error;
    file = object_process_find(ret_status->st_dev, ret_status->st_ino);
    if (file) {
        object_process_keep(file, steal_fd(&fd));
        return -EBUSY;
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* One that this process has open. In a child that inherited it, but has not joined, it need not be alive. */
static int summarize_own(struct object_file *file, const struct stat *status, struct object_summary *ret_summary) {
    int error = summarize(file->write_fd >= 0 ? file->write_fd : file->read_fd, status, false, ret_summary);
    if (!error && file->process == process_self())
        ret_summary->members++;
    return error;
}

int object_summarize(const char *path, bool temporary, struct object_summary *ret_summary) {
    struct stat status;
    cleanup_fd fd = -1;
    object_process_enter();
    int error = open_regular(path, O_RDONLY, &status, &fd);
    if (error == -EBUSY)
        error = summarize_own(object_process_find(status.st_dev, status.st_ino), &status, ret_summary);
    else if (!error)
        error = summarize(fd, &status, temporary, ret_summary);
    cleanup_close(&fd);
    fd = -1;
    object_process_leave();
    return error;
}

int object_remove_orphan(const char *path, bool temporary) {
    struct stat status;
    struct object_summary summary;
    cleanup_fd fd = -1;
    object_process_enter();
    int error = open_regular(path, O_RDWR, &status, &fd);
    if (!error)
        error = summarize(fd, &status, temporary, &summary);
    if (!error)
        error = object_process_collect(fd, path);
    cleanup_close(&fd);
    fd = -1;
    object_process_leave();
    return error == -EBUSY || error == -ENOENT ? 0 : error;
}
