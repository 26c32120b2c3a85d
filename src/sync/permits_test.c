/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Permits over raw memory. Who is dead the test decides: a slot's bit in `dead`, or in tests with processes, waitpid(). */

#include "sync/permits.h"

#include "sync/line.h"

#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static uint32_t looked[PERMITS_SLOT_MOST + 1];

/* What processes of a test share. */
struct shared {
    uint32_t dead[PERMITS_SLOT_MOST + 1];
    uint32_t inside, most_inside, done, go;
    uint64_t plain; /* changed by holders of a semaphore of one, with no atomics */
};

static struct shared *shared;

static bool bury(void *context, uint32_t slot) {
    looked[slot]++;
    if (!load_relaxed(&shared->dead[slot]))
        return false;
    permits_reclaim(context, slot);
    return true;
}

static int apart(void *context, uint32_t slot) {
    (void)context, (void)slot;
    return 1;
}

static const struct permits_owners owners = { .bury = bury, .apart = apart };

static void *map(size_t size) {
    long start = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(start > 0);
    return (void *)start; // NOLINT: an address by the kernel's own word
}

static void *memory_of(uint32_t limit) {
    void *memory = map(permits_size(limit));
    permits_format(memory, limit);
    return memory;
}

static struct permits *view_of(void *memory, uint32_t limit, uint32_t slot, uint32_t mode) {
    struct permits *permits = malloc(sizeof *permits); /* not cmocka's own: musl's build has none */
    assert_non_null(permits);
    assert_int_equal(permits_open(permits, memory, limit, slot, mode, &owners, permits), 0);
    return permits;
}

static int setup(void **state) {
    (void)state;
    shared = map(sizeof *shared);
    memset(looked, 0, sizeof looked);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    return sys_munmap(shared, sizeof *shared);
}

static void test_take_and_give(void **state) {
    (void)state;
    void *memory = memory_of(3);
    struct permits *a = view_of(memory, 3, 1, HAWSER_WAIT_BLOCK), *b = view_of(memory, 3, 2, HAWSER_WAIT_BLOCK);
    assert_true(permits_take_quick(a));
    assert_int_equal(permits_acquire(b, 2, DEADLINE_PAST), 0);
    assert_int_equal(permits_free(a), 0);
    assert_int_equal(permits_held(a, 1), 1);
    assert_int_equal(permits_held(a, 2), 2);
    assert_int_equal(permits_acquire(a, 1, DEADLINE_PAST), -EAGAIN);
    assert_int_equal(permits_acquire(a, 1, clock_now() + MS), -ETIMEDOUT);
    assert_int_equal(permits_in_line(a), 0);
    assert_int_equal(permits_release(a, 2), -EPERM);
    assert_int_equal(permits_held(a, 1), 1);
    assert_int_equal(permits_release(b, 2), 0);
    assert_int_equal(permits_release(b, 1), -EPERM);
    assert_true(permits_give_quick(a) || permits_release(a, 1) == 0);
    assert_int_equal(permits_free(a), 3);
    assert_int_equal(load_relaxed(&a->shared->waiting), 0);
    free(a);
    free(b);
    sys_munmap(memory, permits_size(3));
}

/* Whoever cannot have all gives back what it took, and waits with nothing. */
static void test_all_or_none(void **state) {
    (void)state;
    void *memory = memory_of(64);
    struct permits *a = view_of(memory, 64, 1, HAWSER_WAIT_BLOCK), *b = view_of(memory, 64, 2, HAWSER_WAIT_BLOCK);
    assert_int_equal(permits_acquire(a, 1, DEADLINE_PAST), 0);
    assert_int_equal(permits_acquire(b, 64, clock_now() + MS), -ETIMEDOUT);
    assert_int_equal(permits_held(b, 2), 0);
    assert_int_equal(permits_release(a, 1), 0);
    assert_int_equal(permits_acquire(b, 64, DEADLINE_PAST), 0);
    assert_int_equal(permits_acquire(a, 1, DEADLINE_PAST), -EAGAIN);
    permits_give_back(b);
    assert_int_equal(permits_free(a), 64);
    free(a);
    free(b);
    sys_munmap(memory, permits_size(64));
}

#define SNATCHES 200000

