/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is unix's own: descriptors, who the peer is, abstract names, pairs that travel. */

#include "transport/unix/unix.h"

#include "base/fork_test.h"

#include "core/channel.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (20 * SECOND)

struct ends {
    hawser_channel *a, *b;
};

static struct ends pair_of(const char *address) {
    struct ends ends;
    assert_int_equal(hawser_pair(address, NULL, &ends.a, &ends.b), 0);
    return ends;
}

static void ends_close(struct ends *ends) {
    hawser_close(ends->a);
    hawser_close(ends->b);
}

static struct unix_link *inside(hawser_channel *channel) { return (struct unix_link *)channel->link; }

static int count_open(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* n descriptors of a file that says who it is. */
static void make_files(int *fds, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char name[32] = "";
        snprintf(name, sizeof name, "file %zu", i);
        fds[i] = memfd_create("hawser-test", MFD_CLOEXEC);
        assert_true(fds[i] >= 0);
        assert_int_equal(write(fds[i], name, sizeof name), sizeof name);
    }
}

static void check_files(const int *fds, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char expected[32] = "", name[32] = "";
        snprintf(expected, sizeof expected, "file %zu", i);
        assert_int_equal(pread(fds[i], name, sizeof name, 0), sizeof name);
        assert_string_equal(name, expected);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
}

static void close_files(const int *fds, size_t n) {
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

/* ---- What the design leans on ---- */

static ssize_t bare_send(int socket, const char *bytes, size_t size, int fd) {
    union wire_control control = { 0 };
    struct iovec vector = { (void *)(uintptr_t)bytes, size };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof fd) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void test_kernel_ends_a_read_at_descriptors(void **state) {
    (void)state;
    int sockets[2];
    char bytes[64];
    struct iovec vector = { bytes, sizeof bytes };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    int before = count_open();
    assert_int_equal(send(sockets[0], "abc", 3, 0), 3);
    assert_int_equal(bare_send(sockets[0], "D", 1, 0), 1);
    assert_int_equal(send(sockets[0], "efg", 3, 0), 3);
    assert_int_equal(recvmsg(sockets[1], &message, 0), 4); /* with what came before, but not with what comes after */
    assert_true(message.msg_flags & MSG_CTRUNC);
    message.msg_flags = 0;
    assert_int_equal(recvmsg(sockets[1], &message, 0), 3);
    assert_false(message.msg_flags & MSG_CTRUNC);
    assert_int_equal(count_open(), before); /* and no descriptor crept in */
    close(sockets[0]);
    close(sockets[1]);
}

/* ---- Descriptors ---- */

static void one_crossing(hawser_channel *from, hawser_channel *to, size_t size, size_t n_fds) {
    int fds[UNIX_FDS], got[UNIX_FDS];
    size_t got_size = 0, n = 0;
    uint8_t *data = malloc(size + 1), *back = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + n_fds);
    make_files(fds, n_fds);
    assert_int_equal(hawser_send(from, "before", 6, PATIENCE), 0);
    assert_int_equal(hawser_send_fds(from, data, size, fds, n_fds, PATIENCE), 0);
    assert_int_equal(hawser_send(from, "after", 5, PATIENCE), 0);
    assert_int_equal(hawser_recv(to, back, 6, PATIENCE, &got_size), 0);
    assert_int_equal(hawser_recv_fds(to, back, size, got, UNIX_FDS, PATIENCE, &got_size, &n), 0);
    assert_int_equal(got_size, size);
    assert_memory_equal(back, data, size);
    assert_int_equal(n, n_fds);
    check_files(got, n);
    assert_int_equal(hawser_recv(to, back, size, PATIENCE, &got_size), 0);
    close_files(got, n);
    close_files(fds, n_fds);
    free(data);
    free(back);
}

static void test_descriptors(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    int before = count_open();
    for (size_t n = 1; n <= UNIX_FDS; n += 5)
        for (size_t size = 8; size <= 70000; size = size * 5 + 3) {
            one_crossing(ends.a, ends.b, size, n);
            one_crossing(ends.b, ends.a, size, n);
        }
    assert_true(count_open() <= before + 2); /* pidfds, learned since */
    ends_close(&ends);
}

