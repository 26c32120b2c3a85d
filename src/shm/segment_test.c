/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "shm/segment.h"

#include "base/fork_test.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void test_create_and_adopt(void **state) {
    (void)state;
    struct memory own;
    struct segment_view view;
    int fd = -1;
    assert_int_equal(segment_create(&(struct segment_plan){ .ring_size = 65536, .ring_quota = 1 << 21, .pool_quota = 1 << 20, .barrier = true }, &own, &fd), 0);
    assert_int_equal(own.size, 4096 + 65536);
    assert_int_equal(segment_adopt(fd, &view), 0);
    assert_int_equal(view.ring_size, 65536);
    assert_int_equal(view.pool_quota, 1 << 20);
    assert_int_equal(view.ring_quota, 1 << 21);
    segment_ring(&own)[77] = 5;
    assert_int_equal(segment_ring(&view.memory)[77], 5);
    /* what the peer got cannot be written, mapped to write, or cut */
    assert_true(sys_write(fd, "x", 1) < 0);
    long second = sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_int_equal(second, -EPERM);
    assert_int_equal(sys_ftruncate(fd, 0), -EPERM);
    memory_unmap(&view.memory);
    memory_unmap(&own);
    assert_int_equal(own.size, 0);
    sys_close(fd);
}

/* Every seal but one, holes, wrong kinds: refused, and the sentence says why. */
static void test_refusals(void **state) {
    (void)state;
    const int seals[] = { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL };
    static const char zeroes[8192];
    struct memory memory;
    for (size_t i = 0; i < 4; i++) {
        int fd = sys_memfd_create("test", MFD_ALLOW_SEALING);
        assert_int_equal(sys_write(fd, zeroes, sizeof zeroes), sizeof zeroes);
        int all = MEMORY_SEALS & ~seals[i];
        assert_int_equal(sys_fcntl(fd, F_ADD_SEALS, all), 0);
        assert_int_equal(memory_adopt(fd, 1, 1 << 20, 0, &memory), -EPROTO);
        assert_non_null(strstr(error_sentence(), "seals"));
        sys_close(fd);
    }
    int fd = sys_memfd_create("test", MFD_ALLOW_SEALING);
    assert_int_equal(sys_ftruncate(fd, 8192), 0);
    assert_int_equal(sys_fcntl(fd, F_ADD_SEALS, MEMORY_SEALS), 0);
    assert_int_equal(memory_adopt(fd, 1, 1 << 20, 0, &memory), -EPROTO);
    assert_non_null(strstr(error_sentence(), "holes"));
    assert_int_equal(memory_adopt(fd, 8193, 1 << 20, 0, &memory), -EPROTO);
    assert_int_equal(memory_adopt(fd, 1, 8191, 0, &memory), -EPROTO);
    assert_non_null(strstr(error_sentence(), "quota"));
    sys_close(fd);
    fd = sys_memfd_create("test", MFD_ALLOW_SEALING | MFD_HUGETLB); /* claims to have no holes, and has nothing else */
    if (fd >= 0) {
        assert_int_equal(sys_ftruncate(fd, 1 << 30), 0);
        assert_int_equal(sys_fcntl(fd, F_ADD_SEALS, MEMORY_SEALS), 0);
        assert_int_equal(memory_adopt(fd, 1, 1 << 30, 0, &memory), -EPROTO);
        assert_non_null(strstr(error_sentence(), "huge pages"));
        sys_close(fd);
    }
    int pipes[2];
    assert_int_equal(sys_pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(memory_adopt(pipes[0], 1, 1 << 20, 0, &memory), -EPROTO);
    sys_close(pipes[0]);
    sys_close(pipes[1]);
}

/* A descriptor that can only be read still takes seals off nothing; one sealed, with a lying header, is refused. */
static void test_lying_header(void **state) {
    (void)state;
    struct segment_view view;
    for (int field = 0; field < 6; field++) {
        struct memory own;
        int fd = -1;
        assert_int_equal(segment_create(&(struct segment_plan){ .ring_size = 4096, .barrier = true }, &own, &fd), 0);
        struct shm_segment *segment = segment_of(&own);
        switch (field) {
        case 0: segment->magic++; break;
        case 1: segment->version++; break;
        case 2: segment->size++; break;
        case 3: segment->ring_size = 8192; break;
        case 4: segment->ring_size = 4104; break;
        default: segment->release_entries = 1024; break;
        }
        assert_int_equal(segment_adopt(fd, &view), -EPROTO);
        memory_unmap(&own);
        sys_close(fd);
    }
}

static void test_message_memory(void **state) {
    (void)state;
    static char bytes[5000] = "hello";
    int fd = -1;
    struct memory map;
    assert_int_equal(memory_message(100000, NULL, &fd), 0);
    assert_int_equal(memory_map_writable(fd, 100000, &map), 0);
    memset(map.base, 7, 100000);
    memory_unmap(&map);
    assert_int_equal(memory_seal(fd, 70000), 0);
    assert_int_equal(memory_adopt(fd, 70000, 70000, 1, &map), 0);
    assert_int_equal(map.base[69999], 7);
    memory_unmap(&map);
    sys_close(fd);
    assert_int_equal(memory_message(5000, bytes, &fd), 0);
    assert_int_equal(memory_seal(fd, 5000), 0);
    assert_int_equal(memory_adopt(fd, 5000, 8192, 1, &map), 0);
    assert_memory_equal(map.base, "hello", 5);
    memory_unmap(&map);
    sys_close(fd);
}

/* In a child, as a limit once lowered may not rise again. */
static void test_file_limit(void **state) {
    (void)state;
    pid_t child = fork_child();
    if (child == 0) {
        struct rlimit limit = { .rlim_cur = 65536, .rlim_max = 65536 };
        setrlimit(RLIMIT_FSIZE, &limit);
        struct memory memory;
        int fd;
        int small = memory_create("test", 65536, &memory, &fd);
        int large = memory_create("test", 65537, &memory, &fd);
        _exit(small == 0 && large == -EFBIG && strstr(error_sentence(), "ulimit -f") ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

/* A forked child does not have the map: whatever it does there cannot reach the parent's peers. */
static void test_not_inherited(void **state) {
    (void)state;
    struct memory own;
    int fd = -1;
    assert_int_equal(memory_create("test", 4096, &own, &fd), 0);
    pid_t child = fork_child();
    if (child == 0)
        _exit(sys_madvise(own.base, own.size, MADV_NORMAL) == -ENOMEM ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    memory_unmap(&own);
    sys_close(fd);
}

static void test_barrier(void **state) {
    (void)state;
    uint32_t bits = barrier_prepare();
    assert_int_equal(bits, barrier_prepare());
    if (bits & SHM_BARRIER_ISSUES)
        assert_int_equal(barrier_heavy(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_adopt), cmocka_unit_test(test_refusals),      cmocka_unit_test(test_lying_header),
        cmocka_unit_test(test_message_memory),   cmocka_unit_test(test_file_limit),    cmocka_unit_test(test_not_inherited),
        cmocka_unit_test(test_barrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
