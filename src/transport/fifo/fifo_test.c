/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* FIFOs between hawser ends and with plain files' tools, in a directory of the test's own. */

#include "base/fork_test.h"
#include "base/sys.h"

#include <hawser/hawser.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static char directory[] = "/tmp/hawser-fifo-XXXXXX";
static char path[64], address[80], lines[96], none[96];

static int setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/f", directory);
    snprintf(address, sizeof address, "fifo://%s", path);
    snprintf(lines, sizeof lines, "fifo://%s?framing=line", path);
    snprintf(none, sizeof none, "fifo://%s?framing=none", path);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(directory); /* fails if anything was left */
}

static int count_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void expect(hawser_channel *channel, const char *text) {
    char buffer[100];
    size_t size = 0;
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, SECOND, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(buffer, text, size);
}

static void expect_end(hawser_channel *channel, int error) {
    char buffer[100];
    size_t size;
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, SECOND, &size), error);
}

static void test_one_way(void **state) {
    (void)state;
    hawser_listener *listener;
    hawser_channel *writer, *reader;
    size_t size;
    void *loan;
    int before = count_descriptors();
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &writer), -EAGAIN);
    assert_int_equal(hawser_connect(address, NULL, 1000000, &writer), -ETIMEDOUT);
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(hawser_accept(listener, HAWSER_NOW, &reader), -EAGAIN);
        assert_int_equal(hawser_connect(address, NULL, SECOND, &writer), 0);
        assert_int_equal(hawser_accept(listener, SECOND, &reader), 0);
        assert_int_equal(hawser_send(writer, "hello", 5, SECOND), 0);
        assert_int_equal(hawser_send(writer, NULL, 0, SECOND), 0);
        expect(reader, "hello");
        expect(reader, "");
        assert_int_equal(hawser_recv(reader, &size, sizeof size, HAWSER_NOW, &size), -EAGAIN);
        assert_int_equal(hawser_send(reader, "x", 1, HAWSER_NOW), -EOPNOTSUPP);
        assert_int_equal(hawser_loan(reader, 1, HAWSER_NOW, &loan), -EOPNOTSUPP);
        assert_int_equal(hawser_recv(writer, &size, sizeof size, HAWSER_NOW, &size), -EOPNOTSUPP);
        assert_int_equal(hawser_send_sync(writer, "x", 1, HAWSER_NOW), -EOPNOTSUPP);
        assert_int_equal(hawser_flush(writer, HAWSER_NOW), -EOPNOTSUPP);
        assert_int_equal(hawser_send(writer, "last", 4, SECOND), 0);
        if (round < 2) {
            assert_null(hawser_close(writer));
            expect(reader, "last");
            expect_end(reader, -ESHUTDOWN);
            assert_null(hawser_close(reader));
        } else {
            assert_null(hawser_close(reader));
            assert_int_equal(hawser_send(writer, "x", 1, SECOND), -EPIPE);
            assert_null(hawser_close(writer));
        }
    }
    assert_null(hawser_listener_close(listener));
    assert_int_equal(count_descriptors(), before + 1); /* the thread's waker */
}

/* The second writer waits for the first to be accepted, then has a FIFO of its own. */
static void test_turns(void **state) {
    (void)state;
    hawser_listener *listener, *second;
    hawser_channel *a, *b, *reader_a, *reader_b;
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    assert_int_equal(hawser_listen(address, NULL, &second), -EADDRINUSE);
    assert_int_equal(hawser_connect(address, NULL, SECOND, &a), 0);
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &b), -EAGAIN);
    assert_int_equal(hawser_send(a, "a", 1, SECOND), 0);
    hawser_close(a); /* its lock is gone, its bytes are not */
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &b), -EAGAIN);
    assert_int_equal(hawser_accept(listener, SECOND, &reader_a), 0);
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &b), 0);
    assert_int_equal(hawser_send(b, "b", 1, SECOND), 0);
    assert_int_equal(hawser_accept(listener, SECOND, &reader_b), 0);
    expect(reader_a, "a");
    expect_end(reader_a, -ESHUTDOWN);
    expect(reader_b, "b");
    hawser_close(b);
    hawser_close(reader_a);
    hawser_close(reader_b);
    hawser_listener_close(listener);
}

/* Somebody removed the name while a writer had its FIFO open, and another listener took it. */
static void test_a_successors_name_stays(void **state) {
    (void)state;
    hawser_listener *first, *second;
    hawser_channel *writer, *reader;
    assert_int_equal(hawser_listen(address, NULL, &first), 0);
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hawser_listen(address, NULL, &second), 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(hawser_accept(first, HAWSER_NOW, &reader), -EAGAIN);
    assert_int_equal(hawser_accept(first, HAWSER_NOW, &reader), -EADDRINUSE);
    assert_int_equal(hawser_connect(address, NULL, SECOND, &writer), 0);
    assert_int_equal(hawser_accept(second, SECOND, &reader), 0);
    assert_int_equal(hawser_send(writer, "x", 1, SECOND), 0);
    expect(reader, "x");
    hawser_close(writer);
    hawser_close(reader);
    hawser_listener_close(second);
    assert_int_equal(hawser_accept(first, HAWSER_NOW, &reader), -EAGAIN); /* the name is free again */
    assert_int_equal(hawser_connect(address, NULL, SECOND, &writer), 0);
    assert_int_equal(hawser_accept(first, SECOND, &reader), 0);
    hawser_close(writer);
    hawser_close(reader);
    hawser_listener_close(first);
}

