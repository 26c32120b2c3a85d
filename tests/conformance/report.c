/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What a mechanism says of itself is what happens, and its counters count. */

#include "suite.h"

#include <stdio.h>
#include <string.h>

static void expect_capability(struct cell *cell, int capability, int status, int when_able) {
    if (can(cell, capability))
        EXPECT(status, when_able);
    else
        EXPECT(status, -EOPNOTSUPP);
}

/* The bits that a mechanism's kind must have, whatever it would like to say. */
static int demanded(enum mechanism mechanism) {
    const int local = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE;
    switch (mechanism) {
    case SHM: return local | HAWSER_CAN_ZERO_COPY | HAWSER_CAN_DESCRIPTORS;
    case UNIX: return local | HAWSER_CAN_DESCRIPTORS;
    case TCP: return HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE | HAWSER_CAN_REMOTE;
    case FIFO: return 0;
    default: return local;
    }
}

static void capabilities(struct cell *cell) {
    hawser_channel *sender, *receiver, *a = NULL, *b = NULL;
    char address[HAWSER_ADDRESS_MAX], byte;
    size_t size, n;
    int fd;
    struct hawser_peer peer = HAWSER_PEER_INIT;
    int wanted = demanded(cell->place->mechanism) | HAWSER_CAN_ORDERED;
    CHECK((hawser_capabilities(cell->place->base) & wanted) == wanted);
    address_new(cell, "", address);
    expect_capability(cell, HAWSER_CAN_PAIR, hawser_pair(address, NULL, &a, &b), 0);
    hawser_close(a);
    hawser_close(b);
    ends_open(cell, "", &sender, &receiver);
    expect_capability(cell, HAWSER_CAN_SYNC, hawser_flush(sender, HAWSER_FOREVER), 0);
    expect_capability(cell, HAWSER_CAN_SYNC, hawser_send_sync(sender, "x", 1, HAWSER_NOW), -EINPROGRESS);
    if (can(cell, HAWSER_CAN_SYNC))
        EXPECT(hawser_recv(receiver, &byte, 1, 5 * SECOND, &size), 0);
    expect_capability(cell, HAWSER_CAN_TWO_WAY, hawser_send(receiver, "x", 1, HAWSER_FOREVER), 0);
    expect_capability(cell, HAWSER_CAN_TWO_WAY, hawser_recv(sender, &byte, 1, can(cell, HAWSER_CAN_TWO_WAY) ? 5 * SECOND : 0, &size), 0);
    expect_capability(cell, HAWSER_CAN_DESCRIPTORS, hawser_send_fds(sender, "x", 1, (int[]){ 0 }, 1, HAWSER_FOREVER), 0);
    expect_capability(cell, HAWSER_CAN_DESCRIPTORS, hawser_recv_fds(receiver, &byte, 1, &fd, 1, HAWSER_FOREVER, &size, &n), 0);
    EXPECT(hawser_peer(receiver, &peer), 0);
    CHECK((peer.uid != (uid_t)-1) == can(cell, HAWSER_CAN_CREDENTIALS));
    hawser_close(sender);
    hawser_close(receiver);
}

static struct hawser_statistics counted(hawser_channel *channel) {
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    EXPECT(hawser_statistics(channel, &statistics), 0);
    return statistics;
}

static void counters(struct cell *cell) {
    hawser_channel *sender, *receiver;
    uint64_t bytes = 0;
    ends_open(cell, "", &sender, &receiver);
    for (uint64_t i = 0; i < 100; i++) {
        send_one(sender, i, i * 3);
        recv_one(receiver, i, i * 3);
        bytes += i * 3;
    }
    struct hawser_statistics of_sender = counted(sender), of_receiver = counted(receiver);
    CHECK(of_sender.messages_sent == 100 && of_sender.bytes_sent == bytes && of_sender.messages_received == 0);
    CHECK(of_receiver.messages_received == 100 && of_receiver.bytes_received == bytes && of_receiver.messages_sent == 0);
    uint64_t n = fill(sender, 0, 100);
    EXPECT(hawser_send(sender, noise(0), 100, 10 * MS), -ETIMEDOUT);
    of_sender = counted(sender);
    CHECK(of_sender.messages_sent == 100 + n && of_sender.bytes_sent == bytes + n * 100);
    CHECK(of_sender.stalls >= 1);
    if (cell->place->mechanism != SHM)
        CHECK(of_sender.system_calls >= 100 && of_receiver.system_calls >= 1);
    drain(sender, receiver, 0, n, 100);
    hawser_message message;
    void *lent;
    EXPECT(hawser_loan(sender, 500, HAWSER_FOREVER, &lent), 0);
    CHECK(counted(sender).messages_sent == 100 + n); /* lent is not sent */
    EXPECT(hawser_commit(sender, lent, 400), 0);
    EXPECT(hawser_take(receiver, HAWSER_FOREVER, &message), 0);
    EXPECT(hawser_release(receiver, &message), 0);
    CHECK(counted(sender).bytes_sent == bytes + n * 100 + 400);
    CHECK(counted(receiver).messages_received == 100 + n + 1);
    hawser_close(sender);
    hawser_close(receiver);
}

/* A receiver that must sleep for its message has slept. */
static void sleeper(struct side *side) {
    tell(side);
    recv_one(side->channel, 0, 10);
    CHECK(counted(side->channel).sleeps >= 1);
}

static void waker(struct side *side) {
    hear(side);
    while (!until_asleep(side->other)) { /* on a busy machine it may not have got so far */
    }
    send_one(side->channel, 0, 10);
}

static void sleeps(struct cell *cell) { meet_both_ways(cell, "", waker, sleeper); }

static void version(struct cell *cell) {
    char text[32];
    (void)cell;
    snprintf(text, sizeof text, "%d.%d.%d", HAWSER_VERSION_MAJOR, HAWSER_VERSION_MINOR, HAWSER_VERSION_PATCH);
    CHECK(strcmp(hawser_version(), text) == 0);
}

static void set_options(struct cell *cell) {
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_channel *a, *b;
    options.max_message = 100;
    options.wait = HAWSER_WAIT_BLOCK;
    EXPECT(hawser_pair(cell->place->base, &options, &a, &b), 0);
    EXPECT(hawser_send(a, noise(0), 101, HAWSER_FOREVER), -EMSGSIZE);
    send_one(a, 0, 100);
    recv_one(b, 0, 100);
    hawser_close(a);
    hawser_close(b);
    options.reserved[0] = 1;
    EXPECT(hawser_pair(cell->place->base, &options, &a, &b), -EINVAL);
    options = (hawser_options)HAWSER_OPTIONS_INIT;
    options.wait = 99;
    EXPECT(hawser_pair(cell->place->base, &options, &a, &b), -EINVAL);
    options = (hawser_options){ .struct_size = 3 };
    EXPECT(hawser_pair(cell->place->base, &options, &a, &b), -EINVAL);
}

const struct promise report_promises[] = {
    { "capabilities", capabilities, 0, PLAIN, false, 0 },
    { "counters", counters, 0, PLAIN | TIGHT | MANY, false, 0 },
    { "sleeps", sleeps, 0, PLAIN, false, 0 },
    { "version", version, (unsigned)~SHM, PLAIN, false, 0 },
    { "set_options", set_options, FIFO, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
