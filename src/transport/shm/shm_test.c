/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is particular to shared memory: where messages of each size travel, what crosses beside the ring. What every channel promises is the conformance suite's. */

#include "transport/shm/shm_test.h"

#include "base/fork_test.h"

/* Inline, pool and own memfd, each at its edges; received by copy, in place, and in place but stable. */
static void test_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 255, 256, 257, 4096, 65536, 131072, 262144, 262145, 1048576, 4194304 };
    static const char *const addresses[] = { SMALL, "shm://?max_message=4M", SMALL "&stable=yes", SMALL "&barrier=fence" };
    uint8_t *buffer = malloc(4194304);
    for (size_t which = 0; which < 4; which++) {
        struct ends ends = pair_of(addresses[which]);
        for (unsigned round = 0; round < 45; round++) {
            size_t size = sizes[round % 15], got = 0;
            uint8_t *bytes = pattern(size, round);
            ok(hawser_send(ends.a, bytes, size, HAWSER_NOW));
            if (round % 3 == 0) {
                hawser_message message;
                ok(hawser_take(ends.b, HAWSER_NOW, &message));
                assert_int_equal(message.size, size);
                assert_true(matches(message.data, size, round));
                if (which == 2)
                    assert_int_equal(message.stable, 1);
                ok(hawser_release(ends.b, &message));
            } else {
                assert_int_equal(size > 0 ? hawser_recv(ends.b, buffer, size - 1, HAWSER_NOW, &got) : -EMSGSIZE, -EMSGSIZE);
                ok(hawser_recv(ends.b, buffer, size, HAWSER_NOW, &got));
                assert_int_equal(got, size);
                assert_true(matches(buffer, size, round));
            }
            free(bytes);
        }
        assert_int_equal(hawser_recv(ends.b, buffer, 1, HAWSER_NOW, &(size_t){ 0 }), -EAGAIN);
        ends_close(&ends);
    }
    free(buffer);
}

/* What one end queues before the other was ever used is all there, after its death even. */
static void test_before_first_use(void **state) {
    (void)state;
    struct ends ends = pair_of(SMALL);
    uint8_t *large = pattern(100000, 3);
    pid_t child = fork_child();
    if (child == 0) {
        int r = hawser_send(ends.b, "first", 5, 0);
        for (int i = 0; r == 0 && i < 2; i++)
            r = hawser_send(ends.b, large, 100000, 0);
        if (r == 0)
            r = hawser_send(ends.b, "last", 4, 0);
        _exit(r == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    static uint8_t buffer[100000];
    size_t size;
    ok(hawser_recv(ends.a, buffer, sizeof buffer, SECOND, &size));
    assert_memory_equal(buffer, "first", 5);
    for (int i = 0; i < 2; i++) {
        ok(hawser_recv(ends.a, buffer, sizeof buffer, SECOND, &size));
        assert_int_equal(size, 100000);
        assert_true(matches(buffer, size, 3));
    }
    ok(hawser_recv(ends.a, buffer, sizeof buffer, SECOND, &size));
    assert_memory_equal(buffer, "last", 4);
    hawser_close(ends.b); /* this process's copy */
    assert_int_equal(hawser_recv(ends.a, buffer, sizeof buffer, SECOND, &size), -ECONNRESET);
    assert_int_equal(hawser_send(ends.a, "x", 1, SECOND), -EPIPE);
    hawser_close(ends.a);
    free(large);
}

/* A program that never waits learns of a death all the same. */
static void test_death_without_waiting(void **state) {
    (void)state;
    for (int sends = 0; sends < 2; sends++) {
        struct ends ends = pair_of(SMALL);
        pid_t child = fork_child();
        if (child == 0) {
            int r = hawser_send(ends.b, "x", 1, 0);
            raise(SIGKILL);
            _exit(r);
        }
        char byte;
        size_t size;
        ok(hawser_recv(ends.a, &byte, 1, SECOND, &size));
        waitpid(child, NULL, 0);
        hawser_close(ends.b);
        int r = -EAGAIN;
        while (r == -EAGAIN || r == 0)
            r = sends ? hawser_send(ends.a, "x", 1, HAWSER_NOW) : hawser_recv(ends.a, &byte, 1, HAWSER_NOW, &size);
        assert_int_equal(r, sends ? -EPIPE : -ECONNRESET);
        hawser_close(ends.a);
    }
}

static void send_descriptor(hawser_channel *channel, const char *text, size_t size, unsigned seed) {
    int fds[2];
    assert_int_equal(sys_pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(sys_write(fds[1], text, 3), 3);
    uint8_t *bytes = pattern(size, seed);
    ok(hawser_send_fds(channel, bytes, size, fds, 2, HAWSER_NOW));
    free(bytes);
    sys_close(fds[0]);
    sys_close(fds[1]);
}

static void test_descriptors(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 10, 5000, 1000000 };
    static uint8_t buffer[1000000];
    struct shm_link *unused;
    struct ends ends = met_pair(&unused);
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 4; i++) {
        send_descriptor(ends.a, "abc", sizes[i], i);
        send_descriptor(ends.a, "def", 10, i); /* not asked for: closed */
        send_descriptor(ends.a, "ghi", 10, i); /* taken: closed */
        send_descriptor(ends.a, "jkl", 10, i);
        size_t size, n = 9;
        int fds[2];
        char text[3];
        assert_int_equal(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 1, HAWSER_NOW, &size, &n), -EMSGSIZE);
        assert_int_equal(n, 2);
        ok(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 2, HAWSER_NOW, &size, &n));
        assert_int_equal(size, sizes[i]);
        assert_int_equal(n, 2);
        assert_true(matches(buffer, size, i));
        assert_int_equal(sys_read(fds[0], text, 3), 3);
        assert_memory_equal(text, "abc", 3);
        sys_close(fds[0]);
        sys_close(fds[1]);
        ok(hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size));
        hawser_message message;
        ok(hawser_take(ends.b, HAWSER_NOW, &message));
        ok(hawser_release(ends.b, &message));
        ok(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 2, HAWSER_NOW, &size, &n));
        assert_int_equal(sys_read(fds[0], text, 3), 3);
        assert_memory_equal(text, "jkl", 3);
        sys_close(fds[0]);
        sys_close(fds[1]);
        assert_int_equal(open_descriptors(), before);
    }
    ends_close(&ends);
}