static void write_plain(const char *text) {
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_garbage(void **state) {
    (void)state;
    hawser_listener *listener;
    hawser_channel *writer, *reader;
    static const char *const garbage[] = { "x", "GET / HTTP/1.0\r\n\r\n and more than a hello's bytes", "\a\0\0" };
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        write_plain(garbage[i]);
        assert_int_equal(hawser_accept(listener, HAWSER_NOW, &reader), -EAGAIN);
    }
    write_plain(""); /* comes and goes */
    assert_int_equal(hawser_accept(listener, HAWSER_NOW, &reader), -EAGAIN);
    assert_int_equal(hawser_connect(address, NULL, SECOND, &writer), 0);
    assert_int_equal(hawser_accept(listener, SECOND, &reader), 0);
    hawser_close(writer);
    expect_end(reader, -ESHUTDOWN);
    hawser_close(reader);
    hawser_listener_close(listener);
}

static void test_plain_tools(void **state) {
    (void)state;
    hawser_listener *listener;
    hawser_channel *channel;
    assert_int_equal(hawser_listen(lines, NULL, &listener), 0);
    write_plain("one\n\nhalf");
    assert_int_equal(hawser_accept(listener, SECOND, &channel), 0);
    expect(channel, "one");
    expect(channel, "");
    expect(channel, "half");
    expect_end(channel, -ESHUTDOWN);
    hawser_close(channel);
    hawser_listener_close(listener);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    char text[20];
    assert_int_equal(hawser_connect(lines, NULL, SECOND, &channel), 0);
    assert_int_equal(hawser_send(channel, "to cat", 6, SECOND), 0);
    assert_int_equal(hawser_send(channel, "a\nb", 3, SECOND), -EINVAL);
    hawser_close(channel);
    assert_int_equal(hawser_connect(none, NULL, HAWSER_NOW, &channel), -EAGAIN); /* those bytes first */
    assert_int_equal(read(fd, text, sizeof text), 7);
    assert_memory_equal(text, "to cat\n", 7);
    assert_int_equal(hawser_connect(none, NULL, SECOND, &channel), 0);
    assert_int_equal(hawser_send(channel, "raw", 3, SECOND), 0);
    hawser_close(channel);
    assert_int_equal(read(fd, text, sizeof text), 3);
    close(fd);
    assert_int_equal(hawser_listen(none, NULL, &listener), 0); /* nobody reads there any more */
    write_plain("bytes");
    assert_int_equal(hawser_accept(listener, SECOND, &channel), 0);
    expect(channel, "bytes");
    expect_end(channel, -ESHUTDOWN);
    hawser_close(channel);
    hawser_listener_close(listener);
}

/* A listener, then a writer, killed. */
static void test_killed(void **state) {
    (void)state;
    hawser_listener *listener;
    hawser_channel *reader;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        if (hawser_listen(address, NULL, &listener) == 0)
            _exit(0);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    pid = fork_child();
    if (pid == 0) {
        hawser_channel *writer;
        static char big[100000];
        if (hawser_connect(address, NULL, SECOND, &writer) == 0 && hawser_send(writer, "whole", 5, SECOND) == 0)
            while (hawser_send(writer, big, sizeof big, HAWSER_NOW) == 0)
                continue;
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(hawser_accept(listener, 5 * SECOND, &reader), 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect(reader, "whole");
    static char in[100000];
    size_t size;
    int r;
    while ((r = hawser_recv(reader, in, sizeof in, SECOND, &size)) == 0)
        assert_int_equal(size, sizeof in);
    assert_int_equal(r, -ECONNRESET);
    hawser_close(reader);
    hawser_listener_close(listener);
    close(ready[0]);
    close(ready[1]);
}

static void test_refused(void **state) {
    (void)state;
    hawser_listener *listener;
    hawser_channel *channel;
    char users[96];
    snprintf(users, sizeof users, "fifo://%s?users=1", path);
    assert_int_equal(hawser_listen("fifo://relative", NULL, &listener), -EINVAL);
    assert_int_equal(hawser_connect("fifo://relative", NULL, HAWSER_NOW, &channel), -EINVAL);
    assert_int_equal(hawser_listen("fifo:///tmp/in-everybodys", NULL, &listener), -EACCES);
    assert_int_equal(hawser_listen(users, NULL, &listener), -EOPNOTSUPP);
    assert_int_equal(hawser_pair("fifo://", NULL, &channel, &channel), -EOPNOTSUPP);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(hawser_listen(address, NULL, &listener), -EADDRINUSE);
    assert_int_equal(hawser_connect(address, NULL, HAWSER_NOW, &channel), -EPROTO);
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_way), cmocka_unit_test(test_turns),       cmocka_unit_test(test_a_successors_name_stays),
        cmocka_unit_test(test_garbage), cmocka_unit_test(test_plain_tools), cmocka_unit_test(test_killed),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
