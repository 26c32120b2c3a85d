/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The largest message, the full queue, the buffer that is too small, and the outbox. */

#include "suite.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 40000 };

static void refuse(hawser_channel *channel, size_t size) {
    void *lent = NULL;
    size_t sent = 77;
    hawser_message message = { .data = noise(0), .size = size };
    EXPECT(hawser_send(channel, noise(0), size, HAWSER_FOREVER), -EMSGSIZE);
    EXPECT(hawser_loan(channel, size, HAWSER_FOREVER, &lent), -EMSGSIZE);
    EXPECT(hawser_send_many(channel, &message, 1, HAWSER_FOREVER, &sent), -EMSGSIZE);
    CHECK(!lent && sent == 77);
}

static void own_limit_sender(struct side *side) {
    send_one(side->channel, 0, LIMIT);
    refuse(side->channel, LIMIT + 1);
    send_one(side->channel, 1, LIMIT);
    refuse(side->channel, NOISE);
    send_one(side->channel, 2, 5);
}

static void own_limit_receiver(struct side *side) {
    recv_one(side->channel, 0, LIMIT);
    recv_one(side->channel, 1, LIMIT);
    recv_one(side->channel, 2, 5);
}

static void own_limit(struct cell *cell) {
    meet_both_ways(cell, "max_message=40000", own_limit_sender, own_limit_receiver);
}

/* Only the receiver has the limit: the sender learns of it at the hello, but for the one-way fifo. */
static void peers_limit(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "max_message=40000");
    pid_t child = fork_child();
    if (child == 0) {
        struct side side = { .channel = connect_bound(cell, "") };
        own_limit_sender(&side);
        hawser_close(side.channel);
        exit(0);
    }
    struct side side = { .channel = accept_one(listener) };
    own_limit_receiver(&side);
    hawser_close(side.channel);
    hawser_listener_close(listener);
    reap(child);
}

/* A peer that announces more than it may: -EPROTO, for good. */
static void announced(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "max_message=1000");
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, 0, 1000);
        EXPECT_EITHER(hawser_send(channel, noise(1), 1001, HAWSER_FOREVER), 0, -EPIPE);
        hawser_close(channel);
        exit(0);
    }
    hawser_channel *channel = accept_one(listener);
    recv_one(channel, 0, 1000);
    char buffer[2000];
    size_t size;
    EXPECT(hawser_recv(channel, buffer, sizeof buffer, HAWSER_FOREVER, &size), -EPROTO);
    EXPECT(hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size), -EPROTO);
    hawser_close(channel);
    hawser_listener_close(listener);
    reap(child);
}

/* ---- the default: 64 MiB ---- */

static const size_t most = (size_t)64 << 20;

static void default_sender(struct side *side) {
    uint8_t *data = malloc(most + 1);
    CHECK(data);
    for (size_t at = 0; at < most; at += NOISE)
        memcpy(data + at, noise(at / NOISE), NOISE);
    EXPECT(hawser_send(side->channel, data, most + 1, HAWSER_FOREVER), -EMSGSIZE);
    EXPECT(hawser_send(side->channel, data, most, HAWSER_FOREVER), 0);
    free(data);
    send_one(side->channel, 3, 10);
}

static void default_receiver(struct side *side) {
    uint8_t *data = malloc(most);
    size_t size = 0;
    CHECK(data);
    EXPECT(hawser_recv(side->channel, data, most, HAWSER_FOREVER, &size), 0);
    CHECK(size == most);
    for (size_t at = 0; at < most; at += NOISE)
        check_bytes(data + at, NOISE, at / NOISE, NOISE);
    free(data);
    recv_one(side->channel, 3, 10);
}

static void default_limit(struct cell *cell) { meet_both_ways(cell, "", default_sender, default_receiver); }

/* ---- a buffer too small ---- */

static void too_small_of(hawser_channel *sender, hawser_channel *receiver, size_t size) {
    static uint8_t buffer[NOISE];
    const size_t capacities[] = { 0, 1, size / 2, size - 1 };
    send_one(sender, 5, size);
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        size_t need = 0;
        EXPECT(hawser_recv(receiver, buffer, capacities[i], 5 * SECOND, &need), -EMSGSIZE);
        CHECK(need == size);
    }
    recv_one(receiver, 5, size);
}

static void too_small(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    too_small_of(sender, receiver, 2);
    too_small_of(sender, receiver, 300);
    too_small_of(sender, receiver, 1500);
    hawser_close(sender);
    hawser_close(receiver);
}

/* The same of one that takes many steps to arrive. */
static void too_small_large_receiver(struct side *side) {
    static uint8_t buffer[NOISE];
    for (size_t capacity = 0; capacity < NOISE; capacity += NOISE / 4) {
        size_t need = 0;
        EXPECT(hawser_recv(side->channel, buffer, capacity, HAWSER_FOREVER, &need), -EMSGSIZE);
        CHECK(need == NOISE);
    }
    recv_one(side->channel, 5, NOISE);
    recv_one(side->channel, 6, 1);
}

static void too_small_large_sender(struct side *side) {
    send_one(side->channel, 5, NOISE);
    send_one(side->channel, 6, 1);
}

static void too_small_large(struct cell *cell) {
    meet_both_ways(cell, "", too_small_large_sender, too_small_large_receiver);
}

/* ---- full ---- */

