/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* More channels in one poll than are looked at one by one: they stay armed between the calls, so whatever else happens to them
 * meanwhile must not make a poll deaf, nor a poll make anything else deaf. */

#include "suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CROWD = 24, CROWD_MQ = 18 /* RLIMIT_MSGQUEUE */, PATIENCE_S = 10 };

struct crowd {
    struct cell *cell;
    int n;
    hawser_channel *senders[CROWD], *receivers[CROWD];
    hawser_poll_item items[CROWD];
    uint64_t sent[CROWD], received[CROWD];
};

static void crowd_open(struct crowd *crowd, struct cell *cell) {
    *crowd = (struct crowd){ .cell = cell, .n = cell->place->mechanism == MQ ? CROWD_MQ : CROWD };
    for (int i = 0; i < crowd->n; i++) {
        ends_open(cell, "linger=10ms", &crowd->senders[i], &crowd->receivers[i]);
        crowd->items[i] = (hawser_poll_item){ .channel = crowd->receivers[i], .events = HAWSER_IN };
    }
}

static void crowd_close(struct crowd *crowd) {
    for (int i = 0; i < crowd->n; i++) {
        hawser_close(crowd->senders[i]);
        hawser_close(crowd->receivers[i]);
    }
}

static void crowd_send(struct crowd *crowd, int i) {
    send_one(crowd->senders[i], crowd->sent[i], 10);
    crowd->sent[i]++;
}

static void crowd_recv(struct crowd *crowd, int i) {
    recv_one(crowd->receivers[i], crowd->received[i], 10);
    crowd->received[i]++;
}

static int crowd_poll(struct crowd *crowd, int64_t timeout) { return hawser_poll(crowd->items, (size_t)crowd->n, timeout); }

/* Nothing is ready, and all are armed after. */
static void crowd_quiet(struct crowd *crowd) { EXPECT(crowd_poll(crowd, MS), -ETIMEDOUT); }

/* Just these are ready, as a set of bits. */
static void crowd_ready(struct crowd *crowd, uint64_t wanted) {
    uint64_t ready = 0;
    int n = 0, count = crowd_poll(crowd, PATIENCE_S * SECOND);
    for (int i = 0; i < crowd->n; i++)
        if (crowd->items[i].ret_events) {
            CHECK(crowd->items[i].ret_events == HAWSER_IN);
            ready |= UINT64_C(1) << i;
            n++;
        }
    if (ready != wanted)
        fail(__FILE__, __LINE__, "poll told of %llx (%d), where %llx is ready; explained as \"%s\"", (unsigned long long)ready,
             count, (unsigned long long)wanted, hawser_explain());
    CHECK(n == count);
}

#define BIT(I) (UINT64_C(1) << (I))

/* What is told stays told until it is received, also while others sleep on; nothing is told twice. */
static void levels(struct cell *cell) {
    struct crowd crowd;
    crowd_open(&crowd, cell);
    EXPECT(crowd_poll(&crowd, HAWSER_NOW), -EAGAIN);
    for (int round = 0; round < 3; round++) {
        crowd_quiet(&crowd);
        crowd_send(&crowd, 5);
        crowd_ready(&crowd, BIT(5));
        crowd_ready(&crowd, BIT(5));
        crowd_send(&crowd, 7);
        crowd_ready(&crowd, BIT(5) | BIT(7));
        EXPECT(crowd_poll(&crowd, HAWSER_NOW), 2);
        crowd_recv(&crowd, 5);
        crowd_ready(&crowd, BIT(7));
        crowd_recv(&crowd, 7);
        EXPECT(crowd_poll(&crowd, HAWSER_NOW), -EAGAIN);
        for (int i = 0; i < crowd.n; i++)
            crowd_send(&crowd, i);
        crowd_ready(&crowd, BIT(crowd.n) - 1);
        for (int i = 0; i < crowd.n; i++)
            crowd_recv(&crowd, i);
    }
    crowd_quiet(&crowd);
    crowd_close(&crowd);
}

