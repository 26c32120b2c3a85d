/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See queue.h. A queue is named by a number that any process of the user could have made up, or that means another queue in
 * another IPC namespace; so a number from a peer is believed only if the key (31 random bits) leads to it here as well, its maker
 * is the peer's user, and nobody but the peer has used it. */

#include "transport/sysv/queue.h"

#include "base/error.h"
#include "base/limit.h"
#include "base/sys.h"

#include <errno.h>

#define SHARE 8 /* of a queue's bytes is one packet: eight are under way at once */
#define MSGMNB_USUAL 16384
#define MSGMAX_USUAL 8192

int sysv_queue_packet(const struct options *options, size_t *ret_packet) {
    uint64_t queue_bytes = MSGMNB_USUAL, most = MSGMAX_USUAL, packet = options->packet;
    limit_read("/proc/sys/kernel/msgmnb", &queue_bytes); /* without /proc: what Linux has by default */
    limit_read("/proc/sys/kernel/msgmax", &most);
    if (packet > most)
        return error_set(-EINVAL, "packet=%llu is over the sysctl kernel.msgmax (%llu)", (unsigned long long)packet,
                         (unsigned long long)most);
    if (packet > queue_bytes)
        return error_set(-EINVAL, "packet=%llu is over the sysctl kernel.msgmnb (%llu)", (unsigned long long)packet,
                         (unsigned long long)queue_bytes);
    if (packet == 0)
        packet = queue_bytes / SHARE < most ? queue_bytes / SHARE : most;
    if (packet == 0)
        return error_set(-ENOSPC, "System V queues hold no more than %llu bytes here; raise the sysctls kernel.msgmnb and "
                                  "kernel.msgmax",
                         (unsigned long long)(queue_bytes < most ? queue_bytes : most));
    *ret_packet = (size_t)packet;
    return 0;
}

static int not_here(uint32_t key) {
    return error_set(-EPROTO, "the peer's System V queue %08x is not to be found here: the two processes are in different IPC "
                              "namespaces, or it is gone",
                     key);
}

int sysv_queue_check_key(int queue, uint32_t key) {
    int found = sys_msgget((key_t)key, 0);
    return queue < 0 || found != queue ? not_here(key) : 0;
}

int sysv_queue_check(int queue, uint32_t key, uid_t maker, pid_t maker_pid, bool incoming) {
    struct msqid_ds status;
    int r = sysv_queue_check_key(queue, key);
    if (r < 0)
        return r;
    if (sys_msgctl(queue, IPC_STAT, &status) < 0)
        return not_here(key);
    if (status.msg_perm.cuid != maker)
        return error_set(-EPROTO, "the peer's System V queue %08x was made by uid %u, the peer is uid %u", key,
                         (unsigned)status.msg_perm.cuid, (unsigned)maker);
    bool fresh = status.msg_lrpid == 0 && (status.msg_lspid == 0 || (incoming && status.msg_lspid == maker_pid));
    if (!fresh)
        return error_set(-EPROTO, "the peer's System V queue %08x is in use by other processes", key);
    return 0;
}

int sysv_queue_share(int queue, uid_t uid, gid_t gid) {
    struct msqid_ds status;
    int r = sys_msgctl(queue, IPC_STAT, &status);
    if (r == 0) {
        status.msg_perm.uid = uid; /* its creator keeps the same rights */
        status.msg_perm.gid = gid;
        r = sys_msgctl(queue, IPC_SET, &status);
    }
    return r < 0 ? error_set(r, "let uid %u use a System V queue: %s", (unsigned)uid, error_text(r)) : 0;
}

static int told(int error) {
    if (error == -EIDRM || error == -EINVAL)
        return -EPIPE;
    if (error == -EACCES)
        return error_set(error, "a System V queue of this channel belongs to another user: an end of a pair cannot be used "
                                "after changing the user");
    return error;
}

ssize_t sysv_queue_receive(int queue, struct packet_buffer *buffer, size_t capacity) {
    ssize_t got;
    do
        got = sys_msgrcv(queue, buffer, capacity, 0, IPC_NOWAIT);
    while (got == -EINTR);
    if (got == -ENOMSG)
        return -EAGAIN;
    if (got == -E2BIG)
        return -EMSGSIZE;
    return got < 0 ? told((int)got) : got;
}

ssize_t sysv_queue_send(int queue, const struct packet_buffer *buffer, size_t size) {
    int r;
    do
        r = sys_msgsnd(queue, buffer, size, IPC_NOWAIT);
    while (r == -EINTR);
    return r < 0 ? told(r) : (ssize_t)size;
}

bool sysv_queue_has_room(int queue, size_t bytes) {
    struct msqid_ds status;
    if (sys_msgctl(queue, IPC_STAT, &status) < 0)
        return true;
    return status.__msg_cbytes + bytes <= status.msg_qbytes;
}
