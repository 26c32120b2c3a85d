/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* iceoryx, a topic for each direction. The caller's bytes are copied into the loaned chunk and out of the taken one, as every
 * way of this bench copies; full queues block the publisher, so that nothing is dropped; the receiver spins on take(). */

#include "peers.h"
#include "roudi.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <sched.h>
#include <string>
#include <unistd.h>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/mepoo/chunk_header.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

namespace {

using iox::popo::UntypedPublisher;
using iox::popo::UntypedSubscriber;

constexpr unsigned chunks = 2 * 256 + 64; /* two full queues of its default depth, and what is loaned and taken */
constexpr const char *topics[2] = { "to-lead", "to-far" }; /* by the side that receives it */

struct link {
    roudi_process daemon;
    int handover[2];
    bool one_way;
    std::unique_ptr<UntypedPublisher> out;
    std::unique_ptr<UntypedSubscriber> in;
};

const char *reason;

int prepare(const way_setup *setup, void **ret_state) {
    auto made = std::make_unique<struct link>();
    made->handover[0] = setup->handover[0];
    made->handover[1] = setup->handover[1];
    made->one_way = setup->one_way;
    int r = roudi_start(setup->size, chunks, &made->daemon, &reason);
    if (r == 0)
        *ret_state = made.release();
    return r;
}

void open_ports(struct link *link, way_side side) {
    auto topic = [](int receiver) {
        return iox::capro::ServiceDescription{ "hawser", "bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, topics[receiver]) };
    };
    if (!link->one_way || side == WAY_FOLLOW) {
        iox::popo::SubscriberOptions options;
        options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
        link->in = std::make_unique<UntypedSubscriber>(topic(side), options);
    }
    if (!link->one_way || side == WAY_LEAD) {
        iox::popo::PublisherOptions options;
        options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
        link->out = std::make_unique<UntypedPublisher>(topic(side == WAY_LEAD ? WAY_FOLLOW : WAY_LEAD), options);
    }
}

/* What is published before the other side has subscribed reaches nobody. */
int join(void *state, way_side side) {
    auto *link = static_cast<struct link *>(state);
    int r = roudi_enter(link->daemon, &reason);
    if (r < 0)
        return r;
    iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kOff, iox::log::LogLevelOutput::kHideLogLevel);
    iox::runtime::PoshRuntime::initRuntime(side == WAY_LEAD ? iox::RuntimeName_t("lead") : iox::RuntimeName_t("far"));
    open_ports(link, side);
    while (link->in && link->in->getSubscriptionState() != iox::SubscribeState::SUBSCRIBED)
        sched_yield();
    while (link->out && !link->out->hasSubscribers())
        sched_yield();
    char byte = 0;
    return write(link->handover[side], &byte, 1) == 1 && read(link->handover[side], &byte, 1) == 1 ? 0 : -EIO;
}

int send(void *state, const void *data, size_t size) {
    auto *link = static_cast<struct link *>(state);
    auto loaned = link->out->loan(static_cast<uint32_t>(size));
    if (loaned.has_error()) {
        reason = iox::popo::asStringLiteral(loaned.get_error());
        return -ENOBUFS;
    }
    memcpy(loaned.value(), data, size);
    link->out->publish(loaned.value());
    return 0;
}

int recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    auto *link = static_cast<struct link *>(state);
    for (;;) {
        auto taken = link->in->take();
        if (taken.has_error()) {
            if (taken.get_error() != iox::popo::ChunkReceiveResult::NO_CHUNK_AVAILABLE)
                return -EPROTO;
            way_pause();
            continue;
        }
        size_t size = iox::mepoo::ChunkHeader::fromUserPayload(taken.value())->userPayloadSize();
        if (size <= capacity)
            memcpy(buffer, taken.value(), size);
        link->in->release(taken.value());
        *ret_size = size;
        return size <= capacity ? 0 : -EMSGSIZE;
    }
}

uint64_t calls(void *) { return WAY_CALLS_UNKNOWN; }

void leave(void *state) { delete static_cast<struct link *>(state); }

void discard(void *state) {
    auto *link = static_cast<struct link *>(state);
    roudi_stop(link->daemon);
    delete link;
}

const char *explain() { return reason; }

const way iceoryx = {
    .name = "iceoryx",
    .can = WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
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

extern "C" __attribute__((visibility("default"))) const way *const PEER_WAYS[] = { &iceoryx, nullptr };
