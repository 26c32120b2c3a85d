/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Waiting where a thread is held up, or news comes, at one certain moment. Both ends are this thread's: what the other one
 * does, it does inside the system call that is to find it done. */

#include "base/sys.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

static hawser_channel *near, *far;

static void ok(int result) {
    if (result < 0)
        fail_msg("%d: %s", result, hawser_explain());
}

/* ---- a clock that jumps ---- */

static int jump_at; /* at the how manieth look from now on; 0: not */
static int64_t ahead_ns;

/* In libc's place. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock == CLOCK_MONOTONIC && jump_at > 0 && --jump_at == 0)
        ahead_ns += 1000000000;
    int r = (int)syscall(SYS_clock_gettime, clock, now);
    now->tv_sec += ahead_ns / 1000000000;
    return r;
}

/* ---- what happens in a sleep ---- */

static void (*in_sleep)(void), (*in_look)(void); /* each once */

static void happen(void (**what)(void)) {
    void (*now)(void) = *what;
    *what = NULL;
    if (now)
        now();
}

static ssize_t recv_hook(int fd, void *buffer, size_t size, int flags) {
    if (flags == MSG_PEEK)
        happen(&in_sleep);
    return sys_table_real.recv(fd, buffer, size, flags);
}

static int ppoll_hook(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
    if (!timeout || timeout->tv_sec > 0 || timeout->tv_nsec > 0)
        happen(&in_sleep);
    else if (fds[0].events == POLLIN) /* a glance does not read what came */
        happen(&in_look);
    return sys_table_real.ppoll(fds, n, timeout, mask);
}

static void answer(void) { ok(hawser_send(far, "answer", 6, HAWSER_NOW)); }

static void expect_answer(int64_t timeout) {
    char buffer[8];
    size_t size;
    ok(hawser_recv(near, buffer, sizeof buffer, timeout, &size));
    assert_int_equal(size, 6);
}

/* A pair whose near end has slept for its first message, and so is patient with the next. */
static void pair_open(const char *address) {
    char byte;
    size_t size;
    ok(hawser_pair(address, NULL, &near, &far));
    ok(hawser_send(near, "?", 1, HAWSER_NOW));
    ok(hawser_recv(far, &byte, 1, HAWSER_FOREVER, &size));
    sys_table.recv = recv_hook;
    sys_table.ppoll = ppoll_hook;
    in_sleep = answer;
    expect_answer(HAWSER_FOREVER);
    assert_null(in_sleep);
    (void)!hawser_poll(NULL, 0, 1); /* the thread may have woken itself for its next sleep */
}

static void pair_close(void) {
    sys_table = sys_table_real;
    near = hawser_close(near);
    far = hawser_close(far);
}

/* What is there is found, though the thread did not run between the beginning of the call and its deadline. */
static void test_held_up(void **state) {
    (void)state;
    static const char *const addresses[] = { "unix://?wait=block", "tcp://?wait=block", "pipe://?wait=block", "mq://?wait=block",
                                             "sysv://?wait=block", "shm://?wait=block" };
    for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        pair_open(addresses[i]);
        ok(hawser_send(near, "?", 1, HAWSER_NOW));
        answer();
        jump_at = 2;
        expect_answer(20000000);
        pair_close();
    }
}

/* ---- news that the last look before a sleep has read ---- */

static char large[100000];
static bool moved, slept_on;

static int msgsnd_hook(int queue, const void *message, size_t size, int flags) {
    moved = true;
    return sys_table_real.msgsnd(queue, message, size, flags);
}

static void too_late(void) {
    slept_on = !moved;
    answer();
}

/* The far end takes all the packets there are. Nothing else ends the sleep that follows. */
static void take_some(void) {
    size_t size;
    assert_int_equal(hawser_recv(far, large, sizeof large, HAWSER_NOW, &size), -EAGAIN);
    in_sleep = too_late;
    moved = false;
}

/* Who waits for an answer has a message in its outbox. There is room for more of it, as the look before the sleep is told: so
 * that it moves on before the sleep. */
static void test_news_before_a_nap(void **state) {
    (void)state;
    pair_open("sysv://?wait=block");
    sys_table.msgsnd = msgsnd_hook;
    ok(hawser_send(near, large, sizeof large, HAWSER_NOW));
    ahead_ns += 1000000000; /* it is time to look at the peer */
    in_look = take_some;
    expect_answer(HAWSER_FOREVER);
    assert_null(in_look);
    assert_false(slept_on);
    pair_close();
}

/* The peer's doorbell for a sleep is heard by the look just before it, which finds half a message. The peer does not ring
 * again for that sleep. */

static void go_on(void) {
    in_sleep = go_on;
    int r = hawser_flush(far, HAWSER_NOW); /* moves the outbox on */
    assert_true(r == -EAGAIN || r == -EINPROGRESS);
}

static void begin(void) {
    ok(hawser_send(far, large, sizeof large, HAWSER_NOW));
    in_sleep = go_on;
}

static void look_soon_again(void) {
    ahead_ns += 1000000000;
    in_look = begin;
}

static void test_doorbell_before_poll(void **state) {
    (void)state;
    size_t size;
    pair_open("sysv://?wait=block");
    hawser_poll_item item = { .channel = near, .events = HAWSER_IN };
    ahead_ns += 1000000000;
    in_look = look_soon_again;
    assert_int_equal(hawser_poll(&item, 1, 5000000000), 1);
    assert_null(in_look);
    ok(hawser_recv(near, large, sizeof large, HAWSER_NOW, &size));
    assert_int_equal(size, sizeof large);
    pair_close();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_news_before_a_nap),
        cmocka_unit_test(test_doorbell_before_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
