/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The ladder's decisions, without a peer: what it says next, and what it learns. */

#include "wait/ladder.h"

#include "base/clock.h"
#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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
    ladder_begin(&ladder, false);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    assert_int_equal(ladder_next(&ladder, clock_now() - 1), LADDER_EXPIRED);
}

static void test_half_a_message_is_waited_for_awake(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_BLOCK);
    assert_true(ladder_unplaced(&ladder));
    ladder_place(&ladder, 1);
    ladder_begin(&ladder, true);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_TRY);
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    for (unsigned i = 0; i < 8; i++) { /* in vain: with more processes than CPUs the peer may not be running */
        ladder_begin(&ladder, true);
        ladder_end(&ladder, true);
    }
    ladder_begin(&ladder, true);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    for (unsigned i = 0; i < 64; i++) {
        ladder_begin(&ladder, true);
        ladder_end(&ladder, false);
    }
    uint64_t calls = sys_calls_made;
    ladder_place(&ladder, -1);
    ladder_begin(&ladder, true);
    for (unsigned i = 0; i < 64; i++)
        ladder_next(&ladder, DEADLINE_NEVER);
    assert_true(sys_calls_made > calls); /* it yields, as the peer may need this very CPU */
    ladder_place(&ladder, 0);
    ladder_begin(&ladder, true);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
}

static void test_adaptive_spins_then_sleeps(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_ADAPTIVE);
    ladder_begin(&ladder, false);
    assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_TRY);
    int64_t before = clock_now();
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    assert_true(clock_now() - before >= 19000);
}

static void test_spin_looks_and_expires_but_never_sleeps(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_SPIN);
    ladder_begin(&ladder, false);
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_LOOK);
    assert_int_equal(settle(&ladder, DEADLINE_NEVER), LADDER_LOOK);
    assert_int_equal(settle(&ladder, clock_now() + 100000), LADDER_EXPIRED);
    ladder.watch = false;
    ladder_begin(&ladder, false);
    assert_int_equal(settle(&ladder, clock_now() + 3000000), LADDER_EXPIRED);
}

static void test_one_cpu_for_both_never_spins(void **state) {
    (void)state;
    for (uint32_t mode = HAWSER_WAIT_ADAPTIVE; mode <= HAWSER_WAIT_BLOCK; mode++) {
        struct ladder ladder = ladder_of(mode);
        assert_true(ladder_unplaced(&ladder));
        ladder_place(&ladder, 0);
        assert_false(ladder_unplaced(&ladder));
        ladder_begin(&ladder, false);
        assert_int_equal(ladder_next(&ladder, DEADLINE_NEVER), LADDER_SLEEP);
    }
}

static unsigned spins_of(struct ladder *ladder, unsigned waits, bool slept, int64_t waited_ns) {
    unsigned spins = 0;
    for (unsigned i = 0; i < waits; i++) {
        ladder_begin(ladder, false);
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
    assert_in_range(ladder.budget_ns, 20000, 200000);
    spins = spins_of(&ladder, 64, true, 30000); /* sleeps as short as a wake: spinning would have caught them */
    assert_true(ladder.favour >= -2);
    assert_true(spins >= 4);
    spins_of(&ladder, 16, false, 1000);
    assert_int_equal(spins_of(&ladder, 64, false, 1000), 64);
}

static void test_an_unknown_place_spins_rarely_until_it_pays(void **state) {
    (void)state;
    struct ladder ladder = ladder_of(HAWSER_WAIT_ADAPTIVE);
    ladder_place(&ladder, -1);
    assert_int_equal(spins_of(&ladder, 512, true, 10000000), 2);
    ladder_place(&ladder, -1);
    spins_of(&ladder, 8, false, 1000);
    assert_int_equal(spins_of(&ladder, 64, false, 1000), 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_sleeps_at_once),
        cmocka_unit_test(test_half_a_message_is_waited_for_awake),
        cmocka_unit_test(test_adaptive_spins_then_sleeps),
        cmocka_unit_test(test_spin_looks_and_expires_but_never_sleeps),
        cmocka_unit_test(test_one_cpu_for_both_never_spins),
        cmocka_unit_test(test_an_unknown_place_spins_rarely_until_it_pays),
        cmocka_unit_test(test_vain_spins_stop_and_short_sleeps_bring_them_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
