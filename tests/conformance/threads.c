/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One thread sends while another receives; with threads=many any number do both. exchange/both_ways has the first of
 * these between processes; here are the crowds, the flushes beside them, and the listeners. */

#include "suite.h"

#include "base/sys.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CREW = 4 };

static uint64_t each(void) { return amount(3000, 300000); }

/* A message says who sent it and its number of that sender, then bytes that follow from both. */
struct stamp {
    uint32_t who, number;
};

struct crew {
    hawser_channel *channel;
    uint32_t who;
    uint64_t seen_sum; /* receivers: what came, told by a sum that misses and doubles both change */
    uint64_t seen;
};

static size_t body_size(uint32_t number) { return number % 64 == 63 ? 40000 : number % 900; }

static void *crew_send(void *argument) {
    struct crew *crew = argument;
    static _Thread_local uint8_t message[50000];
    for (uint32_t i = 0; i < each(); i++) {
        struct stamp stamp = { .who = crew->who, .number = i };
        memcpy(message, &stamp, sizeof stamp);
        memcpy(message + sizeof stamp, noise(i), body_size(i));
        EXPECT(hawser_send(crew->channel, message, sizeof stamp + body_size(i), HAWSER_FOREVER), 0);
    }
    return NULL;
}

static struct stamp check_stamped(const uint8_t *message, size_t size) {
    struct stamp stamp;
    CHECK(size >= sizeof stamp);
    memcpy(&stamp, message, sizeof stamp);
    check_bytes(message + sizeof stamp, size - sizeof stamp, stamp.number, body_size(stamp.number));
    return stamp;
}

static uint64_t stamp_value(struct stamp stamp) {
    uint64_t state = ((uint64_t)stamp.who << 32 | stamp.number) + 1;
    return random_next(&state);
}

static void *crew_receive(void *argument) {
    struct crew *crew = argument;
    static _Thread_local uint8_t buffer[50000];
    uint32_t next[CREW] = { 0 };
    for (;;) {
        size_t size;
        int status;
        if (crew->who % 2) {
            hawser_message message;
            status = hawser_take(crew->channel, HAWSER_FOREVER, &message);
            if (status == 0) {
                size = message.size;
                memcpy(buffer, message.data, size);
                EXPECT(hawser_release(crew->channel, &message), 0);
            }
        } else {
            status = hawser_recv(crew->channel, buffer, sizeof buffer, HAWSER_FOREVER, &size);
        }
        if (EXPECT_EITHER(status, 0, -ESHUTDOWN) < 0)
            return NULL;
        struct stamp stamp = check_stamped(buffer, size);
        CHECK(stamp.who < CREW && stamp.number >= next[stamp.who]); /* in order, though others take the rest */
        next[stamp.who] = stamp.number + 1;
        crew->seen_sum += stamp_value(stamp);
        crew->seen++;
    }
}

static void crews_begin(pthread_t *threads, struct crew *crews, hawser_channel *channel, void *(*work)(void *)) {
    for (uint32_t k = 0; k < CREW; k++) {
        crews[k] = (struct crew){ .channel = channel, .who = k };
        CHECK(pthread_create(&threads[k], NULL, work, &crews[k]) == 0);
    }
}

static void crew_senders(struct side *side) {
    pthread_t threads[CREW];
    struct crew crews[CREW];
    crews_begin(threads, crews, side->channel, crew_send);
    for (int k = 0; k < CREW; k++)
        pthread_join(threads[k], NULL);
}

static void crew_receivers(struct side *side) {
    pthread_t threads[CREW];
    struct crew crews[CREW];
    uint64_t seen = 0, sum = 0, wanted = 0;
    crews_begin(threads, crews, side->channel, crew_receive);
    for (int k = 0; k < CREW; k++) {
        pthread_join(threads[k], NULL);
        seen += crews[k].seen;
        sum += crews[k].seen_sum;
    }
    for (uint32_t who = 0; who < CREW; who++)
        for (uint32_t i = 0; i < each(); i++)
            wanted += stamp_value((struct stamp){ .who = who, .number = i });
    CHECK(seen == CREW * each() && sum == wanted);
}

static void four_and_four(struct cell *cell) { meet_both_ways(cell, "threads=many", crew_senders, crew_receivers); }

/* ---- with threads=many: all of it on one channel at once ---- */

static void *sync_thread(void *argument) {
    for (uint64_t i = 0; i < 100; i++)
        EXPECT(hawser_send_sync(argument, noise(i), 100, HAWSER_FOREVER), 0);
    return NULL;
}

