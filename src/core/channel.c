/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A channel's life: connect, pair, export, adopt, ownership, close. It owns its link.
 *
 * Ownership. Connected and accepted channels belong to the process that made them. An end of a pair belongs to the process
 * that uses it first: each end has a word in memory that forked processes share, and the first to put itself there
 * owns the end; every other process's calls are refused. Nothing of a link is touched before that. */

#include "core/channel.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>

#define EXPORTED UINT32_MAX /* a claim's owner once the end has left */
#define CLAIM_BYTES 4096

static struct claim *claim_new(void) {
    long page = sys_mmap(NULL, CLAIM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page < 0 && page > -4096 ? NULL : (struct claim *)page; // NOLINT: an address by the kernel's word
}

static void claim_free(struct claim *claim) {
    if (claim)
        sys_munmap(claim, CLAIM_BYTES);
}

static int no_memory(void) { return error_note(-ENOMEM, "there is no memory for a channel"); }

int channel_new(struct link *link, struct hawser_channel **ret_channel) {
    struct hawser_channel *channel = memory_new(sizeof *channel);
    if (!channel)
        return no_memory();
    const struct transport *transport = link->transport;
    channel->link = link;
    channel->transport = transport;
    channel->locks = transport->halves_meet || link->options.threads == HAWSER_THREADS_MANY;
    channel->put = transport->put;
    channel->get = link->options.threads == HAWSER_THREADS_MANY ? NULL : transport->get; /* many pass on what they find */
    channel->owner = link->role == LINK_PAIR ? 0 : process_self();
    channel->epoll = channel->bell = -1;
    ladder_init(&channel->sending.ladder, link->options.wait, transport->dear, link->options.watch);
    ladder_init(&channel->receiving.ladder, link->options.wait, transport->dear, link->options.watch);
    waker_self(); /* now, while there are descriptors; without one, sleeps become naps */
    *ret_channel = channel;
    return 0;
}

static int refused(const struct hawser_channel *channel) {
    if (channel->exported)
        return error_note(-EPERM, "this end was exported: only hawser_close() may be called on it");
    return error_note(-EPERM, "this channel belongs to another process (after fork, each end belongs to the process that "
                              "used it first): only hawser_close() may be called on it here");
}

static int claim_now(struct hawser_channel *channel, uint32_t self) {
    if (channel->owner == self) /* another thread was first */
        return 0;
    uint32_t nobody = 0;
    if (channel->exported || channel->owner != 0)
        return refused(channel);
    /* pairs with export_now: it may be another process's */
    if (channel->claim && !compare_exchange(&channel->claim->owner, &nobody, self) && nobody != self)
        return refused(channel);
    int r = channel->link->begun ? 0 : channel->transport->begin(channel->link);
    if (r < 0)
        return r; /* the claim stands; the next call tries again */
    channel->link->begun = true;
    store_release(&channel->owner, self); /* pairs with channel_enter: the hello was sent */
    return 0;
}

int channel_claim(struct hawser_channel *channel, uint32_t self) {
    if (!channel)
        return error_note(-EINVAL, "the channel is NULL");
    lock_acquire(&channel->claiming);
    int r = claim_now(channel, self);
    lock_release(&channel->claiming);
    return r;
}

/* "connect shm://quotes: " before whatever went wrong. */
static int failed(int error, const char *verb, const char *address) {
    char what[HAWSER_ADDRESS_MAX + 16] = "";
    strncat(what, verb, 8);
    strncat(what, " ", 2);
    strncat(what, address, HAWSER_ADDRESS_MAX);
    return error_within(error, what);
}

static int prepare(const char *text, const hawser_options *given, struct address *ret_address, struct options *ret_options) {
    if (!text)
        return error_note(-EINVAL, "the address is NULL");
    int r = address_parse(text, ret_address);
    return r < 0 ? r : options_resolve(given, ret_address, ret_options);
}

HAWSER_PUBLIC int hawser_connect(const char *text, const hawser_options *given, int64_t timeout, hawser_channel **ret_channel) {
    struct address address;
    struct options options;
    struct link *link;
    if (!ret_channel || timeout < HAWSER_FOREVER)
        return error_note(-EINVAL, ret_channel ? "connect: the timeout is negative but not HAWSER_FOREVER" : "connect: ret_channel is NULL");
    int r = prepare(text, given, &address, &options);
    if (r < 0)
        return r;
    r = address.transport->connect(&address, &options, deadline_after(timeout), &link);
    if (r < 0)
        return failed(r, "connect", address.text);
    r = channel_new(link, ret_channel);
    if (r < 0)
        link->transport->close(link, true);
    return r;
}

/* Takes the link, also when it fails. */
static int pair_end(struct link *link, hawser_channel **ret_channel) {
    struct claim *claim = claim_new();
    int r = claim ? channel_new(link, ret_channel) : no_memory();
    if (r < 0) {
        claim_free(claim);
        link->transport->close(link, false);
        return r;
    }
    (*ret_channel)->claim = claim;
    return 0;
}

HAWSER_PUBLIC int hawser_pair(const char *text, const hawser_options *given, hawser_channel **ret_a, hawser_channel **ret_b) {
    struct address address;
    struct options options;
    struct link *a, *b;
    hawser_channel *end_a, *end_b;
    if (!ret_a || !ret_b)
        return error_note(-EINVAL, "pair: ret_a or ret_b is NULL");
    int r = prepare(text, given, &address, &options);
    if (r < 0)
        return r;
    if (!address.transport->pair)
        return error_set(-EOPNOTSUPP, "pair %s: %s has no pairs", address.text, address.transport->scheme);
    r = address.transport->pair(address.transport, &options, &a, &b);
    if (r < 0)
        return failed(r, "pair", address.text);
    r = pair_end(a, &end_a);
    if (r < 0) {
        b->transport->close(b, false);
        return r;
    }
    r = pair_end(b, &end_b);
    if (r < 0) {
        hawser_close(end_a);
        return r;
    }
    *ret_a = end_a;
    *ret_b = end_b;
    return 0;
}

static int drain(struct hawser_channel *channel) {
    half_lock(channel, &channel->sending);
    int r = channel->transport->drained(channel->link);
    half_unlock(channel, &channel->sending);
    return r;
}

static void linger(struct hawser_channel *channel) {
    struct waiting waiting;
    int64_t linger_ns = channel->link->options.linger_ns;
    waiting_init(&waiting, channel, &channel->sending, linger_ns > 0 ? linger_ns : HAWSER_NOW);
    while (drain(channel) == -EAGAIN) {
        int r = waiting_step(&waiting, WANT_SEND);
        if (r == -EAGAIN || r == -ETIMEDOUT)
            break;
    }
}

HAWSER_PUBLIC hawser_channel *hawser_close(hawser_channel *channel) {
    if (!channel)
        return NULL;
    bool owner = channel->owner == process_self();
    poller_leave(&channel->member); /* while its descriptors are open */
    if (owner) {
        store_relaxed(&channel->interrupted, 0);
        linger(channel); /* no shutdown before: who hears of the end is to hear at once that nobody receives here either */
    }
    channel->transport->close(channel->link, owner);
    if (channel->epoll >= 0) {
        sys_close(channel->epoll);
        sys_close(channel->bell);
    }
    claim_free(channel->claim);
    memory_free(channel);
    return NULL;
}

HAWSER_PUBLIC int hawser_shutdown(hawser_channel *channel) {
    int r = channel_enter(channel);
    if (r < 0)
        return r;
    half_lock(channel, &channel->sending);
    r = channel->transport->shutdown(channel->link); /* again, if it failed */
    if (channel->shut)
        channel->transport->progress(channel->link); /* the goodbye itself may have had to wait */
    channel->shut = true;
    store_relaxed(&channel->sending.quick, 0);
    half_unlock(channel, &channel->sending);
    channel_kick(channel);
    return r;
}

HAWSER_PUBLIC void hawser_interrupt(hawser_channel *channel) {
    if (!channel)
        return;
    store_seq_cst(&channel->interrupted, 1); /* before the look at sleepers; pairs with each load of interrupted */
    store_relaxed(&channel->sending.quick, 0);
    store_relaxed(&channel->receiving.quick, 0);
    half_wake(&channel->sending);
    half_wake(&channel->receiving);
}

/* Who is there, as far as the mechanism can know. */
HAWSER_PUBLIC int hawser_peer(hawser_channel *channel, struct hawser_peer *ret_peer) {
    int r = channel_enter(channel);
    if (r < 0)
        return r;
    if (!ret_peer || ret_peer->struct_size < sizeof *ret_peer)
        return error_note(-EINVAL, "peer: ret_peer is NULL or was not set up by HAWSER_PEER_INIT");
    struct link *link = channel->link;
    bool known = load_acquire(&link->peer.known); /* pairs with peer_know */
    if (!known && channel->transport->capabilities & HAWSER_CAN_CREDENTIALS) {
        channel->transport->look(link);
        channel_kick(channel);
        known = load_acquire(&link->peer.known); /* pairs with peer_know */
        if (!known)
            return error_note(-EAGAIN, "the other end of this pair was not used yet, so nobody is there");
    }
    struct hawser_peer peer = HAWSER_PEER_INIT;
    peer.pid = known ? link->peer.pid : -1;
    peer.uid = known ? link->peer.uid : (uid_t)-1;
    peer.gid = known ? link->peer.gid : (gid_t)-1;
    peer.pidfd = known ? link->peer.pidfd : -1;
    memcpy(peer.address, link->address, sizeof peer.address);
    *ret_peer = peer;
    return 0;
}

HAWSER_PUBLIC int hawser_statistics(hawser_channel *channel, struct hawser_statistics *ret_statistics) {
    if (!channel || !ret_statistics || ret_statistics->struct_size < sizeof *ret_statistics)
        return error_note(-EINVAL, "statistics: an argument is NULL or was not set up by HAWSER_STATISTICS_INIT");
    struct half *sending = &channel->sending, *receiving = &channel->receiving;
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    statistics.messages_sent = load_relaxed(&sending->messages);
    statistics.messages_received = load_relaxed(&receiving->messages);
    statistics.bytes_sent = load_relaxed(&sending->bytes);
    statistics.bytes_received = load_relaxed(&receiving->bytes);
    statistics.stalls = load_relaxed(&sending->stalls);
    statistics.sleeps = load_relaxed(&sending->sleeps) + load_relaxed(&receiving->sleeps);
    statistics.wakes = load_relaxed(&channel->link->wakes);
    statistics.system_calls = load_relaxed(&sending->system_calls) + load_relaxed(&receiving->system_calls);
    *ret_statistics = statistics;
    return 0;
}
