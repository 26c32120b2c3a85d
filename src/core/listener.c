/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A listener's life and its steps. One that connects is first asked of the kernel who it is, then stands in `pending`
 * until its hello is whole. When there are too many hellos under way the oldest makes room, of the same user
 * if that user has too many: who is honest speaks at once and is never in the way, so no crowd of silent ones can keep
 * others out. With no descriptors left, the spare one is given up for as long as it takes to turn the newcomer away. */

#include "core/listener.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "core/access.h"
#include "core/channel.h"
#include "core/rendezvous.h"

#include <errno.h>
#include <string.h>

#define HELLO_SPIN_NS 150000
#define SILENT 16
#define PREPARED_RING (UINT64_C(1) << 20)
#define ACCEPTS_AT_ONCE 16
#define STARVED_NAP_NS INT64_C(50000000) /* between looks at whether descriptors are free again */

/* ---- Watching ---- */

void listener_unwatch(struct hawser_listener *listener) {
    struct epoll_event event = { 0 };
    if (listener->watched >= 0)
        sys_epoll_ctl(listener->epoll, EPOLL_CTL_DEL, listener->watched, &event);
    listener->watched = -1;
}

/* Makes epoll hold the listener's descriptor, or not. */
static int watch(struct hawser_listener *listener, bool wanted) {
    struct epoll_event event = { .events = EPOLLIN };
    if (!wanted)
        listener_unwatch(listener);
    if (!wanted || listener->fd < 0 || listener->watched >= 0)
        return 0;
    int error = sys_epoll_ctl(listener->epoll, EPOLL_CTL_ADD, listener->fd, &event);
    if (error < 0 && error != -EEXIST)
        return error_set(error, "cannot watch the listener: %s", error_text(error));
    listener->watched = listener->fd;
    return 0;
}

static int64_t earliest(const struct hawser_listener *listener) {
    int64_t deadline = DEADLINE_NEVER;
    for (unsigned i = 0; i < PENDING_MAX && listener->n_pending > 0; i++)
        if (listener->pending[i].fd >= 0)
            deadline = deadline_earlier(deadline, listener->pending[i].deadline);
    if (listener->watched < 0)
        deadline = deadline_earlier(deadline, clock_now() + STARVED_NAP_NS);
    return deadline;
}

/* Setting it also clears that it had fired. */
static void set_timer(struct hawser_listener *listener) {
    if (listener->timer < 0)
        return;
    int64_t deadline = earliest(listener);
    struct itimerspec value = { 0 };
    if (deadline != DEADLINE_NEVER) {
        value.it_value.tv_sec = (time_t)(deadline / 1000000000);
        value.it_value.tv_nsec = (long)(deadline % 1000000000);
    }
    sys_timerfd_settime(listener->timer, TFD_TIMER_ABSTIME, &value, NULL);
}

static void keep_spare(struct hawser_listener *listener) {
    if (listener->spare < 0)
        listener->spare = sys_fcntl(listener->wake, F_DUPFD_CLOEXEC, 0);
}

/* ---- Newcomers ---- */

/* The sentence that stands says why. */
static void turn_away(struct hawser_listener *listener, int fd, int error) {
    if (listener->transport->refuse)
        listener->transport->refuse(fd, error);
    else if (listener->transport->create)
        rendezvous_refuse(fd, error);
    sys_close(fd);
}

/* Closing would not take it out of epoll while a forked child holds it too, and its hang-up would keep epoll awake. */
static void unwatch(struct hawser_listener *listener, struct pending *pending, int fd) {
    struct epoll_event event = { 0 };
    if (pending->watched && fd >= 0)
        sys_epoll_ctl(listener->epoll, EPOLL_CTL_DEL, fd, &event);
    pending->watched = false;
}

static void drop(struct hawser_listener *listener, struct pending *pending) {
    unwatch(listener, pending, pending->fd);
    if (pending->fd >= 0)
        sys_close(steal_fd(&pending->fd));
    listener->n_pending--;
}

static void drop_overdue(struct hawser_listener *listener) {
    if (listener->n_pending == 0)
        return;
    int64_t now = clock_now();
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (listener->pending[i].fd >= 0 && listener->pending[i].deadline <= now)
            drop(listener, &listener->pending[i]);
}

