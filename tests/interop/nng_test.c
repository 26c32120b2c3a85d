/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser against the real nng, PAIR version 0 over tcp and ipc: each side listening and each connecting, the wire chosen by
 * itself. usage: test_nng [NNGCAT] */

#include <errno.h>
#include <hawser/hawser.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pair1/pair.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (20 * SECOND)

/* nng 1.5.2 frees sockets in a thread of its own, which its end does not wait for. The leak checker asks this. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libnng"; }

static const size_t sizes[] = { 0, 1, 7, 8, 9, 100, 1000, 4095, 4096, 5000, 65536, 100000, 1 << 20 };
#define SIZES (sizeof sizes / sizeof sizes[0])

static const char *nngcat;
static char directory[] = "/tmp/hawser-nng-test-XXXXXX";

static void fill(uint8_t *data, size_t size, unsigned salt) {
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 131 + salt);
}

static void ok(int nng_result) {
    if (nng_result != 0)
        fail_msg("nng: %s", nng_strerror(nng_result));
}

static nng_socket nng_socket_new(void) {
    nng_socket socket;
    ok(nng_pair0_open(&socket));
    ok(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0));
    ok(nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, 20000));
    ok(nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, 20000));
    return socket;
}

/* ---- Both ways over a channel that stands ---- */

static void *nng_echo(void *context) {
    nng_socket *socket = context;
    for (size_t i = 0; i < SIZES; i++) {
        nng_msg *message;
        if (nng_recvmsg(*socket, &message, 0) != 0 || nng_sendmsg(*socket, message, 0) != 0)
            return "nng could not receive and send";
    }
    return NULL;
}

static void converse(hawser_channel *channel, nng_socket socket) {
    pthread_t thread;
    void *complaint;
    uint8_t *data = malloc(1 << 20), *back = malloc(1 << 20);
    assert_int_equal(pthread_create(&thread, NULL, nng_echo, &socket), 0);
    for (unsigned i = 0; i < SIZES; i++) {
        size_t size = 0;
        fill(data, sizes[i], i);
        assert_int_equal(hawser_send(channel, data, sizes[i], PATIENCE), 0);
        assert_int_equal(hawser_recv(channel, back, 1 << 20, PATIENCE, &size), 0);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(data, back, size);
    }
    pthread_join(thread, &complaint);
    assert_null(complaint);
    assert_int_equal(hawser_send_sync(channel, "x", 1, PATIENCE), -EOPNOTSUPP);
    assert_int_equal(hawser_flush(channel, PATIENCE), -EOPNOTSUPP);
    free(data);
    free(back);
}

/* Many messages at once, both ways, so that frames are cut anywhere. */
static void *nng_flood(void *context) {
    nng_socket *socket = context;
    static uint8_t data[3000];
    fill(data, sizeof data, 1);
    for (size_t i = 0; i < 2000; i++)
        if (nng_send(*socket, data, i % sizeof data, 0) != 0)
            return "nng could not send";
    return NULL;
}

static void flood(hawser_channel *channel, nng_socket socket) {
    pthread_t thread;
    void *complaint;
    uint8_t expected[3000];
    hawser_message messages[64];
    fill(expected, sizeof expected, 1);
    assert_int_equal(pthread_create(&thread, NULL, nng_flood, &socket), 0);
    for (size_t i = 0; i < 2000;) {
        size_t taken = 0;
        assert_int_equal(hawser_take_many(channel, messages, 64, PATIENCE, &taken), 0);
        for (size_t k = 0; k < taken; k++, i++) {
            assert_int_equal(messages[k].size, i % sizeof expected);
            assert_memory_equal(messages[k].data, expected, messages[k].size);
            assert_int_equal(hawser_release(channel, &messages[k]), 0);
        }
    }
    pthread_join(thread, &complaint);
    assert_null(complaint);
}

static void talk_and_end(hawser_channel *channel, nng_socket socket) {
    char buffer[8];
    size_t size;
    converse(channel, socket);
    flood(channel, socket);
    ok(nng_close(socket));
    int r = hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size);
    assert_true(r == -ESHUTDOWN || r == -ECONNRESET);
    hawser_close(channel);
}

/* ---- Who listens, who connects ---- */

/* hawser's address of nng's listener. */
static void nng_listen_at(nng_socket socket, bool tcp, char *address, size_t capacity) {
    nng_listener listener;
    nng_sockaddr bound;
    char url[128];
    if (!tcp) {
        snprintf(url, sizeof url, "ipc://%s/nng", directory);
        ok(nng_listen(socket, url, &listener, 0));
        snprintf(address, capacity, "unix://%s/nng", directory);
        return;
    }
    ok(nng_listen(socket, "tcp://127.0.0.1:0", &listener, 0));
    ok(nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &bound));
    const uint8_t *port = (const uint8_t *)&bound.s_in.sa_port; /* network order */
    snprintf(address, capacity, "tcp://127.0.0.1:%u", port[0] << 8 | port[1]);
}

static void nng_listens(bool tcp, const char *query) {
    nng_socket socket = nng_socket_new();
    hawser_channel *channel;
    char address[160];
    nng_listen_at(socket, tcp, address, sizeof address - 16);
    strcat(address, query);
    if (hawser_connect(address, NULL, PATIENCE, &channel) < 0)
        fail_msg("%s", hawser_explain());
    talk_and_end(channel, socket);
}

