/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* After fork a channel belongs to the process that used it. */

#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void refused_sending(struct cell *cell, hawser_channel *channel) {
    char byte = 0;
    size_t size;
    void *lent;
    hawser_message message = { .data = &byte, .size = 1 };
    EXPECT(hawser_send(channel, "x", 1, HAWSER_NOW), -EPERM);
    EXPECT(hawser_send(channel, "x", 1, HAWSER_FOREVER), -EPERM);
    EXPECT(hawser_send_many(channel, &message, 1, HAWSER_FOREVER, &size), -EPERM);
    EXPECT(hawser_loan(channel, 1, HAWSER_FOREVER, &lent), -EPERM);
    EXPECT(hawser_shutdown(channel), -EPERM);
    if (!can(cell, HAWSER_CAN_SYNC))
        return;
    EXPECT(hawser_send_sync(channel, "x", 1, HAWSER_FOREVER), -EPERM);
    EXPECT(hawser_flush(channel, HAWSER_FOREVER), -EPERM);
}

static void refused_receiving(hawser_channel *channel) {
    char byte;
    size_t size;
    int fd;
    hawser_message message;
    struct hawser_peer peer = HAWSER_PEER_INIT;
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size), -EPERM);
    EXPECT(hawser_take(channel, HAWSER_FOREVER, &message), -EPERM);
    EXPECT(hawser_take_many(channel, &message, 1, HAWSER_FOREVER, &size), -EPERM);
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), -EPERM);
    EXPECT(hawser_arm(channel), -EPERM);
    EXPECT(hawser_fd(channel, &fd), -EPERM);
    EXPECT(hawser_peer(channel, &peer), -EPERM);
}

/* The copy is refused everything, and its close is noticed by nobody. */
static void copy_refused(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    send_one(sender, 0, 100);
    pid_t child = fork_child();
    if (child == 0) {
        refused_sending(cell, sender);
        refused_receiving(receiver);
        hawser_interrupt(sender); /* of no effect on the owner */
        hawser_close(sender);
        hawser_close(receiver);
        exit(0);
    }
    reap(child);
    recv_one(receiver, 0, 100);
    for (uint64_t i = 1; i < 500; i++) {
        send_one(sender, i, 1000);
        recv_one(receiver, i, 1000);
    }
    if (can(cell, HAWSER_CAN_TWO_WAY)) {
        send_one(receiver, 1, 10);
        recv_one(sender, 1, 10);
    }
    hawser_close(sender);
    char byte;
    size_t size;
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    hawser_close(receiver);
}

/* The peer of the forking process sees nothing of a child that comes and goes, nor of one that lives on. */
static void forking_act(struct side *side) {
    for (uint64_t round = 0; round < 10; round++) {
        send_one(side->channel, round, 2000);
        pid_t child = fork_child();
        if (child == 0) {
            hawser_close(side->channel);
            exit(0);
        }
        send_one(side->channel, round + 100, 2000);
        reap(child);
    }
}

static void forked_from_act(struct side *side) {
    for (uint64_t round = 0; round < 10; round++) {
        recv_one(side->channel, round, 2000);
        recv_one(side->channel, round + 100, 2000);
    }
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void unnoticed(struct cell *cell) { meet_both_ways(cell, "", forking_act, forked_from_act); }

/* The child keeps its copies while the owner says goodbye: the goodbye is heard all the same. */
static void kept_copy_act(struct side *side) {
    send_one(side->channel, 0, 10);
    pid_t child = fork_child();
    if (child == 0) {
        hear(side);
        exit(0);
    }
    side->channel = hawser_close(side->channel);
    reap(child);
}

static void kept_copy_peer(struct side *side) {
    char byte;
    size_t size;
    recv_one(side->channel, 0, 10);
    EXPECT(hawser_recv(side->channel, &byte, 1, 10 * SECOND, &size), -ESHUTDOWN);
    tell(side);
}

static void kept_copy(struct cell *cell) { meet_both_ways(cell, "", kept_copy_act, kept_copy_peer); }

static void listener_copy(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel;
        EXPECT(hawser_accept(listener, HAWSER_FOREVER, &channel), -EPERM);
        hawser_listener_close(listener); /* the name stays */
        exit(0);
    }
    reap(child);
    pid_t second = fork_child();
    if (second == 0) {
        hawser_listener_close(listener);
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, 3, 30);
        hawser_close(channel);
        exit(0);
    }
    hawser_channel *channel = accept_one(listener);
    recv_one(channel, 3, 30);
    hawser_close(channel);
    hawser_listener_close(listener);
    reap(second);
}

/* ---- pairs ---- */

