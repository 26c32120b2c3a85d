/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* HAWSER_NOW, a short timeout and HAWSER_FOREVER at every call that can wait. */

#include "suite.h"

#include <stdlib.h>

enum waiter { W_RECV, W_TAKE, W_TAKE_MANY, W_POLL, WAITERS };

static int wait_by(enum waiter waiter, hawser_channel *channel, int64_t timeout) {
    static char buffer[100];
    size_t size;
    hawser_message message;
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    int status = -EINVAL;
    switch (waiter) {
    case W_RECV: return hawser_recv(channel, buffer, sizeof buffer, timeout, &size);
    case W_TAKE: status = hawser_take(channel, timeout, &message); break;
    case W_TAKE_MANY: status = hawser_take_many(channel, &message, 1, timeout, &size); break;
    case W_POLL:
        status = hawser_poll(&item, 1, timeout);
        return status == 1 ? hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size) : status;
    case WAITERS: break;
    }
    if (status == 0)
        CHECK(hawser_release(channel, &message) == 0);
    return status;
}

/* No sooner than asked; how much later is the machine's business, so only a gross delay counts. */
#define EXPECT_AFTER(CALL, TIMEOUT, WANTED)             \
    do {                                                \
        int64_t began_ = now_ns();                      \
        EXPECT(CALL, WANTED);                           \
        int64_t took_ = now_ns() - began_;              \
        CHECK(took_ >= (TIMEOUT));                      \
        CHECK(took_ <= (TIMEOUT) + 2 * SECOND);         \
    } while (0)

static void nothing_comes(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    for (enum waiter waiter = 0; waiter < WAITERS; waiter++) {
        EXPECT(wait_by(waiter, receiver, HAWSER_NOW), -EAGAIN);
        EXPECT_AFTER(wait_by(waiter, receiver, MS), MS, -ETIMEDOUT);
        EXPECT_AFTER(wait_by(waiter, receiver, 30 * MS), 30 * MS, -ETIMEDOUT);
        EXPECT_EITHER(wait_by(waiter, receiver, 1), -ETIMEDOUT, -ETIMEDOUT);
    }
    if (can(cell, HAWSER_CAN_TWO_WAY))
        for (enum waiter waiter = 0; waiter < WAITERS; waiter++)
            EXPECT_AFTER(wait_by(waiter, sender, 10 * MS), 10 * MS, -ETIMEDOUT);
    hawser_close(sender);
    hawser_close(receiver);
}

static void no_room(struct cell *cell) {
    hawser_channel *sender, *receiver;
    void *lent;
    size_t sent;
    hawser_message message = { .data = noise(0), .size = 1000 };
    hawser_poll_item item = { .channel = NULL, .events = HAWSER_OUT };
    ends_open(cell, "linger=10ms", &sender, &receiver);
    fill(sender, 0, 1000);
    EXPECT_AFTER(hawser_send(sender, noise(0), 1000, 20 * MS), 20 * MS, -ETIMEDOUT);
    EXPECT_AFTER(hawser_send_many(sender, &message, 1, 20 * MS, &sent), 20 * MS, -ETIMEDOUT);
    EXPECT(hawser_send_many(sender, &message, 1, HAWSER_NOW, &sent), -EAGAIN);
    int status = hawser_loan(sender, 1000, 20 * MS, &lent); /* memory of the channel's own has room still */
    if (status == 0)
        EXPECT(hawser_discard(sender, lent), 0);
    else
        EXPECT(status, -ETIMEDOUT);
    fill(sender, 0, 1);
    item.channel = sender;
    EXPECT_AFTER(hawser_poll(&item, 1, 20 * MS), 20 * MS, -ETIMEDOUT);
    EXPECT(hawser_poll(&item, 1, HAWSER_NOW), -EAGAIN);
    hawser_close(sender);
    hawser_close(receiver);
}

/* Whoever waits without end gets what comes late. */
static void late_sender(struct side *side) {
    for (int k = 0; k < 8; k++) {
        hear(side);
        until_asleep(side->other);
        send_one(side->channel, (uint64_t)k, 10);
    }
}

static void late_receiver(struct side *side) {
    for (int k = 0; k < 8; k++) {
        tell(side);
        EXPECT(wait_by((enum waiter)(k % WAITERS), side->channel, k < 4 ? HAWSER_FOREVER : 10 * SECOND), 0);
    }
}

static void late_data(struct cell *cell) { meet_both_ways(cell, "", late_sender, late_receiver); }

/* What is there is found at once, however the calls before it waited. */
static void there_sender(struct side *side) {
    const hawser_message two[2] = { { .data = noise(0), .size = 10 }, { .data = noise(1), .size = 10 } };
    size_t sent;
    for (int k = 0; k < WAITERS; k++) {
        hear(side);
        until_asleep(side->other);
        EXPECT(hawser_send_many(side->channel, two, 2, HAWSER_FOREVER, &sent), 0);
        CHECK(sent == 2);
        recv_one(side->channel, 2, 10);
        send_one(side->channel, 3, 10);
        tell(side);
    }
}

