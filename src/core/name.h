/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Names in the file system: where they lie, how one is taken without a race, and how only its owner gives it back. */

#include "core/address.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

struct name {
    bool taken;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t device;
    ino_t inode;
};

/* RUNTIME as design has it: $HAWSER_RUNTIME_DIR, else $XDG_RUNTIME_DIR/hawser, else /run/hawser for root, else
 * /tmp/hawser-UID; made 0700 when missing. -EACCES: owned by another user, or others may write to it. */
int runtime_directory(char *ret_path, size_t capacity);

/* A place (relative NAME or absolute path) to a full path. Refuses "/" in a relative name, "..", ".", empty, over-long,
 * a leading dot, control characters; for an absolute path a directory that others than its owner and root can write. */
int name_resolve(const struct address *address, char *ret_path, size_t capacity);

/* Checks the directory of an absolute path: -EACCES with a sentence. */
int name_check_directory(const char *path);

/* Bytes of path before its last slash (the slash itself for one in the root). */
size_t name_directory_length(const char *path);

struct name_directory {
    int fd;   /* locked itself where nobody else can read it, ... */
    int file; /* ... else this file in it, NAME_LOCK (-1: none): who may read a directory may lock it, and for ever */
};

/* Opens and locks the directory of a path, which must be one that nobody else can write; whoever changes names in it
 * does so between the two. */
int name_directory_enter(const char *path, struct name_directory *ret_directory);
void name_directory_leave(struct name_directory *directory);

/* Has this name only while it is locked; one left by a process that was killed is in nobody's way. */
#define NAME_LOCK ".hawser-lock"

/* What a name is called while it is being taken, always under the directory's lock. */
#define NAME_TEMPORARY ".hawser-new"

/* Takes path for a listening Unix socket of `type` (SOCK_SEQPACKET, SOCK_STREAM): flocks the directory, binds a
 * temporary name beside it, listens, probes the old name (-EADDRINUSE when a live listener answers), renames over it.
 * mode: 0600 or 0666. The descriptor is non-blocking; a SOCK_SEQPACKET one has SO_PASSCRED. */
int name_take_socket(const char *path, int type, mode_t mode, struct name *ret_name, int *ret_fd);

/* Does somebody listen at the socket, or read from the FIFO, of this path? 1; 0: it is dead; -ENOENT: it is neither. */
int name_alive(const char *path);

/* Unlinks a dead socket's or FIFO's name, or one that a killed taker left, under the lock. 1: it went; 0: not, as it lives. */
int name_remove_dead(const char *path);

/* Unlinks the name if it still is ours, under the lock. */
void name_release(struct name *name);

/* Connects a non-blocking, close-on-exec Unix socket to path; path[0] == '@' means abstract. Waits for a listener up to
 * the deadline by trying again; -ETIMEDOUT with a sentence, -EAGAIN with DEADLINE_PAST. Does not check who listens. */
int name_connect_socket(const char *path, int type, int64_t deadline, int *ret_fd);

/* Between two tries: sleeps a little longer each time, up to 20 ms, never past the deadline. Begin with NAME_NAP_NS. */
#define NAME_NAP_NS INT64_C(1000000)
void name_nap(int64_t *nap_ns, int64_t deadline);
