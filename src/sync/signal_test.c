/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Signals received and sent: none lost, none to the wrong process, no mask left changed. */

#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static hawser_signal_receiver *receiver_of(int first, int second) {
    hawser_signal_receiver *receiver;
    int signals[] = { first, second };
    assert_int_equal(hawser_signal_open(signals, second ? 2 : 1, NULL, &receiver), 0);
    return receiver;
}

static hawser_signal_target *target_of(pid_t pid) {
    hawser_signal_target *target;
    assert_int_equal(hawser_signal_target_pid(pid, &target), 0);
    return target;
}

static bool blocked(int signal) {
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, signal) == 1;
}

static void reaped(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void values_arrive_in_order(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, SIGRTMIN + 2);
    hawser_signal_target *target = target_of(getpid());
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), -EAGAIN);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(hawser_signal_send(target, SIGRTMIN + 1 + (int)(i % 2), UINT64_MAX - i), 0);
    for (uint64_t i = 0; i < 10; i++) { /* the lower number first, each in its order */
        assert_int_equal(hawser_signal_wait(receiver, SECOND, &info), 0);
        assert_int_equal(info.signal, SIGRTMIN + 1 + (int)(i / 5));
        assert_true(info.value == UINT64_MAX - (i % 5 * 2 + i / 5));
        assert_int_equal(info.code, SI_QUEUE);
        assert_int_equal(info.pid, getpid());
        assert_int_equal(info.uid, getuid());
    }
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), -EAGAIN);
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
}

static void waits_no_longer_than_told(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_options options = HAWSER_OPTIONS_INIT;
    for (uint32_t wait = HAWSER_WAIT_ADAPTIVE; wait <= HAWSER_WAIT_BLOCK; wait++) {
        hawser_signal_receiver *receiver;
        int signal = SIGUSR1;
        options.wait = wait;
        assert_int_equal(hawser_signal_open(&signal, 1, &options, &receiver), 0);
        int64_t began = clock_now();
        assert_int_equal(hawser_signal_wait(receiver, 20000000, &info), -ETIMEDOUT);
        assert_true(clock_now() - began >= 20000000);
        assert_true(clock_now() - began < SECOND);
        hawser_signal_close(receiver);
    }
}

static volatile sig_atomic_t alarms;

static void alarmed(int number) {
    (void)number;
    if (++alarms == 1000) /* 1 s */
        abort();
}

/* Nor when handlers of other signals run all the time. */
static void interruptions_do_not_prolong_it(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    struct sigaction action = { .sa_handler = alarmed }, before;
    struct itimerval timer = { { 0, 1000 }, { 0, 1000 } }, none = { 0 };
    hawser_signal_receiver *receiver = receiver_of(SIGUSR1, 0);
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_int_equal(hawser_signal_wait(receiver, 50000000, &info), -ETIMEDOUT);
    setitimer(ITIMER_REAL, &none, NULL);
    sigaction(SIGALRM, &before, NULL);
    assert_true(alarms > 0);
    hawser_signal_close(receiver);
}

static void ordinary_signals_too(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGUSR1, SIGCHLD);
    hawser_signal_target *target = target_of(getpid());
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(hawser_signal_wait(receiver, SECOND, &info), 0);
    assert_int_equal(info.signal, SIGUSR1);
    assert_int_equal(info.code, SI_USER);
    assert_int_equal(info.pid, getpid());
    assert_true(info.value == 0);
    assert_int_equal(hawser_signal_send(target, SIGUSR1, 7), 0);
    assert_int_equal(hawser_signal_send(target, SIGUSR1, 8), 0); /* merged: one of a kind is pending */
    assert_int_equal(hawser_signal_wait(receiver, SECOND, &info), 0);
    assert_true(info.value == 7);
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), -EAGAIN);
    pid_t child = fork_child();
    if (child == 0)
        _exit(0);
    assert_int_equal(hawser_signal_wait(receiver, 10 * SECOND, &info), 0);
    assert_int_equal(info.signal, SIGCHLD);
    assert_int_equal(info.code, CLD_EXITED);
    assert_int_equal(info.pid, child);
    reaped(child);
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
}

