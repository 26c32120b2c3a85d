/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Descriptors travel with messages, over shm and unix; elsewhere they are refused by name. */

#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 16 };

/* A file that says its number. */
static int numbered_file(uint64_t number) {
    int fd = memfd_create("conformance", MFD_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, &number, sizeof number, 0) == sizeof number);
    return fd;
}

static void check_file(int fd, uint64_t number) {
    uint64_t found = 0;
    CHECK(pread(fd, &found, sizeof found, 0) == sizeof found && found == number);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void send_files(hawser_channel *channel, uint64_t number, size_t size, size_t n) {
    int fds[MOST];
    for (size_t i = 0; i < n; i++)
        fds[i] = numbered_file(number * 100 + i);
    EXPECT(hawser_send_fds(channel, noise(number), size, fds, n, HAWSER_FOREVER), 0);
    for (size_t i = 0; i < n; i++)
        CHECK(close(fds[i]) == 0); /* they stayed the caller's */
}

static void recv_files(hawser_channel *channel, uint64_t number, size_t size, size_t n) {
    static uint8_t buffer[NOISE];
    int fds[MOST];
    size_t got = 0, got_fds = 99;
    EXPECT(hawser_recv_fds(channel, buffer, sizeof buffer, fds, MOST, 10 * SECOND, &got, &got_fds), 0);
    check_bytes(buffer, got, number, size);
    CHECK(got_fds == n);
    for (size_t i = 0; i < n; i++)
        check_file(fds[i], number * 100 + i);
}

/* Which messages carry how many; the rest are plain. */
static size_t files_at(uint64_t number) {
    const size_t table[] = { 0, 1, 0, 2, 16, 0, 3, 1 };
    return table[number % 8];
}

static size_t size_at(uint64_t number) { return number % 16 == 5 || number % 16 == 11 ? 100000 : number * 7 % 500; }

static void file_sender(struct side *side) {
    unsigned before = descriptors_open();
    for (uint64_t i = 0; i < amount(800, 20000); i++) {
        if (files_at(i) > 0 || i % 5 == 0)
            send_files(side->channel, i, size_at(i), files_at(i));
        else
            send_one(side->channel, i, size_at(i));
    }
    CHECK(hawser_flush(side->channel, HAWSER_FOREVER) == 0);
    CHECK(descriptors_open() <= before + 4); /* what a link may grow by, not 16 a message */
}

static void file_receiver(struct side *side) {
    unsigned before = descriptors_open();
    for (uint64_t i = 0; i < amount(800, 20000); i++)
        recv_files(side->channel, i, size_at(i), files_at(i));
    CHECK(descriptors_open() <= before + 4);
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void with_messages(struct cell *cell) { meet_both_ways(cell, "", file_sender, file_receiver); }

/* Received by calls that have no place for them, they are closed. */
static void closed_when_unwanted(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    send_files(sender, 0, 10, 1); /* what the first needs, once */
    recv_one(receiver, 0, 10);
    unsigned before = descriptors_open();
    for (uint64_t i = 0; i < 30; i++) {
        hawser_message message;
        size_t n = 1;
        send_files(sender, i, 50, 1 + (size_t)i % MOST);
        if (i % 3 == 0) {
            recv_one(receiver, i, 50);
            continue;
        }
        if (i % 3 == 1)
            EXPECT(hawser_take(receiver, 5 * SECOND, &message), 0);
        else
            EXPECT(hawser_take_many(receiver, &message, 1, 5 * SECOND, &n), 0);
        check_bytes(message.data, message.size, i, 50);
        EXPECT(hawser_release(receiver, &message), 0);
    }
    CHECK(descriptors_open() == before);
    send_files(sender, 7, 10, 5); /* never received: closed with the channel */
    hawser_close(sender);
    hawser_close(receiver);
}

static void answers(struct cell *cell) {
    hawser_channel *sender, *receiver;
    int fds[MOST + 1], into[MOST];
    char buffer[100];
    size_t size = 0, n = 0;
    for (size_t i = 0; i <= MOST; i++)
        fds[i] = numbered_file(i);
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send_fds(sender, "x", 1, fds, MOST + 1, HAWSER_FOREVER), -EINVAL);
    EXPECT(hawser_send_fds(sender, "x", 1, (int[]){ 9999 }, 1, HAWSER_FOREVER), -EBADF);
    EXPECT(hawser_send_fds(sender, "x", 1, (int[]){ fds[0], -1 }, 2, HAWSER_FOREVER), -EBADF);
    EXPECT(hawser_recv_fds(receiver, buffer, sizeof buffer, into, MOST, HAWSER_NOW, &size, &n), -EAGAIN);
    EXPECT(hawser_send_fds(sender, noise(3), 50, fds, 4, HAWSER_FOREVER), 0);
    EXPECT(hawser_recv_fds(receiver, buffer, 49, into, MOST, 5 * SECOND, &size, &n), -EMSGSIZE);
    CHECK(size == 50);
    EXPECT(hawser_recv_fds(receiver, buffer, sizeof buffer, into, 3, 5 * SECOND, &size, &n), -EMSGSIZE);
    CHECK(n == 4);
    EXPECT(hawser_recv_fds(receiver, buffer, sizeof buffer, into, 4, 5 * SECOND, &size, &n), 0);
    CHECK(n == 4 && size == 50);
    for (size_t i = 0; i < 4; i++)
        check_file(into[i], i);
    for (size_t i = 0; i <= MOST; i++)
        close(fds[i]);
    hawser_close(sender);
    hawser_close(receiver);
}

/* No descriptor free: the message stays, and comes once there is one. */
static void none_free(struct cell *cell) {
    hawser_channel *sender, *receiver;
    struct rlimit before, tight;
    char buffer[100];
    int into[MOST];
    size_t size, n;
    ends_open(cell, "", &sender, &receiver);
    send_files(sender, 0, 10, 1);
    recv_files(receiver, 0, 10, 1);
    send_files(sender, 1, 50, 3);
    send_files(sender, 2, 60, 2);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    tight = before;
    int next = dup(0);
    close(next);
    tight.rlim_cur = (rlim_t)next;
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    for (int i = 0; i < 3; i++)
        EXPECT(hawser_recv_fds(receiver, buffer, sizeof buffer, into, MOST, 5 * SECOND, &size, &n), -EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    recv_files(receiver, 1, 50, 3);
    recv_files(receiver, 2, 60, 2);
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- What is shared travels as a ticket, and what it leads to is the same at both ends ---- */

static void send_ticket(hawser_channel *channel, const char *what, int ticket) {
    EXPECT(hawser_send_fds(channel, what, strlen(what), &ticket, 1, HAWSER_FOREVER), 0);
    close(ticket);
}

static void share_region(hawser_channel *channel) {
    hawser_region *region;
    int ticket;
    EXPECT(hawser_region_open("region://", NULL, 8, &region), 0);
    EXPECT(hawser_region_export(region, HAWSER_REGION_WRITE, &ticket), 0);
    send_ticket(channel, "region", ticket);
    recv_one(channel, 1, 1);
    CHECK(strcmp(hawser_region_data(region), "written") == 0);
    hawser_region_close(region);
}

static void share_semaphore(hawser_channel *channel) {
    hawser_semaphore *semaphore;
    int ticket;
    EXPECT(hawser_semaphore_open("sem://", NULL, 1, &semaphore), 0);
    EXPECT(hawser_semaphore_export(semaphore, &ticket), 0);
    send_ticket(channel, "semaphore", ticket);
    recv_one(channel, 2, 1);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), -EAGAIN);
    hawser_semaphore_close(semaphore);
}

static void share_cell(hawser_channel *channel) {
    hawser_cell *cell;
    int ticket;
    EXPECT(hawser_cell_create("cell://", NULL, 8, &cell), 0);
    EXPECT(hawser_cell_export(cell, &ticket), 0);
    send_ticket(channel, "cell", ticket);
    EXPECT(hawser_cell_set(cell, "latest", 7), 0);
    recv_one(channel, 3, 1);
    hawser_cell_close(cell);
}

static void sharer(struct side *side) {
    share_region(side->channel);
    share_semaphore(side->channel);
    share_cell(side->channel);
}

static int recv_ticket(hawser_channel *channel) {
    char buffer[16];
    int ticket = -1;
    size_t size, n;
    EXPECT(hawser_recv_fds(channel, buffer, sizeof buffer, &ticket, 1, 10 * SECOND, &size, &n), 0);
    CHECK(n == 1);
    return ticket;
}

static void adopter(struct side *side) {
    char value[8] = "";
    hawser_region *region;
    hawser_semaphore *semaphore;
    hawser_cell *cell;
    int ticket = recv_ticket(side->channel);
    EXPECT(hawser_region_adopt(ticket, NULL, &region), 0);
    memcpy(hawser_region_data(region), "written", 8);
    send_one(side->channel, 1, 1);
    CHECK(close(ticket) == 0);
    ticket = recv_ticket(side->channel);
    EXPECT(hawser_semaphore_adopt(ticket, NULL, &semaphore), 0);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0);
    send_one(side->channel, 2, 1);
    CHECK(close(ticket) == 0);
    ticket = recv_ticket(side->channel);
    EXPECT(hawser_cell_adopt(ticket, NULL, &cell), 0);
    EXPECT(hawser_cell_wait(cell, 0, 10 * SECOND, NULL), 0);
    EXPECT(hawser_cell_get(cell, value, sizeof value, NULL, NULL), 0);
    CHECK(strcmp(value, "latest") == 0);
    send_one(side->channel, 3, 1);
    CHECK(close(ticket) == 0);
    hawser_region_close(region);
    hawser_semaphore_close(semaphore);
    hawser_cell_close(cell);
}