static void *flush_thread(void *argument) {
    for (uint64_t i = 0; i < 100; i++) {
        EXPECT(hawser_send(argument, noise(i), 100, HAWSER_FOREVER), 0);
        EXPECT(hawser_flush(argument, HAWSER_FOREVER), 0);
    }
    return NULL;
}

static void *recv_thread(void *argument) {
    static _Thread_local uint8_t buffer[200];
    for (;;) {
        size_t size;
        if (EXPECT_EITHER(hawser_recv(argument, buffer, sizeof buffer, HAWSER_FOREVER, &size), 0, -ESHUTDOWN) < 0)
            return NULL;
        CHECK(size == 100);
    }
}

static void *statistics_thread(void *argument) {
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    do
        EXPECT(hawser_statistics(argument, &statistics), 0);
    while (statistics.messages_sent < 400);
    return NULL;
}

static void all_calls_act(struct side *side) {
    void *(*const senders[])(void *) = { sync_thread, sync_thread, flush_thread, flush_thread, statistics_thread };
    pthread_t sending[5], receiving[2];
    for (int k = 0; k < 2; k++)
        CHECK(pthread_create(&receiving[k], NULL, recv_thread, side->channel) == 0);
    for (int k = 0; k < 5; k++)
        CHECK(pthread_create(&sending[k], NULL, senders[k], side->channel) == 0);
    for (int k = 0; k < 5; k++)
        pthread_join(sending[k], NULL);
    EXPECT(hawser_shutdown(side->channel), 0);
    for (int k = 0; k < 2; k++)
        pthread_join(receiving[k], NULL);
}

static void all_calls(struct cell *cell) { meet(cell, "threads=many", all_calls_act, all_calls_act); }

/* ---- without it: one thread makes every sending call, another every receiving one ---- */

enum { HALVES_MESSAGES = 600 };

static size_t half_size(uint64_t number) { return number % 32 == 31 ? 30000 : number % 500; }

/* Where read_ahead is tight, the other thread may not have received yet what is before the acknowledgement. */
static void send_by(hawser_channel *channel, uint64_t number) {
    hawser_message message = { .data = noise(number), .size = half_size(number) };
    hawser_poll_item item = { .channel = channel, .events = HAWSER_OUT };
    size_t sent;
    void *lent;
    switch (number % 5) {
    case 0: EXPECT_EITHER(hawser_send_sync(channel, message.data, message.size, HAWSER_FOREVER), 0, -ENOBUFS); return;
    case 1: EXPECT(hawser_send_many(channel, &message, 1, HAWSER_FOREVER, &sent), 0); return;
    case 2:
        EXPECT(hawser_loan(channel, message.size, HAWSER_FOREVER, &lent), 0);
        memcpy(lent, message.data, message.size);
        EXPECT(hawser_commit(channel, lent, message.size), 0);
        return;
    case 3: CHECK(hawser_poll(&item, 1, HAWSER_FOREVER) == 1); break;
    default: EXPECT_EITHER(hawser_flush(channel, HAWSER_FOREVER), 0, -ENOBUFS);
    }
    EXPECT(hawser_send(channel, message.data, message.size, HAWSER_FOREVER), 0);
}

static void recv_by(hawser_channel *channel, uint64_t number) {
    static _Thread_local uint8_t buffer[30000];
    hawser_message message;
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    size_t size;
    int status;
    if (number % 4 == 0) {
        EXPECT(hawser_take(channel, HAWSER_FOREVER, &message), 0);
        check_bytes(message.data, message.size, number, half_size(number));
        EXPECT(hawser_release(channel, &message), 0);
        return;
    }
    if (number % 4 == 1)
        CHECK(hawser_poll(&item, 1, HAWSER_FOREVER) == 1);
    if (number % 4 == 2)
        EXPECT(hawser_statistics(channel, &statistics), 0);
    do
        status = hawser_recv(channel, buffer, sizeof buffer, number % 4 == 3 ? MS / 10 : HAWSER_FOREVER, &size);
    while (status == -ETIMEDOUT);
    EXPECT(status, 0);
    check_bytes(buffer, size, number, half_size(number));
}

static void *half_sender(void *channel) {
    for (uint64_t i = 0; i < HALVES_MESSAGES; i++)
        send_by(channel, i);
    EXPECT(hawser_shutdown(channel), 0);
    return NULL;
}

