/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See object_view.h. */

#include "sync/object_view.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

static const char *shown(const struct object_file *file) { return file->path[0] ? file->path : "(unnamed)"; }

static const struct object_header *header_of(const struct object *object) {
    return (const struct object_header *)(const void *)((const char *)object->body - OBJECT_HEADER);
}

/* ---- Descriptors ---- */

/* Another descriptor of the same inode. -EAGAIN: the path leads elsewhere by now. */
static int reopen(struct object_file *file, int flags, int *ret_fd) {
    char own[64];
    struct stat status;
    snprintf(own, sizeof own, "/proc/self/fd/%d", file->write_fd >= 0 ? file->write_fd : file->read_fd);
    bool named = object_names(file->path, file->device, file->inode) > 0;
    int fd = sys_openat(AT_FDCWD, named ? file->path : own, flags | O_CLOEXEC | (named ? O_NOFOLLOW | O_NONBLOCK : 0), 0);
    if (fd < 0)
        return error_set(fd, "open \"%s\" once more: %s", shown(file), error_text(fd));
    int error = sys_fstat(fd, &status);
    if (!error && status.st_dev == file->device && status.st_ino == file->inode) {
        *ret_fd = fd;
        return 0;
    }
    if (error < 0)
        object_process_keep(file, fd); /* perhaps of the same inode, then */
    else
        sys_close(fd);
    return error < 0 ? error_set(error, "look at \"%s\" once more: %s", shown(file), error_text(error)) : -EAGAIN;
}

int object_view_read_fd(struct object_file *file) {
    return file->read_fd >= 0 ? 0 : reopen(file, O_RDONLY, &file->read_fd);
}

static int need_fd(struct object_file *file, enum object_access access) {
    return access == OBJECT_READ || file->write_fd >= 0 ? 0 : reopen(file, O_RDWR, &file->write_fd);
}

/* ---- Membership ---- */

static void reclaim(struct object_file *file, uint32_t slot) {
    for (struct object *object = file->objects; object; object = object->next)
        if (object->access != OBJECT_READ) {
            if (object->kind->reclaim)
                object->kind->reclaim(object, slot);
            return;
        }
}

/* This process has its slot: what a dead one left in it goes first, and if nobody else is a member, what all left. */
static void clean(struct object_file *file, bool alone) {
    if (file->slot)
        reclaim(file, alone ? OBJECT_EVERY : file->slot);
    if (alone)
        object_process_settle(file);
}

/* Gives a membership up that has held nothing yet. */
static void unjoin(struct object_file *file) {
    object_lock_bytes(file->write_fd >= 0 ? file->write_fd : file->read_fd, F_UNLCK, 0, OBJECT_LOCK_ALL);
    file->process = 0;
    file->slot = 0;
}

/* Left by members who all died: it goes, and who may make one starts over. */
static int refuse_orphan(struct object_file *file) {
    if (file->write_fd < 0)
        return error_set(-ENOENT, "\"%s\" was left by processes that died; nobody has it open", file->path);
    int error = object_process_collect(file->write_fd, file->path);
    if (error < 0 && error != -ENOENT)
        return error_set(error, "\"%s\" was left by processes that died, and cannot be removed to make it anew: %s", file->path,
                         error_text(error));
    return -EAGAIN;
}

static bool is_orphan(struct object_file *file, const struct object_header *header, bool alone) {
    struct object_holding holding;
    if (!file->path[0] || header->flags & OBJECT_FLAG_PERMANENT)
        return false;
    return file->write_fd >= 0 ? alone : object_look(file->read_fd, 0, OBJECT_LOCK_ALL, &holding) == 0;
}

/* Joins a file by its name, or by a ticket. */
static int join(struct object_file *file, const struct object_header *header, bool *ret_alone) {
    bool member = file->process == process_self();
    int error = object_process_join(file, ret_alone);
    if (error || member)
        return error;
    if (is_orphan(file, header, *ret_alone))
        error = refuse_orphan(file);
    else if (file->path[0])
        error = object_names(file->path, file->device, file->inode) > 0 ? 0 : -EAGAIN;
    if (error)
        unjoin(file);
    return error;
}

