/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A semaphore is permits (permits.h) in the body of an object (object.h), whose slots own them. Each handle has a view of the permits
 * of its own, for how it waits and what it remembers; a process has one in the object's state, for what is done to all its permits:
 * when it leaves, and when a dead process's come back. */

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/sys.h"
#include "sync/object.h"
#include "sync/permits.h"

#include <errno.h>
#include <hawser/semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct hawser_semaphore {
    uint32_t process; /* whose view this is; after fork it is made anew */
    struct permits permits;
    struct object *object;
};

/* Of one process, shared by its handles. */
struct semaphore_state {
    struct permits permits;
    const void *locker; /* the thread that has the lock, where this process has it; else nothing that matters */
};

_Static_assert(HAWSER_PERMITS_MAX == PERMITS_MOST, "the header says what permits can do");
_Static_assert(OBJECT_SLOTS == PERMITS_SLOT_MOST, "every slot can own permits");
_Static_assert(OBJECT_EVERY == PERMITS_EVERY, "every slot is every slot");

/* ---- The object's side ---- */

static bool bury(void *context, uint32_t slot) { return object_reclaim(context, slot); }

static int slot_pid(struct object *object, uint32_t slot, pid_t *ret_pid) {
    if (slot != object->slot)
        return object_holder(object, slot, ret_pid);
    *ret_pid = getpid();
    return 0;
}

static int apart(void *context, uint32_t slot) {
    pid_t pid;
    return slot_pid(context, slot, &pid) < 0 ? -1 : process_apart(pid);
}

static const struct permits_owners owners = { .bury = bury, .apart = apart };

static struct semaphore_state *state_of(const struct object *object) { return object->state; }

static int view(struct object *object, uint32_t mode, struct permits *ret_permits) {
    return permits_open(ret_permits, object->body, (uint32_t)object->parameters[0], object->slot, mode, &owners, object);
}

/* The process's own view. A slot is reclaimed before a process's first check, so whoever comes first makes it. NULL: the memory is
 * not a semaphore's. */
static struct permits *own_view(struct object *object) {
    struct permits *permits = &state_of(object)->permits;
    uint64_t limit = object->parameters[0];
    bool fits = limit > 0 && limit <= PERMITS_MOST && object->size >= permits_size((uint32_t)limit);
    if (permits->shared || (fits && view(object, HAWSER_WAIT_BLOCK, permits) == 0))
        return permits;
    return NULL;
}

static int semaphore_birth(struct object *object, const struct object_request *request) {
    (void)request;
    permits_format(object->body, (uint32_t)object->parameters[0]);
    return own_view(object) ? 0 : -EINVAL;
}

static int semaphore_check(struct object *object, const struct object_request *request) {
    uint64_t limit = object->parameters[0], wanted = request->parameters[0];
    if (!own_view(object))
        return error_set(-EPROTO, "the semaphore is damaged: its header tells of %llu permits in %llu bytes, which do not fit its memory",
                         (unsigned long long)limit, (unsigned long long)object->size);
    if (wanted != 0 && wanted != limit)
        return error_set(-EINVAL, "the semaphore was made with %llu permits, not %llu", (unsigned long long)limit,
                         (unsigned long long)wanted);
    return 0;
}

static void semaphore_reclaim(struct object *object, uint32_t slot) {
    struct permits *permits = own_view(object);
    if (permits)
        permits_reclaim(permits, slot);
}

static void semaphore_leave(struct object *object) {
    struct permits *permits = own_view(object);
    if (permits)
        permits_give_back(permits);
}

static void semaphore_forked(struct object *object) { own_view(object); }

static const struct object_kind kind = {
    .tag = OBJECT_SEMAPHORE,
    .version = 1,
    .scheme = "sem",
    .what = "a semaphore",
    .state_size = sizeof(struct semaphore_state),
    .birth = semaphore_birth,
    .check = semaphore_check,
    .reclaim = semaphore_reclaim,
    .leave = semaphore_leave,
    .forked = semaphore_forked,
};

/* ---- Opening and closing ---- */

static const char *const schemes[] = { "sem", NULL };

/* Takes the object over, also when it fails. */
static int handle_new(struct object *object, const struct options *options, hawser_semaphore **ret_semaphore) {
    hawser_semaphore *semaphore = memory_new(sizeof *semaphore);
    if (!semaphore) {
        object_close(object);
        return error_note(-ENOMEM, "no memory for a semaphore's handle");
    }
    semaphore->object = object;
    int r = view(object, options->wait, &semaphore->permits);
    if (r < 0) {
        hawser_semaphore_close(semaphore);
        return error_note(r, "the semaphore is damaged: its memory tells another number of permits than its header");
    }
    semaphore->process = process_self();
    *ret_semaphore = semaphore;
    return 0;
}