/* With no descriptor free the message stays, and comes once there is one. */
static void test_no_free_descriptors(void **state) {
    (void)state;
    static const size_t sizes[] = { 10, 5000, 1000000 };
    static uint8_t buffer[1000000];
    for (unsigned i = 0; i < 3; i++) {
        struct ends ends = pair_of(SMALL);
        int fds[2], full[256];
        size_t size, n, n_full = 0;
        struct rlimit old, few = { .rlim_cur = 200 };
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(hawser_recv(ends.b, buffer, 1, HAWSER_NOW, &size), -EAGAIN);
        send_descriptor(ends.a, "abc", sizes[i], i);
        assert_int_equal(hawser_recv(ends.b, buffer, 0, HAWSER_NOW, &size), -EMSGSIZE); /* the hello, the pool came */
        few.rlim_max = old.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        while (n_full < 256 && (full[n_full] = sys_fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0)
            n_full++;
        assert_int_equal(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 2, HAWSER_NOW, &size, &n), -EMFILE);
        assert_int_equal(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 2, HAWSER_NOW, &size, &n), -EMFILE);
        for (size_t k = 0; k < n_full; k++)
            sys_close(full[k]);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        ok(hawser_recv_fds(ends.b, buffer, sizeof buffer, fds, 2, HAWSER_NOW, &size, &n));
        assert_true(matches(buffer, sizes[i], i));
        sys_close(fds[0]);
        sys_close(fds[1]);
        ends_close(&ends);
    }
}

static void test_loans(void **state) {
    (void)state;
    struct ends ends = pair_of(SMALL);
    void *loans[SHM_LOANS], *more;
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < SHM_LOANS; i++) {
            ok(hawser_loan(ends.a, 3000, HAWSER_NOW, &loans[i]));
            memset(loans[i], (int)i, 3000);
        }
        assert_int_equal(hawser_loan(ends.a, 1, HAWSER_NOW, &more), -ENOBUFS);
        int sent = 0;
        while (hawser_send(ends.a, "0123456789", 10, HAWSER_NOW) == 0) /* fills the ring: commits still never wait */
            sent++;
        for (unsigned i = 0; i < SHM_LOANS; i++)
            if (i % 5 == 0)
                ok(hawser_discard(ends.a, loans[SHM_LOANS - 1 - i]));
            else
                ok(hawser_commit(ends.a, loans[SHM_LOANS - 1 - i], 3000 - i));
        assert_int_equal(hawser_commit(ends.a, loans[1], 1), -EINVAL);
        char buffer[3000];
        size_t size;
        while (sent-- > 0)
            ok(hawser_recv(ends.b, buffer, 10, HAWSER_NOW, &size));
        for (unsigned i = 0; i < SHM_LOANS; i++) {
            if (i % 5 == 0)
                continue;
            ok(hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size));
            assert_int_equal(size, 3000 - i);
            assert_int_equal(buffer[2000], SHM_LOANS - 1 - i);
        }
        assert_int_equal(hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size), -EAGAIN);
    }
    ends_close(&ends);
}

