/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Everything a mechanism can do, with a model beside it. The rules, whatever fails below:
 *   - an error has a sentence, and is never -EINTR
 *   - what arrives is the next message that a send accepted, whole
 *   - the orderly end (-ESHUTDOWN) comes only when everything accepted has arrived
 *   - a receiver that is told of no error gets everything that was accepted */

#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ll
#define QUIET (MS / 5)     /* where nothing is to come: enough to fall asleep in */
#define PATIENCE (300 * MS)
#define GIVEN_UP (30 * MS) /* the same, where an error was told: what is missing may never come */
#define TRIES_NOW 200 /* while nothing comes: so many without a wait (where an error was told, ten more), ... */
#define TRIES 500     /* ... and so many in all before patience may end: on a busy machine time alone says nothing */

enum { ACCEPTED_MAX = 256, LARGE = 300000, WINDOWS = 4093 };

const struct mechanism mechanisms[] = {
    { "shm", "shm://n", LARGE },
    { "pipe", "pipe://n", LARGE },
    { "fifo", "fifo://*/f", LARGE },
    { "unix", "unix://*/u", LARGE },
    { "tcp", "tcp://127.0.0.1:0", LARGE },
    { "mq", "mq://n", 20000 },
    { "sysv", "sysv://n", 50000 },
    { NULL, NULL, 0 },
};

/* One direction: what was accepted and has not arrived. */
struct flow {
    hawser_channel *from, *to;
    size_t sizes[ACCEPTED_MAX];
    uint64_t accepted, arrived;
    bool broken; /* an error said that the link has ended */
    bool fallible; /* some error was told: what is missing may be its doing */
};

