/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser sem: runs a command while it holds permits of a semaphore, so that at most so many run at once across all shells.
 *
 * The command is a child, and this process the holder: it lives as long as the command, and passes signals on to it. Should it be killed
 * in a way that it cannot pass on, the command is killed, too: else it would go on with no permit. */

#include "arguments.h"
#include "sem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
    "usage: hawser sem [OPTIONS] NAME -- COMMAND [ARGUMENT...]\n"
    "       hawser sem --list\n"
    "\n"
    "Runs COMMAND once it holds a permit of the semaphore NAME, and gives it back when COMMAND ends: across all shells\n"
    "at most as many run at once as there are permits. The first to come makes the semaphore, the last to go removes it.\n"
    "kill -9 of this process kills COMMAND too (not what that has started), and its permit comes back; who has it next\n"
    "finds HAWSER_OWNER_DIED=1 in its environment, if anybody had the semaphore open meanwhile.\n"
    "NAME is a name, a path or sem://NAME.\n"
    "\n"
    "  --permits N    how many there are (1): who comes later must say the same\n"
    "  --take N       how many of them COMMAND needs (1)\n"
    "  --timeout T    how long to wait for them (forever); takes ns, us, ms, s\n"
    "  --no-wait      do not wait\n"
    "  --list         show the semaphores of the runtime directory, and who holds how many permits\n"
    "\n"
    "example: convert all pictures, four at a time\n"
    "  for f in *.png; do hawser sem pictures --permits 4 -- convert \"$f\" \"${f%.png}.jpg\" & done; wait\n"
    "\n"
    "exit codes: COMMAND's (128 + N when signal N ended it, 126 or 127 when it cannot be run); 1 failed, 2 wrong usage,\n"
    "3 not free in time\n";

#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127
#define EXIT_SIGNALED 128

struct sem {
    const char *name;
    uint64_t permits, take;
    int64_t timeout;
    bool tries, list;
    char **command; /* NULL: none was given */
};

/* The words before "--". 0 to go on, else the verb is over and *ret_code says how. */
static int read_words(struct sem *sem, int argc, char **argv, int *ret_code) {
    const struct option_word options[] = {
        { 'p', "permits", OPTION_COUNT, &sem->permits, 1, HAWSER_PERMITS_MAX },
        { 'k', "take", OPTION_COUNT, &sem->take, 1, HAWSER_PERMITS_MAX },
        { 't', "timeout", OPTION_TIME, &sem->timeout, 0, 0 },
        { 'n', "no-wait", OPTION_ON, &sem->tries, 0, 0 },
        { 'l', "list", OPTION_ON, &sem->list, 0, 0 },
        { 0 },
    };
    if (arguments_options("sem", help, options, "pktnl", argc, argv, ret_code))
        return 1;
    if (optind < argc)
        sem->name = argv[optind];
    *ret_code = optind + 1 < argc ? arguments_wrong("sem", "a command stands after --, unlike ", argv[optind + 1]) : EXIT_DONE;
    return *ret_code;
}

static int read_arguments(struct sem *sem, int argc, char **argv, int *ret_code) {
    int words = 1;
    while (words < argc && strcmp(argv[words], "--") != 0)
        words++;
    if (words + 1 < argc)
        sem->command = argv + words + 1;
    if (read_words(sem, words, argv, ret_code))
        return 1;
    if (sem->list && !sem->name && !sem->command)
        return 0;
    if (sem->list)
        *ret_code = arguments_wrong("sem", "--list takes no name and no command", "");
    else if (!sem->name)
        *ret_code = arguments_wrong("sem", "the semaphore's name is missing", "");
    else if (!sem->command)
        *ret_code = arguments_wrong("sem", "the command is missing: hawser sem NAME -- COMMAND, or hawser sem --list", "");
    else if (sem->take > sem->permits)
        *ret_code = arguments_wrong("sem", "--take is more than --permits, which is 1 unless given", "");
    return *ret_code;
}

static int open_named(const struct sem *sem, hawser_semaphore **ret_semaphore) {
    char address[HAWSER_ADDRESS_MAX];
    int code = arguments_address("sem", sem->name, "sem", "", address);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_semaphore_open(address, NULL, (uint32_t)sem->permits, ret_semaphore);
    return error < 0 ? report_failure("sem", error) : EXIT_DONE;
}

/* Which of the semaphores that a script uses it was, is not in the library's sentence. */
static int not_acquired(const struct sem *sem, int error) {
    fprintf(stderr, "hawser sem: %s: %s\n", sem->name, hawser_explain());
    return error == -ETIMEDOUT || error == -EAGAIN ? EXIT_TIMED_OUT : EXIT_FAILED;
}

/* What this process hears while the command runs: everything that can be asked of it. */
static void heard(sigset_t *ret_signals) {
    sigfillset(ret_signals);
    const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGPIPE };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(ret_signals, own[i]);
}

static void run_command(char **command, pid_t holder, const sigset_t *mask) {
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != holder) /* it was killed before that */
        _exit(EXIT_SIGNALED + SIGKILL);
    execvp(command[0], command);
    int code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    fprintf(stderr, "hawser sem: cannot run %s: %s\n", command[0], strerror(errno));
    _exit(code);
}

/* Whether who had one of these permits last died with it: the command may have to look after what was left half-done. */
static int tell_of_death(int acquired) {
    int r = acquired == HAWSER_OWNER_DIED ? setenv("HAWSER_OWNER_DIED", "1", 1) : unsetenv("HAWSER_OWNER_DIED");
    if (r < 0)
        fprintf(stderr, "hawser sem: the command's environment: %s\n", strerror(errno));
    return r;
}

/* Passes signals on until the child has ended. What a terminal sends, it sends to the child, too. */
static int attend(pid_t child, const sigset_t *signals) {
    for (;;) {
        siginfo_t signal;
        int status;
        if (sigwaitinfo(signals, &signal) < 0)
            continue;
        if (signal.si_signo != SIGCHLD) {
            if (signal.si_code != SI_KERNEL)
                kill(child, signal.si_signo);
        } else if (waitpid(child, &status, WNOHANG) == child) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNALED + WTERMSIG(status);
        }
    }
}

static int run(char **command) {
    sigset_t signals, mask;
    pid_t holder = getpid();
    heard(&signals);
    signal(SIGCHLD, SIG_DFL); /* were it ignored, nobody would tell us how the child ended */
    sigprocmask(SIG_BLOCK, &signals, &mask);
    pid_t child = fork();
    if (child == 0)
        run_command(command, holder, &mask);
    if (child < 0) {
        fprintf(stderr, "hawser sem: cannot start a process: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return attend(child, &signals);
}

int verb_sem(int argc, char **argv) {
    struct sem sem = { .permits = 1, .take = 1, .timeout = HAWSER_FOREVER };
    hawser_semaphore *semaphore;
    int code;
    if (read_arguments(&sem, argc, argv, &code))
        return code;
    if (sem.list)
        return sem_list();
    code = open_named(&sem, &semaphore);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_semaphore_acquire(semaphore, (uint32_t)sem.take, sem.tries ? HAWSER_NOW : sem.timeout);
    code = error < 0 ? not_acquired(&sem, error) : tell_of_death(error) < 0 ? EXIT_FAILED : run(sem.command);
    hawser_semaphore_close(semaphore);
    return code;
}
