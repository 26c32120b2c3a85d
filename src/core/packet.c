/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Packets in and out of a rendezvous socket. Everything received is hostile: a packet is copied out once and checked
 * here for its shape; what it means is checked by its reader. */

#include "core/packet.h"

#include "base/cleanup.h"
#include "base/control.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int[OFFER_FDS]))];
};

void offer_close(struct offer *offer) {
    for (unsigned i = 0; i < offer->n_fds; i++)
        if (offer->fds[i] >= 0)
            sys_close(offer->fds[i]);
    offer->n_fds = 0;
}

void packet_close(struct packet *packet) {
    for (unsigned i = 0; i < packet->n_fds; i++)
        sys_close(packet->fds[i]);
    packet->n_fds = 0;
}

int packet_offer(struct packet *packet, size_t skip, struct offer *ret_offer) {
    if (packet->size < skip || packet->size - skip > OFFER_DATA)
        return -EPROTO;
    ret_offer->size = packet->size - skip;
    memcpy(ret_offer->data, packet->data + skip, ret_offer->size);
    memcpy(ret_offer->fds, packet->fds, sizeof ret_offer->fds);
    ret_offer->n_fds = packet->n_fds;
    packet->n_fds = 0;
    return 0;
}

static void take_control(struct msghdr *message, struct packet *packet) {
    packet->n_fds = control_take_fds(message, packet->fds, OFFER_FDS);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = sys_next_control(message, header)) {
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            packet->pid = credentials.pid;
            packet->uid = credentials.uid;
            packet->gid = credentials.gid;
        }
    }
}

static int check(const struct msghdr *message, size_t size, struct packet *packet) {
    if (size < sizeof packet->note)
        return error_set(-EPROTO, "a note of %zu bytes, expected at least %zu", size, sizeof packet->note);
    if (message->msg_flags & MSG_TRUNC)
        return error_set(-EPROTO, "a note of over %zu bytes", sizeof packet->note + sizeof packet->data);
    if ((message->msg_flags & MSG_CTRUNC) && packet->n_fds == OFFER_FDS)
        return error_set(-EPROTO, "a note with more than %d descriptors", OFFER_FDS);
    packet->starved = message->msg_flags & MSG_CTRUNC;
    packet->size = size - sizeof packet->note;
    return 0;
}

int packet_receive(int fd, bool peek, struct packet *ret_packet) {
    union control control;
    struct packet *packet = ret_packet;
    struct iovec vector[2] = { { &packet->note, sizeof packet->note }, { packet->data, sizeof packet->data } };
    struct msghdr message = {
        .msg_iov = vector, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control
    };
    packet->n_fds = 0;
    packet->pid = -1;
    packet->uid = (uid_t)-1;
    packet->gid = (gid_t)-1;
    ssize_t n = -EINTR;
    /* -ECONNRESET is told once when the peer closed with packets of ours unread: what it sent is here all the same. */
    for (unsigned tries = 0; tries < 4 && n < 0 && n != -EAGAIN; tries++)
        n = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (peek ? MSG_PEEK : 0));
    if (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS)
        return (int)n;
    if (n < 0)
        return -EPIPE;
    take_control(&message, packet);
    int error = n > 0 ? check(&message, (size_t)n, packet) : -EPIPE; /* an empty packet may have brought descriptors */
    if (error)
        packet_close(packet);
    return error;
}

int packet_sent(ssize_t result) {
    if (result >= 0)
        return 0;
    if (result == -ECONNRESET || result == -ENOTCONN || result == -ECONNREFUSED)
        return -EPIPE;
    return result == -ENOBUFS ? -ENOMEM : (int)result;
}

int packet_send(int fd, const struct note *note, const void *head, size_t head_size, const void *data, size_t size,
                const int *fds, unsigned n_fds) {
    union control control = { 0 };
    struct iovec vector[3] = { { (void *)(uintptr_t)note, sizeof *note },
                               { (void *)(uintptr_t)head, head_size },
                               { (void *)(uintptr_t)data, size } };
    struct msghdr message = { .msg_iov = vector, .msg_iovlen = 3, .msg_control = n_fds > 0 ? &control : NULL };
    if (n_fds > OFFER_FDS)
        return -EINVAL;
    if (n_fds > 0)
        control_put_fds(&message, fds, n_fds);
    ssize_t n;
    do
        n = sys_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n == -EINTR);
    return packet_sent(n);
}
