/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What waking costs a reader that waits on many channels: from just before the send of one message on one of them, the reader
 * asleep, to its arrival in the reader's hands. By hawser_poll(), or by an epoll of the program's own that holds the
 * hawser_fd() of each and arms again only what was received from. Each message comes on another channel. */

#include "bench_loop.h"
#include "bench_numbers.h"
#include "verbs.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define ROUNDS 1000
#define WARM 50 /* rounds not counted */
#define WAIT_NS INT64_C(10000000000)
#define SETTLE_NS 150000 /* until a reader that said so sleeps */
#define STRIDE 619       /* a prime: no two messages in a row on neighbours */
#define DESCRIPTORS 5    /* of a channel in an event loop: its three, an epoll and a bell */
#define SPARE 64

struct crowd {
    char address[HAWSER_ADDRESS_MAX];
    int handover[2];
    unsigned n; /* channels */
    bool epolls;
    hawser_channel **channels;
    hawser_poll_item *items;
    int epoll;
};

static unsigned wanted_n;
static bool wanted_epoll;

static int crowd_prepare(const struct way_setup *setup, void **ret_state) {
    struct crowd *crowd = calloc(1, sizeof *crowd);
    if (!crowd)
        return -ENOMEM;
    snprintf(crowd->address, sizeof crowd->address, "shm://%s?wait=block", setup->name);
    memcpy(crowd->handover, setup->handover, sizeof crowd->handover);
    crowd->n = wanted_n;
    crowd->epolls = wanted_epoll;
    crowd->epoll = -1;
    crowd->channels = calloc(crowd->n, sizeof *crowd->channels);
    crowd->items = calloc(crowd->n, sizeof *crowd->items);
    *ret_state = crowd;
    return crowd->channels && crowd->items ? 0 : -ENOMEM;
}

static int tell(int fd) { return send(fd, "", 1, MSG_NOSIGNAL) == 1 ? 0 : -EIO; }

static int await(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) == 1 ? 0 : -EIO;
}

static int meet_all(struct run *run) {
    struct crowd *crowd = run->state;
    hawser_listener *listener = NULL;
    int r = run->side == WAY_FOLLOW ? hawser_listen(crowd->address, NULL, &listener) : 0;
    for (unsigned i = 0; i < crowd->n && r == 0; i++)
        r = run->side == WAY_FOLLOW ? hawser_accept(listener, WAIT_NS, &crowd->channels[i])
                                    : hawser_connect(crowd->address, NULL, WAIT_NS, &crowd->channels[i]);
    hawser_listener_close(listener);
    return r < 0 ? loop_fail(run, r, "meet") : 0;
}

/* One message on each: the first one pays for the pages it is the first to touch. */
static int use_each(struct crowd *crowd, enum way_side side) {
    char byte = 0;
    size_t size;
    int r = 0;
    for (unsigned i = 0; i < crowd->n && r == 0; i++)
        r = side == WAY_LEAD ? hawser_send(crowd->channels[i], &byte, 1, WAIT_NS)
                             : hawser_recv(crowd->channels[i], &byte, 1, WAIT_NS, &size);
    return r;
}

static int lead(struct run *run) {
    struct crowd *crowd = run->state;
    int r = use_each(crowd, WAY_LEAD);
    for (unsigned round = 0; round < WARM + ROUNDS && r == 0; round++) {
        if (await(crowd->handover[WAY_LEAD]) < 0)
            return loop_fail(run, -EIO, "keep step");
        nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NS }, NULL);
        int64_t start = bench_now();
        r = hawser_send(crowd->channels[round * STRIDE % crowd->n], &start, sizeof start, WAIT_NS);
    }
    if (r == 0 && await(crowd->handover[WAY_LEAD]) < 0) /* to close now would end what was not received yet */
        r = -EIO;
    return r < 0 ? loop_fail(run, r, "send") : 0;
}

/* Receives from all that the poll told of. */
static int arrive_by_poll(struct crowd *crowd, int64_t *ret_start) {
    size_t size;
    int r = hawser_poll(crowd->items, crowd->n, WAIT_NS);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < crowd->n; i++)
        if (crowd->items[i].ret_events)
            return hawser_recv(crowd->items[i].channel, ret_start, sizeof *ret_start, HAWSER_NOW, &size);
    return -EBADMSG;
}

/* Into the loop, or back: 0 once it sleeps safely. */
static int arm(hawser_channel *channel) {
    for (;;) {
        int64_t other;
        size_t size;
        int r = hawser_arm(channel);
        if (r <= 0)
            return r;
        r = hawser_recv(channel, &other, sizeof other, HAWSER_NOW, &size);
        if (r != -EAGAIN)
            return r < 0 ? r : -EBADMSG;
    }
}

/* A loop may be woken for nothing. */
static int arrive_by_epoll(struct crowd *crowd, int64_t *ret_start, hawser_channel **ret_channel) {
    for (;;) {
        struct epoll_event event;
        size_t size;
        int r = epoll_wait(crowd->epoll, &event, 1, (int)(WAIT_NS / 1000000));
        if (r <= 0)
            return r == 0 ? -ETIMEDOUT : -errno;
        *ret_channel = event.data.ptr;
        r = hawser_recv(event.data.ptr, ret_start, sizeof *ret_start, HAWSER_NOW, &size);
        if (r != -EAGAIN)
            return r;
        r = hawser_arm(event.data.ptr);
        if (r < 0)
            return r;
    }
}

