/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Semaphores inside one process: what their calls refuse, and every system call and allocation behind them failing in turn. What several
 * processes do with them is tests/semaphore's. */

#include "base/error.h"
#include "base/fault_test.h"
#include "base/fork_test.h"
#include "base/memory.h"
#include "base/sys.h"
#include "wait/sleeper.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static char runtime[48];

static int set_up(void **state) {
    (void)state;
    snprintf(runtime, sizeof runtime, "/tmp/hawser-semaphore-XXXXXX");
    if (!mkdtemp(runtime))
        return -1;
    return setenv("HAWSER_RUNTIME_DIR", runtime, 1);
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(runtime); /* fails when a name is left */
}

static hawser_semaphore *open_new(const char *address, uint32_t permits) {
    hawser_semaphore *semaphore;
    assert_int_equal(hawser_semaphore_open(address, NULL, permits, &semaphore), 0);
    return semaphore;
}

static void expect_refused(const char *address, uint32_t permits, int error, const char *sentence) {
    hawser_semaphore *semaphore;
    assert_int_equal(hawser_semaphore_open(address, NULL, permits, &semaphore), error);
    if (!strstr(hawser_explain(), sentence))
        fail_msg("%s: \"%s\" does not say \"%s\"", address, hawser_explain(), sentence);
}

static void refusals_say_why(void **state) {
    (void)state;
    hawser_semaphore *semaphore = open_new("sem://a", 3);
    expect_refused("sem://a", 4, -EINVAL, "open sem://a: the semaphore was made with 3 permits, not 4");
    expect_refused("sem://b", 0, -ENOENT, "open sem://b: ");
    expect_refused("sem://b", HAWSER_PERMITS_MAX + 1, -EINVAL, "at most 65536 permits, not 65537");
    expect_refused("sem://", 0, -EINVAL, "say how many");
    expect_refused("sem://a?wait=never", 3, -EINVAL, "at character 14");
    expect_refused("cell://a", 3, -EINVAL, "expected sem://NAME");
    expect_refused("sem://../a", 3, -EINVAL, "..");
    assert_int_equal(hawser_semaphore_open(NULL, NULL, 1, &semaphore), -EINVAL);
    assert_int_equal(hawser_semaphore_open("sem://a", NULL, 1, NULL), -EINVAL);
    assert_int_equal(hawser_semaphore_release(semaphore, 1), -EPERM);
    assert_non_null(strstr(hawser_explain(), "release 1 permits: this process does not hold so many"));
    assert_int_equal(hawser_semaphore_acquire(semaphore, 4, HAWSER_NOW), -EINVAL);
    assert_non_null(strstr(hawser_explain(), "acquire 4 permits: the semaphore has 3"));
    hawser_semaphore_close(semaphore);
}

/* A forked child is a user of its own; what the parent holds is not its. */
static void a_child_holds_nothing(void **state) {
    (void)state;
    int status;
    hawser_semaphore *semaphore = open_new("sem://", 1);
    assert_int_equal(hawser_lock(semaphore, HAWSER_NOW), 0);
    pid_t child = fork_child();
    if (child == 0) {
        bool good = hawser_unlock(semaphore) == -EPERM && hawser_semaphore_release(semaphore, 1) == -EPERM &&
                    hawser_lock(semaphore, HAWSER_NOW) == -EAGAIN && hawser_semaphore_close(semaphore) == NULL;
        _exit(!good);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hawser_unlock(semaphore), 0);
    hawser_semaphore_close(semaphore);
}

static int pass_often(hawser_semaphore *semaphore) {
    int passes = 0;
    for (; passes < 100 && hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW) == 0; passes++)
        if (hawser_semaphore_release(semaphore, 1) < 0)
            return 0;
    return passes;
}

