/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A receiver is a set of blocked signals and who blocked them; a target is a pidfd. Neither has a state that another process
 * could touch. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "core/options.h"
#include "wait/signals.h"

#include <errno.h>
#include <hawser/signal.h>
#include <string.h>

struct hawser_signal_receiver {
    sigset_t set, before; /* before: the mask of the thread that opened it */
    const void *thread;   /* whose that is */
    uint32_t self;        /* process_self() of it */
    int fd;               /* signalfd; -1 until asked for */
    struct ladder ladder;
};

struct hawser_signal_target {
    int pidfd;
    pid_t pid;     /* our own, for what we claim ... */
    uint32_t self; /* ... of this process_self() */
};

/* ---- Receiving ---- */

static int check_signal(int signal) {
    char name[HAWSER_SIGNAL_NAME_MAX];
    if (signal < 1 || signal > SIGNAL_LAST)
        return error_set(-EINVAL, "%d is no signal", signal);
    if (signal != SIGKILL && signal != SIGSTOP)
        return 0;
    signal_print(signal, name, sizeof name);
    return error_set(-EINVAL, "%s cannot be received: the kernel lets nobody block it", name);
}

static int collect(const int *signals, size_t n, sigset_t *ret_set) {
    if (!signals || n == 0 || n > SIGNAL_LAST)
        return error_set(-EINVAL, "a receiver is of 1 to %d signals, not %zu", SIGNAL_LAST, signals ? n : 0);
    sigemptyset(ret_set);
    for (size_t i = 0; i < n; i++) {
        int error = check_signal(signals[i]);
        if (error)
            return error;
        if (sigaddset(ret_set, signals[i]) < 0)
            return error_set(-EINVAL, "signal %d is the C library's own", signals[i]);
    }
    return 0;
}

HAWSER_PUBLIC int hawser_signal_open(const int *signals, size_t n, const hawser_options *given,
                                     hawser_signal_receiver **ret_receiver) {
    static const struct address nowhere = { 0 };
    struct options options;
    sigset_t set;
    if (!ret_receiver)
        return error_note(-EINVAL, "ret_receiver is NULL");
    int error = options_resolve(given, &nowhere, &options);
    if (!error)
        error = collect(signals, n, &set);
    if (error)
        return error;
    hawser_signal_receiver *receiver = memory_new(sizeof *receiver);
    if (!receiver)
        return error_note(-ENOMEM, "no memory for a receiver of signals");
    *receiver = (hawser_signal_receiver){ .set = set, .thread = sys_thread_mark(), .self = process_self(), .fd = -1 };
    ladder_init(&receiver->ladder, options.wait, true, false);
    error = signals_block(&set, &receiver->before);
    if (error < 0) {
        memory_free(receiver);
        return error_set(error, "cannot block signals: %s", error_text(error));
    }
    *ret_receiver = receiver;
    return 0;
}

static int enter(const hawser_signal_receiver *receiver) {
    if (!receiver)
        return error_note(-EINVAL, "the receiver is NULL");
    if (receiver->self != process_self())
        return error_note(-EPERM, "the receiver belongs to the process that opened it, before fork");
    return 0;
}

/* Who sent it, where the code says that somebody did. */
static void describe(const siginfo_t *information, struct hawser_signal_info *ret_info) {
    uint64_t value = 0;
    bool sent = signal_value(information, &value) && information->si_code != SI_TIMER;
    ret_info->signal = information->si_signo;
    ret_info->code = information->si_code;
    ret_info->value = value;
    sent |= information->si_code == SI_USER || information->si_code == SI_TKILL || information->si_signo == SIGCHLD;
    ret_info->pid = sent ? information->si_pid : 0;
    ret_info->uid = sent ? information->si_uid : 0;
}

HAWSER_PUBLIC int hawser_signal_wait(hawser_signal_receiver *receiver, int64_t timeout, struct hawser_signal_info *ret_info) {
    siginfo_t information;
    int error = enter(receiver);
    if (error)
        return error;
    if (timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, "the timeout is negative");
    if (!ret_info || ret_info->struct_size < sizeof *ret_info)
        return error_note(-EINVAL, "hawser_signal_info: set the struct up with HAWSER_SIGNAL_INFO_INIT");
    int signal = signals_take(&receiver->set, &receiver->ladder, deadline_after(timeout), &information);
    if (signal > 0) {
        describe(&information, ret_info);
        return 0;
    }
    if (signal == -EAGAIN)
        return error_note(-EAGAIN, "no signal waits");
    if (signal == -ETIMEDOUT)
        return error_note(-ETIMEDOUT, "no signal came in time");
    return error_set(signal, "cannot wait for signals: %s", error_text(signal));
}

