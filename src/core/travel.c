/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* An unused end of a pair travels to another process as ONE descriptor: a socket in whose queue lies one message that holds
 * all the link's descriptors. The other end of that socket is closed, so the message can be read once and nothing more
 * can ever come. Whoever can write to the socket beforehand is the exporter alone; the adopter checks it all the same. */

#include "base/cleanup.h"
#include "base/error.h"
#include "core/channel.h"

#include <errno.h>
#include <string.h>

#define TRAVEL_MAGIC 0x68777472u /* "hwtr" */

struct travel {
    uint32_t magic;
    uint32_t size; /* of the offer's data */
    char scheme[8];
    uint8_t data[OFFER_DATA];
};

union travel_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(OFFER_FDS * sizeof(int))];
};

static int carrier_load(int socket, const char *scheme, const struct offer *offer) {
    struct travel travel = { .magic = TRAVEL_MAGIC, .size = (uint32_t)offer->size };
    union travel_control control = { 0 };
    memcpy(travel.scheme, scheme, strnlen(scheme, sizeof travel.scheme));
    memcpy(travel.data, offer->data, offer->size);
    struct iovec vector = { .iov_base = &travel, .iov_len = sizeof travel };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes };
    message.msg_controllen = CMSG_SPACE(offer->n_fds * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(offer->n_fds * sizeof(int));
    memcpy(CMSG_DATA(header), offer->fds, offer->n_fds * sizeof(int));
    ssize_t sent;
    do
        sent = sys_sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent == -EINTR);
    return sent < 0 ? (int)sent : 0;
}

/* Packing empties the link; should the carrier then not take it, it is unpacked again. */
static int export_over(struct hawser_channel *channel, int socket) {
    struct offer offer = { 0 };
    int r = channel->transport->pack(channel->link, &offer);
    if (r < 0)
        return r;
    r = carrier_load(socket, channel->transport->scheme, &offer);
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
    if (!compare_exchange(&channel->claim->owner, &nobody, UINT32_MAX))
        return error_note(-EBUSY, "export: another process uses this end already");
    r = export_over(channel, inner);
    if (r < 0) {
        store_seq_cst(&channel->claim->owner, 0);
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

static void offer_take_fds(struct offer *offer, struct msghdr *message) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        offer->n_fds = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(offer->fds, CMSG_DATA(header), offer->n_fds * sizeof(int)); /* the buffer had room for OFFER_FDS */
    }
}

static int carrier_unload(int fd, int flags, struct travel *ret_travel, struct offer *ret_offer) {
    union travel_control control;
    struct iovec vector = { .iov_base = ret_travel, .iov_len = sizeof *ret_travel };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control };
    ssize_t got;
    do
        got = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
    while (got == -EINTR);
    *ret_offer = (struct offer){ 0 };
    if (got > 0)
        offer_take_fds(ret_offer, &message);
    if (got == 0 || got == -EAGAIN)
        return error_set(-EPROTO, "adopt: descriptor %d holds no channel: it was adopted before", fd);
    if (got < 0)
        return error_set((int)got, "adopt: %s", error_text((int)got));
    if (message.msg_flags & MSG_CTRUNC)
        return error_note(-EMFILE, "adopt: too few free descriptors for the channel's: raise RLIMIT_NOFILE");
    if (got != sizeof *ret_travel || ret_travel->magic != TRAVEL_MAGIC || ret_travel->size > OFFER_DATA)
        return error_set(-EPROTO, "adopt: descriptor %d is no exported channel", fd);
    ret_offer->size = ret_travel->size;
    memcpy(ret_offer->data, ret_travel->data, ret_offer->size);
    return 0;
}

static int unpack(const hawser_options *given, const struct travel *travel, struct offer *offer, struct link **ret_link) {
    const struct transport *transport = transport_find(travel->scheme, strnlen(travel->scheme, sizeof travel->scheme));
    struct address address;
    struct options options;
    char text[sizeof travel->scheme + 4];
    if (!transport || !transport->unpack)
        return error_note(-EPROTO, "adopt: the exported channel is of a mechanism that this library lacks");
    snprintf(text, sizeof text, "%s://", transport->scheme);
    int r = address_parse(text, &address);
    if (r == 0)
        r = options_resolve(given, &address, &options);
    return r < 0 ? r : transport->unpack(&options, offer, ret_link);
}

/* Takes the message off, which copies of the descriptor still hold: of several that adopt, one gets it. */
static int carrier_empty(int fd) {
    char byte; /* the rest is cut off, and the descriptors with it; 0 is the end, as it was taken before */
    ssize_t got;
    do
        got = sys_recv(fd, &byte, 1, MSG_DONTWAIT);
    while (got == -EINTR);
    return got > 0 ? 0 : error_set(-EPROTO, "adopt: descriptor %d holds no channel: it was adopted before", fd);
}

/* Peeks first: until the channel stands, the message stays in the carrier and adopting can be tried again. */
HAWSER_PUBLIC int hawser_adopt(int fd, const hawser_options *given, hawser_channel **ret_channel) {
    struct travel travel;
    struct offer offer;
    struct link *link;
    if (!ret_channel)
        return error_note(-EINVAL, "adopt: ret_channel is NULL");
    int r = carrier_check(fd);
    if (r < 0)
        return r;
    r = carrier_unload(fd, MSG_PEEK, &travel, &offer);
    if (r == 0)
        r = unpack(given, &travel, &offer, &link);
    offer_close(&offer);
    if (r < 0)
        return r;
    struct hawser_channel *channel;
    r = channel_new(link, &channel);
    if (r < 0) {
        link->transport->close(link, false);
        return r;
    }
    r = carrier_empty(fd);
    if (r < 0) {
        hawser_close(channel);
        return r;
    }
    sys_close(fd);
    *ret_channel = channel;
    return 0;
}
