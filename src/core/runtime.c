/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Where names lie, and which names may lie there. A relative name cannot leave RUNTIME: it holds no slash, and RUNTIME
 * is a directory of our own user that nobody else can write. */

#include "base/error.h"
#include "base/sys.h"
#include "core/name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Which directory, by the environment; a program that runs with more rights than its caller does not listen to it. */
static int directory_choose(char *path, size_t capacity) {
    const char *own = secure_getenv("HAWSER_RUNTIME_DIR"), *session = secure_getenv("XDG_RUNTIME_DIR");
    uid_t uid = geteuid();
    int n;
    if (own && own[0])
        n = snprintf(path, capacity, "%s", own);
    else if (session && session[0])
        n = snprintf(path, capacity, "%s/hawser", session);
    else if (uid == 0)
        n = snprintf(path, capacity, "/run/hawser");
    else
        n = snprintf(path, capacity, "/tmp/hawser-%u", uid);
    if ((size_t)n >= capacity)
        return error_set(-ENAMETOOLONG, "the runtime directory's path is over-long: %d bytes of at most %zu", n,
                         capacity - 1);
    if (path[0] != '/')
        return error_set(-EINVAL, "the runtime directory \"%s\" is no absolute path; set HAWSER_RUNTIME_DIR to one",
                         path);
    return 0;
}

int runtime_directory(char *ret_path, size_t capacity) {
    char path[sizeof(((struct name *)0)->path)];
    struct stat status;
    int error = directory_choose(path, sizeof path);
    if (error)
        return error;
    if (strlen(path) >= capacity)
        return error_set(-ENAMETOOLONG, "the runtime directory \"%s\" is over-long", path);
    error = sys_fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW);
    if (error == -ENOENT) {
        error = sys_mkdir(path, 0700);
        if (error < 0 && error != -EEXIST)
            return error_set(error, "cannot make the runtime directory \"%s\": %s", path, error_text(error));
        error = sys_fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW);
    }
    if (error < 0)
        return error_set(error, "cannot use the runtime directory \"%s\": %s", path, error_text(error));
    if (!S_ISDIR(status.st_mode))
        return error_set(-EACCES, "the runtime directory \"%s\" is no directory; remove it", path);
    if (status.st_uid != geteuid())
        return error_set(
            -EACCES,
            "the runtime directory \"%s\" belongs to uid %u, you are uid %u; set HAWSER_RUNTIME_DIR to one of your own",
            path, status.st_uid, geteuid());
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(-EACCES, "the runtime directory \"%s\" can be written by others; chmod it to 0700", path);
    memcpy(ret_path, path, strlen(path) + 1);
    return 0;
}

size_t name_directory_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
}

int name_check_directory(const char *path) {
    char directory[sizeof(((struct name *)0)->path)];
    struct stat status;
    size_t length = name_directory_length(path);
    if (length == 0 || length >= sizeof directory)
        return error_set(-ENAMETOOLONG, "the path \"%s\" is over-long", path);
    memcpy(directory, path, length);
    directory[length] = 0;
    int error = sys_fstatat(AT_FDCWD, directory, &status, 0);
    if (error < 0)
        return error_set(error, "cannot use the directory \"%s\": %s", directory, error_text(error));
    if (!S_ISDIR(status.st_mode))
        return error_set(-ENOTDIR, "\"%s\" is no directory", directory);
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(-EACCES,
                         "the directory \"%s\" can be written by others than its owner, so anybody could take the name; use another",
                         directory);
    return 0;
}

/* One component, from `at` to the next slash or the end. */
static int check_component(const struct address *address, unsigned at, size_t length) {
    const char *text = address->text + at;
    if (length == 0)
        return address_error(address, at, "expected a name");
    if ((length == 1 && text[0] == '.') || (length == 2 && text[0] == '.' && text[1] == '.'))
        return address_error(address, at, "\".\" and \"..\" are not allowed in a name");
    return 0;
}

static int check_relative(const struct address *address, unsigned place) {
    const char *slash = strchr(address->place, '/');
    if (address->place[0] == '.')
        return address_error(address, place, "a name must not begin with a dot");
    if (slash)
        return address_error(address, place + (unsigned)(slash - address->place),
                             "\"/\" is not allowed in a name; an absolute path begins with one");
    return check_component(address, place, strlen(address->place));
}

static int check_absolute(const struct address *address, unsigned place) {
    for (unsigned at = 1; at <= strlen(address->place);) {
        size_t length = strcspn(address->place + at, "/");
        int error = check_component(address, place + at, length);
        if (error)
            return error;
        at += (unsigned)length + 1;
        if (address->place[at - 1] == '/' && !address->place[at])
            return address_error(address, place + at, "expected a name");
    }
    return address->place[1] ? 0 : address_error(address, place + 1, "expected a name");
}

int name_resolve(const struct address *address, char *ret_path, size_t capacity) {
    char path[sizeof(((struct name *)0)->path)], directory[sizeof path];
    unsigned place = (unsigned)(strstr(address->text, "://") - address->text) + 3;
    bool absolute = address->place[0] == '/';
    int error = absolute ? check_absolute(address, place) : check_relative(address, place);
    if (!error && !absolute)
        error = runtime_directory(directory, sizeof directory);
    if (error)
        return error;
    int n = absolute ? snprintf(path, sizeof path, "%s", address->place)
                     : snprintf(path, sizeof path, "%s/%s", directory, address->place);
    if ((size_t)n >= sizeof path || (size_t)n >= capacity ||
        name_directory_length(path) + sizeof NAME_TEMPORARY >= sizeof path)
        return error_set(-ENAMETOOLONG,
                         "address \"%s\": the path of the name is over-long: it has %d bytes, a socket's at most %zu",
                         address->text, n, sizeof path - 1);
    error = absolute ? name_check_directory(path) : 0;
    if (!error)
        memcpy(ret_path, path, (size_t)n + 1);
    return error;
}
