/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The bytes of docs/wire.md, and listeners and connecting ends over raw sockets that talk well, badly or not at all. */

#include "core/wire.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hawser/hawser.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const uint8_t pair0[] = { 0, 'S', 'P', 0, 0, 0x10, 0, 0 };
static const uint8_t native[] = { 0, 'S', 'P', 0, 0x68, 0x77, 0, 0 };

static void test_vectors(void **state) {
    (void)state;
    static const uint8_t frame[] = { 7, 0, 0, 0, 0, 0, 0, 24, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                                     0, 0, 0, 0, 0, 0, 0, 0,  4, 0, 0, 0 };
    uint8_t bytes[WIRE_HELLO_FRAME];
    struct wire_hello hello;
    uint16_t protocol;
    wire_head_put(bytes, WIRE_PAIR0);
    assert_memory_equal(bytes, pair0, sizeof pair0);
    wire_head_put(bytes, WIRE_NATIVE);
    assert_memory_equal(bytes, native, sizeof native);
    assert_int_equal(wire_head_get(native, &protocol), 0);
    assert_int_equal(protocol, WIRE_NATIVE);
    wire_hello_put(bytes, 64 << 20);
    assert_memory_equal(bytes, frame, sizeof frame);
    assert_int_equal(wire_hello_get(frame + 8, 24, &hello), 0);
    assert_int_equal(hello.max_message, 64 << 20);
}

static void test_bad_heads(void **state) {
    (void)state;
    uint16_t protocol = 7;
    uint8_t head[8];
    static const struct {
        unsigned at;
        uint8_t value;
    } changes[] = { { 0, 'G' }, { 1, 's' }, { 2, 'Q' }, { 3, 1 }, { 6, 1 }, { 7, 0x80 } };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(head, pair0, sizeof head);
        head[changes[i].at] = changes[i].value;
        assert_int_equal(wire_head_get(head, &protocol), -EPROTO);
    }
    assert_int_equal(protocol, 7);
}

static void test_bad_hellos(void **state) {
    (void)state;
    uint8_t frame[WIRE_HELLO_FRAME];
    struct wire_hello hello;
    wire_hello_put(frame, 1);
    assert_int_equal(wire_hello_get(frame + 8, 23, &hello), -EPROTO);
    assert_int_equal(wire_hello_get(frame + 8, WIRE_HELLO_MOST + 1, &hello), -EPROTO);
    frame[9] = 2; /* least version */
    assert_int_equal(wire_hello_get(frame + 8, 24, &hello), -EPROTO);
    wire_hello_put(frame, 1);
    frame[16] = 0xff; /* unknown features */
    assert_int_equal(wire_hello_get(frame + 8, 24, &hello), 0);
    wire_hello_put(frame, 0);
    assert_int_equal(wire_hello_get(frame + 8, 24, &hello), -EPROTO);
}

/* ---- A listener, and raw ends that connect to it ---- */

struct setting {
    hawser_listener *listener;
    bool tcp;
    char abstract[64];
};

static void setting_open(struct setting *setting, bool tcp, const char *query) {
    static unsigned serial;
    char address[128];
    setting->tcp = tcp;
    snprintf(setting->abstract, sizeof setting->abstract, "hawser-wire-test-%d-%u", (int)getpid(), serial++);
    if (tcp)
        snprintf(address, sizeof address, "tcp://127.0.0.1:0%s", query);
    else
        snprintf(address, sizeof address, "unix://@%s%s", setting->abstract, query);
    assert_int_equal(hawser_listen(address, NULL, &setting->listener), 0);
}

static int raw_socket(const struct setting *setting) {
    struct timeval patience = { .tv_sec = 5 };
    int fd = socket(setting->tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static int raw_connect(const struct setting *setting) {
    int fd = raw_socket(setting);
    if (setting->tcp) {
        const char *port = strrchr(hawser_listener_address(setting->listener), ':') + 1;
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(port)) };
        assert_int_equal(connect(fd, (struct sockaddr *)&v4, sizeof v4), 0);
        return fd;
    }
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t length = strlen(setting->abstract);
    memcpy(name.sun_path + 1, setting->abstract, length);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)), 0);
    return fd;
}

