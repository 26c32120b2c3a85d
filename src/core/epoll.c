/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A channel in somebody else's event loop. hawser_fd() is an epoll descriptor that holds whatever the link would sleep on;
 * hawser_arm() does what falling asleep does, and keeps the epoll's content as the link wants it. The link stays armed
 * until the next receiving call. Other calls may meanwhile read what the loop sleeps for, in this thread or another: then,
 * as a sleeping thread's waker would, the channel's bell rings, which is in the epoll too. */

#include "base/cleanup.h"
#include "base/error.h"
#include "core/channel.h"

#include <errno.h>
#include <string.h>

static int make(struct hawser_channel *channel) {
    cleanup_fd epoll = sys_epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return epoll;
    cleanup_fd bell = sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0)
        return bell;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = bell };
    int r = sys_epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event);
    if (r < 0)
        return r;
    channel->epoll = steal_fd(&epoll);
    channel->bell = steal_fd(&bell);
    return 0;
}

HAWSER_PUBLIC int hawser_fd(hawser_channel *channel, int *ret_fd) {
    int r = channel_enter(channel);
    if (r < 0)
        return r;
    if (!ret_fd)
        return error_note(-EINVAL, "fd: ret_fd is NULL");
    r = channel->epoll < 0 ? make(channel) : 0;
    if (r < 0)
        return error_set(r, "fd: no epoll descriptor could be had: %s", error_text(r));
    *ret_fd = channel->epoll;
    return 0;
}

static bool listed(const struct pollfd *fds, unsigned n, int fd) {
    for (unsigned i = 0; i < n; i++)
        if (fds[i].fd == fd)
            return true;
    return false;
}

/* Puts one descriptor in, whether or not it is there: a number may have been closed and used again meanwhile. */
static int watch(int epoll, const struct pollfd *fd, bool known) {
    struct epoll_event event = { .events = (uint32_t)fd->events, .data.fd = fd->fd }; /* POLLIN == EPOLLIN and so on */
    int r = sys_epoll_ctl(epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd->fd, &event);
    if (r == -ENOENT)
        r = sys_epoll_ctl(epoll, EPOLL_CTL_ADD, fd->fd, &event);
    else if (r == -EEXIST)
        r = sys_epoll_ctl(epoll, EPOLL_CTL_MOD, fd->fd, &event);
    return r;
}

static int watch_all(struct hawser_channel *channel, const struct sleep_set *set) {
    if (channel->n_watched == set->count && memcmp(channel->watched, set->fds, set->count * sizeof set->fds[0]) == 0)
        return 0;
    for (unsigned i = 0; i < channel->n_watched; i++)
        if (!listed(set->fds, set->count, channel->watched[i].fd))
            sys_epoll_ctl(channel->epoll, EPOLL_CTL_DEL, channel->watched[i].fd, NULL);
    for (unsigned i = 0; i < set->count; i++) {
        int r = watch(channel->epoll, &set->fds[i], listed(channel->watched, channel->n_watched, set->fds[i].fd));
        if (r < 0)
            return error_set(r, "arm: epoll would not take a descriptor: %s", error_text(r));
    }
    memcpy(channel->watched, set->fds, set->count * sizeof set->fds[0]);
    channel->n_watched = set->count;
    return 0;
}

void channel_disarm(struct hawser_channel *channel) {
    channel->armed = false;
    channel->transport->disarm(channel->link, WANT_RECEIVE);
    if (!channel->sticky) {
        store_seq_cst(&channel->receiving.bell, 0); /* pairs with half_wake and half_sleeps */
        return;
    }
    channel->sticky = false;
    half_sleeper_remove(&channel->receiving, channel->sticky_slot);
    poller_mark_stale(&channel->member);
}

/* The bell is published first: see waiting.c. */
static int arm(struct hawser_channel *channel) {
    struct pollfd fds[LINK_SLEEP_MAX + 1];
    struct sleep_set set = { .fds = fds };
    uint64_t count;
    if (channel->transport->ready(channel->link)) {
        if (channel_many(channel))
            channel_pass_on(channel);
        return 1;
    }
    if (channel->armed)
        channel_disarm(channel);
    if (exchange_seq_cst(&channel->receiving.rung, 0)) /* pairs with half_wake */
        sys_read(channel->bell, &count, sizeof count);
    channel->armed = true;
    store_relaxed(&channel->receiving.quick, 0);
    channel->armed_by = sys_thread_mark();
    store_seq_cst(&channel->receiving.bell, channel->bell + 1); /* pairs with half_wake and half_sleeps */
    /* the flag pairs with hawser_interrupt */
    if (channel->transport->arm(channel->link, WANT_RECEIVE, &set) != 0 || load_seq_cst(&channel->interrupted))
        return 1;
    for (unsigned i = 0; set.brief && i < set.count; i++) /* nobody here ends a sleep after a millisecond */
        set.fds[i].events = POLLIN;
    return watch_all(channel, &set);
}

HAWSER_PUBLIC int hawser_arm(hawser_channel *channel) {
    int r = channel_enter(channel);
    if (r < 0)
        return r;
    if (channel->epoll < 0)
        return error_note(-EINVAL, "arm: hawser_fd() was not called yet");
    half_lock(channel, &channel->receiving);
    channel_disarm_own(channel);
    half_unlock(channel, &channel->receiving);
    channel->transport->look(channel->link); /* what woke the loop may have been a doorbell or a death */
    channel_kick(channel);
    half_lock(channel, &channel->receiving);
    r = arm(channel);
    half_unlock(channel, &channel->receiving);
    channel_kick(channel);
    channel_pay(channel);
    return r;
}