HAWSER_PUBLIC int hawser_signal_fd(hawser_signal_receiver *receiver, int *ret_fd) {
    int error = enter(receiver);
    if (error)
        return error;
    if (!ret_fd)
        return error_note(-EINVAL, "ret_fd is NULL");
    if (receiver->fd < 0) {
        int fd = sys_signalfd(-1, &receiver->set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
            return error_set(fd, "cannot make a signalfd: %s", error_text(fd));
        receiver->fd = fd;
    }
    *ret_fd = receiver->fd;
    return 0;
}

HAWSER_PUBLIC hawser_signal_receiver *hawser_signal_close(hawser_signal_receiver *receiver) {
    if (!receiver)
        return NULL;
    if (receiver->self == process_self() && receiver->thread == sys_thread_mark()) {
        signals_drop(&receiver->set);
        signals_unblock(&receiver->set, &receiver->before);
    }
    cleanup_close(&receiver->fd);
    memory_free(receiver);
    return NULL;
}

/* ---- Sending ---- */

static int target_new(int *pidfd, hawser_signal_target **ret_target) {
    hawser_signal_target *target = memory_new(sizeof *target);
    if (!target)
        return error_note(-ENOMEM, "no memory for a target of signals");
    *target = (hawser_signal_target){ .pidfd = steal_fd(pidfd), .pid = getpid(), .self = process_self() };
    *ret_target = target;
    return 0;
}

HAWSER_PUBLIC int hawser_signal_target_pid(pid_t pid, hawser_signal_target **ret_target) {
    if (!ret_target || pid <= 0)
        return error_set(-EINVAL, ret_target ? "%d is no process" : "ret_target is NULL", pid);
    cleanup_fd pidfd = sys_pidfd_open(pid, 0);
    if (pidfd == -ESRCH)
        return error_set(-ESRCH, "there is no process %d", pid);
    if (pidfd == -EINVAL || pidfd == -ENOENT) /* the latter from Linux 6.15 or so on */
        return error_set(-EINVAL, "%d is a thread, not a process", pid);
    if (pidfd < 0)
        return error_set(pidfd, "cannot take hold of process %d: %s", pid, error_text(pidfd));
    return target_new(&pidfd, ret_target);
}

HAWSER_PUBLIC int hawser_signal_target_pidfd(int pidfd, hawser_signal_target **ret_target) {
    if (!ret_target)
        return error_note(-EINVAL, "ret_target is NULL");
    cleanup_fd own = sys_fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return error_set(own, "cannot duplicate descriptor %d: %s", pidfd, error_text(own));
    int error = sys_pidfd_send_signal(own, 0, NULL, 0);
    if (error == -EBADF || error == -EINVAL)
        return error_set(-EINVAL, "descriptor %d is no pidfd, or of a pid namespace that is not below ours", pidfd);
    return target_new(&own, ret_target); /* other errors are for the one who sends */
}

/* No sentence is formatted here: a handler may call it. */
HAWSER_PUBLIC int hawser_signal_send(hawser_signal_target *target, int signal, uint64_t value) {
    if (!target)
        return error_note(-EINVAL, "the target is NULL");
    pid_t pid = target->self == process_self() ? target->pid : getpid();
    int error = signal_queue(target->pidfd, signal, value, pid);
    if (error >= 0)
        return 0;
    if (error == -EAGAIN)
        return error_note(-EAGAIN, "as many signals are queued for the target's user as its RLIMIT_SIGPENDING allows; nothing was sent");
    if (error == -ESRCH)
        return error_note(-ESRCH, "the process is gone");
    if (error == -EPERM)
        return error_note(-EPERM, "the process is another user's: only its user and root may signal it");
    return error_note(error, error == -EINVAL ? "there is no such signal, or the process is in a pid namespace that is not below ours"
                                              : "the signal cannot be sent");
}

HAWSER_PUBLIC hawser_signal_target *hawser_signal_target_close(hawser_signal_target *target) {
    if (target) {
        cleanup_close(&target->pidfd);
        memory_free(target);
    }
    return NULL;
}

/* ---- Names ---- */

HAWSER_PUBLIC int hawser_signal_number(const char *name, int *ret_signal) {
    if (!name || !ret_signal)
        return error_note(-EINVAL, name ? "ret_signal is NULL" : "the name is NULL");
    if (signal_parse(name, ret_signal) < 0)
        return error_set(-EINVAL, "\"%.32s\" is no signal; signals are called like SIGUSR1, SIGRTMIN+3 or 37", name);
    return 0;
}

HAWSER_PUBLIC int hawser_signal_name(int signal, char ret_name[HAWSER_SIGNAL_NAME_MAX]) {
    if (signal < 1 || signal > SIGNAL_LAST || !ret_name)
        return error_set(-EINVAL, ret_name ? "%d is no signal" : "ret_name is NULL", signal);
    signal_print(signal, ret_name, HAWSER_SIGNAL_NAME_MAX);
    return 0;
}
