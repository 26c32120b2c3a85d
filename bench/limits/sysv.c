/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A System V message queue each way, packets of an eighth of msgmnb as in hawser, longer messages split. The
 * kernel never frees such a queue by itself: discard() removes both, in the supervisor, whatever became of the sides. */

#include "way.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#define PACKETS_PER_QUEUE 8

struct queues {
    int to_lead, to_follow;
    int in, out;
    size_t packet;
    int flags; /* IPC_NOWAIT when spinning */
    uint64_t calls;
    struct packet {
        long type;
        char data[];
    } *scratch;
};

static int open_one(size_t *packet, int *ret_queue) {
    int queue = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);
    if (queue < 0)
        return -errno;
    *ret_queue = queue;
    struct msqid_ds status;
    if (msgctl(queue, IPC_STAT, &status) < 0)
        return -errno;
    if (*packet == 0)
        *packet = status.msg_qbytes / PACKETS_PER_QUEUE;
    return *packet > WAY_HEADER_SIZE ? 0 : -EINVAL;
}

static void sysv_leave(void *state) {
    struct queues *queues = state;
    free(queues->scratch);
    free(queues);
}

static void sysv_discard(void *state) {
    struct queues *queues = state;
    if (queues->to_lead >= 0)
        msgctl(queues->to_lead, IPC_RMID, NULL);
    if (queues->to_follow >= 0)
        msgctl(queues->to_follow, IPC_RMID, NULL);
    sysv_leave(queues);
}

static int sysv_prepare(const struct way_setup *setup, void **ret_state) {
    struct queues *queues = calloc(1, sizeof *queues);
    if (!queues)
        return -ENOMEM;
    queues->to_lead = queues->to_follow = -1;
    queues->packet = setup->packet;
    queues->flags = setup->wait == WAY_SPIN ? IPC_NOWAIT : 0;
    int r = open_one(&queues->packet, &queues->to_follow);
    if (r == 0 && !setup->one_way)
        r = open_one(&queues->packet, &queues->to_lead);
    if (r == 0 && !(queues->scratch = malloc(sizeof *queues->scratch + queues->packet)))
        r = -ENOMEM;
    if (r < 0) {
        sysv_discard(queues);
        return r;
    }
    *ret_state = queues;
    return 0;
}

static int sysv_join(void *state, enum way_side side) {
    struct queues *queues = state;
    queues->in = side == WAY_LEAD ? queues->to_lead : queues->to_follow;
    queues->out = side == WAY_LEAD ? queues->to_follow : queues->to_lead;
    return 0;
}

static int again(const struct queues *queues) {
    if (errno == EINTR)
        return 0;
    if ((errno != EAGAIN && errno != ENOMSG) || !queues->flags)
        return -errno;
    way_pause();
    return 0;
}

static int send_packet(struct queues *queues, size_t size) {
    queues->scratch->type = 1;
    for (;;) {
        queues->calls++;
        if (msgsnd(queues->out, queues->scratch, size, queues->flags) == 0)
            return 0;
        int r = again(queues);
        if (r < 0)
            return r;
    }
}

static int sysv_send(void *state, const void *data, size_t size) {
    struct queues *queues = state;
    const char *from = data;
    uint64_t header = size;
    size_t front = sizeof header;
    memcpy(queues->scratch->data, &header, sizeof header);
    for (size_t done = 0; done < size || front; front = 0) {
        size_t part = size - done < queues->packet - front ? size - done : queues->packet - front;
        memcpy(queues->scratch->data + front, from + done, part);
        int r = send_packet(queues, front + part);
        if (r < 0)
            return r;
        done += part;
    }
    return 0;
}

static int receive_packet(struct queues *queues, size_t *ret_size) {
    for (;;) {
        queues->calls++;
        ssize_t got = msgrcv(queues->in, queues->scratch, queues->packet, 0, queues->flags);
        if (got >= 0) {
            *ret_size = (size_t)got;
            return 0;
        }
        int r = again(queues);
        if (r < 0)
            return r;
    }
}

static int sysv_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct queues *queues = state;
    uint64_t header = 0;
    size_t front = sizeof header, done = 0;
    do {
        size_t got = 0;
        int r = receive_packet(queues, &got);
        if (r < 0)
            return r;
        if (got < front)
            return -EPROTO;
        if (front)
            memcpy(&header, queues->scratch->data, sizeof header);
        if (header > capacity || got - front > header - done)
            return -EPROTO;
        memcpy((char *)buffer + done, queues->scratch->data + front, got - front);
        done += got - front;
        front = 0;
    } while (done < header);
    *ret_size = (size_t)header;
    return 0;
}

static uint64_t sysv_calls(void *state) { return ((struct queues *)state)->calls; }

const struct way bare_sysv = {
    .name = "sysv",
    .can = WAY_CAN_BLOCK | WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = sysv_prepare,
    .join = sysv_join,
    .send = sysv_send,
    .recv = sysv_recv,
    .calls = sysv_calls,
    .leave = sysv_leave,
    .discard = sysv_discard,
};
