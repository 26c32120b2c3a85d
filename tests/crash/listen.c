/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death of a listener: while it takes its name, accepts, and gives its name back. Whoever listens there next gets the name at
 * once, the client that tried meanwhile ends up at one of the two, and in the end nothing is left. */

#include "listen.h"

#include "crash.h"
#include "trial.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN (SECOND / 100)

static char address[HAWSER_ADDRESS_MAX];

struct pair {
    pid_t victim, client;
};

static void listen_once(void) {
    hawser_listener *listener;
    hawser_channel *channel;
    char byte;
    size_t size;
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    raise(SIGSTOP);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    EXPECT(hawser_accept(listener, PATIENCE, &channel), 0);
    EXPECT(hawser_recv(channel, &byte, 1, PATIENCE, &size), 0);
    hawser_listener_close(listener);
    raise(SIGSTOP);
    _exit(0);
}

/* Connects to whoever listens, and stays until that end is gone. */
static void connect_once(void) {
    hawser_channel *channel;
    char byte;
    size_t size;
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    EXPECT(hawser_connect(address, NULL, PATIENCE, &channel), 0);
    int r = hawser_send(channel, "x", 1, PATIENCE);
    EXPECT(r == 0 || r == -EPIPE, true);
    r = hawser_recv(channel, &byte, 1, PATIENCE, &size);
    EXPECT(r == -ECONNRESET || r == -ESHUTDOWN, true);
    hawser_close(channel);
    _exit(0);
}

static int await_stop(void *scene) {
    const struct pair *pair = scene;
    int status;
    EXPECT(waitpid(pair->victim, &status, 0), pair->victim);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static pid_t begin(void *scene) {
    struct pair *pair = scene;
    pair->victim = fork();
    if (pair->victim == 0)
        listen_once();
    EXPECT(await_stop(pair), SIGSTOP);
    pair->client = fork();
    if (pair->client == 0)
        connect_once();
    return pair->victim;
}

/* The next listener serves the client, unless the victim had it. */
static void listen_next(const struct pair *pair) {
    hawser_listener *listener;
    int status;
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    while (waitpid(pair->client, &status, WNOHANG) != pair->client) {
        hawser_channel *channel;
        if (hawser_accept(listener, TURN, &channel) == 0)
            hawser_close(channel);
    }
    EXPECT(status, 0);
    hawser_listener_close(listener);
}

static void end(void *scene) {
    const struct pair *pair = scene;
    kill(pair->victim, SIGKILL);
    EXPECT(waitpid(pair->victim, NULL, 0), pair->victim);
    listen_next(pair);
    nothing_left();
}

uint64_t kill_listeners(size_t random_points) {
    struct pair pair;
    struct trial trial = { .what = "listen and accept", .scene = &pair, .begin = begin, .await = await_stop, .end = end };
    snprintf(address, sizeof address, "shm://crash-listen-%d?" OPTIONS_SMALL, (int)getpid());
    settled(false);
    struct path path = trial_observe(&trial);
    settled(true);
    uint64_t points = trial_kill_at_calls(&trial) + trial_kill_at_random(&trial, &path, random_points);
    trial_report(&trial, &path, points);
    path_free(&path);
    return points;
}
