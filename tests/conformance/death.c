/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* kill -9 of the peer at any moment: the survivor gets whole messages in order, then the end, within 100 ms of the
 * kernel showing the death. The victim is always the forked process; it connects in one round and listens in another. */

#include "suite.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOLD_WITHIN (100 * MS)

static unsigned rounds(void) { return (unsigned)amount(20, 1000); }

/* What a death is called: a mechanism that cannot tell it from a goodbye says so in its capabilities. */
static void expect_death(struct side *side, int status) {
    if (can(side->cell, HAWSER_CAN_GOODBYE))
        EXPECT(status, -ECONNRESET);
    else
        EXPECT_EITHER(status, -ECONNRESET, -ESHUTDOWN);
}

/* The delays of several rounds: a busy machine may spoil one, a design that is late spoils all. */
static void note_delay(struct side *side, int64_t dead_ns) {
    int64_t late = now_ns() - dead_ns;
    CHECK(late < 5 * SECOND);
    side->cell->shared[1]++;
    if (late > TOLD_WITHIN)
        side->cell->shared[2]++;
}

static void check_delays(struct cell *cell) {
    if (cell->shared[2] * 2 > cell->shared[1])
        fail(__FILE__, __LINE__, "%llu of %llu deaths were told later than after 100 ms",
             (unsigned long long)cell->shared[2], (unsigned long long)cell->shared[1]);
    cell->shared[1] = cell->shared[2] = 0;
}

static void random_nap(struct cell *cell) {
    uint64_t *state = &cell->shared[3];
    *state += 12345;
    nap((int64_t)(random_next(state) % 3000000));
}

static void run_rounds(struct cell *cell, bool child_connects, act *victim, act *survivor) {
    for (unsigned round = 0; round < rounds(); round++)
        meet_as(cell, "linger=10ms", child_connects, victim, survivor);
    check_delays(cell);
}

static void run_as_sender(struct cell *cell, act *victim, act *survivor) {
    run_rounds(cell, true, victim, survivor);
    if (can(cell, HAWSER_CAN_TWO_WAY))
        run_rounds(cell, false, victim, survivor);
}

static void run_as_receiver(struct cell *cell, act *victim, act *survivor) {
    run_rounds(cell, false, victim, survivor);
    if (can(cell, HAWSER_CAN_TWO_WAY))
        run_rounds(cell, true, victim, survivor);
}

/* ---- while it sends ---- */

static size_t size_at(uint64_t number) { return number % 40 == 39 ? 100000 : number * 37 % 3000; }

static void endless_sender(struct side *side) {
    tell(side);
    for (uint64_t i = 0;; i++)
        send_one(side->channel, i, size_at(i));
}

/* Receives what comes until the end and returns its error. */
static int recv_until_end(struct side *side, uint64_t first) {
    static uint8_t buffer[NOISE];
    for (uint64_t i = first;; i++) {
        size_t size;
        int status = hawser_recv(side->channel, buffer, sizeof buffer, HAWSER_FOREVER, &size);
        if (status < 0)
            return status;
        check_bytes(buffer, size, i, size_at(i));
    }
}

static void sending_survivor(struct side *side) {
    hear(side);
    uint64_t n = side->cell->shared[3] % 50;
    for (uint64_t i = 0; i < n; i++)
        recv_one(side->channel, i, size_at(i));
    random_nap(side->cell);
    kill_other(side);
    int64_t dead = now_ns();
    expect_death(side, recv_until_end(side, n));
    note_delay(side, dead);
    char byte;
    size_t size;
    expect_death(side, hawser_recv(side->channel, &byte, 1, HAWSER_NOW, &size));
    if (can(side->cell, HAWSER_CAN_TWO_WAY))
        EXPECT(hawser_send(side->channel, "x", 1, HAWSER_FOREVER), -EPIPE);
}

static void sending(struct cell *cell) { run_as_sender(cell, endless_sender, sending_survivor); }

/* It had sent all of this before it was killed: all of this arrives. */
static void queued_victim(struct side *side) {
    for (uint64_t i = 0; i < 5; i++)
        send_one(side->channel, i, 200);
    tell(side);
    pause();
}

static void queued_survivor(struct side *side) {
    hear(side);
    kill_other(side);
    for (uint64_t i = 0; i < 5; i++)
        recv_one(side->channel, i, 200);
    char byte;
    size_t size;
    expect_death(side, hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size));
}

static void queued(struct cell *cell) { run_as_sender(cell, queued_victim, queued_survivor); }

/* ---- while it receives ---- */

static void endless_receiver(struct side *side) {
    tell(side);
    for (uint64_t i = 0;; i++)
        recv_one(side->channel, i, size_at(i));
}

/* Sends without end: into a queue that the dead no longer empties. */
static void receiving_survivor(struct side *side) {
    hear(side);
    int status = 0;
    uint64_t i = 0;
    int64_t kill_at = now_ns() + (int64_t)(random_next(&side->cell->shared[3]) % 3000000);
    for (; now_ns() < kill_at; i++)
        send_one(side->channel, i, size_at(i));
    kill_other(side);
    int64_t dead = now_ns();
    while ((status = hawser_send(side->channel, noise(i), size_at(i), HAWSER_FOREVER)) == 0)
        i++;
    EXPECT(status, -EPIPE);
    note_delay(side, dead);
}

