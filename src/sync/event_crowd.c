/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The waiter's raisers. Each is its socket and its bell, both in one epoll with the listener and the event's own bell.
 *
 * A raiser is hostile: it can drain its bell, fill it, make it blocking, write to it without end, and send anything over its
 * socket. So a bell is read without ever waiting whatever its flags; anything at all on a socket ends the raiser, as honest ones send
 * nothing after the hello; so does a bell that is readable again and again with nothing in it, which takes somebody who drains
 * it. What a raiser had raised before its end is read first. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "sync/event.h"

#include <errno.h>
#include <string.h>

#define GLANCES 8
#define AT_ONCE 32   /* events of one look */
#define VAIN_MOST 64 /* a thread of the waiter's own may have read it meanwhile: once is no proof */

enum watched { WATCHED_OWN, WATCHED_LISTENER, WATCHED_SOCKET, WATCHED_BELL };

/* What an epoll event is of: kind, place, generation. */
static uint64_t tag(enum watched kind, uint32_t place, uint32_t generation) {
    return (uint64_t)generation << 32 | (uint64_t)place << 2 | kind;
}

static int watch(struct crowd *crowd, int fd, uint64_t data) {
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };
    int error = sys_epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fd, &event);
    return error < 0 ? error_set(error, "cannot watch one more descriptor: %s", error_text(error)) : 0;
}

/* Closing alone would leave it in the epoll while a forked child holds it too. */
static void unwatch(struct crowd *crowd, int fd) {
    struct epoll_event event = { 0 };
    sys_epoll_ctl(crowd->epoll, EPOLL_CTL_DEL, fd, &event);
}

void crowd_init(struct crowd *crowd) { *crowd = (struct crowd){ .epoll = -1 }; }

/* It stays in the epoll, so that no memory is needed to heed it again. */
void crowd_own(struct crowd *crowd, int own, bool watched) {
    struct epoll_event event = { .events = watched ? EPOLLIN : 0, .data.u64 = tag(WATCHED_OWN, 0, 0) };
    if (crowd->epoll >= 0)
        sys_epoll_ctl(crowd->epoll, EPOLL_CTL_MOD, own, &event);
}

int crowd_open(struct crowd *crowd, int own) {
    int fd = -1, error = 0;
    if (crowd->epoll >= 0)
        return 0;
    int epoll = sys_epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return error_set(epoll, "cannot make an epoll: %s", error_text(epoll));
    crowd->epoll = epoll;
    if (crowd->listener)
        error = hawser_listener_fd(crowd->listener, &fd);
    if (!error && fd >= 0)
        error = watch(crowd, fd, tag(WATCHED_LISTENER, 0, 0));
    if (!error)
        error = watch(crowd, own, tag(WATCHED_OWN, 0, 0));
    if (error)
        sys_close(steal_fd(&crowd->epoll));
    return error;
}

/* ---- Coming and going ---- */

static struct raiser *free_place(struct crowd *crowd) {
    for (uint32_t i = 0; i < crowd->capacity; i++)
        if (crowd->raisers[i].generation % 2 == 0)
            return &crowd->raisers[i];
    uint32_t capacity = crowd->capacity * 2 + 4;
    struct raiser *larger = memory_resize(crowd->raisers, capacity * sizeof *larger);
    if (!larger)
        return NULL;
    memset(larger + crowd->capacity, 0, (capacity - crowd->capacity) * sizeof *larger);
    struct raiser *found = larger + crowd->capacity;
    crowd->raisers = larger;
    crowd->capacity = capacity;
    return found;
}

int crowd_room(const struct crowd *crowd, uid_t uid) {
    unsigned of_user = 0;
    for (uint32_t i = 0; i < crowd->capacity; i++)
        of_user += crowd->raisers[i].generation % 2 == 1 && crowd->raisers[i].uid == uid;
    if (crowd->n >= EVENT_RAISERS_MAX)
        return error_set(-EBUSY, "the event has %d raisers, and takes no more", EVENT_RAISERS_MAX);
    if (uid != (uid_t)-1 && of_user >= EVENT_RAISERS_PER_USER)
        return error_set(-EBUSY, "the event has %d raisers of uid %u, and takes no more", EVENT_RAISERS_PER_USER, uid);
    return 0;
}

int crowd_join(struct crowd *crowd, int socket, int bell, uid_t uid, uint32_t *ret_place) {
    struct raiser *raiser = free_place(crowd);
    if (!raiser)
        return error_note(-ENOMEM, "no memory for a raiser");
    uint32_t place = (uint32_t)(raiser - crowd->raisers), generation = raiser->generation + 1;
    int error = watch(crowd, socket, tag(WATCHED_SOCKET, place, generation));
    if (!error && bell >= 0) {
        error = watch(crowd, bell, tag(WATCHED_BELL, place, generation));
        if (error)
            unwatch(crowd, socket);
    }
    if (error)
        return error;
    *raiser = (struct raiser){ .socket = socket, .bell = bell, .uid = uid, .generation = generation };
    crowd->n++;
    *ret_place = place;
    return 0;
}