/* A file that this process has to read keeps no slot that was taken in vain: what a dead one left there is still in it. One that
 * is dropped next leaves as any member does. */
static void unslot(struct object_file *file, uint32_t before) {
    if (!file->objects || file->slot == before)
        return;
    object_lock_bytes(file->write_fd, F_RDLCK, 0, 1);
    object_lock_bytes(file->write_fd, F_UNLCK, 1, OBJECT_SLOTS);
    file->slot = before;
}

/* ---- Objects ---- */

/* Copies what the header says, whose check is done. */
static struct object *object_new(struct object_file *file, void *map, const struct object_header *header,
                                 const struct object_request *request) {
    struct object *object = memory_new(sizeof *object);
    void *state = object && request->kind->state_size > 0 ? memory_new(request->kind->state_size) : NULL;
    if (!object || (request->kind->state_size > 0 && !state)) {
        memory_free(object);
        error_note(-ENOMEM, "no memory for a shared object");
        return NULL;
    }
    object->body = (char *)map + OBJECT_HEADER;
    object->size = header->size;
    memcpy(object->parameters, header->parameters, sizeof object->parameters);
    object->state = state;
    object->kind = request->kind;
    object->access = request->access;
    object->permanent = header->flags & OBJECT_FLAG_PERMANENT;
    object->file = file;
    object->handles = 1;
    return object;
}

static void object_insert(struct object *object) {
    struct object_file *file = object->file;
    object->slot = object->access == OBJECT_READ ? 0 : file->slot;
    object->process = file->process;
    object->next = file->objects;
    store_release(&file->objects, object); /* pairs with nothing: a child forked by another thread sees it whole, or not at all */
}

void object_view_drop(struct object *object) {
    struct object_file *file = object->file;
    for (struct object **at = &file->objects; *at; at = &(*at)->next)
        if (*at == object) {
            store_relaxed(at, object->next);
            break;
        }
    sys_munmap((char *)object->body - OBJECT_HEADER, (size_t)file->bytes);
    memory_free(object->state);
    memory_free(object);
}

/* An object that is there already becomes this process's, should it be inherited. */
static void object_own(struct object *object) {
    struct object_file *file = object->file;
    if (object->process == file->process)
        return;
    if (object->state)
        memset(object->state, 0, object->kind->state_size);
    object->slot = object->access == OBJECT_READ ? 0 : file->slot;
    object->created = false;
    if (object->kind->forked)
        object->kind->forked(object);
    store_release(&object->process, file->process); /* pairs with nothing: who sees an old number comes here, and waits for the lock */
}

static int check(struct object *object, const struct object_request *request) {
    return request->kind->check ? request->kind->check(object, request) : 0;
}

static int view_again(struct object *object, const struct object_request *request, struct object **ret_object) {
    struct object_file *file = object->file;
    bool alone = false, member = file->process == process_self();
    int error = object->kind != request->kind ? error_set(-EINVAL, "\"%s\" is %s, not %s", shown(file), object->kind->what, request->kind->what)
                                              : join(file, header_of(object), &alone);
    if (!error && !member)
        clean(file, alone);
    if (!error)
        object_own(object);
    if (!error)
        error = check(object, request);
    if (error)
        return error;
    object->handles++;
    *ret_object = object;
    return 0;
}

/* Mapped, a member, and checked; not inserted yet. */
static int view_prepare(struct object_file *file, const struct object_request *request, void **ret_map,
                        struct object_header *ret_header, bool *ret_alone) {
    int error = file->bytes < OBJECT_HEADER ? object_check_header(NULL, file->bytes, NULL, shown(file), ret_header)
                                            : object_map(file->write_fd >= 0 ? file->write_fd : file->read_fd, file->bytes,
                                                         request->access == OBJECT_WRITE, ret_map);
    if (!error)
        error = object_check_header(*ret_map, file->bytes, NULL, shown(file), ret_header);
    if (!error)
        error = join(file, ret_header, ret_alone);
    if (!error)
        error = object_check_header(*ret_map, file->bytes, request->kind, shown(file), ret_header);
    return error;
}

