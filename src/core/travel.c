/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* An unused end of a pair travels to another process as ONE descriptor: a socket in whose queue lies one message that holds
 * all the link's descriptors. The other end of that socket is closed, so nothing more can ever come. Only the exporter can have written
 * it; the adopter checks it all the same. */

#include "base/cleanup.h"
#include "base/error.h"
#include "core/channel.h"
#include "core/packet.h"

#include <errno.h>
#include <string.h>

#define NOTE_TRAVEL 0x72747768u /* "hwtr": only the message of a carrier has this type */
#define SCHEME_MAX 8

static int carrier_load(int socket, const struct transport *transport, const struct offer *offer) {
    struct note note = { .type = NOTE_TRAVEL };
    char scheme[SCHEME_MAX] = { 0 };
    memcpy(scheme, transport->scheme, strnlen(transport->scheme, sizeof scheme));
    return packet_send(socket, &note, scheme, sizeof scheme, offer->data, offer->size, offer->fds, offer->n_fds);
}

/* Packing empties the link; should the carrier then not take it, it is unpacked again. */
static int export_over(struct hawser_channel *channel, int socket) {
    struct offer offer = { 0 };
    int r = channel->transport->pack(channel->link, &offer);
    if (r < 0)
        return r;
    r = carrier_load(socket, channel->transport, &offer);
    if (r == 0) {
        offer_close(&offer);
        return 0;
    }
    struct link *again;
    if (channel->transport->unpack(&channel->link->options, &offer, &again) == 0) {
        channel->transport->close(channel->link, false);
        channel->link = again;
    }
    offer_close(&offer);
    return error_set(r, "export: the end could not be packed: %s", error_text(r));
}

static int export_now(struct hawser_channel *channel, int *ret_fd) {
    uint32_t nobody = 0;
    if (channel->link->role != LINK_PAIR || channel->owner != 0 || !channel->claim)
        return error_note(-EBUSY, "export: only an unused end of a pair can travel");
    if (!channel->transport->pack)
        return error_note(-EOPNOTSUPP, "export: the mechanism has no pairs");
    cleanup_fd inner = -1, outer = -1;
    int fds[2];
    int r = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
    if (r < 0)
        return error_set(r, "export: no socket could be had to pack the end into: %s", error_text(r));
    inner = fds[0];
    outer = fds[1];
    if (!compare_exchange(&channel->claim->owner, &nobody, UINT32_MAX)) /* pairs with claim_now: it may be another process's */
        return error_note(-EBUSY, "export: another process uses this end already");
    r = export_over(channel, inner);
    if (r < 0) {
        store_seq_cst(&channel->claim->owner, 0); /* pairs with claim_now */
        return r;
    }
    channel->exported = true;
    *ret_fd = steal_fd(&outer);
    return 0;
}

HAWSER_PUBLIC int hawser_export(hawser_channel *channel, int *ret_fd) {
    if (!channel || !ret_fd)
        return error_note(-EINVAL, "export: an argument is NULL");
    if (channel->exported)
        return error_note(-EPERM, "export: this end was exported before");
    lock_acquire(&channel->claiming);
    int r = export_now(channel, ret_fd);
    lock_release(&channel->claiming);
    return r;
}

static int carrier_check(int fd) {
    int type = 0, domain = 0;
    socklen_t length = sizeof type;
    int r = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    if (r == -EBADF)
        return error_set(r, "adopt: %d is no open descriptor", fd);
    length = sizeof domain;
    if (r == 0)
        r = sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    if (r < 0 || type != SOCK_SEQPACKET || domain != AF_UNIX)
        return error_set(-EPROTO, "adopt: descriptor %d is no exported channel", fd);
    return 0;
}

/* The message stays in the carrier: should adopting fail it can be tried again. Its descriptors are ours all the same. */
static int carrier_peek(int fd, struct packet *packet) {
    int r = packet_receive(fd, true, packet);
    if (r == -EPIPE || r == -EAGAIN)
        return error_set(-EPROTO, "adopt: descriptor %d holds no channel: it was adopted before", fd);
    if (r < 0)
        return error_within(r, "adopt");
    if (packet->starved)
        r = error_note(-EMFILE, "adopt: too few free descriptors for the channel's: raise RLIMIT_NOFILE");
    else if (packet->note.type != NOTE_TRAVEL || packet->size < SCHEME_MAX)
        r = error_set(-EPROTO, "adopt: descriptor %d is no exported channel", fd);
    if (r < 0)
        packet_close(packet);
    return r;
}

/* Takes the message off: of several that peeked (the descriptor may have been duplicated) one succeeds. */
static int carrier_consume(int fd) {
    char byte;
    ssize_t got;
    do
        got = sys_recv(fd, &byte, sizeof byte, MSG_DONTWAIT);
    while (got == -EINTR);
    return got > 0 ? 0 : error_set(-EPROTO, "adopt: descriptor %d holds no channel any more: another adopted it", fd);
}

static int unpack(const hawser_options *given, struct packet *packet, struct link **ret_link) {
    const struct transport *transport = transport_find((char *)packet->data, strnlen((char *)packet->data, SCHEME_MAX));
    struct address address;
    struct options options;
    struct offer offer = { 0 };
    char text[SCHEME_MAX + 4];
    if (!transport || !transport->unpack)
        return error_note(-EPROTO, "adopt: the exported channel is of a mechanism that this library lacks");
    snprintf(text, sizeof text, "%s://", transport->scheme);
    int r = address_parse(text, &address);
    if (r == 0)
        r = options_resolve(given, &address, &options);
    if (r == 0)
        r = packet_offer(packet, SCHEME_MAX, &offer);
    if (r == 0)
        r = transport->unpack(&options, &offer, ret_link);
    if (r == 0)
        (*ret_link)->naps = -1; /* whoever exported it may have kept the descriptors, and could undo what naps need */
    offer_close(&offer);
    return r;
}

HAWSER_PUBLIC int hawser_adopt(int fd, const hawser_options *given, hawser_channel **ret_channel) {
    struct packet packet;
    struct link *link;
    if (!ret_channel)
        return error_note(-EINVAL, "adopt: ret_channel is NULL");
    int r = carrier_check(fd);
    if (r == 0)
        r = carrier_peek(fd, &packet);
    if (r < 0)
        return r;
    r = unpack(given, &packet, &link);
    packet_close(&packet);
    if (r < 0)
        return r;
    hawser_channel *channel;
    r = channel_new(link, &channel);
    if (r < 0) {
        link->transport->close(link, false);
        return r;
    }
    r = carrier_consume(fd);
    if (r < 0) {
        hawser_close(channel); /* not used yet, so nobody notices */
        return r;
    }
    sys_close(fd);
    *ret_channel = channel;
    return 0;
}
