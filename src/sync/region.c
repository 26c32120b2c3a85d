/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A region is an object (object.h) whose body is a guard (region_guard.h) and then the data. Handles of one process share the
 * object and its map; each waits for the guard in its own way. */

#include <hawser/region.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/name.h"
#include "sync/object_list.h"
#include "sync/region_guard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct hawser_region {
    struct object *object;
    uint32_t process; /* whose view of the guard this is */
    uint32_t mode;    /* enum hawser_wait */
    struct permits permits;
    bool guarded; /* permits are there */
};

/* What the query says besides. */
struct query {
    uint64_t size;
    bool read, others_read, permanent;
};

static const char *const schemes[] = { "region", NULL };

#define MEMBERS_MOST 1000

/* ---- Opening ---- */

/* "read" or "write", to a bool. */
static int read_share(const char *text, size_t length, void *to) {
    bool reads = length == 4 && strncmp(text, "read", 4) == 0, writes = length == 5 && strncmp(text, "write", 5) == 0;
    if (reads || writes)
        *(bool *)to = reads;
    return reads || writes ? 0 : -EINVAL;
}

static int resolve(const char *text, const hawser_options *given, struct address *ret_address, struct options *ret_options,
                   struct query *ret_query) {
    struct query query = { 0 };
    const struct own_option own[] = {
        { "size", own_option_size, &query.size, "expected a size like 64K" },
        { "share", read_share, &query.others_read, "expected read or write" },
        { "permanent", own_option_switch, &query.permanent, "expected yes or no" },
        { "access", read_share, &query.read, "expected read or write" },
        { 0 },
    };
    unsigned scheme;
    int error = address_parse_as(text, schemes, ret_address, &scheme);
    if (!error)
        error = options_resolve_own(given, ret_address, own, ret_options);
    if (!error)
        *ret_query = query;
    return error;
}

static int view_guard(hawser_region *region) {
    if (region->object->access == OBJECT_READ)
        return 0;
    int error = region_guard_view(region->object, region->mode, &region->permits);
    region->guarded = !error;
    return error;
}

/* Takes the object over, also when it fails. */
static int handle_new(struct object *object, uint32_t mode, hawser_region **ret_region) {
    hawser_region *region = memory_new(sizeof *region);
    if (!region) {
        object_close(object);
        return error_note(-ENOMEM, "no memory for a region's handle");
    }
    region->object = object;
    region->mode = mode;
    int error = view_guard(region);
    if (error) {
        hawser_region_close(region);
        return error;
    }
    region->process = process_self();
    *ret_region = region;
    return 0;
}

/* Who may write the file, but wants to read, has the guard all the same. */
static int open_object(struct object_request *request, bool read, struct object **ret_object) {
    if (!read)
        return object_open(request, ret_object);
    request->size = 0;
    request->access = OBJECT_GUARDED;
    int error = object_open(request, ret_object);
    if (error != -EACCES)
        return error;
    request->access = OBJECT_READ;
    return object_open(request, ret_object);
}

static int check_query(const struct query *query, const struct address *address, uint64_t size) {
    if (query->size && size && query->size != size)
        return error_set(-EINVAL, "the size is %llu, and %llu in the address", (unsigned long long)size, (unsigned long long)query->size);
    if (!address->place[0] && (query->permanent || query->read))
        return error_note(-EINVAL, "a region without a name is always new, and goes with the last who has it: neither permanent nor access=read");
    if (!address->place[0] && size == 0 && query->size == 0)
        return error_note(-EINVAL, "a region without a name is always a new one: say how large it is");
    return 0;
}

static int open_resolved(const struct address *address, const struct options *options, const struct query *query, uint64_t size,
                         hawser_region **ret_region) {
    uint64_t bytes = size ? size : query->size;
    struct object_request request = {
        .kind = &region_kind,
        .address = address,
        .options = options,
        .size = bytes ? bytes + region_guard_size() : 0,
        .parameters = { [REGION_SIZE] = bytes },
        .permanent = query->permanent,
        .others_read = query->others_read,
    };
    struct object *object;
    int error = check_query(query, address, size);
    if (!error && bytes > INT64_MAX / 2)
        error = error_set(-ENOMEM, "%llu bytes are more than this process can address", (unsigned long long)bytes);
    if (!error)
        error = open_object(&request, query->read, &object);
    return error ? error : handle_new(object, options->wait, ret_region);
}

HAWSER_PUBLIC int hawser_region_open(const char *text, const hawser_options *given, size_t size, hawser_region **ret_region) {
    struct address address;
    struct options options;
    struct query query;
    if (!text || !ret_region)
        return error_note(-EINVAL, "an argument is NULL");
    int error = resolve(text, given, &address, &options, &query);
    if (error)
        return error;
    error = open_resolved(&address, &options, &query, size, ret_region);
    if (error) {
        char what[HAWSER_ADDRESS_MAX + 16];
        snprintf(what, sizeof what, "open %s", text);
        return error_within(error, what);
    }
    return 0;
}

