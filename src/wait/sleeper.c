/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Wakers are handed out per thread and never closed, so that a late write to one can only wake its next owner for
 * nothing. A forked child shares its parent's eventfds in the kernel: it leaves them alone and makes its own. */

#include "wait/sleeper.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>

static struct {
    struct lock lock;
    uint32_t self; /* whose pool this is */
    int *free;
    unsigned n, capacity;
} pool;

static _Thread_local struct {
    uint32_t self; /* the process that made it; another: none */
    int fd;
} own;

static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool pool_reserve(void) {
    if (pool.n < pool.capacity)
        return true;
    unsigned capacity = pool.capacity * 2 + 16;
    int *larger = memory_resize(pool.free, capacity * sizeof *larger);
    if (!larger)
        return false;
    pool.free = larger;
    pool.capacity = capacity;
    return true;
}

/* Where the pool cannot grow a waker is lost, not closed. */
void waker_give_back(int waker) {
    lock_acquire(&pool.lock);
    if (pool.self == process_self() && pool_reserve())
        pool.free[pool.n++] = waker;
    lock_release(&pool.lock);
}

/* A thread ends. */
static void give_back(void *unused) {
    (void)unused;
    if (own.self != process_self())
        return;
    own.self = 0;
    waker_give_back(own.fd);
}

static void make_key(void) {
    if (pthread_key_create(&at_exit, give_back) != 0)
        at_exit = (pthread_key_t)-1;
}

static int pool_take(void) {
    int fd = -1;
    lock_acquire(&pool.lock);
    if (pool.self != process_self()) { /* the parent's: its descriptors are not ours to ring */
        pool.self = process_self();
        pool.n = 0;
    }
    if (pool.n > 0)
        fd = pool.free[--pool.n];
    lock_release(&pool.lock);
    return fd;
}

int waker_new(void) {
    int fd = pool_take();
    return fd < 0 ? sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : fd;
}

int waker_self(void) {
    if (own.self == process_self())
        return own.fd;
    int fd = waker_new();
    if (fd < 0)
        return fd;
    own.self = process_self();
    own.fd = fd;
    pthread_once(&once, make_key);
    if (at_exit != (pthread_key_t)-1)
        pthread_setspecific(at_exit, &own);
    return fd;
}

void waker_wake(int waker) {
    int saved = errno;
    uint64_t one = 1;
    sys_write(waker, &one, sizeof one); /* -EAGAIN: it rings already */
    errno = saved;
}

static void waker_clear(int waker) {
    uint64_t count;
    sys_read(waker, &count, sizeof count);
}

/* NULL: without end. */
static struct timespec *until(int64_t deadline, int64_t most_ns, struct timespec *timeout) {
    if (deadline == DEADLINE_NEVER && most_ns == INT64_MAX)
        return NULL;
    int64_t left = deadline == DEADLINE_NEVER ? most_ns : deadline == DEADLINE_PAST ? 0 : deadline - clock_now();
    if (left > most_ns)
        left = most_ns;
    if (left < 0)
        left = 0;
    *timeout = (struct timespec){ .tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000) };
    return timeout;
}

struct timespec *sleep_timeout(int64_t deadline, struct timespec *timeout) { return until(deadline, INT64_MAX, timeout); }

int sleep_until(struct sleep_set *set, int waker, int64_t deadline) {
    struct timespec timeout;
    unsigned n = set->count;
    if (waker >= 0)
        set->fds[n++] = (struct pollfd){ .fd = waker, .events = POLLIN };
    int64_t most_ns = set->brief ? BRIEF_NS : waker < 0 ? NAP_NS : INT64_MAX; /* without a waker an interrupt is noticed by looking */
    int ready = sys_ppoll(set->fds, n, until(deadline, most_ns, &timeout), NULL);
    if (ready > 0 && waker >= 0 && set->fds[n - 1].revents) {
        waker_clear(waker);
        ready--;
    }
    if (ready >= 0)
        return ready;
    for (unsigned i = 0; i < n; i++) /* EINTR, ENOMEM: a spurious wake */
        set->fds[i].revents = 0;
    return 0;
}

int nap_prepare(int socket) {
    struct timeval timeout = { .tv_usec = NAP_NS / 1000 };
    int flags = sys_fcntl(socket, F_GETFL, 0);
    int r = flags < 0 ? flags : sys_setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return r < 0 ? r : sys_fcntl(socket, F_SETFL, flags & ~O_NONBLOCK);
}

bool nap_on(int socket) {
    char byte;
    ssize_t got = sys_recv(socket, &byte, sizeof byte, MSG_PEEK);
    return got >= 0 || (got != -EAGAIN && got != -EINTR);
}

bool nap_on_word(const uint32_t *word, bool *ret_rung) {
    struct timespec timeout = { .tv_nsec = NAP_NS };
    long r = sys_futex((uint32_t *)(uintptr_t)word, FUTEX_WAIT, 0, &timeout, 0); /* [nap] */
    *ret_rung = r == 0;
    return r == 0 || r == -EAGAIN;
}

void word_wake(const uint32_t *word) { sys_futex((uint32_t *)(uintptr_t)word, FUTEX_WAKE, 1, NULL, 0); }
