/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Walks a directory of names, and sweeps it. What each name is only the file itself tells: an object by how it begins, in our own
 * RUNTIME also a socket or FIFO, as nobody else makes any there. */

#include <hawser/names.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "core/name.h"
#include "core/transport.h"
#include "sync/object.h"
#include "sync/object_file.h"
#include "sync/object_list.h"

#include <errno.h>
#include <string.h>

struct walk {
    char directory[sizeof(((struct name *)0)->path)];
    bool runtime;  /* it is RUNTIME: sockets, FIFOs and what transports left count too */
    bool sweeps;   /* only what is dead, and it goes */
    bool looks;    /* ... but that it stays */
    hawser_name_function function;
    void *context;
    size_t removed;
};

/* One entry of getdents64(2), as include/linux/dirent.h has it. */
struct entry {
    uint64_t inode;
    int64_t next;
    uint16_t size;
    uint8_t type;
    char name[];
};

static const struct {
    uint32_t kind;
    const char *scheme;
} kinds[] = {
    [OBJECT_SEMAPHORE] = { HAWSER_NAME_SEMAPHORE, "sem" },
    [OBJECT_EVENT] = { HAWSER_NAME_EVENT, "futex" },
    [OBJECT_REGION] = { HAWSER_NAME_REGION, "region" },
    [OBJECT_CELL] = { HAWSER_NAME_CELL, "cell" },
};

/* ---- What a name is ---- */

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* 0 and what it is; -ENOENT: none of ours, or gone by now. */
static int describe_object(const struct walk *walk, const char *path, const char *base, struct hawser_name *name, char *address,
                           size_t capacity) {
    struct object_summary summary;
    bool half = begins(base, OBJECT_TEMPORARY);
    int error = object_summarize(path, half, &summary);
    if (error)
        return error;
    if (summary.tag >= sizeof kinds / sizeof kinds[0] || (!half && summary.tag == 0))
        return -ENOENT;
    name->kind = half ? HAWSER_NAME_HALF : kinds[summary.tag].kind;
    name->members = summary.members;
    name->permanent = summary.permanent;
    name->version = summary.version;
    name->size = summary.tag == OBJECT_REGION || summary.tag == OBJECT_CELL ? summary.first_parameter : summary.size;
    name->bytes = summary.bytes;
    if (!half)
        snprintf(address, capacity, "%s://%s", kinds[summary.tag].scheme, walk->runtime ? base : path);
    return 0;
}

static int describe_channel(const struct walk *walk, const char *path, const char *base, mode_t mode, struct hawser_name *name) {
    bool half = strcmp(base, NAME_TEMPORARY) == 0;
    if (!walk->runtime)
        return -ENOENT;
    int alive = half ? 0 : name_alive(path);
    if (alive < 0)
        return alive;
    name->members = (uint32_t)alive;
    name->kind = half ? HAWSER_NAME_HALF : S_ISFIFO(mode) ? HAWSER_NAME_FIFO : HAWSER_NAME_LISTENER;
    return 0;
}

static int describe(const struct walk *walk, const char *path, const char *base, struct hawser_name *name, char *address, size_t capacity) {
    struct stat status;
    int error = sys_fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW);
    if (error < 0)
        return error;
    if (S_ISREG(status.st_mode))
        return describe_object(walk, path, base, name, address, capacity);
    if (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))
        return describe_channel(walk, path, base, status.st_mode, name);
    return -ENOENT;
}

/* ---- The walk ---- */

static int tell(const struct walk *walk, const struct hawser_name *name) {
    return walk->function ? walk->function(walk->context, name) : 0;
}

/* What cannot be removed must not keep the others from going. */
static int sweep(struct walk *walk, const struct hawser_name *name, const char *base) {
    if (name->members > 0 || name->permanent)
        return 0;
    int ended = tell(walk, name), gone = 1;
    if (ended || walk->looks) {
        walk->removed += !ended;
        return ended;
    }
    if (name->kind == HAWSER_NAME_LISTENER || name->kind == HAWSER_NAME_FIFO || strcmp(base, NAME_TEMPORARY) == 0)
        gone = name_remove_dead(name->path);
    else
        gone = object_remove_orphan(name->path, name->kind == HAWSER_NAME_HALF);
    walk->removed += gone > 0;
    return 0;
}

