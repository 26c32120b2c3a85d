/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The larger ring, which joins when a reader first does not keep up: nothing is lost, altered or out of turn across the move, whatever
 * is held, lent or under way; and where it cannot be had, the first ring does. */

#include "transport/shm/shm_test.h"

#include <sys/resource.h>

#define GROWING "shm://?ring=256K"
#define SIZE 1000

static void meet(struct ends *ends) {
    char byte;
    size_t size;
    ok(hawser_send(ends->a, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends->b, &byte, 1, HAWSER_NOW, &size));
    ok(hawser_send(ends->b, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends->a, &byte, 1, HAWSER_NOW, &size));
}

/* Sends messages of SIZE bytes, numbered from `from`, until there is no room; returns the next number. */
static unsigned fill(hawser_channel *channel, unsigned from) {
    for (;; from++) {
        uint8_t *bytes = pattern(SIZE, from);
        int r = hawser_send(channel, bytes, SIZE, HAWSER_NOW);
        free(bytes);
        if (r == -EAGAIN)
            return from;
        ok(r);
    }
}

static void drain(hawser_channel *channel, unsigned from, unsigned to) {
    static uint8_t buffer[SIZE + 1];
    size_t size;
    for (; from < to; from++) {
        ok(hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size));
        assert_int_equal(size, SIZE);
        assert_true(matches(buffer, size, from));
    }
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size), -EAGAIN);
}

struct accepting {
    hawser_listener *listener;
    hawser_channel **ret_channel;
};

static void *accept_one(void *argument) {
    struct accepting *accepting = argument;
    if (hawser_accept(accepting->listener, 30 * SECOND, accepting->ret_channel) < 0)
        *accepting->ret_channel = NULL;
    return NULL;
}

static uint64_t ring_of(hawser_channel *channel) { return shm_of(channel->link)->sender.ring.size; }

/* From every place in the first ring, by messages of `step` bytes sent before. */
static void test_moves(void **state) {
    (void)state;
    static uint8_t bytes[4096];
    for (unsigned before = 0; before < 66; before++) {
        struct ends ends = pair_of(GROWING);
        size_t size;
        meet(&ends);
        for (unsigned i = 0; i < before; i++) {
            ok(hawser_send(ends.a, bytes, 997 + 8 * (before % 8), HAWSER_NOW));
            ok(hawser_recv(ends.b, bytes, sizeof bytes, HAWSER_NOW, &size));
        }
        assert_int_equal(ring_of(ends.a), SHM_FIRST_RING);
        unsigned n = fill(ends.a, 0);
        assert_int_equal(ring_of(ends.a), 256 << 10);
        assert_true(n > 180 && n < 270); /* what was skipped in the first ring counts as long as it is not freed */
        drain(ends.b, 0, n);
        assert_int_equal(ring_of(ends.b), SHM_FIRST_RING); /* each direction for itself */
        unsigned more = fill(ends.a, n);
        assert_true(more - n > 240);
        drain(ends.b, n, more);
        ends_close(&ends);
    }
}

/* Messages held, of both rings, and loans out, across the move. */
static void test_holds_and_loans(void **state) {
    (void)state;
    struct ends ends = pair_of(GROWING);
    hawser_message first, second;
    meet(&ends);
    uint8_t *bytes = pattern(SIZE, 7);
    ok(hawser_send(ends.a, bytes, SIZE, HAWSER_NOW));
    free(bytes);
    ok(hawser_take(ends.b, HAWSER_NOW, &first));
    void *loans[20];
    for (unsigned i = 0; i < 20; i++) {
        ok(hawser_loan(ends.a, SIZE, HAWSER_NOW, &loans[i]));
        bytes = pattern(SIZE, 1000 + i);
        memcpy(loans[i], bytes, SIZE);
        free(bytes);
    }
    unsigned n = fill(ends.a, 0);
    assert_int_equal(ring_of(ends.a), 256 << 10);
    for (unsigned i = 0; i < 20; i++)
        ok(hawser_commit(ends.a, loans[i], SIZE));
    for (unsigned i = 0; i < n; i++) {
        ok(hawser_take(ends.b, HAWSER_NOW, &second));
        assert_true(second.size == SIZE && matches(second.data, SIZE, i));
        ok(hawser_release(ends.b, &second));
    }
    drain(ends.b, 1000, 1020);
    assert_true(matches(first.data, SIZE, 7));
    ok(hawser_release(ends.b, &first));
    n = fill(ends.a, 0);
    assert_true(n > 250); /* all of it came back */
    drain(ends.b, 0, n);
    ends_close(&ends);
}