static void hawser_listens(bool tcp, const char *query) {
    nng_socket socket = nng_socket_new();
    nng_dialer dialer;
    hawser_listener *listener;
    hawser_channel *channel;
    char address[160], url[160];
    if (tcp)
        snprintf(address, sizeof address, "tcp://127.0.0.1:0%s", query);
    else
        snprintf(address, sizeof address, "unix://%s/hawser%s", directory, query);
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    if (tcp)
        snprintf(url, sizeof url, "%s", hawser_listener_address(listener));
    else
        snprintf(url, sizeof url, "ipc://%s/hawser", directory);
    ok(nng_dial(socket, url, &dialer, NNG_FLAG_NONBLOCK));
    assert_int_equal(hawser_accept(listener, PATIENCE, &channel), 0);
    hawser_listener_close(listener); /* nng's dialer would connect again */
    talk_and_end(channel, socket);
}

static void test_nng_listens(void **state) {
    (void)state;
    nng_listens(true, "");
    nng_listens(false, "");
    nng_listens(true, "?wire=sp");
    nng_listens(false, "?wire=sp");
}

static void test_hawser_listens(void **state) {
    (void)state;
    hawser_listens(true, "");
    hawser_listens(false, "");
    hawser_listens(true, "?wire=sp");
    hawser_listens(false, "?wire=sp");
}

/* ---- Refusals ---- */

static void test_wrong_wire(void **state) {
    (void)state;
    hawser_channel *channel;
    nng_socket other;
    char address[160];
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        nng_socket socket = nng_socket_new();
        nng_listen_at(socket, tcp, address, sizeof address - 16);
        strcat(address, "?wire=native");
        assert_int_equal(hawser_connect(address, NULL, PATIENCE, &channel), -EPROTO);
        ok(nng_close(socket));
        ok(nng_pair1_open(&other));
        nng_listen_at(other, tcp, address, sizeof address);
        assert_int_equal(hawser_connect(address, NULL, PATIENCE, &channel), -EPROTO);
        assert_non_null(strstr(hawser_explain(), "17"));
        ok(nng_close(other));
    }
}

/* ---- nng's command ---- */

static pid_t run_nngcat(const char *const *arguments, int *ret_output) {
    const char *command[16] = { nngcat };
    int output[2];
    for (unsigned i = 0; arguments[i]; i++)
        command[i + 1] = arguments[i];
    assert_int_equal(pipe(output), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        execv(nngcat, (char **)(uintptr_t)command);
        _exit(127);
    }
    close(output[1]);
    *ret_output = output[0];
    return child;
}

static void end_nngcat(pid_t child) {
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
}

static void read_exactly(int fd, char *text, size_t size) {
    for (size_t have = 0; have < size;) {
        ssize_t got = read(fd, text + have, size - have);
        assert_true(got > 0);
        have += (size_t)got;
    }
}

static void test_nngcat_listens(void **state) {
    (void)state;
    char url[128], address[128], text[4] = "";
    hawser_channel *channel;
    size_t size;
    int output;
    if (!nngcat)
        skip();
    snprintf(url, sizeof url, "ipc://%s/cat", directory);
    snprintf(address, sizeof address, "unix://%s/cat", directory);
    pid_t child = run_nngcat((const char *[]){ "--pair0", "--listen", url, "--raw", "--data", "ping", NULL }, &output);
    if (hawser_connect(address, NULL, PATIENCE, &channel) < 0)
        fail_msg("%s", hawser_explain());
    assert_int_equal(hawser_recv(channel, text, sizeof text, PATIENCE, &size), 0);
    assert_int_equal(size, 4);
    assert_memory_equal(text, "ping", 4);
    assert_int_equal(hawser_send(channel, "pong", 4, PATIENCE), 0);
    read_exactly(output, text, 4);
    assert_memory_equal(text, "pong", 4);
    hawser_close(channel);
    end_nngcat(child);
    close(output);
}

static void test_nngcat_connects(void **state) {
    (void)state;
    char text[4];
    hawser_listener *listener;
    hawser_channel *channel;
    size_t size;
    int output;
    if (!nngcat)
        skip();
    assert_int_equal(hawser_listen("tcp://127.0.0.1:0", NULL, &listener), 0);
    const char *url = hawser_listener_address(listener);
    pid_t child = run_nngcat((const char *[]){ "--pair0", "--dial", url, "--raw", "--data", "ping", NULL }, &output);
    assert_int_equal(hawser_accept(listener, PATIENCE, &channel), 0);
    assert_int_equal(hawser_recv(channel, text, sizeof text, PATIENCE, &size), 0);
    assert_memory_equal(text, "ping", 4);
    assert_int_equal(hawser_send(channel, "pong", 4, PATIENCE), 0);
    read_exactly(output, text, 4);
    assert_memory_equal(text, "pong", 4);
    hawser_close(channel);
    hawser_listener_close(listener);
    end_nngcat(child);
    close(output);
}

static int remove_directory(void **state) {
    char path[64];
    (void)state;
    static const char *const names[] = { "nng", "cat", "hawser" };
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path); /* nngcat leaves its own */
    }
    return rmdir(directory);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nng_listens),   cmocka_unit_test(test_hawser_listens),  cmocka_unit_test(test_wrong_wire),
        cmocka_unit_test(test_nngcat_listens), cmocka_unit_test(test_nngcat_connects),
    };
    nngcat = argc > 1 ? argv[1] : NULL;
    if (!mkdtemp(directory))
        return 1;
    return cmocka_run_group_tests(tests, NULL, remove_directory);
}