/* Exactly so many bytes. */
static void raw_expect(int fd, const void *expected, size_t size) {
    uint8_t bytes[256];
    assert_int_equal(recv(fd, bytes, size, MSG_WAITALL), size);
    assert_memory_equal(bytes, expected, size);
}

static void raw_expect_end(int fd) {
    uint8_t byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
}

static void raw_say(int fd, const void *bytes, size_t size) {
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static void garbage(bool tcp) {
    static const uint8_t words[][8] = { "GET / HT", { 0, 'S', 'P', 0, 0, 0x10, 0, 1 }, { 0, 'S', 'P', 1, 0, 0x10, 0, 0 },
                                        { 0, 'S', 'P', 0, 0, 0x20, 0, 0 } };
    struct setting setting;
    hawser_channel *channel;
    setting_open(&setting, tcp, "");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        int fd = raw_connect(&setting);
        raw_say(fd, words[i], 8);
        assert_int_equal(hawser_accept(setting.listener, SECOND / 20, &channel), -ETIMEDOUT);
        if (i == 3)
            raw_expect(fd, pair0, 8); /* another protocol is told what we speak */
        raw_expect_end(fd);
        close(fd);
    }
    int fd = raw_connect(&setting);
    raw_say(fd, native, 8);
    assert_int_equal(hawser_accept(setting.listener, HAWSER_NOW, &channel), -EAGAIN);
    raw_expect(fd, native, 8);
    raw_say(fd, "\7\0\0\0\0\1\0\0", 8); /* a hello of 64 KiB */
    assert_int_equal(hawser_accept(setting.listener, SECOND / 20, &channel), -ETIMEDOUT);
    close(fd);
    hawser_listener_close(setting.listener);
}

static void test_garbage(void **state) {
    (void)state;
    garbage(false);
    garbage(true);
}

static void half_header(bool tcp) {
    struct setting setting;
    hawser_channel *channel;
    setting_open(&setting, tcp, "?hello_timeout=50ms");
    int slow = raw_connect(&setting), silent = raw_connect(&setting), good = raw_connect(&setting);
    raw_say(slow, pair0, 5);
    raw_say(good, pair0, 8);
    assert_int_equal(hawser_accept(setting.listener, 5 * SECOND, &channel), 0); /* the others do not stand in its way */
    raw_expect(good, pair0, 8);
    hawser_close(channel);
    assert_int_equal(hawser_accept(setting.listener, SECOND / 5, &channel), -ETIMEDOUT);
    raw_expect_end(slow);
    raw_expect_end(silent);
    close(slow);
    close(silent);
    close(good);
    hawser_listener_close(setting.listener);
}

static void test_half_header(void **state) {
    (void)state;
    half_header(false);
    half_header(true);
}

/* A plain SP end, well behaved but for what it says next. */
static int plain_end(struct setting *setting, bool tcp, hawser_channel **ret_channel) {
    setting_open(setting, tcp, "");
    int fd = raw_connect(setting);
    raw_say(fd, pair0, 8);
    assert_int_equal(hawser_accept(setting->listener, 5 * SECOND, ret_channel), 0);
    raw_expect(fd, pair0, 8);
    return fd;
}

static void plain(bool tcp) {
    struct setting setting;
    hawser_channel *channel;
    char buffer[16];
    size_t size;
    const uint8_t *frame = (const uint8_t *)"\1\0\0\0\0\0\0\0\5hello" + (tcp ? 1 : 0);
    size_t frame_size = tcp ? 13 : 14;
    int fd = plain_end(&setting, tcp, &channel);
    raw_say(fd, frame, frame_size);
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, 5 * SECOND, &size), 0);
    assert_int_equal(size, 5);
    assert_memory_equal(buffer, "hello", 5);
    assert_int_equal(hawser_send(channel, "hello", 5, SECOND), 0);
    raw_expect(fd, frame, frame_size);
    assert_int_equal(hawser_send_sync(channel, "hello", 5, SECOND), -EOPNOTSUPP);
    assert_int_equal(hawser_flush(channel, SECOND), -EOPNOTSUPP);
    assert_int_equal(hawser_send_fds(channel, "hello", 5, &fd, 1, SECOND), -EOPNOTSUPP);
    close(fd);
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, 5 * SECOND, &size), -ESHUTDOWN);
    hawser_close(channel);
    hawser_listener_close(setting.listener);
}

