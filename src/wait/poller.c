/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A descriptor is in the epoll under its member's index and generation, so that an event that was fetched before the member left
 * is not taken for its successor's. What leaves is taken out by hand: a forked child may hold the file, which would keep
 * it in. For the same reason a child never touches its parent's set; it only drops its copy of the descriptor.
 *
 * The bell comes from the wakers and goes back to them: those who ring it late ring for nothing, as theirs do. */

#include "wait/poller.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define BELL_DATA UINT64_MAX
#define FD_BITS 2
#define EVENTS_MOST 4096

_Static_assert(POLLER_FDS <= 1 << FD_BITS, "the place of a descriptor stands in the event's data");

static _Thread_local struct poller *own;
static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void unreference(struct poller *poller) {
    if (add_seq_cst(&poller->references, UINT32_MAX) != 1) /* pairs with unreference: who is last sees what all did */
        return;
    memory_free(poller->entries);
    memory_free(poller->stale);
    memory_free(poller);
}

/* Of the thread alone. */
static void free_own(struct poller *poller) {
    memory_free(poller->events);
    memory_free(poller->slots);
    memory_free(poller->others);
    memory_free(poller->todo);
    poller->events = NULL;
    poller->slots = NULL;
    poller->others = poller->todo = NULL;
}

/* The thread ends; its members stay until they are used or closed. */
static void end(void *poller_of_thread) {
    struct poller *poller = poller_of_thread;
    own = NULL;
    if (poller->self != process_self())
        return;
    lock_acquire(&poller->lock);
    sys_close(poller->epoll);
    waker_give_back(poller->bell);
    poller->epoll = poller->bell = -1;
    free_own(poller);
    lock_release(&poller->lock);
    unreference(poller);
}

static void make_key(void) {
    if (pthread_key_create(&at_exit, end) != 0)
        at_exit = (pthread_key_t)-1;
}

static struct poller *poller_new(void) {
    struct poller *poller = memory_new(sizeof *poller);
    if (!poller)
        return NULL;
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = BELL_DATA };
    poller->self = process_self();
    poller->references = 1;
    poller->first_free = POLLER_NOWHERE;
    poller->epoll = sys_epoll_create1(EPOLL_CLOEXEC);
    poller->bell = poller->epoll >= 0 ? waker_new() : -1;
    if (poller->bell >= 0 && sys_epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->bell, &event) == 0)
        return poller;
    if (poller->bell >= 0)
        waker_give_back(poller->bell);
    if (poller->epoll >= 0)
        sys_close(poller->epoll);
    memory_free(poller);
    return NULL;
}

struct poller *poller_self(void) {
    if (own && own->self == process_self())
        return own;
    pthread_once(&once, make_key);
    if (at_exit == (pthread_key_t)-1)
        return NULL;
    if (own) { /* the parent's: its channels, which are not ours to use, still name it */
        sys_close(own->epoll);
        free_own(own);
        unreference(own);
        own = NULL;
    }
    struct poller *poller = poller_new();
    if (poller && pthread_setspecific(at_exit, poller) != 0) {
        end(poller);
        return NULL;
    }
    return own = poller;
}

int poller_reserve_slots(struct poller *poller, size_t n) {
    size_t capacity = n + n / 2;
    if (n <= poller->slots_capacity)
        return 0;
    struct poller_slot *slots = memory_resize(poller->slots, capacity * sizeof *slots);
    poller->slots = slots ? slots : poller->slots;
    uint32_t *others = memory_resize(poller->others, capacity * sizeof *others);
    poller->others = others ? others : poller->others;
    uint32_t *todo = memory_resize(poller->todo, capacity * sizeof *todo);
    poller->todo = todo ? todo : poller->todo;
    if (!slots || !others || !todo)
        return -ENOMEM;
    poller->slots_capacity = capacity;
    return 0;
}

/* Room for one more entry, and for it on the stale list and among the events. Under the lock. */
static bool reserve(struct poller *poller) {
    if (poller->n_entries < poller->capacity || poller->first_free != POLLER_NOWHERE)
        return true;
    size_t capacity = poller->capacity * 2 + 64, n_events = capacity * 2 + 1 < EVENTS_MOST ? capacity * 2 + 1 : EVENTS_MOST;
    struct poller_entry *entries = memory_resize(poller->entries, capacity * sizeof *entries);
    poller->entries = entries ? entries : poller->entries;
    uint32_t *stale = memory_resize(poller->stale, capacity * sizeof *stale);
    poller->stale = stale ? stale : poller->stale;
    struct epoll_event *events = memory_resize(poller->events, n_events * sizeof *events);
    poller->events = events ? events : poller->events;
    if (!entries || !stale || !events)
        return false;
    poller->capacity = capacity;
    poller->events_capacity = n_events;
    return true;
}