struct snatcher {
    struct permits *permits;
    uint32_t stop;
};

static void *snatch_the_last(void *context) {
    struct snatcher *snatcher = context;
    uint32_t *word = permit_word(snatcher->permits, 2);
    while (!load_relaxed(&snatcher->stop)) {
        uint32_t none = PERMIT_FREE, own = 2;
        if (compare_exchange(word, &none, own)) /* pairs with nothing: only its value counts */
            compare_exchange(word, &own, PERMIT_FREE); /* pairs with nothing: the same */
    }
    return NULL;
}

/* Two of the dead and one that another takes and gives as fast as it can: who gets fewer than all gives back what it had as it was. */
static void test_all_or_none_of_the_dead(void **state) {
    (void)state;
    void *memory = memory_of(3);
    struct permits *a = view_of(memory, 3, 1, HAWSER_WAIT_BLOCK);
    struct snatcher snatcher = { .permits = a };
    pthread_t thread;
    unsigned got = 0, lost = 0;
    assert_int_equal(pthread_create(&thread, NULL, snatch_the_last, &snatcher), 0);
    for (unsigned i = 0; i < SNATCHES; i++) {
        store_relaxed(permit_word(a, 0), PERMIT_DIED);
        store_relaxed(permit_word(a, 1), PERMIT_DIED);
        if (permits_take_new(a, 3) >= 0) {
            got++;
            assert_int_equal(permits_release(a, 3), 0);
            continue;
        }
        lost += load_relaxed(permit_word(a, 0)) != PERMIT_DIED || load_relaxed(permit_word(a, 1)) != PERMIT_DIED;
    }
    store_relaxed(&snatcher.stop, 1);
    pthread_join(thread, NULL);
    assert_true(got > 0);
    assert_int_equal(lost, 0);
    free(a);
    sys_munmap(memory, permits_size(3));
}

static void test_permits_of_the_dead(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits *a = view_of(memory, 2, 1, HAWSER_WAIT_BLOCK), *b = view_of(memory, 2, 2, HAWSER_WAIT_BLOCK);
    assert_int_equal(permits_acquire(a, 2, DEADLINE_PAST), 0);
    store_relaxed(&shared->dead[1], 1);
    assert_int_equal(permits_acquire(b, 1, DEADLINE_PAST), PERMITS_HELD_DIED);
    assert_true(permits_torn(b));
    assert_int_equal(load_relaxed(&b->shared->deaths), 1);
    assert_int_equal(permits_release(b, 1), 0);
    assert_int_equal(permits_acquire(b, 1, DEADLINE_PAST), 0); /* told once for each permit */
    assert_int_equal(permits_acquire(b, 1, DEADLINE_PAST), PERMITS_HELD_DIED);
    free(a);
    free(b);
    sys_munmap(memory, permits_size(2));
}

/* Part of them given back before it died: what they guarded was done with. */
static void test_torn_only_inside(void **state) {
    (void)state;
    void *memory = memory_of(64);
    struct permits *a = view_of(memory, 64, 1, HAWSER_WAIT_BLOCK);
    assert_int_equal(permits_acquire(a, 64, DEADLINE_PAST), 0);
    assert_int_equal(permits_release(a, 1), 0);
    permits_reclaim(a, 1);
    assert_false(permits_torn(a));
    assert_int_equal(permits_free(a), 64);
    assert_int_equal(permits_acquire(a, 64, DEADLINE_PAST), PERMITS_HELD_DIED);
    permits_reclaim(a, PERMITS_EVERY);
    assert_true(permits_torn(a));
    assert_int_equal(permits_free(a), 64);
    free(a);
    sys_munmap(memory, permits_size(64));
}

static void test_format(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits permits;
    assert_int_equal(permits_open(&permits, memory, 3, 1, HAWSER_WAIT_BLOCK, &owners, &permits), -EPROTO);
    sys_munmap(memory, permits_size(2));
}

/* ---- With threads, each a slot of its own ---- */

struct waiter {
    struct permits *permits;
    uint32_t wanted;
    int result;
    uint32_t order;
    pthread_t thread;
};

static uint32_t arrivals;

