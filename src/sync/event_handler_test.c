/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Interrupts: in the right thread, one at a time, held back by masks, and nothing left behind. */

#include "base/clock.h"
#include "base/error.h"
#include "base/fork_test.h"
#include "sync/event.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static volatile sig_atomic_t runs, depth, deepest, elsewhere, failures;
static volatile uint64_t last, sum;
static const void *owner;
static hawser_event *to_raise; /* by a handler, once */

static hawser_event_function count, mask_itself, unmask_another;

static void count(void *context, uint64_t value) {
    depth++;
    deepest = depth > deepest ? depth : deepest;
    elsewhere += sys_thread_mark() != owner;
    runs++;
    last = value;
    sum += value;
    errno = 4711;
    error_note(-EINVAL, "a handler's");
    if (to_raise) {
        hawser_event *event = to_raise;
        to_raise = NULL;
        failures += hawser_event_raise(event, 1) < 0;
        *(volatile int *)context = depth; /* it did not run inside of us */
    }
    depth--;
}

static void reset(void) {
    runs = depth = deepest = elsewhere = 0;
    last = sum = 0;
    to_raise = NULL;
    owner = sys_thread_mark();
}

static hawser_event *event_at(const char *address) {
    hawser_event *event;
    assert_int_equal(hawser_event_create(address, NULL, &event), 0);
    return event;
}

#define FIRST "signal://?signal=SIGRTMIN+3"
#define SECOND_EVENT "signal://?signal=SIGRTMIN+1"

static hawser_event *handled_event(void) {
    hawser_event *event = event_at(FIRST);
    reset();
    assert_int_equal(hawser_event_handler(event, count, NULL), 0);
    return event;
}

/* A signal sent to a thread that lets it through has been delivered when the call that sent it returns; to a process, mostly. */
static void until_runs(int wanted) {
    int64_t began = clock_now();
    while (runs < wanted)
        assert_true(clock_now() - began < 10 * SECOND);
}

static void each_raise_runs_it(void **state) {
    (void)state;
    uint64_t value;
    hawser_event *event = handled_event();
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(hawser_event_raise(event, i << 32), 0);
        until_runs((int)i);
        assert_true(last == i << 32);
    }
    assert_int_equal(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN); /* they went to the handler */
    assert_int_equal(hawser_event_wait(event, 1000000, &value), -ETIMEDOUT);
    kill(getpid(), SIGRTMIN + 3); /* who has no value raises by 1 */
    until_runs(101);
    assert_true(last == 1);
    hawser_event_close(event);
}

static void errno_and_sentence_are_kept(void **state) {
    (void)state;
    hawser_event *event = handled_event();
    error_note(-EPERM, "the thread's");
    errno = 5;
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(1);
    assert_int_equal(errno, 5);
    assert_string_equal(hawser_explain(), "the thread's");
    hawser_event_close(event);
}

static void they_do_not_nest(void **state) {
    (void)state;
    volatile int seen = 0;
    hawser_event *event = event_at(FIRST), *other = event_at(SECOND_EVENT);
    reset();
    assert_int_equal(hawser_event_handler(event, count, (void *)(uintptr_t)&seen), 0);
    assert_int_equal(hawser_event_handler(other, count, (void *)(uintptr_t)&seen), 0);
    to_raise = other;
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(2);
    assert_int_equal(seen, 1);
    to_raise = event; /* itself */
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(4);
    assert_int_equal(deepest, 1);
    hawser_event_close(event);
    hawser_event_close(other);
}

static void masks_hold_it_back(void **state) {
    (void)state;
    hawser_event *event = handled_event();
    assert_int_equal(hawser_event_unmask(event), -EINVAL);
    assert_int_equal(hawser_event_mask(event), 0);
    assert_int_equal(hawser_event_mask(event), 0);
    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(hawser_event_raise(event, i), 0);
    assert_int_equal(runs, 0);
    assert_int_equal(hawser_event_unmask(event), 0);
    assert_int_equal(runs, 0);
    assert_int_equal(hawser_event_unmask(event), 0);
    assert_int_equal(runs, 10); /* none lost, all before unmask returns */
    assert_true(sum == 55);
    assert_int_equal(deepest, 1);
    assert_int_equal(hawser_event_unmask(event), -EINVAL);
    hawser_event_close(event);
}

static hawser_event *to_mask;

static void mask_itself(void *context, uint64_t value) {
    count(context, value);
    hawser_event_mask(to_mask);
    if (value == 2) { /* twice and back: still held, and nothing comes in between */
        hawser_event_mask(to_mask);
        hawser_event_unmask(to_mask);
    }
    if (value == 3) {
        failures += hawser_event_raise(to_mask, 4) < 0;
        hawser_event_unmask(to_mask);
        last = (uint64_t)runs;
    }
}