static void receiving(struct cell *cell) {
    cell->shared[3] = 4242;
    run_as_receiver(cell, endless_receiver, receiving_survivor);
}

/* ---- while it sleeps ---- */

static void sleeping_receiver(struct side *side) {
    char byte;
    size_t size;
    tell(side);
    (void)!hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size);
}

static void sleeping_survivor(struct side *side) {
    hear(side);
    until_asleep(side->other);
    kill_other(side);
    int64_t dead = now_ns();
    int status;
    while ((status = hawser_send(side->channel, noise(0), 100, HAWSER_FOREVER)) == 0)
        continue;
    EXPECT(status, -EPIPE);
    note_delay(side, dead);
}

static void sleeping(struct cell *cell) { run_as_receiver(cell, sleeping_receiver, sleeping_survivor); }

static void full_victim(struct side *side) {
    uint64_t n = 0;
    while (hawser_send(side->channel, noise(n), 100, HAWSER_NOW) == 0)
        n++;
    side->cell->shared[4] = n;
    tell(side);
    for (;; n++)
        send_one(side->channel, n, 100);
}

/* Killed in a send that waits for room. Its outbox dies with it, but not what the queue holds. */
static void full_survivor(struct side *side) {
    static uint8_t buffer[200];
    hear(side);
    until_asleep(side->other);
    kill_other(side);
    for (uint64_t i = 0;; i++) {
        size_t size;
        int status = hawser_recv(side->channel, buffer, sizeof buffer, HAWSER_FOREVER, &size);
        if (status < 0) {
            CHECK(i + 1 >= side->cell->shared[4]);
            expect_death(side, status);
            return;
        }
        check_bytes(buffer, size, i, 100);
    }
}

static void full(struct cell *cell) { run_as_sender(cell, full_victim, full_survivor); }

/* ---- while the survivor sleeps ---- */

/* A second process kills, at a known moment, so that the survivor can be asleep in its call. */
static void survivor_asleep(struct side *side, int (*sleep_in)(hawser_channel *channel)) {
    hear(side);
    pid_t self = getpid(), executioner = fork_child();
    if (executioner == 0) {
        until_asleep(self);
        side->cell->shared[5] = (uint64_t)now_ns();
        kill(side->other, SIGKILL);
        _exit(0);
    }
    int status = sleep_in(side->channel);
    note_delay(side, (int64_t)side->cell->shared[5]);
    if (status != -EPIPE)
        expect_death(side, status);
    reap(executioner);
    kill_other(side);
}

static int sleep_recv(hawser_channel *channel) {
    char byte;
    size_t size;
    return hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size);
}

static int sleep_poll(hawser_channel *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
    return sleep_recv(channel);
}

static int sleep_send(hawser_channel *channel) {
    int status;
    while ((status = hawser_send(channel, noise(0), 1000, HAWSER_FOREVER)) == 0)
        continue;
    EXPECT(status, -EPIPE);
    return status;
}

static int sleep_sync(hawser_channel *channel) { return hawser_send_sync(channel, "x", 1, HAWSER_FOREVER); }

static void idle_victim(struct side *side) {
    tell(side);
    for (;;)
        pause();
}

static void in_recv(struct side *side) { survivor_asleep(side, sleep_recv); }
static void in_poll(struct side *side) { survivor_asleep(side, sleep_poll); }
static void in_send(struct side *side) { survivor_asleep(side, sleep_send); }
static void in_sync(struct side *side) { survivor_asleep(side, sleep_sync); }

static void wakes_recv(struct cell *cell) { run_as_sender(cell, idle_victim, in_recv); }
static void wakes_poll(struct cell *cell) { run_as_sender(cell, idle_victim, in_poll); }
static void wakes_send(struct cell *cell) { run_as_receiver(cell, idle_victim, in_send); }
static void wakes_sync(struct cell *cell) { run_as_receiver(cell, idle_victim, in_sync); }

/* ---- its forked child lives on ---- */

/* The grandchild holds copies of all its descriptors; it ends with the cell's process group. */
static void parent_victim(struct side *side) {
    if (fork() == 0)
        for (;;)
            pause();
    send_one(side->channel, 0, 10);
    tell(side);
    tell(side);
    for (;;)
        pause();
}

static void orphan_survivor(struct side *side) {
    hear(side);
    recv_one(side->channel, 0, 10);
    survivor_asleep(side, sleep_recv);
}

static void outlived(struct cell *cell) { run_as_sender(cell, parent_victim, orphan_survivor); }

const struct promise death_promises[] = {
    { "sending", sending, 0, PLAIN | LADDER | TIGHT, true, 40 },
    { "queued", queued, 0, PLAIN | LADDER, true, 40 },
    { "receiving", receiving, 0, PLAIN | LADDER | TIGHT, true, 40 },
    { "sleeping", sleeping, 0, PLAIN | LADDER, true, 40 },
    { "full", full, 0, PLAIN | TIGHT, true, 40 },
    { "wakes_recv", wakes_recv, 0, PLAIN | LADDER, true, 40 },
    { "wakes_poll", wakes_poll, 0, PLAIN | LADDER, true, 40 },
    { "wakes_send", wakes_send, 0, PLAIN | LADDER, true, 40 },
    { "wakes_sync", wakes_sync, FIFO, PLAIN | LADDER, true, 40 },
    { "outlived", outlived, FIFO | TCP, PLAIN | LADDER, true, 40 },
    { NULL, NULL, 0, 0, false, 0 },
};
