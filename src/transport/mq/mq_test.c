/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is special about mq: limits of every kind, names that must not stay, queues that take what nobody reads. */

#include "base/fork_test.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "core/stream.h"
#include "transport/mq/queue.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LONG_NS INT64_C(20000000000)

static char runtime[] = "/tmp/hawser-mq-XXXXXX";

static int begin(void **state) {
    (void)state;
    return mkdtemp(runtime) && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0 ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    return rmdir(runtime); /* fails if anything was left */
}

static const struct options defaults;

static const char *usual_name(void) {
    static char name[40];
    snprintf(name, sizeof name, "/hawser-%u-00000000", (unsigned)geteuid());
    return name;
}

static bool named(void) {
    mqd_t queue = mq_open(usual_name(), O_RDONLY);
    if (queue < 0)
        return false;
    mq_close(queue);
    return true;
}

static void test_name_never_stays(void **state) {
    int fd;
    (void)state;
    assert_int_equal(mqueue_make(&defaults, &fd), 0);
    assert_false(named());
    close(fd);
    struct mq_attr attributes = { .mq_maxmsg = 1, .mq_msgsize = 8 };
    mqd_t stale = mq_open(usual_name(), O_CREAT | O_RDWR, 0600, &attributes); /* as a killed process leaves it */
    assert_true(stale >= 0);
    mq_close(stale);
    assert_true(named());
    assert_int_equal(mqueue_make(&defaults, &fd), 0);
    assert_false(named());
    assert_int_equal(mq_getattr(fd, &attributes), 0);
    assert_int_equal(attributes.mq_maxmsg, 10);
    assert_int_equal(attributes.mq_msgsize, 512);
    close(fd);
}

static int opened = -1, failure, failures;
static bool out_of_descriptors;

static mqd_t failing_open(const char *name, int flags, mode_t mode, struct mq_attr *attributes) {
    (void)name;
    (void)flags;
    (void)mode;
    (void)attributes;
    opened++;
    return failures-- > 0 ? failure : open("/dev/null", O_RDONLY);
}

static int failing_eventfd(unsigned value, int flags) {
    return out_of_descriptors ? -EMFILE : eventfd(value, flags);
}

static void assert_told(int made, int error, const char *what) {
    int fd = -1;
    failure = made;
    failures = 100;
    assert_int_equal(mqueue_make(&defaults, &fd), error);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(error_sentence(), what));
}

static void test_limits_are_named(void **state) {
    (void)state;
    sys_table.mq_open = failing_open;
    sys_table.eventfd = failing_eventfd;
    assert_told(-ENOSPC, -ENOSPC, "fs.mqueue.queues_max");
    assert_told(-EMFILE, -ENOSPC, "RLIMIT_MSGQUEUE");
    out_of_descriptors = true;
    assert_told(-EMFILE, -EMFILE, "RLIMIT_NOFILE");
    assert_told(-ENFILE, -ENFILE, "make a message queue");
    assert_told(-ENOSYS, -EOPNOTSUPP, "no POSIX message queues");
    struct options options = { .depth = 65536 };
    int fd;
    failure = -EINVAL;
    failures = 100;
    assert_int_equal(mqueue_make(&options, &fd), -EINVAL);
    assert_non_null(strstr(error_sentence(), "fs.mqueue.msg_max"));
    options = (struct options){ .packet = 16 << 20 };
    assert_int_equal(mqueue_make(&options, &fd), -EINVAL);
    assert_non_null(strstr(error_sentence(), "fs.mqueue.msgsize_max"));
    failure = -EINTR;
    failures = 1;
    assert_int_equal(mqueue_make(&options, &fd), 0);
    close(fd);
    sys_table.mq_open = sys_table_real.mq_open;
    sys_table.eventfd = sys_table_real.eventfd;
}

/* With the real limit of this process: connecting fails with the listener's reason, and the listener lives on. */
static void test_message_queue_limit(void **state) {
    struct rlimit limit, none;
    hawser_channel *a, *b;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_MSGQUEUE, &limit), 0);
    none = limit;
    none.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_MSGQUEUE, &none), 0);
    assert_int_equal(hawser_pair("mq://", NULL, &a, &b), -ENOSPC);
    assert_non_null(strstr(hawser_explain(), "RLIMIT_MSGQUEUE (100 bytes)"));
    assert_int_equal(setrlimit(RLIMIT_MSGQUEUE, &limit), 0);
    assert_int_equal(hawser_pair("mq://", NULL, &a, &b), 0);
    hawser_close(a);
    hawser_close(b);
}

