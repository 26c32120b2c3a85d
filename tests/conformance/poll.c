/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Many channels and listeners in one poll, and the descriptor for other people's event loops. */

#include "suite.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static uint32_t polled(hawser_channel *channel, uint32_t events) {
    hawser_poll_item item = { .channel = channel, .events = events, .ret_events = 77 };
    int n = hawser_poll(&item, 1, HAWSER_NOW);
    if (n == -EAGAIN)
        return 0;
    EXPECT(n, 1);
    CHECK(item.ret_events != 0 && (item.ret_events & ~events) == 0);
    return item.ret_events;
}

static void meaning(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    CHECK(polled(receiver, HAWSER_IN) == 0);
    CHECK(polled(sender, HAWSER_OUT) == HAWSER_OUT);
    send_one(sender, 0, 10);
    CHECK(polled(receiver, HAWSER_IN) == HAWSER_IN);
    CHECK(polled(receiver, HAWSER_IN) == HAWSER_IN); /* level, not edge */
    recv_one(receiver, 0, 10);
    CHECK(polled(receiver, HAWSER_IN) == 0);
    uint64_t n = fill(sender, 0, 1);
    CHECK(polled(sender, HAWSER_OUT) == 0);
    drain(sender, receiver, 0, n, 1);
    CHECK(polled(sender, HAWSER_OUT) == HAWSER_OUT);
    EXPECT(hawser_send(sender, noise(n), 1, HAWSER_NOW), 0); /* OUT means it: a byte goes */
    recv_one(receiver, n, 1);
    hawser_close(sender);
    hawser_poll_item item = { .channel = receiver, .events = HAWSER_IN };
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1); /* the end counts as something to receive */
    hawser_close(receiver);
}

/* Where a send found no room, HAWSER_OUT means room for the like of it: whoever polls and tries again never does so in vain,
 * nor waits when all is taken. */
enum way { ONE, SEVERAL, WITH_FD, LOAN, WAYS };
enum { REFUSED_SMALL = 60 };

static int try_send(hawser_channel *channel, enum way way, uint64_t number, size_t size, size_t *ret_sent) {
    hawser_message messages[8];
    void *loan;
    int fd = 0, status;
    *ret_sent = 1;
    for (unsigned i = 0; i < 8; i++)
        messages[i] = (hawser_message){ .data = noise(number + i), .size = size };
    switch (way) {
    case SEVERAL: return hawser_send_many(channel, messages, 8, HAWSER_NOW, ret_sent);
    case WITH_FD: return hawser_send_fds(channel, noise(number), size, &fd, 1, HAWSER_NOW);
    case LOAN:
        status = hawser_loan(channel, size, HAWSER_NOW, &loan);
        if (status < 0)
            return status;
        memcpy(loan, noise(number), size);
        return hawser_commit(channel, loan, size);
    default: return hawser_send(channel, noise(number), size, HAWSER_NOW);
    }
}

/* Receives until there is room again; the first n_small messages are small ones. */
static uint64_t make_room(hawser_channel *sender, hawser_channel *receiver, uint64_t received, uint64_t n_small, size_t size) {
    static uint8_t buffer[NOISE];
    int64_t deadline = now_ns() + 5 * SECOND;
    while (polled(sender, HAWSER_OUT) == 0) {
        size_t got;
        CHECK(now_ns() < deadline);
        if (EXPECT_EITHER(hawser_recv(receiver, buffer, sizeof buffer, MS, &got), 0, -ETIMEDOUT) < 0)
            continue;
        check_bytes(buffer, got, received, received < n_small ? REFUSED_SMALL : size);
        received++;
    }
    return received;
}