static void the_descriptor_polls(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
    hawser_signal_target *target = target_of(getpid());
    struct pollfd item = { .events = POLLIN };
    int again;
    assert_int_equal(hawser_signal_fd(receiver, &item.fd), 0);
    assert_int_equal(hawser_signal_fd(receiver, &again), 0);
    assert_int_equal(again, item.fd);
    assert_int_equal(poll(&item, 1, 0), 0);
    assert_int_equal(hawser_signal_send(target, SIGRTMIN + 1, 1), 0);
    assert_int_equal(poll(&item, 1, 0), 1);
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), 0);
    assert_int_equal(poll(&item, 1, 0), 0);
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
}

static void the_mask_comes_back(void **state) {
    (void)state;
    hawser_signal_target *target = target_of(getpid());
    sigset_t set;
    assert_false(blocked(SIGRTMIN + 1));
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
    assert_true(blocked(SIGRTMIN + 1));
    assert_int_equal(hawser_signal_send(target, SIGRTMIN + 1, 1), 0); /* would end us when it is let through */
    hawser_signal_close(receiver);
    assert_false(blocked(SIGRTMIN + 1));
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    hawser_signal_close(receiver_of(SIGRTMIN + 1, SIGUSR2));
    assert_true(blocked(SIGRTMIN + 1));
    assert_false(blocked(SIGUSR2));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    hawser_signal_target_close(target);
}

/* What all processes of the user have queued: the limit is of all of them. */
static rlim_t queued(void) {
    char line[128];
    unsigned long n = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "SigQ: %lu/", &n) == 1)
            break;
    if (status)
        fclose(status);
    return (rlim_t)n;
}

/* Sends until it is told that the queue is full; how many were sent. Others' signals come and go meanwhile. */
static uint64_t fill(hawser_signal_target *target) {
    enum { ROOM = 50, MOST = 100000 };
    struct rlimit limit;
    uint64_t sent = 0;
    int error;
    getrlimit(RLIMIT_SIGPENDING, &limit);
    limit.rlim_cur = queued() + ROOM;
    setrlimit(RLIMIT_SIGPENDING, &limit);
    while ((error = hawser_signal_send(target, SIGRTMIN + 1, sent)) == 0 && sent < MOST)
        sent++;
    if (error != -EAGAIN || !strstr(hawser_explain(), "RLIMIT_SIGPENDING"))
        _exit(1);
    return sent;
}

/* As many as the limit allows, then -EAGAIN; and just those arrive. */
static void a_full_queue_is_told(void **state) {
    (void)state;
    pid_t child = fork_child();
    if (child == 0) {
        struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
        uint64_t sent = 0, got;
        hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
        hawser_signal_target *target = target_of(getpid());
        for (unsigned tries = 0; tries < 1000 && sent == 0; tries++) {
            sent = fill(target);
            got = 0;
            while (hawser_signal_wait(receiver, HAWSER_NOW, &info) == 0)
                if (info.value != got++)
                    _exit(2);
            if (got != sent)
                _exit(3);
        }
        _exit(sent == 0 ? 4 : 0);
    }
    reaped(child);
}

/* One sender in another process, told to go on as it must: none lost. */
static void none_is_lost_under_a_flood(void **state) {
    (void)state;
    enum { FLOOD = 20000 };
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
    hawser_signal_target *target = target_of(getpid());
    pid_t child = fork_child();
    if (child == 0) {
        for (uint64_t i = 0; i < FLOOD; i++) {
            int error;
            while ((error = hawser_signal_send(target, SIGRTMIN + 1, i)) == -EAGAIN)
                sched_yield();
            if (error)
                _exit(1);
        }
        _exit(0);
    }
    for (uint64_t i = 0; i < FLOOD; i++) {
        assert_int_equal(hawser_signal_wait(receiver, 20 * SECOND, &info), 0);
        assert_true(info.value == i);
        assert_int_equal(info.pid, child);
    }
    reaped(child);
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
}