static void test_peers_descriptors_are_checked(void **state) {
    struct mq_attr attributes = { .mq_maxmsg = 2, .mq_msgsize = 77 };
    size_t packet = 0;
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mqueue_check(fds[0], false, &packet), -EPROTO);
    assert_int_equal(mqueue_check(-1, false, &packet), -EPROTO);
    close(fds[0]);
    close(fds[1]);
    mq_unlink("/hawser-test-check");
    mqd_t in = mq_open("/hawser-test-check", O_CREAT | O_RDONLY, 0600, &attributes);
    mqd_t out = mq_open("/hawser-test-check", O_WRONLY);
    mq_unlink("/hawser-test-check");
    assert_int_equal(mqueue_check(in, true, &packet), -EPROTO);
    assert_int_equal(mqueue_check(out, false, &packet), -EPROTO);
    assert_int_equal(packet, 0);
    assert_int_equal(mqueue_check(in, false, &packet), 0);
    assert_int_equal(packet, 77);
    assert_int_equal(mqueue_check(out, true, &packet), 0);
    mq_close(in);
    mq_close(out);
}

static void *echo(void *argument) {
    hawser_channel *channel = argument;
    hawser_message message;
    while (hawser_take(channel, LONG_NS, &message) == 0) {
        if (hawser_send(channel, message.data, message.size, LONG_NS) < 0)
            abort();
        hawser_release(channel, &message);
    }
    return NULL;
}

/* Tiny packets cost a wake-up each, and a slow machine must pass too: they get no message over `largest`. */
static void round_trips(const char *address, size_t largest) {
    static const size_t sizes[] = { 0, 1, 8, 503, 504, 505, 5000, 16384, 100000, 1 << 20 };
    hawser_channel *a, *b;
    pthread_t thread;
    assert_int_equal(hawser_pair(address, NULL, &a, &b), 0);
    assert_int_equal(pthread_create(&thread, NULL, echo, b), 0);
    uint8_t *out = malloc(1 << 20), *in = malloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 24);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0] && sizes[i] <= largest; i++) {
        size_t got = 1;
        assert_int_equal(hawser_send(a, out, sizes[i], LONG_NS), 0);
        assert_int_equal(hawser_recv(a, in, 1 << 20, LONG_NS, &got), 0);
        assert_int_equal(got, sizes[i]);
        assert_memory_equal(out, in, got);
    }
    assert_int_equal(hawser_shutdown(a), 0);
    pthread_join(thread, NULL);
    hawser_close(b);
    hawser_close(a);
    free(out);
    free(in);
}

static void test_round_trips(void **state) {
    (void)state;
    round_trips("mq://", 1 << 20);
    round_trips("mq://?wait=block&depth=1&packet=32", 16384);
    round_trips("mq://?wait=block&depth=3&packet=8K", 1 << 20);
}

/* The queue itself would take ten packets from anybody. */
static void test_gone_peer_is_told(void **state) {
    hawser_channel *a, *b;
    (void)state;
    assert_int_equal(hawser_pair("mq://", NULL, &a, &b), 0);
    assert_int_equal(hawser_send(a, "x", 1, 0), 0);
    hawser_close(b);
    int64_t until_ns = clock_now() + INT64_C(100000000);
    int r;
    do
        r = hawser_send(a, "x", 1, 0);
    while ((r == 0 || r == -EAGAIN) && clock_now() < until_ns);
    assert_int_equal(r, -EPIPE);
    hawser_close(a);
}

static void test_killed_sender(void **state) {
    hawser_listener *listener;
    hawser_channel *channel;
    uint64_t number = 0, expected = 0;
    size_t size;
    (void)state;
    assert_int_equal(hawser_listen("mq://kill", NULL, &listener), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        if (hawser_connect("mq://kill", NULL, LONG_NS, &channel) < 0)
            _exit(1);
        for (;; number++)
            if (hawser_send(channel, &number, sizeof number, HAWSER_FOREVER) < 0)
                _exit(2);
    }
    assert_int_equal(hawser_accept(listener, LONG_NS, &channel), 0);
    int r;
    while ((r = hawser_recv(channel, &number, sizeof number, LONG_NS, &size)) == 0) {
        assert_int_equal(number, expected);
        if (++expected == 5000)
            kill(pid, SIGKILL);
    }
    assert_int_equal(r, -ECONNRESET);
    assert_true(expected >= 5000);
    assert_int_equal(hawser_send(channel, "x", 1, 0), -EPIPE);
    waitpid(pid, NULL, 0);
    hawser_close(channel);
    hawser_listener_close(listener);
}

