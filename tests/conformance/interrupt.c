/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser_interrupt, from a thread and from a signal handler: the call that waits, else the next one, is -ECANCELED; once.
 * And signals of others: no call ever returns -EINTR. */

#include "suite.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static hawser_channel *volatile in_handler;
static hawser_listener *volatile listener_in_handler;

static void handler(int number) {
    (void)number;
    hawser_interrupt(in_handler);
    hawser_listener_interrupt(listener_in_handler);
}

static void handle(void (*function)(int)) {
    struct sigaction action = { .sa_handler = function };
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

/* ---- while a call waits ---- */

struct interrupter {
    pthread_t waiting;
    hawser_channel *channel;
    bool by_signal;
    uint64_t sent; /* not before the channel has sent so many */
};

static void until_sent(hawser_channel *channel, uint64_t n) {
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    EXPECT(hawser_statistics(channel, &statistics), 0);
    while (statistics.messages_sent < n) {
        nap(MS);
        EXPECT(hawser_statistics(channel, &statistics), 0);
    }
}

static void *interrupt_later(void *argument) {
    struct interrupter *interrupter = argument;
    until_sent(interrupter->channel, interrupter->sent);
    until_asleep(getpid());
    if (interrupter->by_signal)
        pthread_kill(interrupter->waiting, SIGUSR1);
    else
        hawser_interrupt(interrupter->channel);
    return NULL;
}

static int wait_recv(hawser_channel *channel) {
    char byte;
    size_t size;
    return hawser_recv(channel, &byte, 1, HAWSER_FOREVER, &size);
}

static int wait_take(hawser_channel *channel) {
    hawser_message message;
    return hawser_take(channel, HAWSER_FOREVER, &message);
}

static int wait_poll(hawser_channel *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_IN };
    return hawser_poll(&item, 1, HAWSER_FOREVER);
}

static int wait_poll_out(hawser_channel *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_OUT };
    return hawser_poll(&item, 1, HAWSER_FOREVER);
}

static int wait_send(hawser_channel *channel) { return hawser_send(channel, noise(0), 1000, HAWSER_FOREVER); }
static int wait_flush(hawser_channel *channel) { return hawser_flush(channel, HAWSER_FOREVER); }
static int wait_sync(hawser_channel *channel) { return hawser_send_sync(channel, noise(0), 1000, HAWSER_FOREVER); }

static void expect_canceled(hawser_channel *channel, int (*waiter)(hawser_channel *channel)) {
    bool sends = waiter == wait_sync;
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        struct interrupter interrupter = { .waiting = pthread_self(), .channel = channel, .by_signal = by_signal };
        interrupter.sent = sends ? (uint64_t)by_signal + 1 : 0;
        pthread_t thread;
        in_handler = channel;
        CHECK(pthread_create(&thread, NULL, interrupt_later, &interrupter) == 0);
        EXPECT(waiter(channel), -ECANCELED);
        pthread_join(thread, NULL);
        in_handler = NULL;
    }
}

static void waiting(struct cell *cell) {
    hawser_channel *sender, *receiver;
    handle(handler);
    ends_open(cell, "linger=10ms", &sender, &receiver);
    expect_canceled(receiver, wait_recv);
    expect_canceled(receiver, wait_take);
    expect_canceled(receiver, wait_poll);
    send_one(sender, 0, 10); /* unharmed */
    recv_one(receiver, 0, 10);
    fill(sender, 0, 1000);
    expect_canceled(sender, wait_send);
    hawser_close(sender);
    hawser_close(receiver);
}

/* A batch that had begun succeeds with what was sent; the interrupt is the next call's. */
static void waiting_many(struct cell *cell) {
    static hawser_message messages[20000]; /* more than any mechanism queues */
    const size_t n = sizeof messages / sizeof messages[0];
    hawser_channel *sender, *receiver;
    size_t sent = 0;
    pthread_t thread;
    ends_open(cell, "linger=10ms", &sender, &receiver);
    for (size_t i = 0; i < n; i++)
        messages[i] = (hawser_message){ .data = noise(0), .size = 1000 };
    struct interrupter interrupter = { .channel = sender, .sent = 1 };
    CHECK(pthread_create(&thread, NULL, interrupt_later, &interrupter) == 0);
    EXPECT(hawser_send_many(sender, messages, n, HAWSER_FOREVER, &sent), 0);
    pthread_join(thread, NULL);
    CHECK(sent > 0 && sent < n);
    EXPECT(hawser_send_many(sender, messages, n, HAWSER_FOREVER, &sent), -ECANCELED);
    recv_one(receiver, 0, 1000);
    hawser_close(sender);
    hawser_close(receiver);
}

/* Interrupted once sent: the message still arrives. */
static void waiting_sync(struct cell *cell) {
    hawser_channel *sender, *receiver;
    handle(handler);
    ends_open(cell, "linger=10ms", &sender, &receiver);
    expect_canceled(sender, wait_sync);
    expect_canceled(sender, wait_flush);
    recv_one(receiver, 0, 1000); /* by thread and by signal: two of them */
    recv_one(receiver, 0, 1000);
    char byte;
    size_t size;
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    EXPECT(hawser_flush(sender, 5 * SECOND), 0);
    hawser_close(sender);
    hawser_close(receiver);
}

/* More threads wait on one channel than it keeps a list of: each interrupt ends one call. */

enum { CROWD = 20 };

static hawser_channel *crowded;
static sem_t cancelled;

static void *crowd_thread(void *waiter) {
    EXPECT((*(int (**)(hawser_channel *))waiter)(crowded), -ECANCELED);
    sem_post(&cancelled);
    return NULL;
}