static int semaphore_open(const struct address *address, const struct options *options, uint32_t permits,
                          hawser_semaphore **ret_semaphore) {
    struct object_request request = {
        .kind = &kind,
        .address = address,
        .options = options,
        .access = OBJECT_WRITE,
        .size = permits ? permits_size(permits) : 0,
        .parameters = { permits },
    };
    struct object *object;
    if (permits > PERMITS_MOST)
        return error_set(-EINVAL, "a semaphore has at most %u permits, not %u", PERMITS_MOST, permits);
    if (permits == 0 && !address->place[0])
        return error_note(-EINVAL, "a semaphore without a name is always a new one: say how many permits it has");
    int r = object_open(&request, &object);
    return r < 0 ? r : handle_new(object, options, ret_semaphore);
}

HAWSER_PUBLIC int hawser_semaphore_open(const char *text, const hawser_options *given, uint32_t permits,
                                        hawser_semaphore **ret_semaphore) {
    struct address address;
    struct options options;
    unsigned scheme;
    if (!text || !ret_semaphore)
        return error_note(-EINVAL, "an argument is NULL");
    int r = address_parse_as(text, schemes, &address, &scheme);
    if (r == 0)
        r = options_resolve_own(given, &address, NULL, &options);
    if (r < 0)
        return r;
    r = semaphore_open(&address, &options, permits, ret_semaphore);
    if (r < 0) {
        char what[HAWSER_ADDRESS_MAX + 16];
        snprintf(what, sizeof what, "open %s", text);
        return error_within(r, what);
    }
    return 0;
}

HAWSER_PUBLIC hawser_semaphore *hawser_semaphore_close(hawser_semaphore *semaphore) {
    if (!semaphore)
        return NULL;
    object_close(semaphore->object);
    memory_free(semaphore);
    return NULL;
}

HAWSER_PUBLIC int hawser_semaphore_export(hawser_semaphore *semaphore, int *ret_fd) {
    if (!semaphore || !ret_fd)
        return error_note(-EINVAL, "an argument is NULL");
    return object_export(semaphore->object, OBJECT_WRITE, ret_fd);
}

HAWSER_PUBLIC int hawser_semaphore_adopt(int fd, const hawser_options *given, hawser_semaphore **ret_semaphore) {
    struct address address;
    struct options options;
    struct object *object;
    unsigned scheme;
    if (!ret_semaphore)
        return error_note(-EINVAL, "an argument is NULL");
    int r = address_parse_as("sem://", schemes, &address, &scheme);
    if (r == 0)
        r = options_resolve_own(given, &address, NULL, &options);
    if (r == 0)
        r = object_adopt(fd, &kind, OBJECT_WRITE, &object);
    return r < 0 ? r : handle_new(object, &options, ret_semaphore);
}

/* ---- Permits ---- */

static bool entered(const hawser_semaphore *semaphore) {
    return process_is(load_acquire(&semaphore->process)); /* pairs with enter */
}

/* In a forked child the first call joins; threads that do so at once write the same. */
static int enter(hawser_semaphore *semaphore) {
    if (!semaphore)
        return error_note(-EINVAL, "the semaphore is NULL");
    if (entered(semaphore))
        return 0;
    int r = object_enter(semaphore->object);
    if (r < 0)
        return r;
    store_relaxed(&semaphore->permits.slot, semaphore->object->slot);
    store_relaxed(&semaphore->permits.pass, 0); /* those are its parent's */
    store_release(&semaphore->process, process_self()); /* pairs with entered */
    return 0;
}

/* Apart, so that the short way saves no registers. */
__attribute__((noinline)) static int acquire(hawser_semaphore *semaphore, uint32_t n, int64_t timeout) {
    int r = enter(semaphore);
    if (r < 0)
        return r;
    if (timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, "the timeout is negative, and not HAWSER_FOREVER");
    if (n == 0 || n > semaphore->permits.limit)
        return error_set(-EINVAL, "acquire %u permits: the semaphore has %u", n, semaphore->permits.limit);
    r = permits_acquire(&semaphore->permits, n, deadline_after(timeout));
    if (r == -ETIMEDOUT)
        return error_note(r, "the permits were not free within the timeout");
    if (r == -EAGAIN)
        return error_note(r, "the permits are not free, or others wait for them");
    return r == PERMITS_HELD_DIED ? HAWSER_OWNER_DIED : r;
}

HAWSER_PUBLIC int hawser_semaphore_acquire(hawser_semaphore *semaphore, uint32_t n, int64_t timeout) {
    bool simple = semaphore && n == 1 && timeout >= HAWSER_FOREVER && entered(semaphore);
    return __builtin_expect(simple && permits_take_quick(&semaphore->permits), 1) ? 0 : acquire(semaphore, n, timeout);
}