static void test_plain(void **state) {
    (void)state;
    plain(false);
    plain(true);
}

static void *no_big_allocation(void *old, size_t size) {
    assert_true(size < (size_t)1 << 20);
    return realloc(old, size);
}

static void announce(bool tcp) {
    struct setting setting;
    hawser_channel *channel;
    char buffer[16];
    size_t size;
    int fd = plain_end(&setting, tcp, &channel);
    void *(*before)(void *, size_t) = memory_resize_hook;
    memory_resize_hook = no_big_allocation;
    raw_say(fd, (const uint8_t *)"\1\x80\0\0\0\0\0\0\0" + (tcp ? 1 : 0), tcp ? 8 : 9);
    assert_int_equal(hawser_recv(channel, buffer, sizeof buffer, 5 * SECOND, &size), -EPROTO);
    assert_int_equal(hawser_send(channel, "x", 1, SECOND), -EPROTO);
    memory_resize_hook = before;
    hawser_close(channel);
    hawser_listener_close(setting.listener);
    close(fd);
}

static void test_announce(void **state) {
    (void)state;
    announce(false);
    announce(true);
}

/* ---- Raw ends that listen ---- */

struct answer {
    int listener;
    const void *bytes;
    size_t size;
    unsigned times;
};

/* Answers so many connections with the bytes, then hangs up. */
static void *raw_answer(void *context) {
    const struct answer *answer = context;
    for (unsigned i = 0; i < answer->times; i++) {
        uint8_t head[8];
        int fd = accept(answer->listener, NULL, NULL);
        if (recv(fd, head, sizeof head, MSG_WAITALL) == 8 && answer->size > 0)
            send(fd, answer->bytes, answer->size, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static int connect_to_answer(const void *bytes, size_t size, unsigned times, const char *query) {
    struct answer answer = { .bytes = bytes, .size = size, .times = times };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof v4;
    hawser_channel *channel = NULL;
    char address[64];
    pthread_t thread;
    answer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(answer.listener, (struct sockaddr *)&v4, sizeof v4), 0);
    assert_int_equal(listen(answer.listener, 4), 0);
    assert_int_equal(getsockname(answer.listener, (struct sockaddr *)&v4, &length), 0);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%u%s", ntohs(v4.sin_port), query);
    assert_int_equal(pthread_create(&thread, NULL, raw_answer, &answer), 0);
    int r = hawser_connect(address, NULL, 5 * SECOND, &channel);
    pthread_join(thread, NULL);
    hawser_close(channel);
    close(answer.listener);
    return r;
}

static void test_answers(void **state) {
    (void)state;
    static const uint8_t pub[] = { 0, 'S', 'P', 0, 0, 0x20, 0, 0 };
    static const uint8_t refusal[] = "\0SP\0\x68\x77\0\0\x8\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x0dno";
    assert_int_equal(connect_to_answer(NULL, 0, 1, ""), -EPROTO); /* a bare close is no downgrade */
    assert_int_equal(connect_to_answer(pub, sizeof pub, 1, ""), -EPROTO);
    assert_int_equal(connect_to_answer("HTTP/1.1", 8, 1, ""), -EPROTO);
    assert_int_equal(connect_to_answer(pair0, sizeof pair0, 2, ""), 0);
    assert_int_equal(connect_to_answer(pair0, sizeof pair0, 1, "?wire=sp"), 0);
    assert_int_equal(connect_to_answer(pair0, sizeof pair0, 1, "?wire=native"), -EPROTO);
    assert_int_equal(connect_to_answer(native, sizeof native, 1, "?wire=sp"), -EPROTO);
    assert_int_equal(connect_to_answer(native, sizeof native, 1, ""), -EPROTO);
    assert_int_equal(connect_to_answer(refusal, sizeof refusal - 1, 1, ""), -EACCES);
    assert_non_null(strstr(hawser_explain(), ": no"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),     cmocka_unit_test(test_bad_heads), cmocka_unit_test(test_bad_hellos),
        cmocka_unit_test(test_garbage),     cmocka_unit_test(test_half_header), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_announce),    cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