static void there_receiver(struct side *side) {
    for (enum waiter waiter = 0; waiter < WAITERS; waiter++) {
        tell(side);
        recv_one(side->channel, 0, 10); /* asleep */
        send_one(side->channel, 2, 10);
        recv_one(side->channel, 1, 10); /* the first read brought it, too */
        hear(side);
        EXPECT(wait_by(waiter, side->channel, HAWSER_NOW), 0);
    }
}

static void briefly_sender(struct side *side) {
    hear(side);
    until_asleep(side->other);
    send_one(side->channel, 0, 10);
    recv_one(side->channel, 1, 10);
    send_one(side->channel, 2, 10);
    tell(side);
}

static void briefly_receiver(struct side *side) {
    tell(side);
    recv_one(side->channel, 0, 10); /* asleep */
    send_one(side->channel, 1, 10);
    hear(side);
    EXPECT(wait_by(W_RECV, side->channel, 1), 0);
}

static void there(struct cell *cell) {
    meet_both_ways(cell, "", briefly_sender, briefly_receiver);
    meet_both_ways(cell, "", there_sender, there_receiver);
}

static void wrong(struct cell *cell) {
    hawser_channel *sender, *receiver, *other;
    hawser_listener *listener = listen_new(cell, "");
    char byte = 0, address[HAWSER_ADDRESS_MAX];
    size_t size;
    hawser_message message = { .data = &byte, .size = 1 };
    void *lent;
    address_bound(cell, "", address);
    EXPECT(hawser_connect(address, NULL, -2, &other), -EINVAL);
    EXPECT(hawser_accept(listener, -2, &other), -EINVAL);
    hawser_listener_close(listener);
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send(sender, "x", 1, -2), -EINVAL);
    EXPECT(hawser_send_many(sender, &message, 1, INT64_MIN, &size), -EINVAL);
    EXPECT(hawser_loan(sender, 1, -2, &lent), -EINVAL);
    EXPECT(hawser_recv(receiver, &byte, 1, -2, &size), -EINVAL);
    EXPECT(hawser_take(receiver, -2, &message), -EINVAL);
    EXPECT(hawser_take_many(receiver, &message, 1, -2, &size), -EINVAL);
    EXPECT(hawser_poll(NULL, 0, -2), -EINVAL);
    EXPECT(hawser_send(NULL, "x", 1, 0), -EINVAL);
    EXPECT(hawser_send(sender, NULL, 1, 0), -EINVAL);
    EXPECT(hawser_recv(NULL, &byte, 1, 0, &size), -EINVAL);
    EXPECT(hawser_recv(receiver, NULL, 1, 0, &size), -EINVAL);
    EXPECT(hawser_send_many(sender, &message, 0, 0, &size), -EINVAL);
    EXPECT(hawser_take_many(receiver, &message, 0, 0, &size), -EINVAL);
    EXPECT(hawser_connect(NULL, NULL, 0, &other), -EINVAL);
    EXPECT(hawser_listen(NULL, NULL, &listener), -EINVAL);
    EXPECT(hawser_accept(NULL, 0, &other), -EINVAL);
    CHECK(!hawser_close(NULL) && !hawser_listener_close(NULL) && !hawser_listener_address(NULL));
    hawser_interrupt(NULL);
    hawser_listener_interrupt(NULL);
    send_one(sender, 0, 10); /* and nothing of it did any harm */
    recv_one(receiver, 0, 10);
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- connect and accept ---- */

static void nobody(struct cell *cell) {
    hawser_channel *channel = NULL;
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener = listen_new(cell, "");
    EXPECT(hawser_accept(listener, HAWSER_NOW, &channel), -EAGAIN);
    EXPECT_AFTER(hawser_accept(listener, 20 * MS, &channel), 20 * MS, -ETIMEDOUT);
    address_bound(cell, "", address);
    hawser_listener_close(listener);
    EXPECT(hawser_connect(address, NULL, HAWSER_NOW, &channel), -EAGAIN);
    EXPECT_AFTER(hawser_connect(address, NULL, 30 * MS, &channel), 30 * MS, -ETIMEDOUT);
    CHECK(!channel);
}

/* The connecting end is first and waits for the listener to come. */
static void early_connect(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    char address[HAWSER_ADDRESS_MAX];
    address_bound(cell, "", address);
    hawser_listener_close(listener);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = NULL;
        EXPECT(hawser_connect(address, NULL, HAWSER_FOREVER, &channel), 0);
        send_one(channel, 4, 44);
        hawser_close(channel);
        exit(0);
    }
    until_asleep(child);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    hawser_channel *channel = accept_one(listener);
    recv_one(channel, 4, 44);
    hawser_close(channel);
    hawser_listener_close(listener);
    reap(child);
}

const struct promise timeouts_promises[] = {
    { "nothing_comes", nothing_comes, 0, PLAIN | LADDER | MANY, false, 0 },
    { "no_room", no_room, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "late_data", late_data, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "there", there, FIFO | TCP, PLAIN | LADDER | MANY, false, 0 }, /* over tcp a message may still be on its way */
    { "wrong", wrong, 0, PLAIN | MANY, false, 0 },
    { "nobody", nobody, 0, PLAIN, false, 0 },
    { "early_connect", early_connect, 0, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