__attribute__((noinline)) static int release(hawser_semaphore *semaphore, uint32_t n) {
    int r = enter(semaphore);
    if (r < 0)
        return r;
    if (n == 0 || n > semaphore->permits.limit)
        return error_set(-EINVAL, "release %u permits: the semaphore has %u", n, semaphore->permits.limit);
    r = permits_release(&semaphore->permits, n);
    return r < 0 ? error_set(r, "release %u permits: this process does not hold so many", n) : 0;
}

HAWSER_PUBLIC int hawser_semaphore_release(hawser_semaphore *semaphore, uint32_t n) {
    bool simple = semaphore && n == 1 && entered(semaphore);
    if (!__builtin_expect(simple && permits_give_quick(&semaphore->permits), 1))
        return release(semaphore, n);
    if (__builtin_expect(permits_waiting(&semaphore->permits), 0))
        permits_serve(&semaphore->permits);
    return 0;
}

/* ---- Locks ---- */

static bool has_lock(const hawser_semaphore *semaphore) {
    return load_relaxed(permit_word(&semaphore->permits, 0)) == semaphore->permits.slot &&
           load_relaxed(&state_of(semaphore->object)->locker) == sys_thread_mark();
}

static int check_lock(hawser_semaphore *semaphore) {
    int r = enter(semaphore);
    if (r == 0 && semaphore->permits.limit != 1)
        return error_set(-EINVAL, "this semaphore is no lock: it has %u permits", semaphore->permits.limit);
    return r;
}

HAWSER_PUBLIC int hawser_lock(hawser_semaphore *semaphore, int64_t timeout) {
    int r = check_lock(semaphore);
    if (r < 0)
        return r;
    if (has_lock(semaphore))
        return error_note(-EDEADLK, "lock: this thread has it already");
    r = hawser_semaphore_acquire(semaphore, 1, timeout);
    if (r >= 0)
        store_relaxed(&state_of(semaphore->object)->locker, sys_thread_mark());
    return r;
}

HAWSER_PUBLIC int hawser_unlock(hawser_semaphore *semaphore) {
    int r = check_lock(semaphore);
    if (r < 0)
        return r;
    if (!has_lock(semaphore))
        return error_note(-EPERM, "unlock: this thread does not have it");
    store_relaxed(&state_of(semaphore->object)->locker, NULL);
    return hawser_semaphore_release(semaphore, 1);
}

/* ---- Looking ---- */

HAWSER_PUBLIC int hawser_semaphore_status(hawser_semaphore *semaphore, struct hawser_semaphore_status *ret_status) {
    int r = enter(semaphore);
    if (r < 0)
        return r;
    if (!ret_status || ret_status->struct_size < sizeof *ret_status)
        return error_note(-EINVAL, "the status is NULL, or was not set up by HAWSER_SEMAPHORE_STATUS_INIT");
    permits_look(&semaphore->permits);
    ret_status->permits = semaphore->permits.limit;
    ret_status->available = permits_free(&semaphore->permits);
    ret_status->waiting = permits_in_line(&semaphore->permits);
    ret_status->held = permits_held(&semaphore->permits, semaphore->permits.slot);
    ret_status->deaths = load_relaxed(&semaphore->permits.shared->deaths);
    return 0;
}

/* How many each slot holds. */
static void count_permits(const struct permits *permits, uint32_t *counts) {
    for (uint32_t i = 0; i < permits->limit; i++) {
        uint32_t slot = load_relaxed(permit_word(permits, i));
        if (slot != PERMIT_FREE && slot <= PERMITS_SLOT_MOST)
            counts[slot]++;
    }
}

HAWSER_PUBLIC int hawser_semaphore_holders(hawser_semaphore *semaphore, struct hawser_semaphore_holder *ret_holders, size_t capacity,
                                           size_t *ret_n) {
    int r = enter(semaphore);
    if (r < 0)
        return r;
    if (!ret_n || (!ret_holders && capacity > 0))
        return error_note(-EINVAL, "an argument is NULL");
    uint32_t *counts = memory_new((PERMITS_SLOT_MOST + 1) * sizeof *counts);
    size_t n = 0;
    if (!counts)
        return error_note(-ENOMEM, "no memory to count who holds permits");
    count_permits(&semaphore->permits, counts);
    for (uint32_t slot = 1; slot <= PERMITS_SLOT_MOST; slot++) {
        pid_t pid;
        if (counts[slot] == 0 || slot_pid(semaphore->object, slot, &pid) < 0)
            continue;
        if (n < capacity)
            ret_holders[n] = (struct hawser_semaphore_holder){ .pid = pid, .permits = counts[slot] };
        n++;
    }
    memory_free(counts);
    *ret_n = n;
    return 0;
}