static void full_of(hawser_channel *sender, hawser_channel *receiver, size_t size, bool over_tcp) {
    uint64_t number = 0;
    for (int round = 0; round < 2; round++) {
        uint64_t n = fill(sender, number, size);
        CHECK(n >= 1);
        int64_t began = now_ns();
        int status;
        while ((status = hawser_send(sender, noise(number + n), size, 20 * MS)) == 0 && over_tcp) { /* see settling_ns() */
            began = now_ns();
            n++;
        }
        EXPECT(status, -ETIMEDOUT);
        CHECK(now_ns() - began >= 20 * MS);
        EXPECT(hawser_send(sender, noise(number + n), size, HAWSER_NOW), -EAGAIN);
        drain(sender, receiver, number, n, size);
        char byte;
        size_t got;
        EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &got), -EAGAIN);
        number += n;
    }
}

/* A million single bytes fill a TCP connection, a system call each: for the long run. */
static void full(struct cell *cell) {
    bool over_tcp = cell->place->mechanism == TCP;
    const size_t sizes[] = { over_tcp && !suite_long ? 200 : 1, 64, 1000, 5000, 100000 };
    size_t step = cell->place->kind == PLAIN ? 1 : 2;
    for (size_t i = step - 1; i < sizeof sizes / sizeof sizes[0]; i += step) {
        hawser_channel *sender, *receiver;
        ends_open(cell, "", &sender, &receiver);
        full_of(sender, receiver, sizes[i], over_tcp);
        hawser_close(sender);
        hawser_close(receiver);
    }
}

/* The sender's queue is full while the receiver begins to drain it. */
static void full_sender(struct side *side) {
    uint64_t n = fill(side->channel, 0, 1000);
    side->cell->shared[0] = n;
    tell(side);
    for (uint64_t i = n; i < n + 2000; i++)
        send_one(side->channel, i, 1000);
}

static void full_receiver(struct side *side) {
    hear(side);
    until_asleep(side->other);
    uint64_t n = side->cell->shared[0] + 2000;
    for (uint64_t i = 0; i < n; i++)
        recv_one(side->channel, i, 1000);
    char byte;
    size_t got;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &got), -ESHUTDOWN);
}

static void full_wait(struct cell *cell) { meet_both_ways(cell, "", full_sender, full_receiver); }

/* ---- outbox: each of the calls that must move it on ---- */

static int move_by_send(hawser_channel *channel) { return hawser_send(channel, noise(1), 10, HAWSER_NOW); }

static int move_by_poll(hawser_channel *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_OUT };
    int n = hawser_poll(&item, 1, HAWSER_NOW);
    return n == 1 ? 0 : n;
}

static int move_by_arm(hawser_channel *channel) {
    int fd;
    EXPECT(hawser_fd(channel, &fd), 0);
    int status = hawser_arm(channel);
    return status < 0 ? status : -EAGAIN;
}

static int move_by_recv(hawser_channel *channel) {
    char byte;
    size_t size;
    return hawser_recv(channel, &byte, 1, HAWSER_NOW, &size);
}

/* A message far over any kernel buffer counts as sent once it has begun, and one of the movers brings it over. */
static void outbox_by(struct cell *cell, int (*mover)(hawser_channel *channel)) {
    static uint8_t buffer[NOISE];
    hawser_channel *sender, *receiver;
    size_t size = 0;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send(sender, noise(0), NOISE, HAWSER_NOW), 0);
    int64_t deadline = now_ns() + 10 * SECOND;
    for (unsigned tries = 0;; tries++) { /* a busy machine may grant few in all the time: a try moves 64 bytes or more */
        int status = hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size);
        if (status == 0)
            break;
        EXPECT(status, -EAGAIN);
        EXPECT_EITHER(mover(sender), 0, -EAGAIN);
        if (now_ns() > deadline && tries > NOISE / 64)
            fail(__FILE__, __LINE__, "the outbox does not move");
    }
    check_bytes(buffer, size, 0, NOISE);
    hawser_close(sender);
    hawser_close(receiver);
}

static void outbox_send(struct cell *cell) { outbox_by(cell, move_by_send); }
static void outbox_poll(struct cell *cell) { outbox_by(cell, move_by_poll); }
static void outbox_arm(struct cell *cell) { outbox_by(cell, move_by_arm); }
static void outbox_recv(struct cell *cell) { outbox_by(cell, move_by_recv); }

static void *close_thread(void *argument) {
    hawser_close(argument);
    return NULL;
}

static void outbox_close(struct cell *cell) {
    hawser_channel *sender, *receiver;
    pthread_t thread;
    ends_open(cell, "linger=10s", &sender, &receiver);
    EXPECT(hawser_send(sender, noise(0), NOISE, HAWSER_NOW), 0);
    CHECK(pthread_create(&thread, NULL, close_thread, sender) == 0);
    recv_one(receiver, 0, NOISE);
    pthread_join(thread, NULL);
    hawser_close(receiver);
}

const struct promise limits_promises[] = {
    { "own_limit", own_limit, 0, PLAIN | TIGHT, false, 0 },
    { "peers_limit", peers_limit, FIFO, PLAIN | TIGHT, false, 0 },
    { "announced", announced, SHM | PIPE | UNIX | TCP | MQ | SYSV, PLAIN, false, 0 },
    { "default_limit", default_limit, 0, PLAIN, false, 40 },
    { "too_small", too_small, 0, PLAIN, false, 0 },
    { "too_small_large", too_small_large, 0, PLAIN | TIGHT, false, 0 },
    { "full", full, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "full_wait", full_wait, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "outbox_send", outbox_send, 0, PLAIN | TIGHT, false, 0 },
    { "outbox_poll", outbox_poll, 0, PLAIN | TIGHT, false, 0 },
    { "outbox_arm", outbox_arm, 0, PLAIN | TIGHT, false, 0 },
    { "outbox_recv", outbox_recv, FIFO, PLAIN | TIGHT, false, 0 },
    { "outbox_close", outbox_close, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
