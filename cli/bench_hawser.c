/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser's mechanisms as ways, through the public API alone. The far side listens, the lead connects; over a
 * FIFO, which is one-way, a round trip takes two channels and both sides do both. */

#include "bench.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOIN_NS INT64_C(10000000000)
#define MANY_MOST 64
#define FILE_PLACE "%s://%s/%s-%s" /* mechanism, directory, name, who listens */

struct link {
    char address[HAWSER_ADDRESS_MAX];      /* where the far side listens */
    char back_address[HAWSER_ADDRESS_MAX]; /* fifo, round trip: where the lead listens; else empty */
    bool kernel_chooses;                   /* the address is known once it is listened at */
    bool recorded; /* sysv: what a killed side leaves is removed by whoever opens the name next */
    int handover[2];
    hawser_options options;
    hawser_channel *in, *out; /* the same but for a FIFO's round trip; one is NULL where nothing goes that way */
    hawser_message taken[MANY_MOST];
};

static int place(const char *mechanism, const struct way_setup *setup, const char *who, char *ret_address) {
    bool file = strcmp(mechanism, "fifo") == 0 || strcmp(mechanism, "unix") == 0;
    int length;
    if (strcmp(mechanism, "tcp") == 0)
        length = snprintf(ret_address, HAWSER_ADDRESS_MAX, "tcp://127.0.0.1:0");
    else if (file)
        length = snprintf(ret_address, HAWSER_ADDRESS_MAX, FILE_PLACE, mechanism, setup->directory, setup->name, who);
    else
        length = snprintf(ret_address, HAWSER_ADDRESS_MAX, "%s://%s", mechanism, setup->name);
    return length < 0 || length >= HAWSER_ADDRESS_MAX ? -ENAMETOOLONG : 0;
}

static int link_prepare(const char *mechanism, const struct way_setup *setup, void **ret_state) {
    static const uint32_t waits[] = {
        [WAY_BLOCK] = HAWSER_WAIT_BLOCK, [WAY_SPIN] = HAWSER_WAIT_SPIN, [WAY_ADAPTIVE] = HAWSER_WAIT_ADAPTIVE,
    };
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return -ENOMEM;
    link->options = (hawser_options)HAWSER_OPTIONS_INIT;
    link->options.wait = waits[setup->wait];
    link->options.buffer = setup->buffer;
    link->options.depth = setup->depth;
    link->options.packet = setup->packet;
    link->kernel_chooses = strcmp(mechanism, "tcp") == 0;
    link->recorded = strcmp(mechanism, "sysv") == 0;
    memcpy(link->handover, setup->handover, sizeof link->handover);
    int r = place(mechanism, setup, "far", link->address);
    if (r == 0 && strcmp(mechanism, "fifo") == 0 && !setup->one_way)
        r = place(mechanism, setup, "lead", link->back_address);
    if (r < 0) {
        free(link);
        return r;
    }
    *ret_state = link;
    return 0;
}

static int welcome(struct link *link, const char *address, hawser_channel **ret_channel) {
    hawser_listener *listener = NULL;
    int r = hawser_listen(address, &link->options, &listener);
    if (r < 0)
        return r;
    if (link->kernel_chooses) {
        char text[HAWSER_ADDRESS_MAX] = "";
        snprintf(text, sizeof text, "%s", hawser_listener_address(listener));
        if (write(link->handover[WAY_FOLLOW], text, sizeof text) != (ssize_t)sizeof text)
            r = -EIO;
    }
    if (r == 0)
        r = hawser_accept(listener, JOIN_NS, ret_channel);
    hawser_listener_close(listener);
    return r;
}

static int visit(struct link *link, const char *address, hawser_channel **ret_channel) {
    char text[HAWSER_ADDRESS_MAX];
    if (link->kernel_chooses) {
        if (recv(link->handover[WAY_LEAD], text, sizeof text, MSG_WAITALL) != (ssize_t)sizeof text)
            return -EIO;
        text[sizeof text - 1] = 0;
        address = text;
    }
    return hawser_connect(address, &link->options, JOIN_NS, ret_channel);
}

/* A FIFO's listening end reads and its connecting end writes. */
static int join_back(struct link *link, enum way_side side) {
    if (side == WAY_LEAD)
        return welcome(link, link->back_address, &link->in);
    return visit(link, link->back_address, &link->out);
}