/* The right to pass a waiter, once bought, is not forked. */
static void children_inherit_no_passes(void **state) {
    (void)state;
    struct hawser_semaphore_status now = HAWSER_SEMAPHORE_STATUS_INIT;
    hawser_semaphore *semaphore = open_new("sem://", 1);
    int status, passes = 0;
    assert_int_equal(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0);
    pid_t waiter = fork_child();
    if (waiter == 0)
        _exit(hawser_semaphore_acquire(semaphore, 1, HAWSER_FOREVER));
    while (now.waiting == 0)
        assert_int_equal(hawser_semaphore_status(semaphore, &now), 0);
    kill(waiter, SIGSTOP); /* slow to wake up */
    assert_int_equal(waitpid(waiter, &status, WUNTRACED), waiter);
    assert_int_equal(hawser_semaphore_release(semaphore, 1), 0);
    assert_int_equal(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0);
    assert_int_equal(hawser_semaphore_release(semaphore, 1), 0);
    for (unsigned i = 0; i < 20; i++) {
        pid_t child = fork_child();
        if (child == 0)
            _exit(pass_often(semaphore));
        assert_int_equal(waitpid(child, &status, 0), child);
        passes += WEXITSTATUS(status);
    }
    if (passes < 512 || passes >= 1024)
        fail_msg("%d passes", passes);
    kill(waiter, SIGCONT);
    hawser_semaphore_close(semaphore);
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_int_equal(status, 0);
}

/* ---- Faults ---- */

/* A close that fails has closed all the same; and what gives memory back cannot fail here. */
static bool fault_harmless(const char *name) { return strcmp(name, "close") == 0 || strcmp(name, "munmap") == 0; }

static unsigned descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* What opened is used: to wait in vain, and to look. */
static int use_open(hawser_semaphore *semaphore) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    struct hawser_semaphore_holder holder;
    size_t n;
    int ticket = -1;
    assert_int_equal(hawser_semaphore_acquire(semaphore, 2, HAWSER_NOW), 0);
    assert_int_equal(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), -EAGAIN);
    assert_int_equal(hawser_semaphore_acquire(semaphore, 1, MS / 10), -ETIMEDOUT);
    assert_int_equal(hawser_semaphore_status(semaphore, &status), 0);
    assert_int_equal(status.available, 0);
    int r = hawser_semaphore_holders(semaphore, &holder, 1, &n);
    if (r == 0 && (n != 1 || holder.permits != 2 || holder.pid != getpid()))
        fail_msg("%zu holders, pid %d holds %u", n, (int)holder.pid, holder.permits);
    assert_int_equal(hawser_semaphore_release(semaphore, 2), 0);
    if (r == 0)
        r = hawser_semaphore_export(semaphore, &ticket);
    if (r == 0) {
        hawser_semaphore *adopted;
        r = hawser_semaphore_adopt(ticket, NULL, &adopted);
        if (r == 0)
            hawser_semaphore_close(adopted);
    }
    if (ticket >= 0)
        close(ticket);
    return r;
}

static int use(const char *address) {
    hawser_semaphore *semaphore;
    int r = hawser_semaphore_open(address, NULL, 2, &semaphore);
    if (r < 0)
        return r;
    r = use_open(semaphore);
    hawser_semaphore_close(semaphore);
    return r;
}

static int use_faulty(const char *address, unsigned nth) {
    fault_begin(nth);
    int r = use(address);
    fault_end();
    return r;
}

static void fail_each(const char *address, int with) {
    assert_true(waker_self() >= 0); /* of this thread: made once, and stays */
    assert_int_equal(use(address), 0);
    unsigned before = descriptors(), n = 1;
    failure = with;
    for (;; n++) {
        error_note(0, "");
        int r = use_faulty(address, n);
        if (!failed)
            break;
        if (r < 0 && !hawser_explain()[0])
            fail_msg("call %u, %s, fails with %d: %d without a sentence", n, failed, with, r);
        if (descriptors() != before)
            fail_msg("call %u, %s, fails with %d: %u descriptors, not %u", n, failed, with, descriptors(), before);
        assert_int_equal(use(address), 0);
    }
    assert_true(n > 20);
}

static void every_call_may_fail(void **state) {
    (void)state;
    fail_each("sem://a?wait=block", -ENOMEM);
    fail_each("sem://a", -EINTR);
    fail_each("sem://?wait=block", -EMFILE);
    fail_each("sem://", -EAGAIN);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = { TEST(refusals_say_why), TEST(a_child_holds_nothing), TEST(children_inherit_no_passes),
                                        TEST(every_call_may_fail) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