/* A free slot; the oldest of the user's, or of all, makes room if it must. uid: of a local newcomer, else -1. */
static struct pending *make_room(struct hawser_listener *listener, uid_t uid) {
    struct pending *free = NULL, *oldest = NULL, *users_oldest = NULL;
    unsigned of_user = 0;
    for (struct pending *pending = listener->pending; pending < listener->pending + PENDING_MAX; pending++) {
        if (pending->fd < 0) {
            free = pending;
            continue;
        }
        if (!oldest || pending->deadline < oldest->deadline)
            oldest = pending;
        if (pending->uid != uid || !listener->local)
            continue;
        of_user++;
        if (!users_oldest || pending->deadline < users_oldest->deadline)
            users_oldest = pending;
    }
    struct pending *victim = of_user >= PENDING_PER_USER ? users_oldest : free ? NULL : oldest;
    if (victim) {
        unwatch(listener, victim, victim->fd);
        error_note(-EBUSY, "too many hellos are under way, and yours is the oldest");
        turn_away(listener, steal_fd(&victim->fd), -EBUSY);
        listener->n_pending--;
        free = victim;
    }
    return free;
}

static int check_newcomer(struct hawser_listener *listener, int fd, struct pending *newcomer) {
    *newcomer = (struct pending){ .fd = -1, .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
    if (!listener->local)
        return 0;
    int error = access_credentials(fd, &newcomer->pid, &newcomer->uid, &newcomer->gid);
    return error ? error : access_admit(&listener->options, newcomer->pid, newcomer->uid, newcomer->gid);
}

static bool short_of_something(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS || error == -ENOSPC;
}

/* fd: now the listener's. 0 and the slot; -EAGAIN: turned away. */
static int take_in(struct hawser_listener *listener, int fd, struct pending **ret_pending) {
    struct pending newcomer;
    int error = check_newcomer(listener, fd, &newcomer);
    if (error < 0) {
        turn_away(listener, fd, error);
        return short_of_something(error) ? error : -EAGAIN;
    }
    newcomer.fd = fd;
    newcomer.deadline = deadline_after(listener->options.hello_ns);
    struct pending *slot = make_room(listener, newcomer.uid);
    *slot = newcomer;
    listener->n_pending++;
    *ret_pending = slot;
    return 0;
}

/* Its hello is still to come: from now on it wakes who sleeps. -EAGAIN; or it was turned away. */
static int expect_hello(struct hawser_listener *listener, struct pending *pending) {
    struct epoll_event event = { .events = EPOLLIN };
    int error = sys_epoll_ctl(listener->epoll, EPOLL_CTL_ADD, pending->fd, &event);
    if (error >= 0) {
        pending->watched = true;
        return -EAGAIN;
    }
    error_set(error, "listener cannot watch one more: %s", error_text(error));
    turn_away(listener, steal_fd(&pending->fd), error);
    drop(listener, pending);
    return short_of_something(error) ? error : -EAGAIN;
}

/* The kernel has somebody for us, but no descriptor to put it at. */
static int no_descriptors(struct hawser_listener *listener, int error) {
    if (listener->spare >= 0) {
        sys_close(steal_fd(&listener->spare));
        int fd = sys_accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            error_note(error, "listener has no descriptors left");
            turn_away(listener, fd, error);
        }
        keep_spare(listener);
    }
    return error_note(error, "no descriptors left: who connected was turned away; raise RLIMIT_NOFILE");
}

static int accept_one(struct hawser_listener *listener, int *ret_fd) {
    int fd;
    do
        fd = sys_accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd == -EINTR || fd == -ECONNABORTED || fd == -EPROTO);
    if (fd == -EMFILE || fd == -ENFILE)
        return no_descriptors(listener, fd);
    if (fd == -ENOMEM || fd == -ENOBUFS)
        return error_note(-ENOMEM, "no memory to accept one that connects");
    if (fd == -EBADF || fd == -EINVAL || fd == -ENOTSOCK || fd == -EOPNOTSUPP)
        return error_set(fd, "cannot accept: %s", error_text(fd));
    if (fd < 0) /* nobody, or errors of the network that tcp passes on: they are the newcomer's, not ours */
        return -EAGAIN;
    *ret_fd = fd;
    return 0;
}

/* ---- Steps ---- */

/* Moves one hello on. -EAGAIN: it goes on, or was dropped for a fault of its own. */
static int greet(struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    int fd = pending->fd;
    int error = listener->transport->greet(listener, pending, ret_link);
    if (error == -EAGAIN)
        return -EAGAIN;
    if (error >= 0) {
        unwatch(listener, pending, fd); /* it lives on as the link's */
        pending->fd = -1;
    }
    drop(listener, pending);
    return error >= 0 ? 0 : short_of_something(error) ? error : -EAGAIN;
}

