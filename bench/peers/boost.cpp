/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Boost.Interprocess message_queue: one for each direction, spinning on try_send and try_receive or blocking. A name in
 * /dev/shm lasts only until both sides have opened it. */

#include "peers.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <unistd.h>

namespace {

using boost::interprocess::message_queue;

constexpr size_t deepest = 1024, bytes_most = size_t(4) << 20; /* of a queue: as many messages as fit, at least 8 */
constexpr size_t shallowest = 8;

struct queues {
    std::string names[2]; /* by the side that receives from it */
    int handover[2];
    bool spin, one_way;
    size_t size;
    std::unique_ptr<message_queue> in, out;
};

char reason[256];

int failed(const std::exception &error) {
    snprintf(reason, sizeof reason, "%s", error.what());
    return -EIO;
}

int prepare(const way_setup *setup, void **ret_state) try {
    auto queues_new = std::make_unique<queues>();
    queues_new->names[WAY_LEAD] = std::string("hawser-") + setup->name + "-lead";
    queues_new->names[WAY_FOLLOW] = std::string("hawser-") + setup->name + "-far";
    queues_new->handover[0] = setup->handover[0];
    queues_new->handover[1] = setup->handover[1];
    queues_new->spin = setup->wait == WAY_SPIN;
    queues_new->one_way = setup->one_way;
    queues_new->size = setup->size;
    *ret_state = queues_new.release();
    return 0;
} catch (const std::exception &error) {
    return failed(error);
}

void step(int fd) {
    char byte = 0;
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
        throw std::runtime_error("the other side is gone");
}

/* Each side makes what it receives from, opens the other's, and takes its own name away. */
int join(void *state, way_side side) try {
    auto *q = static_cast<queues *>(state);
    way_side other = side == WAY_LEAD ? WAY_FOLLOW : WAY_LEAD;
    bool receives = !q->one_way || side == WAY_FOLLOW, sends = !q->one_way || side == WAY_LEAD;
    size_t depth = std::min(deepest, std::max(shallowest, bytes_most / (q->size + 1)));
    using namespace boost::interprocess;
    if (receives)
        q->in = std::make_unique<message_queue>(create_only, q->names[side].c_str(), depth, q->size + 1, permissions(0600));
    step(q->handover[side]);
    if (sends)
        q->out = std::make_unique<message_queue>(open_only, q->names[other].c_str());
    step(q->handover[side]);
    if (receives)
        message_queue::remove(q->names[side].c_str());
    return 0;
} catch (const std::exception &error) {
    return failed(error);
}

int send(void *state, const void *data, size_t size) try {
    auto *q = static_cast<queues *>(state);
    if (!q->spin) {
        q->out->send(data, size, 0);
        return 0;
    }
    while (!q->out->try_send(data, size, 0))
        way_pause();
    return 0;
} catch (const std::exception &error) {
    return failed(error);
}

int recv(void *state, void *buffer, size_t capacity, size_t *ret_size) try {
    auto *q = static_cast<queues *>(state);
    message_queue::size_type got = 0;
    unsigned priority = 0;
    if (!q->spin)
        q->in->receive(buffer, capacity, got, priority);
    else
        while (!q->in->try_receive(buffer, capacity, got, priority))
            way_pause();
    *ret_size = got;
    return 0;
} catch (const std::exception &error) {
    return failed(error);
}

uint64_t calls(void *) { return WAY_CALLS_UNKNOWN; }

void leave(void *state) { delete static_cast<queues *>(state); }

void discard(void *state) {
    auto *q = static_cast<queues *>(state);
    for (const std::string &name : q->names)
        message_queue::remove(name.c_str());
    delete q;
}

const char *explain() { return reason; }

const way boost_mq = {
    .name = "boost-mq",
    .can = WAY_CAN_SPIN | WAY_CAN_BLOCK | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = prepare,
    .join = join,
    .send = send,
    .recv = recv,
    .send_many = nullptr,
    .recv_many = nullptr,
    .release_many = nullptr,
    .calls = calls,
    .leave = leave,
    .discard = discard,
    .explain = explain,
};

} // namespace

extern "C" __attribute__((visibility("default"))) const way *const PEER_WAYS[] = { &boost_mq, nullptr };