static void *half_receiver(void *channel) {
    char byte;
    size_t size;
    for (uint64_t i = 0; i < HALVES_MESSAGES; i++)
        recv_by(channel, i);
    EXPECT(hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
    return NULL;
}

static void halves_act(struct side *side) {
    pthread_t sender, receiver;
    CHECK(pthread_create(&sender, NULL, half_sender, side->channel) == 0);
    CHECK(pthread_create(&receiver, NULL, half_receiver, side->channel) == 0);
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
}

static void halves(struct cell *cell) { meet(cell, "", halves_act, halves_act); }

/* What one thread has begun to send and left in the outbox, the other moves on, which slept before. */

static void *answer_thread(void *channel) {
    recv_one(channel, 1, 10);
    recv_one(channel, 2, 10);
    return NULL;
}

/* More than a queue holds. */
static size_t left_size(const struct side *side) { return side->cell->place->mechanism & (MQ | SYSV) ? 40000 : NOISE; }

static void leaving_act(struct side *side) {
    pthread_t receiver;
    void *lent;
    recv_one(side->channel, 0, 10);
    CHECK(pthread_create(&receiver, NULL, answer_thread, side->channel) == 0);
    until_asleep(getpid());
    EXPECT(hawser_send(side->channel, noise(1), left_size(side), HAWSER_NOW), 0);
    hear(side); /* that it has come, all of it */
    until_asleep(getpid());
    EXPECT(hawser_loan(side->channel, left_size(side), HAWSER_FOREVER, &lent), 0);
    memcpy(lent, noise(2), left_size(side));
    EXPECT(hawser_commit(side->channel, lent, left_size(side)), 0);
    pthread_join(receiver, NULL);
}

static void left_act(struct side *side) {
    send_one(side->channel, 0, 10);
    recv_one(side->channel, 1, left_size(side));
    send_one(side->channel, 1, 10);
    tell(side);
    recv_one(side->channel, 2, left_size(side));
    send_one(side->channel, 2, 10);
}

static void left_behind(struct cell *cell) { meet_both_ways(cell, "", leaving_act, left_act); }

/* ---- what one thread was told, another must hear of too ---- */

static sem_t tried, go;
static _Thread_local bool held;

/* A thread makes its waker between its last try and its sleep: here it can be held. */
static int held_eventfd(unsigned value, int flags) {
    if (held) {
        held = false;
        sem_post(&tried);
        sem_wait(&go);
    }
    return sys_table_real.eventfd(value, flags);
}

/* Takes the wakers of threads that have ended. */
static void *waker_thread(void *unused) {
    (void)unused;
    (void)!hawser_poll(NULL, 0, 1);
    sem_post(&tried);
    sem_wait(&go);
    return NULL;
}

/* A thread that begins this work and, having tried, is held before it sleeps. */
struct late {
    pthread_t waker, thread;
};

static struct late late_begin(void *(*work)(void *), hawser_channel *channel) {
    struct late late;
    sem_init(&tried, 0, 0);
    sem_init(&go, 0, 0);
    CHECK(pthread_create(&late.waker, NULL, waker_thread, NULL) == 0);
    sem_wait(&tried);
    sys_table.eventfd = held_eventfd;
    CHECK(pthread_create(&late.thread, NULL, work, channel) == 0);
    sem_wait(&tried);
    return late;
}

/* Lets it go on, to its end. */
static void late_end(struct late late) {
    sem_post(&go);
    sem_post(&go);
    pthread_join(late.thread, NULL);
    pthread_join(late.waker, NULL);
}

static void *late_sync(void *channel) {
    held = true;
    EXPECT(hawser_send_sync(channel, noise(0), 10, HAWSER_FOREVER), 0);
    return NULL;
}

/* The acknowledgement that one thread is about to sleep for is read by another, to which it is not enough. */
static void late_asker(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    struct late late = late_begin(late_sync, sender);
    recv_one(receiver, 0, 10);
    EXPECT(hawser_send_sync(sender, noise(1), 10, HAWSER_NOW), -EINPROGRESS);
    late_end(late);
    recv_one(receiver, 1, 10);
    hawser_close(sender);
    hawser_close(receiver);
}

static int held_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
    if (held && !timeout) {
        held = false;
        sem_post(&tried);
        sem_wait(&go);
    }
    return sys_table_real.ppoll(fds, n, timeout, mask);
}

static void *late_poll(void *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    held = true;
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
    return NULL;
}