static int link_join(void *state, enum way_side side) {
    struct link *link = state;
    int r = side == WAY_LEAD ? visit(link, link->address, &link->out) : welcome(link, link->address, &link->in);
    if (r < 0)
        return r;
    if (link->back_address[0])
        return join_back(link, side);
    if (side == WAY_LEAD)
        link->in = link->out;
    else
        link->out = link->in;
    return 0;
}

static int link_send(void *state, const void *data, size_t size) {
    return hawser_send(((struct link *)state)->out, data, size, HAWSER_FOREVER);
}

static int link_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    return hawser_recv(((struct link *)state)->in, buffer, capacity, HAWSER_FOREVER, ret_size);
}

static int link_send_many(void *state, const struct way_piece *pieces, size_t n) {
    struct link *link = state;
    hawser_message messages[MANY_MOST];
    for (size_t done = 0, sent = 0; done < n; done += sent) {
        size_t part = n - done < MANY_MOST ? n - done : MANY_MOST;
        for (size_t i = 0; i < part; i++)
            messages[i] = (hawser_message){ .data = pieces[done + i].data, .size = pieces[done + i].size };
        int r = hawser_send_many(link->out, messages, part, HAWSER_FOREVER, &sent);
        if (r < 0)
            return r;
    }
    return 0;
}

static int link_recv_many(void *state, struct way_piece *ret_pieces, size_t n, size_t *ret_n) {
    struct link *link = state;
    size_t taken = 0;
    int r = hawser_take_many(link->in, link->taken, n < MANY_MOST ? n : MANY_MOST, HAWSER_FOREVER, &taken);
    if (r < 0)
        return r;
    for (size_t i = 0; i < taken; i++)
        ret_pieces[i] = (struct way_piece){ .data = link->taken[i].data, .size = link->taken[i].size };
    *ret_n = taken;
    return 0;
}

static void link_release_many(void *state, struct way_piece *pieces, size_t n) {
    struct link *link = state;
    (void)pieces;
    for (size_t i = 0; i < n; i++)
        hawser_release(link->in, &link->taken[i]);
}

static uint64_t channel_calls(hawser_channel *channel) {
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    if (!channel || hawser_statistics(channel, &statistics) < 0)
        return 0;
    return statistics.system_calls;
}

static uint64_t link_calls(void *state) {
    struct link *link = state;
    return channel_calls(link->in) + (link->out != link->in ? channel_calls(link->out) : 0);
}

static void link_leave(void *state) {
    struct link *link = state;
    if (link->out != link->in)
        hawser_close(link->out);
    hawser_close(link->in);
    free(link);
}

/* In the supervisor, which opened nothing. Names go with the session's directory. */
static void link_discard(void *state) {
    struct link *link = state;
    hawser_listener *listener = NULL;
    if (link->recorded && hawser_listen(link->address, &link->options, &listener) == 0)
        hawser_listener_close(listener);
    free(link);
}

#define MECHANISM(NAME)                                                                                         \
    static int NAME##_prepare(const struct way_setup *setup, void **ret_state) {                               \
        return link_prepare(#NAME, setup, ret_state);                                                          \
    }                                                                                                          \
    static const struct way NAME##_way = {                                                                     \
        .name = #NAME,                                                                                         \
        .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ADAPT | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY | WAY_CAN_MANY, \
        .prepare = NAME##_prepare,                                                                             \
        .join = link_join,                                                                                     \
        .send = link_send,                                                                                     \
        .recv = link_recv,                                                                                     \
        .send_many = link_send_many,                                                                           \
        .recv_many = link_recv_many,                                                                           \
        .release_many = link_release_many,                                                                     \
        .calls = link_calls,                                                                                   \
        .leave = link_leave,                                                                                   \
        .discard = link_discard,                                                                               \
        .explain = hawser_explain,                                                                             \
    };

MECHANISM(shm)
MECHANISM(pipe)
MECHANISM(fifo)
MECHANISM(unix)
MECHANISM(tcp)
MECHANISM(mq)
MECHANISM(sysv)

const struct way *const hawser_ways[] = {
    &shm_way, &pipe_way, &fifo_way, &unix_way, &tcp_way, &mq_way, &sysv_way, NULL,
};
