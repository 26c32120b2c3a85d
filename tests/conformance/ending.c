/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Goodbyes: close by either side at every stage, the half-close, and what linger does. SIGPIPE keeps its default
 * disposition throughout, so a single one ends the cell. */

#include "suite.h"

#include <stdlib.h>

static void expect_end(hawser_channel *channel) {
    char byte;
    size_t size;
    hawser_message message;
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_NOW, &size), -ESHUTDOWN); /* and stays so */
    EXPECT(hawser_take(channel, HAWSER_FOREVER, &message), -ESHUTDOWN);
    EXPECT(hawser_take_many(channel, &message, 1, HAWSER_NOW, &size), -ESHUTDOWN);
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
    CHECK(item.ret_events == HAWSER_IN);
}

static void expect_pipe(hawser_channel *channel) {
    int64_t deadline = now_ns() + 5 * SECOND;
    int status;
    while ((status = hawser_send(channel, noise(0), 100, SECOND)) == 0) /* the news may be under way */
        CHECK(now_ns() < deadline);
    EXPECT(status, -EPIPE);
    EXPECT(hawser_send(channel, noise(0), 100, HAWSER_FOREVER), -EPIPE);
    EXPECT(hawser_send(channel, noise(0), 100, HAWSER_NOW), -EPIPE);
}

/* ---- with messages queued ---- */

static void queued_sender(struct side *side) {
    uint64_t n = fill(side->channel, 0, 500);
    side->cell->shared[0] = n;
    tell(side);
    side->channel = hawser_close(side->channel);
}

static void queued_receiver(struct side *side) {
    hear(side);
    until_asleep(side->other);
    for (uint64_t i = 0; i < side->cell->shared[0]; i++)
        recv_one(side->channel, i, 500);
    expect_end(side->channel);
}

static void queued(struct cell *cell) { meet_both_ways(cell, "", queued_sender, queued_receiver); }

/* Gone, process and all, before the first message is received. */
static void departed_sender(struct side *side) {
    for (uint64_t i = 0; i < 5; i++)
        send_one(side->channel, i, 100);
}

static void departed_receiver(struct side *side) {
    reap(side->other);
    side->killed = true; /* reaped, if not killed */
    for (uint64_t i = 0; i < 5; i++)
        recv_one(side->channel, i, 100);
    expect_end(side->channel);
    if (can(side->cell, HAWSER_CAN_TWO_WAY))
        expect_pipe(side->channel);
}

static void departed(struct cell *cell) {
    meet_as(cell, "", true, departed_sender, departed_receiver);
    if (can(cell, HAWSER_CAN_TWO_WAY))
        meet_as(cell, "", false, departed_sender, departed_receiver);
}

/* Who was told of the end by a close is told the same by the next send. */
static void answering_receiver(struct side *side) {
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    EXPECT(hawser_send(side->channel, noise(0), 100, HAWSER_FOREVER), -EPIPE);
}

static void plain_closer(struct side *side) { side->channel = hawser_close(side->channel); }

/* The half-close stood long before: the goodbye is found behind it. */
static void late_answering_receiver(struct side *side) {
    char byte;
    size_t size;
    hear(side);
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    EXPECT(hawser_send(side->channel, noise(0), 100, HAWSER_FOREVER), -EPIPE);
}

static void shut_closer(struct side *side) {
    EXPECT(hawser_shutdown(side->channel), 0);
    side->channel = hawser_close(side->channel);
    tell(side);
}

static void answered(struct cell *cell) {
    for (int i = 0; i < 20; i++) {
        meet_as(cell, "", true, plain_closer, answering_receiver);
        meet_as(cell, "", true, shut_closer, late_answering_receiver);
    }
}

/* ---- while the other waits ---- */

static void closer(struct side *side) {
    hear(side);
    until_asleep(side->other);
    side->channel = hawser_close(side->channel);
}

static void blocked_receiver(struct side *side) {
    tell(side);
    expect_end(side->channel);
}

