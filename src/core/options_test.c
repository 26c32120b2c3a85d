/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "core/options.h"

#include "base/error.h"
#include "core/identity.h"
#include "core/transport.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct transport test_transport = { .scheme = "test" };
const struct transport *const transports[] = { &test_transport, NULL };

static int resolve(const hawser_options *given, const char *query, struct options *ret_options) {
    char text[HAWSER_ADDRESS_MAX];
    struct address address;
    snprintf(text, sizeof text, "test://a%s%s", *query ? "?" : "", query);
    assert_int_equal(address_parse(text, &address), 0);
    return options_resolve(given, &address, ret_options);
}

static void expect_refused(const char *query, const char *sentence) {
    struct options options;
    if (resolve(NULL, query, &options) != -EINVAL)
        fail_msg("\"%s\" is not refused", query);
    if (!strstr(hawser_explain(), sentence))
        fail_msg("\"%s\" gives \"%s\", not \"%s\"", query, hawser_explain(), sentence);
}

static void fills_defaults_in(void **state) {
    (void)state;
    static const hawser_options none = HAWSER_OPTIONS_INIT;
    const hawser_options *given[] = { NULL, &none };
    for (unsigned i = 0; i < 2; i++) {
        struct options options;
        assert_int_equal(resolve(given[i], "", &options), 0);
        assert_int_equal(options.max_message, 64 << 20);
        assert_int_equal(options.read_ahead, 1 << 20);
        assert_int_equal(options.ring, 1 << 20);
        assert_int_equal(options.pool, 64 << 20);
        assert_int_equal(options.buffer, 0);
        assert_int_equal(options.depth, 0);
        assert_int_equal(options.linger_ns, 1000000000);
        assert_int_equal(options.hello_ns, 2000000000);
        assert_int_equal(options.wait, HAWSER_WAIT_ADAPTIVE);
        assert_int_equal(options.threads, HAWSER_THREADS_TWO);
        assert_int_equal(options.wire, HAWSER_WIRE_DEFAULT);
        assert_true(options.watch);
        assert_false(options.stable || options.fence || options.peer_given || options.users.any);
        assert_int_equal(options.users.n, 0);
    }
}

static void the_query_wins(void **state) {
    (void)state;
    hawser_options given = HAWSER_OPTIONS_INIT;
    struct options options;
    given.ring = 8192;
    given.wait = HAWSER_WAIT_BLOCK;
    given.linger_ns = HAWSER_OPTION_NONE;
    given.depth = 20;
    given.stable = HAWSER_YES;
    given.watch = HAWSER_NO;
    given.users = "5,6";
    assert_int_equal(resolve(&given, "ring=64K&wait=spin&users=7", &options), 0);
    assert_int_equal(options.ring, 65536);
    assert_int_equal(options.wait, HAWSER_WAIT_SPIN);
    assert_int_equal(options.linger_ns, 0);
    assert_int_equal(options.depth, 20);
    assert_true(options.stable);
    assert_false(options.watch);
    assert_int_equal(options.users.n, 1);
    assert_int_equal(options.users.ids[0], 7);
}

static void reads_every_word(void **state) {
    (void)state;
    struct options options;
    assert_int_equal(resolve(NULL,
                             "max_message=1&read_ahead=4K&pool=1M&buffer=64K&depth=3&packet=1K&linger=0&"
                             "hello_timeout=50ms&threads=many&"
                             "wire=sp&framing=none&watch=no&stable=yes&barrier=fence&groups=any&peer=root",
                             &options),
                     0);
    assert_int_equal(options.max_message, 1);
    assert_int_equal(options.packet, 1024);
    assert_int_equal(options.linger_ns, 0);
    assert_int_equal(options.hello_ns, 50000000);
    assert_int_equal(options.threads, HAWSER_THREADS_MANY);
    assert_int_equal(options.wire, HAWSER_WIRE_SP);
    assert_int_equal(options.framing, HAWSER_FRAMING_NONE);
    assert_true(options.fence && options.stable && !options.watch && options.groups.any && options.peer_given);
    assert_int_equal(options.peer.n, 1);
    assert_int_equal(options.peer.ids[0], 0);
}

