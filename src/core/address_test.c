/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "core/address.h"

#include "base/error.h"
#include "core/transport.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct transport test_transport = { .scheme = "test", .capabilities = 5 };
static const struct transport long_transport = { .scheme = "tls+test2" };
const struct transport *const transports[] = { &test_transport, &long_transport, NULL };

static void expect_refused(const char *text, const char *sentence) {
    struct address address;
    assert_int_equal(address_parse(text, &address), -EINVAL);
    if (!strstr(hawser_explain(), sentence))
        fail_msg("\"%s\" gives \"%s\", not \"%s\"", text, hawser_explain(), sentence);
}

static void takes_apart(void **state) {
    (void)state;
    struct address address;
    assert_int_equal(address_parse("test://quotes?wait=spin&ring=4K", &address), 0);
    assert_ptr_equal(address.transport, &test_transport);
    assert_string_equal(address.place, "quotes");
    assert_string_equal(address.text + address.query, "wait=spin&ring=4K");
    assert_int_equal(address_parse("test://", &address), 0);
    assert_string_equal(address.place, "");
    assert_int_equal(address.text[address.query], 0);
    assert_int_equal(address_parse("tls+test2:///a/b", &address), 0);
    assert_string_equal(address.place, "/a/b");
}

static void points_at_the_character(void **state) {
    (void)state;
    expect_refused("", "expected a mechanism, in lower case at character 1 (its end)");
    expect_refused("test:/x", "address \"test:/x\": expected \"://\", as in shm://NAME, at character 5 (\":/x\")");
    expect_refused("test", "expected \"://\", as in shm://NAME, at character 5 (its end)");
    expect_refused("Test://x", "at character 1 (\"Test://x\")");
    expect_refused("tes://x", "unknown mechanism \"tes\" at character 1; the mechanisms are test and tls+test2");
    expect_refused("test://a\nb", "control character at character 9 (\"?b\")");
    expect_refused("test://a?", "expected an option at character 10 (its end)");
}

static void refuses_the_over_long(void **state) {
    (void)state;
    char text[HAWSER_ADDRESS_MAX + 1] = "test://";
    memset(text + 7, 'x', sizeof text - 8);
    text[sizeof text - 1] = 0;
    expect_refused(text, "over-long at character 256");
    text[HAWSER_ADDRESS_MAX - 1] = 0;
    struct address address;
    assert_int_equal(address_parse(text, &address), 0);
    assert_int_equal(address_parse(NULL, &address), -EINVAL);
}

static void leaves_the_output_alone(void **state) {
    (void)state;
    struct address address;
    memset(&address, 7, sizeof address);
    struct address before = address;
    assert_int_equal(address_parse("test:", &address), -EINVAL);
    assert_memory_equal(&address, &before, sizeof before);
}

static int size_of(const char *text, uint64_t *ret_size) { return parse_size(text, strlen(text), ret_size); }
static int time_of(const char *text, int64_t *ret_ns) { return parse_time(text, strlen(text), ret_ns); }

static void reads_sizes(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "K", "1k", "1.5K", "-1", "+1", " 1", "1 ", "1KK", "18446744073709551616", "17179869184G", "0x10"
    };
    uint64_t size = 77;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(size_of(bad[i], &size), -EINVAL);
    assert_int_equal(size, 77);
    assert_int_equal(size_of("18446744073709551615", &size), 0);
    assert_true(size == UINT64_MAX);
    assert_int_equal(size_of("17179869183G", &size), 0);
    assert_true(size == UINT64_C(17179869183) << 30);
    assert_int_equal(size_of("64K", &size), 0);
    assert_int_equal(size, 65536);
    assert_int_equal(parse_size("64Kxyz", 3, &size), 0);
}

static void reads_times(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "1", "ms", "1 ms", "1m", "1S", "9223372036854775808ns", "9223372037s", "-1s"
    };
    int64_t ns = 77;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(time_of(bad[i], &ns), -EINVAL);
    assert_int_equal(ns, 77);
    assert_int_equal(time_of("9223372036854775807ns", &ns), 0);
    assert_true(ns == INT64_MAX);
    assert_int_equal(time_of("10ms", &ns), 0);
    assert_int_equal(ns, 10000000);
    assert_int_equal(time_of("0", &ns), 0);
    assert_int_equal(ns, 0);
}

static void tells_capabilities(void **state) {
    (void)state;
    assert_int_equal(hawser_capabilities("test://"), 5);
    assert_int_equal(hawser_capabilities("nothing://"), -EINVAL);
    assert_int_equal(hawser_capabilities(NULL), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_apart),           cmocka_unit_test(points_at_the_character),
        cmocka_unit_test(refuses_the_over_long), cmocka_unit_test(leaves_the_output_alone),
        cmocka_unit_test(reads_sizes),           cmocka_unit_test(reads_times),
        cmocka_unit_test(tells_capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