static int view_new(struct object_file *file, const struct object_request *request, struct object **ret_object) {
    struct object_header header;
    void *map = NULL;
    struct object *object = NULL;
    bool alone = false;
    uint32_t before = file->process == process_self() ? file->slot : 0;
    int error = need_fd(file, request->access);
    if (!error)
        error = view_prepare(file, request, &map, &header, &alone);
    if (!error) {
        object = object_new(file, map, &header, request);
        error = object ? 0 : -ENOMEM;
    }
    if (error) {
        unslot(file, before);
        if (map)
            sys_munmap(map, (size_t)file->bytes);
        return error;
    }
    file->identity = header.identity;
    object_insert(object);
    if (file->slot != before)
        clean(file, alone);
    error = check(object, request);
    if (error)
        object_view_drop(object);
    else
        *ret_object = object;
    return error;
}

int object_view_open(struct object_file *file, const struct object_request *request, struct object **ret_object) {
    for (struct object *object = file->objects; object; object = object->next)
        if (object->access == request->access)
            return view_again(object, request, ret_object);
    return view_new(file, request, ret_object);
}

int object_view_birth(struct object_file *file, void *map, const struct object_request *request, struct object **ret_object) {
    struct object_header *header = map;
    struct object *object = object_new(file, map, header, request);
    if (!object)
        return -ENOMEM;
    object->created = true;
    object_insert(object);
    int error = request->kind->birth ? request->kind->birth(object, request) : 0;
    memcpy(header->parameters, object->parameters, sizeof header->parameters);
    if (error) {
        store_relaxed(&file->objects, object->next);
        memory_free(object->state);
        memory_free(object);
        return error;
    }
    file->identity = header->identity;
    *ret_object = object;
    return 0;
}

/* The child is not to find itself alone with a file that its parent has left: others may have made another of that name. */
static int join_inherited(struct object_file *file, bool *ret_alone) {
    int error = object_process_join(file, ret_alone);
    if (!error && file->path[0] && object_names(file->path, file->device, file->inode) == 0) {
        error = error_set(-ESTALE, "\"%s\" was given up by the process that opened it before this forked one first used it; open it again",
                          file->path);
        unjoin(file);
    }
    return error;
}

int object_view_join(struct object *object) {
    struct object_file *file = object->file;
    bool alone = false;
    if (file->process != process_self()) {
        int error = join_inherited(file, &alone);
        if (error)
            return error;
        clean(file, alone);
    }
    object_own(object);
    return 0;
}

/* ---- Sealing ---- */

/* Puts another map in the place of the one there. */
static int remap(struct object *object, int fd, int protection) {
    void *start = (char *)object->body - OBJECT_HEADER;
    long at = sys_mmap(start, (size_t)object->file->bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0);
    return at < 0 && at > -4096 ? error_set((int)at, "map a shared object anew: %s", error_text((int)at)) : 0;
}

/* The kernel refuses while there is any map that can be written, ours too; and one made of a descriptor that can be written counts,
 * as it could be made writable. */
int object_view_seal(struct object *object) {
    struct object_file *file = object->file;
    if (object->access != OBJECT_WRITE)
        return error_note(-EACCES, "who may only read cannot seal");
    if (sys_fcntl(file->write_fd, F_GET_SEALS, 0) <= 0 || file->path[0])
        return error_note(-EOPNOTSUPP, "only unnamed memory can be sealed");
    if (object->handles != 1)
        return error_note(-EBUSY, "cannot seal: this process has another handle");
    int error = object_view_read_fd(file);
    if (!error)
        error = remap(object, file->read_fd, PROT_READ);
    if (error)
        return error;
    error = sys_fcntl(file->write_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
    if (error >= 0) {
        object->access = OBJECT_READ;
        return 0;
    }
    remap(object, file->write_fd, PROT_READ | PROT_WRITE);
    return error == -EBUSY ? error_note(error, "cannot seal: it is mapped to be written elsewhere")
                           : error_set(error, "seal a shared object: %s", error_text(error));
}
