/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Records of System V queues; see record.h. Invariant: at any instant at which a queue of ours exists, its record does, and
 * its lock is held by whoever uses it. A record counts only while it has a name: whoever locks one looks at st_nlink
 * after, as a collector may have been faster. */

#include "transport/sysv/record.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/name.h"

#include <errno.h>
#include <string.h>

#define KEY_DIGITS 8
#define KEYS_TRIED 16

static int directory_path(char *ret_path, size_t capacity) {
    char runtime[128];
    int r = runtime_directory(runtime, sizeof runtime);
    if (r < 0)
        return r;
    int length = snprintf(ret_path, capacity, "%s/.sysv", runtime);
    if (length < 0 || (size_t)length >= capacity)
        return error_set(-ENAMETOOLONG, "the runtime directory's name %s is too long", runtime);
    return 0;
}

/* -EWOULDBLOCK: somebody uses it. */
static int lock_named(int fd) {
    int r;
    do
        r = sys_flock(fd, LOCK_EX | LOCK_NB);
    while (r == -EINTR);
    if (r < 0)
        return r;
    struct stat status;
    r = sys_fstat(fd, &status);
    if (r < 0)
        return r;
    return status.st_nlink > 0 ? 0 : -ENOENT;
}

static int open_again(int directory, const char *path, int flags, mode_t mode) {
    int fd;
    do
        fd = sys_openat(directory, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    while (fd == -EINTR);
    return fd;
}

static int random_key(uint32_t *ret_key) {
    uint32_t key;
    ssize_t n;
    do
        n = sys_getrandom(&key, sizeof key, 0);
    while (n == -EINTR);
    if (n != sizeof key)
        return error_set(n < 0 ? (int)n : -EIO, "get random bytes for a System V key: %s", error_text(n < 0 ? (int)n : -EIO));
    key &= 0x7ffffffeu;
    *ret_key = key ? key : 2; /* 0 is IPC_PRIVATE, which has no key to record */
    return 0;
}

static bool key_free(uint32_t key) {
    return sys_msgget((key_t)key, 0) == -ENOENT && sys_msgget((key_t)(key + 1), 0) == -ENOENT;
}

/* -EEXIST or -ENOENT: try another key. The keys are looked up first, so that a record never names another program's queue. */
static int make_file(const char *directory, uint32_t key, struct record *ret_record) {
    if (!key_free(key))
        return -EEXIST;
    struct record fresh = { .key = key };
    int length = snprintf(fresh.path, sizeof fresh.path, "%s/%08x", directory, key);
    if (length < 0 || (size_t)length >= sizeof fresh.path)
        return error_set(-ENAMETOOLONG, "the runtime directory's name %s is too long", directory);
    fresh.fd = open_again(AT_FDCWD, fresh.path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fresh.fd == -EEXIST)
        return -EEXIST;
    if (fresh.fd < 0)
        return error_set(fresh.fd, "record a System V key as %s: %s", fresh.path, error_text(fresh.fd));
    int r = lock_named(fresh.fd);
    if (r < 0) { /* a collector took it in the instant before the lock; it unlinks it too */
        sys_close(fresh.fd);
        return r == -EWOULDBLOCK || r == -ENOENT ? -ENOENT : error_set(r, "lock %s: %s", fresh.path, error_text(r));
    }
    *ret_record = fresh;
    return 0;
}

/* Is it gone now? */
static bool remove_queue(int queue) {
    int r;
    do
        r = sys_msgctl(queue, IPC_RMID, NULL);
    while (r == -EINTR);
    return r == 0 || r == -EIDRM || r == -EINVAL; /* the peer was faster */
}

static int unlink_again(int directory, const char *path) {
    int r;
    do
        r = sys_unlinkat(directory, path, 0);
    while (r == -EINTR);
    return r;
}

static int make_queue(uint32_t key, int *ret_queue) {
    int queue = sys_msgget((key_t)key, IPC_CREAT | IPC_EXCL | 0600);
    if (queue == -ENOSPC)
        return error_set(-ENOSPC, "make a System V queue: the system has as many as kernel.msgmni allows; raise that sysctl, "
                                  "or remove some (ipcs -q lists them)");
    if (queue < 0)
        return error_set(queue, "make a System V queue: %s", error_text(queue));
    *ret_queue = queue;
    return 0;
}

static int make_queues(uint32_t key, int ret_queues[2]) {
    int r = make_queue(key, &ret_queues[0]);
    if (r < 0)
        return r;
    r = make_queue(key + 1, &ret_queues[1]);
    if (r < 0)
        remove_queue(ret_queues[0]);
    return r;
}

int record_make(struct record *ret_record, int ret_queues[2]) {
    char directory[136];
    int r = directory_path(directory, sizeof directory);
    if (r < 0)
        return r;
    r = sys_mkdir(directory, 0700);
    if (r < 0 && r != -EEXIST)
        return error_set(r, "make the directory %s: %s", directory, error_text(r));
    for (int i = 0; i < KEYS_TRIED; i++) {
        struct record record = RECORD_NONE;
        uint32_t key = 0;
        int queues[2];
        r = random_key(&key);
        if (r == 0)
            r = make_file(directory, key, &record);
        if (r == 0) {
            r = make_queues(key, queues);
            if (r == 0) {
                *ret_record = record;
                memcpy(ret_queues, queues, sizeof queues);
                return 0;
            }
            unlink_again(AT_FDCWD, record.path);
            sys_close(record.fd);
        }
        if (r != -EEXIST && r != -ENOENT)
            return r;
    }
    return error_set(-EEXIST, "make a System V queue: %d random keys were all taken", KEYS_TRIED);
}

/* Does the path name this file? 1; 0: another; negative: none, or it cannot be known. */
static int names_file(const char *path, int fd) {
    struct stat ours, named;
    int r = sys_fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW);
    if (r == 0)
        r = sys_fstat(fd, &ours);
    return r < 0 ? r : ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

int record_adopt(uint32_t key, int *fd, struct record *ret_record) {
    struct stat status;
    if (key < 2 || (key & 1) || key > 0x7ffffffeu)
        return error_set(-EPROTO, "the peer's System V key %08x is none of hawser's", key);
    int r = sys_fstat(*fd, &status);
    if (r < 0)
        return error_set(r, "inspect the peer's record: %s", error_text(r));
    if (!S_ISREG(status.st_mode))
        return error_set(-EPROTO, "the peer's record is not a file");
    char directory[136];
    struct record fresh = { .key = key };
    if (directory_path(directory, sizeof directory) == 0) {
        int length = snprintf(fresh.path, sizeof fresh.path, "%s/%08x", directory, key);
        bool fits = length >= 0 && (size_t)length < sizeof fresh.path;
        r = fits ? names_file(fresh.path, *fd) : -ENAMETOOLONG;
        if (r == 0)
            return error_set(-EPROTO, "the peer's System V key %08x is another channel's", key);
        if (r < 0)
            fresh.path[0] = '\0';
    }
    fresh.fd = steal_fd(fd);
    *ret_record = fresh;
    return 0;
}

void record_forget(struct record *record) {
    if (record->fd >= 0)
        sys_close(record->fd);
    *record = RECORD_NONE;
}

void record_remove(struct record *record, const int queues[2]) {
    bool first = remove_queue(queues[0]), second = remove_queue(queues[1]);
    /* While there may be a queue there is a record: the next open tries again. */
    if (first && second && record->path[0] && names_file(record->path, record->fd) == 1)
        unlink_again(AT_FDCWD, record->path);
    record_forget(record);
}

static int remove_key(uint32_t key) {
    int queue = sys_msgget((key_t)key, 0);
    if (queue >= 0)
        return remove_queue(queue) ? 0 : -EPERM;
    return queue == -ENOENT ? 0 : queue;
}

/* 1: it was an orphan's, and went (look: it stays); 0: it is in use, or gone already. */
static int collect_one(int directory, const char *path, uint32_t key, bool look) {
    cleanup_fd fd = open_again(directory, path, O_RDWR, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = lock_named(fd);
    if (r < 0)
        return r == -EWOULDBLOCK || r == -ENOENT ? 0 : r;
    if (look)
        return 1;
    int first = remove_key(key), second = remove_key(key + 1);
    r = first < 0 ? first : second;
    if (r == 0)
        r = unlink_again(directory, path);
    return r < 0 ? r : 1;
}

void record_leave(struct record *record) {
    if (record->fd >= 0)
        sys_close(record->fd);
    if (record->path[0])
        collect_one(AT_FDCWD, record->path, record->key, false);
    *record = RECORD_NONE;
}

/* The key that a record's name says; 0: it is no record. */
static uint32_t key_of(const char *name) {
    uint32_t key = 0;
    for (unsigned i = 0; i < KEY_DIGITS; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = name[i] ? strchr(digits, name[i]) : NULL;
        if (!digit)
            return 0;
        key = key << 4 | (uint32_t)(digit - digits);
    }
    return name[KEY_DIGITS] || (key & 1) || key > 0x7ffffffeu ? 0 : key;
}

/* One entry of getdents64(2), as include/linux/dirent.h has it. */
struct entry {
    uint64_t inode;
    int64_t next;
    uint16_t size;
    uint8_t type;
    char name[];
};

static int collect_entries(int directory, const char *bytes, size_t size, bool look) {
    int removed = 0;
    for (size_t at = 0; at < size;) {
        const struct entry *entry = (const struct entry *)(const void *)(bytes + at);
        uint32_t key = key_of(entry->name);
        int r = key ? collect_one(directory, entry->name, key, look) : 0;
        if (r > 0)
            removed += r; /* one that cannot be removed must not keep the others from going */
        at += entry->size;
    }
    return removed;
}

int record_collect_dead(bool look) {
    char path[136];
    int r = directory_path(path, sizeof path);
    if (r < 0)
        return r;
    cleanup_fd directory = open_again(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (directory < 0)
        return directory == -ENOENT ? 0 : error_set(directory, "open %s: %s", path, error_text(directory));
    int removed = 0;
    for (;;) {
        _Alignas(8) char bytes[2048];
        ssize_t n = sys_getdents64(directory, bytes, sizeof bytes);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return error_set((int)n, "read %s: %s", path, error_text((int)n));
        if (n == 0)
            return removed;
        removed += collect_entries(directory, bytes, (size_t)n, look);
    }
}

int record_collect(void) { return record_collect_dead(false); }
