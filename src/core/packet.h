/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* One packet on a rendezvous socket: a note, its data, descriptors, and the sender's credentials by the kernel's word.
 */

#include "core/peer.h"

#define PACKET_DATA (OFFER_DATA + 64) /* room for a hello before the offer's data */

struct packet {
    struct note note;
    uint8_t data[PACKET_DATA];
    size_t size;
    int fds[OFFER_FDS];
    unsigned n_fds;
    bool starved; /* descriptors are missing, as this process has none free */
    pid_t pid;    /* -1: the kernel sent none */
    uid_t uid;
    gid_t gid;
};

/* Receives without waiting. peek: the packet stays on the socket (its descriptors are ours all the same).
 * -EAGAIN; -EPIPE the end; -EPROTO malformed: the sentence says how (it was taken all the same, unless peek). */
int packet_receive(int fd, bool peek, struct packet *ret_packet);

/* Closes the descriptors that nobody kept. */
void packet_close(struct packet *packet);

/* Moves data from `skip` on, and the descriptors, into an offer: -EPROTO without a sentence when it does not fit. */
int packet_offer(struct packet *packet, size_t skip, struct offer *ret_offer);

/* Sends without waiting: 0, -EAGAIN (socket full), -EPIPE, -ENOMEM, -ETOOMANYREFS. Both data may be NULL with size 0.
 */
int packet_send(int fd, const struct note *note, const void *head, size_t head_size, const void *data, size_t size,
                const int *fds, unsigned n_fds);
int packet_sent(ssize_t result); /* what packet_send makes of the kernel's word */
