/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The listening end's name. It holds the FIFO open for reading and writing: so those that connect find a reader, and
 * one that comes and goes leaves no hang-up behind. Bytes in it are somebody's: the link gets a descriptor that only
 * reads, a fresh FIFO takes the name, and the holder of the old one is closed, after which the writer's end is the link's end.
 *
 * A name is dead when nobody reads there. Only its own listener replaces a live one, so that needs no lock. */

#include "transport/fifo/fifo.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/access.h"
#include "core/bytes.h"
#include "core/listener.h"
#include "core/pipe_io.h"

#include <errno.h>
#include <stdio.h>

#define FLAGS (O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)

/* ---- Whose the name is ---- */

static int look_at(const char *path, struct stat *ret_status) {
    int r = sys_fstatat(AT_FDCWD, path, ret_status, AT_SYMLINK_NOFOLLOW);
    return r < 0 && r != -ENOENT ? error_set(r, "cannot look at \"%s\": %s", path, error_text(r)) : r;
}

/* Does somebody read there? 0: no. A listener may be putting a fresh FIFO there at this very moment: who is dead stays the same. */
static int probe(const char *path) {
    struct stat before, after;
    for (;;) {
        int r = look_at(path, &before);
        if (r < 0)
            return r == -ENOENT ? 0 : r;
        if (!S_ISFIFO(before.st_mode))
            return error_set(-EADDRINUSE, "\"%s\" is taken: it is no FIFO; remove it or choose another name", path);
        cleanup_fd fd = sys_openat(AT_FDCWD, path, O_WRONLY | FLAGS, 0);
        if (fd >= 0)
            return error_set(-EADDRINUSE, "\"%s\" is taken: somebody reads there", path);
        if (fd != -ENXIO && fd != -ENOENT)
            return error_set(fd, "cannot ask whether somebody reads at \"%s\": %s", path, error_text(fd));
        r = look_at(path, &after);
        if (r == 0 && before.st_ino == after.st_ino && before.st_dev == after.st_dev)
            return 0;
    }
}

/* Once taken the name may be a successor's, if somebody removed it, or if for want of a descriptor nobody read there. */
static int check_name(const struct name *name) {
    struct stat status;
    int r = name->taken ? look_at(name->path, &status) : -ENOENT;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return status.st_dev == name->device && status.st_ino == name->inode ? 0 : probe(name->path);
}

/* ---- Taking the name ---- */

/* What the fresh FIFO is called until it takes the name: beside it, and always the same, so that the next taker of the name
 * also takes what a killed one left. */
static void temporary_path(const char *path, char *ret_path, size_t capacity) {
    size_t length = name_directory_length(path);
    const char *base = strrchr(path, '/') + 1;
    snprintf(ret_path, capacity, "%.*s/.%s.new", length == 1 && path[0] == '/' ? 0 : (int)length, path, base);
}

/* A fresh FIFO at the temporary path, held. */
static int make(const struct options *options, const char *temporary, struct name *name, int *ret_hold) {
    struct stat status;
    cleanup_fd hold = -1;
    int r = sys_unlinkat(AT_FDCWD, temporary, 0);
    if (r < 0 && r != -ENOENT)
        return r;
    r = sys_mkfifo(temporary, 0600);
    if (r < 0)
        return r;
    r = hold = sys_openat(AT_FDCWD, temporary, O_RDWR | FLAGS, 0);
    if (r >= 0)
        r = sys_fstat(hold, &status);
    if (r >= 0)
        r = sys_fchmod(hold, access_mode(options)); /* the umask does not count */
    if (r < 0)
        return r;
    pipe_set_room(hold, options);
    name->device = status.st_dev;
    name->inode = status.st_ino;
    *ret_hold = steal_fd(&hold);
    return 0;
}

static void let_go(struct hawser_listener *listener) {
    listener_unwatch(listener);
    cleanup_close(&listener->fd);
    listener->fd = -1;
}

