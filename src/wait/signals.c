/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A signal is taken by sigtimedwait, not read from a signalfd: one call for any timeout, and nothing that two threads could both
 * find readable. A signalfd is for who must poll. */

#include "wait/signals.h"

#include "base/clock.h"
#include "base/process.h"
#include "wait/sleeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int number;
} names[] = {
    { "HUP", SIGHUP },     { "INT", SIGINT },   { "QUIT", SIGQUIT }, { "ILL", SIGILL },     { "TRAP", SIGTRAP },     { "ABRT", SIGABRT },
    { "BUS", SIGBUS },     { "FPE", SIGFPE },   { "KILL", SIGKILL }, { "USR1", SIGUSR1 },   { "SEGV", SIGSEGV },     { "USR2", SIGUSR2 },
    { "PIPE", SIGPIPE },   { "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "CHLD", SIGCHLD },   { "CONT", SIGCONT },     { "STOP", SIGSTOP },
    { "TSTP", SIGTSTP },   { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU }, { "URG", SIGURG },     { "XCPU", SIGXCPU },     { "XFSZ", SIGXFSZ },
    { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH }, { "IO", SIGIO },   { "PWR", SIGPWR },       { "SYS", SIGSYS },
};

#define N_NAMES (sizeof names / sizeof names[0])

/* Digits to the end, at most 999. */
static bool parse_digits(const char *text, int *ret_number) {
    int number = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9' && i < 3; i++)
        number = number * 10 + (text[i] - '0');
    if (i == 0 || text[i])
        return false;
    *ret_number = number;
    return true;
}

/* What follows RTMIN or RTMAX; back: it counts downwards. */
static bool parse_offset(const char *text, bool back, int *ret_offset) {
    if (!*text)
        *ret_offset = 0;
    return !*text || (*text == (back ? '-' : '+') && parse_digits(text + 1, ret_offset));
}

static bool parse_real_time(const char *text, int *ret_signal) {
    int offset = 0, signal = 0;
    if (strncmp(text, "RTMIN", 5) == 0 && parse_offset(text + 5, false, &offset))
        signal = SIGRTMIN + offset;
    else if (strncmp(text, "RTMAX", 5) == 0 && parse_offset(text + 5, true, &offset))
        signal = SIGRTMAX - offset;
    if (signal < SIGRTMIN || signal > SIGRTMAX)
        return false;
    *ret_signal = signal;
    return true;
}

int signal_parse(const char *text, int *ret_signal) {
    int signal = 0;
    if (parse_digits(text, &signal)) {
        if (signal < 1 || signal > SIGNAL_LAST)
            return -EINVAL;
        *ret_signal = signal;
        return 0;
    }
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < N_NAMES; i++)
        if (strcmp(text, names[i].name) == 0) {
            *ret_signal = names[i].number;
            return 0;
        }
    return parse_real_time(text, ret_signal) ? 0 : -EINVAL;
}

void signal_print(int signal, char *ret_name, size_t capacity) {
    for (size_t i = 0; i < N_NAMES; i++)
        if (names[i].number == signal) {
            snprintf(ret_name, capacity, "SIG%s", names[i].name);
            return;
        }
    if (signal == SIGRTMIN || signal == SIGRTMAX)
        snprintf(ret_name, capacity, "SIGRT%s", signal == SIGRTMIN ? "MIN" : "MAX");
    else if (signal > SIGRTMIN && signal < SIGRTMAX)
        snprintf(ret_name, capacity, "SIGRTMIN+%d", signal - SIGRTMIN);
    else
        snprintf(ret_name, capacity, "SIG%d", signal);
}

int signals_block(const sigset_t *set, sigset_t *ret_before) { return sys_pthread_sigmask(SIG_BLOCK, set, ret_before); }

void signals_unblock(const sigset_t *set, const sigset_t *before) {
    sigset_t ours;
    sigemptyset(&ours);
    for (int signal = 1; signal <= SIGNAL_LAST; signal++)
        if (sigismember(set, signal) == 1 && sigismember(before, signal) == 0)
            sigaddset(&ours, signal);
    sys_pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

int signal_queue(int pidfd, int signal, uint64_t value, pid_t pid) {
    siginfo_t information;
    memset(&information, 0, sizeof information);
    information.si_signo = signal;
    information.si_code = SI_QUEUE;
    information.si_pid = pid;
    information.si_uid = getuid();
    information.si_value.sival_ptr = (void *)(uintptr_t)value; // NOLINT: 64 bits for whoever has them
    return sys_pidfd_send_signal(pidfd, signal, &information, 0);
}

/* ---- Taking ---- */

/* One call. -EAGAIN: nothing came until the deadline; or, spuriously, a handler of another signal ran. */
static int take_once(const sigset_t *set, int64_t deadline, siginfo_t *ret_information) {
    struct timespec timeout;
    int signal = sys_sigtimedwait(set, ret_information, sleep_timeout(deadline, &timeout));
    return signal == -EINTR ? -EAGAIN : signal;
}

static int take_spinning(const sigset_t *set, struct ladder *ladder, int64_t deadline, siginfo_t *ret_information) {
    bool slept = false;
    ladder_begin(ladder, false);
    for (;;) {
        enum ladder_step step = ladder_next(ladder, deadline);
        if (step == LADDER_EXPIRED)
            return -ETIMEDOUT;
        slept |= step == LADDER_SLEEP;
        int signal = take_once(set, step == LADDER_SLEEP ? deadline : DEADLINE_PAST, ret_information);
        if (signal != -EAGAIN) {
            ladder_end(ladder, slept);
            return signal;
        }
    }
}

int signals_take(const sigset_t *set, struct ladder *ladder, int64_t deadline, siginfo_t *ret_information) {
    if (ladder_unplaced(ladder))
        ladder_place(ladder, signals_apart());
    /* wait=block, and no time is running: to sleep at once takes the one call that a bare loop makes */
    if (ladder->mode == HAWSER_WAIT_BLOCK && deadline == DEADLINE_NEVER) {
        int signal;
        do
            signal = take_once(set, deadline, ret_information);
        while (signal == -EAGAIN);
        return signal;
    }
    int signal;
    do
        signal = sys_sigtimedwait(set, ret_information, &(struct timespec){ 0 });
    while (signal == -EINTR);
    if (signal != -EAGAIN || deadline == DEADLINE_PAST)
        return signal;
    return take_spinning(set, ladder, deadline, ret_information);
}

void signals_drop(const sigset_t *set) {
    static const struct timespec at_once = { 0, 0 };
    int signal;
    do
        signal = sys_sigtimedwait(set, NULL, &at_once);
    while (signal > 0 || signal == -EINTR);
}

bool signal_value(const siginfo_t *information, uint64_t *ret_value) {
    if (information->si_code != SI_QUEUE && information->si_code != SI_TIMER && information->si_code != SI_MESGQ)
        return false;
    *ret_value = (uint64_t)(uintptr_t)information->si_value.sival_ptr;
    return true;
}

int signals_apart(void) { return process_apart(getpid()) > 0 ? 1 : -1; }
