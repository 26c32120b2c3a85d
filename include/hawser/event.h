/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_EVENT_H
#define HAWSER_EVENT_H

/* An event is a doorbell: some processes raise it, with a number, and one waits. Nothing blocks a raiser: what is raised while
 * nobody waits adds up.
 *
 *   address               over                          unnamed   for
 *   eventfd://NAME        an eventfd for each raiser     yes       a waiter that does not trust its raisers
 *   event://NAME          the same: the default
 *   futex://NAME          a word in shared memory        yes       processes that trust each other; cannot be polled
 *   signal://NAME?signal= a queued real-time signal      yes       processes of one user; handlers
 *
 * Who must trust whom. By name or ticket over eventfd, each raiser has an eventfd of its own: whatever it does with it (drain, fill, flood)
 * or with its connection, other raisers do not notice, and the waiter's work is bounded by the hostile one's own; but numbers are sums, so
 * whoever may raise can add what it likes. A raiser need not trust its waiter with anything but this: a hostile waiter can make
 * hawser_event_raise() hang; who cannot have that uses hawser_send() with HAWSER_NOW on a channel. An unnamed event shared by
 * fork has one eventfd: its processes trust each other. Over futex all can write the same memory: they trust each other. Over signal
 * every process of the user (and root) can raise it, with or without the name, and the waiter cannot tell.
 *
 * Unnamed ("eventfd://", "futex://", "signal://?signal=SIGRTMIN+3") an event is shared by fork, where the same handle serves all, or
 * by a ticket (hawser_event_export()) that travels by any means. By name it lies where channels' names do.
 *
 * Two sides: the waiter makes it (hawser_event_create()), raisers open it (hawser_event_open(), hawser_event_adopt()). When the waiter
 * closes or dies, raising is -EPIPE within some ms of the kernel showing it; an event over eventfd or futex that is shared by fork has no one
 * waiter, and nobody is told. When
 * a raiser closes or dies the waiter is not told, but gets all it had raised.
 *
 * The waiter by name welcomes raisers inside hawser_event_wait(): hawser_event_open() waits until then.
 *
 * Threads: any number may raise; one at a time may make the other calls. Processes after fork: an event over eventfd or futex that was
 * made unnamed can be used by all; else only its maker can wait, export and handle (-EPERM), all can raise. */

#include <hawser/options.h>

HAWSER_BEGIN

typedef struct hawser_event hawser_event;

#define HAWSER_EVENT_MOST (UINT64_MAX - 1) /* what a raiser's raises can add up to before the waiter takes them */