static void points_into_the_query(void **state) {
    (void)state;
    expect_refused("rin=4K", "unknown option (hawser_options(3) lists them) at character 10 (\"rin=4K\")");
    expect_refused("ring", "expected \"=\" and a value at character 14 (its end)");
    expect_refused("ring=5000", "expected a power of two of 4K to 1G at character 15 (\"5000\")");
    expect_refused("ring=2K", "at character 15 (\"2K\")");
    expect_refused("ring=", "at character 15 (its end)");
    expect_refused("wait=spin&ring=4k", "at character 25 (\"4k\")");
    expect_refused("wait=spin&", "expected an option at character 20 (its end)");
    expect_refused("&wait=spin", "expected an option at character 10");
    expect_refused("wait=spin&wait=spin", "option given twice at character 20");
    expect_refused("wait=fast", "expected adaptive, spin or block at character 15 (\"fast\")");
    expect_refused("hello_timeout=0", "more than 0 at character 24");
    expect_refused("linger=1", "expected a time like 1s, or 0 at character 17");
    expect_refused("max_message=0", "2^56-1 bytes at character 22");
    expect_refused("max_message=72057594037927936", "at character 22");
    expect_refused("users=0,no-such-user-here", "at character 18 (\"no-such-user-here\")");
    expect_refused("users=4294967295", "at character 16");
    expect_refused("users=99999999999", "at character 16");
    expect_refused("users=1,", "at character 18");
    expect_refused("peer=1,2", "expected one user: a name, an id, or any at character 17");
    expect_refused("admit=1", "unknown option");
}

static void names_the_member(void **state) {
    (void)state;
    struct options options;
    hawser_options given = HAWSER_OPTIONS_INIT;
    given.ring = 5000;
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
    assert_string_equal(hawser_explain(), "option ring: expected a power of two of 4K to 1G");
    given.ring = 0;
    given.wait = 4;
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
    given.wait = 0;
    given.hello_ns = -1;
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
    given.hello_ns = 0;
    given.linger_ns = -2;
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
    given.linger_ns = 0;
    given.peer = "no-such-user-here";
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
    assert_non_null(strstr(hawser_explain(), "option peer is \"no-such-user-here\""));
    given.peer = NULL;
    given.reserved[3] = 1;
    assert_int_equal(resolve(&given, "", &options), -EINVAL);
}

static void knows_only_its_own_struct(void **state) {
    (void)state;
    struct options options;
    struct {
        hawser_options known;
        uint64_t newer;
    } given = { .known = HAWSER_OPTIONS_INIT };
    given.known.struct_size = sizeof given;
    assert_int_equal(resolve(&given.known, "", &options), 0);
    given.newer = 1;
    assert_int_equal(resolve(&given.known, "", &options), -EINVAL);
    given.known.struct_size = 0;
    assert_int_equal(resolve(&given.known, "", &options), -EINVAL);
}

static void finds_ids_by_name(void **state) {
    (void)state;
    struct id_list list;
    size_t bad;
    assert_int_equal(ids_parse("root,12", 7, false, IDS_MAX, &list, &bad), 0);
    assert_int_equal(list.n, 2);
    assert_true(ids_hold(&list, 0, false) && ids_hold(&list, 12, false));
    assert_false(ids_hold(&list, 1, false));
    assert_int_equal(ids_parse("root", 4, true, IDS_MAX, &list, &bad), 0);
    assert_int_equal(list.ids[0], 0);
    assert_int_equal(ids_parse("1,2,3", 5, true, 2, &list, &bad), -EINVAL);
    assert_int_equal(bad, 4);
    list = (struct id_list){ .n = 1, .ids = { UINT32_MAX } };
    assert_false(ids_hold(&list, UINT32_MAX, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_defaults_in), cmocka_unit_test(the_query_wins),
        cmocka_unit_test(reads_every_word),  cmocka_unit_test(points_into_the_query),
        cmocka_unit_test(names_the_member),  cmocka_unit_test(knows_only_its_own_struct),
        cmocka_unit_test(finds_ids_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