/* Under the lock. */
static void mark_stale(struct poller *poller, uint32_t index) {
    if (poller->entries[index].stale)
        return;
    poller->entries[index].stale = true;
    poller->stale[poller->n_stale++] = index;
}

int poller_join(struct poller *poller, struct poller_member *member, uint32_t position) {
    lock_acquire(&poller->lock);
    if (!reserve(poller)) {
        lock_release(&poller->lock);
        return -ENOMEM;
    }
    uint32_t index = poller->first_free;
    if (index == POLLER_NOWHERE) {
        index = (uint32_t)poller->n_entries++;
        poller->entries[index] = (struct poller_entry){ 0 };
    } else {
        poller->first_free = poller->entries[index].next_free;
    }
    poller->entries[index].member = member;
    *member = (struct poller_member){ .poller = poller, .index = index, .position = position };
    add_relaxed(&poller->references, 1); /* the thread's own is there already */
    mark_stale(poller, index);
    lock_release(&poller->lock);
    return 0;
}

/* Under the lock. */
static void unwatch(struct poller *poller, struct poller_member *member) {
    for (unsigned i = 0; i < member->n_fds && poller->epoll >= 0; i++)
        sys_epoll_ctl(poller->epoll, EPOLL_CTL_DEL, member->fds[i].fd, NULL);
    member->n_fds = 0;
}

void poller_leave(struct poller_member *member) {
    struct poller *poller = member->poller;
    if (!poller)
        return;
    member->poller = NULL;
    if (poller->self != process_self()) { /* a copy, whose lock some thread of the parent's may hold for ever */
        unreference(poller);
        return;
    }
    lock_acquire(&poller->lock);
    struct poller_entry *entry = &poller->entries[member->index];
    unwatch(poller, member);
    entry->member = NULL;
    entry->generation++;
    entry->next_free = poller->first_free;
    poller->first_free = member->index;
    poller->departed++;
    lock_release(&poller->lock);
    unreference(poller);
}

void poller_mark_stale(struct poller_member *member) {
    struct poller *poller = member->poller;
    lock_acquire(&poller->lock);
    mark_stale(poller, member->index);
    lock_release(&poller->lock);
}

size_t poller_take_stale(struct poller *poller, uint32_t *ret_positions) {
    size_t n = 0;
    lock_acquire(&poller->lock);
    for (size_t i = 0; i < poller->n_stale; i++) {
        struct poller_entry *entry = &poller->entries[poller->stale[i]];
        entry->stale = false;
        if (entry->member && entry->member->position != POLLER_NOWHERE)
            ret_positions[n++] = entry->member->position;
    }
    poller->n_stale = 0;
    lock_release(&poller->lock);
    return n;
}

static bool listed(const struct pollfd *fds, unsigned n, int fd) {
    for (unsigned i = 0; i < n; i++)
        if (fds[i].fd == fd)
            return true;
    return false;
}

/* Puts one descriptor in, whether or not it is there: its number may have been closed and used again meanwhile. */
static int watch_one(struct poller *poller, const struct poller_member *member, unsigned i, const struct pollfd *fd, bool known) {
    uint64_t data = (uint64_t)poller->entries[member->index].generation << 32 | (uint64_t)member->index << FD_BITS | i;
    struct epoll_event event = { .events = (uint32_t)fd->events, .data.u64 = data }; /* POLLIN == EPOLLIN and so on */
    int r = sys_epoll_ctl(poller->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd->fd, &event);
    if (r == -ENOENT)
        r = sys_epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd->fd, &event);
    else if (r == -EEXIST)
        r = sys_epoll_ctl(poller->epoll, EPOLL_CTL_MOD, fd->fd, &event);
    return r;
}

