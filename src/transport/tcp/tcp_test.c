/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is tcp's own: places, ports the kernel chose, connecting before there is a listener, closing without loss. */

#include "transport/tcp/tcp.h"

#include "core/channel.h"
#include "core/stream.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (20 * SECOND)

struct ends {
    hawser_channel *a, *b;
};

static int fd_of(hawser_channel *channel) { return stream_of(channel->link)->read_fd; }

static void *connecting(void *context) {
    hawser_channel *channel = NULL;
    if (hawser_connect(context, NULL, PATIENCE, &channel) < 0)
        fprintf(stderr, "%s\n", hawser_explain());
    return channel;
}

static struct ends meet(const char *address, hawser_listener **ret_listener) {
    struct ends ends;
    pthread_t thread;
    void *connected;
    assert_int_equal(hawser_listen(address, NULL, ret_listener), 0);
    void *bound = (void *)(uintptr_t)hawser_listener_address(*ret_listener);
    assert_int_equal(pthread_create(&thread, NULL, connecting, bound), 0);
    assert_int_equal(hawser_accept(*ret_listener, PATIENCE, &ends.b), 0);
    pthread_join(thread, &connected);
    ends.a = connected;
    assert_non_null(ends.a);
    return ends;
}

static bool has_v6(void) {
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&v6, sizeof v6) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static int number(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *address, *bound, *remote;
        bool v6;
    } cases[] = {
        { "tcp://127.0.0.1:0", "tcp://127.0.0.1:", "127.0.0.1:", false },
        { "tcp://localhost:0", "tcp://", "", false },
        { "tcp://[::1]:0", "tcp://[::1]:", "[::1]:", true },
        { "tcp://*:0", "tcp://[::]:", "[::1]:", true },
        { "tcp://:0", "tcp://[::]:", "[::1]:", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hawser_listener *listener, *second;
        struct hawser_peer peer = HAWSER_PEER_INIT;
        char bytes[8];
        size_t size;
        if (cases[i].v6 && !has_v6())
            continue;
        struct ends ends = meet(cases[i].address, &listener);
        const char *bound = hawser_listener_address(listener);
        assert_memory_equal(bound, cases[i].bound, strlen(cases[i].bound));
        assert_int_not_equal(atoi(strrchr(bound, ':') + 1), 0);
        assert_int_equal(hawser_listen(bound, NULL, &second), -EADDRINUSE);
        assert_int_equal(hawser_peer(ends.a, &peer), 0);
        assert_memory_equal(peer.address, cases[i].remote, strlen(cases[i].remote));
        assert_string_equal(strrchr(peer.address, ':'), strrchr(bound, ':'));
        assert_int_equal(peer.pid, -1);
        assert_int_equal(peer.uid, (uid_t)-1);
        assert_int_equal(hawser_send(ends.b, "hello", 5, PATIENCE), 0);
        assert_int_equal(hawser_recv(ends.a, bytes, sizeof bytes, PATIENCE, &size), 0);
        hawser_channel *both[] = { ends.a, ends.b };
        for (unsigned k = 0; k < 2; k++) {
            assert_int_not_equal(number(fd_of(both[k]), IPPROTO_TCP, TCP_NODELAY), 0);
            assert_int_not_equal(number(fd_of(both[k]), SOL_SOCKET, SO_KEEPALIVE), 0);
            hawser_close(both[k]);
        }
        hawser_listener_close(listener);
    }
}

static void test_bad_places(void **state) {
    (void)state;
    static const char *const addresses[] = { "tcp://", "tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:70000",
                                             "tcp://host:1x", "tcp://::1:5", "tcp://[::1:5", "tcp://[::1]5", "tcp://[]x:5" };
    static const char *const only_to_listen[] = { "tcp://*:5000", "tcp://:5000", "tcp://127.0.0.1:0" };
    hawser_listener *listener;
    hawser_channel *channel;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_int_equal(hawser_listen(addresses[i], NULL, &listener), -EINVAL);
        assert_int_equal(hawser_connect(addresses[i], NULL, HAWSER_NOW, &channel), -EINVAL);
    }
    for (size_t i = 0; i < sizeof only_to_listen / sizeof only_to_listen[0]; i++)
        assert_int_equal(hawser_connect(only_to_listen[i], NULL, HAWSER_NOW, &channel), -EINVAL);
}

/* A port that was free a moment ago. */
static void free_port(char *address, size_t capacity) {
    hawser_listener *listener;
    assert_int_equal(hawser_listen("tcp://127.0.0.1:0", NULL, &listener), 0);
    snprintf(address, capacity, "%s", hawser_listener_address(listener));
    hawser_listener_close(listener);
}

static void test_no_listener(void **state) {
    (void)state;
    char address[64];
    hawser_channel *channel;
    free_port(address, sizeof address);
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &channel), -EAGAIN);
    assert_int_equal(hawser_connect(address, NULL, SECOND / 20, &channel), -ETIMEDOUT);
    assert_int_equal(hawser_connect("tcp://no-such-host.invalid:5000", NULL, SECOND / 20, &channel) < 0, 1);
}

