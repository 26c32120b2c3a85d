/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Pollers: what stale means, whose events are told, and lifetimes: members that leave, threads that end, children that are forked. */

#include "wait/poller.h"

#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MANY 300

struct thing {
    struct poller_member member;
    int bell; /* an eventfd that it is woken by */
};

static struct thing thing_new(void) {
    struct thing thing = { .bell = sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    assert_true(thing.bell >= 0);
    return thing;
}

static void ring(int bell) {
    uint64_t one = 1;
    assert_int_equal(sys_write(bell, &one, sizeof one), sizeof one);
}

static void thing_join(struct poller *poller, struct thing *thing, uint32_t position) {
    struct pollfd fd = { .fd = thing->bell, .events = POLLIN };
    assert_int_equal(poller_join(poller, &thing->member, position), 0);
    assert_int_equal(poller_watch(&thing->member, &fd, 1), 0);
}

static void thing_close(struct thing *thing) {
    poller_leave(&thing->member);
    sys_close(thing->bell);
}

static void wait_for(struct poller *poller, int64_t deadline) {
    struct sleep_set none = { 0 };
    poller_wait(poller, &none, deadline);
}

static enum poller_found found(struct poller *poller, uint32_t *ret_position) {
    int fd;
    short revents;
    return poller_find(poller, ret_position, &fd, &revents);
}

/* What is stale, as a set of bits. */
static uint64_t stale(struct poller *poller) {
    uint32_t positions[64];
    uint64_t bits = 0;
    size_t n = poller_take_stale(poller, positions);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(bits & UINT64_C(1) << positions[i], 0); /* each once */
        bits |= UINT64_C(1) << positions[i];
    }
    return bits;
}

static void test_members_are_stale_until_taken_and_when_marked(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    assert_non_null(poller);
    assert_ptr_equal(poller_self(), poller);
    struct thing a = thing_new(), b = thing_new();
    thing_join(poller, &a, 0);
    thing_join(poller, &b, 1);
    assert_int_equal(stale(poller), 3);
    assert_int_equal(stale(poller), 0);
    poller_mark_stale(&b.member);
    poller_mark_stale(&b.member);
    assert_int_equal(stale(poller), 2);
    poller_mark_stale(&a.member);
    a.member.position = POLLER_NOWHERE; /* not waited for */
    poller_mark_stale(&b.member);
    thing_close(&b);
    assert_int_equal(stale(poller), 0);
    thing_close(&a);
}

static void test_an_event_tells_its_member(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new(), b = thing_new();
    uint32_t position = 77;
    thing_join(poller, &a, 4);
    thing_join(poller, &b, 5);
    wait_for(poller, DEADLINE_PAST);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    ring(b.bell);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    assert_int_equal(position, 5);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    thing_close(&a);
    thing_close(&b);
}

static void test_the_bell_ends_a_sleep_once(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new();
    uint32_t position;
    thing_join(poller, &a, 0);
    waker_wake(poller->bell);
    waker_wake(poller->bell);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_BELL);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    int64_t before = clock_now();
    wait_for(poller, before + 5000000);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    assert_true(clock_now() - before >= 5000000);
    thing_close(&a);
}

/* The event was fetched already when the member left, and another took its entry. */
static void test_an_event_of_one_that_left_is_not_its_successors(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new(), b = thing_new();
    uint32_t position, index;
    thing_join(poller, &a, 0);
    index = a.member.index;
    ring(a.bell);
    wait_for(poller, DEADLINE_NEVER);
    poller_leave(&a.member);
    thing_join(poller, &b, 0);
    assert_int_equal(b.member.index, index);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    thing_close(&a);
    thing_close(&b);
}

/* What is not waited for is heard once, and then no more, until it is watched again. */
static void test_one_that_is_not_waited_for_is_taken_out(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new();
    struct pollfd fd = { .fd = a.bell, .events = POLLIN };
    uint32_t position;
    thing_join(poller, &a, 0);
    a.member.position = POLLER_NOWHERE;
    ring(a.bell);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    wait_for(poller, clock_now() + 2000000);
    assert_int_equal(poller->n_events, 0);
    a.member.position = 3;
    assert_int_equal(poller_watch(&a.member, &fd, 1), 0);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    assert_int_equal(position, 3);
    thing_close(&a);
}

static void test_descriptors_come_and_go(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new(), spare = thing_new();
    struct pollfd fds[2] = { { .fd = spare.bell, .events = POLLIN }, { .fd = a.bell, .events = POLLIN } };
    uint32_t position;
    thing_join(poller, &a, 0);
    assert_int_equal(poller_watch(&a.member, fds, 2), 0);
    ring(spare.bell);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    assert_int_equal(poller_watch(&a.member, fds + 1, 1), 0);
    wait_for(poller, DEADLINE_PAST);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    fds[1].events = POLLIN | POLLOUT;
    assert_int_equal(poller_watch(&a.member, fds + 1, 1), 0);
    wait_for(poller, DEADLINE_NEVER);
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    assert_int_equal(poller_watch(&a.member, NULL, 0), 0);
    wait_for(poller, DEADLINE_PAST);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    thing_close(&a);
    thing_close(&spare);
}