static void test_unwanted_descriptors_are_closed(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    hawser_message message;
    char bytes[8];
    size_t size;
    int fds[3];
    make_files(fds, 3);
    assert_int_equal(hawser_send(ends.b, "x", 1, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.a, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_send_fds(ends.a, "one", 3, fds, 3, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    int before = count_open();
    assert_int_equal(hawser_send_fds(ends.a, "one", 3, fds, 3, PATIENCE), 0);
    assert_int_equal(hawser_send_fds(ends.a, "two", 3, fds, 2, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_take(ends.b, PATIENCE, &message), 0);
    assert_memory_equal(message.data, "two", 3);
    hawser_release(ends.b, &message);
    assert_int_equal(count_open(), before);
    close_files(fds, 3);
    ends_close(&ends);
}

static void test_too_small_leaves_the_message(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    char bytes[8];
    size_t size = 0, n = 0;
    int fds[3], got[3];
    make_files(fds, 3);
    assert_int_equal(hawser_send_fds(ends.a, "four", 4, fds, 3, PATIENCE), 0);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 2, PATIENCE, &size, &n), -EMSGSIZE);
    assert_int_equal(n, 3);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, 3, got, 3, PATIENCE, &size, &n), -EMSGSIZE);
    assert_int_equal(size, 4);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 3, PATIENCE, &size, &n), 0);
    check_files(got, 3);
    close_files(got, 3);
    close_files(fds, 3);
    ends_close(&ends);
}

static void test_no_free_descriptors(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    struct rlimit before, none;
    char bytes[8];
    size_t size = 0, n = 0;
    int fds[3], got[3];
    make_files(fds, 3);
    assert_int_equal(hawser_send(ends.b, "x", 1, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.a, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_send_fds(ends.a, "four", 4, fds, 3, PATIENCE), 0);
    int free_one = fcntl(0, F_DUPFD_CLOEXEC, 0);
    assert_true(free_one >= 0);
    close(free_one);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)free_one + 2; /* room for two of three */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int open_then = count_open();
    int r = hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 3, PATIENCE, &size, &n);
    int open_now = count_open();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, -EMFILE);
    assert_true(open_now <= open_then + 1); /* the pidfd at most */
    assert_int_equal(hawser_send_fds(ends.a, "five", 4, fds, 3, PATIENCE), 0);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 3, PATIENCE, &size, &n), 0);
    assert_int_equal(n, 3);
    check_files(got, 3);
    close_files(got, 3);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size); /* does not want them, so need not fail */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_memory_equal(bytes, "five", 4);
    close_files(fds, 3);
    ends_close(&ends);
}

static void test_bad_descriptors(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    char bytes[8];
    size_t size;
    int fds[2] = { 0, 1000 };
    assert_int_equal(hawser_send_fds(ends.a, "x", 1, fds, 2, PATIENCE), -EBADF);
    assert_int_equal(hawser_send(ends.a, "intact", 6, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_memory_equal(bytes, "intact", 6);
    ends_close(&ends);
}

static ssize_t (*real_sendmsg)(int fd, const struct msghdr *message, int flags);
static int sendmsgs_until_full;

static ssize_t full_sendmsg(int fd, const struct msghdr *message, int flags) {
    return sendmsgs_until_full-- <= 0 ? -EAGAIN : real_sendmsg(fd, message, flags);
}

/* The barrier leaves, the rest does not: what is left has its own descriptors and goes with a later call. */
static void test_descriptors_wait_in_the_outbox(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    char bytes[8];
    size_t size, n;
    int fds[2], got[2];
    assert_int_equal(hawser_send(ends.a, "x", 1, PATIENCE), 0);
    make_files(fds, 2);
    real_sendmsg = sys_table.sendmsg;
    sys_table.sendmsg = full_sendmsg;
    sendmsgs_until_full = 1;
    assert_int_equal(hawser_send_fds(ends.a, "four", 4, fds, 2, HAWSER_NOW), 0);
    sys_table.sendmsg = real_sendmsg;
    close_files(fds, 2);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 2, HAWSER_NOW, &size, &n), -EAGAIN);
    assert_int_equal(hawser_send(ends.a, "y", 1, PATIENCE), 0);
    assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, got, 2, PATIENCE, &size, &n), 0);
    assert_memory_equal(bytes, "four", 4);
    assert_int_equal(n, 2);
    check_files(got, 2);
    close_files(got, 2);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    ends_close(&ends);
}

