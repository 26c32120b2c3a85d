/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Every system call and allocation behind an object fails in turn. Whatever comes of it is an error with a sentence or success; no
 * descriptor stays open, and after the next open and close no name is left. */

#include "sync/object_test.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault_test.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/name.h"

#include <errno.h>
#include <hawser/region.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A close that fails has closed all the same; and what gives memory back cannot fail here. */
static bool fault_harmless(const char *name) { return strcmp(name, "close") == 0 || strcmp(name, "munmap") == 0; }

static unsigned descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Everything an object is for. The first error, or 0. */
static int use_objects(const char *place) {
    struct object *object = NULL, *reader = NULL, *adopted = NULL;
    int ticket = -1, error = open_as(place, OBJECT_WRITE, sizeof(struct words), &object);
    if (!error) {
        words_of(object)->value = 1;
        object_reclaim(object, object->slot == 1 ? 2 : 1);
        object_members(object, 10);
        error = object_export(object, OBJECT_READ, &ticket);
    }
    if (!error)
        error = object_adopt(ticket, &test_kind, OBJECT_READ, &reader);
    if (!error)
        error = open_as(place, OBJECT_WRITE, sizeof(struct words), &adopted);
    object_close(adopted);
    object_close(reader);
    object_close(object);
    if (!error)
        error = object_adopt(ticket, &test_kind, OBJECT_READ, &reader);
    if (!error) {
        assert_int_equal(words_of(reader)->value, 1);
        object_close(reader);
    }
    if (ticket >= 0)
        close(ticket);
    return error;
}

/* The same for a region: its guard, its sealing. */
static int use_region(const char *place) {
    hawser_region *region = NULL, *reader = NULL;
    int ticket = -1, error = hawser_region_open(place, NULL, 10000, &region);
    if (!error)
        error = hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW);
    if (!error) {
        strcpy(hawser_region_data(region), "whole");
        error = hawser_region_unlock(region);
    }
    if (!error)
        error = hawser_region_export(region, HAWSER_REGION_READ, &ticket);
    if (!error && !strstr(place, "thing"))
        error = hawser_region_seal(region);
    if (!error)
        error = hawser_region_adopt(ticket, NULL, &reader);
    if (!error)
        assert_string_equal(hawser_region_data(reader), "whole");
    hawser_region_close(region);
    hawser_region_close(reader);
    if (ticket >= 0)
        close(ticket);
    return error;
}

static int (*use)(const char *place);

static int use_faulty(const char *place, unsigned nth) {
    fault_begin(nth);
    int error = use(place);
    fault_end();
    return error;
}

static void fail_each(int (*function)(const char *place), const char *place, int with) {
    use = function;
    int64_t nap_ns = NAME_NAP_NS;
    name_nap(&nap_ns, DEADLINE_NEVER); /* the thread's waker is made once, and stays */
    assert_int_equal(use(place), 0);
    unsigned before = descriptors(), n = 1;
    failure = with;
    for (;; n++) {
        error_note(0, "");
        int error = use_faulty(place, n);
        if (!failed)
            break;
        if (error && !hawser_explain()[0])
            fail_msg("call %u, %s, fails with %d: %d without a sentence", n, failed, with, error);
        if (descriptors() != before)
            fail_msg("call %u, %s, fails with %d: %u descriptors, not %u", n, failed, with, descriptors(), before);
        assert_int_equal(use(place), 0);
        if (exists("thing"))
            fail_msg("call %u, %s, fails with %d: a name is left", n, failed, with);
    }
    assert_true(n > 20);
}

static void every_call_may_fail(void **state) {
    (void)state;
    fail_each(use_objects, NAME, -ENOMEM);
    fail_each(use_objects, NAME, -EINTR);
    fail_each(use_objects, NAME, -EACCES);
    fail_each(use_objects, NAME, -EOPNOTSUPP);
    fail_each(use_objects, "sem://", -EMFILE);
    fail_each(use_objects, "sem://", -EINTR);
    fail_each(use_region, "region://thing", -ENOMEM);
    fail_each(use_region, "region://", -ENOMEM);
    fail_each(use_region, "region://", -EINTR);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_call_may_fail, set_up, tear_down) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
