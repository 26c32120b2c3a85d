/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "transport/sysv/record.h"

#include "base/fork_test.h"
#include "base/error.h"
#include "transport/sysv/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char runtime[] = "/tmp/hawser-record-XXXXXX";

static int begin(void **state) {
    (void)state;
    return mkdtemp(runtime) && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0 ? 0 : -1;
}

static int end(void **state) {
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/.sysv", runtime);
    return rmdir(path) == 0 && rmdir(runtime) == 0 ? 0 : -1; /* fails if a record was left */
}

static bool queue_exists(uint32_t key) { return msgget((key_t)key, 0) >= 0; }

static void test_removed(void **state) {
    struct record record;
    int queues[2];
    (void)state;
    assert_int_equal(record_make(&record, queues), 0);
    uint32_t key = record.key;
    char path[sizeof record.path];
    memcpy(path, record.path, sizeof path);
    assert_true(queue_exists(key) && queue_exists(key + 1));
    assert_int_equal(access(path, F_OK), 0);
    record_remove(&record, queues);
    assert_false(queue_exists(key) || queue_exists(key + 1));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(record.fd, -1);
    record_remove(&record, queues); /* twice is harmless */
}

static void test_lives_with_either_holder(void **state) {
    struct record record, other;
    int queues[2];
    (void)state;
    assert_int_equal(record_make(&record, queues), 0);
    uint32_t key = record.key;
    int copy = dup(record.fd);
    assert_int_equal(record_adopt(key, &copy, &other), 0);
    assert_int_equal(copy, -1);
    assert_string_equal(other.path, record.path);
    assert_int_equal(record_collect(), 0);
    record_leave(&record);
    assert_true(queue_exists(key));
    assert_int_equal(record_collect(), 0);
    record_leave(&other);
    assert_false(queue_exists(key) || queue_exists(key + 1));
}

static void test_orphan_is_collected(void **state) {
    int pipe_fds[2];
    (void)state;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct record record;
        int queues[2];
        int r = record_make(&record, queues);
        if (r < 0 || write(pipe_fds[1], &record.key, sizeof record.key) != sizeof record.key)
            _exit(1);
        alarm(60); /* should the test fail before it kills us */
        pause();
    }
    uint32_t key = 0;
    assert_int_equal(read(pipe_fds[0], &key, sizeof key), sizeof key);
    assert_int_equal(record_collect(), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(queue_exists(key) && queue_exists(key + 1));
    assert_int_equal(record_collect(), 1);
    assert_false(queue_exists(key) || queue_exists(key + 1));
    assert_int_equal(record_collect(), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_others_files_stay(void **state) {
    static const char *const names[] = { "0000000", "0000000g", "00000003", "000000020", "notes" };
    char path[96];
    (void)state;
    assert_int_equal(record_collect(), 0);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/.sysv/%s", runtime, names[i]);
        close(open(path, O_CREAT | O_WRONLY, 0600));
        assert_int_equal(record_collect(), 0);
        assert_int_equal(unlink(path), 0);
    }
}

static void test_peers_record_is_checked(void **state) {
    int fds[2];
    struct record record = RECORD_NONE;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(record_adopt(2, &fds[0], &record), -EPROTO);
    int file = open("/proc/self/exe", O_RDONLY);
    assert_int_equal(record_adopt(0, &file, &record), -EPROTO);
    assert_int_equal(record_adopt(3, &file, &record), -EPROTO);
    assert_int_equal(record_adopt(0x80000000u, &file, &record), -EPROTO);
    assert_int_equal(record_adopt(2, &file, &record), 0);
    assert_string_equal(record.path, ""); /* a file that is no record is never unlinked */
    record_leave(&record);
    close(fds[0]);
    close(fds[1]);
}

static int (*real_msgget)(key_t key, int flags);
static int failures, failure;

static int failing_msgget(key_t key, int flags) {
    if (flags & IPC_CREAT && failures-- == 0)
        return failure;
    return real_msgget(key, flags);
}

static void test_limit_is_named(void **state) {
    struct record record;
    int queues[2];
    (void)state;
    real_msgget = sys_table.msgget;
    sys_table.msgget = failing_msgget;
    for (int nth = 0; nth < 2; nth++) {
        failures = nth;
        failure = -ENOSPC;
        assert_int_equal(record_make(&record, queues), -ENOSPC);
        assert_non_null(strstr(error_sentence(), "kernel.msgmni"));
        failures = nth;
        failure = -EEXIST; /* another program was faster: another key does */
        assert_int_equal(record_make(&record, queues), 0);
        record_remove(&record, queues);
    }
    sys_table.msgget = real_msgget;
}

static int failing_msgctl(int queue, int operation, struct msqid_ds *status) {
    return operation == IPC_RMID && failures-- == 0 ? failure : sys_table_real.msgctl(queue, operation, status);
}

/* A queue that could not be removed keeps its record, and the next open tries again. */
static void test_failed_removal_is_made_good(void **state) {
    static const int errors[] = { -EINTR, -EPERM };
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct record record;
        int queues[2];
        assert_int_equal(record_make(&record, queues), 0);
        uint32_t key = record.key;
        failures = (int)(i & 1);
        failure = errors[i / 2];
        sys_table.msgctl = failing_msgctl;
        record_remove(&record, queues);
        sys_table.msgctl = sys_table_real.msgctl;
        assert_int_equal(queue_exists(key) || queue_exists(key + 1), failure == -EPERM);
        assert_int_equal(record_collect(), failure == -EPERM);
        assert_false(queue_exists(key) || queue_exists(key + 1));
    }
}

static void test_queue_of_others_is_refused(void **state) {
    struct record record;
    int queues[2];
    struct {
        long type;
        char byte;
    } message = { 1, 'x' };
    (void)state;
    assert_int_equal(record_make(&record, queues), 0);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid(), getpid(), true), 0);
    assert_int_equal(sysv_queue_check(queues[1], record.key, geteuid(), getpid(), true), -EPROTO);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid() + 1, getpid(), true), -EPROTO);
    assert_int_equal(sysv_queue_check(-1, record.key, geteuid(), getpid(), true), -EPROTO);
    assert_int_equal(msgsnd(queues[0], &message, 1, 0), 0);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid(), getpid(), true), 0);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid(), getpid(), false), -EPROTO);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid(), getpid() + 1, true), -EPROTO);
    assert_int_equal(msgrcv(queues[0], &message, 1, 0, 0), 1);
    assert_int_equal(sysv_queue_check(queues[0], record.key, geteuid(), getpid(), true), -EPROTO);
    record_remove(&record, queues);
}

static void test_packet_limits(void **state) {
    struct options options = { .packet = 0 };
    size_t packet = 0;
    (void)state;
    assert_int_equal(sysv_queue_packet(&options, &packet), 0);
    assert_in_range(packet, 1, 1 << 24);
    options.packet = 64;
    assert_int_equal(sysv_queue_packet(&options, &packet), 0);
    assert_int_equal(packet, 64);
    options.packet = UINT32_MAX;
    assert_int_equal(sysv_queue_packet(&options, &packet), -EINVAL);
    assert_non_null(strstr(error_sentence(), "kernel.msgmax"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_lives_with_either_holder),
        cmocka_unit_test(test_orphan_is_collected),
        cmocka_unit_test(test_others_files_stay),
        cmocka_unit_test(test_peers_record_is_checked),
        cmocka_unit_test(test_limit_is_named),
        cmocka_unit_test(test_failed_removal_is_made_good),
        cmocka_unit_test(test_queue_of_others_is_refused),
        cmocka_unit_test(test_packet_limits),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