static void wakes_receiver(struct cell *cell) { meet_both_ways(cell, "", closer, blocked_receiver); }

static void blocked_sender(struct side *side) {
    fill(side->channel, 0, 1000);
    tell(side);
    int status;
    while ((status = hawser_send(side->channel, noise(0), 1000, HAWSER_FOREVER)) == 0) /* a full kernel may yet make room */
        continue;
    EXPECT(status, -EPIPE);
    expect_pipe(side->channel);
}

static void wakes_sender(struct cell *cell) { meet_both_ways(cell, "", blocked_sender, closer); }

/* A large message is half over when its receiver closes. */
static void half_over_sender(struct side *side) {
    int status;
    tell(side);
    while ((status = hawser_send(side->channel, noise(0), NOISE, HAWSER_FOREVER)) == 0)
        continue;
    EXPECT(status, -EPIPE);
}

static void half_over_receiver(struct side *side) {
    hear(side);
    until_asleep(side->other);
    recv_one(side->channel, 0, NOISE);
    side->channel = hawser_close(side->channel);
}

static void half_over(struct cell *cell) { meet_both_ways(cell, "linger=50ms", half_over_sender, half_over_receiver); }

/* ---- at once ---- */

static void nothing(struct side *side) { side->channel = hawser_close(side->channel); }
static void ended(struct side *side) { expect_end(side->channel); }

static void at_once(struct cell *cell) {
    meet_both_ways(cell, "", nothing, ended);
    meet(cell, "", nothing, nothing);
}

/* Who connects gives up before anybody accepts; the listener is none the worse. */
static void before_accept(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "hello_timeout=200ms");
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = NULL;
        char address[HAWSER_ADDRESS_MAX];
        hawser_listener_close(listener);
        address_bound(cell, "linger=10ms", address);
        int status = hawser_connect(address, NULL, 20 * MS, &channel);
        if (status != 0) /* one-way and unanswered, a connection may come about without the listener's doing */
            EXPECT(status, -ETIMEDOUT);
        hawser_close(channel);
        exit(0);
    }
    reap(child);
    pid_t second = fork_child();
    if (second == 0) {
        hawser_listener_close(listener);
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, 1, 50);
        hawser_close(channel);
        exit(0);
    }
    for (bool served = false; !served;) {
        static char buffer[100];
        size_t size;
        hawser_channel *channel = accept_one(listener);
        served = EXPECT_EITHER(hawser_recv(channel, buffer, sizeof buffer, HAWSER_FOREVER, &size), 0, -ESHUTDOWN) == 0;
        hawser_close(channel);
    }
    reap(second);
    hawser_listener_close(listener);
}

/* ---- shutdown ---- */

static void half_closer(struct side *side) {
    for (uint64_t i = 0; i < 10; i++)
        send_one(side->channel, i, 300);
    EXPECT(hawser_shutdown(side->channel), 0);
    EXPECT(hawser_shutdown(side->channel), 0);
    EXPECT(hawser_send(side->channel, noise(0), 1, HAWSER_FOREVER), -EPIPE);
    void *lent;
    EXPECT(hawser_loan(side->channel, 1, HAWSER_FOREVER, &lent), -EPIPE);
    if (!can(side->cell, HAWSER_CAN_TWO_WAY))
        return;
    for (uint64_t i = 0; i < 2000; i++)
        recv_one(side->channel, i, 300);
    expect_end(side->channel);
}

static void half_open(struct side *side) {
    for (uint64_t i = 0; i < 10; i++)
        recv_one(side->channel, i, 300);
    expect_end(side->channel);
    if (!can(side->cell, HAWSER_CAN_TWO_WAY))
        return;
    for (uint64_t i = 0; i < 2000; i++)
        send_one(side->channel, i, 300);
}

static void half_close(struct cell *cell) { meet_both_ways(cell, "", half_closer, half_open); }