/* Who has just connected is about to speak, on its own CPU: to sleep until then would cost more than to wait. For once in a
 * step, and rarely after one who did not. */
static int await_hello(struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    if (!listener->local || listener->silent > 0 || process_apart(pending->pid) <= 0) {
        listener->silent -= listener->silent > 0;
        return -EAGAIN;
    }
    int64_t until = clock_now() + HELLO_SPIN_NS;
    int error;
    do {
        cpu_pause();
        error = greet(listener, pending, ret_link);
    } while (error == -EAGAIN && pending->fd >= 0 && clock_now() < until);
    listener->silent = error == -EAGAIN ? SILENT : 0;
    return error;
}

/* Takes in one that connects, and hears it if it speaks by now. -EAGAIN: *ret_pending is to be heard later, if not NULL. */
static int accept_next(struct hawser_listener *listener, struct pending **ret_pending, struct link **ret_link) {
    struct pending *pending;
    int fd = -1;
    int error = accept_one(listener, &fd);
    if (error)
        return error == -EAGAIN ? -ENOENT : error;
    error = take_in(listener, fd, &pending);
    if (error)
        return error;
    error = greet(listener, pending, ret_link);
    if (error == -EAGAIN && pending->fd >= 0)
        error = await_hello(listener, pending, ret_link);
    if (error == -EAGAIN && pending->fd >= 0) {
        error = expect_hello(listener, pending);
        *ret_pending = pending;
    }
    return error;
}

/* Ends when nobody is left; and at the first that has not spoken yet: it is heard again before who comes after it is, as one
 * program may have made both connections, one after the other. */
static int accept_some(struct hawser_listener *listener, struct link **ret_link) {
    for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct pending *pending = NULL;
        int error = accept_next(listener, &pending, ret_link);
        if (error == -ENOENT)
            break;
        if (error != -EAGAIN)
            return error;
        if (pending)
            break;
    }
    return -EAGAIN;
}

struct look {
    struct pollfd fds[PENDING_MAX + 2]; /* wake, the listener's, then hellos */
    struct pending *pending[PENDING_MAX + 2];
    unsigned n;
};

/* Which of them have something: one system call, however many there are. */
static void look_at_all(struct hawser_listener *listener, struct look *look) {
    static const struct timespec at_once = { 0, 0 };
    look->fds[0] = (struct pollfd){ .fd = listener->wake, .events = POLLIN };
    look->fds[1] = (struct pollfd){ .fd = listener->fd, .events = POLLIN };
    look->n = 2;
    for (unsigned i = 0; i < PENDING_MAX && look->n < listener->n_pending + 2; i++)
        if (listener->pending[i].fd >= 0) {
            look->fds[look->n] = (struct pollfd){ .fd = listener->pending[i].fd, .events = POLLIN };
            look->pending[look->n++] = &listener->pending[i];
        }
    if (sys_ppoll(look->fds, look->n, &at_once, NULL) < 0)
        for (unsigned i = 0; i < look->n; i++)
            look->fds[i].revents = POLLIN; /* then all are tried */
}

/* An interrupt that nobody has taken yet stays readable: whoever sleeps next must wake for it. */
static void clear_wake(struct hawser_listener *listener) {
    static const uint64_t one = 1;
    uint64_t count;
    sys_read(listener->wake, &count, sizeof count); /* non-blocking */
    if (load_seq_cst(&listener->interrupted))       /* pairs with hawser_listener_interrupt: it stores before it writes */
        sys_write(listener->wake, &one, sizeof one);
}

static int step(struct hawser_listener *listener, struct link **ret_link) {
    struct look look;
    int error = -EAGAIN;
    drop_overdue(listener);
    keep_spare(listener);
    look_at_all(listener, &look);
    if (look.fds[0].revents)
        clear_wake(listener);
    if (listener->transport->accept)
        return listener->transport->accept(listener, ret_link);
    for (unsigned i = 2; i < look.n && error == -EAGAIN; i++)
        if (look.fds[i].revents)
            error = greet(listener, look.pending[i], ret_link);
    if (error == -EAGAIN && look.fds[1].revents)
        error = accept_some(listener, ret_link);
    return error;
}

static int step_locked(struct hawser_listener *listener, struct link **ret_link) {
    if (listener->kept) {
        *ret_link = steal_pointer(&listener->kept);
        return 0;
    }
    int error = step(listener, ret_link);
    watch(listener,
          listener->spare >= 0); /* without a spare one a newcomer could not even be turned away: do not spin on it */
    set_timer(listener);
    return error;
}

