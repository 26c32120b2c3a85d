/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Messages arrive whole, once and in order, whatever their size and whichever calls carry them. Sender and receiver draw
 * the same sizes from the same seed, so nothing but the bytes themselves has to cross. */

#include "suite.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* In full where the address is plain; a part of it where only how it waits, or how little room there is, differs. */
static unsigned long long part(const struct side *side, unsigned long long n) {
    enum kind kind = side->cell->place->kind;
    return kind == PLAIN ? n : kind == TIGHT ? n / 20 : n / 4;
}

static unsigned long long n_small(const struct side *side) { return part(side, amount(100000, 10000000)); }
static unsigned long long n_large(const struct side *side) { return part(side, amount(100, 10000)); }
static size_t draw(uint64_t *state, size_t most) { return (size_t)(random_next(state) % (most + 1)); }

static void send_drawn(hawser_channel *channel, uint64_t seed, unsigned long long n, size_t most) {
    for (uint64_t i = 0; i < n; i++)
        send_one(channel, i, draw(&seed, most));
}

static void recv_drawn(hawser_channel *channel, uint64_t seed, unsigned long long n, size_t most) {
    uint8_t *buffer = malloc(most + 1);
    CHECK(buffer);
    for (uint64_t i = 0; i < n; i++) {
        size_t size = SIZE_MAX;
        EXPECT(hawser_recv(channel, buffer, most + 1, HAWSER_FOREVER, &size), 0);
        check_bytes(buffer, size, i, draw(&seed, most));
    }
    free(buffer);
}