int poller_watch(struct poller_member *member, const struct pollfd *fds, unsigned n) {
    struct poller *poller = member->poller;
    int r = 0;
    if (member->n_fds == n && (n == 0 || memcmp(member->fds, fds, n * sizeof *fds) == 0))
        return 0;
    lock_acquire(&poller->lock);
    for (unsigned i = 0; i < member->n_fds; i++)
        if (!listed(fds, n, member->fds[i].fd))
            sys_epoll_ctl(poller->epoll, EPOLL_CTL_DEL, member->fds[i].fd, NULL);
    for (unsigned i = 0; i < n && r == 0; i++)
        r = watch_one(poller, member, i, &fds[i], listed(member->fds, member->n_fds, fds[i].fd));
    for (unsigned i = 0; i < n; i++)
        member->fds[i] = fds[i];
    member->n_fds = n;
    lock_release(&poller->lock);
    return r;
}

static int milliseconds(const struct timespec *timeout) {
    int64_t most = INT32_MAX, ms = timeout ? (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
    return (int)(ms < most ? ms : most);
}

/* Linux before 5.11, and some sandboxes, have no epoll_pwait2: then to the next millisecond. */
static int wait_members(const struct poller *poller, const struct timespec *timeout) {
    static uint32_t lacking;
    int n = -ENOSYS, most = (int)poller->events_capacity;
    bool exact = timeout && (timeout->tv_sec || timeout->tv_nsec);
    if (exact && !load_relaxed(&lacking)) {
        n = sys_epoll_pwait2(poller->epoll, poller->events, most, timeout);
        if (n == -ENOSYS || n == -EPERM)
            store_relaxed(&lacking, 1);
    }
    return n == -ENOSYS || n == -EPERM ? sys_epoll_wait(poller->epoll, poller->events, most, milliseconds(timeout)) : n;
}

/* And the set, which has room for one more. */
static int wait_all(const struct poller *poller, struct sleep_set *set, const struct timespec *timeout) {
    unsigned n = set->count;
    set->fds[n] = (struct pollfd){ .fd = poller->epoll, .events = POLLIN };
    if (sys_ppoll(set->fds, n + 1, timeout, NULL) < 0)
        for (unsigned i = 0; i < n; i++) /* EINTR, ENOMEM: a spurious wake */
            set->fds[i].revents = 0;
    else if (set->fds[n].revents)
        return sys_epoll_wait(poller->epoll, poller->events, (int)poller->events_capacity, 0);
    return 0;
}

void poller_wait(struct poller *poller, struct sleep_set *set, int64_t deadline) {
    struct timespec until, *timeout = sleep_timeout(set->brief ? deadline_earlier(deadline, clock_now() + BRIEF_NS) : deadline, &until);
    bool alone = set->count == 0 || deadline == DEADLINE_PAST;
    int n = alone ? wait_members(poller, timeout) : wait_all(poller, set, timeout);
    poller->next_event = 0;
    poller->n_events = n > 0 ? (size_t)n : 0;
}

/* Somebody else may be using the member of an event that is not waited for: it is not touched beyond what the lock guards. */
static bool resolve(struct poller *poller, const struct epoll_event *event, uint32_t *ret_position, int *ret_fd) {
    uint32_t low = (uint32_t)event->data.u64, index = low >> FD_BITS, i = low & ((1u << FD_BITS) - 1);
    bool found = false;
    lock_acquire(&poller->lock);
    struct poller_entry *entry = &poller->entries[index];
    struct poller_member *member = entry->generation == (uint32_t)(event->data.u64 >> 32) ? entry->member : NULL;
    if (member && member->position == POLLER_NOWHERE) {
        unwatch(poller, member);
    } else if (member && i < member->n_fds) {
        *ret_position = member->position;
        *ret_fd = member->fds[i].fd;
        found = true;
    }
    lock_release(&poller->lock);
    return found;
}

enum poller_found poller_find(struct poller *poller, uint32_t *ret_position, int *ret_fd, short *ret_revents) {
    while (poller->next_event < poller->n_events) {
        const struct epoll_event *event = &poller->events[poller->next_event++];
        uint64_t count;
        if (event->data.u64 == BELL_DATA) {
            sys_read(poller->bell, &count, sizeof count); /* before the caller looks who rang it */
            return POLLER_BELL;
        }
        *ret_revents = (short)event->events;
        if (resolve(poller, event, ret_position, ret_fd))
            return POLLER_MEMBER;
    }
    return POLLER_NOTHING;
}