static void crowd_of(hawser_channel *channel, int (*waiter)(hawser_channel *channel)) {
    pthread_t threads[CROWD];
    crowded = channel;
    sem_init(&cancelled, 0, 0);
    for (int k = 0; k < CROWD; k++)
        CHECK(pthread_create(&threads[k], NULL, crowd_thread, &waiter) == 0);
    for (int k = 0; k < CROWD; k++) {
        until_asleep(getpid());
        hawser_interrupt(channel);
        sem_wait(&cancelled);
    }
    for (int k = 0; k < CROWD; k++)
        pthread_join(threads[k], NULL);
}

static void crowd(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "linger=10ms", &sender, &receiver);
    crowd_of(receiver, wait_recv);
    crowd_of(receiver, wait_poll);
    fill(sender, 0, 1000);
    crowd_of(sender, wait_send);
    crowd_of(sender, wait_poll_out);
    hawser_close(sender);
    hawser_close(receiver);
}

/* ---- nobody waits: the next call, and only that ---- */

static void next_call(struct cell *cell) {
    hawser_channel *sender, *receiver;
    char byte;
    size_t size;
    ends_open(cell, "", &sender, &receiver);
    hawser_interrupt(receiver);
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_FOREVER, &size), -ECANCELED);
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    hawser_interrupt(receiver);
    hawser_interrupt(receiver); /* not counted */
    EXPECT(wait_poll(receiver), -ECANCELED);
    EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    fill(sender, 0, 1000);
    hawser_interrupt(sender);
    EXPECT(wait_send(sender), -ECANCELED);
    EXPECT(hawser_send(sender, noise(0), 1000, HAWSER_NOW), -EAGAIN);
    recv_one(receiver, 0, 1000);
    hawser_close(receiver);
    hawser_close(sender);
}

/* ---- listeners ---- */

static void *interrupt_listener_later(void *argument) {
    until_asleep(getpid());
    hawser_listener_interrupt(argument);
    return NULL;
}

static void *signal_later(void *argument) {
    until_asleep(getpid());
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

static void accepting(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    hawser_channel *channel = NULL;
    pthread_t thread, self = pthread_self();
    hawser_listener_interrupt(listener);
    EXPECT(hawser_accept(listener, HAWSER_FOREVER, &channel), -ECANCELED);
    EXPECT(hawser_accept(listener, HAWSER_NOW, &channel), -EAGAIN);
    CHECK(pthread_create(&thread, NULL, interrupt_listener_later, listener) == 0);
    EXPECT(hawser_accept(listener, HAWSER_FOREVER, &channel), -ECANCELED);
    pthread_join(thread, NULL);
    handle(handler);
    listener_in_handler = listener;
    CHECK(pthread_create(&thread, NULL, signal_later, &self) == 0);
    EXPECT(hawser_accept(listener, HAWSER_FOREVER, &channel), -ECANCELED);
    pthread_join(thread, NULL);
    CHECK(pthread_create(&thread, NULL, interrupt_listener_later, listener) == 0);
    hawser_poll_item item = { .listener = listener, .events = HAWSER_IN };
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), -ECANCELED);
    pthread_join(thread, NULL);
    listener_in_handler = NULL;
    hawser_listener_close(listener);
}

/* ---- other people's signals ---- */

static volatile int stop;
static void ignore(int number) { (void)number; }

static void *storm(void *argument) {
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        pthread_kill(*(pthread_t *)argument, SIGUSR1);
        nap(200000);
    }
    return NULL;
}

static void stormy_sender(struct side *side) {
    for (uint64_t i = 0; i < 3000; i++) {
        size_t size = i % 100 ? i % 2000 : 200000;
        if (i % 10 == 0 && can(side->cell, HAWSER_CAN_SYNC))
            EXPECT(hawser_send_sync(side->channel, noise(i), size, HAWSER_FOREVER), 0);
        else
            send_one(side->channel, i, size);
    }
}

static void stormy_receiver(struct side *side) {
    char byte;
    size_t size;
    for (uint64_t i = 0; i < 3000; i++)
        recv_one(side->channel, i, i % 100 ? i % 2000 : 200000);
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_FOREVER, &size), -ESHUTDOWN);
}

static void in_storm(struct side *side, act *inner) {
    pthread_t thread, self = pthread_self();
    handle(ignore);
    CHECK(pthread_create(&thread, NULL, storm, &self) == 0);
    char byte;
    size_t size;
    if (inner == stormy_receiver) { /* a timeout is not cut short, nor drawn out, by signals */
        int64_t began = now_ns();
        EXPECT(hawser_recv(side->channel, &byte, 1, 30 * MS, &size), -ETIMEDOUT);
        CHECK(now_ns() - began >= 30 * MS && now_ns() - began < 3 * SECOND);
        tell(side);
    } else {
        hear(side);
    }
    inner(side);
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    stop = 0;
}

static void storm_sends(struct side *side) { in_storm(side, stormy_sender); }
static void storm_receives(struct side *side) { in_storm(side, stormy_receiver); }
static void signals(struct cell *cell) { meet_both_ways(cell, "", storm_sends, storm_receives); }

const struct promise interrupt_promises[] = {
    { "waiting", waiting, 0, PLAIN | LADDER | MANY, false, 0 },
    { "waiting_many", waiting_many, 0, PLAIN | LADDER | MANY, false, 0 },
    { "waiting_sync", waiting_sync, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "crowd", crowd, 0, MANY, false, 0 },
    { "next_call", next_call, 0, PLAIN | LADDER | MANY, false, 0 },
    { "accepting", accepting, 0, PLAIN, false, 0 },
    { "signals", signals, 0, PLAIN | LADDER | TIGHT, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