/* ---- Liars ---- */

static void first_message(struct ends *ends) {
    char byte;
    size_t size;
    assert_int_equal(hawser_send(ends->a, "x", 1, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends->b, &byte, 1, PATIENCE, &size), 0);
}

static void test_a_frame_without_its_descriptors(void **state) {
    (void)state;
    static const char frame[] = "\2\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\1x"; /* one descriptor, announced without a barrier */
    struct ends ends = pair_of("unix://");
    char bytes[8];
    size_t size;
    assert_int_equal(hawser_send(ends.a, "x", 1, PATIENCE), 0);
    assert_int_equal(send(inside(ends.a)->stream.write_fd, frame, sizeof frame - 1, 0), sizeof frame - 1);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), -EPROTO);
    ends_close(&ends);
}

static void test_more_descriptors_than_a_message_has(void **state) {
    (void)state;
    enum { MOST = 40 };
    static const char frame[] = "\2\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\1x";
    for (unsigned n = UNIX_FDS + 1; n <= MOST; n++) {
        struct ends ends = pair_of("unix://");
        char bytes[8], space[CMSG_SPACE(MOST * sizeof(int))] = { 0 };
        int fds[UNIX_FDS], before = count_open();
        size_t size, arrived;
        first_message(&ends);
        for (unsigned part = 0; part < 2; part++) {
            struct iovec vector = { (void *)(uintptr_t)(frame + part), part == 0 ? 1 : sizeof frame - 2 };
            struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = space,
                                      .msg_controllen = (socklen_t)CMSG_SPACE(n * sizeof(int)) };
            struct cmsghdr header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                      .cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int)) };
            memcpy(space, &header, sizeof header); /* and n times descriptor 0 */
            assert_int_equal(sendmsg(inside(ends.a)->stream.write_fd, &message, 0), vector.iov_len);
        }
        assert_int_equal(hawser_recv_fds(ends.b, bytes, sizeof bytes, fds, UNIX_FDS, HAWSER_NOW, &size, &arrived), -EPROTO);
        ends_close(&ends);
        assert_true(count_open() < before);
    }
}

static void test_descriptors_nobody_announced(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    char bytes[8];
    size_t size;
    int r = 0, socket;
    assert_int_equal(hawser_send(ends.a, "x", 1, PATIENCE), 0);
    assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
    int before = count_open();
    socket = inside(ends.a)->stream.write_fd;
    for (unsigned i = 0; i < 2000 && r == 0; i++) {
        for (unsigned k = 0; k < 8; k++) /* an empty message, a descriptor at each byte of its header */
            assert_int_equal(bare_send(socket, "\0", 1, 0), 1);
        r = hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size);
        assert_true(count_open() <= before + UNIX_HELD);
    }
    assert_true(r == -EPROTO || r == -ENOBUFS);
    ends_close(&ends);
    assert_true(count_open() < before);
}

/* ---- Who is there ---- */

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
    assert_int_equal(pthread_create(&thread, NULL, connecting, (void *)(uintptr_t)address), 0);
    assert_int_equal(hawser_accept(*ret_listener, PATIENCE, &ends.b), 0);
    pthread_join(thread, &connected);
    ends.a = connected;
    assert_non_null(ends.a);
    return ends;
}

static void check_peer(hawser_channel *channel, pid_t pid) {
    struct hawser_peer peer = HAWSER_PEER_INIT;
    assert_int_equal(hawser_peer(channel, &peer), 0);
    assert_int_equal(peer.pid, pid);
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.gid, getgid());
}

static bool asks_credentials(hawser_channel *channel) {
    int on = -1;
    socklen_t length = sizeof on;
    assert_int_equal(getsockopt(inside(channel)->stream.read_fd, SOL_SOCKET, SO_PASSCRED, &on, &length), 0);
    return on;
}

