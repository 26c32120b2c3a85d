/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See object_file.h. A file gets its name only once it is whole and its maker's slot is locked, so who finds a name finds a live
 * object, one that its members left by dying, or one that its maker abandoned in the instant between: never half of one. */

#include "sync/object_file.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/identity.h"

#include <errno.h>
#include <string.h>

/* ---- Record locks ---- */

static int lock_call(int fd, int operation, struct flock *lock) {
    int error;
    do
        error = sys_fcntl(fd, operation, (long)(intptr_t)lock);
    while (error == -EINTR);
    return error == -EACCES ? -EAGAIN : error < 0 ? error : 0;
}

static struct flock lock_of(short type, uint32_t first, uint32_t n) {
    return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = OBJECT_LOCK_BASE + first, .l_len = n };
}

int object_lock_bytes(int fd, short type, uint32_t first, uint32_t n) {
    struct flock lock = lock_of(type, first, n);
    return lock_call(fd, F_SETLK, &lock);
}

int object_look(int fd, uint32_t first, uint32_t n, struct object_holding *ret_holding) {
    struct flock lock = lock_of(F_WRLCK, first, n);
    int error = lock_call(fd, F_GETLK, &lock);
    if (error < 0 || lock.l_type == F_UNLCK)
        return error;
    int64_t from = lock.l_start - OBJECT_LOCK_BASE, length = lock.l_len == 0 ? OBJECT_LOCK_ALL : lock.l_len;
    int64_t to = from + length; /* somebody's lock may begin or end outside */
    from = from < first ? first : from;
    to = to > (int64_t)first + n ? (int64_t)first + n : to;
    *ret_holding = (struct object_holding){ (uint32_t)from, (uint32_t)(to - from), lock.l_pid > 0 ? lock.l_pid : 0 };
    return 1;
}

/* Starts where no other process is likely to, so that among hundreds the first try is good. */
int object_take_slot(int fd, uint32_t *ret_slot) {
    uint32_t start = process_self() % OBJECT_SLOTS;
    for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
        uint32_t slot = 1 + (start + i * 61) % OBJECT_SLOTS; /* 61 and 8191 are primes: all are tried */
        struct object_holding holding;
        int error = object_lock_bytes(fd, F_WRLCK, slot, 1);
        if (error == 0)
            *ret_slot = slot;
        if (error != -EAGAIN)
            return error < 0 ? error_set(error, "lock a shared file: %s", error_text(error)) : 0;
        if (i == 0 && object_look(fd, 0, OBJECT_LOCK_ALL, &holding) > 0 && holding.n == OBJECT_LOCK_ALL)
            return -EAGAIN;
    }
    return error_set(-EUSERS, "all %d places of members are taken", OBJECT_SLOTS);
}

/* ---- What is there ---- */

int object_names(const char *path, dev_t device, ino_t inode) {
    struct stat status;
    if (!path[0])
        return 0;
    int error = sys_fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT)
        return 0;
    return error < 0 ? error : status.st_dev == device && status.st_ino == inode;
}

int object_check_owner(const struct options *options, const char *path, uid_t owner) {
    bool expected = options->peer_given ? ids_hold(&options->peer, owner, false)
                                        : (owner == geteuid() || owner == 0) && !id_unmapped(owner, false);
    if (expected)
        return 0;
    return error_set(-EACCES, "permission denied: \"%s\" belongs to uid %u, you are uid %u; peer=%u in the address says that you expect it",
                     path, owner, geteuid(), owner);
}

static const char *tag_name(uint32_t tag) {
    static const char *const names[] = { [OBJECT_SEMAPHORE] = "a semaphore", [OBJECT_EVENT] = "an event",
                                         [OBJECT_REGION] = "a region", [OBJECT_CELL] = "a cell" };
    return tag < sizeof names / sizeof names[0] && names[tag] ? names[tag] : "of an unknown kind";
}

static int check_kind(const struct object_header *header, const struct object_kind *kind, const char *path) {
    if (header->tag != (uint32_t)kind->tag)
        return error_set(-EINVAL, "\"%s\" is %s, not %s", path, tag_name(header->tag), kind->what);
    if (header->body_version != kind->version)
        return error_set(-EPROTO, "\"%s\" is %s of version %u, this library speaks %u", path, kind->what, header->body_version,
                         kind->version);
    return 0;
}

