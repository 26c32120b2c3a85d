/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A thousand channels come and go, and nothing of them stays: no descriptor, no mapping, no name, no queue. (Names and
 * queues are looked for at the end of every cell; here are many of them.) */

#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned rounds(void) { return (unsigned)amount(1000, 10000); }

struct holdings {
    unsigned descriptors, maps;
};

static struct holdings held_now(void) { return (struct holdings){ descriptors_open(), maps_count() }; }

/* The allocator maps when it likes, and a sanitizer more so; a leak of one a round is 1,000. */
static void check_held(struct holdings before, unsigned times) {
    struct holdings now = held_now();
    if (now.descriptors != before.descriptors)
        fail(__FILE__, __LINE__, "%u descriptors before, %u after %u rounds", before.descriptors, now.descriptors, times);
    if (now.maps > before.maps + 8 + times / 20)
        fail(__FILE__, __LINE__, "%u mappings before, %u after %u rounds", before.maps, now.maps, times);
}

enum { WARM = 20 };

static void connect_child(struct cell *cell) {
    struct holdings before = { 0 };
    for (unsigned i = 0; i < rounds() + WARM; i++) {
        if (i == WARM)
            before = held_now();
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, i, i % 100 ? 100 : 300000);
        hawser_close(channel);
    }
    check_held(before, rounds());
}

static void connections(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    struct holdings before = { 0 };
    pid_t child = fork_child();
    if (child == 0) {
        hawser_listener_close(listener);
        connect_child(cell);
        exit(0);
    }
    for (unsigned i = 0; i < rounds() + WARM; i++) {
        if (i == WARM)
            before = held_now();
        hawser_channel *channel = accept_one(listener);
        recv_one(channel, i, i % 100 ? 100 : 300000);
        hawser_close(channel);
    }
    check_held(before, rounds());
    reap(child);
    hawser_listener_close(listener);
}

static void pairs(struct cell *cell) {
    struct holdings before = { 0 };
    for (unsigned i = 0; i < rounds() / 4 + WARM; i++) {
        hawser_channel *a, *b, *c = NULL;
        int fd;
        if (i == WARM)
            before = held_now();
        EXPECT(hawser_pair(cell->place->base, NULL, &a, &b), 0);
        if (i % 3 == 0) {
            EXPECT(hawser_export(b, &fd), 0);
            if (i % 2)
                EXPECT(hawser_adopt(fd, NULL, &c), 0);
            else
                close(fd); /* lost on its way */
        }
        if (i % 4)
            EXPECT_EITHER(hawser_send(a, noise(i), 100, HAWSER_FOREVER), 0, -EPIPE);
        hawser_close(a);
        hawser_close(b);
        hawser_close(c);
    }
    check_held(before, rounds() / 4);
}

static void listeners(struct cell *cell) {
    struct holdings before = { 0 };
    for (unsigned i = 0; i < rounds() / 4 + WARM; i++) {
        hawser_listener *second = NULL;
        hawser_channel *channel = NULL;
        if (i == WARM)
            before = held_now();
        hawser_listener *listener = listen_new(cell, "");
        EXPECT(hawser_listen(hawser_listener_address(listener), NULL, &second), -EADDRINUSE);
        EXPECT(hawser_accept(listener, HAWSER_NOW, &channel), -EAGAIN);
        hawser_listener_close(listener);
        char address[HAWSER_ADDRESS_MAX];
        address_bound(cell, "", address);
        EXPECT(hawser_connect(address, NULL, HAWSER_NOW, &channel), -EAGAIN);
    }
    check_held(before, rounds() / 4);
}

/* An idle shm channel: at most 3 descriptors a side. */
static void idle(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver); /* what a process holds once */
    hawser_close(sender);
    hawser_close(receiver);
    unsigned before = descriptors_open();
    ends_open(cell, "", &sender, &receiver);
    unsigned both = descriptors_open() - before;
    if (both > 6)
        fail(__FILE__, __LINE__, "%u descriptors for both ends of an idle channel", both);
    hawser_close(sender);
    hawser_close(receiver);
    CHECK(descriptors_open() == before);
}

const struct promise leaks_promises[] = {
    { "connections", connections, 0, PLAIN, false, 60 },
    { "pairs", pairs, FIFO, PLAIN, false, 0 },
    { "listeners", listeners, 0, PLAIN, false, 0 },
    { "idle", idle, (unsigned)~SHM, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