static void test_large_loan(void **state) {
    (void)state;
    struct ends ends = pair_of(SMALL);
    void *large, *other;
    hawser_message message;
    for (unsigned round = 0; round < 3; round++) {
        ok(hawser_loan(ends.a, 3000000, HAWSER_NOW, &large));
        assert_int_equal(hawser_loan(ends.a, 3000000, HAWSER_NOW, &other), -ENOBUFS);
        uint8_t *bytes = pattern(2500001, round);
        memcpy(large, bytes, 2500001);
        assert_int_equal(hawser_commit(ends.a, large, 3000001), -EMSGSIZE);
        ok(hawser_commit(ends.a, large, 2500001));
        assert_int_equal(hawser_loan(ends.a, 3000000, HAWSER_NOW, &other), -EAGAIN);
        assert_int_equal(hawser_send(ends.a, bytes, 2500001, HAWSER_NOW), -EAGAIN);
        ok(hawser_take(ends.b, HAWSER_NOW, &message));
        assert_int_equal(message.size, 2500001);
        assert_int_equal(message.stable, 1);
        assert_true(matches(message.data, message.size, round));
        ok(hawser_release(ends.b, &message));
        ok(hawser_loan(ends.a, 3000000, HAWSER_NOW, &large));
        ok(hawser_discard(ends.a, large));
        free(bytes);
    }
    ends_close(&ends);
}

/* Held messages keep their bytes, whatever comes after, and come back in any order. */
static void test_release_any_order(void **state) {
    (void)state;
    struct ends ends = pair_of(SMALL);
    struct {
        hawser_message message;
        unsigned seed;
    } held[200];
    unsigned n = 0, next_in = 0, next_out = 0, random = 1, full = 0;
    for (int step = 0; step < 20000; step++) {
        random = random * 1103515245 + 12345;
        unsigned what = random >> 16;
        if (what % 3 != 0) {
            size_t size = (what / 3) % 7 == 0 ? 20000 : (what / 3) % 300;
            uint8_t *bytes = pattern(size, next_in);
            int r = hawser_send(ends.a, bytes, size, HAWSER_NOW);
            free(bytes);
            if (r == 0)
                next_in++;
            else
                assert_int_equal(r, -EAGAIN);
            full += r != 0;
        }
        if (n < 200 && hawser_take(ends.b, HAWSER_NOW, &held[n].message) == 0)
            held[n++].seed = next_out++;
        if (n > 0 && (what % 5 < 3 || n > 20)) {
            unsigned which = what % n;
            assert_true(matches(held[which].message.data, held[which].message.size, held[which].seed));
            hawser_message copy = held[which].message;
            ok(hawser_release(ends.b, &held[which].message));
            assert_int_equal(hawser_release(ends.b, &copy), -EINVAL);
            held[which] = held[--n];
        }
    }
    assert_true(full > 0 && next_out > 1000);
    ends_close(&ends);
}

/* A reader that lags makes the sender wait; one that holds what it took gets the whole pool. */
static void test_pool_grows_for_holders(void **state) {
    (void)state;
    struct shm_link *sender;
    struct ends ends = pair_of("shm://?pool=32M");
    static uint8_t bytes[1 << 20];
    hawser_message held[24];
    sender = shm_of(ends.a->link);
    int sent = 0;
    while (hawser_send(ends.a, bytes, sizeof bytes, HAWSER_NOW) == 0)
        sent++;
    assert_true(sent >= 4 && sender->sender.pool->total <= 8 << 20);
    for (int i = 0; i < 24; i++) {
        ok(hawser_take(ends.b, HAWSER_NOW, &held[i]));
        if (i >= sent - 1)
            ok(hawser_send(ends.a, bytes, sizeof bytes, HAWSER_NOW));
    }
    for (int i = 0; i < 24; i++)
        ok(hawser_release(ends.b, &held[i]));
    ends_close(&ends);
}

/* Both processes sleep and are woken, over and over: for messages, for room, for acknowledgements. */
static void wake_test(const char *address) {
    struct ends ends = pair_of(address);
    char buffer[256];
    size_t size;
    pid_t child = fork_child();
    if (child == 0) {
        int r = 0;
        while (r == 0) {
            r = hawser_recv(ends.b, buffer, sizeof buffer, 20 * SECOND, &size);
            if (r == 0 && size == 8)
                r = hawser_send(ends.b, buffer, size, 20 * SECOND);
        }
        hawser_close(ends.b);
        _exit(r == -ESHUTDOWN ? 0 : 1);
    }
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t back = 0;
        ok(hawser_send(ends.a, &i, sizeof i, 20 * SECOND));
        ok(hawser_recv(ends.a, &back, sizeof back, 20 * SECOND, &size));
        assert_int_equal(back, i);
    }
    for (uint64_t i = 0; i < 20000; i++)
        ok(hawser_send(ends.a, buffer, 100, 20 * SECOND));
    for (uint64_t i = 0; i < 300; i++)
        ok(hawser_send_sync(ends.a, buffer, 100, 20 * SECOND));
    ok(hawser_flush(ends.a, 20 * SECOND));
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    ok(hawser_statistics(ends.a, &statistics));
    assert_int_equal(statistics.messages_sent, 20800);
    hawser_shutdown(ends.a);
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(hawser_recv(ends.a, buffer, sizeof buffer, SECOND, &size), -ESHUTDOWN);
    ends_close(&ends);
}