/* Puts a fresh FIFO in the name's place; listener->fd and name become its. On failure nothing has changed. */
static int put_in_place(struct hawser_listener *listener) {
    char temporary[sizeof listener->name.path + 8];
    struct name name = listener->name;
    cleanup_fd hold = -1;
    temporary_path(name.path, temporary, sizeof temporary);
    int r = check_name(&name);
    if (r < 0)
        return r;
    r = make(&listener->options, temporary, &name, &hold);
    if (r >= 0)
        r = sys_renameat(AT_FDCWD, temporary, AT_FDCWD, name.path);
    if (r < 0) {
        sys_unlinkat(AT_FDCWD, temporary, 0);
        return error_set(r, "cannot put a FIFO at \"%s\": %s", name.path, error_text(r));
    }
    name.taken = true;
    listener->name = name;
    let_go(listener);
    listener->fd = steal_fd(&hold);
    return 0;
}

int fifo_listen(struct hawser_listener *listener) {
    struct name_directory directory;
    int r = fifo_path(&listener->address, listener->name.path, sizeof listener->name.path);
    if (r == 0)
        r = name_directory_enter(listener->name.path, &directory);
    if (r < 0)
        return r;
    r = probe(listener->name.path);
    if (r == 0)
        r = put_in_place(listener);
    name_directory_leave(&directory);
    return r;
}

void fifo_unlisten(struct hawser_listener *listener) { name_release(&listener->name); }

/* ---- Accepting ---- */

static bool has_bytes(int fd) {
    static const struct timespec now = { 0 };
    struct pollfd poll = { .fd = fd, .events = POLLIN };
    return sys_ppoll(&poll, 1, &now, NULL) > 0 && poll.revents & POLLIN;
}

/* The descriptor that only reads. The name must still be ours: an administrator may have removed it. */
static int open_reader(const struct hawser_listener *listener, int *ret_fd) {
    struct stat status;
    cleanup_fd fd = sys_openat(AT_FDCWD, listener->name.path, O_RDONLY | FLAGS, 0);
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, &status);
    if (r < 0)
        return r;
    if (status.st_dev != listener->name.device || status.st_ino != listener->name.inode)
        return -ESTALE;
    *ret_fd = steal_fd(&fd);
    return 0;
}

/* The writer wrote its hello at once: what is not here now is no hello. */
static int check_hello(int fd) {
    uint8_t hello[8 + FIFO_HELLO];
    ssize_t got;
    do
        got = sys_read(fd, hello, sizeof hello);
    while (got == -EINTR);
    if (got != (ssize_t)sizeof hello || bytes_get64(hello) != ((uint64_t)FRAME_HELLO << 56 | FIFO_HELLO) ||
        bytes_get64(hello + 8) != ((uint64_t)FIFO_MAGIC << 32 | FIFO_VERSION << 16))
        return -EPROTO;
    return 0;
}

/* Whoever wrote to the FIFO in place is turned away with it. */
static int turn_away(struct hawser_listener *listener, int error) {
    let_go(listener); /* first: the fresh one needs a descriptor */
    put_in_place(listener); /* should that fail, the next accept tries again */
    if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
        return error_set(error, "who connected was turned away: %s", error_text(error));
    return -EAGAIN;
}

int fifo_accept(struct hawser_listener *listener, struct link **ret_link) {
    cleanup_fd fd = -1;
    if (listener->fd < 0) {
        int r = put_in_place(listener);
        return r < 0 ? r : -EAGAIN;
    }
    if (!has_bytes(listener->fd))
        return -EAGAIN;
    int r = open_reader(listener, &fd);
    if (r == 0 && fifo_framing(&listener->options) == FRAMING_NATIVE)
        r = check_hello(fd);
    if (r < 0)
        return turn_away(listener, r);
    r = put_in_place(listener);
    if (r < 0)
        return turn_away(listener, r);
    return fifo_link_new(&listener->options, LINK_LISTEN, steal_fd(&fd), ret_link);
}
