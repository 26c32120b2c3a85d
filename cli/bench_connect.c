/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What a channel costs to make: from the call of connect to the moment when the far side's program has the first
 * message (both read the same clock), and the descriptors that an idle channel holds. The processes' first
 * channel is not counted: it sets up what all later ones share. */

#include "bench_loop.h"

#include <dirent.h>
#include <errno.h>
#include <hawser/hawser.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 200
#define WAIT_NS INT64_C(5000000000)
#define SETTLE_NS 200000 /* until a side that said it is about to accept sleeps in it */

struct meeting {
    char address[HAWSER_ADDRESS_MAX];
    int handover[2];
};

static int meeting_prepare(const struct way_setup *setup, void **ret_state) {
    struct meeting *meeting = calloc(1, sizeof *meeting);
    if (!meeting)
        return -ENOMEM;
    snprintf(meeting->address, sizeof meeting->address, "shm://%s", setup->name);
    memcpy(meeting->handover, setup->handover, sizeof meeting->handover);
    *ret_state = meeting;
    return 0;
}

static double descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    double n = 0;
    while (directory && readdir(directory))
        n++;
    if (directory)
        closedir(directory);
    return directory ? n : NAN;
}

/* The two sides keep step by single bytes. */
static int tell(int fd) { return send(fd, "", 1, MSG_NOSIGNAL) == 1 ? 0 : -EIO; }

static int await(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) == 1 ? 0 : -EIO;
}

/* One channel: the message is the time at which connect was called. The channel stays open until both agree. */
static int lead_round(struct run *run, int step, double *ret_descriptors) {
    struct meeting *meeting = run->state;
    hawser_channel *channel = NULL;
    double before = descriptors();
    if (await(step) < 0)
        return loop_fail(run, -EIO, "keep step");
    nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NS }, NULL);
    int64_t start = bench_now();
    int r = hawser_connect(meeting->address, NULL, WAIT_NS, &channel);
    if (r == 0)
        r = hawser_send(channel, &start, sizeof start, WAIT_NS);
    if (r < 0)
        loop_fail(run, r, "connect and send");
    else if ((r = await(step)) == 0)
        *ret_descriptors = descriptors() - before;
    hawser_close(channel);
    return r;
}

static int follow_round(struct run *run, int step, hawser_listener *listener, bool counts, double *ret_descriptors) {
    hawser_channel *channel = NULL;
    int64_t start = 0;
    size_t size = 0;
    double before = descriptors();
    int r = tell(step);
    if (r == 0)
        r = hawser_accept(listener, WAIT_NS, &channel);
    if (r == 0)
        r = hawser_recv(channel, &start, sizeof start, WAIT_NS, &size);
    int64_t took = bench_now() - start;
    if (r == 0 && (size != sizeof start || took <= 0))
        r = -EBADMSG;
    if (r < 0)
        loop_fail(run, r, "accept and receive");
    else if ((r = tell(step)) == 0)
        *ret_descriptors = descriptors() - before;
    if (r == 0 && counts)
        histogram_add(&run->board->single, took);
    hawser_close(channel);
    return r;
}

static int meeting_work(struct run *run) {
    struct meeting *meeting = run->state;
    int step = meeting->handover[run->side], r = 0;
    double held = 0;
    hawser_listener *listener = NULL;
    if (run->side == WAY_FOLLOW && (r = hawser_listen(meeting->address, NULL, &listener)) < 0)
        return loop_fail(run, r, "listen");
    for (int round = 0; round <= ROUNDS && r == 0; round++)
        r = run->side == WAY_LEAD ? lead_round(run, step, &held) : follow_round(run, step, listener, round > 0, &held);
    hawser_listener_close(listener);
    run->board->descriptors[run->side] = held;
    if (run->side == WAY_FOLLOW && r == 0) {
        run->board->sample.p50_ns = histogram_quantile(&run->board->single, 0.5);
        run->board->sample.p99_ns = histogram_quantile(&run->board->single, 0.99);
        run->board->messages = ROUNDS;
    }
    return r;
}

static uint64_t meeting_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

const struct way connect_way = {
    .name = "connect",
    .prepare = meeting_prepare,
    .calls = meeting_calls,
    .leave = free,
    .discard = free,
    .explain = hawser_explain,
};

int connect_measure(struct session *session, struct sample *ret_sample, char *ret_sentence) {
    struct sample_request request = {
        .way = &connect_way, .work = meeting_work, .time_ns = session->time_ns, .grace_ns = 4 * WAIT_NS,
        .cpus = session->cpus, .directory = session->directory,
    };
    return sample_run(&request, ret_sample, &session->signal, ret_sentence);
}
