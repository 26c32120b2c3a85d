/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Names: taken, contended, left by the dead, given back; and addresses that are none. */

#include "suite.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* An address that can be listened at again: for tcp, with the port of a listener that is gone. */
static void fixed_address(struct cell *cell, char *ret_address) {
    hawser_listener *listener = listen_new(cell, "");
    hawser_listener_close(listener);
    address_bound(cell, "", ret_address);
}

static void serves(struct cell *cell, hawser_listener *listener) {
    snprintf(cell->bound, sizeof cell->bound, "%s", hawser_listener_address(listener));
    cell->bound[strcspn(cell->bound, "?")] = '\0';
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = connect_bound(cell, "");
        send_one(channel, 1, 10);
        hawser_close(channel);
        exit(0);
    }
    hawser_channel *channel = accept_one(listener);
    recv_one(channel, 1, 10);
    hawser_close(channel);
    reap(child);
}

static void in_use(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *first, *second = NULL;
    fixed_address(cell, address);
    EXPECT(hawser_listen(address, NULL, &first), 0);
    EXPECT(hawser_listen(address, NULL, &second), -EADDRINUSE);
    pid_t child = fork_child();
    if (child == 0) {
        EXPECT(hawser_listen(address, NULL, &second), -EADDRINUSE);
        exit(0);
    }
    reap(child);
    CHECK(!second);
    serves(cell, first); /* the probes have not hurt it */
    hawser_listener_close(first);
    EXPECT(hawser_listen(address, NULL, &second), 0);
    serves(cell, second);
    hawser_listener_close(second);
}

static void leave_name(struct cell *cell, const char *address) {
    int control[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, control) == 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_listener *listener;
        EXPECT(hawser_listen(address, NULL, &listener), 0);
        CHECK(write(control[1], "l", 1) == 1);
        for (;;)
            pause();
    }
    struct side side = { .cell = cell, .control = control[0], .other = child };
    close(control[1]);
    hear(&side);
    kill_other(&side);
    close(control[0]);
}

static void after_the_dead(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    fixed_address(cell, address);
    for (int round = 0; round < 3; round++) {
        hawser_listener *listener;
        leave_name(cell, address);
        EXPECT(hawser_listen(address, NULL, &listener), 0);
        serves(cell, listener);
        hawser_listener_close(listener);
    }
}

enum { RACERS = 4 };