void crowd_forget(struct crowd *crowd, uint32_t place) {
    struct raiser *raiser = &crowd->raisers[place];
    unwatch(crowd, raiser->socket);
    if (raiser->bell >= 0)
        unwatch(crowd, raiser->bell);
    raiser->generation++;
    crowd->n--;
}

static void leave(struct crowd *crowd, struct raiser *raiser) {
    crowd_forget(crowd, (uint32_t)(raiser - crowd->raisers));
    cleanup_close(&raiser->socket);
    cleanup_close(&raiser->bell);
}

bool crowd_sweep(struct crowd *crowd) {
    static const struct timespec at_once = { 0, 0 };
    uint32_t before = crowd->n;
    for (uint32_t i = 0; i < crowd->capacity; i++) {
        struct raiser *raiser = &crowd->raisers[i];
        struct pollfd items[] = { { .fd = raiser->socket, .events = POLLIN }, { .fd = raiser->bell, .events = POLLIN } };
        if (raiser->generation % 2 == 1 && sys_ppoll(items, 2, &at_once, NULL) > 0 && items[0].revents && !items[1].revents)
            leave(crowd, raiser);
    }
    return crowd->n < before;
}

/* ---- What happens ---- */

/* false: there was nothing. */
static bool take(struct hawser_event *event, struct raiser *raiser, uint64_t *sum) {
    uint64_t value = bell_read(raiser->bell);
    if (value == 0)
        return false;
    event_gather(event, value, sum);
    event->crowd.hot = (uint32_t)(raiser - event->crowd.raisers);
    raiser->vain = 0;
    return true;
}

static void heed_bell(struct hawser_event *event, struct raiser *raiser, uint64_t *sum) {
    if (!take(event, raiser, sum) && ++raiser->vain > VAIN_MOST)
        leave(&event->crowd, raiser);
}

static void heed_end(struct hawser_event *event, struct raiser *raiser, uint64_t *sum) {
    if (raiser->bell >= 0)
        take(event, raiser, sum);
    leave(&event->crowd, raiser);
}

/* data: of an epoll event. Its raiser may have left since, and another have come. */
static void heed_raiser(struct hawser_event *event, uint64_t data, uint64_t *sum) {
    uint32_t place = (uint32_t)data >> 2, generation = (uint32_t)(data >> 32);
    struct raiser *raiser = &event->crowd.raisers[place];
    if (raiser->generation != generation)
        return;
    if ((data & 3) == WATCHED_BELL)
        heed_bell(event, raiser, sum);
    else
        heed_end(event, raiser, sum);
}

/* Sleeps in the one call that also tells what happened. How many events there are; less than 1: none. */
static int look(struct crowd *crowd, struct epoll_event *events, int64_t deadline) {
    struct timespec timeout;
    if (deadline == DEADLINE_PAST || deadline == DEADLINE_NEVER)
        return sys_epoll_wait(crowd->epoll, events, AT_ONCE, deadline == DEADLINE_PAST ? 0 : -1);
    int n = sys_epoll_pwait2(crowd->epoll, events, AT_ONCE, sleep_timeout(deadline, &timeout));
    if (n != -ENOSYS)
        return n;
    struct pollfd item = { .fd = crowd->epoll, .events = POLLIN };
    n = sys_ppoll(&item, 1, sleep_timeout(deadline, &timeout), NULL);
    return n > 0 ? sys_epoll_wait(crowd->epoll, events, AT_ONCE, 0) : n;
}

void crowd_heed(struct hawser_event *event, int64_t deadline, uint64_t *sum, bool *ret_own) {
    struct epoll_event events[AT_ONCE];
    int n = look(&event->crowd, events, deadline);
    bool newcomers = false;
    *ret_own = false;
    for (int i = 0; i < n && event->carry == 0; i++) {
        uint64_t data = events[i].data.u64;
        if ((data & 3) == WATCHED_OWN)
            *ret_own = true;
        else if ((data & 3) == WATCHED_LISTENER)
            newcomers = true;
        else
            heed_raiser(event, data, sum);
    }
    if (newcomers) /* last: places of those above may be given anew */
        event_welcome(event);
}

void crowd_glance(struct hawser_event *event, uint64_t *sum, bool *ret_own) {
    struct crowd *crowd = &event->crowd;
    struct raiser *hot = crowd->hot < crowd->capacity ? &crowd->raisers[crowd->hot] : NULL;
    if (!hot || hot->generation % 2 == 0 || hot->bell < 0 || ++crowd->hot_tries % GLANCES == 0) {
        crowd_heed(event, DEADLINE_PAST, sum, ret_own);
        return;
    }
    *ret_own = false;
    take(event, hot, sum);
}

void crowd_close(struct crowd *crowd) {
    for (uint32_t i = 0; i < crowd->capacity; i++)
        if (crowd->raisers[i].generation % 2 == 1) {
            cleanup_close(&crowd->raisers[i].socket);
            cleanup_close(&crowd->raisers[i].bell);
        }
    hawser_listener_close(crowd->listener); /* sees for itself whose it is */
    memory_free(crowd->raisers);
    cleanup_close(&crowd->epoll);
    crowd_init(crowd);
}
