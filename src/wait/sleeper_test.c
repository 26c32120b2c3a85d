/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Wakers: kept by their thread, handed on after it, never shared with a forked child; and sleeps they end. */

#include "wait/sleeper.h"

#include "base/fork_test.h"
#include "base/clock.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

static void *thread_waker(void *ret) {
    *(int *)ret = waker_self();
    return NULL;
}

static int waker_of_a_thread(void) {
    pthread_t thread;
    int waker = -1;
    assert_int_equal(pthread_create(&thread, NULL, thread_waker, &waker), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return waker;
}

static void test_a_thread_keeps_its_waker_and_the_next_inherits_it(void **state) {
    (void)state;
    int own = waker_self();
    assert_true(own >= 0);
    assert_int_equal(waker_self(), own);
    int first = waker_of_a_thread();
    assert_true(first >= 0 && first != own);
    assert_int_equal(waker_of_a_thread(), first);
}

static void test_a_ring_ends_a_sleep_once(void **state) {
    (void)state;
    struct pollfd fds[1];
    struct sleep_set set = { .fds = fds };
    int waker = waker_self();
    waker_wake(waker);
    waker_wake(waker);
    assert_int_equal(sleep_until(&set, waker, DEADLINE_NEVER), 0); /* returns at all */
    int64_t before = clock_now();
    assert_int_equal(sleep_until(&set, waker, before + 5000000), 0);
    assert_true(clock_now() - before >= 5000000);
}

static void test_ready_descriptors_are_told_from_the_waker(void **state) {
    (void)state;
    int pipe_fds[2];
    struct pollfd fds[2];
    struct sleep_set set = { .fds = fds };
    assert_int_equal(sys_pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(sys_write(pipe_fds[1], "x", 1), 1);
    sleep_add(&set, pipe_fds[0], POLLIN);
    sleep_add(&set, -1, POLLIN);
    assert_int_equal(set.count, 1);
    waker_wake(waker_self());
    assert_int_equal(sleep_until(&set, waker_self(), DEADLINE_NEVER), 1);
    assert_int_equal(fds[0].revents, POLLIN);
    sys_close(pipe_fds[0]);
    sys_close(pipe_fds[1]);
}

static void test_without_a_waker_sleeps_are_naps(void **state) {
    (void)state;
    struct pollfd fds[1];
    struct sleep_set set = { .fds = fds };
    int64_t before = clock_now();
    assert_int_equal(sleep_until(&set, -1, DEADLINE_NEVER), 0);
    assert_true(clock_now() - before < 1000000000);
}

static void test_a_nap_takes_nothing_and_ends_by_itself(void **state) {
    (void)state;
    int fds[2];
    char byte = 0;
    assert_int_equal(sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(nap_prepare(fds[0]), 0);
    int64_t before = clock_now();
    assert_false(nap_on(fds[0]));
    assert_true(clock_now() - before >= NAP_NS / 2); /* a timer's tick may be as long as a nap */
    assert_int_equal(sys_recv(fds[0], &byte, 1, MSG_DONTWAIT), -EAGAIN);
    assert_int_equal(sys_send(fds[1], "x", 1, 0), 1);
    assert_true(nap_on(fds[0]));
    assert_int_equal(sys_recv(fds[0], &byte, 1, MSG_DONTWAIT), 1);
    assert_int_equal(byte, 'x');
    sys_close(fds[1]);
    assert_true(nap_on(fds[0]));
    sys_close(fds[0]);
    assert_int_equal(nap_prepare(fds[0]), -EBADF);
}

static void test_a_forked_child_has_its_own(void **state) {
    (void)state;
    int own = waker_self(), first = waker_of_a_thread();
    pid_t child = fork_child();
    if (child == 0)
        _exit(waker_self() == own || waker_of_a_thread() == first);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_keeps_its_waker_and_the_next_inherits_it),
        cmocka_unit_test(test_a_ring_ends_a_sleep_once),
        cmocka_unit_test(test_ready_descriptors_are_told_from_the_waker),
        cmocka_unit_test(test_without_a_waker_sleeps_are_naps),
        cmocka_unit_test(test_a_nap_takes_nothing_and_ends_by_itself),
        cmocka_unit_test(test_a_forked_child_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
