/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Strangers at the door, by raw sockets: hellos of another version, garbage, halves, silence, by the hundred; and a
 * listener that is none. Nothing a peer does stops a listener, nor makes a connecting end wait past its timeout. */

#include "suite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- raw sockets to and from an address ---- */

struct raw_address {
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    socklen_t length;
    int type;
};

static void raw_tcp(const char *place, struct raw_address *ret_raw) {
    const char *colon = strrchr(place, ':');
    uint16_t port = htons((uint16_t)atoi(colon + 1));
    if (place[0] == '[') {
        ret_raw->socket.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        ret_raw->length = sizeof ret_raw->socket.v6;
    } else {
        ret_raw->socket.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
        ret_raw->socket.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ret_raw->length = sizeof ret_raw->socket.v4;
    }
}

static struct raw_address raw_of(const struct cell *cell, const char *address) {
    struct raw_address raw = { .type = cell->place->mechanism & RENDEZVOUS ? SOCK_SEQPACKET : SOCK_STREAM };
    char place[HAWSER_ADDRESS_MAX];
    snprintf(place, sizeof place, "%s", strstr(address, "://") + 3);
    place[strcspn(place, "?")] = '\0';
    if (cell->place->mechanism == TCP) {
        raw_tcp(place, &raw);
        return raw;
    }
    struct sockaddr_un *local = &raw.socket.local;
    local->sun_family = AF_UNIX;
    const char *directory = cell->place->mechanism == UNIX ? "" : getenv("HAWSER_RUNTIME_DIR");
    int length = snprintf(local->sun_path, sizeof local->sun_path, "%s%s%s", directory, *directory ? "/" : "", place);
    CHECK(length < (int)sizeof local->sun_path);
    if (place[0] == '@')
        local->sun_path[0] = '\0';
    raw.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + (place[0] != '@'));
    return raw;
}

static int raw_connect(const struct raw_address *raw) {
    int fd = socket(raw->socket.any.sa_family, raw->type | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    fcntl(fd, F_SETFL, O_NONBLOCK); /* a full backlog is no reason to wait */
    (void)!connect(fd, &raw->socket.any, raw->length);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

/* ---- hellos ---- */

/* What a rendezvous hello begins with, by its published layout: type, reserved, value; magic, least, most. */
struct raw_hello {
    uint32_t type, reserved;
    uint64_t value;
    uint32_t magic;
    uint16_t least, most;
    uint64_t features, max_message;
    char scheme[8];
    uint32_t word_size, offer_size;
};

static struct raw_hello good_hello(const struct cell *cell) {
    struct raw_hello hello = { .type = 1, .magic = 0x72737768u, .least = 1, .most = 1, .max_message = 1 << 20, .word_size = 8 };
    const char *base = cell->place->base;
    memcpy(hello.scheme, base, (size_t)(strstr(base, "://") - base));
    return hello;
}

enum evil { EVIL_NOISE, EVIL_ZEROS, EVIL_HALF, EVIL_SILENT, EVIL_HANGUP, EVIL_VERSION, EVIL_LONG, EVIL_BYTE, EVILS };

static void send_raw(int fd, const void *data, size_t size) { (void)!send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT); }

static void be_evil(const struct cell *cell, int fd, enum evil evil) {
    static const uint8_t zeros[64];
    static const uint8_t stream_half[] = { 0x00, 0x53, 0x50 };
    static const uint8_t stream_version[] = { 0x00, 0x53, 0x50, 0x07, 0x00, 0x10, 0x00, 0x00 };
    bool packets = cell->place->mechanism & RENDEZVOUS;
    struct raw_hello hello = good_hello(cell);
    hello.least = hello.most = 99;
    switch (evil) {
    case EVIL_NOISE: send_raw(fd, noise(3), sizeof hello); break;
    case EVIL_ZEROS: send_raw(fd, zeros, sizeof zeros); break;
    case EVIL_HALF:
        if (packets)
            send_raw(fd, &hello, sizeof hello / 2);
        else
            send_raw(fd, stream_half, sizeof stream_half);
        break;
    case EVIL_HANGUP: shutdown(fd, SHUT_RDWR); break;
    case EVIL_VERSION:
        if (packets)
            send_raw(fd, &hello, sizeof hello);
        else
            send_raw(fd, stream_version, sizeof stream_version);
        break;
    case EVIL_LONG: send_raw(fd, noise(5), 4096); break;
    case EVIL_BYTE: send_raw(fd, "h", 1); break;
    case EVIL_SILENT:
    case EVILS: break;
    }
}

static pid_t honest(struct cell *cell) {
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, 1, 100);
        hawser_close(channel);
        exit(0);
    }
    return child;
}