/* Calls of every other kind on channels that a poll left armed, each of which may take what the next poll would wake for. */
static void other_calls(struct cell *cell) {
    struct crowd crowd;
    char byte;
    size_t size;
    crowd_open(&crowd, cell);
    for (int round = 0; round < 3; round++) {
        crowd_quiet(&crowd);
        crowd_send(&crowd, 1); /* two, and one is received before the poll */
        crowd_send(&crowd, 1);
        crowd_recv(&crowd, 1);
        crowd_ready(&crowd, BIT(1));
        crowd_recv(&crowd, 1);
        EXPECT(hawser_recv(crowd.receivers[2], &byte, 1, HAWSER_NOW, &size), -EAGAIN); /* looks, and finds nothing */
        EXPECT(hawser_recv(crowd.receivers[2], &byte, 1, MS, &size), -ETIMEDOUT);      /* sleeps, and finds nothing */
        crowd_send(&crowd, 2);
        crowd_ready(&crowd, BIT(2));
        crowd_recv(&crowd, 2);
        crowd_quiet(&crowd);
        hawser_poll_item one = { .channel = crowd.receivers[3], .events = HAWSER_IN }; /* a small poll sleeps, and looks */
        EXPECT(hawser_poll(&one, 1, MS), -ETIMEDOUT);
        crowd_send(&crowd, 3);
        EXPECT(hawser_poll(&one, 1, PATIENCE_S * SECOND), 1);
        crowd_ready(&crowd, BIT(3));
        crowd_recv(&crowd, 3);
        crowd_quiet(&crowd);
        crowd_send(&crowd, 4); /* between two polls, while another channel is what ends the first */
        crowd_recv(&crowd, 4);
        crowd_send(&crowd, 6);
        crowd_ready(&crowd, BIT(6));
        crowd_send(&crowd, 4);
        crowd_recv(&crowd, 6);
        crowd_ready(&crowd, BIT(4));
        crowd_recv(&crowd, 4);
    }
    crowd_close(&crowd);
}

/* What the sending half of the same channel hears, waiting for an acknowledgement, was for the poll. */
static void acknowledged(struct cell *cell) {
    struct crowd crowd;
    crowd_open(&crowd, cell);
    for (uint64_t round = 0; round < 5; round++) {
        crowd_quiet(&crowd);
        crowd_send(&crowd, 8);
        EXPECT(hawser_send_sync(crowd.receivers[8], noise(round), 10, MS), -EINPROGRESS);
        crowd_ready(&crowd, BIT(8));
        crowd_recv(&crowd, 8);
        recv_one(crowd.senders[8], round, 10);
        EXPECT(hawser_flush(crowd.receivers[8], PATIENCE_S * SECOND), 0);
    }
    crowd_close(&crowd);
}

/* An item more, one less, another order, twice the same, other events; and closed ones whose memory the next get. */
static void other_items(struct cell *cell) {
    struct crowd crowd;
    crowd_open(&crowd, cell);
    hawser_poll_item most[CROWD + 2];
    for (int round = 0; round < 3; round++) {
        crowd_quiet(&crowd);
        memcpy(most, crowd.items, sizeof crowd.items);
        most[0] = crowd.items[crowd.n - 1]; /* it stands at the end, too: not in the first n - 1 */
        EXPECT(hawser_poll(most, (size_t)crowd.n - 1, MS), -ETIMEDOUT);
        crowd_send(&crowd, 0); /* not among them */
        EXPECT(hawser_poll(most, (size_t)crowd.n - 1, MS), -ETIMEDOUT);
        EXPECT(hawser_poll(most, (size_t)crowd.n - 1, MS), -ETIMEDOUT);
        crowd_ready(&crowd, BIT(0));
        crowd_recv(&crowd, 0);
        crowd_quiet(&crowd);
        memcpy(most, crowd.items, sizeof crowd.items); /* twice, and with other events */
        most[crowd.n] = most[3];
        most[crowd.n + 1] = most[3];
        if (round == 1)
            most[crowd.n].events = 0;
        crowd_send(&crowd, 3);
        EXPECT(hawser_poll(most, (size_t)crowd.n + 2, PATIENCE_S * SECOND), round == 1 ? 2 : 3);
        crowd_recv(&crowd, 3);
        EXPECT(hawser_poll(most, (size_t)crowd.n + 2, MS), -ETIMEDOUT);
        memcpy(most, crowd.items, sizeof crowd.items);
        most[crowd.n] = most[9]; /* again, but not to be waited for there */
        most[crowd.n].events = 0;
        crowd_send(&crowd, 9);
        EXPECT(hawser_poll(most, (size_t)crowd.n + 1, PATIENCE_S * SECOND), 1);
        crowd_recv(&crowd, 9);
        for (int i = 0; i < 4; i++) {
            hawser_close(crowd.senders[i]);
            hawser_close(crowd.receivers[i]);
            ends_open(cell, "linger=10ms", &crowd.senders[i], &crowd.receivers[i]);
            crowd.items[i].channel = crowd.receivers[i];
            crowd.sent[i] = crowd.received[i] = 0;
        }
    }
    crowd_close(&crowd);
}

