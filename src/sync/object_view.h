/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The objects of a file in this process: one for each access it was opened with. For who holds the process's lock. */

#include "sync/object_process.h"

/* One more handle, on what is there or on a new object. The process becomes a member, unless it is one. Errors: as object_open();
 * -EAGAIN: the name is another file's by now, or there is none: start over. */
int object_view_open(struct object_file *file, const struct object_request *request, struct object **ret_object);

/* The first object of a file just made, which is inserted nowhere yet; takes map over. Runs kind->birth. */
int object_view_birth(struct object_file *file, void *map, const struct object_request *request, struct object **ret_object);

/* Makes sure of file->read_fd. */
int object_view_read_fd(struct object_file *file);

/* As object_seal(). */
int object_view_seal(struct object *object);

/* In a forked child: becomes a member, and the object the child's own. -EAGAIN: somebody just looks whether the file can go. */
int object_view_join(struct object *object);

/* Frees it. What the slot holds was given back already. */
void object_view_drop(struct object *object);