/* One of the racing processes gets the name, whether or not a dead listener's is in the way. */
static void race_once(struct cell *cell, const char *address) {
    uint64_t *gate = &cell->shared[0], *winners = &cell->shared[1], *done = &cell->shared[2];
    pid_t children[RACERS];
    *gate = *winners = *done = 0;
    for (int k = 0; k < RACERS; k++) {
        children[k] = fork_child();
        if (children[k] != 0)
            continue;
        hawser_listener *listener = NULL;
        __atomic_add_fetch(gate, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(gate, __ATOMIC_SEQ_CST) < RACERS)
            sched_yield();
        if (EXPECT_EITHER(hawser_listen(address, NULL, &listener), 0, -EADDRINUSE) == 0)
            __atomic_add_fetch(winners, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(done, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(done, __ATOMIC_SEQ_CST) < RACERS) /* hold the name until all have tried */
            nap(MS);
        hawser_listener_close(listener);
        exit(0);
    }
    for (int k = 0; k < RACERS; k++)
        reap(children[k]);
    if (*winners != 1)
        fail(__FILE__, __LINE__, "%llu processes have the name", (unsigned long long)*winners);
}

static void race(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    fixed_address(cell, address);
    for (unsigned round = 0; round < amount(20, 500); round++) {
        if (round % 2)
            leave_name(cell, address);
        race_once(cell, address);
    }
}

/* A second listener has taken a name that the first had lost: the first, closing, leaves it alone. */
static void successor(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *first, *second;
    fixed_address(cell, address);
    EXPECT(hawser_listen(address, NULL, &first), 0);
    const char *place = strstr(address, "://") + 3;
    char path[256];
    if (place[0] == '/')
        snprintf(path, sizeof path, "%s", place);
    else
        snprintf(path, sizeof path, "%s/%s", getenv("HAWSER_RUNTIME_DIR"), place);
    path[strcspn(path, "?")] = '\0';
    CHECK(unlink(path) == 0); /* somebody tidied up */
    EXPECT(hawser_listen(address, NULL, &second), 0);
    hawser_listener_close(first);
    serves(cell, second);
    hawser_listener_close(second);
}

/* Channels outlive their listener. */
static void outlive(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver); /* closes the listener before anything is sent */
    for (uint64_t i = 0; i < 50; i++) {
        send_one(sender, i, 400);
        recv_one(receiver, i, 400);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

static void bound_address(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    const char *address = hawser_listener_address(listener);
    const char *base = cell->place->base;
    CHECK(address && strncmp(address, base, (size_t)(strstr(base, "://") + 3 - base)) == 0);
    if (cell->place->mechanism == TCP)
        CHECK(atoi(strrchr(address, ':') + 1) > 0);
    serves(cell, listener);
    hawser_listener_close(listener);
}

/* ---- addresses that are none ---- */

static void malformed(struct cell *cell) {
    static const char *const addresses[] = {
        "", "shm", "shm:", "shm:/x", "nope://x", "://x", "SHM://x y", "shm://", "shm://..", "shm://.", "shm://a/b", "shm://../x",
        "shm://a\nb", "shm://.x", "shm://x?wait", "shm://x?wait=fast", "shm://x?bogus=1", "shm://x?=1", "shm://x?max_message=12Q",
        "shm://x?max_message=0", "shm://x?max_message=-1", "shm://x?max_message=99999999999G", "shm://x?linger=5",
        "shm://x?linger=1year", "shm://x?ring=5000", "shm://x?ring=1K", "shm://x?read_ahead=1", "shm://x?threads=some",
        "pipe://", "pipe://a/b", "mq://a/b", "mq://x?depth=-1", "sysv://", "sysv://a/../b", "fifo://", "fifo://relative",
        "unix://", "unix://relative", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:x",
        "tcp://[::1:5", "tcp://:::", "shm://x?wait=spin&", "shm://x?&wait=spin",
    };
    (void)cell;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        hawser_listener *listener = NULL;
        hawser_channel *channel = NULL;
        int listened = hawser_listen(addresses[i], NULL, &listener);
        const char *sentence = hawser_explain();
        if (listened != -EINVAL || !*sentence)
            fail(__FILE__, __LINE__, "listen at \"%s\": %d, explained as \"%s\"", addresses[i], listened, sentence);
        int connected = hawser_connect(addresses[i], NULL, HAWSER_NOW, &channel);
        if (connected != -EINVAL)
            fail(__FILE__, __LINE__, "connect to \"%s\": %d, explained as \"%s\"", addresses[i], connected, hawser_explain());
    }
    EXPECT(hawser_capabilities("nope://x"), -EINVAL);
    EXPECT(hawser_capabilities(NULL), -EINVAL);
}

static void overlong(struct cell *cell) {
    char address[2000];
    hawser_listener *listener = NULL;
    (void)cell;
    for (size_t length = 90; length < 1900; length += length < 300 ? 1 : 100) {
        snprintf(address, sizeof address, "shm://%0*d", (int)length, 7);
        int status = hawser_listen(address, NULL, &listener);
        if (status == 0) /* some RUNTIME leaves room for it */
            listener = hawser_listener_close(listener);
        else
            EXPECT_EITHER(status, -EINVAL, -ENAMETOOLONG);
    }
}

const struct promise listener_promises[] = {
    { "in_use", in_use, 0, PLAIN, false, 0 },
    { "after_the_dead", after_the_dead, 0, PLAIN, true, 0 },
    { "race", race, 0, PLAIN, true, 0 },
    { "successor", successor, UNIX | TCP, PLAIN, false, 0 },
    { "outlive", outlive, 0, PLAIN | LADDER, false, 0 },
    { "bound_address", bound_address, 0, PLAIN, false, 0 },
    { "malformed", malformed, (unsigned)~SHM, PLAIN, false, 0 },
    { "overlong", overlong, (unsigned)~SHM, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