static int tried[2]; /* a pipe: a byte for each connect that was not made at once */

static int telling_connect(int fd, const struct sockaddr *address, socklen_t length) {
    int r = sys_table_real.connect(fd, address, length);
    if (r < 0 && write(tried[1], "x", 1) != 1)
        abort();
    return r;
}

static int admit_all(void *context, const struct hawser_peer *peer) {
    (void)context;
    return peer != NULL;
}

/* Whom the kernel cannot name cannot be told apart: a policy is refused, not passed over. */
static void test_no_policy(void **state) {
    (void)state;
    static const char *policies[] = { "tcp://127.0.0.1:0?users=1", "tcp://127.0.0.1:0?groups=1" };
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_listener *listener;
    hawser_channel *channel;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        assert_int_equal(hawser_listen(policies[i], NULL, &listener), -EOPNOTSUPP);
    options.admit = admit_all;
    assert_int_equal(hawser_listen("tcp://127.0.0.1:0", &options, &listener), -EOPNOTSUPP);
    options.admit = NULL;
    options.peer = "root";
    assert_int_equal(hawser_connect("tcp://127.0.0.1:1", &options, PATIENCE, &channel), -EOPNOTSUPP);
    assert_non_null(strstr(hawser_explain(), "tcp cannot tell who listens"));
    options.peer = "any";
    assert_int_equal(hawser_connect("tcp://127.0.0.1:1", &options, HAWSER_NOW, &channel), -EAGAIN);
    assert_int_equal(hawser_listen("tcp://127.0.0.1:0?users=any&groups=any", NULL, &listener), 0);
    hawser_listener_close(listener);
}

static void test_connect_waits_for_a_listener(void **state) {
    (void)state;
    char address[64];
    hawser_listener *listener;
    hawser_channel *accepted;
    pthread_t thread;
    void *connected;
    free_port(address, sizeof address);
    assert_int_equal(pipe(tried), 0);
    sys_table.connect = telling_connect;
    assert_int_equal(pthread_create(&thread, NULL, connecting, address), 0);
    char byte;
    assert_int_equal(read(tried[0], &byte, 1), 1); /* it has found nobody once */
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    assert_int_equal(hawser_accept(listener, PATIENCE, &accepted), 0);
    pthread_join(thread, &connected);
    sys_table.connect = sys_table_real.connect;
    close(tried[0]);
    close(tried[1]);
    assert_non_null(connected);
    hawser_close(connected);
    hawser_close(accepted);
    hawser_listener_close(listener);
}

static void *closing(void *context) { return hawser_close(context); }

/* Each sends the other more than it receives, then one closes: what it sent still arrives, though a plain close would
 * have answered the unread bytes with a reset. */
static void test_close_loses_nothing(void **state) {
    (void)state;
    static char block[16384];
    struct ends ends;
    pthread_t thread;
    size_t size;
    assert_int_equal(hawser_pair("tcp://?buffer=64K", NULL, &ends.a, &ends.b), 0);
    unsigned sent = 0;
    while (sent < 60 && hawser_send(ends.a, block, sizeof block, HAWSER_NOW) == 0)
        sent++;
    assert_true(sent > 1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(hawser_send(ends.b, block, sizeof block, PATIENCE), 0);
    assert_int_equal(pthread_create(&thread, NULL, closing, ends.a), 0);
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(hawser_recv(ends.b, block, sizeof block, PATIENCE, &size), 0);
    assert_int_equal(hawser_recv(ends.b, block, sizeof block, PATIENCE, &size), -ESHUTDOWN);
    pthread_join(thread, NULL);
    int r = 0;
    for (unsigned i = 0; i < 1000 && r == 0; i++) /* the kernel may take one before the reset is back */
        r = hawser_send(ends.b, block, 1, PATIENCE);
    assert_int_equal(r, -EPIPE);
    hawser_close(ends.b);
}

static void test_pair(void **state) {
    (void)state;
    struct ends ends;
    hawser_channel *adopted;
    char bytes[8];
    size_t size;
    int fd;
    assert_int_equal(hawser_pair("tcp://?max_message=4", NULL, &ends.a, &ends.b), 0);
    assert_int_equal(hawser_send_fds(ends.a, "x", 1, (int[]){ 0 }, 1, PATIENCE), -EOPNOTSUPP);
    assert_int_equal(hawser_export(ends.b, &fd), 0);
    assert_int_equal(hawser_adopt(fd, NULL, &adopted), 0);
    hawser_close(ends.b);
    assert_int_equal(hawser_send(ends.a, "four", 4, PATIENCE), 0);
    assert_int_equal(hawser_recv(adopted, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_send(adopted, "fiver", 5, PATIENCE), -EMSGSIZE); /* the other end's limit, from its hello */
    hawser_close(ends.a);
    hawser_close(adopted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_no_listener),
        cmocka_unit_test(test_no_policy),
        cmocka_unit_test(test_connect_waits_for_a_listener),
        cmocka_unit_test(test_close_loses_nothing),
        cmocka_unit_test(test_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
