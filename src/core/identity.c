/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Names become ids once, when options are resolved: the user database may be slow, and is no part of an accept. */

#include "core/identity.h"

#include "base/atomic.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LONGEST 256
#define DATABASE_LARGEST (1 << 20) /* of one entry: a group may have many members */

/* 0 and an id; -ENOENT; -ERANGE: more room is wanted; or what the database says. */
static int database_ask(const char *name, bool group, char *buffer, size_t size, uint32_t *ret_id) {
    struct passwd user, *found_user = NULL;
    struct group entry, *found_group = NULL;
    int error = group ? getgrnam_r(name, &entry, buffer, size, &found_group)
                      : getpwnam_r(name, &user, buffer, size, &found_user);
    if (found_user)
        *ret_id = found_user->pw_uid;
    else if (found_group)
        *ret_id = found_group->gr_gid;
    else if (error == ERANGE || error == ENOMEM || error == EMFILE || error == ENFILE)
        return -error;
    else
        return -ENOENT; /* the other codes differ from one libc to the next, and all mean that nobody was found */
    return 0;
}

static int database_find(const char *name, bool group, uint32_t *ret_id) {
    int error = -ERANGE;
    for (size_t size = 4096; error == -ERANGE && size <= DATABASE_LARGEST; size *= 4) {
        cleanup_memory char *buffer = memory_new(size);
        if (!buffer)
            return error_note(-ENOMEM, "no memory to look a user up");
        error = database_ask(name, group, buffer, size, ret_id);
    }
    return error;
}

static int number_parse(const char *text, size_t length, uint32_t *ret_id) {
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || length > 10)
            return -EINVAL;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (number >= UINT32_MAX) /* (uid_t)-1 is no user */
        return -EINVAL;
    *ret_id = (uint32_t)number;
    return 0;
}

static int id_parse(const char *text, size_t length, bool group, uint32_t *ret_id) {
    char name[NAME_LONGEST];
    if (length == 0 || length >= sizeof name)
        return -EINVAL;
    if (text[0] >= '0' && text[0] <= '9')
        return number_parse(text, length, ret_id);
    memcpy(name, text, length);
    name[length] = 0;
    int error = database_find(name, group, ret_id);
    if (error == -ENOENT)
        return -EINVAL;
    if (error && error != -ENOMEM)
        return error_set(error, "cannot look %s \"%s\" up: %s", group ? "group" : "user", name, error_text(error));
    return error;
}

int ids_parse(const char *text, size_t length, bool groups, unsigned most, struct id_list *ret_list, size_t *ret_bad) {
    struct id_list list = { 0 };
    if (length == 3 && strncmp(text, "any", 3) == 0) {
        list.any = true;
        *ret_list = list;
        return 0;
    }
    for (size_t at = 0; at <= length;) {
        const char *comma = memchr(text + at, ',', length - at);
        size_t size = comma ? (size_t)(comma - text) - at : length - at;
        int error = list.n == most ? -EINVAL : id_parse(text + at, size, groups, &list.ids[list.n]);
        if (error) {
            *ret_bad = at;
            return error;
        }
        list.n++;
        at += size + 1;
    }
    *ret_list = list;
    return 0;
}

/* A small file of the kernel's, as text. */
static bool file_read(const char *path, char *ret_text, size_t capacity) {
    cleanup_fd fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd < 0 ? -1 : sys_read(fd, ret_text, capacity - 1);
    if (n <= 0)
        return false;
    ret_text[n] = 0;
    return true;
}

/* What stands for the unmapped, or UINT32_MAX where every id has a mapping, as outside user namespaces. */
static uint32_t overflow_find(bool group) {
    char text[64];
    unsigned long inside, outside, count;
    if (file_read(group ? "/proc/self/gid_map" : "/proc/self/uid_map", text, sizeof text) &&
        sscanf(text, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 && count == UINT32_MAX)
        return UINT32_MAX;
    if (file_read(group ? "/proc/sys/kernel/overflowgid" : "/proc/sys/kernel/overflowuid", text, sizeof text))
        return (uint32_t)strtoul(text, NULL, 10);
    return 65534;
}

bool id_unmapped(uint32_t id, bool group) {
    static uint64_t known[2]; /* atomic: the overflow id, plus 1; found once, as neither changes in a process's life */
    uint64_t overflow = load_relaxed(&known[group]);
    if (overflow == 0) {
        overflow = (uint64_t)overflow_find(group) + 1;
        store_relaxed(&known[group], overflow); /* two threads would store the same */
    }
    return id == UINT32_MAX || id == (uint32_t)(overflow - 1);
}

bool ids_hold(const struct id_list *list, uint32_t id, bool group) {
    if (list->any)
        return true;
    if (id_unmapped(id, group))
        return false;
    for (unsigned i = 0; i < list->n; i++)
        if (list->ids[i] == id)
            return true;
    return false;
}
