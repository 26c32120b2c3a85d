/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The ladder's decisions, without a peer: what it says next, and what it learns. Two CPUs are put in place of the machine's
 * by a table entry, so that the outcome does not depend on where this runs. */

#include "wait/ladder.h"

#include "base/clock.h"
#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint64_t cpus;

static int some_cpus(pid_t pid, size_t size, void *set) {
    (void)pid;
    memset(set, 0, size);
    memcpy(set, &cpus, sizeof cpus);
    return sizeof cpus;
}

static int setup(void **state) {
    (void)state;
    cpus = 3;
    sys_table.sched_getaffinity = some_cpus;
    return 0;
}

static struct ladder ladder_of(uint32_t mode) {
    struct ladder ladder;
    ladder_init(&ladder, mode, false, true);
    return ladder;
}

/* Steps until the answer is not LADDER_TRY. */
static enum ladder_step settle(struct ladder *ladder, int64_t deadline) {
    enum ladder_step step;
    do
        step = ladder_next(ladder, deadline);
    while (step == LADDER_TRY);
    return step;
}

static void test_block_sleeps_at_once(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_BLOCK);
    ladder_begin(&ladder);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    assert_int_equal(ladder_next(&ladder, clock_now() - 1), LADDER_EXPIRED);
}

static void test_adaptive_spins_then_sleeps(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_ADAPTIVE);
    ladder_begin(&ladder);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_TRY);
    int64_t before = clock_now();
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    assert_true(clock_now() - before >= 19000);
}

static void test_spin_looks_and_expires_but_never_sleeps(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_SPIN);
    ladder_begin(&ladder);
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_LOOK);
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_LOOK);
    assert_int_equal(settle(&ladder, clock_now() + 100000), LADDER_EXPIRED);
    ladder.watch = false;
    ladder_begin(&ladder);
    assert_int_equal(settle(&ladder, clock_now() + 3000000), LADDER_EXPIRED);
}

static void test_one_cpu_never_spins(void **state) {
    (void)state;
    cpus = 2;
    for (uint32_t mode = HAWSER_WAIT_ADAPTIVE; mode <= HAWSER_WAIT_BLOCK; mode++) {
        struct ladder ladder = ladder_of(mode);
        ladder_begin(&ladder);
        assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    }
}

static unsigned spins_of(struct ladder *ladder, unsigned waits, bool slept, int64_t waited_ns) {
    unsigned spins = 0;
    for (unsigned i = 0; i < waits; i++) {
        ladder_begin(ladder);
        spins += ladder->spins;
        ladder->began_ns = clock_now() - waited_ns;
        ladder_end(ladder, slept);
    }
    return spins;
}

static void test_vain_spins_stop_and_short_sleeps_bring_them_back(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_ADAPTIVE);
    unsigned spins = spins_of(&ladder, 320, true, 10000000);
    assert_in_range(spins, 5, 20); /* the first few, and one in 32 to probe */
    assert_in_range(ladder.budget_ns, 20000, 100000);
    spins = spins_of(&ladder, 64, true, 30000); /* sleeps as short as a wake: spinning would have caught them */
    assert_true(ladder.favour >= -2);
    assert_true(spins >= 4);
    spins_of(&ladder, 16, false, 1000);
    assert_int_equal(spins_of(&ladder, 64, false, 1000), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_block_sleeps_at_once, setup),
        cmocka_unit_test_setup(test_adaptive_spins_then_sleeps, setup),
        cmocka_unit_test_setup(test_spin_looks_and_expires_but_never_sleeps, setup),
        cmocka_unit_test_setup(test_one_cpu_never_spins, setup),
        cmocka_unit_test_setup(test_vain_spins_stop_and_short_sleeps_bring_them_back, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