struct scene {
    const struct mechanism *mechanism;
    bool strict;
    int capabilities;
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener;
    struct flow there, back;
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Holds an answer to the rules; returns it. */
static int judge(const struct scene *scene, const char *what, int status) {
    if (status >= 0)
        return status;
    const char *sentence = hawser_explain();
    if (status == -EINTR)
        fatal("%s: -EINTR", what);
    if (!*sentence)
        fatal("%s: %s without a sentence", what, strerror(-status));
    bool waits = status == -EAGAIN || status == -ETIMEDOUT || status == -EINPROGRESS || status == -ESHUTDOWN;
    if (scene->strict && !waits)
        fatal("%s: %s though nothing failed: %s", what, strerror(-status), sentence);
    return status;
}

static int judge_flow(const struct scene *scene, struct flow *flow, const char *what, int status) {
    judge(scene, what, status);
    if (status == -EPIPE || status == -ECONNRESET || status == -EPROTO)
        flow->broken = true;
    if (status < 0 && status != -EAGAIN && status != -ETIMEDOUT && status != -EINPROGRESS && status != -ESHUTDOWN)
        flow->fallible = true;
    return status;
}

/* ---- messages ---- */

/* Every message is a window of this, which is made once, before the many processes. */
static uint8_t noise[LARGE + WINDOWS];

void scenario_prepare(void) {
    for (size_t at = 0; at < sizeof noise; at++)
        noise[at] = (uint8_t)(at * 7 + at / 251);
}

static const uint8_t *body(uint64_t number) { return noise + number * 31 % WINDOWS; }

static void accept_message(struct flow *flow, size_t size) { flow->sizes[flow->accepted++ % ACCEPTED_MAX] = size; }

static void arrive(struct flow *flow, const uint8_t *data, size_t size) {
    uint64_t number = flow->arrived;
    if (number >= flow->accepted)
        fatal("a message of %zu bytes arrives that no send accepted", size);
    if (size != flow->sizes[number % ACCEPTED_MAX])
        fatal("message %llu arrives with %zu bytes, not %zu", (unsigned long long)number, size, flow->sizes[number % ACCEPTED_MAX]);
    if (size > 0 && memcmp(data, body(number), size) != 0)
        fatal("message %llu of %zu bytes arrives altered", (unsigned long long)number, size);
    flow->arrived++;
}

static void say(struct scene *scene, struct flow *flow, size_t size) {
    int status = judge_flow(scene, flow, "send", hawser_send(flow->from, body(flow->accepted), size, MS));
    if (status == 0)
        accept_message(flow, size);
}

static int hear(struct scene *scene, struct flow *flow, int64_t timeout) {
    static uint8_t buffer[LARGE];
    size_t size;
    int status = judge_flow(scene, flow, "recv", hawser_recv(flow->to, buffer, sizeof buffer, timeout, &size));
    if (status == 0)
        arrive(flow, buffer, size);
    if (status == -ESHUTDOWN && flow->arrived < flow->accepted && !flow->broken)
        fatal("the orderly end after %llu of %llu messages", (unsigned long long)flow->arrived, (unsigned long long)flow->accepted);
    return status;
}

/* Everything accepted so far arrives, unless an error was told; the sender is moved on meanwhile. */
static void hear_all(struct scene *scene, struct flow *flow) {
    int64_t began = now_ns();
    for (int idle = 0; flow->arrived < flow->accepted && !flow->broken;) {
        int status = hear(scene, flow, idle < TRIES_NOW ? HAWSER_NOW : MS);
        if (status == 0)
            continue;
        hawser_poll_item item = { .channel = flow->from, .events = HAWSER_OUT };
        judge_flow(scene, flow, "poll", hawser_poll(&item, 1, HAWSER_NOW));
        bool hopeful = !flow->fallible;
        if (++idle < (hopeful ? TRIES : TRIES_NOW + 10) || now_ns() < began + (hopeful ? PATIENCE : GIVEN_UP))
            continue;
        if (!flow->fallible)
            say(scene, flow, 8); /* an error that a mover met is the next send's to tell */
        if (!flow->fallible)
            fatal("%llu of %llu messages arrived, and no error was told", (unsigned long long)flow->arrived,
                  (unsigned long long)flow->accepted);
        flow->broken = true;
    }
}

/* ---- parts of the play ---- */

static void part_exchange(struct scene *scene, struct flow *flow) {
    const size_t sizes[] = { 1, 0, 100, 3000, 700 };
    for (int i = 0; i < 5; i++) {
        say(scene, flow, sizes[i]);
        if (i % 2)
            hear_all(scene, flow);
    }
    hear_all(scene, flow);
    say(scene, flow, scene->mechanism->large);
    hear_all(scene, flow);
    say(scene, flow, 8);
    hear_all(scene, flow);
}

static void part_many(struct scene *scene, struct flow *flow) {
    enum { N = 10 };
    static uint8_t bodies[N][200];
    hawser_message messages[N], taken[N];
    size_t n = 0;
    for (uint64_t i = 0; i < N; i++) {
        memcpy(bodies[i], body(flow->accepted + i), 20 * i);
        messages[i] = (hawser_message){ .data = bodies[i], .size = 20 * i };
    }
    if (judge_flow(scene, flow, "send_many", hawser_send_many(flow->from, messages, N, MS, &n)) == 0)
        for (size_t i = 0; i < n; i++)
            accept_message(flow, messages[i].size);
    if (judge_flow(scene, flow, "take_many", hawser_take_many(flow->to, taken, N, 20 * MS, &n)) == 0) {
        for (size_t i = 0; i < n; i++)
            arrive(flow, taken[i].data, taken[i].size);
        for (size_t i = 0; i < n; i++)
            judge_flow(scene, flow, "release", hawser_release(flow->to, &taken[i]));
    }
    hear_all(scene, flow);
}

static void part_loans(struct scene *scene, struct flow *flow) {
    void *loans[3] = { NULL };
    const size_t sizes[] = { 100, 20000, 50 };
    hawser_message message;
    for (int i = 0; i < 3; i++)
        judge_flow(scene, flow, "loan", hawser_loan(flow->from, sizes[i], MS, &loans[i]));
    for (int i = 0; i < 2; i++) {
        if (!loans[i])
            continue;
        memcpy(loans[i], body(flow->accepted), sizes[i]);
        if (judge_flow(scene, flow, "commit", hawser_commit(flow->from, loans[i], sizes[i])) == 0)
            accept_message(flow, sizes[i]);
    }
    judge_flow(scene, flow, "discard", hawser_discard(flow->from, loans[2]));
    if (judge_flow(scene, flow, "take", hawser_take(flow->to, 20 * MS, &message)) == 0) {
        arrive(flow, message.data, message.size);
        judge_flow(scene, flow, "release", hawser_release(flow->to, &message));
    }
    hear_all(scene, flow);
}

static void part_sync(struct scene *scene, struct flow *flow) {
    if (!(scene->capabilities & HAWSER_CAN_SYNC))
        return;
    int status = judge_flow(scene, flow, "send_sync", hawser_send_sync(flow->from, body(flow->accepted), 60, QUIET));
    /* Other errors may have come while it waited for the answer: it may arrive, and nothing says that it must. */
    if (status != -ETIMEDOUT && status != -EAGAIN)
        accept_message(flow, 60);
    if (status < 0 && status != -ETIMEDOUT && status != -EAGAIN && status != -EINPROGRESS)
        flow->fallible = true;
    hear_all(scene, flow);
    judge_flow(scene, flow, "flush", hawser_flush(flow->from, QUIET));
    if (!flow->broken)
        hear(scene, flow, HAWSER_NOW); /* what is asked is answered inside the peer's calls */
    judge_flow(scene, flow, "flush", hawser_flush(flow->from, 20 * MS));
}

/* Among so many items a channel stays armed after the poll. */
static void part_crowd(struct scene *scene, struct flow *flow) {
    if (flow->broken)
        return; /* what arrives need not be what was accepted last */
    hawser_poll_item items[20] = { [7] = { .channel = flow->to, .events = HAWSER_IN } };
    judge_flow(scene, flow, "poll", hawser_poll(items, 20, QUIET));
    say(scene, flow, 30);
    judge_flow(scene, flow, "poll", hawser_poll(items, 20, 20 * MS));
    hear(scene, flow, MS);
    items[3] = (hawser_poll_item){ .channel = flow->from, .events = HAWSER_OUT };
    judge_flow(scene, flow, "poll", hawser_poll(items, 20, MS));
    hear_all(scene, flow);
}

static void part_waiting(struct scene *scene, struct flow *flow) {
    int fd;
    hawser_poll_item items[2] = { { .channel = flow->to, .events = HAWSER_IN }, { .channel = flow->from, .events = HAWSER_OUT } };
    hear(scene, flow, QUIET); /* nothing: sleeps */
    judge_flow(scene, flow, "poll", hawser_poll(items, 1, QUIET));
    judge_flow(scene, flow, "poll", hawser_poll(items, 2, QUIET));
    judge_flow(scene, flow, "fd", hawser_fd(flow->to, &fd));
    if (judge(scene, "arm", hawser_arm(flow->to)) >= 0)
        say(scene, flow, 30);
    judge_flow(scene, flow, "poll", hawser_poll(items, 1, 20 * MS));
    hear_all(scene, flow);
}

static void part_descriptors(struct scene *scene, struct flow *flow) {
    uint8_t buffer[100];
    int fds[2], got[4];
    size_t size, n = 0;
    if (!(scene->capabilities & HAWSER_CAN_DESCRIPTORS) || flow->broken || pipe(fds) < 0)
        return;
    int status = judge_flow(scene, flow, "send_fds", hawser_send_fds(flow->from, body(flow->accepted), 40, fds, 2, 20 * MS));
    if (status == 0)
        accept_message(flow, 40);
    close(fds[0]);
    close(fds[1]);
    for (int tries = 0; status == 0 && tries < 3; tries++) {
        int heard = judge_flow(scene, flow, "recv_fds", hawser_recv_fds(flow->to, buffer, sizeof buffer, got, 4, 20 * MS, &size, &n));
        if (heard < 0)
            continue;
        arrive(flow, buffer, size);
        if (n != 2)
            fatal("%zu descriptors arrive, not 2", n);
        close(got[0]);
        close(got[1]);
        break;
    }
    hear_all(scene, flow);
}

static void part_report(struct scene *scene, struct flow *flow) {
    struct hawser_peer peer = HAWSER_PEER_INIT;
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    judge(scene, "peer", hawser_peer(flow->from, &peer));
    judge(scene, "statistics", hawser_statistics(flow->from, &statistics));
}

static void part_end(struct scene *scene, struct flow *flow) {
    say(scene, flow, 500);
    if (judge_flow(scene, flow, "shutdown", hawser_shutdown(flow->from)) < 0)
        return;
    bool hopeful = !flow->fallible && !faulty_ended();
    for (int tries = 0; !flow->broken && tries < (int)((hopeful ? PATIENCE : GIVEN_UP) / (5 * MS)); tries++) {
        if (hear(scene, flow, 5 * MS) == -ESHUTDOWN)
            return;
        hawser_shutdown(flow->from); /* moves on what is on its way */
    }
    if (!flow->broken && !flow->fallible && !faulty_ended()) /* a goodbye to one who is gone is no error */
        fatal("the end does not come, and no error was told");
}

static void play(struct scene *scene) {
    part_exchange(scene, &scene->there);
    if (scene->capabilities & HAWSER_CAN_TWO_WAY)
        part_exchange(scene, &scene->back);
    part_many(scene, &scene->there);
    part_loans(scene, &scene->there);
    part_sync(scene, &scene->there);
    part_waiting(scene, &scene->there);
    part_crowd(scene, &scene->there);
    part_descriptors(scene, &scene->there);
    part_report(scene, &scene->there);
    part_end(scene, &scene->there);
    hawser_close(scene->there.from);
    hawser_close(scene->there.to);
}

/* ---- the beginnings ---- */

static void scene_begin(struct scene *scene, hawser_channel *connecting, hawser_channel *listening) {
    scene->there = (struct flow){ .from = connecting, .to = listening };
    scene->back = (struct flow){ .from = listening, .to = connecting };
}

static int64_t patience(const struct scene *scene) { return scene->strict ? 20 * PATIENCE : PATIENCE; }

static void *connect_thread(void *argument) {
    struct scene *scene = argument;
    hawser_channel *channel = NULL;
    if (judge(scene, "connect", hawser_connect(scene->address, NULL, patience(scene), &channel)) < 0)
        hawser_listener_interrupt(scene->listener); /* nobody comes */
    return channel;
}

static void act_listen(struct scene *scene) {
    hawser_channel *accepted = NULL;
    void *connected = NULL;
    pthread_t thread;
    if (judge(scene, "listen", hawser_listen(scene->address, NULL, &scene->listener)) < 0)
        return;
    snprintf(scene->address, sizeof scene->address, "%s", hawser_listener_address(scene->listener));
    if (pthread_create(&thread, NULL, connect_thread, scene) != 0)
        fatal("no thread");
    int status = judge(scene, "accept", hawser_accept(scene->listener, patience(scene), &accepted));
    if (status < 0 && status != -ETIMEDOUT && status != -ECANCELED) /* one link was dropped; the next may do */
        judge(scene, "accept", hawser_accept(scene->listener, patience(scene), &accepted));
    pthread_join(thread, &connected);
    if (accepted && connected) {
        scene_begin(scene, connected, accepted);
        play(scene);
    } else {
        if (scene->strict)
            fatal("listen, connect and accept made no channel");
        hawser_close(connected);
        hawser_close(accepted);
    }
    hawser_listener_close(scene->listener);
}

static void act_pair(struct scene *scene, bool travels) {
    hawser_channel *a = NULL, *b = NULL, *adopted = NULL;
    int fd = -1;
    if (!(scene->capabilities & HAWSER_CAN_PAIR) || judge(scene, "pair", hawser_pair(scene->address, NULL, &a, &b)) < 0)
        return;
    if (travels && judge(scene, "export", hawser_export(b, &fd)) == 0) {
        hawser_close(b);
        b = NULL;
        int status = judge(scene, "adopt", hawser_adopt(fd, NULL, &adopted));
        if (status < 0 && status != -EPROTO)
            status = judge(scene, "adopt", hawser_adopt(fd, NULL, &adopted)); /* it can be tried again */
        if (status < 0)
            close(fd);
        b = adopted;
    }
    if (!b) {
        hawser_close(a);
        return;
    }
    scene_begin(scene, a, b);
    play(scene);
}

static void place(struct scene *scene, const char *directory) {
    const char *star = strchr(scene->mechanism->address, '*');
    if (star)
        snprintf(scene->address, sizeof scene->address, "%.*s%s%s", (int)(star - scene->mechanism->address),
                 scene->mechanism->address, directory, star + 1);
    else
        snprintf(scene->address, sizeof scene->address, "%s", scene->mechanism->address);
}

void scenario_run(const struct mechanism *mechanism, const char *directory, bool strict) {
    struct scene scene = { .mechanism = mechanism, .strict = strict, .capabilities = hawser_capabilities(mechanism->address) };
    if (scene.capabilities < 0)
        fatal("capabilities: %s", hawser_explain());
    place(&scene, directory);
    act_listen(&scene);
    place(&scene, directory);
    act_pair(&scene, false);
    act_pair(&scene, true);
}
