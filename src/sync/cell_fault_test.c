/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Every system call and allocation of a cell's life fails in turn: an error with a sentence, or success; no descriptor and no map
 * stays, the next life is as if nothing had been, and no name is left. */

#include "sync/cell.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault_test.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/name.h"

#include <hawser/hawser.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char runtime[64];
/* A close that fails has closed all the same; and what gives memory back cannot fail here. */
static bool fault_harmless(const char *name) { return strcmp(name, "close") == 0 || strcmp(name, "munmap") == 0; }

/* The first error, or 0. */
static int use_cell(void) {
    hawser_cell *writer = NULL, *reader = NULL, *adopted = NULL;
    struct hawser_cell_status status = HAWSER_CELL_STATUS_INIT;
    uint64_t number = 5;
    int ticket = -1, r = hawser_cell_create("cell://a?wait=block", NULL, sizeof number, &writer);
    if (r == 0)
        r = hawser_cell_open("cell://a?wait=block", NULL, 10 * INT64_C(1000000000), &reader);
    if (r == 0)
        r = hawser_cell_set(writer, &number, sizeof number);
    if (r == 0)
        r = hawser_cell_wait(reader, 0, HAWSER_FOREVER, NULL);
    if (r == 0 && hawser_cell_wait(reader, 1, 1000000, NULL) != -ETIMEDOUT)
        fail_msg("a value that was never set");
    if (r == 0)
        r = hawser_cell_status(reader, &status);
    if (r == 0)
        r = hawser_cell_export(writer, &ticket);
    if (r == 0)
        r = hawser_cell_adopt(ticket, NULL, &adopted);
    number = 0;
    if (r == 0)
        r = hawser_cell_get(adopted, &number, sizeof number, NULL, NULL);
    assert_int_equal(number, r == 0 ? 5 : 0);
    if (ticket >= 0)
        close(ticket);
    hawser_cell_close(adopted);
    hawser_cell_close(reader);
    hawser_cell_close(writer);
    return r;
}

static int use_faulty(unsigned nth) {
    fault_begin(nth);
    int r = use_cell();
    fault_end();
    return r;
}

struct holdings {
    unsigned descriptors, maps;
};

static struct holdings holdings_now(void) {
    struct holdings holdings = { 0 };
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        holdings.maps += strstr(line, runtime) != NULL;
    fclose(maps);
    for (int fd = 0; fd < 256; fd++)
        holdings.descriptors += fcntl(fd, F_GETFD) >= 0;
    return holdings;
}

static void fail_each(int with) {
    struct holdings before = holdings_now(), after;
    unsigned n = 1;
    failure = with;
    for (;; n++) {
        error_note(0, "");
        int r = use_faulty(n);
        if (!failed)
            break;
        after = holdings_now();
        if (r < 0 && !hawser_explain()[0])
            fail_msg("call %u, %s, fails with %d: %d without a sentence", n, failed, with, r);
        if (after.descriptors != before.descriptors || after.maps != before.maps)
            fail_msg("call %u, %s, fails with %d: it left descriptors or maps", n, failed, with);
        assert_int_equal(use_cell(), 0);
    }
    assert_true(n > 20);
}

static void every_call_may_fail(void **state) {
    (void)state;
    static const int failures[] = { -ENOMEM, -EINTR, -EACCES, -ENOSYS };
    int64_t nap_ns = NAME_NAP_NS;
    name_nap(&nap_ns, DEADLINE_NEVER); /* the thread's waker is made once, and stays */
    assert_int_equal(use_cell(), 0);
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        fail_each(failures[i]);
}

static int set_up(void **state) {
    (void)state;
    snprintf(runtime, sizeof runtime, "/tmp/hawser-cell-XXXXXX");
    return mkdtemp(runtime) && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(runtime); /* no name is left */
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_call_may_fail, set_up, tear_down) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