static void test_batch(void **state) {
    (void)state;
    enum { BATCH = 200 };
    struct ends ends = pair_of(GROWING);
    meet(&ends);
    hawser_message messages[BATCH];
    uint8_t *bytes[BATCH];
    size_t sent = 0;
    for (unsigned i = 0; i < BATCH; i++) {
        bytes[i] = pattern(SIZE, i);
        messages[i] = (hawser_message){ .data = bytes[i], .size = SIZE };
    }
    ok(hawser_send_many(ends.a, messages, BATCH, HAWSER_NOW, &sent));
    if (sent < BATCH) { /* a batch ends at the move; the rest is another */
        size_t rest = 0;
        ok(hawser_send_many(ends.a, messages + sent, BATCH - sent, HAWSER_NOW, &rest));
        sent += rest;
    }
    assert_int_equal(sent, BATCH);
    drain(ends.b, 0, BATCH);
    for (unsigned i = 0; i < BATCH; i++)
        free(bytes[i]);
    ends_close(&ends);
}

/* No descriptors are free for it: the first ring does, on both sides, and nothing leaks. */
static void test_cannot_have_it(void **state) {
    (void)state;
    struct rlimit was, none;
    unsigned before = open_descriptors();
    struct ends ends = pair_of(GROWING);
    meet(&ends);
    getrlimit(RLIMIT_NOFILE, &was);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    unsigned n = fill(ends.a, 0);
    setrlimit(RLIMIT_NOFILE, &was);
    assert_int_equal(ring_of(ends.a), SHM_FIRST_RING);
    assert_true(n > 60);
    drain(ends.b, 0, n);
    n = fill(ends.a, 0);
    drain(ends.b, 0, n);
    ends_close(&ends);
    assert_int_equal(open_descriptors(), before);
}

/* The receiver has no descriptor free to take it with: its message waits, and is had later. */
static void test_cannot_take_it(void **state) {
    (void)state;
    static uint8_t buffer[SIZE];
    struct rlimit was, none;
    struct ends ends = pair_of(GROWING);
    size_t size;
    meet(&ends);
    unsigned n = fill(ends.a, 0), i = 0;
    getrlimit(RLIMIT_NOFILE, &was);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    int r = 0;
    while ((r = hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size)) == 0)
        assert_true(matches(buffer, size, i++));
    setrlimit(RLIMIT_NOFILE, &was);
    assert_int_equal(r, -EMFILE);
    assert_true(i > 50 && i < 70);
    drain(ends.b, i, n);
    ends_close(&ends);
}

/* Two ends that want different things: the smaller is had. */
static void test_differ(void **state) {
    (void)state;
    static const struct {
        const char *other;
        uint64_t size;
    } cases[] = { { "ring=128K", 128 << 10 }, { "ring=1M", 256 << 10 }, { "ring=4K", SHM_FIRST_RING }, { "watch=no", SHM_FIRST_RING } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char address[64];
        struct ends ends = { NULL, NULL };
        hawser_listener *listener = NULL;
        snprintf(address, sizeof address, "shm://larger-%d?%s", (int)getpid(), cases[i].other);
        ok(hawser_listen(address, NULL, &listener));
        snprintf(address, sizeof address, "shm://larger-%d?ring=256K", (int)getpid());
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, accept_one, &(struct accepting){ listener, &ends.b }), 0);
        ok(hawser_connect(address, NULL, 30 * SECOND, &ends.a));
        pthread_join(thread, NULL);
        assert_non_null(ends.b);
        meet(&ends);
        unsigned n = fill(ends.a, 0);
        assert_int_equal(ring_of(ends.a), cases[i].size);
        drain(ends.b, 0, n);
        ends_close(&ends);
        hawser_listener_close(listener);
    }
}

