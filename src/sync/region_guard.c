/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See region_guard.h. A process whose data are mapped to be read only (OBJECT_GUARDED) maps the guard's pages once more, to be
 * written; one with a descriptor that only reads (OBJECT_READ) has no guard. */

#include "sync/region_guard.h"

#include "base/error.h"
#include "base/sys.h"

#include <errno.h>

#define PAGE 4096u

_Static_assert(OBJECT_SLOTS == PERMITS_SLOT_MOST, "every slot can hold the guard");
_Static_assert(OBJECT_EVERY == PERMITS_EVERY, "every slot is every slot");

uint64_t region_guard_size(void) {
    uint64_t bytes = offsetof(struct region_guard, permits) + permits_size(GUARD_PERMITS);
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static struct region_state *state_of(const struct object *object) { return object->state; }

const struct region_guard *region_guard_look(const struct object *object) { return object->body; }

static bool bury(void *context, uint32_t slot) { return object_reclaim(context, slot); }

static int apart(void *context, uint32_t slot) {
    pid_t pid;
    return object_holder(context, slot, &pid) < 0 ? -1 : process_apart(pid);
}

static const struct permits_owners owners = { .bury = bury, .apart = apart };

static struct region_guard *guard_of(struct object *object) {
    struct region_state *state = state_of(object);
    void *map = NULL;
    if (state->guard || object->access == OBJECT_READ || object->size < region_guard_size())
        return state->guard;
    if (object->access == OBJECT_WRITE)
        map = object->body;
    else if (object_map_writable(object, 0, (size_t)region_guard_size(), &map) < 0)
        return NULL;
    state->guard = map;
    return state->guard;
}

static int view(struct object *object, uint32_t mode, struct permits *ret_permits) {
    struct region_guard *guard = guard_of(object);
    if (!guard)
        return -EACCES;
    return permits_open(ret_permits, &guard->permits, GUARD_PERMITS, object->slot, mode, &owners, object);
}

/* The process's own. A slot is reclaimed before a process's first check, so whoever comes first makes it. */
static struct permits *own_view(struct object *object) {
    struct permits *permits = &state_of(object)->permits;
    return permits->shared || view(object, HAWSER_WAIT_BLOCK, permits) == 0 ? permits : NULL;
}

int region_guard_view(struct object *object, uint32_t mode, struct permits *ret_permits) {
    if (object->access == OBJECT_READ)
        return error_note(-EACCES, "who may only read a region cannot have its guard; look at its generation before and after");
    int error = view(object, mode, ret_permits);
    return error ? error_set(error, "map the guard of a region: %s", error_text(error)) : 0;
}

/* ---- The object's side ---- */

static int region_birth(struct object *object, const struct object_request *request) {
    (void)request;
    object->parameters[REGION_OFFSET] = region_guard_size();
    struct region_guard *guard = object->body; /* whose map can be written still */
    permits_format(&guard->permits, GUARD_PERMITS);
    return 0;
}

static int check_size(const struct object *object, const struct object_request *request) {
    uint64_t size = object->parameters[REGION_SIZE], wanted = request->parameters[REGION_SIZE];
    if (object->parameters[REGION_OFFSET] != region_guard_size() || object->size < region_guard_size() ||
        size != object->size - region_guard_size())
        return error_set(-EPROTO, "the region is damaged: its header tells of %llu bytes of data in %llu", (unsigned long long)size,
                         (unsigned long long)object->size);
    if (wanted && wanted != size)
        return error_set(-EINVAL, "the region has %llu bytes, not %llu", (unsigned long long)size, (unsigned long long)wanted);
    return 0;
}

static int region_check(struct object *object, const struct object_request *request) {
    int error = check_size(object, request);
    if (!error && object->access != OBJECT_READ && !own_view(object))
        error = error_note(-EPROTO, "the region is damaged: its guard is not as it should be, or cannot be mapped");
    return error;
}

static void region_reclaim(struct object *object, uint32_t slot) {
    struct permits *permits = own_view(object);
    if (permits)
        permits_reclaim(permits, slot);
}

static void region_leave(struct object *object) {
    struct region_state *state = state_of(object);
    if (object->access == OBJECT_READ)
        return;
    struct permits *permits = own_view(object);
    if (permits && load_relaxed(&state->writer))
        permits_tear(permits); /* closing is no unlocking: as if it had died writing */
    if (permits)
        permits_release(permits, load_relaxed(&state->writer) ? GUARD_PERMITS : load_relaxed(&state->shared));
    if (object->access == OBJECT_GUARDED && state->guard)
        sys_munmap(state->guard, (size_t)region_guard_size());
}

static void region_forked(struct object *object) { own_view(object); }

const struct object_kind region_kind = {
    .tag = OBJECT_REGION,
    .version = 1,
    .scheme = "region",
    .what = "a region",
    .state_size = sizeof(struct region_state),
    .birth = region_birth,
    .check = region_check,
    .reclaim = region_reclaim,
    .leave = region_leave,

    .forked = region_forked,
};