static void unmask_another(void *context, uint64_t value) {
    count(context, value);
    int before = runs;
    failures += hawser_event_unmask(to_mask) < 0;
    failures += hawser_event_handler(to_mask, NULL, NULL) != -EINVAL;
    failures += runs != before; /* not inside of us */
}

static void a_handler_masks_itself(void **state) {
    (void)state;
    hawser_event *event = event_at(FIRST);
    reset();
    to_mask = event;
    assert_int_equal(hawser_event_handler(event, mask_itself, NULL), 0);
    for (uint64_t value = 1; value <= 2; value++) {
        assert_int_equal(hawser_event_raise(event, value), 0);
        until_runs((int)value);
        assert_int_equal(hawser_event_raise(event, 100), 0);
        assert_int_equal(runs, value); /* masked since */
        signals_drop(&event->set);
        assert_int_equal(hawser_event_unmask(event), 0);
    }
    assert_int_equal(hawser_event_raise(event, 3), 0);
    until_runs(4);
    assert_int_equal(deepest, 1);
    assert_int_equal(failures, 0);
    assert_int_equal(hawser_event_unmask(event), 0); /* of the fourth */
    hawser_event_close(event);
}

/* One event's handler holds back another's, or lets it go: from its own end on, and not inside of it. */
static void a_handler_masks_another(void **state) {
    (void)state;
    hawser_event *event = event_at(FIRST), *other = event_at(SECOND_EVENT);
    reset();
    to_mask = other;
    assert_int_equal(hawser_event_handler(event, mask_itself, NULL), 0);
    assert_int_equal(hawser_event_handler(other, count, NULL), 0);
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(1);
    assert_int_equal(hawser_event_raise(other, 1), 0);
    assert_int_equal(runs, 1); /* masked since */
    assert_int_equal(hawser_event_unmask(other), 0);
    assert_int_equal(runs, 2);
    assert_int_equal(hawser_event_mask(other), 0);
    assert_int_equal(hawser_event_handler(event, unmask_another, NULL), 0);
    assert_int_equal(hawser_event_raise(other, 1), 0);
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(4);
    assert_int_equal(failures, 0);
    assert_int_equal(deepest, 1);
    assert_int_equal(hawser_event_raise(other, 1), 0); /* and it stays let go */
    until_runs(5);
    hawser_event_close(event);
    hawser_event_close(other);
}

static hawser_event *in_between;

static int raise_in_between(int how, const sigset_t *set, sigset_t *old) {
    sys_table = sys_table_real;
    failures += hawser_event_raise(in_between, 1) < 0;
    return sys_table.pthread_sigmask(how, set, old);
}

/* What a handler masks while its thread unmasks the same stays masked. */
static void masks_of_both_count(void **state) {
    (void)state;
    hawser_event *event = event_at(FIRST), *other = event_at(SECOND_EVENT);
    reset();
    to_mask = other;
    in_between = event;
    assert_int_equal(hawser_event_handler(event, mask_itself, NULL), 0);
    assert_int_equal(hawser_event_handler(other, count, NULL), 0);
    assert_int_equal(hawser_event_mask(other), 0);
    sys_table.pthread_sigmask = raise_in_between;
    assert_int_equal(hawser_event_unmask(other), 0);
    assert_int_equal(runs, 1);
    assert_int_equal(hawser_event_raise(other, 1), 0);
    assert_int_equal(runs, 1);
    assert_int_equal(hawser_event_unmask(other), 0);
    assert_int_equal(runs, 2);
    assert_int_equal(failures, 0);
    hawser_event_close(event);
    hawser_event_close(other);
}

/* ---- Threads ---- */

static volatile sig_atomic_t spinning, stop;

static void *spin(void *unused) {
    (void)unused;
    spinning = 1;
    while (!stop)
        cpu_pause();
    return NULL;
}

static void it_interrupts_the_thread_that_asked(void **state) {
    (void)state;
    pthread_t thread;
    stop = spinning = 0;
    hawser_event *event = handled_event();
    assert_int_equal(pthread_create(&thread, NULL, spin, NULL), 0); /* lets the signal through as we do */
    while (!spinning)
        cpu_pause();
    sys_pthread_sigmask(SIG_BLOCK, &event->set, NULL); /* so the kernel gives it to the other */
    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(hawser_event_raise(event, i), 0);
    sys_pthread_sigmask(SIG_UNBLOCK, &event->set, NULL);
    until_runs(10);
    assert_int_equal(elsewhere, 0);
    assert_true(sum == 55);
    stop = 1;
    pthread_join(thread, NULL);
    hawser_event_close(event);
}

static uint32_t full; /* how often the queue was found so */

static int full_queue(pid_t process, pid_t thread, int signal, siginfo_t *information) {
    return add_relaxed(&full, 1) < 3 ? -EAGAIN : sys_table_real.rt_tgsigqueueinfo(process, thread, signal, information);
}

