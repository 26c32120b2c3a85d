/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* send_sync and flush: what each of their answers means. */

#include "suite.h"

#include <pthread.h>
#include <string.h>

#define TAKEN(SIDE) (&(SIDE)->cell->shared[0])

/* When send_sync returns, the peer's program has the message (it may not have counted it yet). */
static void each_sender(struct side *side) {
    *TAKEN(side) = 0;
    tell(side);
    for (uint64_t i = 0; i < amount(500, 50000); i++) {
        size_t size = i % 100 ? (size_t)(i % 700) : 300000;
        EXPECT(hawser_send_sync(side->channel, noise(i), size, HAWSER_FOREVER), 0);
        CHECK(__atomic_load_n(TAKEN(side), __ATOMIC_SEQ_CST) + 1 >= i + 1);
    }
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
}

static void each_receiver(struct side *side) {
    hear(side);
    for (uint64_t i = 0; i < amount(500, 50000); i++) {
        recv_one(side->channel, i, i % 100 ? (size_t)(i % 700) : 300000);
        __atomic_store_n(TAKEN(side), i + 1, __ATOMIC_SEQ_CST);
    }
    char byte; /* the last acknowledgement leaves inside this call */
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void each(struct cell *cell) { meet_both_ways(cell, "", each_sender, each_receiver); }

static void flush_sender(struct side *side) {
    EXPECT(hawser_flush(side->channel, HAWSER_NOW), 0); /* nothing was sent */
    for (uint64_t i = 0; i < 1000; i++) {
        send_one(side->channel, i, i % 10 ? 100 : 10000);
        if (i % 50 == 49)
            EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
    }
    EXPECT(hawser_flush(side->channel, HAWSER_NOW), 0); /* all of it was taken before */
}

static void flush_receiver(struct side *side) {
    for (uint64_t i = 0; i < 1000; i++)
        recv_one(side->channel, i, i % 10 ? 100 : 10000);
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void flush(struct cell *cell) { meet_both_ways(cell, "", flush_sender, flush_receiver); }

/* Sent, but nobody takes it: -EINPROGRESS; it is taken later, and flush then says so. */
static void untaken_sender(struct side *side) {
    EXPECT(hawser_send_sync(side->channel, noise(0), 100, 20 * MS), -EINPROGRESS);
    EXPECT(hawser_send_sync(side->channel, noise(1), 100, HAWSER_NOW), -EINPROGRESS);
    EXPECT(hawser_flush(side->channel, 20 * MS), -EINPROGRESS);
    EXPECT(hawser_flush(side->channel, HAWSER_NOW), -EINPROGRESS);
    tell(side);
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
}

static void untaken_receiver(struct side *side) {
    hear(side);
    recv_one(side->channel, 0, 100);
    hawser_message message;
    EXPECT(hawser_take(side->channel, HAWSER_FOREVER, &message), 0);
    check_bytes(message.data, message.size, 1, 100);
    EXPECT(hawser_release(side->channel, &message), 0);
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void untaken(struct cell *cell) { meet_both_ways(cell, "", untaken_sender, untaken_receiver); }

/* The queue is full: -ETIMEDOUT or -EAGAIN, and it never arrives. */
static void unsent(struct cell *cell) {
    hawser_channel *sender, *receiver;
    static uint8_t buffer[2000];
    size_t size;
    ends_open(cell, "", &sender, &receiver);
    uint64_t n = fill(sender, 0, 1000);
    EXPECT(hawser_send_sync(sender, noise(77), 1000, 20 * MS), -ETIMEDOUT);
    EXPECT(hawser_send_sync(sender, noise(77), 1000, HAWSER_NOW), -EAGAIN);
    for (uint64_t i = 0; i < n;) {
        int status = hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size);
        if (status == 0)
            check_bytes(buffer, size, i++, 1000);
        else
            EXPECT(hawser_flush(sender, HAWSER_NOW), -EINPROGRESS);
    }
    EXPECT(hawser_recv(receiver, buffer, sizeof buffer, 5 * MS, &size), -ETIMEDOUT);
    if (EXPECT_EITHER(hawser_flush(sender, HAWSER_NOW), 0, -EINPROGRESS) < 0) {
        EXPECT(hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size), -EAGAIN); /* answers what it is asked */
        EXPECT(hawser_flush(sender, 5 * SECOND), 0);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- both at once ---- */

static void both_unread_act(struct side *side) {
    char byte;
    for (uint64_t i = 0; i < 3; i++)
        EXPECT(hawser_send_sync(side->channel, noise(i), 200, 20 * MS), -EINPROGRESS);
    tell(side);
    hear(side);
    for (uint64_t i = 0; i < 3; i++)
        recv_one(side->channel, i, 200);
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
    tell(side); /* nobody closes before both have what they waited for */
    hear(side);
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    tell(side);
    hear(side);
}

/* Neither receives: each is told so in time. Then both receive, and both flush: an acknowledgement that is due leaves
 * inside the call that itself waits for one. */
static void both_unread(struct cell *cell) { meet(cell, "", both_unread_act, both_unread_act); }

static void *both_threads_sender(void *argument) {
    struct side *side = argument;
    for (uint64_t i = 0; i < 300; i++)
        EXPECT(hawser_send_sync(side->channel, noise(i), 300, HAWSER_FOREVER), 0);
    return NULL;
}

static void both_threads_act(struct side *side) {
    pthread_t sender;
    char byte;
    size_t size;
    CHECK(pthread_create(&sender, NULL, both_threads_sender, side) == 0);
    for (uint64_t i = 0; i < 300; i++)
        recv_one(side->channel, i, 300);
    pthread_join(sender, NULL);
    EXPECT(hawser_shutdown(side->channel), 0);
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void both_threads(struct cell *cell) { meet(cell, "", both_threads_act, both_threads_act); }

/* ---- read_ahead ---- */

static void nobufs_flooder(struct side *side) {
    for (uint64_t i = 0; i < 64; i++)
        if (hawser_send(side->channel, noise(i), 1000, HAWSER_NOW) == -EAGAIN)
            break;
    tell(side);
    hear(side);
}

/* The peer has sent more than read_ahead, and we do not receive: the waiter must not buffer without end. */
static void nobufs_waiter(struct side *side) {
    hear(side);
    EXPECT(hawser_send_sync(side->channel, noise(0), 10, 5 * SECOND), -ENOBUFS);
    tell(side);
    for (uint64_t i = 0; i < 5; i++)
        recv_one(side->channel, i, 1000);
}

static void nobufs(struct cell *cell) { meet(cell, "read_ahead=4K", nobufs_flooder, nobufs_waiter); }

/* ---- the peer goes without taking ---- */

/* Sees the message, and takes it not. */
static void deserter(struct side *side) {
    hawser_poll_item item = { .channel = side->channel, .events = HAWSER_IN };
    CHECK(hawser_poll(&item, 1, HAWSER_FOREVER) == 1);
    until_asleep(side->other);
    side->channel = hawser_close(side->channel);
}

static void deserted_sender(struct side *side) {
    EXPECT_EITHER(hawser_send_sync(side->channel, noise(0), 100, HAWSER_FOREVER), -ESHUTDOWN, -ECONNRESET);
    EXPECT_EITHER(hawser_flush(side->channel, HAWSER_FOREVER), -ESHUTDOWN, -ECONNRESET);
    EXPECT(hawser_send_sync(side->channel, noise(1), 100, HAWSER_FOREVER), -EPIPE); /* not sent */
    EXPECT_EITHER(hawser_flush(side->channel, HAWSER_NOW), -ESHUTDOWN, -ECONNRESET);
}

static void deserted(struct cell *cell) { meet_both_ways(cell, "", deserted_sender, deserter); }

/* A peer that took everything and then closed has acknowledged. */
static void taker(struct side *side) {
    recv_one(side->channel, 0, 100);
    side->channel = hawser_close(side->channel);
}

static void taken_sender(struct side *side) { EXPECT(hawser_send_sync(side->channel, noise(0), 100, HAWSER_FOREVER), 0); }

static void taken_then_closed(struct cell *cell) { meet_both_ways(cell, "", taken_sender, taker); }

/* What it took of its own accord counts too, and what was sent to nobody does not. */
static void flushing_late_sender(struct side *side) {
    char byte;
    size_t size;
    send_one(side->channel, 0, 100);
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
    int status;
    while ((status = hawser_send_sync(side->channel, noise(1), 100, HAWSER_FOREVER)) == -ESHUTDOWN)
        continue;
    EXPECT(status, -EPIPE);
}

static void flushed_late(struct cell *cell) { meet_both_ways(cell, "", flushing_late_sender, taker); }

static void idle_flusher(struct side *side) {
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
}

static void leaver(struct side *side) { side->channel = hawser_close(side->channel); }

static void flush_of_nothing(struct cell *cell) { meet_both_ways(cell, "", idle_flusher, leaver); }

/* Asking is no message: it is answered also when the last one was sent. */
static void flushing_shut_sender(struct side *side) {
    send_one(side->channel, 0, 100);
    EXPECT(hawser_shutdown(side->channel), 0);
    EXPECT(hawser_flush(side->channel, HAWSER_FOREVER), 0);
    tell(side);
}

static void shut_receiver(struct side *side) {
    char byte;
    size_t size;
    recv_one(side->channel, 0, 100);
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    hear(side);
}

static void flushed_after_shutdown(struct cell *cell) { meet_both_ways(cell, "", flushing_shut_sender, shut_receiver); }

const struct promise sync_promises[] = {
    { "each", each, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "flush", flush, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "untaken", untaken, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "unsent", unsent, FIFO, PLAIN | LADDER | TIGHT, false, 0 },
    { "both_unread", both_unread, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "both_threads", both_threads, FIFO, PLAIN | LADDER | MANY, false, 0 }, /* tight: -ENOBUFS is right while the other thread lags */
    { "nobufs", nobufs, (unsigned)~(UNIX | TCP), PLAIN, false, 0 },
    { "deserted", deserted, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "taken_then_closed", taken_then_closed, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "flushed_late", flushed_late, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "flushed_after_shutdown", flushed_after_shutdown, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "flush_of_nothing", flush_of_nothing, FIFO, PLAIN | MANY, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
