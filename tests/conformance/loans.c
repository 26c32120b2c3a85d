/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Loans and taken messages: several at once, in any order. */

#include "suite.h"

#include <string.h>

enum { SEVERAL = 8 };

static void *lend(hawser_channel *channel, size_t size) {
    void *data = NULL;
    EXPECT(hawser_loan(channel, size, HAWSER_FOREVER, &data), 0);
    CHECK(data && ((uintptr_t)data & 7) == 0);
    return data;
}

/* Lent in one order, written in another, committed in a third: they arrive in that third. */
static void several_of(hawser_channel *sender, hawser_channel *receiver, size_t size) {
    void *loans[SEVERAL];
    for (int i = 0; i < SEVERAL; i++)
        loans[i] = lend(sender, size);
    for (uint64_t i = SEVERAL; i-- > 0;)
        memcpy(loans[i], noise(i), size);
    for (uint64_t i = 0; i < SEVERAL; i++) {
        uint64_t which = (i * 3 + 1) % SEVERAL;
        EXPECT(hawser_commit(sender, loans[which], size - which), 0);
    }
    EXPECT(hawser_shutdown(sender), 0);
    for (uint64_t i = 0; i < SEVERAL; i++) {
        uint64_t which = (i * 3 + 1) % SEVERAL;
        for (;;) { /* commits may wait in the outbox, which this thread's calls must move on */
            static uint8_t buffer[NOISE];
            size_t got;
            if (EXPECT_EITHER(hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &got), 0, -EAGAIN) == 0) {
                check_bytes(buffer, got, which, size - which);
                break;
            }
            EXPECT(hawser_shutdown(sender), 0);
            hawser_poll_item item = { .channel = sender, .events = HAWSER_OUT };
            (void)!hawser_poll(&item, 1, HAWSER_NOW);
        }
    }
}

static void several(struct cell *cell) {
    const size_t sizes[] = { 8, 100, 3000, 50000 };
    for (int i = 0; i < 4; i++) {
        hawser_channel *sender, *receiver;
        ends_open(cell, "", &sender, &receiver);
        several_of(sender, receiver, sizes[i]);
        hawser_close(sender);
        hawser_close(receiver);
    }
}

static void answers(struct cell *cell) {
    hawser_channel *sender, *receiver;
    char local[8], byte;
    size_t size;
    ends_open(cell, "", &sender, &receiver);
    void *loan = lend(sender, 100);
    EXPECT(hawser_commit(sender, loan, 101), -EMSGSIZE); /* the loan stays */
    EXPECT(hawser_commit(sender, local, 1), -EINVAL);
    EXPECT(hawser_discard(sender, local), -EINVAL);
    EXPECT(hawser_commit(sender, NULL, 0), -EINVAL);
    EXPECT(hawser_discard(sender, NULL), 0);
    memcpy(loan, noise(1), 100);
    EXPECT(hawser_commit(sender, loan, 100), 0);
    EXPECT(hawser_commit(sender, loan, 100), -EINVAL); /* no loan any more */
    recv_one(receiver, 1, 100);
    loan = lend(sender, 100);
    EXPECT(hawser_discard(sender, loan), 0);
    EXPECT(hawser_discard(sender, loan), -EINVAL);
    EXPECT(hawser_recv(receiver, &byte, 1, 5 * MS, &size), -ETIMEDOUT); /* a discarded loan is no message */
    loan = lend(sender, 0);
    EXPECT(hawser_commit(sender, loan, 0), 0);
    recv_one(receiver, 0, 0);
    hawser_close(sender);
    hawser_close(receiver);
}

/* A loan may stay out while other messages pass it by. */
static void passed_by(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    void *loan = lend(sender, 500);
    memcpy(loan, noise(1000), 500);
    for (uint64_t i = 0; i < 300; i++) {
        send_one(sender, i, 50);
        recv_one(receiver, i, 50);
    }
    EXPECT(hawser_commit(sender, loan, 500), 0);
    recv_one(receiver, 1000, 500);
    (void)lend(sender, 77); /* ends with the channel */
    hawser_close(sender);
    char byte;
    size_t size;
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    hawser_close(receiver);
}