/* Who is hit in its stead passes it on when it can, and does not run it. */
static void a_full_queue_does_not_change_the_thread(void **state) {
    (void)state;
    pthread_t thread;
    stop = spinning = 0;
    hawser_event *event = handled_event();
    assert_int_equal(pthread_create(&thread, NULL, spin, NULL), 0);
    while (!spinning)
        cpu_pause();
    full = 0;
    sys_table.rt_tgsigqueueinfo = full_queue;
    sys_pthread_sigmask(SIG_BLOCK, &event->set, NULL);
    assert_int_equal(hawser_event_raise(event, 5), 0);
    while (load_relaxed(&full) == 0) /* the other has it */
        cpu_pause();
    sys_pthread_sigmask(SIG_UNBLOCK, &event->set, NULL);
    until_runs(1);
    sys_table = sys_table_real;
    assert_int_equal(elsewhere, 0);
    assert_true(last == 5 && full > 3);
    stop = 1;
    pthread_join(thread, NULL);
    hawser_event_close(event);
}

static void *try_in_thread(void *event) {
    int error = hawser_event_mask(event) == -EPERM && hawser_event_unmask(event) == -EPERM &&
                hawser_event_handler(event, NULL, NULL) == -EPERM && hawser_event_handler(event, count, NULL) == -EPERM;
    return error ? event : NULL;
}

static void other_threads_are_refused(void **state) {
    (void)state;
    pthread_t thread;
    void *good;
    hawser_event *event = handled_event();
    assert_int_equal(pthread_create(&thread, NULL, try_in_thread, event), 0);
    pthread_join(thread, &good);
    assert_ptr_equal(good, event);
    hawser_event_close(event);
}

/* ---- What is left ---- */

static void old_handler(int number) { (void)number; }

static bool blocked(int signal) {
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, signal) == 1;
}

static void the_disposition_comes_back(void **state) {
    (void)state;
    struct sigaction before = { .sa_handler = old_handler, .sa_flags = SA_NODEFER }, now;
    sigaddset(&before.sa_mask, SIGUSR2);
    sigaction(SIGRTMIN + 3, &before, NULL);
    for (unsigned by_close = 0; by_close < 2; by_close++) {
        hawser_event *event = handled_event();
        sigaction(SIGRTMIN + 3, NULL, &now);
        assert_true(now.sa_handler != old_handler);
        assert_false(blocked(SIGRTMIN + 3));
        if (!by_close) {
            assert_int_equal(hawser_event_handler(event, NULL, NULL), 0);
            assert_true(blocked(SIGRTMIN + 3)); /* raises wait again */
            uint64_t value;
            assert_int_equal(hawser_event_raise(event, 3), 0);
            assert_int_equal(hawser_event_wait(event, SECOND, &value), 0);
            assert_true(value == 3);
        }
        hawser_event_close(event);
        sigaction(SIGRTMIN + 3, NULL, &now);
        assert_true(now.sa_handler == old_handler);
        assert_true(now.sa_flags & SA_NODEFER);
        assert_int_equal(sigismember(&now.sa_mask, SIGUSR2), 1);
        assert_false(blocked(SIGRTMIN + 3));
    }
    before.sa_handler = SIG_DFL;
    sigaction(SIGRTMIN + 3, &before, NULL);
}

static int no_more_watches(int epoll, int operation, int fd, struct epoll_event *event) {
    return operation == EPOLL_CTL_ADD ? -ENOSPC : sys_table_real.epoll_ctl(epoll, operation, fd, event);
}

/* Without its handler an event with a descriptor is waited for as before, however short of memory the kernel is. */
static void it_is_waited_for_again(void **state) {
    (void)state;
    uint64_t value;
    int fd;
    hawser_event *event = event_at(FIRST);
    reset();
    assert_int_equal(hawser_event_fd(event, &fd), 0);
    assert_int_equal(hawser_event_handler(event, count, NULL), 0);
    sys_table.epoll_ctl = no_more_watches;
    assert_int_equal(hawser_event_handler(event, NULL, NULL), 0);
    sys_table = sys_table_real;
    assert_int_equal(hawser_event_raise(event, 3), 0);
    assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0), 1);
    assert_int_equal(hawser_event_wait(event, SECOND, &value), 0);
    hawser_event_close(event);
}

static void what_waits_does_not_kill_at_close(void **state) {
    (void)state;
    hawser_event *event = handled_event();
    assert_int_equal(hawser_event_mask(event), 0);
    assert_int_equal(hawser_event_raise(event, 1), 0);
    hawser_event_close(event); /* the default would end us */
    assert_int_equal(runs, 0);
    assert_false(blocked(SIGRTMIN + 3));
}