int listener_step(struct hawser_listener *listener, struct link **ret_link) {
    lock_acquire(&listener->lock);
    int error = step_locked(listener, ret_link);
    lock_release(&listener->lock);
    return error;
}

int listener_ready(struct hawser_listener *listener) {
    static const uint64_t one = 1;
    struct link *link;
    lock_acquire(&listener->lock);
    int error = step_locked(listener, &link);
    if (!error) {
        listener->kept = link;
        sys_write(listener->wake, &one, sizeof one); /* who sleeps on epoll alone must see it too */
    }
    lock_release(&listener->lock);
    /* Who was turned away for want of something was told; others that are polled are not to suffer for it. */
    return error == -EAGAIN || short_of_something(error) ? 0 : 1;
}

/* Failing does no harm: it is made when it is needed. A large ring would keep whoever accepts busy beyond its timeout. */
static void prepare(struct hawser_listener *listener) {
    const struct transport *transport = listener->transport;
    struct link *link;
    if (listener->prepared || !transport->prepare || listener->options.ring > PREPARED_RING ||
        transport->create(&listener->options, LINK_LISTEN, &link) < 0)
        return;
    if (transport->prepare(link) < 0)
        transport->close(link, true);
    else
        listener->prepared = link;
}

int64_t listener_sleep(struct hawser_listener *listener, struct sleep_set *set) {
    sleep_add(set, listener->epoll, POLLIN);
    lock_acquire(&listener->lock);
    prepare(listener);
    int64_t deadline = earliest(listener);
    lock_release(&listener->lock);
    return deadline;
}

int listener_interrupted(struct hawser_listener *listener) {
    /* pairs with hawser_listener_interrupt */
    if (load_relaxed(&listener->interrupted) == 0 || exchange_seq_cst(&listener->interrupted, 0) == 0)
        return 0;
    return error_note(-ECANCELED, "interrupted");
}

/* ---- Public ---- */

static int listener_deinit(struct hawser_listener *listener, int error) {
    int fds[] = { listener->fd, listener->spare, listener->epoll, listener->wake, listener->timer };
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
        cleanup_close(&fds[i]);
    memory_free(listener);
    return error;
}

static int listener_init(struct hawser_listener *listener) {
    struct epoll_event event = { .events = EPOLLIN };
    listener->fd = listener->spare = listener->epoll = listener->wake = listener->timer = listener->watched = -1;
    listener->self = process_self();
    for (unsigned i = 0; i < PENDING_MAX; i++)
        listener->pending[i].fd = -1;
    int error = listener->epoll = sys_epoll_create1(EPOLL_CLOEXEC);
    if (error >= 0)
        error = listener->wake = sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (error >= 0)
        error = sys_epoll_ctl(listener->epoll, EPOLL_CTL_ADD, listener->wake, &event);
    if (error >= 0) {
        keep_spare(listener);
        error = listener->spare;
    }
    return error < 0 ? error_set(error, "cannot make a listener's descriptors: %s", error_text(error)) : 0;
}

static int listen_on(struct hawser_listener *listener, const char *text) {
    char what[HAWSER_ADDRESS_MAX + 8];
    int error = listener_init(listener);
    if (error)
        return error;
    error = listener->transport->listen(listener);
    if (!error) {
        error = watch(listener, true);
        if (error)
            listener->transport->unlisten(listener);
    }
    if (error < 0 && error != -EINVAL) { /* those point at the address already */
        snprintf(what, sizeof what, "listen %s", text);
        return error_within(error, what);
    }
    return error;
}

static int listener_new(const struct address *address, const struct options *options, hawser_listener **ret_listener) {
    struct hawser_listener *listener = memory_new(sizeof *listener);
    if (!listener)
        return error_note(-ENOMEM, "no memory for a listener");
    listener->transport = address->transport;
    listener->options = *options;
    listener->address = *address;
    int error = listen_on(listener, address->text);
    if (error)
        return listener_deinit(listener, error);
    if (!listener->bound[0])
        memcpy(listener->bound, address->text, sizeof listener->bound);
    *ret_listener = listener;
    return 0;
}

int listener_open(const struct address *address, const struct options *options, hawser_listener **ret_listener) {
    int error;
    do
        error = listener_new(address, options, ret_listener);
    while (error == -EINTR);
    return error;
}