/* Both ends share one open description, and so its flags. */
static void test_blocking_queue_does_not_block(void **state) {
    hawser_channel *a, *b;
    (void)state;
    assert_int_equal(hawser_pair("mq://", NULL, &a, &b), 0);
    char byte;
    size_t size;
    unsigned cleared = 0;
    for (int fd = 3; fd < 64; fd++) {
        struct mq_attr attributes;
        if (mq_getattr(fd, &attributes) == 0) {
            assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
            cleared++;
        }
    }
    assert_int_equal(cleared, 4);
    alarm(20); /* a call that blocks would never come back */
    assert_int_equal(hawser_recv(a, &byte, 1, 0, &size), -EAGAIN);
    int r;
    do
        r = hawser_send(a, "x", 1, 0);
    while (r == 0);
    assert_int_equal(r, -EAGAIN);
    alarm(0);
    hawser_close(a);
    hawser_close(b);
}

static void test_export(void **state) {
    hawser_channel *a, *b, *adopted;
    int fd;
    size_t size;
    char byte = 0;
    (void)state;
    assert_int_equal(hawser_pair("mq://", NULL, &a, &b), 0);
    assert_int_equal(hawser_export(b, &fd), 0);
    hawser_close(b);
    assert_int_equal(hawser_send(a, "x", 1, 0), 0);
    assert_int_equal(hawser_adopt(fd, NULL, &adopted), 0);
    assert_int_equal(hawser_recv(adopted, &byte, 1, LONG_NS, &size), 0);
    assert_int_equal(byte, 'x');
    assert_int_equal(hawser_send(adopted, "y", 1, 0), 0);
    assert_int_equal(hawser_recv(a, &byte, 1, LONG_NS, &size), 0);
    assert_int_equal(byte, 'y');
    hawser_close(adopted);
    assert_int_equal(hawser_recv(a, &byte, 1, LONG_NS, &size), -ESHUTDOWN);
    hawser_close(a);
}

static void test_second_hello_is_refused(void **state) {
    const struct transport *transport = transport_find("mq", 2);
    struct link *link, *other;
    struct offer offer = { 0 };
    (void)state;
    assert_int_equal(transport->create(&defaults, LINK_LISTEN, &other), 0);
    assert_int_equal(transport->create(&defaults, LINK_CONNECT, &link), 0);
    assert_int_equal(transport->meet(link, &offer), -EPROTO); /* brings no queues */
    assert_int_equal(transport->offer(other, &offer), 0);
    assert_int_equal(transport->meet(link, &offer), 0);
    assert_int_equal(offer.fds[0], -1);
    assert_int_equal(transport->meet(link, &offer), -EPROTO);
    assert_int_equal(transport->meet(other, &offer), -EPROTO); /* a connecting end has none to offer */
    offer_close(&offer);
    transport->close(link, false);
    transport->close(other, false);
}

/* RLIMIT_MSGQUEUE's default allows 67 pairs to all processes of a user together: others may hold some. */
static void test_many_channels(void **state) {
    enum { MOST = 64, LEAST = 8 };
    hawser_channel *ends[MOST][2];
    unsigned n = 0;
    size_t size;
    (void)state;
    while (n < MOST && hawser_pair("mq://", NULL, &ends[n][0], &ends[n][1]) == 0)
        n++;
    if (n < MOST)
        assert_non_null(strstr(hawser_explain(), "RLIMIT_MSGQUEUE"));
    assert_in_range(n, LEAST, MOST);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(hawser_send(ends[i][0], &i, sizeof i, 0), 0);
    for (unsigned i = 0; i < n; i++) {
        unsigned got = 0;
        assert_int_equal(hawser_recv(ends[i][1], &got, sizeof got, 0, &size), 0);
        assert_int_equal(got, i);
        hawser_close(ends[i][0]);
        hawser_close(ends[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_never_stays),
        cmocka_unit_test(test_limits_are_named),
        cmocka_unit_test(test_message_queue_limit),
        cmocka_unit_test(test_peers_descriptors_are_checked),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_gone_peer_is_told),
        cmocka_unit_test(test_killed_sender),
        cmocka_unit_test(test_blocking_queue_does_not_block),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_second_hello_is_refused),
        cmocka_unit_test(test_many_channels),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