/* A channel that makes no system call of its own has its ring from the first. */
static void test_unwatched(void **state) {
    (void)state;
    struct ends ends = pair_of("shm://?ring=256K&watch=no");
    meet(&ends);
    assert_int_equal(ring_of(ends.a), 256 << 10);
    unsigned n = fill(ends.a, 0);
    drain(ends.b, 0, n);
    ends_close(&ends);
}

#define LARGE 65536

static int send_large(hawser_channel *channel, unsigned number) {
    uint8_t *bytes = pattern(LARGE, number);
    int r = hawser_send(channel, bytes, LARGE, HAWSER_NOW);
    free(bytes);
    return r;
}

static void take_large(hawser_channel *channel, unsigned number, hawser_message *ret_message) {
    ok(hawser_take(channel, HAWSER_NOW, ret_message));
    assert_int_equal(ret_message->size, LARGE);
    assert_true(matches(ret_message->data, LARGE, number));
}

static void recv_large(hawser_channel *channel, unsigned number) {
    static uint8_t buffer[LARGE];
    size_t size;
    ok(hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size));
    assert_int_equal(size, LARGE);
    assert_true(matches(buffer, size, number));
}

/* Messages too large for the first ring: when they stream to a reader that copies them the larger one comes, and carries them. */
static void test_streams(void **state) {
    (void)state;
    struct ends ends = pair_of("shm://");
    unsigned sent = 0, taken = 0;
    int r = 0;
    meet(&ends);
    for (; sent < 10; sent++) { /* one at a time: nothing comes */
        ok(send_large(ends.a, sent));
        recv_large(ends.b, sent);
    }
    assert_int_equal(ring_of(ends.a), SHM_FIRST_RING);
    for (unsigned lap = 0; lap < 20; lap++) {
        for (taken = sent; sent < taken + 100 && (r = send_large(ends.a, sent)) == 0; sent++)
            ;
        assert_int_equal(r, -EAGAIN);
        assert_in_range(sent - taken, 12, 40);
        assert_int_equal(ring_of(ends.a), 1 << 20);
        assert_int_equal(shm_of(ends.a->link)->sender.pool->n_chunks, 1); /* what was under way before */
        hawser_poll_item item = { .channel = ends.a, .events = HAWSER_OUT };
        assert_int_equal(hawser_poll(&item, 1, HAWSER_NOW), -EAGAIN);
        for (; taken < sent; taken++)
            recv_large(ends.b, taken);
        assert_int_equal(hawser_poll(&item, 1, HAWSER_NOW), 1);
    }
    ends_close(&ends);
}

/* The reader turns to taking in place, and holds on to what it took: neither what streamed before nor what comes after is in the way of
 * anything. */
static void test_holds_what_streamed(void **state) {
    (void)state;
    enum { MOST = 50 };
    struct ends ends = pair_of("shm://");
    hawser_message messages[MOST];
    unsigned sent = 0;
    meet(&ends);
    for (unsigned before = 0; before < 3; before++, sent++) /* so that the writer may start over at the ring's beginning */
        ok(send_large(ends.a, sent));
    for (unsigned i = 0; i < sent; i++)
        recv_large(ends.b, i);
    assert_int_equal(ring_of(ends.a), 1 << 20);
    unsigned first = sent;
    for (; sent < first + 5; sent++)
        ok(send_large(ends.a, sent));
    for (unsigned i = first; i < first + MOST; i++) {
        take_large(ends.b, i, &messages[i - first]);
        if (sent < first + MOST)
            ok(send_large(ends.a, sent++));
    }
    for (unsigned i = 0; i < 5000; i++) { /* over four rings' worth of small ones */
        uint8_t *bytes = pattern(SIZE, i);
        ok(hawser_send(ends.a, bytes, SIZE, HAWSER_NOW));
        free(bytes);
        drain(ends.b, i, i + 1);
    }
    for (unsigned i = 0; i < MOST; i++) { /* in any order */
        unsigned which = (i * 7 + 3) % MOST;
        assert_true(matches(messages[which].data, LARGE, first + which));
        ok(hawser_release(ends.b, &messages[which]));
    }
    ends_close(&ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),          cmocka_unit_test(test_holds_and_loans), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_cannot_have_it), cmocka_unit_test(test_cannot_take_it),  cmocka_unit_test(test_unwatched),
        cmocka_unit_test(test_differ),         cmocka_unit_test(test_streams),         cmocka_unit_test(test_holds_what_streamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