static void *wait_once(void *argument) {
    struct waiter *waiter = argument;
    waiter->result = permits_acquire(waiter->permits, waiter->wanted, clock_now() + 60000 * MS);
    waiter->order = add_seq_cst(&arrivals, 1);
    return NULL;
}

static void begin(struct waiter *waiter, void *memory, uint32_t limit, uint32_t slot, uint32_t wanted) {
    *waiter = (struct waiter){ .permits = view_of(memory, limit, slot, HAWSER_WAIT_BLOCK), .wanted = wanted };
    uint32_t line = permits_in_line(waiter->permits);
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_once, waiter), 0);
    while (permits_in_line(waiter->permits) == line)
        sys_sched_yield();
}

static int end(struct waiter *waiter) {
    pthread_join(waiter->thread, NULL);
    free(waiter->permits);
    return waiter->result;
}

static void test_line_is_an_order(void **state) {
    (void)state;
    void *memory = memory_of(3);
    struct permits *holder = view_of(memory, 3, 1, HAWSER_WAIT_BLOCK);
    struct waiter large, small;
    arrivals = 0;
    assert_int_equal(permits_acquire(holder, 3, DEADLINE_PAST), 0);
    begin(&large, memory, 3, 2, 3);
    begin(&small, memory, 3, 3, 1);
    assert_int_equal(permits_release(holder, 1), 0); /* the small one could go, but it is not its turn */
    assert_int_equal(permits_release(holder, 1), 0);
    assert_int_equal(permits_in_line(holder), 2);
    assert_int_equal(permits_release(holder, 1), 0);
    pthread_join(large.thread, NULL);
    assert_int_equal(permits_held(holder, 2), 3);
    assert_int_equal(permits_release(large.permits, 1), 0);
    assert_int_equal(end(&small), 0);
    assert_true(large.order < small.order);
    free(large.permits);
    free(holder);
    sys_munmap(memory, permits_size(3));
}

/* A waiter that gives up lets the next one go. */
static void test_leaving_the_line(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits *holder = view_of(memory, 2, 1, HAWSER_WAIT_BLOCK), *hasty = view_of(memory, 2, 2, HAWSER_WAIT_BLOCK);
    struct waiter small;
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), 0);
    struct permits_waiter *first = &holder->shared->waiters[0]; /* as if it slept */
    *first = (struct permits_waiter){ .owner = 2, .ticket = 1, .wanted = 2, .bell = BELL_ASLEEP };
    holder->shared->tickets = holder->shared->used = holder->shared->waiting = 1;
    holder->shared->passed = PERMITS_PASSES;
    begin(&small, memory, 2, 3, 1);
    assert_int_equal(permits_in_line(holder), 2);
    permits_reclaim(hasty, 2);
    int64_t left = clock_now();
    assert_int_equal(end(&small), 0);
    assert_true(clock_now() - left < 30 * MS); /* it was rung: it did not have to look */
    free(hasty);
    free(holder);
    sys_munmap(memory, permits_size(2));
}

/* Newcomers may pass so often, and then no more; each that is served lets them pass again. */
static void test_passing_has_an_end(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits *a = view_of(memory, 2, 1, HAWSER_WAIT_BLOCK), *b = view_of(memory, 2, 2, HAWSER_WAIT_BLOCK);
    uint32_t passes = 0;
    a->shared->waiters[0] = (struct permits_waiter){ .owner = 9, .ticket = 1, .wanted = 2 };
    a->shared->tickets = a->shared->used = a->shared->waiting = 1;
    for (int going = 2; going > 0; passes += (uint32_t)going) {
        going = 0;
        for (int i = 0; i < 2; i++) {
            struct permits *permits = i ? b : a;
            if (permits_acquire(permits, 1, DEADLINE_PAST) < 0)
                continue;
            going++;
            assert_int_equal(permits_release(permits, 1), 0);
        }
    }
    assert_int_equal(passes, PERMITS_PASSES);
    assert_int_equal(permits_free(a), 2);
    assert_true(looked[9] > 0); /* who may not pass looks whether that one lives */
    store_relaxed(&shared->dead[9], 1);
    store_relaxed(&a->looked_ns, 0);
    assert_int_equal(permits_acquire(a, 1, DEADLINE_PAST), 0);
    assert_int_equal(permits_in_line(a), 0);
    assert_int_equal(load_relaxed(&a->shared->waiting), 0);
    free(a);
    free(b);
    sys_munmap(memory, permits_size(2));
}

