/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What a region's object is, and the guard in its first pages. The data follow. */

#include "sync/object.h"
#include "sync/permits.h"

#define GUARD_PERMITS 64u /* one to share, all of them to exclude */

/* The format, frozen; written by all members. */
struct region_guard {
    uint64_t generation; /* odd: somebody writes, or died writing */
    uint32_t reserved[14];
    struct permits_shared permits; /* 64 bytes from the start; the permits' words follow */
};

_Static_assert(offsetof(struct region_guard, permits) == 64, "the permits begin at a line");

/* Parameters of the object. */
enum { REGION_SIZE, REGION_OFFSET };

/* One process's, shared by its handles; zeroed in a forked child. */
struct region_state {
    struct permits permits; /* shared is NULL: there is none yet */
    struct region_guard *guard;
    const void *writer; /* the thread that has it exclusively, where it has it through this object */
    uint32_t shared;    /* how often it is held, shared, through this object: one with another access has the same slot */
};

extern const struct object_kind region_kind;

/* Bytes before the data, whole pages. */
uint64_t region_guard_size(void);

/* A view of the guard of a handle's own, which waits as mode says. -EACCES: this object cannot have one. */
int region_guard_view(struct object *object, uint32_t mode, struct permits *ret_permits);

/* Also where it is only read. */
const struct region_guard *region_guard_look(const struct object *object);
