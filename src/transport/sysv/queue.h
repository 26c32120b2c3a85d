/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* One System V queue: how large its messages are, whether one that a peer names is what it says, and moving one message.
 * None of these waits. */

#include "core/options.h"

/* The first member is what the kernel calls the type; always 1 here. */
struct packet_buffer {
    long type;
    uint8_t bytes[];
};

/* How many bytes a message shall have. -EINVAL names kernel.msgmax or kernel.msgmnb. */
int sysv_queue_packet(const struct options *options, size_t *ret_packet);

/* Is this the fresh queue that `maker` made with this key? Otherwise a peer could have us read, or remove, another
 * program's. incoming: we read it, so the maker (maker_pid) may have written to it already. -EPROTO with a sentence. */
int sysv_queue_check(int queue, uint32_t key, uid_t maker, pid_t maker_pid, bool incoming);

/* As above, of an end that travelled: nobody vouches for its maker. */
int sysv_queue_check_key(int queue, uint32_t key);

/* Lets another user use a queue of ours, and remove it. */
int sysv_queue_share(int queue, uid_t uid, gid_t gid);

/* Bytes moved, or -EAGAIN; -EPIPE: the queue is gone; -EMSGSIZE: one larger than capacity waits (receive). */
ssize_t sysv_queue_receive(int queue, struct packet_buffer *buffer, size_t capacity);
ssize_t sysv_queue_send(int queue, const struct packet_buffer *buffer, size_t size);

/* Also true when it cannot be known: the send will tell. */
bool sysv_queue_has_room(int queue, size_t bytes);