/* Two-way mechanisms: room to send, and messages, of the same channel. */
static void both_events(struct cell *cell) {
    struct crowd crowd;
    crowd_open(&crowd, cell);
    crowd_quiet(&crowd);
    crowd.items[2].events = HAWSER_IN | HAWSER_OUT;
    EXPECT(crowd_poll(&crowd, PATIENCE_S * SECOND), 1);
    CHECK(crowd.items[2].ret_events == HAWSER_OUT);
    crowd_send(&crowd, 2);
    crowd.items[2].events = HAWSER_IN;
    crowd_ready(&crowd, BIT(2));
    crowd_recv(&crowd, 2);
    uint64_t n = fill(crowd.receivers[2], 0, 1000);
    crowd.items[2].events = HAWSER_IN | HAWSER_OUT;
    EXPECT(crowd_poll(&crowd, MS), -ETIMEDOUT);
    crowd_send(&crowd, 9); /* one of the others ends it */
    crowd_ready(&crowd, BIT(9));
    crowd_recv(&crowd, 9);
    drain(crowd.receivers[2], crowd.senders[2], 0, n, 1000);
    EXPECT(crowd_poll(&crowd, PATIENCE_S * SECOND), 1);
    CHECK(crowd.items[2].ret_events == HAWSER_OUT);
    crowd_close(&crowd);
}

/* ---- interrupts, threads, processes ---- */

static void *interrupt_soon(void *channel) {
    until_asleep(getpid());
    hawser_interrupt(channel);
    return NULL;
}

static void interrupts(struct cell *cell) {
    struct crowd crowd;
    crowd_open(&crowd, cell);
    for (int round = 0; round < 4; round++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, interrupt_soon, crowd.receivers[11]) == 0);
        EXPECT(crowd_poll(&crowd, PATIENCE_S * SECOND), -ECANCELED);
        pthread_join(thread, NULL);
        crowd_quiet(&crowd);
        hawser_interrupt(crowd.receivers[12]); /* nobody waits: the next */
        EXPECT(crowd_poll(&crowd, round % 2 ? HAWSER_NOW : PATIENCE_S * SECOND), -ECANCELED);
        crowd_quiet(&crowd);
        hawser_interrupt(crowd.receivers[12]); /* another call takes it */
        hawser_interrupt(NULL);
        char byte;
        size_t size;
        EXPECT(hawser_recv(crowd.receivers[12], &byte, 1, SECOND, &size), -ECANCELED);
        crowd_quiet(&crowd);
    }
    crowd_close(&crowd);
}

static void *poll_quiet(void *crowd) {
    crowd_quiet(crowd);
    return NULL;
}

static void *poll_and_receive(void *of) {
    struct crowd *crowd = of;
    crowd_ready(crowd, BIT(1) | BIT(10));
    crowd_recv(crowd, 10);
    crowd_ready(crowd, BIT(1));
    return NULL;
}

/* One thread after the other: each leaves its channels armed, and the next takes them over. */
static void threads(struct cell *cell) {
    struct crowd crowd;
    pthread_t thread;
    crowd_open(&crowd, cell);
    for (int round = 0; round < 3; round++) {
        CHECK(pthread_create(&thread, NULL, poll_quiet, &crowd) == 0);
        pthread_join(thread, NULL);
        crowd_send(&crowd, 1);
        crowd_send(&crowd, 10);
        CHECK(pthread_create(&thread, NULL, poll_and_receive, &crowd) == 0);
        pthread_join(thread, NULL);
        crowd_ready(&crowd, BIT(1));
        crowd_recv(&crowd, 1);
        crowd_quiet(&crowd);
    }
    crowd_close(&crowd);
}