static int enter_loop(struct crowd *crowd) {
    int r = crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < crowd->n && r >= 0; i++) {
        int fd = -1;
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = crowd->channels[i] };
        r = hawser_fd(crowd->channels[i], &fd);
        if (r == 0 && epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            r = -errno;
        if (r == 0)
            r = arm(crowd->channels[i]);
    }
    return r < 0 ? r : 0;
}

static int follow(struct run *run) {
    struct crowd *crowd = run->state;
    hawser_channel *channel = NULL;
    int64_t start = 0;
    int r = use_each(crowd, WAY_FOLLOW);
    if (r == 0 && crowd->epolls)
        r = enter_loop(crowd);
    for (unsigned i = 0; i < crowd->n; i++)
        crowd->items[i] = (hawser_poll_item){ .channel = crowd->channels[i], .events = HAWSER_IN };
    for (unsigned round = 0; round < WARM + ROUNDS && r == 0; round++) {
        r = channel ? arm(channel) : 0;
        if (r == 0)
            r = tell(crowd->handover[WAY_FOLLOW]);
        if (r == 0)
            r = crowd->epolls ? arrive_by_epoll(crowd, &start, &channel) : arrive_by_poll(crowd, &start);
        int64_t took = bench_now() - start;
        if (r == 0 && round >= WARM)
            histogram_add(&run->board->single, took);
    }
    if (r == 0)
        r = tell(crowd->handover[WAY_FOLLOW]);
    if (r < 0)
        return loop_fail(run, r, "wait and receive");
    run->board->sample.p50_ns = histogram_quantile(&run->board->single, 0.5);
    run->board->sample.p99_ns = histogram_quantile(&run->board->single, 0.99);
    run->board->messages = ROUNDS;
    return 0;
}

static int crowd_work(struct run *run) {
    struct crowd *crowd = run->state;
    int r = meet_all(run);
    if (r == 0)
        r = run->side == WAY_LEAD ? lead(run) : follow(run);
    for (unsigned i = 0; i < crowd->n; i++)
        hawser_close(crowd->channels[i]);
    return r;
}

static uint64_t crowd_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

static void crowd_free(void *state) {
    struct crowd *crowd = state;
    free(crowd->channels);
    free(crowd->items);
    free(crowd);
}

static const struct way crowd_way = {
    .name = "idle", .prepare = crowd_prepare, .calls = crowd_calls, .leave = crowd_free, .discard = crowd_free,
    .explain = hawser_explain,
};

/* As many as the limit of descriptors allows; both sides inherit what is raised here. */
static unsigned crowd_size(unsigned wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    rlim_t most = limit.rlim_cur > SPARE ? (limit.rlim_cur - SPARE) / DESCRIPTORS : 1;
    return most < wanted ? (unsigned)most : wanted;
}

static int measure_one(struct session *session, unsigned n, bool epolls, double *ret_p50_ns, char *ret_sentence) {
    struct sample sample;
    struct sample_request request = {
        .way = &crowd_way, .work = crowd_work, .time_ns = session->time_ns, .grace_ns = 3 * WAIT_NS,
        .cpus = session->cpus, .directory = session->directory, .size = sizeof(int64_t),
    };
    wanted_n = n;
    wanted_epoll = epolls;
    int r = sample_run(&request, &sample, &session->signal, ret_sentence);
    if (r == 0)
        *ret_p50_ns = sample.p50_ns;
    return r;
}

/* One channel and many in turn, so that what the machine does to one figure it does to the other. */
int idle_measure(struct session *session, unsigned n, bool epolls, struct idle_figures *ret_figures, char *ret_sentence) {
    double one[SAMPLES_MAX], many[SAMPLES_MAX];
    struct idle_figures figures = { .n = crowd_size(n) };
    for (unsigned i = 0; i < session->samples; i++) {
        int r = measure_one(session, 1, epolls, &one[i], ret_sentence);
        if (r == 0)
            r = measure_one(session, figures.n, epolls, &many[i], ret_sentence);
        if (r < 0)
            return r;
    }
    figures.one_ns = median(one, session->samples);
    figures.many_ns = median(many, session->samples);
    *ret_figures = figures;
    return 0;
}

int idle_run(struct session *session, unsigned n) {
    int code = EXIT_DONE;
    printf("A message wakes a reader (shm, wait=block), from before its send to its arrival; medians of %u samples of %d.\n\n",
           session->samples, ROUNDS);
    for (int epolls = 0; epolls <= 1; epolls++) {
        struct idle_figures figures;
        char sentence[SENTENCE_MAX] = "", one[NUMBER_TEXT], many[NUMBER_TEXT];
        int r = idle_measure(session, n, epolls, &figures, sentence);
        if (r == -ECANCELED)
            return EXIT_FAILED;
        if (r < 0) {
            fprintf(stderr, "hawser bench: among idle channels: %s\n", sentence);
            code = EXIT_FAILED;
            continue;
        }
        printf("%-30s 1 channel %9s, %u channels %9s: %.2f x (promised: %.1f x)\n",
               epolls ? "hawser_fd() in an epoll" : "hawser_poll()", duration_text(figures.one_ns, one), figures.n,
               duration_text(figures.many_ns, many), figures.many_ns / figures.one_ns, IDLE_LIMIT);
        fflush(stdout);
    }
    return code;
}