static void what_is_shared(struct cell *cell) { meet_both_ways(cell, "", sharer, adopter); }

static void refused(struct cell *cell) {
    hawser_channel *sender, *receiver;
    char buffer[100];
    int into[MOST];
    size_t size, n;
    CHECK(!can(cell, HAWSER_CAN_DESCRIPTORS));
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send_fds(sender, "x", 1, (int[]){ 0 }, 1, HAWSER_FOREVER), -EOPNOTSUPP);
    EXPECT(hawser_recv_fds(receiver, buffer, sizeof buffer, into, MOST, HAWSER_NOW, &size, &n), -EOPNOTSUPP);
    send_one(sender, 0, 10);
    recv_one(receiver, 0, 10);
    hawser_close(sender);
    hawser_close(receiver);
}

const struct promise descriptors_promises[] = {
    { "with_messages", with_messages, (unsigned)~(SHM | UNIX), PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "closed_when_unwanted", closed_when_unwanted, (unsigned)~(SHM | UNIX), PLAIN | TIGHT, false, 0 },
    { "answers", answers, (unsigned)~(SHM | UNIX), PLAIN, false, 0 },
    { "what_is_shared", what_is_shared, (unsigned)~(SHM | UNIX), PLAIN, false, 0 },
    { "none_free", none_free, (unsigned)~(SHM | UNIX), PLAIN | TIGHT, false, 0 },
    { "refused", refused, SHM | UNIX, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