static void refused_way(struct cell *cell, enum way way, size_t size) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "", &sender, &receiver);
    uint64_t n_small = fill(sender, 0, REFUSED_SMALL), sent = n_small, received = 0;
    size_t n;
    for (int round = 0; round < 6; round++) {
        int status = 0;
        for (int k = 0; status == 0; k++) {
            status = try_send(sender, way, sent, size, &n);
            CHECK(status == 0 || round == 0 || k > 0); /* there was room */
            sent += status == 0 ? n : 0;
        }
        EXPECT(status, -EAGAIN);
        received = make_room(sender, receiver, received, n_small, size);
    }
    CHECK(received > 0);
    hawser_close(sender);
    hawser_close(receiver);
}

static void refused(struct cell *cell) {
    static const size_t sizes[] = { 500, 5000, 70000, 1000000 };
    enum mechanism mechanism = cell->place->mechanism;
    unsigned n = mechanism == SHM ? 4 : mechanism == TCP ? 1 : 3; /* what is larger than a queue is new to shm alone; tcp takes long */
    for (enum way way = ONE; way < WAYS; way++)
        for (unsigned i = 0; i < n; i++)
            if (way != WITH_FD || can(cell, HAWSER_CAN_DESCRIPTORS))
                refused_way(cell, way, sizes[i]);
}

/* A receiver that goes is news for who polls for room. */
static void out_of_gone(struct cell *cell) {
    hawser_channel *sender, *receiver;
    ends_open(cell, "linger=10ms", &sender, &receiver);
    fill(sender, 0, 1000);
    fill(sender, 0, 1); /* where a large one finds no room, a small one may */
    hawser_close(receiver);
    hawser_poll_item item = { .channel = sender, .events = HAWSER_OUT };
    EXPECT(hawser_poll(&item, 1, 10 * SECOND), 1);
    CHECK(item.ret_events == HAWSER_OUT);
    int status;
    while ((status = hawser_send(sender, "x", 1, HAWSER_FOREVER)) == 0) /* there may have been room as well */
        continue;
    EXPECT(status, -EPIPE);
    hawser_close(sender);
}

static void none(struct cell *cell) {
    (void)cell;
    hawser_poll_item items[2] = { { .ret_events = 5 }, { .ret_events = 5 } };
    int64_t began = now_ns();
    EXPECT(hawser_poll(NULL, 0, 20 * MS), -ETIMEDOUT);
    EXPECT(hawser_poll(items, 2, 20 * MS), -ETIMEDOUT); /* both NULL: skipped */
    CHECK(now_ns() - began >= 40 * MS);
    EXPECT(hawser_poll(NULL, 0, HAWSER_NOW), -EAGAIN);
}

/* ---- a process sleeps in poll ---- */

static void late_sender(struct side *side) {
    for (uint64_t k = 0; k < 5; k++) {
        hear(side);
        until_asleep(side->other);
        send_one(side->channel, k, k == 4 ? 100000 : 100);
    }
}

static void sleeping_poller(struct side *side) {
    hawser_poll_item item = { .channel = side->channel, .events = HAWSER_IN };
    for (uint64_t k = 0; k < 5; k++) {
        tell(side);
        EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
        recv_one(side->channel, k, k == 4 ? 100000 : 100);
    }
    EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
    char byte;
    size_t size;
    EXPECT(hawser_recv(side->channel, &byte, 1, HAWSER_NOW, &size), -ESHUTDOWN);
}

static void sleeping(struct cell *cell) { meet_both_ways(cell, "", late_sender, sleeping_poller); }

static void slow_receiver(struct side *side) {
    hear(side);
    until_asleep(side->other);
    for (uint64_t i = 0; i < side->cell->shared[0] + 500; i++)
        recv_one(side->channel, i, 1000);
}

static void out_poller(struct side *side) {
    uint64_t n = fill(side->channel, 0, 1000);
    side->cell->shared[0] = n;
    tell(side);
    for (uint64_t i = n; i < n + 500;) {
        hawser_poll_item item = { .channel = side->channel, .events = HAWSER_OUT };
        EXPECT(hawser_poll(&item, 1, HAWSER_FOREVER), 1);
        i += EXPECT_EITHER(hawser_send(side->channel, noise(i), 1000, HAWSER_NOW), 0, -EAGAIN) == 0;
    }
}