static void test_names(void **state) {
    (void)state;
    char directory[] = "/tmp/hawser-unix-test-XXXXXX", abstract[80], path[80], socket[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "unix://%s/s", directory);
    snprintf(abstract, sizeof abstract, "unix://@hawser-unix-test-%d", (int)getpid());
    const char *addresses[] = { path, abstract };
    for (unsigned i = 0; i < 2; i++) {
        hawser_listener *listener, *second;
        char bytes[8];
        size_t size;
        struct ends ends = meet(addresses[i], &listener);
        assert_string_equal(hawser_listener_address(listener), addresses[i]);
        assert_int_equal(hawser_listen(addresses[i], NULL, &second), -EADDRINUSE);
        check_peer(ends.a, getpid());
        check_peer(ends.b, getpid());
        assert_false(asks_credentials(ends.a) || asks_credentials(ends.b));
        assert_int_equal(hawser_send(ends.a, "hello", 5, PATIENCE), 0);
        assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size), 0);
        hawser_listener_close(listener);
        ends_close(&ends);
    }
    snprintf(socket, sizeof socket, "%s/s", directory);
    assert_int_equal(access(socket, F_OK), -1);
    assert_int_equal(rmdir(directory), 0);
}

static void test_bad_places(void **state) {
    (void)state;
    static const char *const addresses[] = { "unix://name", "unix://", "unix://@", "unix://./x" };
    hawser_listener *listener;
    hawser_channel *channel;
    for (unsigned i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_int_equal(hawser_listen(addresses[i], NULL, &listener), -EINVAL);
        assert_int_equal(hawser_connect(addresses[i], NULL, HAWSER_NOW, &channel), -EINVAL);
    }
    char address[200] = "unix://@";
    memset(address + 8, 'x', 150);
    assert_int_equal(hawser_listen(address, NULL, &listener), -EINVAL);
}

static void test_pair_learns_its_peer(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://?max_message=100");
    struct hawser_peer peer = HAWSER_PEER_INIT;
    char bytes[8];
    size_t size;
    assert_int_equal(hawser_peer(ends.a, &peer), -EAGAIN);
    pid_t child = fork_child();
    if (child == 0) {
        int r = hawser_send(ends.b, "x", 1, PATIENCE);
        if (r == 0)
            r = hawser_recv(ends.b, bytes, sizeof bytes, PATIENCE, &size);
        _exit(r == 0 ? 0 : 1);
    }
    struct hawser_poll_item item = { .channel = ends.a, .events = HAWSER_IN };
    assert_int_equal(hawser_poll(&item, 1, PATIENCE), 1);
    check_peer(ends.a, child);
    assert_int_equal(hawser_recv(ends.a, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_false(asks_credentials(ends.a));
    assert_int_equal(hawser_send(ends.a, "y", 1, PATIENCE), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    hawser_close(ends.b);
    assert_int_equal(hawser_recv(ends.a, bytes, sizeof bytes, PATIENCE, &size), -ECONNRESET);
    hawser_close(ends.a);
}

static void test_travel(void **state) {
    (void)state;
    struct ends ends = pair_of("unix://");
    hawser_channel *adopted;
    char bytes[8];
    size_t size;
    int fd;
    assert_int_equal(hawser_export(ends.b, &fd), 0);
    hawser_close(ends.b);
    assert_int_equal(hawser_adopt(fd, NULL, &adopted), 0);
    assert_int_equal(hawser_send(ends.a, "hello", 5, PATIENCE), 0);
    assert_int_equal(hawser_recv(adopted, bytes, sizeof bytes, PATIENCE, &size), 0);
    assert_int_equal(size, 5);
    check_peer(adopted, getpid());
    hawser_close(ends.a);
    assert_int_equal(hawser_recv(adopted, bytes, sizeof bytes, PATIENCE, &size), -ESHUTDOWN);
    hawser_close(adopted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel_ends_a_read_at_descriptors),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_unwanted_descriptors_are_closed),
        cmocka_unit_test(test_too_small_leaves_the_message),
        cmocka_unit_test(test_no_free_descriptors),
        cmocka_unit_test(test_bad_descriptors),
        cmocka_unit_test(test_descriptors_wait_in_the_outbox),
        cmocka_unit_test(test_a_frame_without_its_descriptors),
        cmocka_unit_test(test_descriptors_nobody_announced),
        cmocka_unit_test(test_more_descriptors_than_a_message_has),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_pair_learns_its_peer),
        cmocka_unit_test(test_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
