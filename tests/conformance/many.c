/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* send_many and take_many: order, counts, and what a full queue makes of them. */

#include "suite.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000 };

static uint64_t total(void) { return amount(40000, 4000000); }
static size_t size_at(uint64_t number) { return number % 500 == 499 ? 20000 : number % 300; }

static size_t batch_at(uint64_t round) {
    const size_t batches[] = { 1, 2, 3, 16, 100, BATCH };
    return batches[round % 6];
}

static void batch_sender(struct side *side) {
    static hawser_message messages[BATCH];
    uint64_t number = 0;
    for (uint64_t round = 0; number < total(); round++) {
        size_t n = batch_at(round), sent = 0;
        for (size_t i = 0; i < n; i++)
            messages[i] = (hawser_message){ .data = noise(number + i), .size = size_at(number + i) };
        EXPECT(hawser_send_many(side->channel, messages, n, HAWSER_FOREVER, &sent), 0);
        CHECK(sent == n); /* for ever is until all are queued */
        number += n;
    }
    side->cell->shared[0] = number;
}

static void batch_receiver(struct side *side) {
    static hawser_message messages[BATCH];
    uint64_t number = 0;
    for (uint64_t round = 0;; round++) {
        size_t taken = 0;
        int status = hawser_take_many(side->channel, messages, batch_at(round), HAWSER_FOREVER, &taken);
        if (EXPECT_EITHER(status, 0, -ESHUTDOWN) < 0)
            break;
        CHECK(taken >= 1 && taken <= batch_at(round));
        for (size_t i = 0; i < taken; i++, number++)
            check_bytes(messages[i].data, messages[i].size, number, size_at(number));
        for (size_t i = 0; i < taken; i++)
            EXPECT(hawser_release(side->channel, &messages[i]), 0);
    }
    CHECK(number == side->cell->shared[0] && number >= total());
}

static void batches(struct cell *cell) { meet_both_ways(cell, "", batch_sender, batch_receiver); }

/* Those there is no room for are not sent, and the count says which. */
static void partly(struct cell *cell) {
    hawser_channel *sender, *receiver;
    static uint8_t buffer[1000];
    ends_open(cell, "", &sender, &receiver);
    size_t n = 400000, sent = 0, more = 77, size;
    hawser_message *messages = calloc(n, sizeof *messages);
    CHECK(messages);
    for (size_t i = 0; i < n; i++)
        messages[i] = (hawser_message){ .data = noise(i), .size = 300 };
    EXPECT(hawser_send_many(sender, messages, n, 10 * MS, &sent), 0);
    CHECK(sent >= 1 && sent < n);
    while (EXPECT_EITHER(hawser_send_many(sender, messages + sent, n - sent, HAWSER_NOW, &more), 0, -EAGAIN) == 0)
        sent += more;
    for (uint64_t i = 0; i < sent;) {
        if (EXPECT_EITHER(hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size), 0, -EAGAIN) == 0)
            check_bytes(buffer, size, i++, 300);
        hawser_poll_item item = { .channel = sender, .events = HAWSER_OUT };
        (void)!hawser_poll(&item, 1, HAWSER_NOW);
    }
    EXPECT(hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &size), -EAGAIN);
    free(messages);
    hawser_close(sender);
    hawser_close(receiver);
}

/* One too large among them: those before it may go, it and those behind it do not. */
static void oversized(struct cell *cell) {
    hawser_channel *sender, *receiver;
    hawser_message messages[3] = {
        { .data = noise(0), .size = 100 }, { .data = noise(1), .size = 2000 }, { .data = noise(2), .size = 100 }
    };
    size_t sent = 0, size;
    char byte;
    ends_open(cell, "max_message=1000", &sender, &receiver);
    if (EXPECT_EITHER(hawser_send_many(sender, messages, 3, HAWSER_FOREVER, &sent), 0, -EMSGSIZE) == 0) {
        CHECK(sent == 1);
        recv_one(receiver, 0, 100);
    }
    EXPECT(hawser_send_many(sender, messages + 1, 2, HAWSER_FOREVER, &sent), -EMSGSIZE);
    EXPECT(hawser_recv(receiver, &byte, 1, 5 * MS, &size), -ETIMEDOUT);
    EXPECT(hawser_send_many(sender, messages + 2, 1, HAWSER_FOREVER, &sent), 0);
    CHECK(sent == 1);
    recv_one(receiver, 2, 100);
    hawser_close(sender);
    hawser_close(receiver);
}

static void counts(struct cell *cell) {
    hawser_channel *sender, *receiver;
    hawser_message message = { .data = "x", .size = 1 }, taken[10];
    size_t n = 77;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_send_many(sender, &message, 0, HAWSER_NOW, &n), -EINVAL);
    EXPECT(hawser_send_many(sender, &message, ((size_t)1 << 20) + 1, HAWSER_NOW, &n), -EINVAL);
    EXPECT(hawser_take_many(receiver, taken, 0, HAWSER_NOW, &n), -EINVAL);
    EXPECT(hawser_take_many(receiver, taken, 10, HAWSER_NOW, &n), -EAGAIN);
    CHECK(n == 77);
    for (uint64_t i = 0; i < 4; i++)
        send_one(sender, i, 40);
    uint64_t got = 0;
    while (got < 4) { /* it waits for the first only */
        EXPECT(hawser_take_many(receiver, taken, 10, 5 * SECOND, &n), 0);
        for (size_t i = 0; i < n; i++) {
            check_bytes(taken[i].data, taken[i].size, got++, 40);
            EXPECT(hawser_release(receiver, &taken[i]), 0);
        }
    }
    hawser_close(sender);
    hawser_close(receiver);
}

const struct promise many_promises[] = {
    { "batches", batches, 0, PLAIN | LADDER | TIGHT | MANY, false, 40 },
    { "partly", partly, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "oversized", oversized, 0, PLAIN | TIGHT, false, 0 },
    { "counts", counts, 0, PLAIN | MANY, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