static void sleeping_out(struct cell *cell) { meet_both_ways(cell, "", out_poller, slow_receiver); }

/* ---- 64 at once ---- */

enum { CROWD = 64, CROWD_ROUNDS = 2000 };

static void crowd_child(struct cell *cell, int n) {
    hawser_channel *channels[CROWD];
    uint64_t sent[CROWD] = { 0 }, state = 99;
    for (int i = 0; i < n; i++)
        channels[i] = connect_bound(cell, "");
    for (int round = 0; round < CROWD_ROUNDS; round++) {
        int i = (int)(random_next(&state) % (unsigned)n);
        send_one(channels[i], sent[i], (size_t)(sent[i] % 600));
        sent[i]++;
    }
    for (int i = 0; i < n; i++)
        hawser_close(channels[i]);
}

/* RLIMIT_MSGQUEUE bounds mq: two queues a channel, of 10 packets of 512 bytes and what the kernel adds. */
static int crowd_size(struct cell *cell) { return cell->place->mechanism == MQ ? 32 : CROWD; }

static bool crowd_receive(hawser_channel *channel, uint64_t *received) {
    static uint8_t buffer[1000];
    size_t size;
    for (;;) {
        int status = hawser_recv(channel, buffer, sizeof buffer, HAWSER_NOW, &size);
        if (status == -EAGAIN)
            return true;
        if (status == -ESHUTDOWN)
            return false;
        EXPECT(status, 0);
        check_bytes(buffer, size, *received, (size_t)(*received % 600));
        ++*received;
    }
}

static void crowd(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    hawser_poll_item items[CROWD + 1] = { { .listener = listener, .events = HAWSER_IN } };
    uint64_t received[CROWD + 1] = { 0 }, all = 0;
    int n = crowd_size(cell), accepted = 0, ended = 0;
    pid_t child = fork_child();
    if (child == 0) {
        hawser_listener_close(listener);
        crowd_child(cell, n);
        exit(0);
    }
    while (ended < n) {
        int ready = hawser_poll(items, CROWD + 1, HAWSER_FOREVER), seen = 0;
        CHECK(ready >= 1);
        for (int i = 0; i <= accepted; i++) {
            seen += items[i].ret_events != 0;
            if (i > 0 && items[i].ret_events && !crowd_receive(items[i].channel, &received[i])) {
                items[i].channel = hawser_close(items[i].channel);
                ended++;
            }
        }
        CHECK(seen == ready);
        if (items[0].ret_events) {
            accepted++;
            items[accepted] = (hawser_poll_item){ .channel = accept_one(listener), .events = HAWSER_IN };
        }
    }
    for (int i = 1; i <= n; i++)
        all += received[i];
    CHECK(all == CROWD_ROUNDS);
    reap(child);
    hawser_listener_close(listener);
}

/* ---- epoll ---- */

enum { BURSTS = 60 };

static size_t burst_size(uint64_t number) { return number % 50 == 49 ? 70000 : number % 700; }

/* Bursts, each begun only once the other has had time to fall asleep, so that no wake-up can hide behind another. */
static void burst_sender(struct side *side) {
    uint64_t number = 0;
    for (uint64_t burst = 0; burst < BURSTS; burst++) {
        hear(side);
        if (burst % 3 == 0)
            until_asleep(side->other);
        for (uint64_t i = 0; i < 1 + burst % 20; i++, number++)
            send_one(side->channel, number, burst_size(number));
    }
}

