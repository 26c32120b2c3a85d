/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is special about pipes: what is handed over, SIGPIPE, and children that keep them open. */

#include "base/fork_test.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/packet.h"
#include "core/pipe_io.h"
#include "transport/pipe/pipe.h"

#include <hawser/hawser.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static char runtime[] = "/tmp/hawser-pipe-XXXXXX";

static int setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(runtime));
    return setenv("HAWSER_RUNTIME_DIR", runtime, 1);
}

static int teardown(void **state) {
    (void)state;
    return rmdir(runtime); /* fails if anything was left */
}

static void meet(hawser_channel **ret_a, hawser_channel **ret_b) {
    assert_int_equal(hawser_pair("pipe://", NULL, ret_a, ret_b), 0);
    size_t size;
    assert_int_equal(hawser_recv(*ret_a, NULL, 0, HAWSER_NOW, &size), -EAGAIN); /* first use */
    assert_int_equal(hawser_recv(*ret_b, NULL, 0, HAWSER_NOW, &size), -EAGAIN);
}

static bool sigpipe_came;

static void note_sigpipe(int signal) {
    (void)signal;
    sigpipe_came = true;
}

/* With RWF_NOSIGNAL or without: -EPIPE, no signal, mask and pending set as they were. */
static void check_quiet(bool old_kernel, bool pending_before) {
    struct sigaction noting = { .sa_handler = note_sigpipe }, before;
    hawser_channel *a, *b;
    sigset_t only, mask, pending;
    struct timespec now = { 0 };
    if (old_kernel)
        sys_refuse_newer();
    sigaction(SIGPIPE, &noting, &before);
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    if (pending_before) {
        pthread_sigmask(SIG_BLOCK, &only, NULL);
        pthread_kill(pthread_self(), SIGPIPE);
    }
    meet(&a, &b);
    hawser_close(b);
    int r;
    while ((r = hawser_send(a, "x", 1, SECOND)) == 0)
        continue;
    assert_int_equal(r, -EPIPE);
    struct stream raw = { .write_fd = -1 }; /* and at the very write */
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    raw.write_fd = fds[1];
    struct iovec vector = { .iov_base = "x", .iov_len = 1 };
    assert_int_equal(pipe_write(&raw, &vector, 1), -EPIPE);
    close(fds[1]);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), pending_before);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGPIPE), pending_before);
    if (pending_before) {
        assert_int_equal(sigtimedwait(&only, NULL, &now), SIGPIPE);
        pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    }
    assert_false(sigpipe_came);
    sigaction(SIGPIPE, &before, NULL);
    hawser_close(a);
}

static void test_no_sigpipe(void **state) {
    (void)state;
    check_quiet(false, false);
    check_quiet(false, true);
    check_quiet(true, false);
    check_quiet(true, true);
    sys_table = sys_table_real;
}

/* Both have taken everything and ask at the same time: neither reads its stream meanwhile. */
static void *flush_other(void *channel) {
    return (void *)(intptr_t)hawser_flush(channel, 5 * SECOND);
}

static void test_both_flush(void **state) {
    (void)state;
    hawser_channel *a, *b;
    char byte;
    size_t size;
    meet(&a, &b);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result;
        assert_int_equal(hawser_send(a, "a", 1, SECOND), 0);
        assert_int_equal(hawser_send(b, "b", 1, SECOND), 0);
        assert_int_equal(hawser_recv(a, &byte, 1, SECOND, &size), 0);
        assert_int_equal(hawser_recv(b, &byte, 1, SECOND, &size), 0);
        assert_int_equal(pthread_create(&thread, NULL, flush_other, b), 0);
        assert_int_equal(hawser_flush(a, 5 * SECOND), 0);
        pthread_join(thread, &result);
        assert_int_equal((intptr_t)result, 0);
    }
    hawser_close(a);
    hawser_close(b);
}

