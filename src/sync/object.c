/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Opening and closing of objects; see object.h for what they are, object_file.h for the file, object_process.h for how a process
 * is a member and leaves, object_view.h for one process's objects of a file. */

#include "sync/object.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "sync/object_view.h"

#include <errno.h>
#include <string.h>

#define PATIENCE_NS INT64_C(2000000000) /* with a name that changes all the time */

/* ---- Opening ---- */

static const char *type_name(mode_t mode) {
    return S_ISSOCK(mode) ? "a socket, as of a listener" : S_ISFIFO(mode) ? "a FIFO" : S_ISDIR(mode) ? "a directory"
         : S_ISLNK(mode) ? "a symbolic link" : "a device";
}

static int check_status(const struct object_request *request, const char *path, const struct stat *status) {
    if (!S_ISREG(status->st_mode))
        return error_set(-EINVAL, "\"%s\" is %s, not %s", path, type_name(status->st_mode), request->kind->what);
    return object_check_owner(request->options, path, status->st_uid);
}

static int stat_path(const struct object_request *request, const char *path, struct stat *ret_status) {
    int error = sys_fstatat(AT_FDCWD, path, ret_status, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT)
        return error_set(error, "there is no %s \"%s\"", strchr(request->kind->what, ' ') + 1, path);
    if (error < 0)
        return error_set(error, "cannot look at \"%s\": %s", path, error_text(error));
    return check_status(request, path, ret_status);
}

/* Opens an inode that this process does not have; should it be one that it has after all, -EAGAIN. */
static int open_path(const struct object_request *request, const char *path, struct object_file **ret_file) {
    struct stat status;
    bool writable = request->access != OBJECT_READ;
    cleanup_fd fd = sys_openat(AT_FDCWD, path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd == -ENOENT || fd == -ELOOP || fd == -ENXIO || fd == -EINTR)
        return -EAGAIN; /* another thing than a moment ago */
    if (fd < 0)
        return error_set(fd, "cannot open \"%s\" %s: %s", path, writable ? "to read and write" : "to read", error_text(fd));
    int error = sys_fstat(fd, &status);
    if (error < 0)
        return error_set(error, "cannot look at \"%s\": %s", path, error_text(error));
    struct object_file *known = object_process_find(status.st_dev, status.st_ino);
    if (known) {
        object_process_keep(known, steal_fd(&fd));
        return -EAGAIN;
    }
    error = check_status(request, path, &status);
    if (error)
        return error;
    struct object_file *file = object_process_add(fd, writable, &status, path);
    if (!file)
        return -ENOMEM;
    steal_fd(&fd);
    object_process_insert(file);
    *ret_file = file;
    return 0;
}

static int open_once(const struct object_request *request, const char *path, struct object **ret_object) {
    struct stat status;
    int error = stat_path(request, path, &status);
    if (error)
        return error;
    struct object_file *file = object_process_find(status.st_dev, status.st_ino);
    if (!file)
        error = open_path(request, path, &file);
    if (error)
        return error;
    struct object *object = NULL;
    error = object_view_open(file, request, &object);
    if (!error && request->fresh) {
        if (--object->handles == 0)
            object_view_drop(object);
        error = error_set(-EEXIST, "%s \"%s\" exists already", request->kind->what, path);
    }
    if (error && !file->objects)
        object_process_drop(file);
    if (!error)
        *ret_object = object;
    return error;
}

/* ---- Making ---- */

/* Puts it in the registry before anybody can find it by its name: another thread's open would take it for an orphan, as the locks
 * it tries are this process's own. */
static int publish(const struct object_request *request, struct object_new *fresh, const char *path, struct object **ret_object) {
    struct stat status = { .st_dev = fresh->device, .st_ino = fresh->inode, .st_size = (off_t)fresh->bytes };
    struct object_file *file = object_process_add(fresh->fd, true, &status, path);
    if (!file)
        return -ENOMEM;
    file->slot = fresh->slot;
    file->process = process_self();
    struct object *object = NULL;
    int error = object_view_birth(file, fresh->map, request, &object);
    if (error) {
        memory_free(file);
        return error;
    }
    fresh->map = NULL; /* the object's */
    object_process_insert(file);
    error = path[0] ? object_new_link(fresh, path) : 0;
    fresh->fd = -1;
    if (error) {
        object_view_drop(object);
        object_process_drop(file);
        return error == -EEXIST || error == -ENOENT ? -EAGAIN : error_set(error, "cannot make \"%s\": %s", path, error_text(error));
    }
    *ret_object = object;
    return 0;
}

static int make(const struct object_request *request, const char *path, struct object **ret_object) {
    struct object_new fresh;
    int error = object_new_make(request, path, &fresh);
    if (error)
        return error;
    object_process_enter();
    error = publish(request, &fresh, path, ret_object);
    if (error)
        object_new_drop(&fresh);
    object_process_leave();
    return error;
}

static int open_or_make(const struct object_request *request, const char *path, struct object **ret_object) {
    object_process_enter();
    int error = open_once(request, path, ret_object);
    object_process_leave();
    if (error != -ENOENT || request->size == 0 || request->access == OBJECT_READ)
        return error;
    return make(request, path, ret_object);
}