/* Accepts until the honest one is served; SP has no secrets, so noise that is a good header makes a channel. */
static void serve_honest(hawser_listener *listener, pid_t child) {
    static char buffer[8192];
    for (;;) {
        size_t size = 0;
        hawser_channel *channel = accept_one(listener);
        int status = hawser_recv(channel, buffer, sizeof buffer, 5 * SECOND, &size);
        hawser_close(channel);
        if (status == 0 && size == 100) {
            check_bytes(buffer, size, 1, 100);
            break;
        }
    }
    reap(child);
}

static void one_by_one(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=100ms");
    struct raw_address raw = raw_of(cell, cell->bound);
    for (enum evil evil = 0; evil < EVILS; evil++) {
        int fd = raw_connect(&raw);
        be_evil(cell, fd, evil);
        serve_honest(listener, honest(cell));
        close(fd);
    }
    hawser_listener_close(listener);
}

static void expect_hung_up(int fd, enum evil evil) {
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    char bytes[4096];
    ssize_t got;
    do /* a refusal may be said before */
        got = poll(&wait, 1, 0) == 1 ? recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;
    while (got > 0);
    if (!(wait.revents & (POLLHUP | POLLERR | POLLIN)))
        fail(__FILE__, __LINE__, "evil %d is still connected", evil);
    close(fd);
}

/* Refused or overdue, the listener hangs up, within its hello timeout, and says nothing to who waits in accept. All come at once:
 * each takes its own time. */
static void dropped(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=50ms");
    struct raw_address raw = raw_of(cell, cell->bound);
    hawser_channel *channel = NULL;
    int fds[EVILS];
    for (enum evil evil = 0; evil < EVILS; evil++) {
        fds[evil] = raw_connect(&raw);
        be_evil(cell, fds[evil], evil);
    }
    EXPECT(hawser_accept(listener, 150 * MS, &channel), -ETIMEDOUT);
    for (enum evil evil = 0; evil < EVILS; evil++)
        expect_hung_up(fds[evil], evil);
    hawser_listener_close(listener);
}

enum { HUNDREDS = 300 };

/* Hundreds of the silent and the talkative at once; an honest process gets through, and nobody spins. */
static void hundreds(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=200ms");
    struct raw_address raw = raw_of(cell, cell->bound);
    static int fds[HUNDREDS];
    for (int i = 0; i < HUNDREDS; i++) {
        fds[i] = raw_connect(&raw);
        be_evil(cell, fds[i], (enum evil)(i % EVILS));
    }
    serve_honest(listener, honest(cell));
    for (int i = 0; i < HUNDREDS; i++)
        close(fds[i]);
    serve_honest(listener, honest(cell));
    hawser_listener_close(listener);
}

static int64_t cpu_ns(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
           ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* Half-sent hellos under way cost no CPU time while they last. */
static void no_spin(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=10s");
    struct raw_address raw = raw_of(cell, cell->bound);
    hawser_channel *channel = NULL;
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = raw_connect(&raw);
        if (cell->place->mechanism & (UNIX | TCP))
            be_evil(cell, fds[i], EVIL_HALF);
    }
    EXPECT(hawser_accept(listener, 50 * MS, &channel), -ETIMEDOUT);
    int64_t began = cpu_ns();
    EXPECT(hawser_accept(listener, 300 * MS, &channel), -ETIMEDOUT);
    CHECK(cpu_ns() - began < 100 * MS);
    serve_honest(listener, honest(cell));
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    hawser_listener_close(listener);
}

/* No descriptor left: no spinning, an error or a timeout at accept; and once there are some again, all is well. */
static void no_descriptors(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=200ms");
    struct raw_address raw = raw_of(cell, cell->bound);
    struct rlimit before, tight;
    hawser_channel *channel = NULL;
    int fds[8];
    EXPECT(hawser_accept(listener, HAWSER_NOW, &channel), -EAGAIN);
    for (int i = 0; i < 8; i++)
        fds[i] = raw_connect(&raw);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    tight = before;
    int next = dup(0);
    close(next);
    tight.rlim_cur = (rlim_t)next;
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    int64_t began = cpu_ns(), until = now_ns() + 300 * MS;
    unsigned returns = 0;
    while (now_ns() < until) {
        int status = hawser_accept(listener, 100 * MS, &channel);
        if (status != -ETIMEDOUT)
            EXPECT_EITHER(status, -EMFILE, -ENFILE);
        returns++;
    }
    CHECK(cpu_ns() - began < 200 * MS && returns < 100);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    serve_honest(listener, honest(cell));
    hawser_listener_close(listener);
}