HAWSER_PUBLIC hawser_region *hawser_region_close(hawser_region *region) {
    if (!region)
        return NULL;
    object_close(region->object);
    memory_free(region);
    return NULL;
}

HAWSER_PUBLIC int hawser_region_remove(const char *text, const hawser_options *given) {
    char path[sizeof(((struct name *)0)->path)];
    struct object_summary summary;
    struct address address;
    struct options options;
    struct query query;
    struct object *object;
    int error = text ? resolve(text, given, &address, &options, &query) : error_note(-EINVAL, "the address is NULL");
    if (!error)
        error = name_resolve(&address, path, sizeof path);
    if (error)
        return error;
    if (object_summarize(path, false, &summary) == 0 && summary.tag == OBJECT_REGION && summary.members == 0 &&
        object_remove_orphan(path, false) > 0)
        return 0;
    struct object_request request = { .kind = &region_kind, .address = &address, .options = &options, .access = OBJECT_GUARDED };
    error = object_open(&request, &object);
    if (error)
        return error_within(error, "remove a region");
    error = object_unlink(object);
    object_close(object);
    return error;
}

/* ---- Handing on ---- */

HAWSER_PUBLIC int hawser_region_export(hawser_region *region, int access, int *ret_fd) {
    int error = region && ret_fd ? object_enter(region->object) : error_note(-EINVAL, "an argument is NULL");
    if (error)
        return error;
    if (access != HAWSER_REGION_READ && access != HAWSER_REGION_WRITE)
        return error_set(-EINVAL, "%d is neither HAWSER_REGION_READ nor HAWSER_REGION_WRITE", access);
    if (access == HAWSER_REGION_WRITE && region->object->access != OBJECT_WRITE)
        return error_note(-EACCES, "a region that was opened to be read, or sealed, cannot be exported to be written");
    return object_export(region->object, access == HAWSER_REGION_READ ? OBJECT_READ : OBJECT_WRITE, ret_fd);
}

HAWSER_PUBLIC int hawser_region_adopt(int fd, const hawser_options *given, hawser_region **ret_region) {
    struct address address;
    struct options options;
    struct query query;
    struct object *object;
    int error = ret_region ? resolve("region://", given, &address, &options, &query) : error_note(-EINVAL, "an argument is NULL");
    if (error)
        return error;
    error = object_adopt(fd, &region_kind, OBJECT_WRITE, &object);
    if (error == -EACCES || error == -EPERM) /* the ticket only reads; or it was sealed since */
        error = object_adopt(fd, &region_kind, OBJECT_READ, &object);
    return error ? error : handle_new(object, options.wait, ret_region);
}

HAWSER_PUBLIC int hawser_region_seal(hawser_region *region) {
    int error = region ? object_enter(region->object) : error_note(-EINVAL, "the region is NULL");
    if (error)
        return error;
    if (object_sealed(region->object))
        return 0;
    error = object_seal(region->object);
    if (!error)
        region->guarded = false;
    return error;
}

/* ---- Looking ---- */

HAWSER_PUBLIC void *hawser_region_data(hawser_region *region) {
    if (!region)
        return NULL;
    object_enter(region->object); /* a forked child that only touches the data has it open too; other calls say if it came too late */
    return (char *)region->object->body + region_guard_size();
}

HAWSER_PUBLIC size_t hawser_region_size(hawser_region *region) {
    return region ? (size_t)region->object->parameters[REGION_SIZE] : 0;
}

HAWSER_PUBLIC int hawser_region_generation(hawser_region *region, uint64_t *ret_generation) {
    if (!region || !ret_generation)
        return error_note(-EINVAL, "an argument is NULL");
    fence_seq_cst(); /* pairs with begin_write and end_write: what the caller has read was read before */
    *ret_generation = load_acquire(&region_guard_look(region->object)->generation); /* pairs with end_write */
    return 0;
}