/* Loans end somewhere: by number, or by what can be had; given back, all is as before. */
static void bounded(struct cell *cell) {
    hawser_channel *sender, *receiver;
    void *loans[65];
    int n = 0, status = 0;
    ends_open(cell, "", &sender, &receiver);
    while (n < 65 && (status = hawser_loan(sender, 100, HAWSER_NOW, &loans[n])) == 0)
        n++;
    CHECK(n >= SEVERAL && n <= 64);
    EXPECT_EITHER(status, -ENOBUFS, -EAGAIN);
    for (int i = 0; i < n; i += 2)
        EXPECT(hawser_discard(sender, loans[i]), 0);
    for (int i = 1; i < n; i += 2)
        EXPECT(hawser_discard(sender, loans[i]), 0);
    send_one(sender, 3, 300);
    recv_one(receiver, 3, 300);
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- taken ---- */

static void take_number(hawser_channel *channel, uint64_t number, size_t size, hawser_message *ret_message) {
    EXPECT(hawser_take(channel, 10 * SECOND, ret_message), 0);
    check_bytes(ret_message->data, ret_message->size, number, size);
}

/* Held while others come and go, the bytes stay; released in an order of its own. */
static void held_of(hawser_channel *sender, hawser_channel *receiver, size_t size) {
    hawser_message held[SEVERAL];
    for (uint64_t i = 0; i < SEVERAL; i++) {
        send_one(sender, i, size);
        take_number(receiver, i, size, &held[i]);
    }
    for (uint64_t i = 0; i < SEVERAL; i++) {
        uint64_t which = (i * 5 + 2) % SEVERAL;
        check_bytes(held[which].data, held[which].size, which, size);
        EXPECT(hawser_release(receiver, &held[which]), 0);
        CHECK(!held[which].data);
        EXPECT(hawser_release(receiver, &held[which]), -EINVAL);
        send_one(sender, 100 + i, size / 2);
        recv_one(receiver, 100 + i, size / 2);
    }
    hawser_message never = { .data = &never, .size = 1 };
    EXPECT(hawser_release(receiver, &never), -EINVAL);
}

static void held(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    held_of(sender, receiver, 10);
    held_of(sender, receiver, 250);
    held_of(sender, receiver, 2000);
    hawser_close(sender);
    hawser_close(receiver);
}

/* Taken messages hold room; however many are held, what was sent is not lost, and close takes them all back. */
static void hoarded(struct cell *cell) {
    hawser_channel *sender, *receiver;
    static hawser_message hoard[2000];
    int n = 0;
    ends_open(cell, "linger=10ms", &sender, &receiver);
    while (n < 2000) {
        if (hawser_send(sender, noise((uint64_t)n), 500, 20 * MS) < 0)
            break;
        int status = hawser_take(receiver, 20 * MS, &hoard[n]);
        if (status < 0)
            break;
        n++;
    }
    CHECK(n >= (cell->place->kind == TIGHT ? 1 : SEVERAL));
    for (int i = 0; i < n; i++)
        check_bytes(hoard[i].data, hoard[i].size, (uint64_t)i, 500);
    for (int i = 0; i < n / 2; i++)
        EXPECT(hawser_release(receiver, &hoard[i]), 0);
    hawser_close(receiver);
    hawser_close(sender);
}

static void stable(struct cell *cell) {
    hawser_channel *sender, *receiver;
    const size_t sizes[] = { 0, 1, 300, cell->place->kind == TIGHT ? 700 : 3000 };
    ends_open(cell, "stable=yes", &sender, &receiver);
    for (uint64_t i = 0; i < 4; i++) {
        hawser_message message;
        send_one(sender, i, sizes[i]);
        take_number(receiver, i, sizes[i], &message);
        CHECK(message.stable == 1);
        EXPECT(hawser_release(receiver, &message), 0);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

static void stable_large_sender(struct side *side) {
    send_one(side->channel, 0, NOISE);
    send_one(side->channel, 1, 30000);
}

static void stable_large_receiver(struct side *side) {
    for (uint64_t i = 0; i < 2; i++) {
        hawser_message message;
        take_number(side->channel, i, i ? 30000 : NOISE, &message);
        CHECK(message.stable == 1);
        EXPECT(hawser_release(side->channel, &message), 0);
    }
}

static void stable_large(struct cell *cell) { meet_both_ways(cell, "stable=yes", stable_large_sender, stable_large_receiver); }

/* What does not lie in shared memory cannot change and must say so. */
static void stable_truth(struct cell *cell) {
    hawser_channel *sender, *receiver;
    hawser_message message;
    ends_open(cell, "", &sender, &receiver);
    send_one(sender, 0, 100);
    take_number(receiver, 0, 100, &message);
    CHECK(message.stable == (can(cell, HAWSER_CAN_ZERO_COPY) ? message.stable & 1u : 1u));
    EXPECT(hawser_release(receiver, &message), 0);
    hawser_close(sender);
    hawser_close(receiver);
}

const struct promise loans_promises[] = {
    { "several", several, 0, PLAIN | LADDER | MANY, false, 0 },
    { "answers", answers, 0, PLAIN | TIGHT | MANY, false, 0 },
    { "passed_by", passed_by, 0, PLAIN | TIGHT, false, 0 },
    { "bounded", bounded, 0, PLAIN, false, 0 },
    { "held", held, 0, PLAIN | LADDER | MANY, false, 0 },
    { "hoarded", hoarded, 0, PLAIN | TIGHT, false, 0 },
    { "stable", stable, 0, PLAIN | TIGHT, false, 0 },
    { "stable_large", stable_large, 0, PLAIN | TIGHT, false, 0 },
    { "stable_truth", stable_truth, 0, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
