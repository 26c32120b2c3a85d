/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Taking and giving back a name. Everything that changes a name happens under a flock of its directory, so at most one
 * process at a time is between looking at a name and replacing it. The kernel drops the lock of one that is killed;
 * what such a one leaves is its temporary name, which the next taker removes, and its name, which refuses connections
 * and is renamed over. A name is put in place only once its socket listens: who finds it can connect. */

#include "core/name.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "wait/sleeper.h"

#include <errno.h>
#include <string.h>

#define LOCK_PATIENCE_NS INT64_C(2000000000)
#define NAP_LAST_NS INT64_C(20000000)
#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

void name_nap(int64_t *nap_ns, int64_t deadline) {
    struct pollfd waker[1];
    struct sleep_set set = { .fds = waker };
    sleep_until(&set, waker_self(), deadline_earlier(clock_now() + *nap_ns, deadline));
    *nap_ns = *nap_ns * 2 > NAP_LAST_NS ? NAP_LAST_NS : *nap_ns * 2;
}

static socklen_t socket_address(const char *path, struct sockaddr_un *ret_address) {
    size_t length = strnlen(path, sizeof ret_address->sun_path - 1);
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sun_family = AF_UNIX;
    memcpy(ret_address->sun_path, path, length);
    if (path[0] != '@')
        return (socklen_t)sizeof *ret_address;
    ret_address->sun_path[0] = 0; /* abstract: the name is as long as it says, without a NUL */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static int socket_new(int type, int *ret_fd) {
    int fd = sys_socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(fd, "cannot make a Unix socket: %s", error_text(fd));
    *ret_fd = fd;
    return 0;
}

/* ---- The directory ---- */

/* -EWOULDBLOCK: somebody has it, or had it a moment ago. */
static int try_lock_file(int directory, int *ret_file) {
    struct stat status;
    cleanup_fd file = sys_openat(directory, NAME_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return file == -EACCES ? -EWOULDBLOCK : file; /* root's, in our directory */
    int error = sys_flock(file, LOCK_EX | LOCK_NB);
    if (error >= 0)
        error = sys_fstat(file, &status);
    if (error < 0)
        return error;
    if (status.st_nlink == 0)
        return -EWOULDBLOCK;
    *ret_file = steal_fd(&file);
    return 0;
}

static int directory_lock(struct name_directory *directory, bool readable) {
    int64_t nap_ns = NAME_NAP_NS, deadline = clock_now() + LOCK_PATIENCE_NS;
    for (;;) {
        int error = readable ? try_lock_file(directory->fd, &directory->file) : sys_flock(directory->fd, LOCK_EX | LOCK_NB);
        if (error != -EINTR && error != -EWOULDBLOCK)
            return error;
        if (deadline_passed(deadline))
            return -EBUSY;
        name_nap(&nap_ns, deadline);
    }
}

static int directory_open(const char *path, struct name_directory *ret_directory, struct stat *ret_status) {
    char text[sizeof(((struct name *)0)->path)];
    size_t length = name_directory_length(path);
    memcpy(text, path, length);
    text[length] = 0;
    cleanup_fd fd = sys_openat(AT_FDCWD, text, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return error_set(fd, "cannot open the directory \"%s\": %s", text, error_text(fd));
    int error = sys_fstat(fd, ret_status);
    if (error < 0)
        return error_set(error, "cannot look at the directory of \"%s\": %s", path, error_text(error));
    *ret_directory = (struct name_directory){ .fd = steal_fd(&fd), .file = -1 };
    return 0;
}

static bool readable(const struct stat *status) { return status->st_mode & (S_IRGRP | S_IROTH); }

/* A directory that another user can write could have its temporary name exchanged before the chmod. */
static int directory_check(const struct stat *status, const char *path) {
    if (status->st_uid != geteuid() && status->st_uid != 0)
        return error_set(-EACCES, "the directory of \"%s\" belongs to uid %u, you are uid %u", path, status->st_uid,
                         geteuid());
    if (status->st_mode & (S_IWGRP | S_IWOTH))
        return error_set(-EACCES, "the directory of \"%s\" can be written by others than its owner", path);
    return 0;
}

int name_directory_enter(const char *path, struct name_directory *ret_directory) {
    struct name_directory directory;
    struct stat status;
    int error = directory_open(path, &directory, &status);
    if (error)
        return error;
    error = directory_check(&status, path);
    if (!error) {
        error = directory_lock(&directory, readable(&status));
        if (error < 0)
            error_set(error, "cannot lock the directory of \"%s\": %s", path, error_text(error));
    }
    if (error < 0)
        sys_close(directory.fd);
    else
        *ret_directory = directory;
    return error < 0 ? error : 0;
}

void name_directory_leave(struct name_directory *directory) {
    int locked = directory->file >= 0 ? directory->file : directory->fd;
    if (directory->file >= 0)
        sys_unlinkat(directory->fd, NAME_LOCK, 0); /* while it is locked still: who locks it next finds it without a name */
    sys_flock(locked, LOCK_UN); /* closing would not do: a child forked meanwhile holds it too */
    cleanup_close(&directory->file);
    sys_close(directory->fd);
}

/* ---- Taking ---- */

/* Does somebody listen there? 0: no; the name is free or dead. */
static int probe(const char *path, int type) {
    struct sockaddr_un address;
    cleanup_fd fd = -1;
    int error = socket_new(type, &fd);
    if (error)
        return error;
    do
        error = sys_connect(fd, (struct sockaddr *)&address, socket_address(path, &address));
    while (error == -EINTR);
    if (error == -ECONNREFUSED || error == -ENOENT)
        return 0;
    if (error == -ENOMEM || error == -ENOBUFS)
        return error_set(-ENOMEM, "no memory to ask whether somebody listens at \"%s\"", path);
    return error_set(-EADDRINUSE, "\"%s\" is taken: a listener lives there", path); /* also when its backlog is full */
}

static int check_old(int directory, const char *path, int type) {
    struct stat status;
    int error = sys_fstatat(directory, strrchr(path, '/') + 1, &status, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT)
        return 0;
    if (error < 0)
        return error_set(error, "cannot look at \"%s\": %s", path, error_text(error));
    if (!S_ISSOCK(status.st_mode))
        return error_set(-EADDRINUSE, "\"%s\" is taken: it is no socket; remove it or choose another name", path);
    return probe(path, type);
}

static int bind_temporary(int fd, int directory, const char *temporary, mode_t mode, struct name *name) {
    struct sockaddr_un address;
    struct stat status;
    const char *base = NAME_TEMPORARY;
    int error = sys_unlinkat(directory, base, 0); /* of a taker that was killed */
    if (error < 0 && error != -ENOENT)
        return error;
    error = sys_bind(fd, (struct sockaddr *)&address, socket_address(temporary, &address));
    if (error < 0)
        return error;
    error = sys_fchmodat(directory, base, mode, 0);
    if (error >= 0)
        error = sys_fstatat(directory, base, &status, AT_SYMLINK_NOFOLLOW);
    if (error >= 0)
        error = sys_listen(fd, BACKLOG);
    if (error >= 0) {
        name->device = status.st_dev;
        name->inode = status.st_ino;
    }
    return error;
}

static int put_in_place(int fd, int directory, int type, mode_t mode, struct name *name) {
    char temporary[sizeof name->path + sizeof NAME_TEMPORARY + 1];
    size_t length = name_directory_length(name->path);
    const char *base = strrchr(name->path, '/') + 1;
    snprintf(temporary, sizeof temporary, "%.*s/%s", length == 1 ? 0 : (int)length, name->path, NAME_TEMPORARY);
    int error = check_old(directory, name->path, type);
    if (error)
        return error;
    error = bind_temporary(fd, directory, temporary, mode, name);
    if (error >= 0)
        error = sys_renameat(directory, NAME_TEMPORARY, directory, base);
    if (error < 0) {
        sys_unlinkat(directory, NAME_TEMPORARY, 0);
        return error_set(error, "cannot take the name \"%s\": %s", name->path, error_text(error));
    }
    name->taken = true;
    return 0;
}

int name_take_socket(const char *path, int type, mode_t mode, struct name *ret_name, int *ret_fd) {
    static const int on = 1;
    cleanup_fd fd = -1;
    struct name_directory directory;
    struct name name = { 0 };
    if (strlen(path) >= sizeof name.path || name_directory_length(path) + sizeof NAME_TEMPORARY >= sizeof name.path)
        return error_set(-ENAMETOOLONG, "the path \"%s\" is over-long", path);
    memcpy(name.path, path, strlen(path) + 1);
    int error = socket_new(type, &fd);
    if (error)
        return error;
    if (type == SOCK_SEQPACKET)
        error = sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on); /* before anybody can send */
    if (error < 0)
        return error_set(error, "cannot make a Unix socket: %s", error_text(error));
    error = name_directory_enter(path, &directory);
    if (error)
        return error;
    error = put_in_place(fd, directory.fd, type, mode, &name);
    name_directory_leave(&directory);
    if (error)
        return error;
    *ret_name = name;
    *ret_fd = steal_fd(&fd);
    return 0;
}

void name_release(struct name *name) {
    struct name_directory directory = { .fd = -1, .file = -1 };
    struct stat status;
    if (!name->taken)
        return;
    name->taken = false;
    /* Without the lock too, when there are no descriptors or others hold it: better a rare race than a name left
     * behind. */
    if (directory_open(name->path, &directory, &status) >= 0)
        directory_lock(&directory, readable(&status));
    for (unsigned tries = 0; tries < 4; tries++) {
        int error = sys_fstatat(AT_FDCWD, name->path, &status, AT_SYMLINK_NOFOLLOW);
        if (error >= 0 && (status.st_dev != name->device || status.st_ino != name->inode))
            break; /* a successor's */
        if (error >= 0)
            error = sys_unlinkat(AT_FDCWD, name->path, 0);
        if (error >= 0 || error == -ENOENT)
            break;
    }
    if (directory.fd >= 0)
        name_directory_leave(&directory);
}

/* ---- What the dead left ---- */

static int fifo_alive(const char *path) {
    cleanup_fd fd = sys_openat(AT_FDCWD, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0);
    return fd >= 0 ? 1 : fd == -ENXIO ? 0 : fd;
}

int name_alive(const char *path) {
    struct stat status;
    int error = sys_fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW);
    if (error < 0)
        return error;
    if (S_ISFIFO(status.st_mode))
        return fifo_alive(path);
    if (!S_ISSOCK(status.st_mode))
        return -ENOENT;
    error = probe(path, SOCK_SEQPACKET);
    return error == -EADDRINUSE ? 1 : error;
}

/* A temporary name is nobody's while the directory is locked by another than its taker; but a FIFO's, ".NAME.new", may be put
 * in place without the lock by a listener that lives. It is held open then. */
int name_remove_dead(const char *path) {
    struct name_directory directory;
    int error = name_directory_enter(path, &directory);
    if (error)
        return error;
    bool temporary = strcmp(strrchr(path, '/') + 1, NAME_TEMPORARY) == 0;
    int alive = temporary ? 0 : name_alive(path);
    error = alive == 0 ? sys_unlinkat(AT_FDCWD, path, 0) : 0;
    name_directory_leave(&directory);
    return alive < 0 ? alive : error < 0 ? error : !alive;
}

/* ---- Connecting ---- */

static int refused(const char *path) {
    struct stat status;
    if (path[0] == '/' && sys_fstatat(AT_FDCWD, path, &status, 0) >= 0)
        return error_set(-EACCES, "permission denied: listener allows uid %u, you are uid %u", status.st_uid,
                         geteuid());
    return error_set(-EACCES, "permission denied: \"%s\" lies where uid %u may not look", path, geteuid());
}

static int give_up(const char *path, int error, int64_t deadline) {
    if (deadline == DEADLINE_PAST)
        return error_set(-EAGAIN, "no listener at \"%s\" (%s)", path, error_text(error));
    return error_set(-ETIMEDOUT, "no listener appeared at \"%s\" in time (%s)", path, error_text(error));
}

int name_connect_socket(const char *path, int type, int64_t deadline, int *ret_fd) {
    struct sockaddr_un address;
    socklen_t length = socket_address(path, &address);
    int64_t nap_ns = NAME_NAP_NS;
    cleanup_fd fd = -1;
    int error = socket_new(type, &fd);
    if (error)
        return error;
    for (;;) {
        do
            error = sys_connect(fd, (struct sockaddr *)&address, length);
        while (error == -EINTR);
        if (error >= 0)
            break;
        if (error == -EACCES || error == -EPERM)
            return refused(path);
        if (error == -EPROTOTYPE)
            return error_set(-EPROTO,
                             "who listens at \"%s\" speaks another kind of socket: the mechanism is not the listener's",
                             path);
        if (error != -ENOENT && error != -ECONNREFUSED && error != -EAGAIN)
            return error_set(error, "cannot connect to \"%s\": %s", path, error_text(error));
        if (deadline_passed(deadline))
            return give_up(path, error, deadline);
        name_nap(&nap_ns, deadline);
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}