static void epoll_receive(struct side *side, uint32_t edge) {
    static uint8_t buffer[NOISE];
    int fd = -1, epoll = epoll_create1(EPOLL_CLOEXEC), status = -EAGAIN;
    EXPECT(hawser_fd(side->channel, &fd), 0);
    struct epoll_event event = { .events = EPOLLIN | edge };
    CHECK(epoll >= 0 && fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (uint64_t number = 0, burst = 0, wanted = 0; status != -ESHUTDOWN;) {
        if (number == wanted && burst < BURSTS) {
            wanted += 1 + burst++ % 20;
            tell(side);
        }
        int armed = hawser_arm(side->channel);
        CHECK(armed == 0 || armed == 1);
        if (armed == 0 && epoll_wait(epoll, &event, 1, 10000) != 1)
            fail(__FILE__, __LINE__, "asleep though message %llu was sent", (unsigned long long)number);
        for (;;) {
            size_t size;
            status = hawser_recv(side->channel, buffer, sizeof buffer, HAWSER_NOW, &size);
            if (status < 0)
                break;
            check_bytes(buffer, size, number, burst_size(number));
            number++;
        }
        CHECK(status == -EAGAIN || (status == -ESHUTDOWN && number == wanted));
    }
    close(epoll);
}

static void level_receiver(struct side *side) { epoll_receive(side, 0); }
static void edge_receiver(struct side *side) { epoll_receive(side, EPOLLET); }
static void epoll_level(struct cell *cell) { meet_both_ways(cell, "", burst_sender, level_receiver); }
static void epoll_edge(struct cell *cell) { meet_both_ways(cell, "", burst_sender, edge_receiver); }

/* Armed on an idle channel it stays quiet: no loop of wake-ups about nothing. */
static void quiet(struct cell *cell) {
    hawser_channel *sender, *receiver;
    int fd, quiet_waits = 0;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_fd(receiver, &fd), 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN };
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    send_one(sender, 0, 10);
    recv_one(receiver, 0, 10);
    for (int i = 0; i < 5; i++) {
        char byte;
        size_t size;
        int armed = hawser_arm(receiver);
        if (armed == 0)
            quiet_waits += epoll_wait(epoll, &event, 1, 10) == 0;
        EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
    }
    CHECK(quiet_waits >= 3);
    close(epoll);
    hawser_close(sender);
    hawser_close(receiver);
}

static int readable(int fd, int milliseconds) {
    struct pollfd item = { .fd = fd, .events = POLLIN };
    return poll(&item, 1, milliseconds);
}

/* Between arm and sleep this end sends, and hears what came on the way: it is told of that all the same. */
static void armed_sends(struct cell *cell) {
    hawser_channel *other, *armed;
    int fd;
    ends_open(cell, "", &other, &armed);
    EXPECT(hawser_fd(armed, &fd), 0);
    for (uint64_t i = 0; i < 3; i++) {
        char message[10];
        size_t size;
        while (EXPECT_EITHER(hawser_arm(armed), 0, 1) == 1)
            EXPECT(hawser_recv(armed, message, sizeof message, HAWSER_NOW, &size), -EAGAIN);
        send_one(other, i, 10);
        EXPECT(hawser_send_sync(armed, noise(i), 10, HAWSER_NOW), -EINPROGRESS);
        CHECK(readable(fd, 5000) == 1);
        while (EXPECT_EITHER(hawser_recv(armed, message, sizeof message, HAWSER_NOW, &size), 0, -EAGAIN) < 0)
            if (EXPECT_EITHER(hawser_arm(armed), 0, 1) == 0)
                CHECK(readable(fd, 5000) == 1);
        check_bytes(message, size, i, 10);
        recv_one(other, i, 10);
    }
    hawser_close(other);
    hawser_close(armed);
}

static void *try_thread(void *channel) {
    char message[10];
    size_t size;
    EXPECT(hawser_recv(channel, message, sizeof message, HAWSER_NOW, &size), -EAGAIN);
    return NULL;
}