HAWSER_PUBLIC int hawser_listen(const char *text, const hawser_options *given, hawser_listener **ret_listener) {
    struct address address;
    struct options options;
    if (!ret_listener)
        return error_note(-EINVAL, "ret_listener is NULL");
    int error = address_parse(text, &address);
    if (!error)
        error = options_resolve(given, &address, &options);
    if (error)
        return error;
    if (!address.transport->listen)
        return error_set(-EOPNOTSUPP, "listen %s: %s has no listeners", address.text, address.transport->scheme);
    error = access_keepable(address.transport->scheme, address.transport->capabilities, &options);
    return error ? error : listener_open(&address, &options, ret_listener);
}

static int enter(const struct hawser_listener *listener) {
    if (!listener)
        return error_note(-EINVAL, "the listener is NULL");
    if (listener->self != process_self())
        return error_note(-EPERM, "the listener belongs to the process that made it, before fork");
    return 0;
}

static int accept_link(struct hawser_listener *listener, int64_t deadline, struct link **ret_link) {
    for (;;) {
        int error = listener_interrupted(listener);
        if (!error)
            error = listener_step(listener, ret_link);
        if (error != -EAGAIN)
            return error;
        if (deadline == DEADLINE_PAST)
            return error_note(-EAGAIN, "nobody waits to be accepted");
        if (deadline_passed(deadline))
            return error_note(-ETIMEDOUT, "nobody connected in time");
        struct pollfd fds[2]; /* epoll and the waker */
        struct sleep_set set = { .fds = fds };
        int64_t step_deadline = listener_sleep(listener, &set);
        /* An interrupt since the look above has made the wake descriptor readable, and it stays so until somebody takes
         * it. */
        sleep_until(&set, waker_self(), deadline_earlier(deadline, step_deadline));
    }
}

HAWSER_PUBLIC int hawser_accept(hawser_listener *listener, int64_t timeout, hawser_channel **ret_channel) {
    struct link *link;
    int error = enter(listener);
    if (error)
        return error;
    if (timeout < HAWSER_FOREVER || !ret_channel)
        return error_note(-EINVAL, timeout < HAWSER_FOREVER ? "the timeout is negative" : "ret_channel is NULL");
    error = accept_link(listener, deadline_after(timeout), &link);
    if (error)
        return error;
    error = channel_new(link, ret_channel);
    if (error)
        listener->transport->close(link, true);
    return error;
}

HAWSER_PUBLIC const char *hawser_listener_address(const hawser_listener *listener) {
    return listener ? listener->bound : NULL;
}

/* Who sleeps on the descriptor alone would never drop an overdue hello: a timer joins the set. */
static int make_timer(struct hawser_listener *listener) {
    struct epoll_event event = { .events = EPOLLIN };
    cleanup_fd timer = sys_timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int error = timer < 0 ? timer : sys_epoll_ctl(listener->epoll, EPOLL_CTL_ADD, timer, &event);
    if (error < 0)
        return error_set(error, "cannot make the listener's timer: %s", error_text(error));
    listener->timer = steal_fd(&timer);
    set_timer(listener);
    return 0;
}

HAWSER_PUBLIC int hawser_listener_fd(hawser_listener *listener, int *ret_fd) {
    int error = enter(listener);
    if (error)
        return error;
    if (!ret_fd)
        return error_note(-EINVAL, "ret_fd is NULL");
    lock_acquire(&listener->lock);
    while (listener->timer < 0 && (error == 0 || error == -EINTR))
        error = make_timer(listener);
    lock_release(&listener->lock);
    if (!error)
        *ret_fd = listener->epoll;
    return error;
}

HAWSER_PUBLIC void hawser_listener_interrupt(hawser_listener *listener) {
    static const uint64_t one = 1;
    if (!listener || listener->self != process_self())
        return;
    int saved = errno;
    store_seq_cst(&listener->interrupted, 1); /* before the write; pairs with clear_wake and listener_interrupted */
    sys_write(listener->wake, &one, sizeof one);
    errno = saved;
}

HAWSER_PUBLIC hawser_listener *hawser_listener_close(hawser_listener *listener) {
    if (!listener)
        return NULL;
    bool owner = listener->self == process_self();
    for (unsigned i = 0; i < PENDING_MAX; i++)
        cleanup_close(&listener->pending[i].fd);
    if (listener->kept)
        listener->transport->close(listener->kept, owner);
    if (listener->prepared)
        listener->transport->close(listener->prepared, owner);
    if (owner)
        listener->transport->unlisten(listener);
    listener_deinit(listener, 0);
    return NULL;
}
