/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_SIGNAL_H
#define HAWSER_SIGNAL_H

/* Signals as messages of 64 bits: queued between processes, received by a call and not by a handler, sent to a process that cannot
 * be mistaken for another.
 *
 * Trust: whoever may signal this process (its own user, and root) can send it any signal. Who sent it, hawser_signal_info.pid and
 * .uid, is what the sender claims: code SI_QUEUE (-1) lets it write there what it likes. Do not decide by it. Processes that need
 * to know who is there use a channel (hawser_peer()) or an event (event.h), where the kernel vouches.
 *
 * Real-time signals (SIGRTMIN to SIGRTMAX) queue: each that was sent arrives, with its value, in the order of their numbers and of
 * one number in the order they were sent; where there is no room for one more the sender is told (-EAGAIN), and nothing is lost.
 * Ordinary ones (SIGUSR1, SIGTERM, SIGCHLD, ...) can be received and sent the same way, but the kernel keeps only one of each pending:
 * another that is sent meanwhile is merged into it, its value lost. Of the 64-bit value, 32-bit processes see the lower half.
 *
 * The order of SIGRTMIN differs between C libraries (glibc 34, musl 35): between programs of both, agree on numbers. */

#include <hawser/options.h>
#include <sys/types.h>

HAWSER_BEGIN

typedef struct hawser_signal_receiver hawser_signal_receiver;
typedef struct hawser_signal_target hawser_signal_target;

#define HAWSER_SIGNAL_NAME_MAX 16 /* bytes of a signal's name, its NUL included */

/* A signal that arrived. */
struct hawser_signal_info {
    size_t struct_size; /* sizeof(struct hawser_signal_info); set by HAWSER_SIGNAL_INFO_INIT */
    int signal;         /* its number */
    int code;           /* si_code of sigaction(2): SI_QUEUE (-1) with a value, SI_USER (0) by kill(2), CLD_EXITED, ... */
    uint64_t value;     /* what was sent with it; 0 where the code carries none */
    pid_t pid;          /* whom the sender claims to be; 0 where the code has none */
    uid_t uid;
    uint64_t reserved[4];
};

#define HAWSER_SIGNAL_INFO_INIT { .struct_size = sizeof(struct hawser_signal_info) }

/* Opens a receiver of n (1 to 64) signals, and BLOCKS them in the calling thread (pthread_sigmask(3)): a signal is received only where
 * no thread lets it through. So open receivers before other threads are made, which inherit what is blocked, or block the signals
 * there too; else a signal of the process hits a thread that does not block it, as it did before, and most then end the process.
 * options: NULL, or wait (see hawser_options(3)); all else has no effect.
 * Errors: -EINVAL (no signals, one that is no signal, or that cannot be blocked: SIGKILL, SIGSTOP), -ENOMEM. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_open(const int *signals, size_t n, const hawser_options *options,
                                                       hawser_signal_receiver **ret_receiver);

/* Waits for the next signal that was sent to the process, or to the calling thread. ret_info must be set up by
 * HAWSER_SIGNAL_INFO_INIT.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW), -EINVAL, -EPERM (a process forked from the one that opened it: its signals are its own,
 * let it open a receiver of its own). One thread at a time. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_wait(hawser_signal_receiver *receiver, int64_t timeout,
                                                       struct hawser_signal_info *ret_info);

/* A descriptor for epoll, made at the first call (a signalfd): readable when hawser_signal_wait() with HAWSER_NOW will not be -EAGAIN.
 * It belongs to the receiver; do not read it. Errors: -EINVAL, -EPERM, -EMFILE, -ENFILE, -ENOMEM. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_fd(hawser_signal_receiver *receiver, int *ret_fd);

/* Takes and drops what still waits, then lets those signals through again that hawser_signal_open() blocked, if called in the same
 * thread; in another thread what is blocked stays so. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_signal_receiver *hawser_signal_close(hawser_signal_receiver *receiver);

/* Takes hold of a process, so that what is sent can never hit another that got its pid later (a pidfd). That pid is the right one
 * NOW is for the caller to know: his own child that he has not waited for, hawser_peer().pid, or better hawser_peer().pidfd below.
 * Errors: -EINVAL (also: of a thread that is not a process's first), -ESRCH (no such process), -EMFILE, -ENFILE, -ENOMEM. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_target_pid(pid_t pid, hawser_signal_target **ret_target);

/* The same of a pidfd, which is duplicated and stays the caller's. Errors: -EBADF (no descriptor), -EINVAL (no pidfd), -EMFILE. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_target_pidfd(int pidfd, hawser_signal_target **ret_target);

/* Sends a signal with a value; does not wait. signal 0 sends nothing, and tells whether it could be done.
 * Errors: -EAGAIN (the target's user has as many signals queued as RLIMIT_SIGPENDING of the target allows; nothing was sent; for an
 * ordinary signal the kernel does not tell, and sends it without its value), -ESRCH (the process is gone), -EPERM (it is another
 * user's, or in a pid namespace that is not below ours), -EINVAL (no signal). Any thread; async-signal-safe. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_send(hawser_signal_target *target, int signal, uint64_t value);

/* Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_signal_target *hawser_signal_target_close(hawser_signal_target *target);

/* The number of "SIGRTMIN+3", "RTMIN+3", "SIGRTMAX-1", "SIGUSR1", "USR1" or "37". -EINVAL: none of them. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_number(const char *name, int *ret_signal);

/* The name of a number: "SIGUSR1", "SIGRTMIN+3"; of those that have none, "SIG32". -EINVAL: no signal. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_signal_name(int signal, char ret_name[HAWSER_SIGNAL_NAME_MAX]);

HAWSER_END

#endif
