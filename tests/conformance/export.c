/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* An unused end of a pair travels: over exec, over a socket; once, and only if it really is one. */

#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void pair_new(struct cell *cell, hawser_channel **ret_a, hawser_channel **ret_b) {
    char address[HAWSER_ADDRESS_MAX];
    address_new(cell, "", address);
    EXPECT(hawser_pair(address, NULL, ret_a, ret_b), 0);
}

static void echo(hawser_channel *channel) {
    static uint8_t buffer[NOISE];
    size_t size;
    while (EXPECT_EITHER(hawser_recv(channel, buffer, sizeof buffer, HAWSER_FOREVER, &size), 0, -ESHUTDOWN) == 0)
        EXPECT(hawser_send(channel, buffer, size, HAWSER_FOREVER), 0);
}

static void converse(hawser_channel *channel) {
    for (uint64_t i = 0; i < 300; i++) {
        size_t size = i % 30 ? i * 7 : 60000;
        send_one(channel, i, size);
        recv_one(channel, i, size);
    }
}

int adopt_main(const char *fd) {
    hawser_channel *channel = NULL;
    EXPECT(hawser_adopt(atoi(fd), NULL, &channel), 0);
    echo(channel);
    hawser_close(channel);
    return 0;
}

static void over_exec(struct cell *cell) {
    hawser_channel *a, *b;
    int fd = -1;
    pair_new(cell, &a, &b);
    EXPECT(hawser_export(b, &fd), 0);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    pid_t child = fork_child();
    if (child == 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", fd);
        fcntl(fd, F_SETFD, 0);
        execl("/proc/self/exe", "conformance", "--adopt", text, (char *)NULL);
        _exit(1);
    }
    close(fd);
    hawser_close(b);
    converse(a);
    hawser_close(a);
    reap(child);
}

static void pass(int socket, int fd) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { { 0 } };
    struct iovec byte = { .iov_base = (char[]){ 'f' }, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK(sendmsg(socket, &message, 0) == 1);
}

static int passed(int socket) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    int fd = -1;
    struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
    CHECK(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* To a process that was there before the pair; both ends travel. */
static void over_socket(struct cell *cell) {
    int sockets[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = NULL;
        EXPECT(hawser_adopt(passed(sockets[1]), NULL, &channel), 0);
        echo(channel);
        hawser_close(channel);
        exit(0);
    }
    hawser_channel *a, *b, *adopted = NULL;
    int fd_a, fd_b;
    pair_new(cell, &a, &b);
    EXPECT(hawser_export(a, &fd_a), 0);
    EXPECT(hawser_export(b, &fd_b), 0);
    hawser_close(a);
    hawser_close(b);
    pass(sockets[0], fd_b);
    close(fd_b);
    EXPECT(hawser_adopt(fd_a, NULL, &adopted), 0);
    converse(adopted);
    hawser_close(adopted);
    reap(child);
    close(sockets[0]);
    close(sockets[1]);
}

/* Messages sent before the other end is adopted wait for it. */
static void queued_before(struct cell *cell) {
    hawser_channel *a, *b, *adopted = NULL;
    int fd;
    pair_new(cell, &a, &b);
    EXPECT(hawser_export(b, &fd), 0);
    for (uint64_t i = 0; i < 5; i++)
        send_one(a, i, 50);
    EXPECT(hawser_adopt(fd, NULL, &adopted), 0);
    for (uint64_t i = 0; i < 5; i++)
        recv_one(adopted, i, 50);
    hawser_close(b);
    hawser_close(a);
    hawser_close(adopted);
}

static void only_close(hawser_channel *exported) {
    char byte;
    size_t size;
    int fd;
    EXPECT(hawser_send(exported, "x", 1, HAWSER_FOREVER), -EPERM);
    EXPECT(hawser_recv(exported, &byte, 1, HAWSER_FOREVER, &size), -EPERM);
    EXPECT_EITHER(hawser_export(exported, &fd), -EPERM, -EBUSY);
}

static void refusals(struct cell *cell) {
    hawser_channel *a, *b, *adopted = NULL, *sender, *receiver;
    int fd = -1;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_export(sender, &fd), -EBUSY); /* no end of a pair */
    hawser_close(sender);
    hawser_close(receiver);
    pair_new(cell, &a, &b);
    send_one(a, 0, 10);
    EXPECT(hawser_export(a, &fd), -EBUSY);
    EXPECT(hawser_export(b, &fd), 0);
    only_close(b);
    int again = dup(fd);
    EXPECT(hawser_adopt(fd, NULL, &adopted), 0);
    EXPECT(hawser_adopt(again, NULL, &receiver), -EPROTO);
    CHECK(fcntl(again, F_GETFD) >= 0); /* on failure it stays the caller's */
    close(again);
    recv_one(adopted, 0, 10);
    hawser_close(b);
    hawser_close(a);
    hawser_close(adopted);
}

/* A descriptor that never was an exported channel. */
static void not_one(struct cell *cell) {
    (void)cell;
    hawser_channel *adopted = NULL;
    int fds[2];
    EXPECT(hawser_adopt(-1, NULL, &adopted), -EBADF);
    EXPECT(hawser_adopt(9999, NULL, &adopted), -EBADF);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT(hawser_adopt(null, NULL, &adopted), -EPROTO);
    CHECK(close(null) == 0 && pipe2(fds, O_CLOEXEC) == 0);
    EXPECT(hawser_adopt(fds[0], NULL, &adopted), -EPROTO);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    EXPECT(hawser_adopt(fds[0], NULL, &adopted), -EPROTO); /* silent */
    CHECK(send(fds[1], noise(1), 300, 0) == 300);
    EXPECT(hawser_adopt(fds[0], NULL, &adopted), -EPROTO); /* garbage */
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0 && !adopted);
}

const struct promise export_promises[] = {
    { "over_exec", over_exec, FIFO, PLAIN | LADDER | TIGHT, false, 0 },
    { "over_socket", over_socket, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "queued_before", queued_before, FIFO, PLAIN, false, 0 },
    { "refusals", refusals, FIFO, PLAIN, false, 0 },
    { "not_one", not_one, (unsigned)~SHM, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