/* No address can name a file with a control character, and no terminal should be shown one that somebody else chose. */
static bool has_control(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static int visit(struct walk *walk, const char *base) {
    char path[sizeof walk->directory + 256 + 1], address[sizeof path + 16] = "";
    struct hawser_name name = { .struct_size = sizeof name, .path = path, .address = address };
    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || strcmp(base, NAME_LOCK) == 0 || has_control(base))
        return 0;
    int n = snprintf(path, sizeof path, "%s/%s", walk->directory, base);
    if (n < 0 || (size_t)n >= sizeof path)
        return 0;
    int error = describe(walk, path, base, &name, address, sizeof address);
    if (error)
        return 0; /* no name of ours, or one that we may not look at, or that went */
    return walk->sweeps ? sweep(walk, &name, base) : tell(walk, &name);
}

static int visit_all(struct walk *walk, const char *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        const struct entry *entry = (const struct entry *)(const void *)(bytes + at);
        int ended = visit(walk, entry->name);
        if (ended)
            return ended;
        at += entry->size;
    }
    return 0;
}

static int walk_directory(struct walk *walk) {
    cleanup_fd fd = sys_openat(AT_FDCWD, walk->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return error_set(fd, "cannot open the directory \"%s\": %s", walk->directory, error_text(fd));
    for (;;) {
        _Alignas(8) char bytes[4096];
        ssize_t n = sys_getdents64(fd, bytes, sizeof bytes);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return error_set((int)n, "cannot read the directory \"%s\": %s", walk->directory, error_text((int)n));
        int ended = n > 0 ? visit_all(walk, bytes, (size_t)n) : 0;
        if (ended || n == 0)
            return ended;
    }
}

static int choose_directory(struct walk *walk, const char *directory) {
    char runtime[sizeof walk->directory];
    int error = runtime_directory(runtime, sizeof runtime);
    if (error && !directory)
        return error;
    walk->runtime = !directory || (!error && strcmp(directory, runtime) == 0);
    size_t length = strlen(directory ? directory : runtime);
    while (directory && length > 1 && directory[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof walk->directory)
        return error_set(-ENAMETOOLONG, "\"%s\" is no directory's path, or over-long", directory ? directory : runtime);
    memcpy(walk->directory, directory ? directory : runtime, length);
    walk->directory[length] = 0;
    return 0;
}

HAWSER_PUBLIC int hawser_names_list(const char *directory, hawser_name_function function, void *context) {
    struct walk walk = { .function = function, .context = context };
    if (!function)
        return error_note(-EINVAL, "hawser_names_list: there is no function to tell the names to");
    int error = choose_directory(&walk, directory);
    return error ? error : walk_directory(&walk);
}

/* What has no name, but a record. */
static int sweep_transports(struct walk *walk) {
    struct hawser_name name = { .struct_size = sizeof name, .path = walk->directory, .address = "", .kind = HAWSER_NAME_QUEUES };
    int found = 0;
    for (unsigned i = 0; transports[i]; i++) {
        int n = transports[i]->collect ? transports[i]->collect(walk->looks) : 0;
        found += n > 0 ? n : 0;
    }
    walk->removed += (size_t)found;
    return found > 0 ? tell(walk, &name) : 0;
}

HAWSER_PUBLIC int hawser_gc(const char *directory, uint32_t flags, hawser_name_function function, void *context, size_t *ret_removed) {
    struct walk walk = { .function = function, .context = context, .sweeps = true, .looks = flags & HAWSER_GC_LOOK };
    if (flags & ~HAWSER_GC_LOOK)
        return error_set(-EINVAL, "hawser_gc: the flags 0x%x are unknown", flags & ~HAWSER_GC_LOOK);
    int error = choose_directory(&walk, directory);
    if (!error)
        error = walk_directory(&walk);
    if (!error && walk.runtime)
        error = sweep_transports(&walk);
    if (!error && ret_removed)
        *ret_removed = walk.removed;
    return error;
}
