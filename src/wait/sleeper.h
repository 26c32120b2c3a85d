/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Sleeping on descriptors, and waking a thread of this process from another thread or a signal handler.
 *
 * Each thread that ever sleeps has a waker, an eventfd that only this process holds. When the thread ends its
 * waker goes back to a pool and is never closed: a waker written to too late rings for its next owner, who takes
 * that for a spurious wake. */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The descriptors one sleep is about. The array is the caller's and large enough: LINK_SLEEP_MAX a link, and one more
 * for the waker. */
struct sleep_set {
    struct pollfd *fds;
    unsigned count;
    bool brief; /* sleep for BRIEF_NS at most: what is waited for does not wake */
    bool may_nap;         /* asked: the sleep may begin with a nap on a word ... */
    const uint32_t *word; /* ... this one (told: nap_on_word(), and nothing else) */
};

#define BRIEF_NS 1000000

static inline void sleep_add(struct sleep_set *set, int fd, short events) {
    if (fd >= 0)
        set->fds[set->count++] = (struct pollfd){ .fd = fd, .events = events };
}

/* The calling thread's waker, made at its first call. -EMFILE and the like: sleep_until() then naps. */
int waker_self(void);

/* One more, for a sleeper that is no thread; and back: never closed, for the reason above. Negative errno. */
int waker_new(void);
void waker_give_back(int waker);

/* Async-signal-safe; keeps errno. */
void waker_wake(int waker);

/* Sleeps until a descriptor of the set is ready, the thread's waker rings or the deadline comes. Returns how many
 * descriptors (the waker not counted) have revents; 0 also for a spurious wake; never fails. */
int sleep_until(struct sleep_set *set, int waker, int64_t deadline);

/* How long it is until the deadline, in *timeout; NULL: without end. */
struct timespec *sleep_timeout(int64_t deadline, struct timespec *timeout);

/* A nap is the short first part of a sleep, in a receive on a socket of ours: its waiter is woken more cheaply than one that
 * polls several descriptors, but hears of nothing else meanwhile. */
#define NAP_NS 10000000

/* Makes the socket fit for naps: blocking, with a timeout. Every other call on it must say MSG_DONTWAIT. 0 or a negative errno. */
int nap_prepare(int socket);

/* True: there is something to receive (nothing is taken), or the end. False: the nap is over, or a signal came. */
bool nap_on(int socket);

/* The same on a word of shared memory, which somebody makes other than 0 and then wakes (word_wake); it need not be writable
 * here. True: it is worth a look. False: the nap is over, or a signal
 * came: signals in quick succession must not keep one napping that has a death to hear of. *ret_rung: somebody woke it, with or without cause. */
bool nap_on_word(const uint32_t *word, bool *ret_rung);

/* Wakes one that naps on the word. */
void word_wake(const uint32_t *word);