int object_check_header(const struct object_header *header, uint64_t bytes, const struct object_kind *kind, const char *path,
                        struct object_header *ret_copy) {
    if (bytes < OBJECT_HEADER)
        return error_set(-EPROTO, "\"%s\" is no object of hawser's: it has %llu bytes, and a header alone %d; remove it", path,
                         (unsigned long long)bytes, OBJECT_HEADER);
    struct object_header copy = *header; /* whoever may write the file can change it at any time */
    if (copy.magic != OBJECT_MAGIC)
        return error_set(-EPROTO, "\"%s\" is no object of hawser's: it does not begin as one does; remove it or choose another name", path);
    if (copy.version != OBJECT_VERSION)
        return error_set(-EPROTO, "\"%s\" has format version %u, this library knows %d", path, copy.version, OBJECT_VERSION);
    int error = kind ? check_kind(&copy, kind, path) : 0;
    if (error)
        return error;
    if (copy.size > bytes - OBJECT_HEADER || copy.size == 0)
        return error_set(-EPROTO, "\"%s\" is damaged: its header says %llu bytes, and %llu are there; remove it", path,
                         (unsigned long long)copy.size, (unsigned long long)(bytes - OBJECT_HEADER));
    *ret_copy = copy;
    return 0;
}

int object_map(int fd, uint64_t bytes, bool writable, void **ret_map) {
    if (bytes > SIZE_MAX / 2)
        return error_set(-ENOMEM, "map %llu bytes: more than this process can address", (unsigned long long)bytes);
    long start = sys_mmap(NULL, (size_t)bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (start < 0 && start > -4096)
        return error_set((int)start, "map %llu bytes: %s", (unsigned long long)bytes, error_text((int)start));
    *ret_map = (void *)start; // NOLINT: the kernel's own address
    return 0;
}

/* ---- Making ---- */

/* Growing a file beyond RLIMIT_FSIZE raises SIGXFSZ, which kills. */
static int check_size(uint64_t bytes) {
    struct rlimit limit;
    if (bytes > INT64_MAX || bytes > SIZE_MAX / 2)
        return error_set(-ENOMEM, "%llu bytes are more than this process can address", (unsigned long long)bytes);
    int error = sys_getrlimit(RLIMIT_FSIZE, &limit);
    if (error < 0)
        return error_set(error, "read the limit of file sizes: %s", error_text(error));
    if (limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
        return error_set(-EFBIG, "%llu bytes are more than the limit of file sizes, %llu; raise it with ulimit -f",
                         (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
    return 0;
}

#define RESERVE_STEP (UINT64_C(1) << 20)

/* In steps: before Linux 6.10 a signal undoes all that a call had done, and one every 10 ms left a large file undone for good. */
static int reserve(int fd, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes;) {
        uint64_t step = bytes - at < RESERVE_STEP ? bytes - at : RESERVE_STEP;
        int error = sys_fallocate(fd, 0, (off_t)at, (off_t)step);
        if (error < 0 && error != -EINTR)
            return error == -EOPNOTSUPP ? 0 : error; /* some file systems cannot */
        at += error < 0 ? 0 : step;
    }
    return 0;
}

/* All of it is there before it is mapped: a full file system shows here, not as SIGBUS at the first touch. */
static int grow(int fd, uint64_t bytes) {
    int error = check_size(bytes);
    if (error)
        return error;
    do
        error = sys_ftruncate(fd, (off_t)bytes);
    while (error == -EINTR);
    if (error >= 0)
        error = reserve(fd, bytes);
    return error < 0 ? error_set(error, "make %llu bytes of shared memory: %s", (unsigned long long)bytes, error_text(error)) : 0;
}

/* Who may: linux/posix_acl_xattr.h and linux/posix_acl.h, little-endian. */
struct access_entry {
    uint16_t tag, permissions;
    uint32_t id;
};

struct access_list {
    uint32_t version;
    struct access_entry entries[4 + 2 * IDS_MAX];
};

enum { ACCESS_VERSION = 2, ACCESS_OWNER = 1, ACCESS_USER = 2, ACCESS_OWN_GROUP = 4, ACCESS_GROUP = 8, ACCESS_MASK = 16, ACCESS_OTHER = 32 };
#define ACCESS_NOBODY UINT32_MAX
#define ACCESS_READ_WRITE 6
#define ACCESS_READ 4

static uint16_t little16(unsigned number) {
    uint8_t bytes[2] = { (uint8_t)number, (uint8_t)(number >> 8) };
    uint16_t little;
    memcpy(&little, bytes, sizeof little);
    return little;
}

static uint32_t little32(uint32_t number) {
    uint8_t bytes[4] = { (uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24) };
    uint32_t little;
    memcpy(&little, bytes, sizeof little);
    return little;
}

static void add_entry(struct access_list *list, unsigned *n, unsigned tag, unsigned permissions, uint32_t id) {
    list->entries[(*n)++] = (struct access_entry){ little16(tag), little16(permissions), little32(id) };
}

static int set_access_list(int fd, const struct options *options, unsigned permissions) {
    struct access_list list = { .version = little32(ACCESS_VERSION) };
    unsigned n = 0;
    add_entry(&list, &n, ACCESS_OWNER, ACCESS_READ_WRITE, ACCESS_NOBODY);
    for (unsigned i = 0; i < options->users.n; i++)
        add_entry(&list, &n, ACCESS_USER, permissions, options->users.ids[i]);
    add_entry(&list, &n, ACCESS_OWN_GROUP, 0, ACCESS_NOBODY);
    for (unsigned i = 0; i < options->groups.n; i++)
        add_entry(&list, &n, ACCESS_GROUP, permissions, options->groups.ids[i]);
    add_entry(&list, &n, ACCESS_MASK, permissions, ACCESS_NOBODY);
    add_entry(&list, &n, ACCESS_OTHER, 0, ACCESS_NOBODY);
    int error = sys_fsetxattr(fd, "system.posix_acl_access", &list, offsetof(struct access_list, entries) + n * sizeof list.entries[0], 0);
    if (error == -EOPNOTSUPP)
        return error_set(error, "users and groups need a file system with access lists, which this one lacks; choose another "
                                "directory, or users=any");
    return error < 0 ? error_set(error, "say who may use a shared file: %s", error_text(error)) : 0;
}

static int set_access(int fd, const struct object_request *request) {
    const struct options *options = request->options;
    unsigned permissions = request->others_read ? ACCESS_READ : ACCESS_READ_WRITE;
    bool any = options->users.any || options->groups.any;
    if (options->admit)
        return error_note(-EOPNOTSUPP, "a file cannot ask a callback who may use it: name users or groups");
    int error = sys_fchmod(fd, any ? 0600 | permissions << 3 | permissions : 0600);
    if (error < 0)
        return error_set(error, "say who may use a shared file: %s", error_text(error));
    return any || (options->users.n == 0 && options->groups.n == 0) ? 0 : set_access_list(fd, options, permissions);
}

static uint32_t random_number(void) {
    uint32_t number;
    return sys_getrandom(&number, sizeof number, GRND_NONBLOCK) == sizeof number ? number : (uint32_t)clock_now() * 2654435761u;
}

static int open_memory(void) {
    int fd = sys_memfd_create("hawser-object", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd == -EINVAL) /* before Linux 6.3 */
        fd = sys_memfd_create("hawser-object", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

/* Where the file system knows no O_TMPFILE, or without /proc nothing could give such a file a name: under a name of its own. */
static int open_temporary(const char *path, char *ret_temporary, size_t capacity) {
    size_t length = name_directory_length(path);
    for (unsigned tries = 0; tries < 16; tries++) {
        int n = snprintf(ret_temporary, capacity, "%.*s/" OBJECT_TEMPORARY "%08x", length == 1 ? 0 : (int)length, path, random_number());
        if ((size_t)n >= capacity)
            return -ENAMETOOLONG;
        int fd = sys_openat(AT_FDCWD, ret_temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd != -EEXIST && fd != -EINTR)
            return fd;
    }
    return -EEXIST;
}

static int open_unnamed(const char *path) {
    char directory[sizeof(((struct name *)0)->path)];
    struct stat status;
    size_t length = name_directory_length(path);
    memcpy(directory, path, length);
    directory[length] = 0;
    if (sys_fstatat(AT_FDCWD, "/proc/self/fd", &status, 0) < 0)
        return -EOPNOTSUPP;
    return sys_openat(AT_FDCWD, directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
}

static int open_new(const char *path, struct object_new *fresh) {
    fresh->temporary[0] = 0;
    if (!path[0])
        fresh->fd = open_memory();
    else
        fresh->fd = open_unnamed(path);
    if (path[0] && (fresh->fd == -EOPNOTSUPP || fresh->fd == -EISDIR || fresh->fd == -EINVAL || fresh->fd == -EINTR)) {
        char temporary[sizeof fresh->temporary];
        fresh->fd = open_temporary(path, temporary, sizeof temporary);
        if (fresh->fd >= 0)
            memcpy(fresh->temporary, temporary, sizeof temporary);
    }
    if (fresh->fd >= 0)
        return 0;
    int error = fresh->fd;
    fresh->fd = -1;
    return path[0] ? error_set(error, "cannot make \"%s\": %s", path, error_text(error))
                   : error_set(error, "make shared memory: %s", error_text(error));
}

static void write_header(const struct object_request *request, struct object_header *header) {
    uint64_t identity = (uint64_t)random_number() << 32 | random_number();
    header->magic = OBJECT_MAGIC;
    header->version = OBJECT_VERSION;
    header->tag = (uint32_t)request->kind->tag;
    header->body_version = request->kind->version;
    header->flags = request->permanent ? OBJECT_FLAG_PERMANENT : 0;
    header->size = request->size;
    header->identity = identity ? identity : 1;
    memcpy(header->parameters, request->parameters, sizeof header->parameters);
}

/* A memfd can be sealed against the SIGBUS that a member would cause by cutting it; a file of a directory cannot. Who has a
 * descriptor of it that only reads could open it anew by /proc to write, were its mode as memfd_create() leaves it. */
static int settle_inode(int fd, bool memory, struct stat *ret_status) {
    int error = memory ? sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) : 0;
    if (memory && error >= 0)
        error = sys_fchmod(fd, 0444);
    if (error >= 0)
        error = sys_fstat(fd, ret_status);
    return error < 0 ? error_set(error, "set a shared file up: %s", error_text(error)) : 0;
}

static int fill_new(const struct object_request *request, const char *path, struct object_new *fresh) {
    struct stat status;
    fresh->bytes = OBJECT_HEADER + request->size;
    int error = path[0] ? set_access(fresh->fd, request) : 0;
    if (!error)
        error = grow(fresh->fd, fresh->bytes);
    if (!error)
        error = settle_inode(fresh->fd, !path[0], &status);
    if (!error)
        error = object_map(fresh->fd, fresh->bytes, true, &fresh->map);
    if (!error)
        error = object_take_slot(fresh->fd, &fresh->slot);
    if (error)
        return error;
    fresh->device = status.st_dev;
    fresh->inode = status.st_ino;
    write_header(request, fresh->map);
    return 0;
}

int object_new_make(const struct object_request *request, const char *path, struct object_new *ret_new) {
    struct object_new fresh = OBJECT_NEW_NONE;
    if (request->size > INT64_MAX - OBJECT_HEADER)
        return error_set(-ENOMEM, "%llu bytes are more than this process can address", (unsigned long long)request->size);
    int error = open_new(path, &fresh);
    if (!error)
        error = fill_new(request, path, &fresh);
    if (error) {
        object_new_drop(&fresh);
        return error;
    }
    *ret_new = fresh;
    return 0;
}

int object_new_link(struct object_new *fresh, const char *path) {
    char from[64];
    if (fresh->temporary[0]) {
        int error = sys_linkat(AT_FDCWD, fresh->temporary, AT_FDCWD, path, 0);
        sys_unlinkat(AT_FDCWD, fresh->temporary, 0);
        fresh->temporary[0] = 0;
        return error;
    }
    snprintf(from, sizeof from, "/proc/self/fd/%d", fresh->fd);
    return sys_linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

void object_new_drop(struct object_new *fresh) {
    if (fresh->temporary[0])
        sys_unlinkat(AT_FDCWD, fresh->temporary, 0);
    if (fresh->map)
        sys_munmap(fresh->map, (size_t)fresh->bytes);
    cleanup_close(&fresh->fd);
    *fresh = OBJECT_NEW_NONE;
}