/* ---- a listener that is none ---- */

static int raw_listen(struct cell *cell, char *ret_address) {
    hawser_listener *listener = listen_new(cell, "");
    hawser_listener_close(listener); /* RUNTIME is there now, and a port that is free */
    address_bound(cell, "", ret_address);
    struct raw_address raw = raw_of(cell, ret_address);
    int fd = socket(raw.socket.any.sa_family, raw.type | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    CHECK(fd >= 0 && bind(fd, &raw.socket.any, raw.length) == 0 && listen(fd, 16) == 0);
    return fd;
}

static void false_listener_main(struct cell *cell, int fd, enum evil evil) {
    for (;;) {
        char bytes[4096];
        int client = accept(fd, NULL, NULL);
        if (client < 0)
            _exit(0);
        if (evil != EVIL_HANGUP)
            (void)!recv(client, bytes, sizeof bytes, 0);
        be_evil(cell, client, evil);
        if (evil == EVIL_HALF || evil == EVIL_SILENT || evil == EVIL_BYTE)
            (void)!recv(client, bytes, sizeof bytes, 0); /* until it gives up */
        close(client);
    }
}

/* Garbage is -EPROTO, at once; silence lasts as long as the timeout and no longer. */
static void false_listener(struct cell *cell) {
    for (enum evil evil = 0; evil < EVILS; evil++) {
        char address[HAWSER_ADDRESS_MAX];
        hawser_channel *channel = NULL;
        int fd = raw_listen(cell, address);
        pid_t child = fork_child();
        if (child == 0)
            false_listener_main(cell, fd, evil);
        close(fd);
        int64_t began = now_ns();
        bool garbage = evil == EVIL_NOISE || evil == EVIL_ZEROS || evil == EVIL_VERSION || evil == EVIL_LONG;
        int status = hawser_connect(address, NULL, garbage ? HAWSER_FOREVER : 100 * MS, &channel);
        if (garbage)
            EXPECT(status, -EPROTO);
        else if (status != -EPROTO && status != -ECONNRESET && status != -ECONNREFUSED)
            EXPECT(status, -ETIMEDOUT);
        CHECK(!channel && now_ns() - began < 3 * SECOND);
        struct side side = { .cell = cell, .other = child };
        kill_other(&side);
        struct raw_address raw = raw_of(cell, address);
        if (raw.socket.any.sa_family == AF_UNIX && raw.socket.local.sun_path[0])
            unlink(raw.socket.local.sun_path);
    }
}

/* ---- after a good hello ---- */

/* Over SP anyone may announce any size: 2^63 bytes are refused without a thought of allocating them. */
static void immense(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    struct raw_address raw = raw_of(cell, cell->bound);
    static const uint8_t header[] = { 0x00, 0x53, 0x50, 0x00, 0x00, 0x10, 0x00, 0x00 };
    static const uint8_t size[] = { 0x01, 0x80, 0, 0, 0, 0, 0, 0, 0 };
    int fd = raw_connect(&raw);
    send_raw(fd, header, sizeof header);
    hawser_channel *channel = accept_one(listener);
    bool ipc = cell->place->mechanism == UNIX;
    send_raw(fd, size + !ipc, sizeof size - !ipc);
    char byte;
    size_t got;
    EXPECT(hawser_recv(channel, &byte, 1, 5 * SECOND, &got), -EPROTO);
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_NOW, &got), -EPROTO);
    hawser_close(channel);
    close(fd);
    serve_honest(listener, honest(cell));
    hawser_listener_close(listener);
}

const struct promise hostile_promises[] = {
    { "one_by_one", one_by_one, FIFO, PLAIN, false, 0 },
    { "dropped", dropped, FIFO, PLAIN, false, 0 },
    { "hundreds", hundreds, FIFO, PLAIN, false, 0 },
    { "no_spin", no_spin, FIFO, PLAIN, false, 0 },
    { "no_descriptors", no_descriptors, FIFO, PLAIN, false, 0 },
    { "false_listener", false_listener, FIFO, PLAIN, false, 0 },
    { "immense", immense, (unsigned)~(UNIX | TCP), PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