/* Nobody passes one that waits for several: it would wait for 1024 readers of a region, say, who may take a second each. */
static void test_several_are_not_passed(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits *a = view_of(memory, 2, 1, HAWSER_WAIT_BLOCK);
    struct waiter both;
    assert_int_equal(permits_acquire(a, 1, DEADLINE_PAST), 0);
    begin(&both, memory, 2, 2, 2);
    for (int64_t deadline = clock_now() + 10000 * MS; permits_acquire(a, 1, DEADLINE_PAST) == 0; sys_sched_yield()) {
        assert_int_equal(permits_release(a, 1), 0);
        store_relaxed(&a->shared->passed, load_relaxed(&a->shared->passed) & ~UINT64_C(0xffff)); /* they never run out */
        assert_true(clock_now() < deadline);
    }
    assert_int_equal(permits_release(a, 1), 0);
    assert_int_equal(end(&both), 0);
    free(a);
    sys_munmap(memory, permits_size(2));
}

/* One that is slow to wake up is passed so often, too, although others, behind it in line, are served meanwhile. */
static void test_passing_has_an_end_for_the_first(void **state) {
    (void)state;
    void *memory = memory_of(2);
    struct permits *a = view_of(memory, 2, 1, HAWSER_WAIT_BLOCK);
    uint32_t passes = 0;
    a->shared->waiters[0] = (struct permits_waiter){ .owner = 9, .ticket = 1, .wanted = 1 };
    a->shared->tickets = a->shared->used = a->shared->waiting = 1;
    for (uint32_t queued = 0; queued < 3 * PERMITS_AHEAD; queued++) {
        for (; permits_acquire(a, 1, DEADLINE_PAST) == 0; passes++)
            assert_int_equal(permits_release(a, 1), 0);
        assert_int_equal(permits_acquire(a, 1, DEADLINE_NEVER), 0); /* in line: there is one for it and one for the first */
        assert_int_equal(permits_release(a, 1), 0);
    }
    assert_int_equal(passes, PERMITS_PASSES * (1 + PERMITS_AHEAD));
    free(a);
    sys_munmap(memory, permits_size(2));
}

/* Holder and the first three in line die: the fourth has what they had within 100 ms. */
static void test_waiter_behind_the_dead(void **state) {
    (void)state;
    void *memory = memory_of(1);
    struct permits *holder = view_of(memory, 1, 1, HAWSER_WAIT_BLOCK);
    struct waiter last;
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), 0);
    for (uint32_t i = 0; i < 3; i++)
        holder->shared->waiters[i] = (struct permits_waiter){ .owner = 2 + i, .ticket = 1 + i, .wanted = 1, .bell = BELL_ASLEEP };
    holder->shared->tickets = holder->shared->used = 3;
    begin(&last, memory, 1, 5, 1);
    for (uint32_t slot = 1; slot <= 4; slot++)
        store_relaxed(&shared->dead[slot], 1);
    int64_t death = clock_now();
    assert_int_equal(end(&last), PERMITS_HELD_DIED);
    assert_true(clock_now() - death < 100 * MS);
    free(holder);
    sys_munmap(memory, permits_size(1));
}

/* The first two in line are stopped, and the holder of all dies: there is one for the third, too. */
static void test_waiter_behind_the_stopped(void **state) {
    (void)state;
    void *memory = memory_of(3);
    struct permits *holder = view_of(memory, 3, 1, HAWSER_WAIT_BLOCK);
    struct waiter last;
    assert_int_equal(permits_acquire(holder, 3, DEADLINE_PAST), 0);
    for (uint32_t i = 0; i < 2; i++)
        holder->shared->waiters[i] = (struct permits_waiter){ .owner = 2 + i, .ticket = 1 + i, .wanted = 1, .bell = BELL_ASLEEP };
    holder->shared->tickets = holder->shared->used = 2;
    begin(&last, memory, 3, 5, 1);
    store_relaxed(&shared->dead[1], 1);
    int64_t death = clock_now();
    assert_int_equal(end(&last), PERMITS_HELD_DIED);
    assert_true(clock_now() - death < 100 * MS);
    free(holder);
    sys_munmap(memory, permits_size(3));
}

