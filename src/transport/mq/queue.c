/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Making a queue, and saying what is in the way when there can be none.
 *
 * A queue cannot be made without a name, and a process killed between making and unlinking it would leave it behind. So all
 * queues of a user are made under one and the same name, which is unlinked at once: whoever finds it taken unlinks it too,
 * which does no harm to its maker, who holds the queue already and never opens it by name again. What is left behind is
 * thus at most one queue, and it goes with the next. */

#include "transport/mq/queue.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/limit.h"

#include <errno.h>

#define DEPTH_DEFAULT 10 /* fs.mqueue.msg_max's default */
#define PACKET_DEFAULT 512
#define NAMES_TRIED 16

static const char msg_max[] = "/proc/sys/fs/mqueue/msg_max";
static const char msgsize_max[] = "/proc/sys/fs/mqueue/msgsize_max";

/* Is it that this process has no free descriptor? mq_open says EMFILE for RLIMIT_MSGQUEUE as well. */
static bool no_descriptor(void) {
    cleanup_fd fd = sys_eventfd(0, EFD_CLOEXEC);
    return fd == -EMFILE;
}

static int too_many_files(const struct mq_attr *attributes) {
    if (no_descriptor())
        return error_set(-EMFILE, "make a message queue: this process has no free descriptor; raise RLIMIT_NOFILE (ulimit -n)");
    struct rlimit limit = { 0 };
    sys_getrlimit(RLIMIT_MSGQUEUE, &limit);
    return error_set(-ENOSPC, "make a message queue of %ld x %ld bytes: the queues of this user would exceed RLIMIT_MSGQUEUE (%llu "
                              "bytes); raise it (ulimit -q), or make them smaller with depth= and packet=",
                     attributes->mq_maxmsg, attributes->mq_msgsize, (unsigned long long)limit.rlim_cur);
}

static int too_large(const struct mq_attr *attributes) {
    uint64_t most = 0;
    if (limit_read(msg_max, &most) == 0 && (uint64_t)attributes->mq_maxmsg > most)
        return error_set(-EINVAL, "make a message queue: depth=%ld is over the sysctl fs.mqueue.msg_max (%llu)", attributes->mq_maxmsg,
                         (unsigned long long)most);
    if (limit_read(msgsize_max, &most) == 0 && (uint64_t)attributes->mq_msgsize > most)
        return error_set(-EINVAL, "make a message queue: packet=%ld is over the sysctl fs.mqueue.msgsize_max (%llu)",
                         attributes->mq_msgsize, (unsigned long long)most);
    return error_set(-EINVAL, "make a message queue: the kernel refuses %ld messages of %ld bytes", attributes->mq_maxmsg,
                     attributes->mq_msgsize);
}

static int told(int error, const struct mq_attr *attributes) {
    if (error == -EMFILE)
        return too_many_files(attributes);
    if (error == -EINVAL)
        return too_large(attributes);
    if (error == -ENOSPC)
        return error_set(-ENOSPC, "make a message queue: there are as many as the sysctl fs.mqueue.queues_max allows; raise it");
    if (error == -ENOSYS)
        return error_set(-EOPNOTSUPP, "make a message queue: this kernel has no POSIX message queues");
    return error_set(error, "make a message queue: %s", error_text(error));
}

static int try_make(const struct mq_attr *attributes) {
    for (unsigned i = 0; i < NAMES_TRIED; i++) {
        char name[40];
        uint32_t random = 0;
        /* The second half of the tries is for when another user has taken our name, whom we cannot unlink. */
        if (i >= NAMES_TRIED / 2)
            sys_getrandom(&random, sizeof random, 0);
        snprintf(name, sizeof name, "/hawser-%u-%08x", (unsigned)geteuid(), random);
        struct mq_attr wanted = *attributes;
        int fd = sys_mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &wanted);
        while ((fd >= 0 || fd == -EEXIST) && sys_mq_unlink(name) == -EINTR)
            ;
        if (fd != -EEXIST && fd != -EINTR)
            return fd;
    }
    return -EEXIST;
}

/* The defaults give way where the system allows less than they say. */
static bool shrink(const struct options *options, struct mq_attr *attributes) {
    uint64_t most;
    bool shrunk = false;
    if (options->depth == 0 && limit_read(msg_max, &most) == 0 && most < DEPTH_DEFAULT && most > 0) {
        attributes->mq_maxmsg = (long)most;
        shrunk = true;
    }
    if (options->packet == 0 && limit_read(msgsize_max, &most) == 0 && most < PACKET_DEFAULT && most > 0) {
        attributes->mq_msgsize = (long)most;
        shrunk = true;
    }
    return shrunk;
}

int mqueue_make(const struct options *options, int *ret_fd) {
    struct mq_attr attributes = { 0 };
    attributes.mq_maxmsg = options->depth ? (long)options->depth : DEPTH_DEFAULT;
    attributes.mq_msgsize = options->packet ? (long)options->packet : PACKET_DEFAULT;
    int fd = try_make(&attributes);
    if (fd == -EINVAL && shrink(options, &attributes))
        fd = try_make(&attributes);
    if (fd < 0)
        return told(fd, &attributes);
    *ret_fd = fd;
    return 0;
}

int mqueue_check(int fd, bool write, size_t *ret_packet) {
    struct mq_attr attributes;
    int r = sys_mq_getattr(fd, &attributes);
    if (r < 0)
        return error_set(-EPROTO, "what the peer sent is no message queue");
    if (attributes.mq_maxmsg < 1 || attributes.mq_maxmsg > QUEUE_DEPTH_MAX || attributes.mq_msgsize < 1 ||
        (size_t)attributes.mq_msgsize > QUEUE_PACKET_MAX)
        return error_set(-EPROTO, "the peer's message queue of %ld x %ld bytes is impossible", attributes.mq_maxmsg,
                         attributes.mq_msgsize);
    int flags = sys_fcntl(fd, F_GETFL, 0);
    if (flags < 0 || (flags & O_ACCMODE) == (write ? O_RDONLY : O_WRONLY))
        return error_set(-EPROTO, "the peer's message queue is not open for %s", write ? "writing" : "reading");
    *ret_packet = (size_t)attributes.mq_msgsize;
    return 0;
}