HAWSER_PUBLIC int hawser_region_status(hawser_region *region, struct hawser_region_status *ret_status) {
    int error = region ? object_enter(region->object) : error_note(-EINVAL, "the region is NULL");
    if (error)
        return error;
    if (!ret_status || ret_status->struct_size < sizeof *ret_status)
        return error_note(-EINVAL, "the status is NULL, or was not set up by HAWSER_REGION_STATUS_INIT");
    const struct object *object = region->object;
    uint32_t unheld = region->guarded ? permits_free(&region->permits) : GUARD_PERMITS;
    ret_status->size = object->parameters[REGION_SIZE];
    ret_status->generation = load_relaxed(&region_guard_look(object)->generation);
    ret_status->members = object_members(region->object, MEMBERS_MOST);
    ret_status->writable = object->access == OBJECT_WRITE;
    ret_status->sealed = object_sealed(region->object);
    ret_status->permanent = object->permanent;
    ret_status->created = object->created;
    ret_status->holders = unheld < GUARD_PERMITS ? GUARD_PERMITS - unheld : 0;
    ret_status->torn = load_relaxed(&region_guard_look(object)->permits.torn) != 0;
    return 0;
}

/* ---- The guard ---- */

static struct region_state *state_of(const hawser_region *region) { return region->object->state; }

static int has_guard(const hawser_region *region) {
    return region->guarded ? 0 : error_note(-EACCES, "a region that can only be read, or is sealed, has no guard");
}

static bool entered(const hawser_region *region) {
    return process_is(load_acquire(&region->process)); /* pairs with enter */
}

/* In a forked child the first call joins; threads that do so at once store the same, and nothing else of the view changes under another
 * that waits with it already: the guard lies where it lay. */
static int enter(hawser_region *region) {
    if (!region)
        return error_note(-EINVAL, "the region is NULL");
    if (entered(region))
        return has_guard(region);
    int error = object_enter(region->object);
    if (error)
        return error;
    store_relaxed(&region->permits.slot, region->object->slot);
    store_release(&region->process, process_self()); /* pairs with entered */
    return has_guard(region);
}

static bool is_writer(const hawser_region *region) { return load_relaxed(&state_of(region)->writer) == sys_thread_mark(); }

/* Before the first byte is written: odd. It is odd already where the last writer died. */
static void begin_write(hawser_region *region) {
    uint64_t *generation = &state_of(region)->guard->generation, old = load_relaxed(generation);
    store_relaxed(generation, old + 1 + (old & 1));
    fence_seq_cst(); /* pairs with hawser_region_generation: who has read what is written now, finds it odd or another */
}

static void end_write(hawser_region *region) {
    uint64_t *generation = &state_of(region)->guard->generation;
    store_release(generation, load_relaxed(generation) + 1); /* pairs with hawser_region_generation */
}

static int lock(hawser_region *region, bool exclusive, int64_t deadline) {
    int error = permits_acquire(&region->permits, exclusive ? GUARD_PERMITS : 1, deadline);
    if (error == -ETIMEDOUT)
        return error_note(error, "the region's guard was not free within the timeout");
    if (error < 0)
        return error_note(error, "the region's guard is not free, or others wait for it");
    if (exclusive) {
        begin_write(region);
        store_relaxed(&state_of(region)->writer, sys_thread_mark());
    } else {
        add_relaxed(&state_of(region)->shared, 1);
    }
    return permits_torn(&region->permits) ? HAWSER_OWNER_DIED : 0;
}

HAWSER_PUBLIC int hawser_region_lock(hawser_region *region, int mode, int64_t timeout) {
    int error = enter(region);
    if (error)
        return error;
    if (mode != HAWSER_SHARED && mode != HAWSER_EXCLUSIVE)
        return error_set(-EINVAL, "%d is neither HAWSER_SHARED nor HAWSER_EXCLUSIVE", mode);
    if (timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, "the timeout is negative, and not HAWSER_FOREVER");
    if (is_writer(region))
        return error_note(-EDEADLK, "lock a region: this thread has it already, exclusively");
    return lock(region, mode == HAWSER_EXCLUSIVE, deadline_after(timeout));
}

/* The data are whole now, whatever a predecessor left; should we die before the permits are given back, that is told all the same. */
static int unlock_exclusive(hawser_region *region) {
    store_relaxed(&state_of(region)->writer, NULL);
    permits_mend(&region->permits);
    end_write(region);
    return permits_release(&region->permits, GUARD_PERMITS);
}

static int unlock_shared(hawser_region *region) {
    uint32_t *shared = &state_of(region)->shared, n = load_relaxed(shared);
    while (n > 0 && !compare_exchange(shared, &n, n - 1)) { /* pairs with nothing: it is only counted */
    }
    return n > 0 ? permits_release(&region->permits, 1) : error_note(-EPERM, "unlock a region: this process does not have it");
}

HAWSER_PUBLIC int hawser_region_unlock(hawser_region *region) {
    int error = enter(region);
    if (error)
        return error;
    if (is_writer(region))
        return unlock_exclusive(region);
    if (load_relaxed(&state_of(region)->writer))
        return error_note(-EPERM, "unlock a region: another thread has it, exclusively");
    return unlock_shared(region);
}
