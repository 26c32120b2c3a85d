/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Signals that are waited for, not handled: their names, sending one with a value to a pidfd, and taking the next of a set. */

#include "base/sys.h"
#include "wait/ladder.h"

#define SIGNAL_LAST 64 /* the kernel's _NSIG; MIPS has more, which nobody here can use */

/* "SIGRTMIN+3", "RTMAX-1", "SIGUSR1", "USR1", "37". -EINVAL without a sentence. */
int signal_parse(const char *text, int *ret_signal);

/* The reverse; of what has no name "SIG32". */
void signal_print(int signal, char *ret_name, size_t capacity);

/* The thread's mask gains the set; *ret_before is what it was. */
int signals_block(const sigset_t *set, sigset_t *ret_before);

/* The mask loses what is in the set and was not in `before`. */
void signals_unblock(const sigset_t *set, const sigset_t *before);

/* Queues a signal with a value, as sigqueue(3), to a pidfd: 0, -EAGAIN (RLIMIT_SIGPENDING), -ESRCH, -EPERM, -EINVAL. pid: our own, for
 * the sender's claim. Async-signal-safe. */
int signal_queue(int pidfd, int signal, uint64_t value, pid_t pid);

/* Takes the next signal of a set that the calling thread blocks; waits by the ladder. -EAGAIN (DEADLINE_PAST), -ETIMEDOUT, both
 * without a sentence. */
int signals_take(const sigset_t *set, struct ladder *ladder, int64_t deadline, siginfo_t *ret_information);

/* Takes and drops what waits. */
void signals_drop(const sigset_t *set);

/* Does the code carry a value? Then it is in *ret_value. */
bool signal_value(const siginfo_t *information, uint64_t *ret_value);

/* For waits on whom nobody knows: may this thread run on two CPUs at once with somebody? 1, or -1: learn. */
int signals_apart(void);