static void test_a_set_beside_the_members(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new(), beside = thing_new();
    struct pollfd fds[2];
    struct sleep_set set = { .fds = fds };
    uint32_t position;
    thing_join(poller, &a, 0);
    sleep_add(&set, beside.bell, POLLIN);
    ring(beside.bell);
    poller_wait(poller, &set, DEADLINE_NEVER);
    assert_int_equal(fds[0].revents, POLLIN);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    ring(a.bell);
    poller_wait(poller, &set, DEADLINE_NEVER);
    assert_int_equal(fds[0].revents, POLLIN);
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    thing_close(&a);
    thing_close(&beside);
}

static void test_many_members(void **state) {
    (void)state;
    static struct thing things[MANY];
    struct poller *poller = poller_self();
    uint32_t position;
    for (uint32_t i = 0; i < MANY; i++) {
        things[i] = thing_new();
        thing_join(poller, &things[i], i);
    }
    for (uint32_t i = 0; i < MANY; i++)
        ring(things[i].bell);
    bool heard[MANY] = { false };
    wait_for(poller, DEADLINE_NEVER);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(found(poller, &position), POLLER_MEMBER);
        assert_false(heard[position]);
        heard[position] = true;
    }
    for (uint32_t i = 0; i < MANY; i += 2)
        thing_close(&things[i]);
    wait_for(poller, DEADLINE_PAST);
    for (uint32_t i = 0; i < MANY / 2; i++) {
        assert_int_equal(found(poller, &position), POLLER_MEMBER);
        assert_int_equal(position % 2, 1);
    }
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    for (uint32_t i = 1; i < MANY; i += 2)
        thing_close(&things[i]);
}

static void *join_and_end(void *thing) {
    thing_join(poller_self(), thing, 0);
    return NULL;
}

/* The thread's members outlive it, and leave nothing: a leak checker looks on. */
static void test_members_outlive_their_thread(void **state) {
    (void)state;
    struct thing a = thing_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, join_and_end, &a), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(a.member.poller);
    poller_mark_stale(&a.member);
    poller_leave(&a.member);
    assert_null(a.member.poller);
    thing_join(poller_self(), &a, 0);
    assert_int_equal(stale(poller_self()), 1);
    thing_close(&a);
}

static void *leave_one(void *thing) {
    poller_leave(&((struct thing *)thing)->member);
    return NULL;
}

static void test_another_thread_takes_a_member_out(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new();
    pthread_t thread;
    uint32_t position, departed = poller->departed;
    thing_join(poller, &a, 0);
    ring(a.bell);
    assert_int_equal(pthread_create(&thread, NULL, leave_one, &a), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(poller->departed != departed);
    wait_for(poller, DEADLINE_PAST);
    assert_int_equal(found(poller, &position), POLLER_NOTHING);
    thing_close(&a);
}

/* A forked child shares the epoll's file: it must not take its parent's members out, nor wait in its set. */
static void test_a_child_leaves_its_parents_set_alone(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new();
    uint32_t position;
    int bell = poller->bell;
    thing_join(poller, &a, 6);
    pid_t child = fork_child();
    if (child == 0) {
        struct thing own_thing = thing_new();
        poller_leave(&a.member); /* the last but the thread's: that is dropped by the next line */
        struct poller *own = poller_self();
        if (!own || own->bell == bell)
            _exit(1);
        thing_join(own, &own_thing, 2);
        ring(own_thing.bell);
        wait_for(own, DEADLINE_NEVER);
        _exit(found(own, &position) == POLLER_MEMBER && position == 2 ? 0 : 2);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ring(a.bell);
    wait_for(poller, clock_now() + INT64_C(5000000000));
    assert_int_equal(found(poller, &position), POLLER_MEMBER);
    assert_int_equal(position, 6);
    thing_close(&a);
}

static int no_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    (void)epoll, (void)events, (void)n, (void)timeout;
    return -ENOSYS;
}

/* Never returns before the deadline for nothing, also where only milliseconds can be asked for. Last: it stays so. */
static void test_an_older_kernel(void **state) {
    (void)state;
    struct poller *poller = poller_self();
    struct thing a = thing_new();
    uint32_t position;
    thing_join(poller, &a, 0);
    sys_table.epoll_pwait2 = no_pwait2;
    for (int i = 0; i < 3; i++) {
        int64_t before = clock_now();
        wait_for(poller, before + 1500000);
        assert_true(clock_now() - before >= 1500000);
        assert_int_equal(found(poller, &position), POLLER_NOTHING);
    }
    sys_table = sys_table_real;
    thing_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_stale_until_taken_and_when_marked),
        cmocka_unit_test(test_an_event_tells_its_member),
        cmocka_unit_test(test_the_bell_ends_a_sleep_once),
        cmocka_unit_test(test_an_event_of_one_that_left_is_not_its_successors),
        cmocka_unit_test(test_one_that_is_not_waited_for_is_taken_out),
        cmocka_unit_test(test_descriptors_come_and_go),
        cmocka_unit_test(test_a_set_beside_the_members),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test(test_members_outlive_their_thread),
        cmocka_unit_test(test_another_thread_takes_a_member_out),
        cmocka_unit_test(test_a_child_leaves_its_parents_set_alone),
        cmocka_unit_test(test_an_older_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