/* One was killed between leaving the line and saying that nobody is in it, with all its passes used: who tries is not refused. */
static void test_nobody_in_line(void **state) {
    (void)state;
    void *memory = memory_of(1);
    struct permits *permits = view_of(memory, 1, 1, HAWSER_WAIT_BLOCK);
    permits->shared->waiting = permits->shared->used = 1;
    permits->shared->passed = PERMITS_PASSES;
    assert_int_equal(permits_acquire(permits, 1, DEADLINE_PAST), 0);
    assert_int_equal(load_relaxed(&permits->shared->waiting), 0);
    free(permits);
    sys_munmap(memory, permits_size(1));
}

/* A signal every 5 ms. */
static long interrupted_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout, uint32_t bits) {
    const struct timespec brief = { .tv_nsec = 5 * MS };
    bool shortened = timeout && (timeout->tv_sec > 0 || timeout->tv_nsec > brief.tv_nsec);
    long r = sys_table_real.futex(word, operation, value, shortened ? &brief : timeout, bits);
    return r == -ETIMEDOUT && shortened ? -EINTR : r;
}

/* Nor does that keep a waiter from looking. */
static void test_waiter_amid_signals(void **state) {
    (void)state;
    void *memory = memory_of(1);
    struct permits *holder = view_of(memory, 1, 1, HAWSER_WAIT_BLOCK), *waiter = view_of(memory, 1, 2, HAWSER_WAIT_BLOCK);
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), 0);
    store_relaxed(&shared->dead[1], 1);
    sys_table.futex = interrupted_futex;
    int64_t death = clock_now();
    int r = permits_acquire(waiter, 1, death + 1000 * MS);
    int64_t told = clock_now();
    sys_table = sys_table_real;
    assert_int_equal(r, PERMITS_HELD_DIED);
    assert_true(told - death < 100 * MS);
    free(waiter);
    free(holder);
    sys_munmap(memory, permits_size(1));
}

/* Who does not sleep says that it is in line as sleepers do, again and again: somebody may have died who took that back. */
static void test_waiter_awake(void **state) {
    (void)state;
    void *memory = memory_of(1);
    struct permits *holder = view_of(memory, 1, 1, HAWSER_WAIT_BLOCK);
    struct waiter waiter = { .permits = view_of(memory, 1, 2, HAWSER_WAIT_SPIN), .wanted = 1 };
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), 0);
    assert_int_equal(pthread_create(&waiter.thread, NULL, wait_once, &waiter), 0);
    while (!load_relaxed(&holder->shared->waiting))
        sys_sched_yield();
    store_relaxed(&holder->shared->waiting, 0);
    for (int64_t end_ns = clock_now() + 2000 * MS; !load_relaxed(&holder->shared->waiting) && clock_now() < end_ns;)
        sys_sched_yield();
    assert_int_equal(load_relaxed(&holder->shared->waiting), 1);
    assert_int_equal(permits_release(holder, 1), 0);
    assert_int_equal(end(&waiter), 0);
    free(holder);
    sys_munmap(memory, permits_size(1));
}

/* Numbers that no honest user writes: nobody crashes, loops without end or takes what is not there. */
static void test_nonsense(void **state) {
    (void)state;
    void *memory = memory_of(4);
    struct permits *permits = view_of(memory, 4, 1, HAWSER_WAIT_BLOCK);
    memset(permits->shared->waiters, 0xff, sizeof permits->shared->waiters);
    permits->shared->waiters[3].ticket = 7;
    memset(&permits->shared->waiting, 0xff, 3 * sizeof(uint32_t));
    permits->shared->passed = UINT64_MAX;
    permits->words[0] = 123456;
    permits->words[16] = PERMITS_SLOT_MOST + 1;
    assert_int_equal(permits_acquire(permits, 2, DEADLINE_PAST), -EAGAIN);
    assert_int_equal(permits_acquire(permits, 2, clock_now() + 5 * MS), -ETIMEDOUT);
    assert_int_equal(permits_release(permits, 1), -EPERM);
    permits_reclaim(permits, PERMITS_EVERY);
    assert_int_equal(permits_free(permits), 4);
    assert_int_equal(permits_acquire(permits, 4, clock_now() + 5 * MS), PERMITS_HELD_DIED);
    free(permits);
    sys_munmap(memory, permits_size(4));
}