/* The message that one thread is about to sleep for is read by the poll of another, which does not receive it; or by its arm. */
static void late_poller(struct cell *cell) {
    hawser_channel *sender, *receiver;
    hawser_poll_item item;
    pthread_t late;
    int fd;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_fd(receiver, &fd), 0);
    item = (hawser_poll_item){ .channel = receiver, .events = HAWSER_IN };
    sem_init(&tried, 0, 0);
    sem_init(&go, 0, 0);
    sys_table.ppoll = held_ppoll;
    for (uint64_t i = 0; i < 2; i++) {
        CHECK(pthread_create(&late, NULL, late_poll, receiver) == 0);
        sem_wait(&tried);
        send_one(sender, i, 10);
        if (i == 0)
            EXPECT(hawser_poll(&item, 1, 5 * SECOND), 1);
        while (i == 1 && EXPECT_EITHER(hawser_arm(receiver), 0, 1) == 0)
            nap(MS);
        sem_post(&go);
        pthread_join(late, NULL);
        recv_one(receiver, i, 10);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

enum { LATE_SMALL = 100, LATE_LARGE = 60000 };

static void *late_small(void *channel) {
    held = true;
    EXPECT(hawser_send(channel, noise(0), LATE_SMALL, HAWSER_FOREVER), 0);
    return NULL;
}

static void *late_large(void *channel) {
    held = true;
    EXPECT(hawser_send(channel, noise(0), LATE_LARGE, HAWSER_FOREVER), 0);
    return NULL;
}

/* There is room again for the small message of a thread that is about to sleep, but none for another's large one. */
static void late_sender(struct cell *cell) {
    hawser_channel *sender, *receiver;
    hawser_message taken;
    ends_open(cell, "ring=4K&pool=64K&linger=10ms", &sender, &receiver);
    send_one(sender, 0, LATE_LARGE);
    EXPECT(hawser_take(receiver, HAWSER_FOREVER, &taken), 0);
    fill(sender, 0, LATE_SMALL);
    struct late late = late_begin(late_small, sender);
    for (uint64_t i = 0; i < 8; i++)
        recv_one(receiver, i, LATE_SMALL);
    EXPECT(hawser_send(sender, noise(0), LATE_LARGE, HAWSER_NOW), -EAGAIN);
    late_end(late);
    EXPECT(hawser_release(receiver, &taken), 0);
    hawser_close(sender);
    hawser_close(receiver);
}

/* A thread waits, or is about to, for room that another's loan has; which is given back. */
static void discarded(struct cell *cell) {
    hawser_channel *sender, *receiver;
    pthread_t sleeper;
    void *lent;
    ends_open(cell, "pool=64K", &sender, &receiver);
    EXPECT(hawser_loan(sender, LATE_LARGE, HAWSER_FOREVER, &lent), 0);
    struct late late = late_begin(late_large, sender);
    EXPECT(hawser_discard(sender, lent), 0);
    late_end(late);
    recv_one(receiver, 0, LATE_LARGE);
    EXPECT(hawser_loan(sender, LATE_LARGE, HAWSER_FOREVER, &lent), 0);
    CHECK(pthread_create(&sleeper, NULL, late_large, sender) == 0); /* has a waker of one that has ended: is not held */
    until_asleep(getpid());
    EXPECT(hawser_discard(sender, lent), 0);
    pthread_join(sleeper, NULL);
    recv_one(receiver, 0, LATE_LARGE);
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- any number may accept ---- */

static void *accept_thread(void *argument) {
    hawser_channel *channel = accept_one(argument);
    recv_one(channel, 5, 50);
    hawser_close(channel);
    return NULL;
}

static void acceptors(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    pid_t children[CREW];
    for (int k = 0; k < CREW; k++) {
        children[k] = fork_child();
        if (children[k] == 0) {
            hawser_channel *channel = connect_bound(cell, "");
            send_one(channel, 5, 50);
            hawser_close(channel);
            exit(0);
        }
    }
    pthread_t threads[CREW];
    for (int k = 0; k < CREW; k++)
        CHECK(pthread_create(&threads[k], NULL, accept_thread, listener) == 0);
    for (int k = 0; k < CREW; k++) {
        pthread_join(threads[k], NULL);
        reap(children[k]);
    }
    hawser_listener_close(listener);
}

const struct promise threads_promises[] = {
    { "four_and_four", four_and_four, 0, PLAIN | LADDER | TIGHT, false, 60 },
    { "all_calls", all_calls, FIFO, PLAIN | LADDER | TIGHT, false, 60 },
    { "halves", halves, FIFO, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "left_behind", left_behind, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "late_asker", late_asker, FIFO, MANY, false, 5 },
    { "late_poller", late_poller, 0, MANY, false, 5 },
    { "late_sender", late_sender, (unsigned)~SHM, MANY, false, 5 },
    { "discarded", discarded, (unsigned)~SHM, MANY, false, 5 },
    { "acceptors", acceptors, 0, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
