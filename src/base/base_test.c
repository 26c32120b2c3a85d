/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Errors, deadlines, process identity, the lock, the table of system calls. */

#include "base/fork_test.h"
#include "base/clock.h"
#include "base/copy.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/process.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void *sentence_of_a_thread(void *unused) {
    (void)unused;
    return (void *)(hawser_explain()[0] == 0 ? "empty" : NULL);
}

static void test_sentences(void **state) {
    (void)state;
    pthread_t thread;
    void *result;
    assert_int_equal(error_set(-EPROTO, "%s at %d", "bad word", 7), -EPROTO);
    assert_string_equal(hawser_explain(), "bad word at 7");
    assert_int_equal(error_within(-EPROTO, "connect shm://a"), -EPROTO);
    assert_string_equal(hawser_explain(), "connect shm://a: bad word at 7");
    assert_int_equal(error_note(-EAGAIN, "later"), -EAGAIN);
    assert_string_equal(hawser_explain(), "later");
    assert_int_equal(error_within(-EAGAIN, "send"), -EAGAIN);
    assert_string_equal(hawser_explain(), "send: later");
    assert_string_equal(error_text(-ENOENT), error_text(ENOENT));
    assert_true(error_text(ENOENT)[0] == 'n');
    assert_int_equal(pthread_create(&thread, NULL, sentence_of_a_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
}

static void test_deadlines(void **state) {
    (void)state;
    assert_true(deadline_after(HAWSER_FOREVER) == DEADLINE_NEVER);
    assert_true(deadline_after(HAWSER_NOW) == DEADLINE_PAST);
    assert_true(deadline_after(INT64_MAX) == DEADLINE_NEVER);
    int64_t before = clock_now(), deadline = deadline_after(1000);
    assert_true(deadline >= before + 1000 && deadline <= clock_now() + 1000);
}

static void test_a_forked_child_is_another_process(void **state) {
    (void)state;
    uint32_t self = process_self();
    assert_true(self != 0);
    assert_int_equal(process_self(), self);
    pid_t child = fork_child();
    if (child == 0)
        _exit(process_self() == self || process_self() == 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Forks the first process of a new pid namespace. In the parent returns its exit status, or 99: namespaces are not allowed. */
static int first_in_namespace(int (*run)(uint32_t parents), uint32_t parents) {
    int status = 0;
    pid_t child = fork_child();
    if (child == 0) {
        if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
            _exit(99);
        pid_t first = fork();
        if (first == 0)
            _exit(run(parents));
        waitpid(first, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static int like_its_parent(uint32_t parents) { return getpid() != 1 || process_self() == parents; }

static int has_a_child(uint32_t parents) {
    return like_its_parent(parents) ? 1 : first_in_namespace(like_its_parent, process_self());
}

static void test_a_child_with_its_parents_pid_is_another_process(void **state) {
    (void)state;
    int status = first_in_namespace(has_a_child, process_self());
    if (status == 99)
        skip();
    assert_int_equal(status, 0);
}

static uint64_t own_cpus, peer_cpus;

static int some_cpus(pid_t pid, size_t size, void *set) {
    memset(set, 0, size);
    memcpy(set, pid ? &peer_cpus : &own_cpus, 8);
    return pid == 3 ? -ESRCH : 8;
}

static int apart(uint64_t own, uint64_t peer, pid_t pid) {
    own_cpus = own;
    peer_cpus = pid == 3 ? 0 : peer;
    return process_apart(pid);
}

static void test_who_can_run_at_once(void **state) {
    (void)state;
    assert_true(process_apart(getpid()) >= 0);
    sys_table.sched_getaffinity = some_cpus;
    assert_int_equal(apart(1, 1, 2), 0);
    assert_int_equal(apart(1, 2, 2), 1);
    assert_int_equal(apart(1, 3, 2), 1);
    assert_int_equal(apart(1, 2, -1), -1);
    assert_int_equal(apart(1, 2, 3), -1);
    assert_int_equal(apart(3, 0, -1), 1);
    sys_table = sys_table_real;
}

static struct lock lock;
static unsigned guarded;

static void *add_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 100000; i++) {
        lock_acquire(&lock);
        guarded++;
        lock_release(&lock);
    }
    return NULL;
}

static void test_the_lock_excludes(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(guarded, 400000);
    assert_int_equal(lock.word, 0);
}

static int refuse_close(int fd) {
    (void)fd;
    return -EIO;
}

static void test_calls_are_counted_and_replaceable(void **state) {
    (void)state;
    uint64_t before = sys_calls_made;
    assert_int_equal(sys_close(-1), -EBADF);
    assert_int_equal(sys_calls_made - before, 1);
    sys_table.close = refuse_close;
    assert_int_equal(sys_close(-1), -EIO);
    sys_table = sys_table_real;
    struct rlimit limit;
    assert_int_equal(sys_getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur > 3 && limit.rlim_cur <= limit.rlim_max);
}

/* As in a sandbox that takes the right to open descriptors away, and keeps those that it has. */
static void test_polling_knows_no_limit_of_descriptors(void **state) {
    (void)state;
    struct rlimit limit, none;
    struct timespec now = { 0 }, soon = { .tv_nsec = 1000000 };
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct pollfd polls[3] = { { .fd = fds[0], .events = POLLIN, .revents = POLLOUT },
                               { .fd = -1, .events = POLLIN },
                               { .fd = fds[1], .events = POLLIN } };
    assert_int_equal(sys_ppoll(polls, 3, &soon, NULL), 0);
    assert_int_equal(polls[0].revents, 0);
    polls[2].events = POLLOUT;
    assert_int_equal(sys_ppoll(polls, 3, NULL, NULL), 1);
    assert_int_equal(polls[0].revents, 0);
    assert_int_equal(polls[2].revents, POLLOUT);
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(sys_ppoll(polls, 1, &now, NULL), 1);
    assert_int_equal(polls[0].revents, POLLIN);
    assert_int_equal(sys_ppoll(polls, 3, &now, NULL), -EBADF);
    polls[0].fd = 1 << 30;
    assert_int_equal(sys_ppoll(polls, 1, &now, NULL), -EINVAL);
    setrlimit(RLIMIT_NOFILE, &limit);
    close(fds[0]);
}

static void test_an_old_kernel_refuses_the_new(void **state) {
    (void)state;
    sys_refuse_newer();
    struct iovec vector = { .iov_base = (void *)"", .iov_len = 1 };
    assert_int_equal(sys_pwritev2(1, &vector, 1, -1, RWF_NOSIGNAL), -EOPNOTSUPP);
    assert_int_equal(sys_memfd_create("x", MFD_NOEXEC_SEAL), -EINVAL);
    sys_table = sys_table_real;
    int fd = sys_memfd_create("x", MFD_CLOEXEC);
    assert_true(fd >= 0);
    sys_close(fd);
}

/* Each size up to beyond where the loop begins, at odd addresses: all of it, and nothing beside it. */
static void test_copies_are_whole(void **state) {
    (void)state;
    enum { MOST = COPY_LARGE + 700, EDGE = 80 };
    static uint8_t from[MOST + EDGE], to[EDGE + MOST + EDGE];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
    for (size_t size = 0; size <= MOST; size++) {
        size_t shift = size % 17;
        memset(to, 0, sizeof to);
        copy_bytes(to + EDGE - shift, from + shift, size);
        assert_memory_equal(to + EDGE - shift, from + shift, size);
        for (size_t i = 0; i < EDGE - shift; i++)
            assert_int_equal(to[i], 0);
        for (size_t i = EDGE - shift + size; i < sizeof to; i++)
            assert_int_equal(to[i], 0);
        if (size < 64)
            continue;
        memset(to, 0, sizeof to);
        copy_large(to + EDGE - shift, from + shift, size);
        assert_memory_equal(to + EDGE - shift, from + shift, size);
        assert_int_equal(to[EDGE - shift - 1] | to[EDGE - shift + size], 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_a_forked_child_is_another_process),
        cmocka_unit_test(test_a_child_with_its_parents_pid_is_another_process),
        cmocka_unit_test(test_who_can_run_at_once),
        cmocka_unit_test(test_the_lock_excludes),
        cmocka_unit_test(test_copies_are_whole),
        cmocka_unit_test(test_calls_are_counted_and_replaceable),
        cmocka_unit_test(test_polling_knows_no_limit_of_descriptors),
        cmocka_unit_test(test_an_old_kernel_refuses_the_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