/* A peer that polls without ever waiting still acknowledges and still hears of the close. */
static void test_never_waits(void **state) {
    (void)state;
    hawser_channel *a, *b;
    char byte;
    size_t size;
    meet(&a, &b);
    assert_int_equal(hawser_send(a, "a", 1, SECOND), 0);
    assert_int_equal(hawser_recv(b, &byte, 1, HAWSER_NOW, &size), 0);
    assert_int_equal(hawser_flush(a, HAWSER_NOW), -EINPROGRESS);
    assert_int_equal(hawser_recv(b, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    assert_int_equal(hawser_flush(a, HAWSER_NOW), 0);
    assert_int_equal(hawser_send_sync(a, "a", 1, HAWSER_NOW), -EINPROGRESS);
    hawser_close(b);
    assert_int_equal(hawser_flush(a, HAWSER_NOW), -ESHUTDOWN);
    assert_int_equal(hawser_flush(a, HAWSER_NOW), -ESHUTDOWN); /* and again */
    hawser_close(a);
}

/* The peer says goodbye, or is killed, while its child holds all its descriptors. */
static void run_outlived(bool killed) {
    hawser_listener *listener;
    hawser_channel *channel;
    char text[8];
    size_t size;
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    assert_int_equal(hawser_listen("pipe://outlived", NULL, &listener), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        char byte;
        hawser_channel *mine;
        if (hawser_connect("pipe://outlived", NULL, SECOND, &mine) < 0)
            _exit(1);
        close(hold[1]);
        if (fork_child() == 0) /* the child holds on until the test ends */
            _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
        if (hawser_send(mine, "last", 4, SECOND) < 0)
            _exit(1);
        if (killed)
            raise(SIGKILL);
        hawser_close(mine);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1); /* closed, alive */
    }
    close(hold[0]);
    assert_int_equal(hawser_accept(listener, 5 * SECOND, &channel), 0);
    assert_int_equal(hawser_recv(channel, text, sizeof text, 5 * SECOND, &size), 0);
    assert_int_equal(size, 4);
    assert_int_equal(hawser_recv(channel, text, sizeof text, 5 * SECOND, &size), killed ? -ECONNRESET : -ESHUTDOWN);
    int r;
    while ((r = hawser_send(channel, "x", 1, SECOND)) == 0) /* the child holds the pipe open */
        continue;
    assert_int_equal(r, -EPIPE);
    close(hold[1]);
    waitpid(pid, NULL, 0);
    hawser_close(channel);
    hawser_listener_close(listener);
}

static void test_outlived(void **state) {
    (void)state;
    run_outlived(false);
    run_outlived(true);
}

/* Descriptors that are no pipe, the wrong ends, too few, where none belong. */
static void check_meet(enum link_role role, const int *fds, unsigned n, int expected) {
    struct options options = { .max_message = 1000 };
    struct link *link;
    struct offer offer = { .n_fds = n };
    for (unsigned i = 0; i < n; i++)
        offer.fds[i] = dup(fds[i]);
    assert_int_equal(transport_pipe.create(&options, role, &link), 0);
    assert_int_equal(transport_pipe.meet(link, &offer), expected);
    for (unsigned i = 0; i < n; i++)
        if (offer.fds[i] >= 0)
            close(offer.fds[i]);
    transport_pipe.close(link, false);
}

static void test_offers(void **state) {
    (void)state;
    int ends[2], file = open("/dev/null", O_RDWR);
    assert_int_equal(pipe(ends), 0);
    check_meet(LINK_CONNECT, (int[]){ ends[0], ends[1] }, 2, 0);
    assert_true(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    check_meet(LINK_CONNECT, (int[]){ ends[1], ends[0] }, 2, -EPROTO);
    check_meet(LINK_CONNECT, (int[]){ ends[0], file }, 2, -EPROTO);
    check_meet(LINK_CONNECT, (int[]){ file, ends[1] }, 2, -EPROTO);
    check_meet(LINK_CONNECT, (int[]){ ends[0] }, 1, -EPROTO);
    check_meet(LINK_CONNECT, NULL, 0, -EPROTO);
    check_meet(LINK_LISTEN, (int[]){ ends[0], ends[1] }, 2, -EPROTO);
    check_meet(LINK_LISTEN, NULL, 0, 0);
    close(ends[0]);
    close(ends[1]);
    close(file);
}

static void test_travel(void **state) {
    (void)state;
    hawser_channel *a, *b, *c;
    int fd;
    char byte;
    size_t size;
    assert_int_equal(hawser_pair("pipe://", NULL, &a, &b), 0);
    assert_int_equal(hawser_export(b, &fd), 0);
    assert_int_equal(hawser_adopt(fd, NULL, &c), 0);
    hawser_close(b);
    assert_int_equal(hawser_send(a, "x", 1, SECOND), 0);
    assert_int_equal(hawser_recv(c, &byte, 1, SECOND, &size), 0);
    assert_int_equal(hawser_send(c, "y", 1, SECOND), 0);
    assert_int_equal(hawser_recv(a, &byte, 1, SECOND, &size), 0);
    hawser_close(c);
    assert_int_equal(hawser_recv(a, &byte, 1, SECOND, &size), -ESHUTDOWN);
    hawser_close(a);
}

/* Who made a pipe, or packed its ends, may hold the same descriptions still, and make them wait. */
static void test_ends_that_others_make_wait(void **state) {
    (void)state;
    hawser_channel *a, *b;
    struct packet packet;
    static char bytes[1 << 20];
    size_t size;
    int fd;
    assert_int_equal(hawser_pair("pipe://", NULL, &a, &b), 0);
    assert_int_equal(hawser_export(b, &fd), 0);
    assert_int_equal(packet_receive(fd, true, &packet), 0);
    hawser_close(b);
    assert_int_equal(hawser_adopt(fd, NULL, &b), 0);
    for (unsigned i = 0; i < packet.n_fds; i++)
        assert_int_equal(fcntl(packet.fds[i], F_SETFL, 0), 0);
    alarm(10); /* it would wait for ever */
    assert_int_equal(hawser_recv(b, bytes, sizeof bytes, HAWSER_NOW, &size), -EAGAIN);
    assert_int_equal(hawser_send(b, bytes, sizeof bytes, HAWSER_NOW), 0);
    assert_int_equal(hawser_send(b, "", 0, HAWSER_NOW), -EAGAIN);
    alarm(0);
    packet_close(&packet);
    hawser_close(a);
    hawser_close(b);
}

static void test_only_a_rendezvous_socket_is_adopted(void **state) {
    (void)state;
    hawser_channel *a, *b;
    struct packet packet;
    int fd, carriers[2];
    assert_int_equal(hawser_pair("pipe://", NULL, &a, &b), 0);
    assert_int_equal(hawser_export(b, &fd), 0);
    assert_int_equal(packet_receive(fd, true, &packet), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, carriers), 0);
    close(packet.fds[0]);
    packet.fds[0] = open("/dev/null", O_RDWR);
    assert_int_equal(packet_send(carriers[0], &packet.note, packet.data, packet.size, NULL, 0, packet.fds, packet.n_fds), 0);
    hawser_channel *adopted;
    assert_int_equal(hawser_adopt(carriers[1], NULL, &adopted), -EPROTO);
    packet_close(&packet);
    close(carriers[0]);
    close(carriers[1]);
    close(fd);
    hawser_close(a);
    hawser_close(b);
}

/* Two threads a side, both directions at once, larger than the pipe holds. */
struct run {
    hawser_channel *channel;
    int failed;
};

#define ROUNDS 300

static size_t round_size(int i) { return (size_t)(i * 7919 % 400000); }

static void *send_all(void *argument) {
    struct run *run = argument;
    char *data = malloc(400000);
    for (int i = 0; i < ROUNDS; i++) {
        memset(data, i, round_size(i));
        int r = i % 5 ? hawser_send(run->channel, data, round_size(i), 10 * SECOND)
                      : hawser_send_sync(run->channel, data, round_size(i), 10 * SECOND);
        run->failed |= r;
    }
    free(data);
    return NULL;
}

static void *receive_all(void *argument) {
    struct run *run = argument;
    char *data = malloc(400000);
    size_t size = 0;
    for (int i = 0; i < ROUNDS; i++) {
        run->failed |= hawser_recv(run->channel, data, 400000, 10 * SECOND, &size);
        run->failed |= size != round_size(i) || (size > 0 && (data[0] != (char)i || data[size - 1] != (char)i));
    }
    free(data);
    return NULL;
}

static void test_four_threads(void **state) {
    (void)state;
    hawser_channel *a, *b;
    pthread_t threads[4];
    meet(&a, &b);
    struct run runs[4] = { { .channel = a }, { .channel = b }, { .channel = a }, { .channel = b } };
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? send_all : receive_all, &runs[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runs[i].failed, 0);
    }
    hawser_close(a);
    hawser_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_sigpipe), cmocka_unit_test(test_both_flush), cmocka_unit_test(test_never_waits),
        cmocka_unit_test(test_outlived),   cmocka_unit_test(test_offers),     cmocka_unit_test(test_travel),
        cmocka_unit_test(test_ends_that_others_make_wait),
        cmocka_unit_test(test_only_a_rendezvous_socket_is_adopted),
        cmocka_unit_test(test_four_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
