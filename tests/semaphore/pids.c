/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Pids come again, and each pid namespace has its own: neither makes anyone a holder. A process holds permits and is killed; the next one
 * has the very same pid (clone3 with set_tid, in a pid namespace of this test's own). */

#include "worker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAME_PID 321
#define SKIPPED 77

#ifndef SYS_clone3
#define SYS_clone3 435 /* Linux 5.3; the same number on all architectures */
#endif

static hawser_semaphore *semaphore;

struct clone_arguments { /* include/uapi/linux/sched.h */
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size;
};

/* fork(), with the pid of our choice. */
static pid_t fork_as(pid_t pid) {
    struct clone_arguments arguments = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1 };
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return (pid_t)child;
}

/* The child's word that it has come so far. */
static void say(int fd) { EXPECT(write(fd, "!", 1), 1); }

static void hear(int fd) {
    char byte;
    EXPECT(read(fd, &byte, 1), 1);
}

static pid_t start_holder(uint32_t permits) {
    int fds[2];
    EXPECT(pipe(fds), 0);
    pid_t pid = fork_as(SAME_PID);
    if (pid == 0) {
        EXPECT(getpid(), SAME_PID);
        EXPECT(hawser_semaphore_acquire(semaphore, permits, HAWSER_NOW), 0);
        say(fds[1]);
        pause();
    }
    EXPECT(pid, SAME_PID);
    hear(fds[0]);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

/* Has the dead one's pid; with `joins` it uses the semaphore, too, without a permit. */
static pid_t start_impostor(bool joins) {
    int fds[2];
    EXPECT(pipe(fds), 0);
    pid_t pid = fork_as(SAME_PID);
    if (pid == 0) {
        if (joins)
            EXPECT(hawser_semaphore_release(semaphore, 1), -EPERM);
        say(fds[1]);
        pause();
    }
    EXPECT(pid, SAME_PID);
    hear(fds[0]);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    EXPECT(waitpid(pid, NULL, 0), pid);
}

static void reused(bool joins) {
    struct hawser_semaphore_holder holder;
    size_t n;
    pid_t pid = start_holder(2);
    EXPECT(hawser_semaphore_holders(semaphore, &holder, 1, &n), 0);
    CHECK(n == 1 && holder.pid == SAME_PID && holder.permits == 2);
    end(pid);
    pid = start_impostor(joins);
    EXPECT(hawser_semaphore_holders(semaphore, &holder, 1, &n), 0);
    EXPECT(n, 0);
    EXPECT(hawser_semaphore_acquire(semaphore, 2, HAWSER_NOW), HAWSER_OWNER_DIED);
    EXPECT(hawser_semaphore_release(semaphore, 2), 0);
    end(pid);
    printf("ok pids: a new process with the dead holder's pid holds nothing, %s\n", joins ? "though it uses the semaphore" : "and is no user");
}

/* While a waiter sleeps: it has the dead one's permits although its pid is there. */
static void reused_before_a_sleeper(void) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    pid_t pid = start_holder(2);
    struct worker waiter = worker_start(semaphore);
    worker_tell(&waiter, (struct order){ .verb = ACQUIRE, .n = 1, .timeout = PATIENCE }, -1);
    do
        EXPECT(hawser_semaphore_status(semaphore, &status), 0);
    while (status.waiting == 0);
    end(pid);
    int64_t death = now();
    pid = start_impostor(true);
    struct answer answer = worker_answer(&waiter);
    EXPECT(answer.result, HAWSER_OWNER_DIED);
    CHECK(answer.at_ns - death < 100 * MS);
    worker_kill(&waiter);
    end(pid);
    printf("ok pids: a sleeper has the dead holder's permits, whoever has its pid\n");
}

/* In its namespace this process has pid 1, as the first of any has. */
static int first_of_a_namespace(void) {
    EXPECT(getpid(), 1);
    pid_t probe = fork_as(SAME_PID);
    if (probe == 0)
        _exit(0);
    if (probe < 0) {
        printf("pids cannot be chosen here: %d\n", errno);
        return SKIPPED;
    }
    EXPECT(waitpid(probe, NULL, 0), SAME_PID);
    EXPECT(hawser_semaphore_open("sem://", NULL, 2, &semaphore), 0);
    reused(false);
    reused(true);
    reused_before_a_sleeper();
    hawser_semaphore_close(semaphore);
    return 0;
}

/* A process of another namespace, with pid 1 there. */
static int in_another_namespace(void) {
    struct hawser_semaphore_holder holder;
    int fds[2];
    size_t n;
    EXPECT(hawser_semaphore_open("sem://", NULL, 1, &semaphore), 0);
    EXPECT(pipe(fds), 0);
    if (unshare(CLONE_NEWPID) < 0)
        EXPECT(unshare(CLONE_NEWUSER | CLONE_NEWPID), 0);
    pid_t other = fork();
    if (other == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0);
        say(fds[1]);
        pause();
    }
    hear(fds[0]);
    EXPECT(hawser_semaphore_holders(semaphore, &holder, 1, &n), 0);
    CHECK(n == 1 && holder.pid == other && holder.permits == 1);
    end(other);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), HAWSER_OWNER_DIED);
    hawser_semaphore_close(semaphore);
    printf("ok pids: a holder in another pid namespace counts as long as it lives\n");
    return 0;
}

/* Runs in a process of its own, in a user namespace of its own if that is needed to make pid namespaces. */
static int apart(int (*run)(void)) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int code = run();
        fflush(stdout);
        _exit(code);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int in_a_namespace(void) {
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        printf("no pid namespace can be made here: %d\n", errno);
        return SKIPPED;
    }
    return apart(first_of_a_namespace);
}

int main(void) {
    int code = apart(in_a_namespace);
    return code == 0 ? apart(in_another_namespace) : code;
}