/* Another thread tries to receive while one sleeps on the descriptor: who sleeps hears of what comes later all the same. */
static void armed_tried(struct cell *cell) {
    hawser_channel *sender, *armed;
    char message[10];
    size_t size;
    int fd;
    ends_open(cell, "", &sender, &armed);
    EXPECT(hawser_fd(armed, &fd), 0);
    for (uint64_t i = 0; i < 3; i++) {
        pthread_t thread;
        while (EXPECT_EITHER(hawser_arm(armed), 0, 1) == 1)
            EXPECT(hawser_recv(armed, message, sizeof message, HAWSER_NOW, &size), -EAGAIN);
        CHECK(pthread_create(&thread, NULL, try_thread, armed) == 0);
        pthread_join(thread, NULL);
        send_one(sender, i, 10);
        CHECK(readable(fd, 5000) == 1);
        while (EXPECT_EITHER(hawser_recv(armed, message, sizeof message, HAWSER_NOW, &size), 0, -EAGAIN) < 0)
            if (EXPECT_EITHER(hawser_arm(armed), 0, 1) == 0)
                CHECK(readable(fd, 5000) == 1);
        check_bytes(message, size, i, 10);
    }
    hawser_close(sender);
    hawser_close(armed);
}

/* Who sleeps on the descriptor is interrupted, too. */
static void armed_interrupt(struct cell *cell) {
    hawser_channel *sender, *receiver;
    char byte;
    int fd;
    size_t size;
    ends_open(cell, "", &sender, &receiver);
    EXPECT(hawser_fd(receiver, &fd), 0);
    for (int early = 0; early < 2; early++) {
        while (EXPECT_EITHER(hawser_arm(receiver), 0, 1) == 1 || readable(fd, 0) != 0)
            EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
        if (early)
            EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_NOW, &size), -EAGAIN);
        hawser_interrupt(receiver);
        if (early)
            EXPECT(hawser_arm(receiver), 1);
        else
            CHECK(readable(fd, 5000) == 1);
        EXPECT(hawser_recv(receiver, &byte, 1, HAWSER_FOREVER, &size), -ECANCELED);
    }
    hawser_close(sender);
    hawser_close(receiver);
}

static void listener_epoll(struct cell *cell) {
    hawser_listener *listener = listen_new(cell, "");
    hawser_channel *channel = NULL;
    int fd = -1, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN };
    EXPECT(hawser_listener_fd(listener, &fd), 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 10) == 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *mine = connect_bound(cell, "");
        send_one(mine, 0, 10);
        hawser_close(mine);
        exit(0);
    }
    do
        CHECK(epoll_wait(epoll, &event, 1, 10000) == 1);
    while (EXPECT_EITHER(hawser_accept(listener, HAWSER_NOW, &channel), 0, -EAGAIN) != 0);
    recv_one(channel, 0, 10);
    reap(child);
    hawser_close(channel);
    hawser_listener_close(listener);
    close(epoll);
}

const struct promise poll_promises[] = {
    { "meaning", meaning, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "refused", refused, 0, PLAIN, false, 0 },
    { "out_of_gone", out_of_gone, 0, PLAIN | LADDER, false, 0 },
    { "none", none, (unsigned)~SHM, PLAIN, false, 0 },
    { "sleeping", sleeping, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "sleeping_out", sleeping_out, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "crowd", crowd, 0, PLAIN | LADDER, false, 0 },
    { "epoll_level", epoll_level, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "epoll_edge", epoll_edge, 0, PLAIN | LADDER | TIGHT | MANY, false, 0 },
    { "quiet", quiet, 0, PLAIN | LADDER, false, 0 },
    { "armed_sends", armed_sends, FIFO, PLAIN | LADDER | MANY, false, 0 },
    { "armed_tried", armed_tried, 0, MANY, false, 0 },
    { "armed_interrupt", armed_interrupt, 0, PLAIN | LADDER | MANY, false, 0 },
    { "listener_epoll", listener_epoll, 0, PLAIN, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