/* Makes an event; the caller is its waiter. address: see above; options: NULL, or users, groups, admit (who may open it; over futex
 * users and groups only), hello_timeout, wait. Over signal, `signal=` in the address names a real-time signal that nothing else in
 * the process uses; it is BLOCKED in the calling thread (pthread_sigmask(3)): make the event before other threads, which inherit that,
 * or block it there, too, as a thread that does not block it is hit by it instead, and ended with the process.
 * Errors: -EINVAL (the sentence points at the character), -EADDRINUSE (it has a live waiter), -EACCES, -EOPNOTSUPP,
 * -ENAMETOOLONG, -EMFILE, -ENFILE, -ENOMEM, -ENOSPC. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_create(const char *address, const hawser_options *options, hawser_event **ret_event);

/* Opens an event by name to raise it, waiting up to timeout for its waiter to appear and to welcome us. options: NULL, or peer (whom
 * the waiter must run as; default own user or root).
 * Errors: -EINVAL, -ETIMEDOUT or -EAGAIN (no waiter, or it has too many raisers: 256 of a user, 1024 in all), -EACCES (the waiter does not
 * admit us, or runs as another user than we expect), -EPROTO (no event, or one over something else), -EPERM (signal: the waiter is another
 * user's), -EMFILE, -ENFILE, -ENOMEM. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_open(const char *address, const hawser_options *options, int64_t timeout,
                                                      hawser_event **ret_event);

/* Adds value (1 to HAWSER_EVENT_MOST) to what the waiter will get, and wakes it. Over signal it is queued as it is: one wait for each
 * raise. Does not wait.
 * Errors: -EAGAIN (the sum would exceed HAWSER_EVENT_MOST, over signal: RLIMIT_SIGPENDING; nothing was raised), -EPIPE (the waiter is
 * gone), -EINVAL. Any thread; async-signal-safe (over futex in a forked child: from its first call on the event on, which joins). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_raise(hawser_event *event, uint64_t value);

/* Waits until the event is raised; *ret_value is the sum of what was raised since the last wait (what does not fit 64 bits is left for
 * the next); over signal the value of the next raise, 1 where a plain kill(2) raised it. Welcomes raisers meanwhile. With a handler
 * it does only that.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW), -EINVAL, -EPERM (not the waiter, or a process forked from it). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_wait(hawser_event *event, int64_t timeout, uint64_t *ret_value);

/* A descriptor for epoll, the waiter's: readable (level-triggered) when hawser_event_wait() with HAWSER_NOW is worth a try, also for a
 * raiser to be welcomed. It belongs to the event; do not read it. Errors: -EPERM, -EOPNOTSUPP (futex), -EMFILE, -ENFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_fd(hawser_event *event, int *ret_fd);

/* A ticket: a descriptor that lets other processes raise this event (hawser_event_adopt()), any number of times; it travels by exec,
 * SCM_RIGHTS or hawser_send_fds(), and is the caller's. Over eventfd, all who adopt the same ticket share one eventfd: give each that
 * you do not trust a ticket of its own. Only the waiter gives them, over futex all.
 * Errors: -EPERM, -EMFILE, -ENFILE, -ENOMEM, -EUSERS (1024 raisers). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_export(hawser_event *event, int *ret_fd);

/* Opens what a ticket carries, to raise it. The ticket stays open, and the caller's. options: NULL, or peer: whom the waiter must run as
 * (default: whoever gave the ticket).
 * Errors: -EBADF, -EPROTO (no ticket of an event), -EACCES, -EPIPE (its waiter is gone), -EPERM, -EMFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_adopt(int fd, const hawser_options *options, hawser_event **ret_event);

/* ---- Interrupts: over signal only ---- */

/* Runs in the interrupted thread, with the value of one raise. It may call: hawser_event_raise(), hawser_event_mask(),
 * hawser_event_unmask(), hawser_signal_send(), hawser_interrupt(), hawser_listener_interrupt(), and what signal-safety(7) allows; nothing
 * else of hawser, no malloc, no printf; and it touches data of the interrupted thread as volatile sig_atomic_t or atomics. errno and
 * hawser_explain() are kept for the thread. */
typedef void hawser_event_function(void *context, uint64_t value);

/* From now on each raise interrupts the calling thread and runs function in it, instead of waiting for a hawser_event_wait().
 * NULL: no longer. Handlers of hawser's events do not nest: one that comes while another runs waits for its end. Its system calls that
 * can are restarted (SA_RESTART). For this the disposition of the event's signal is changed, the only one hawser ever changes; what it
 * was comes back with NULL or hawser_event_close(). The thread must live until then, and is the one that may take the handler away, or close
 * the event. A thread that does not block the signal and is hit in its stead passes the raise on.
 * Errors: -EOPNOTSUPP (not over signal), -EPERM (not the waiter, or another thread's handler), -EBUSY (another event has a handler for
 * the same signal), -EINVAL (also: called in a handler). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_event_handler(hawser_event *event, hawser_event_function *function, void *context);

/* Holds the handler back; what is raised meanwhile queues. Counted: as many hawser_event_unmask() let it run again. By the
 * handler's thread; also in a handler of this event or another, where it counts from its end on, but not in one of a signal that
 * hawser does not handle: the kernel undoes it there.
 * Errors: -EPERM (another thread's handler), -EINVAL (no handler, or, unmask, not masked). */
HAWSER_PUBLIC int hawser_event_mask(hawser_event *event);
HAWSER_PUBLIC int hawser_event_unmask(hawser_event *event);

/* The waiter gives the name back. Over signal what still waits is dropped, then the signal let through again if it was before and the
 * thread is the same; a raise that comes later still meets the signal's disposition, by default the end of the process: first let the
 * raisers go, or ignore the signal. Not in a handler. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_event *hawser_event_close(hawser_event *event);

HAWSER_END

#endif