static void pair_new(struct cell *cell, hawser_channel **ret_a, hawser_channel **ret_b) {
    char address[HAWSER_ADDRESS_MAX];
    address_new(cell, "", address);
    EXPECT(hawser_pair(address, NULL, ret_a, ret_b), 0);
}

static void converse(hawser_channel *channel, bool first) {
    for (uint64_t i = 0; i < 300; i++) {
        size_t size = i % 30 ? i : 60000;
        if (first)
            send_one(channel, i, size);
        recv_one(channel, i, size);
        if (!first)
            send_one(channel, i, size);
    }
}

static void pair_forked(struct cell *cell) {
    hawser_channel *a, *b;
    pair_new(cell, &a, &b);
    pid_t child = fork_child();
    if (child == 0) {
        converse(b, false);
        EXPECT(hawser_send(a, "x", 1, HAWSER_FOREVER), -EPERM); /* the parent has used it by now */
        hawser_close(a);
        hawser_close(b);
        exit(0);
    }
    converse(a, true);
    EXPECT(hawser_send(b, "x", 1, HAWSER_FOREVER), -EPERM);
    hawser_close(b);
    char byte;
    size_t size;
    EXPECT(hawser_recv(a, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    reap(child);
    hawser_close(a);
}

static void pair_swapped(struct cell *cell) {
    hawser_channel *a, *b;
    pair_new(cell, &a, &b);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_close(b);
        converse(a, true);
        hawser_close(a);
        exit(0);
    }
    hawser_close(a);
    converse(b, false);
    reap(child);
    hawser_close(b);
}

/* Each end goes to a process of its own and the parent keeps nothing. */
static void pair_siblings(struct cell *cell) {
    hawser_channel *ends[2];
    pair_new(cell, &ends[0], &ends[1]);
    pid_t children[2];
    for (int k = 0; k < 2; k++) {
        children[k] = fork_child();
        if (children[k] == 0) {
            hawser_close(ends[1 - k]);
            converse(ends[k], k == 0);
            hawser_close(ends[k]);
            exit(0);
        }
    }
    hawser_close(ends[0]);
    hawser_close(ends[1]);
    reap(children[0]);
    reap(children[1]);
}

/* Two processes reach for the same end at once: exactly one has it. */
static void pair_race(struct cell *cell) {
    for (int round = 0; round < 20; round++) {
        hawser_channel *a, *b;
        pair_new(cell, &a, &b);
        uint64_t *gate = &cell->shared[0], *winners = &cell->shared[1];
        *gate = *winners = 0;
        pid_t child = fork_child();
        __atomic_add_fetch(gate, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(gate, __ATOMIC_SEQ_CST) < 2)
            continue;
        if (EXPECT_EITHER(hawser_send(a, "x", 1, 5 * SECOND), 0, -EPERM) == 0)
            __atomic_add_fetch(winners, 1, __ATOMIC_SEQ_CST);
        if (child == 0) {
            hawser_close(a);
            hawser_close(b);
            exit(0);
        }
        reap(child);
        CHECK(*winners == 1);
        char byte;
        size_t size;
        EXPECT(hawser_recv(b, &byte, 1, 5 * SECOND, &size), 0);
        hawser_close(a);
        hawser_close(b);
    }
}

/* Both ends in one process, and an end closed before its first use. */
static void pair_here(struct cell *cell) {
    hawser_channel *a, *b;
    pair_new(cell, &a, &b);
    for (uint64_t i = 0; i < 200; i++) {
        send_one(a, i, i);
        send_one(b, i, i);
        recv_one(b, i, i);
        recv_one(a, i, i);
    }
    hawser_close(a);
    char byte;
    size_t size;
    EXPECT(hawser_recv(b, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    hawser_close(b);
    pair_new(cell, &a, &b);
    hawser_close(a);
    EXPECT_EITHER(hawser_recv(b, &byte, 1, 5 * SECOND, &size), -ESHUTDOWN, -ECONNRESET);
    hawser_close(b);
    pair_new(cell, &a, &b);
    hawser_close(b);
    hawser_close(a);
}

const struct promise fork_promises[] = {
    { "copy_refused", copy_refused, 0, PLAIN | LADDER | MANY, false, 0 },
    { "unnoticed", unnoticed, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "kept_copy", kept_copy, 0, PLAIN | LADDER, false, 0 },
    { "listener_copy", listener_copy, 0, PLAIN, false, 0 },
    { "pair_forked", pair_forked, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "pair_swapped", pair_swapped, FIFO, PLAIN | LADDER, false, 0 },
    { "pair_siblings", pair_siblings, FIFO, PLAIN | LADDER, false, 0 },
    { "pair_race", pair_race, FIFO, PLAIN, false, 0 },
    { "pair_here", pair_here, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
