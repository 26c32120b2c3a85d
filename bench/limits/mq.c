/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A POSIX message queue each way, with hawser's geometry: 10 packets of 512 bytes, longer messages split. The first
 * packet begins with the 8-byte header, which says how long the whole is; the others are filled up. */

#include "way.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_DEPTH 10
#define DEFAULT_PACKET 512

struct queues {
    mqd_t to_lead, to_follow;
    mqd_t in, out;
    size_t packet;
    bool spin;
    uint64_t calls;
    char *scratch; /* one packet: mq_send knows no vectors */
};

static int open_one(const struct way_setup *setup, size_t packet, const char *suffix, mqd_t *ret_queue) {
    char name[256];
    struct mq_attr attributes = { .mq_maxmsg = setup->depth ? (long)setup->depth : DEFAULT_DEPTH,
                                  .mq_msgsize = (long)packet };
    int length = snprintf(name, sizeof name, "/%s-%s", setup->name, suffix);
    if (length < 0 || (size_t)length >= sizeof name)
        return -ENAMETOOLONG;
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (setup->wait == WAY_SPIN ? O_NONBLOCK : 0);
    mqd_t queue = mq_open(name, flags, 0600, &attributes);
    if (queue < 0)
        return -errno;
    mq_unlink(name); /* nothing to leave behind; both sides inherit the descriptor */
    *ret_queue = queue;
    return 0;
}

static void mq_discard(void *state) {
    struct queues *queues = state;
    if (queues->to_lead >= 0)
        mq_close(queues->to_lead);
    if (queues->to_follow >= 0)
        mq_close(queues->to_follow);
    free(queues->scratch);
    free(queues);
}

static int mq_prepare(const struct way_setup *setup, void **ret_state) {
    struct queues *queues = calloc(1, sizeof *queues);
    if (!queues)
        return -ENOMEM;
    queues->to_lead = queues->to_follow = -1;
    queues->packet = setup->packet ? setup->packet : DEFAULT_PACKET;
    queues->spin = setup->wait == WAY_SPIN;
    queues->scratch = malloc(queues->packet);
    int r = queues->scratch ? open_one(setup, queues->packet, "follow", &queues->to_follow) : -ENOMEM;
    if (r == 0 && !setup->one_way)
        r = open_one(setup, queues->packet, "lead", &queues->to_lead);
    if (r < 0) {
        mq_discard(queues);
        return r;
    }
    *ret_state = queues;
    return 0;
}

static int mq_join(void *state, enum way_side side) {
    struct queues *queues = state;
    queues->in = side == WAY_LEAD ? queues->to_lead : queues->to_follow;
    queues->out = side == WAY_LEAD ? queues->to_follow : queues->to_lead;
    return 0;
}

static int again(const struct queues *queues) {
    if (errno == EINTR)
        return 0;
    if (errno != EAGAIN || !queues->spin)
        return -errno;
    way_pause();
    return 0;
}

static int send_packet(struct queues *queues, const char *packet, size_t size) {
    for (;;) {
        queues->calls++;
        if (mq_send(queues->out, packet, size, 0) == 0)
            return 0;
        int r = again(queues);
        if (r < 0)
            return r;
    }
}

static int mq_send_message(void *state, const void *data, size_t size) {
    struct queues *queues = state;
    const char *from = data;
    uint64_t header = size;
    size_t part = size < queues->packet - sizeof header ? size : queues->packet - sizeof header;
    memcpy(queues->scratch, &header, sizeof header);
    memcpy(queues->scratch + sizeof header, from, part);
    int r = send_packet(queues, queues->scratch, sizeof header + part);
    for (size_t done = part; r == 0 && done < size; done += part) {
        part = size - done < queues->packet ? size - done : queues->packet;
        r = send_packet(queues, from + done, part);
    }
    return r;
}

static int receive_packet(struct queues *queues, char *packet, size_t *ret_size) {
    for (;;) {
        queues->calls++;
        ssize_t got = mq_receive(queues->in, packet, queues->packet, NULL);
        if (got >= 0) {
            *ret_size = (size_t)got;
            return 0;
        }
        int r = again(queues);
        if (r < 0)
            return r;
    }
}

static int mq_recv_message(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct queues *queues = state;
    uint64_t header;
    size_t got = 0;
    int r = receive_packet(queues, queues->scratch, &got);
    if (r < 0)
        return r;
    if (got < sizeof header)
        return -EPROTO;
    memcpy(&header, queues->scratch, sizeof header);
    size_t done = got - sizeof header;
    if (header > capacity || done > header)
        return -EPROTO;
    memcpy(buffer, queues->scratch + sizeof header, done);
    for (; done < header; done += got) {
        /* straight into place while a whole packet fits: mq_receive wants room for one */
        bool fits = capacity - done >= queues->packet;
        r = receive_packet(queues, fits ? (char *)buffer + done : queues->scratch, &got);
        if (r < 0)
            return r;
        if (got > header - done)
            return -EPROTO;
        if (!fits)
            memcpy((char *)buffer + done, queues->scratch, got);
    }
    *ret_size = (size_t)header;
    return 0;
}

static uint64_t mq_calls(void *state) { return ((struct queues *)state)->calls; }

const struct way bare_mq = {
    .name = "mq",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = mq_prepare,
    .join = mq_join,
    .send = mq_send_message,
    .recv = mq_recv_message,
    .calls = mq_calls,
    .leave = mq_discard,
    .discard = mq_discard,
};