static void full_shutdown_sender(struct side *side) {
    uint64_t n = fill(side->channel, 0, 1000);
    side->cell->shared[0] = n;
    EXPECT(hawser_shutdown(side->channel), 0); /* with the queue full: it waits its turn, the call does not */
    tell(side);
    side->channel = hawser_close(side->channel);
}

static void full_shutdown_receiver(struct side *side) {
    hear(side);
    for (uint64_t i = 0; i < side->cell->shared[0]; i++)
        recv_one(side->channel, i, 1000);
    expect_end(side->channel);
}

static void full_shutdown(struct cell *cell) { meet_both_ways(cell, "", full_shutdown_sender, full_shutdown_receiver); }

/* The goodbye waits behind half a message, and there is nothing else to say: saying it again moves it on. */
static void shutdown_again(struct cell *cell) {
    static uint8_t buffer[NOISE];
    hawser_channel *sender, *receiver;
    size_t size;
    int status;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send(sender, noise(0), NOISE, HAWSER_NOW), 0);
    EXPECT(hawser_shutdown(sender), 0);
    int64_t deadline = now_ns() + 10 * SECOND;
    unsigned tries = 0; /* as in limits.c: the time may hold few, and each moves 64 bytes or more */
    while ((status = hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size)) != -ESHUTDOWN) {
        if (EXPECT_EITHER(status, 0, -EAGAIN) == 0)
            check_bytes(buffer, size, 0, NOISE);
        EXPECT(hawser_shutdown(sender), 0);
        CHECK(now_ns() < deadline || tries++ < NOISE / 64);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- linger ---- */

static void linger_sender(struct side *side) {
    uint64_t n = fill(side->channel, 0, 1000);
    EXPECT_EITHER(hawser_send(side->channel, noise(0), NOISE, HAWSER_NOW), 0, -EAGAIN);
    (void)n;
    int64_t began = now_ns();
    side->channel = hawser_close(side->channel);
    CHECK(now_ns() - began < 2 * SECOND);
    tell(side);
}

static void linger_stuck(struct side *side) { hear(side); }

/* A receiver that never receives cannot hold a closing sender for longer than linger. */
static void linger_bounded(struct cell *cell) {
    meet_both_ways(cell, "linger=50ms", linger_sender, linger_stuck);
    meet_both_ways(cell, "linger=1ms", linger_sender, linger_stuck);
}

/* ---- what is held outlives the peer ---- */

static void held_sender(struct side *side) {
    send_one(side->channel, 0, 3000);
    send_one(side->channel, 1, 300000);
    side->channel = hawser_close(side->channel);
}

static void held_receiver(struct side *side) {
    hawser_message messages[2];
    EXPECT(hawser_take(side->channel, HAWSER_FOREVER, &messages[0]), 0);
    EXPECT(hawser_take(side->channel, HAWSER_FOREVER, &messages[1]), 0);
    expect_end(side->channel);
    check_bytes(messages[0].data, messages[0].size, 0, 3000);
    check_bytes(messages[1].data, messages[1].size, 1, 300000);
    EXPECT(hawser_release(side->channel, &messages[1]), 0);
    EXPECT(hawser_release(side->channel, &messages[0]), 0);
}

static void held(struct cell *cell) { meet_both_ways(cell, "", held_sender, held_receiver); }

const struct promise ending_promises[] = {
    { "answered", answered, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "queued", queued, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "departed", departed, 0, PLAIN | LADDER, false, 0 },
    { "wakes_receiver", wakes_receiver, 0, PLAIN | LADDER | MANY, false, 0 },
    { "wakes_sender", wakes_sender, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "half_over", half_over, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "at_once", at_once, 0, PLAIN, false, 0 },
    { "before_accept", before_accept, 0, PLAIN, false, 0 },
    { "half_close", half_close, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "full_shutdown", full_shutdown, 0, PLAIN | TIGHT, false, 0 },
    { "shutdown_again", shutdown_again, 0, PLAIN | TIGHT, false, 0 },
    { "linger_bounded", linger_bounded, 0, PLAIN, false, 0 },
    { "held", held, 0, PLAIN | TIGHT, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
