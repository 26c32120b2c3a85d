/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The part of cmocka that the unit tests use, for builds against musl, where distributions have no cmocka: cases in
 * a group, asserts that end a case by a jump, cmocka's output. Everything else of cmocka is missing on purpose. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    int (*setup_func)(void **state);
    int (*teardown_func)(void **state);
    void *initial_state;
};

#define cmocka_unit_test(F) { #F, F, NULL, NULL, NULL }
#define cmocka_unit_test_setup(F, SETUP) { #F, F, SETUP, NULL, NULL }
#define cmocka_unit_test_teardown(F, TEARDOWN) { #F, F, NULL, TEARDOWN, NULL }
#define cmocka_unit_test_setup_teardown(F, SETUP, TEARDOWN) { #F, F, SETUP, TEARDOWN, NULL }
#define cmocka_unit_test_prestate(F, STATE) { #F, F, NULL, NULL, STATE }

static jmp_buf cmocka_end; /* 1: failed, 2: skipped */

static inline void cmocka_end_case(int how, const char *file, int line, const char *what) {
    if (how == 1)
        fprintf(stderr, "%s:%d: error: %s\n", file, line, what);
    longjmp(cmocka_end, how);
}

#define cmocka_check(CONDITION, TEXT) ((CONDITION) ? (void)0 : cmocka_end_case(1, __FILE__, __LINE__, TEXT))
#define fail() cmocka_end_case(1, __FILE__, __LINE__, "fail()")
#define fail_msg(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), fail())
#define skip() cmocka_end_case(2, __FILE__, __LINE__, "")
#define print_message(...) ((void)printf(__VA_ARGS__))
#define print_error(...) ((void)fprintf(stderr, __VA_ARGS__))

#define assert_true(C) cmocka_check(!!(C), #C)
#define assert_false(C) cmocka_check(!(C), "not " #C)
#define assert_null(P) cmocka_check((P) == NULL, #P " == NULL")
#define assert_non_null(P) cmocka_check((P) != NULL, #P " != NULL")
#define assert_ptr_equal(A, B) cmocka_check((const void *)(A) == (const void *)(B), #A " == " #B)
#define assert_ptr_not_equal(A, B) cmocka_check((const void *)(A) != (const void *)(B), #A " != " #B)
#define assert_int_equal(A, B) cmocka_compare((uintmax_t)(A), (uintmax_t)(B), 1, #A " == " #B, __FILE__, __LINE__)
#define assert_int_not_equal(A, B) cmocka_compare((uintmax_t)(A), (uintmax_t)(B), 0, #A " != " #B, __FILE__, __LINE__)
#define assert_in_range(V, LOW, HIGH) cmocka_check((uintmax_t)(V) >= (LOW) && (uintmax_t)(V) <= (HIGH), #V " in range")
#define assert_string_equal(A, B) cmocka_check(strcmp((A), (B)) == 0, #A " equals " #B)
#define assert_string_not_equal(A, B) cmocka_check(strcmp((A), (B)) != 0, #A " differs from " #B)
#define assert_memory_equal(A, B, SIZE) cmocka_check(memcmp((A), (B), (SIZE)) == 0, #A " equals " #B)
#define assert_memory_not_equal(A, B, SIZE) cmocka_check(memcmp((A), (B), (SIZE)) != 0, #A " differs from " #B)

static inline void cmocka_compare(uintmax_t a, uintmax_t b, int wanted, const char *what, const char *file, int line) {
    if ((a == b) == wanted)
        return;
    fprintf(stderr, "%jd, %jd: ", (intmax_t)a, (intmax_t)b);
    cmocka_end_case(1, file, line, what);
}

static inline int cmocka_run_case(const struct CMUnitTest *test, void *state) {
    void *own = test->initial_state ? test->initial_state : state;
    printf("[ RUN      ] %s\n", test->name);
    fflush(stdout);
    volatile int how = setjmp(cmocka_end);
    if (how == 0) {
        how = test->setup_func && test->setup_func(&own) ? 1 : 0;
        if (how == 0)
            test->test_func(&own);
    }
    if (test->teardown_func && test->teardown_func(&own))
        how = 1;
    printf("%s %s\n", how == 0 ? "[       OK ]" : how == 1 ? "[  FAILED  ]" : "[  SKIPPED ]", test->name);
    return how == 1;
}

static inline int cmocka_run_group(const struct CMUnitTest *tests, size_t n, int (*setup)(void **), int (*teardown)(void **)) {
    void *state = NULL;
    int bad = 0;
    if (setup && setup(&state)) {
        printf("[  ERROR   ] group setup\n");
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        bad += cmocka_run_case(&tests[i], state);
    if (teardown && teardown(&state))
        bad++;
    return bad;
}

#define cmocka_run_group_tests(TESTS, SETUP, TEARDOWN) \
    cmocka_run_group((TESTS), sizeof(TESTS) / sizeof((TESTS)[0]), (SETUP), (TEARDOWN))
#define cmocka_run_group_tests_name(NAME, TESTS, SETUP, TEARDOWN) cmocka_run_group_tests(TESTS, SETUP, TEARDOWN)
