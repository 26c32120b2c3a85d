/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What the public calls answer where that takes a fault at the right moment. */

#include "base/memory.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void *no_memory(void *old, size_t size) {
    (void)old;
    (void)size;
    return NULL;
}

/* The message has left; that there is no memory to read an acknowledgement into does not take it back. */
static void test_sent_without_memory(void **state) {
    (void)state;
    static const char *const addresses[] = { "unix://", "tcp://" };
    for (unsigned i = 0; i < 2; i++) {
        hawser_channel *a, *b;
        char in[8];
        size_t size;
        assert_int_equal(hawser_pair(addresses[i], NULL, &a, &b), 0);
        assert_int_equal(hawser_send(a, "one", 3, HAWSER_NOW), 0); /* so that sending needs no memory any more */
        void *(*resize)(void *, size_t) = memory_resize_hook;
        memory_resize_hook = no_memory;
        int r = hawser_send_sync(a, "two", 3, 1000000);
        int flushed = hawser_flush(a, 1000000);
        memory_resize_hook = resize;
        assert_int_equal(r, -EINPROGRESS);
        assert_int_equal(flushed, -EINPROGRESS);
        assert_int_equal(hawser_recv(b, in, sizeof in, HAWSER_FOREVER, &size), 0);
        assert_int_equal(hawser_recv(b, in, sizeof in, HAWSER_FOREVER, &size), 0);
        assert_memory_equal(in, "two", 3);
        assert_int_equal(hawser_flush(a, 1000000000), 0);
        hawser_close(a);
        hawser_close(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sent_without_memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
