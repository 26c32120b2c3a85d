/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The files this process has open as objects. A process loses ALL its record locks on an inode when it closes ANY descriptor of
 * it; so one struct object_file has all of them, and they are closed together. Everything here is for who holds the lock. */

#include "sync/object_file.h"

struct object_stray {
    int fd;
    struct object_stray *next;
};

struct object_file {
    dev_t device;
    ino_t inode;
    int write_fd, read_fd;  /* -1: none */
    uint32_t slot;          /* 0: none: a reader */
    uint32_t process;       /* process_self() of who holds the slot */
    uint64_t bytes, identity;
    char path[sizeof(((struct name *)0)->path)]; /* "": it has no name, or gave it up */
    struct object_stray *strays; /* further descriptors of the same inode, which came in by ways nobody could foresee */
    struct object *objects;
    struct object_file *next;
};

/* One lock for the process. A forked child whose parent's other thread held it finds it free. */
void object_process_enter(void);
void object_process_leave(void);

/* The file of an inode, or NULL. */
struct object_file *object_process_find(dev_t device, ino_t inode);

/* A file whose only descriptor is fd, of which the process is no member yet. NULL: no memory, and fd stays the caller's. */
struct object_file *object_process_add(int fd, bool writable, const struct stat *status, const char *path);
void object_process_insert(struct object_file *file);

/* Keeps a descriptor of a known inode open as long as the file's others. */
void object_process_keep(struct object_file *file, int fd);

/* Makes this process a member, unless it is. *ret_alone: nobody else was, and nobody becomes one before object_process_settle().
 * -EAGAIN: somebody just looks whether the file can go; -EUSERS. */
int object_process_join(struct object_file *file, bool *ret_alone);
void object_process_settle(struct object_file *file);

/* Forgets the file and closes its descriptors. The last member's takes the name along. */
void object_process_drop(struct object_file *file);

/* Unlinks what the path names if it is the inode of fd, and nobody is a member of it, and it is none that stays. fd is written to
 * by nobody else here: it is a descriptor of an inode that this process has not open. 1: it went; 0: not; or an error. */
int object_process_collect(int fd, const char *path);