/* A forked child closes its copies, which share every file with ours, and polls channels of its own. */
static void forks(struct cell *cell) {
    struct crowd crowd, childs;
    crowd_open(&crowd, cell);
    crowd_quiet(&crowd);
    for (int round = 0; round < 3; round++) {
        pid_t child = fork_child();
        if (child == 0) {
            EXPECT(hawser_poll(crowd.items, (size_t)crowd.n, HAWSER_NOW), -EPERM);
            crowd_close(&crowd);
            cell->made += 100 * (unsigned)(round + 1); /* names of its own */
            crowd_open(&childs, cell);
            crowd_quiet(&childs);
            crowd_send(&childs, 3);
            crowd_ready(&childs, BIT(3));
            crowd_close(&childs);
            exit(0);
        }
        if (cell->place->mechanism == MQ)
            reap(child); /* its queues count, too */
        crowd_send(&crowd, 2);
        crowd_ready(&crowd, BIT(2));
        crowd_recv(&crowd, 2);
        crowd_quiet(&crowd);
        hawser_close(crowd.senders[4]); /* while the child may hold a copy */
        hawser_close(crowd.receivers[4]);
        ends_open(cell, "linger=10ms", &crowd.senders[4], &crowd.receivers[4]);
        crowd.items[4].channel = crowd.receivers[4];
        crowd.sent[4] = crowd.received[4] = 0;
        crowd_quiet(&crowd);
        if (cell->place->mechanism != MQ)
            reap(child);
    }
    crowd_close(&crowd);
}

/* ---- ends ---- */

static void ends(struct cell *cell) {
    struct crowd crowd;
    char byte;
    size_t size;
    crowd_open(&crowd, cell);
    for (int i = crowd.n - 1; i > 0; i -= 3) {
        crowd_quiet(&crowd);
        crowd_send(&crowd, i - 1);
        crowd.senders[i] = hawser_close(crowd.senders[i]);
        crowd_ready(&crowd, BIT(i) | BIT(i - 1));
        crowd_recv(&crowd, i - 1);
        crowd_ready(&crowd, BIT(i)); /* until it is asked for no more */
        EXPECT(hawser_recv(crowd.receivers[i], &byte, 1, HAWSER_NOW, &size), -ESHUTDOWN);
        crowd_ready(&crowd, BIT(i));
        crowd.items[i].channel = NULL;
        if (i % 2)
            crowd.receivers[i] = hawser_close(crowd.receivers[i]);
    }
    crowd_quiet(&crowd);
    crowd_close(&crowd);
}

/* A peer with half of the channels is killed. */
static void deaths(struct cell *cell) {
    struct crowd crowd = { .n = cell->place->mechanism == MQ ? CROWD_MQ : CROWD };
    hawser_listener *listener = listen_new(cell, "");
    pid_t children[2];
    for (int k = 0; k < 2; k++) {
        children[k] = fork_child();
        if (children[k] == 0) {
            hawser_listener_close(listener);
            for (int i = 0; i < crowd.n / 2; i++)
                crowd.senders[i] = connect_bound(cell, "");
            for (int i = 0; i < crowd.n / 2; i++) /* over some mechanisms who never spoke is nobody's peer yet */
                send_one(crowd.senders[i], 0, 10);
            for (;;)
                pause();
        }
        for (int i = k; i < crowd.n; i += 2) {
            crowd.receivers[i] = accept_one(listener);
            crowd.items[i] = (hawser_poll_item){ .channel = crowd.receivers[i], .events = HAWSER_IN };
        }
    }
    for (int i = 0; i < crowd.n; i++)
        crowd_recv(&crowd, i);
    crowd_quiet(&crowd);
    kill(children[1], SIGKILL);
    int64_t deadline = now_ns() + PATIENCE_S * SECOND;
    int dead = 0;
    while (dead < crowd.n / 2) {
        char byte;
        size_t size;
        CHECK(now_ns() < deadline && crowd_poll(&crowd, PATIENCE_S * SECOND) >= 1);
        for (int i = 0; i < crowd.n; i++)
            if (crowd.items[i].ret_events) {
                CHECK(i % 2 == 1);
                int status = hawser_recv(crowd.receivers[i], &byte, 1, HAWSER_NOW, &size);
                CHECK(status == -ECONNRESET || status == -ESHUTDOWN || status == -EAGAIN);
                if (status != -EAGAIN) {
                    crowd.items[i].channel = NULL;
                    dead++;
                }
            }
    }
    crowd_quiet(&crowd);
    kill(children[0], SIGKILL);
    hawser_listener_close(listener);
    crowd_close(&crowd);
    for (int k = 0; k < 2; k++) /* until it is dead it holds what the next open is to find nobody's */
        CHECK(waitpid(children[k], NULL, 0) == children[k]);
}