/* ---- With processes ---- */

static void work(void *memory, uint32_t limit, uint32_t slot, uint32_t mode, unsigned rounds) {
    struct permits permits;
    if (permits_open(&permits, memory, limit, slot, mode, &owners, &permits) < 0)
        _exit(1);
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t n = limit > 2 && i % 8 == 0 ? 3 : 1;
        if (permits_acquire(&permits, n, DEADLINE_NEVER) != 0)
            _exit(2);
        uint32_t inside = add_seq_cst(&shared->inside, n) + n;
        if (inside > limit)
            _exit(3);
        if (limit == 1)
            shared->plain++;
        add_seq_cst(&shared->inside, -n);
        if (permits_release(&permits, n) != 0)
            _exit(4);
    }
    _exit(0);
}

static void exclude(uint32_t limit, uint32_t mode, unsigned processes, unsigned rounds) {
    void *memory = memory_of(limit);
    struct permits *permits = view_of(memory, limit, 8000, mode);
    shared->plain = 0;
    for (unsigned i = 0; i < processes; i++)
        if (fork_child() == 0)
            work(memory, limit, i + 1, mode, rounds);
    for (unsigned i = 0; i < processes; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(shared->plain, limit == 1 ? processes * rounds : 0);
    assert_int_equal(permits_free(permits), limit);
    assert_int_equal(permits_in_line(permits), 0);
    assert_int_equal(load_relaxed(&permits->shared->waiting), 0);
    free(permits);
    sys_munmap(memory, permits_size(limit));
}

static void test_exclusion(void **state) {
    (void)state;
    exclude(1, HAWSER_WAIT_ADAPTIVE, 2, 20000);
    exclude(1, HAWSER_WAIT_BLOCK, 4, 5000);
    exclude(2, HAWSER_WAIT_ADAPTIVE, 8, 3000);
    exclude(4, HAWSER_WAIT_BLOCK, 8, 3000);
    exclude(65, HAWSER_WAIT_ADAPTIVE, 4, 3000);
    exclude(1, HAWSER_WAIT_SPIN, 2, 5000);
}

/* More waiters than places in line. */
static void test_crowd(void **state) {
    (void)state;
    void *memory = memory_of(1);
    struct permits *holder = view_of(memory, 1, 1, HAWSER_WAIT_BLOCK), *crowded = view_of(memory, 1, 2, HAWSER_WAIT_BLOCK);
    for (uint32_t i = 0; i < PERMITS_WAITERS; i++)
        holder->shared->waiters[i].owner = 3;
    holder->shared->used = PERMITS_WAITERS;
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), 0);
    assert_int_equal(permits_acquire(crowded, 1, clock_now() + 5 * MS), -ETIMEDOUT);
    assert_int_equal(permits_release(holder, 1), 0);
    assert_int_equal(permits_acquire(crowded, 1, DEADLINE_NEVER), 0);
    store_relaxed(&shared->dead[3], 1);
    store_relaxed(&holder->looked_ns, 0);
    assert_int_equal(permits_acquire(holder, 1, DEADLINE_PAST), -EAGAIN);
    assert_int_equal(load_relaxed(&holder->shared->waiters[0].owner), 0);
    free(holder);
    free(crowded);
    sys_munmap(memory, permits_size(1));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_take_and_give),      TEST(test_all_or_none),        TEST(test_permits_of_the_dead), TEST(test_torn_only_inside),
        TEST(test_format),             TEST(test_line_is_an_order),   TEST(test_leaving_the_line),    TEST(test_passing_has_an_end),
        TEST(test_waiter_behind_the_dead),
        TEST(test_nonsense),
        TEST(test_exclusion),
        TEST(test_crowd),
        TEST(test_several_are_not_passed),
        TEST(test_all_or_none_of_the_dead),
        TEST(test_waiter_amid_signals),
        TEST(test_passing_has_an_end_for_the_first),
        TEST(test_waiter_behind_the_stopped),
        TEST(test_nobody_in_line),
        TEST(test_waiter_awake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