static void test_wakes(void **state) {
    (void)state;
    wake_test("shm://?ring=4K&wait=block");
    wake_test("shm://?ring=4K&wait=block&barrier=fence");
    wake_test("shm://?ring=4K&wait=adaptive");
}

/* Threads of both ends send and receive at once, asleep half of the time; sizes of all three kinds. */
#define EACH 3000

struct traffic {
    hawser_channel *channel;
    unsigned threads, received;
};

static size_t traffic_size(unsigned i) { return i % 97 == 0 ? 300000 : i % 11 == 0 ? 2000 : i % 200; }

static void *traffic_out(void *argument) {
    struct traffic *traffic = argument;
    uint8_t *bytes = pattern(300000, 5);
    for (unsigned i = 0; i < EACH; i++) {
        int r = i % 50 == 0 ? hawser_send_sync(traffic->channel, bytes, traffic_size(i), 30 * SECOND)
                            : hawser_send(traffic->channel, bytes, traffic_size(i), 30 * SECOND);
        if (r != 0)
            return (void *)"send";
    }
    free(bytes);
    return NULL;
}

static void *traffic_in(void *argument) {
    struct traffic *traffic = argument;
    while (add_relaxed(&traffic->received, 1) < EACH * traffic->threads) {
        hawser_message message;
        if (hawser_take(traffic->channel, 30 * SECOND, &message) != 0)
            return (void *)"take";
        bool right = matches(message.data, message.size, 5);
        if (hawser_release(traffic->channel, &message) != 0 || !right)
            return (void *)"bytes";
    }
    return NULL;
}

static void traffic_test(const char *address, unsigned threads) {
    struct ends ends = pair_of(address);
    struct traffic traffic[2] = { { ends.a, threads, 0 }, { ends.b, threads, 0 } };
    pthread_t ids[12];
    unsigned n = 0;
    for (unsigned i = 0; i < threads; i++)
        for (int end = 0; end < 2; end++) {
            assert_int_equal(pthread_create(&ids[n++], NULL, traffic_out, &traffic[end]), 0);
            assert_int_equal(pthread_create(&ids[n++], NULL, traffic_in, &traffic[end]), 0);
        }
    while (n > 0) {
        void *failed = NULL;
        pthread_join(ids[--n], &failed);
        if (failed)
            fail_msg("%s: %s", address, (const char *)failed);
    }
    ends_close(&ends);
}

static void test_threads(void **state) {
    (void)state;
    traffic_test(SMALL "&wait=block", 1);
    traffic_test(SMALL, 1);
    traffic_test(SMALL "&wait=block&threads=many", 3);
}

/* An idle link's descriptors: rendezvous socket, pidfd, carrier. */
static void test_idle_descriptors(void **state) {
    (void)state;
    struct ends first = pair_of("shm://"); /* the thread's waker comes with it */
    unsigned before = open_descriptors();
    struct ends ends = pair_of("shm://");
    size_t size;
    ok(hawser_send(ends.a, "", 0, HAWSER_NOW));
    ok(hawser_recv(ends.b, NULL, 0, HAWSER_NOW, &size));
    ok(hawser_send(ends.b, "", 0, HAWSER_NOW));
    ok(hawser_recv(ends.a, NULL, 0, HAWSER_NOW, &size));
    assert_true(open_descriptors() - before <= 6);
    ends_close(&ends);
    assert_int_equal(open_descriptors(), before);
    ends_close(&first);
}

/* ---- A peer that lies. Both ends in one process; what a hostile one would write is written into its segment. ---- */

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_before_first_use),  cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_no_free_descriptors), cmocka_unit_test(test_loans),        cmocka_unit_test(test_large_loan),
        cmocka_unit_test(test_release_any_order), cmocka_unit_test(test_wakes), cmocka_unit_test(test_threads), cmocka_unit_test(test_pool_grows_for_holders), cmocka_unit_test(test_death_without_waiting),          cmocka_unit_test(test_idle_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