static void the_wrong_is_refused(void **state) {
    (void)state;
    hawser_event *event = event_at(FIRST), *same = event_at(FIRST), *bell = event_at("eventfd://");
    reset();
    assert_int_equal(hawser_event_mask(event), -EINVAL);
    assert_int_equal(hawser_event_handler(NULL, count, NULL), -EINVAL);
    assert_int_equal(hawser_event_handler(bell, count, NULL), -EOPNOTSUPP);
    assert_int_equal(hawser_event_mask(bell), -EOPNOTSUPP);
    assert_int_equal(hawser_event_handler(event, NULL, NULL), 0);
    assert_int_equal(hawser_event_handler(event, count, NULL), 0);
    assert_int_equal(hawser_event_handler(event, count, NULL), 0); /* again is no other */
    assert_int_equal(hawser_event_handler(same, count, NULL), -EBUSY);
    hawser_event_close(event);
    assert_int_equal(hawser_event_handler(same, count, NULL), 0);
    hawser_event_close(same);
    hawser_event_close(bell);
}

/* ---- Other processes ---- */

static void raisers_are_welcomed_meanwhile(void **state) {
    (void)state;
    hawser_event *event = event_at("signal://interrupts?signal=SIGRTMIN+3");
    uint64_t value;
    int status, error;
    reset();
    assert_int_equal(hawser_event_handler(event, count, NULL), 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_event *raiser;
        if (hawser_event_wait(event, HAWSER_NOW, &value) != -EPERM || hawser_event_mask(event) != -EPERM)
            _exit(1);
        hawser_event_close(event);
        if (hawser_event_open("signal://interrupts", NULL, 10 * SECOND, &raiser) < 0)
            _exit(2);
        for (uint64_t i = 1; i <= 10; i++)
            if (hawser_event_raise(raiser, i) < 0)
                _exit(3);
        hawser_event_close(raiser);
        _exit(0);
    }
    int64_t began = clock_now();
    while (runs < 10) {
        error = hawser_event_wait(event, 1000000, &value);
        assert_int_equal(error, -ETIMEDOUT);
        assert_true(clock_now() - began < 10 * SECOND);
    }
    assert_true(sum == 55);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    hawser_event_mask(event);
    assert_int_equal(hawser_event_raise(event, 1), 0);
    uint64_t calls = sys_calls_made; /* a masked signal does not keep who waits awake */
    assert_int_equal(hawser_event_wait(event, 50000000, &value), -ETIMEDOUT);
    assert_true(sys_calls_made - calls < 1000);
    hawser_event_close(event);
}

/* What is pending for a forked child with our handler inherited is not its parent's. */
static void a_fork_is_not_interrupted(void **state) {
    (void)state;
    int status;
    hawser_event *event = handled_event();
    pid_t child = fork_child();
    if (child == 0) {
        kill(getpid(), SIGRTMIN + 3);
        _exit(runs != 0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    hawser_event_close(event);
}

/* What its parent handles is nothing to it: neither after it has closed its copy, nor when it handles the same signal. */
static void a_fork_handles_its_own(void **state) {
    (void)state;
    int status;
    hawser_event *event = handled_event();
    pid_t child = fork_child();
    if (child == 0) {
        hawser_event *own;
        hawser_event_close(event);
        kill(getpid(), SIGRTMIN + 3);
        if (runs != 0 || hawser_event_create(FIRST, NULL, &own) != 0)
            _exit(1);
        if (hawser_event_handler(own, count, NULL) != 0 || hawser_event_raise(own, 7) != 0)
            _exit(2);
        if (runs != 1 || last != 7)
            _exit(3);
        hawser_event_close(own);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(hawser_event_raise(event, 1), 0);
    until_runs(1);
    hawser_event_close(event);
}

int main(void) {
#ifdef __SANITIZE_THREAD__
    return 77; /* the sanitizer runs handlers later, and keeps one pending signal of each number: the kernel's queue is lost */
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_raise_runs_it),
        cmocka_unit_test(errno_and_sentence_are_kept),
        cmocka_unit_test(they_do_not_nest),
        cmocka_unit_test(masks_hold_it_back),
        cmocka_unit_test(a_handler_masks_itself),
        cmocka_unit_test(a_handler_masks_another),
        cmocka_unit_test(masks_of_both_count),
        cmocka_unit_test(it_interrupts_the_thread_that_asked),
        cmocka_unit_test(a_full_queue_does_not_change_the_thread),
        cmocka_unit_test(other_threads_are_refused),
        cmocka_unit_test(the_disposition_comes_back),
        cmocka_unit_test(it_is_waited_for_again),
        cmocka_unit_test(what_waits_does_not_kill_at_close),
        cmocka_unit_test(the_wrong_is_refused),
        cmocka_unit_test(raisers_are_welcomed_meanwhile),
        cmocka_unit_test(a_fork_is_not_interrupted),
        cmocka_unit_test(a_fork_handles_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