/* What the sender claims is what it likes: that is told, not believed. */
static void the_claim_can_lie(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
    siginfo_t lie = { 0 };
    lie.si_signo = SIGRTMIN + 1;
    lie.si_code = SI_QUEUE;
    lie.si_pid = 1;
    lie.si_uid = 4242;
    int pidfd = sys_pidfd_open(getpid(), 0);
    assert_int_equal(sys_pidfd_send_signal(pidfd, SIGRTMIN + 1, &lie, 0), 0);
    assert_int_equal(hawser_signal_wait(receiver, SECOND, &info), 0);
    assert_int_equal(info.pid, 1);
    assert_int_equal(info.uid, 4242);
    close(pidfd);
    hawser_signal_close(receiver);
}

/* ---- The right process ---- */

static void *tell_tid(void *ret_tid) {
    __atomic_store_n((pid_t *)ret_tid, sys_gettid(), __ATOMIC_RELEASE);
    pause();
    return NULL;
}

static void a_thread_is_no_process(void **state) {
    (void)state;
    hawser_signal_target *target;
    pthread_t thread;
    pid_t tid = 0;
    assert_int_equal(pthread_create(&thread, NULL, tell_tid, &tid), 0);
    while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    assert_int_equal(hawser_signal_target_pid(tid, &target), -EINVAL);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
}

static void the_gone_are_gone(void **state) {
    (void)state;
    hawser_signal_target *target, *same;
    pid_t child = fork_child();
    if (child == 0) {
        pause();
        _exit(1);
    }
    int pidfd = sys_pidfd_open(child, 0), status;
    target = target_of(child);
    assert_int_equal(hawser_signal_target_pidfd(pidfd, &same), 0);
    assert_int_equal(hawser_signal_send(same, 0, 0), 0);
    assert_int_equal(hawser_signal_send(same, SIGKILL, 0), 0);
    waitpid(child, &status, 0);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(hawser_signal_send(target, SIGTERM, 0), -ESRCH);
    assert_int_equal(hawser_signal_send(same, SIGTERM, 0), -ESRCH);
    close(pidfd);
    hawser_signal_target_close(same);
    hawser_signal_target_close(target);
}

static bool set_last_pid(pid_t last) {
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof text, "%d", last);
    bool done = fd >= 0 && write(fd, text, (size_t)n) == n;
    close(fd);
    return done;
}

/* First process of a pid namespace. 77: the machine does not let us choose pids. */
static int recycle(void) {
    int status;
    pid_t first = fork_child();
    if (first == 0)
        pause();
    hawser_signal_target *target;
    if (hawser_signal_target_pid(first, &target) < 0)
        return 1;
    kill(first, SIGKILL);
    waitpid(first, &status, 0);
    if (!set_last_pid(first - 1))
        return 77;
    pid_t second = fork_child();
    if (second == 0)
        pause();
    if (second != first)
        return 77;
    if (hawser_signal_send(target, SIGKILL, 0) != -ESRCH || waitpid(second, &status, WNOHANG) != 0)
        return 2;
    kill(second, SIGKILL);
    waitpid(second, &status, 0);
    return 0;
}

static void a_recycled_pid_is_not_hit(void **state) {
    (void)state;
    int status;
    pid_t child = fork_child();
    if (child == 0) {
        if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
            _exit(77);
        pid_t inner = fork(); /* its parent has no pid there, so it cannot tell whether that is gone */
        if (inner == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(recycle());
        }
        waitpid(inner, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_fork_receives_its_own(void **state) {
    (void)state;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver = receiver_of(SIGRTMIN + 1, 0);
    hawser_signal_target *target = target_of(getpid());
    assert_int_equal(hawser_signal_send(target, SIGRTMIN + 1, 5), 0);
    pid_t child = fork_child();
    if (child == 0) {
        int fd;
        if (hawser_signal_wait(receiver, HAWSER_NOW, &info) != -EPERM || hawser_signal_fd(receiver, &fd) != -EPERM)
            _exit(1);
        if (hawser_signal_send(target, SIGRTMIN + 1, 6) != 0) /* the target is still its parent */
            _exit(2);
        hawser_signal_close(receiver);
        _exit(0);
    }
    reaped(child);
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), 0);
    assert_true(info.value == 5);
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), 0);
    assert_true(info.value == 6);
    assert_int_equal(info.pid, child);
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
}