int object_open(const struct object_request *request, struct object **ret_object) {
    char path[sizeof(((struct name *)0)->path)];
    int64_t nap_ns = NAME_NAP_NS, deadline = clock_now() + PATIENCE_NS;
    if (!request->address->place[0] && request->size == 0)
        return error_note(-EINVAL, "without a name it is always a new one, and needs a size");
    if (!request->address->place[0])
        return make(request, "", ret_object);
    int error = name_resolve(request->address, path, sizeof path);
    if (error)
        return error;
    for (;;) {
        error = open_or_make(request, path, ret_object);
        if (error != -EAGAIN)
            return error;
        if (deadline_passed(deadline))
            return error_set(-EBUSY, "\"%s\" changed hands all the time", path);
        name_nap(&nap_ns, deadline);
    }
}

/* ---- Closing ---- */

static void close_last(struct object *object) {
    struct object_file *file = object->file;
    if (object->process == process_self() && object->kind->leave)
        object->kind->leave(object);
    object_view_drop(object);
    if (!file->objects)
        object_process_drop(file);
}

struct object *object_close(struct object *object) {
    if (!object)
        return NULL;
    object_process_enter();
    if (--object->handles == 0)
        close_last(object);
    object_process_leave();
    return NULL;
}

/* While members have the file open only other members remove its name: one after the other, so that none takes a name away that has become
 * another file's since it looked. Who may only read has no such lock, nor as a rule the right to remove. */
static int lock_name(const struct object_file *file) {
    int64_t nap_ns = NAME_NAP_NS, deadline = clock_now() + PATIENCE_NS;
    int error;
    while (file->write_fd >= 0 && (error = object_lock_bytes(file->write_fd, F_WRLCK, OBJECT_LOCK_NAME, 1)) != 0) {
        if (error != -EAGAIN)
            return error_set(error, "lock \"%s\": %s", file->path, error_text(error));
        if (deadline_passed(deadline))
            return error_set(-EBUSY, "somebody else removes \"%s\", and does not come to an end", file->path);
        name_nap(&nap_ns, deadline);
    }
    return 0;
}

static int unlink_locked(struct object_file *file) {
    int ours = object_names(file->path, file->device, file->inode);
    int error = ours > 0 ? sys_unlinkat(AT_FDCWD, file->path, 0) : ours;
    if (error < 0 && error != -ENOENT)
        return error_set(error, "cannot remove \"%s\": %s", file->path, error_text(error));
    file->path[0] = 0;
    return 0;
}

int object_unlink(struct object *object) {
    struct object_file *file = object->file;
    object_process_enter();
    int error = lock_name(file);
    if (!error)
        error = unlink_locked(file);
    if (file->write_fd >= 0)
        object_lock_bytes(file->write_fd, F_UNLCK, OBJECT_LOCK_NAME, 1);
    object_process_leave();
    return error;
}

/* ---- Members ---- */

/* Another child of the same parent may be looking whether the parent left it alone. */
int object_join(struct object *object) {
    int64_t nap_ns = NAME_NAP_NS, deadline = clock_now() + PATIENCE_NS;
    for (;;) {
        object_process_enter();
        int error = object_view_join(object);
        object_process_leave();
        if (error != -EAGAIN)
            return error;
        if (deadline_passed(deadline))
            return error_note(-EBUSY, "somebody looked all the time whether the object is left over");
        name_nap(&nap_ns, deadline);
    }
}

bool object_reclaim(struct object *object, uint32_t slot) {
    struct object_file *file = object->file;
    bool dead = false;
    if (slot == 0 || slot > OBJECT_SLOTS || object->access == OBJECT_READ)
        return false;
    object_process_enter();
    if (slot != file->slot && file->process == process_self() && object_lock_bytes(file->write_fd, F_WRLCK, slot, 1) == 0) {
        dead = true;
        if (object->kind->reclaim)
            object->kind->reclaim(object, slot);
        object_lock_bytes(file->write_fd, F_UNLCK, slot, 1);
    }
    object_process_leave();
    return dead;
}

static int file_fd(const struct object_file *file) { return file->write_fd >= 0 ? file->write_fd : file->read_fd; }

int object_holder(struct object *object, uint32_t slot, pid_t *ret_pid) {
    struct object_holding holding = { 0 };
    if (slot == 0 || slot > OBJECT_SLOTS)
        return -ESRCH;
    if (slot == object->file->slot) {
        *ret_pid = getpid();
        return 0;
    }
    int found = object_look(file_fd(object->file), slot, 1, &holding);
    if (found <= 0)
        return found < 0 ? found : -ESRCH;
    *ret_pid = holding.pid;
    return 0;
}

unsigned object_members(struct object *object, unsigned most) {
    return most == 0 ? 0 : 1 + object_count_others(file_fd(object->file), 0, OBJECT_LOCK_ALL, most - 1);
}

int object_map_writable(struct object *object, uint64_t offset, size_t size, void **ret_map) {
    if (object->access == OBJECT_READ || offset > object->size || size > object->size - offset)
        return error_note(-EACCES, "that part of the object cannot be written");
    long start = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, object->file->write_fd, (off_t)(OBJECT_HEADER + offset));
    if (start < 0 && start > -4096)
        return error_set((int)start, "map %zu bytes: %s", size, error_text((int)start));
    *ret_map = (void *)start; // NOLINT: the kernel's own address
    return 0;
}

int object_seal(struct object *object) {
    object_process_enter();
    int error = object_view_seal(object);
    object_process_leave();
    return error;
}

bool object_sealed(struct object *object) {
    const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat status; /* it may have been cut before */
    int fd = file_fd(object->file), seals = sys_fcntl(fd, F_GET_SEALS, 0);
    return seals >= 0 && (seals & wanted) == wanted && sys_fstat(fd, &status) == 0 && (uint64_t)status.st_size >= object->file->bytes;
}