/* ---- two processes, each with a thread that polls and receives, and one that sends ---- */

enum { RACES = 2000, RACES_LONG = 200000 };

static void *race_sender(void *of) {
    struct crowd *crowd = of;
    uint64_t state = (uint64_t)getpid(), rounds = amount(RACES, RACES_LONG);
    for (uint64_t round = 0; round < rounds; round++) {
        int i = (int)(random_next(&state) % (unsigned)crowd->n);
        const uint8_t *data = noise(crowd->sent[i]++);
        if (random_next(&state) % 4 == 0)
            EXPECT(hawser_send_sync(crowd->senders[i], data, 10, PATIENCE_S * SECOND), 0);
        else
            EXPECT(hawser_send(crowd->senders[i], data, 10, PATIENCE_S * SECOND), 0);
        if (random_next(&state) % 64 == 0)
            until_asleep(getppid());
    }
    for (int i = 0; i < crowd->n; i++)
        EXPECT(hawser_shutdown(crowd->senders[i]), 0);
    return NULL;
}

static bool race_receive(struct crowd *crowd, int i) {
    char buffer[16];
    size_t size;
    int status;
    while ((status = hawser_recv(crowd->receivers[i], buffer, sizeof buffer, HAWSER_NOW, &size)) == 0)
        check_bytes(buffer, size, crowd->received[i]++, 10);
    CHECK(status == -EAGAIN || status == -ESHUTDOWN);
    return status == -EAGAIN;
}

static void race(struct crowd *crowd) {
    pthread_t sender;
    int ended = 0;
    uint64_t all = 0;
    memcpy(crowd->senders, crowd->receivers, sizeof crowd->senders);
    for (int i = 0; i < crowd->n; i++)
        crowd->items[i] = (hawser_poll_item){ .channel = crowd->receivers[i], .events = HAWSER_IN };
    CHECK(pthread_create(&sender, NULL, race_sender, crowd) == 0);
    while (ended < crowd->n) {
        if (crowd_poll(crowd, PATIENCE_S * SECOND) < 1)
            fail(__FILE__, __LINE__, "asleep though %d channels have not ended: %s", crowd->n - ended, hawser_explain());
        for (int i = 0; i < crowd->n; i++)
            if (crowd->items[i].ret_events && !race_receive(crowd, i)) {
                crowd->items[i].channel = NULL;
                ended++;
            }
    }
    pthread_join(sender, NULL);
    for (int i = 0; i < crowd->n; i++) {
        all += crowd->received[i];
        hawser_close(crowd->receivers[i]);
    }
    CHECK(all == amount(RACES, RACES_LONG));
}

static void races(struct cell *cell) {
    struct crowd crowd = { .cell = cell, .n = cell->place->mechanism == MQ ? CROWD_MQ : CROWD };
    hawser_listener *listener = listen_new(cell, "");
    pid_t child = fork_child();
    for (int i = 0; i < crowd.n; i++)
        crowd.receivers[i] = child == 0 ? connect_bound(cell, "") : accept_one(listener);
    hawser_listener_close(listener);
    race(&crowd);
    if (child == 0)
        exit(0);
    reap(child);
}

const struct promise crowd_promises[] = {
    { "levels", levels, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "other_calls", other_calls, 0, PLAIN | LADDER | MANY, false, 0 },
    { "acknowledged", acknowledged, FIFO, PLAIN | MANY, false, 0 },
    { "other_items", other_items, 0, PLAIN | MANY, false, 0 },
    { "both_events", both_events, FIFO, PLAIN | TIGHT, false, 0 },
    { "interrupts", interrupts, 0, PLAIN | MANY, false, 0 },
    { "threads", threads, 0, PLAIN | MANY, false, 0 },
    { "forks", forks, 0, PLAIN, false, 0 },
    { "ends", ends, 0, PLAIN | LADDER, false, 0 },
    { "deaths", deaths, TCP | FIFO, PLAIN, true, 0 },
    { "races", races, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 40 },
    { NULL, NULL, 0, 0, false, 0 },
};