/* ---- Arguments ---- */

static void wrong_arguments_are_told(void **state) {
    (void)state;
    struct hawser_signal_info info = { 0 };
    hawser_signal_receiver *receiver;
    hawser_signal_target *target;
    int bad[] = { 0, 65, -1, SIGKILL, SIGSTOP }, many[65] = { 0 };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hawser_signal_open(&bad[i], 1, NULL, &receiver), -EINVAL);
    assert_int_equal(hawser_signal_open(NULL, 1, NULL, &receiver), -EINVAL);
    assert_int_equal(hawser_signal_open(many, 0, NULL, &receiver), -EINVAL);
    assert_int_equal(hawser_signal_open(many, 65, NULL, &receiver), -EINVAL);
    receiver = receiver_of(SIGUSR1, 0);
    assert_int_equal(hawser_signal_wait(receiver, HAWSER_NOW, &info), -EINVAL);
    assert_int_equal(hawser_signal_wait(receiver, -2, &info), -EINVAL);
    assert_int_equal(hawser_signal_wait(NULL, 0, &info), -EINVAL);
    hawser_signal_close(receiver);
    assert_int_equal(hawser_signal_target_pid(0, &target), -EINVAL);
    assert_int_equal(hawser_signal_target_pid(INT32_MAX, &target), -ESRCH);
    assert_int_equal(hawser_signal_target_pidfd(-1, &target), -EBADF);
    assert_int_equal(hawser_signal_target_pidfd(0, &target), -EINVAL);
    target = target_of(getpid());
    assert_int_equal(hawser_signal_send(target, 65, 0), -EINVAL);
    assert_int_equal(hawser_signal_send(NULL, SIGUSR1, 0), -EINVAL);
    hawser_signal_target_close(target);
    assert_null(hawser_signal_close(NULL));
    assert_null(hawser_signal_target_close(NULL));
}

static void names_and_numbers(void **state) {
    (void)state;
    static const char *const bad[] = { "", "SIG", "SIGNOTHING", "0", "65", "999", "1000", "-1", "SIGRTMIN+", "SIGRTMIN-1", "SIGRTMIN+31",
                                       "SIGRTMAX+1", "RTMIN+1x", "usr1", "12 " };
    char name[HAWSER_SIGNAL_NAME_MAX];
    int signal = 99;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hawser_signal_number(bad[i], &signal), -EINVAL);
    assert_int_equal(signal, 99);
    for (int i = 1; i <= 64; i++) {
        assert_int_equal(hawser_signal_name(i, name), 0);
        if (i < 32 || i >= SIGRTMIN) { /* between them are the C library's own */
            if (strncmp(name, "SIGSTKFLT", 9) == 0 || strcmp(name, "SIG16") == 0)
                continue;
            assert_int_equal(hawser_signal_number(name, &signal), 0);
            assert_int_equal(signal, i);
        }
    }
    assert_int_equal(hawser_signal_number("RTMAX-2", &signal), 0);
    assert_int_equal(signal, SIGRTMAX - 2);
    assert_int_equal(hawser_signal_number("TERM", &signal), 0);
    assert_int_equal(signal, SIGTERM);
    assert_int_equal(hawser_signal_name(0, name), -EINVAL);
    assert_int_equal(hawser_signal_name(65, name), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_arrive_in_order),
        cmocka_unit_test(waits_no_longer_than_told),
        cmocka_unit_test(interruptions_do_not_prolong_it),
        cmocka_unit_test(ordinary_signals_too),
        cmocka_unit_test(the_descriptor_polls),
        cmocka_unit_test(the_mask_comes_back),
        cmocka_unit_test(a_full_queue_is_told),
        cmocka_unit_test(none_is_lost_under_a_flood),
        cmocka_unit_test(the_claim_can_lie),
        cmocka_unit_test(a_thread_is_no_process),
        cmocka_unit_test(the_gone_are_gone),
        cmocka_unit_test(a_recycled_pid_is_not_hit),
        cmocka_unit_test(a_fork_receives_its_own),
        cmocka_unit_test(wrong_arguments_are_told),
        cmocka_unit_test(names_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
