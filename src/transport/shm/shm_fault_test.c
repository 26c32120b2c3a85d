/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Every system call that messages over shm make is failed once, in turn: a clear error or success, and no message lost,
 * doubled or leaked. A call that failed is made again, as a program would. */

#include "base/sys.h"

#include <hawser/hawser.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned made, fail_at;
static int fail_with;
static const char *failed;

/* close and munmap do not fail; what they would leave would be the test's own leak. */
static bool fails(const char *name) {
    if (strcmp(name, "close") == 0 || strcmp(name, "munmap") == 0 || ++made != fail_at)
        return false;
    failed = name;
    return true;
}

#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL)                                     \
    static TYPE faulty_##NAME PARAMETERS {                                             \
        return fails(#NAME) ? (TYPE)fail_with : sys_table_real.NAME ARGUMENTS;         \
    }
SYS_CALLS(X)
#undef X

static const struct sys_table faulty = {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) .NAME = faulty_##NAME,
    SYS_CALLS(X)
#undef X
};

static unsigned open_descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += sys_table_real.fcntl(fd, F_GETFD, 0) >= 0;
    return n;
}

/* Once a link is broken, every call says so: that too is a clear error. */
static bool again(int r, unsigned *tries) {
    if (r == 0)
        return false;
    if (r == -EINTR || r == -EAGAIN || !hawser_explain()[0] || ++*tries > 3)
        fail_msg("%s failed with %d: %d (%s)", failed ? failed : "nothing", fail_with, r, hawser_explain());
    return r != -EPROTO;
}

#define RETRY(CALL)                            \
    do {                                       \
        unsigned tries_ = 0;                   \
        int r_;                                \
        while (again(r_ = (CALL), &tries_))    \
            ;                                  \
        if (r_ == -EPROTO)                     \
            goto end;                          \
    } while (0)

static void scenario(void) {
    static const size_t sizes[] = { 10, 5000, 300000, 20 };
    static uint8_t bytes[300000], buffer[300000];
    hawser_channel *a = NULL, *b = NULL;
    void *loan = NULL;
    int fds[2] = { -1, -1 };
    size_t size, n;
    RETRY(hawser_pair("shm://?ring=4K&pool=64K&max_message=1M", NULL, &a, &b));
    for (unsigned i = 0; i < 4; i++) {
        memset(bytes, (int)(i + 1), sizes[i]);
        RETRY(hawser_send(a, bytes, sizes[i], 1000000000));
        RETRY(hawser_recv(b, buffer, sizeof buffer, 1000000000, &size));
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(buffer, bytes, size);
        RETRY(hawser_send_fds(b, bytes, sizes[i], (int[]){ 0 }, 1, 1000000000));
        RETRY(hawser_recv_fds(a, buffer, sizeof buffer, fds, 2, 1000000000, &size, &n));
        assert_int_equal(size, sizes[i]);
        assert_int_equal(n, 1);
        sys_table_real.close(fds[0]);
    }
    RETRY(hawser_loan(a, 3000, 1000000000, &loan));
    RETRY(hawser_commit(a, loan, 3000));
    RETRY(hawser_recv(b, buffer, sizeof buffer, 1000000000, &size));
    assert_int_equal(hawser_recv(b, buffer, sizeof buffer, 1000, &size), -ETIMEDOUT);
    RETRY(hawser_flush(a, 1000000000));
end:
    hawser_close(a);
    hawser_close(b);
}

static void each_with(int error) {
    sys_table = sys_table_real;
    scenario();
    unsigned before = open_descriptors();
    for (fail_at = 1;; fail_at++) {
        made = 0;
        failed = NULL;
        fail_with = error;
        sys_table = faulty;
        scenario();
        sys_table = sys_table_real;
        if (!failed)
            break;
        if (open_descriptors() != before)
            fail_msg("%s failed with %d: %u descriptors, %u before", failed, error, open_descriptors(), before);
    }
    assert_true(fail_at > 50);
}

static void test_no_memory(void **state) {
    (void)state;
    each_with(-ENOMEM);
}

static void test_no_descriptors(void **state) {
    (void)state;
    each_with(-EMFILE);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_no_memory), cmocka_unit_test(test_no_descriptors) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