static void expect_end(hawser_channel *channel) {
    size_t size;
    char byte;
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void small_sender(struct side *side) { send_drawn(side->channel, 7, n_small(side), 4096); }
static void small_receiver(struct side *side) {
    recv_drawn(side->channel, 7, n_small(side), 4096);
    expect_end(side->channel);
}

static void small(struct cell *cell) { meet_both_ways(cell, "", small_sender, small_receiver); }

static void large_sender(struct side *side) { send_drawn(side->channel, 8, n_large(side), NOISE); }
static void large_receiver(struct side *side) {
    recv_drawn(side->channel, 8, n_large(side), NOISE);
    expect_end(side->channel);
}

static void large(struct cell *cell) { meet_both_ways(cell, "", large_sender, large_receiver); }

/* Sizes around every power of two, where headers, wraps and packets meet their edges. */
static size_t edges_most(const struct side *side) { return side->cell->place->kind == TIGHT ? 1u << 13 : NOISE; }

static void edges_sender(struct side *side) {
    uint64_t number = 0;
    for (size_t power = 1; power <= edges_most(side); power *= 2)
        for (size_t size = power > 24 ? power - 24 : 0; size <= power + 24 && size <= NOISE; size++)
            send_one(side->channel, number++, size);
}

static void edges_receiver(struct side *side) {
    uint64_t number = 0;
    for (size_t power = 1; power <= edges_most(side); power *= 2)
        for (size_t size = power > 24 ? power - 24 : 0; size <= power + 24 && size <= NOISE; size++)
            recv_one(side->channel, number++, size);
}

static void edges(struct cell *cell) { meet_both_ways(cell, "", edges_sender, edges_receiver); }

enum { EMPTY_MESSAGES = 1000 };

static void empty_sender(struct side *side) {
    for (int i = 0; i < EMPTY_MESSAGES; i++)
        EXPECT(hawser_send(side->channel, NULL, 0, HAWSER_FOREVER), 0);
    send_one(side->channel, 1, 10);
    EXPECT(hawser_send(side->channel, "", 0, HAWSER_FOREVER), 0);
}

static void empty_receiver(struct side *side) {
    char byte = 'x';
    for (int i = 0; i < EMPTY_MESSAGES; i++) {
        size_t size = SIZE_MAX;
        EXPECT(hawser_recv(side->channel, &byte, i % 2 ? 0 : 1, HAWSER_FOREVER, &size), 0);
        CHECK(size == 0 && byte == 'x');
    }
    recv_one(side->channel, 1, 10);
    hawser_message message;
    EXPECT(hawser_take(side->channel, HAWSER_FOREVER, &message), 0);
    CHECK(message.size == 0);
    EXPECT(hawser_release(side->channel, &message), 0);
}

static void empty(struct cell *cell) { meet_both_ways(cell, "", empty_sender, empty_receiver); }

/* ---- there and back ---- */

static void echo_client(struct side *side) {
    uint64_t seed = 9;
    for (uint64_t i = 0; i < part(side, amount(4000, 100000)); i++) {
        size_t size = draw(&seed, i % 50 ? 3000 : 200000);
        send_one(side->channel, i, size);
        recv_one(side->channel, i, size);
    }
}

static void echo_server(struct side *side) {
    static uint8_t buffer[NOISE];
    for (;;) {
        size_t size;
        if (EXPECT_EITHER(hawser_recv(side->channel, buffer, sizeof buffer, HAWSER_FOREVER, &size), 0, -ESHUTDOWN) < 0)
            return;
        EXPECT(hawser_send(side->channel, buffer, size, HAWSER_FOREVER), 0);
    }
}

static void round_trips(struct cell *cell) { meet_both_ways(cell, "", echo_client, echo_server); }

static void *both_ways_thread(void *argument) {
    struct side *side = argument;
    send_drawn(side->channel, 10, n_small(side) / 5, 4096);
    return NULL;
}

static void both_ways_act(struct side *side) {
    pthread_t sender;
    CHECK(pthread_create(&sender, NULL, both_ways_thread, side) == 0);
    recv_drawn(side->channel, 10, n_small(side) / 5, 4096);
    pthread_join(sender, NULL);
}

/* Each process sends in one thread while it receives in another. */
static void both_ways(struct cell *cell) { meet(cell, "", both_ways_act, both_ways_act); }

/* ---- every way to send against every way to receive ---- */

static unsigned long long n_mixed(const struct side *side) { return part(side, amount(20000, 1000000)); }

static uint64_t send_batch(hawser_channel *channel, uint64_t number, uint64_t *seed, size_t most, uint64_t limit) {
    hawser_message messages[17] = { 0 };
    size_t n = 1 + (size_t)(number % 17), sent = 0, done = 0;
    n = n > limit - number ? (size_t)(limit - number) : n;
    for (size_t i = 0; i < n; i++)
        messages[i] = (hawser_message){ .data = noise(number + i), .size = draw(seed, most) };
    while (done < n) {
        EXPECT(hawser_send_many(channel, messages + done, n - done, HAWSER_FOREVER, &sent), 0);
        CHECK(sent >= 1 && sent <= n - done);
        done += sent;
    }
    return n;
}

static void send_loan(hawser_channel *channel, uint64_t number, size_t size) {
    void *data = NULL;
    EXPECT(hawser_loan(channel, size + number % 3, HAWSER_FOREVER, &data), 0);
    CHECK(data && ((uintptr_t)data & 7) == 0);
    if (size > 0)
        memcpy(data, noise(number), size);
    EXPECT(hawser_commit(channel, data, size), 0);
}

static size_t mixed_most(uint64_t number) { return number % 100 == 0 ? 150000 : 2000; }

static void mixed_sender(struct side *side) {
    bool sync = can(side->cell, HAWSER_CAN_SYNC);
    uint64_t seed = 11, choice = 12;
    for (uint64_t i = 0; i < n_mixed(side);) {
        size_t most = mixed_most(i);
        uint64_t pick = random_next(&choice) % 100;
        if (pick < 30) {
            send_loan(side->channel, i++, draw(&seed, most));
        } else if (pick < 50) {
            i += send_batch(side->channel, i, &seed, 2000, n_mixed(side));
        } else if (pick == 50 && sync) {
            EXPECT(hawser_send_sync(side->channel, noise(i), draw(&seed, 2000), HAWSER_FOREVER), 0);
            i++;
        } else {
            send_one(side->channel, i++, draw(&seed, most));
        }
    }
}

/* The sizes are not drawn again here, as a batch draws differently: whole and in order is what noise() tells. */
static void mixed_receiver(struct side *side) {
    static uint8_t buffer[NOISE];
    uint64_t choice = 13;
    for (uint64_t i = 0; i < n_mixed(side);) {
        hawser_message messages[9];
        size_t n = 1;
        uint64_t pick = random_next(&choice) % 3;
        if (pick == 0) {
            size_t size;
            EXPECT(hawser_recv(side->channel, buffer, sizeof buffer, HAWSER_FOREVER, &size), 0);
            check_bytes(buffer, size, i++, size);
            continue;
        }
        if (pick == 1)
            EXPECT(hawser_take(side->channel, HAWSER_FOREVER, messages), 0);
        else
            EXPECT(hawser_take_many(side->channel, messages, 9, HAWSER_FOREVER, &n), 0);
        CHECK(n >= 1 && n <= 9);
        for (size_t k = 0; k < n; k++)
            check_bytes(messages[k].data, messages[k].size, i++, messages[k].size);
        for (size_t k = n; k-- > 0;)
            EXPECT(hawser_release(side->channel, &messages[k]), 0);
    }
    expect_end(side->channel);
}

static void mixed(struct cell *cell) { meet_both_ways(cell, "", mixed_sender, mixed_receiver); }

/* ---- several channels of one listener do not mix ---- */

enum { NEIGHBOURS = 4 };

static void neighbours(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    pid_t children[NEIGHBOURS];
    for (int k = 0; k < NEIGHBOURS; k++) {
        children[k] = fork_child();
        if (children[k] == 0) {
            hawser_channel *channel = connect_bound(cell, "");
            send_one(channel, (uint64_t)k * 1000, 8);
            for (uint64_t i = 0; i < 500; i++)
                send_one(channel, (uint64_t)k * 1000 + i, 100);
            hawser_close(channel);
            exit(0);
        }
    }
    for (int k = 0; k < NEIGHBOURS; k++) {
        hawser_channel *channel = accept_one(listener);
        uint8_t first[8];
        size_t size;
        EXPECT(hawser_recv(channel, first, sizeof first, HAWSER_FOREVER, &size), 0);
        uint64_t which = 0;
        while (which < NEIGHBOURS && memcmp(first, noise(which * 1000), 8) != 0)
            which++;
        CHECK(which < NEIGHBOURS);
        for (uint64_t i = 0; i < 500; i++)
            recv_one(channel, which * 1000 + i, 100);
        expect_end(channel);
        hawser_close(channel);
    }
    for (int k = 0; k < NEIGHBOURS; k++)
        reap(children[k]);
    hawser_listener_close(listener);
}

const struct promise exchange_promises[] = {
    { "small", small, 0, PLAIN | LADDER | TIGHT | MANY, false, 60 },
    { "large", large, 0, PLAIN | LADDER | TIGHT, false, 60 },
    { "edges", edges, 0, PLAIN | TIGHT, false, 0 },
    { "empty", empty, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { "round_trips", round_trips, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "both_ways", both_ways, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 30 },
    { "mixed", mixed, 0, PLAIN | LADDER | TIGHT | MANY, false, 30 },
    { "neighbours", neighbours, 0, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
