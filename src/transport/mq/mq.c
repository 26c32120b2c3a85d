/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* mq://: two POSIX message queues, one for each direction, made by the listening end (or with the pair) and passed in its
 * hello. A packet is a piece of the stream's bytes, so messages of any size fit and small ones share a packet.
 *
 * A queue knows nothing of who holds it: it takes packets that nobody will read. So the sending half looks at the peer, once
 * a millisecond. Its descriptors' flags belong to both ends, so no call relies on O_NONBLOCK, which a peer could
 * clear: each is given a time that has passed. */

#include "base/cleanup.h"
#include "base/error.h"
#include "core/rendezvous.h"
#include "core/stream.h"
#include "transport/mq/queue.h"

#include <errno.h>
#include <string.h>

struct mq_link {
    struct stream stream; /* its read_fd and write_fd are the queues */
    size_t packet;        /* that goes into write_fd */
    uint8_t *scratch;     /* [S] a packet, for bytes that do not lie together */
    int64_t looked_ns;    /* [S] when the peer was last looked at */
};

static struct mq_link *mq_of(struct link *link) { return (struct mq_link *)link; }

static const struct timespec at_once = { 0, 0 };

static ssize_t mqueue_read(struct stream *stream, const struct iovec *vector, int n) {
    (void)n;
    ssize_t got;
    do
        got = sys_mq_timedreceive(stream->read_fd, vector[0].iov_base, vector[0].iov_len, NULL, &at_once);
    while (got == -EINTR);
    if (got == 0)
        return link_break(&stream->link, "the peer sends an empty packet");
    return got == -ETIMEDOUT ? -EAGAIN : got;
}

/* The first packet's worth of the vector, in one piece. */
static const uint8_t *gather(struct mq_link *mq, const struct iovec *vector, int n, size_t *ret_size) {
    size_t size = vector[0].iov_len;
    if (n == 1 || size >= mq->packet) {
        *ret_size = size < mq->packet ? size : mq->packet;
        return vector[0].iov_base;
    }
    size = 0;
    for (int i = 0; i < n && size < mq->packet; i++) {
        size_t part = vector[i].iov_len < mq->packet - size ? vector[i].iov_len : mq->packet - size;
        memcpy(mq->scratch + size, vector[i].iov_base, part);
        size += part;
    }
    *ret_size = size;
    return mq->scratch;
}

static ssize_t mqueue_write(struct stream *stream, const struct iovec *vector, int n) {
    struct mq_link *mq = mq_of(&stream->link);
    if (peer_glance(&stream->link, &mq->looked_ns))
        return -EPIPE;
    size_t size;
    const uint8_t *data = gather(mq, vector, n, &size);
    int r;
    do
        r = sys_mq_timedsend(stream->write_fd, (const char *)data, size, 0, &at_once);
    while (r == -EINTR);
    if (r == -ETIMEDOUT)
        return -EAGAIN;
    return r < 0 ? r : (ssize_t)size;
}

static const struct stream_io mqueue_io = { .read = mqueue_read, .write = mqueue_write, .packet = 512 };

extern const struct transport transport_mq;

static int mqueue_create(const struct options *options, enum link_role role, struct link **ret_link) {
    struct mq_link *mq = memory_new(sizeof *mq);
    if (!mq)
        return error_set(-ENOMEM, "no memory for a channel");
    stream_init(&mq->stream, &transport_mq, options, role, &mqueue_io, FRAMING_NATIVE);
    *ret_link = &mq->stream.link;
    return 0;
}

/* Takes both descriptors, if they are what they should be. */
static int mqueue_take(struct mq_link *mq, int *in, int *out) {
    size_t packet_in, packet_out;
    int r = mqueue_check(*in, false, &packet_in);
    if (r == 0)
        r = mqueue_check(*out, true, &packet_out);
    if (r < 0)
        return r;
    mq->scratch = memory_new(packet_out);
    if (!mq->scratch)
        return error_set(-ENOMEM, "no memory for a packet of %zu bytes", packet_out);
    mq->packet = packet_out;
    mq->stream.packet = packet_in > packet_out ? packet_in : packet_out; /* what a read must have room for, at least */
    mq->stream.read_fd = steal_fd(in);
    mq->stream.write_fd = steal_fd(out);
    return 0;
}

static int duplicate(int fd, int *ret_fd) {
    int copy = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return error_set(copy, "duplicate a message queue's descriptor: %s", error_text(copy));
    *ret_fd = copy;
    return 0;
}

/* Two queues and, for the other end, their descriptors again. */
static int make_both(const struct options *options, int ret_ours[2], int ret_theirs[2]) {
    cleanup_fd in = -1, out = -1, their_in = -1;
    int r = mqueue_make(options, &in);
    if (r == 0)
        r = mqueue_make(options, &out);
    if (r == 0)
        r = duplicate(out, &their_in);
    if (r == 0)
        r = duplicate(in, &ret_theirs[1]);
    if (r < 0)
        return r;
    ret_theirs[0] = steal_fd(&their_in);
    ret_ours[0] = steal_fd(&in);
    ret_ours[1] = steal_fd(&out);
    return 0;
}

static void close_both(int fds[2]) {
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
}

static int mqueue_join(struct link *a, struct link *b) {
    int ours[2], theirs[2];
    int r = make_both(&a->options, ours, theirs);
    if (r < 0)
        return r;
    r = mqueue_take(mq_of(a), &ours[0], &ours[1]);
    if (r == 0)
        r = mqueue_take(mq_of(b), &theirs[0], &theirs[1]);
    close_both(ours);
    close_both(theirs);
    return r;
}

/* Only the listening end's hello hands something over. */
static int mqueue_offer(struct link *link, struct offer *ret_offer) {
    struct mq_link *mq = mq_of(link);
    if (link->role != LINK_LISTEN)
        return 0;
    int ours[2];
    if (mq->stream.read_fd >= 0) /* a hello before could not be sent: nobody has seen these */
        close_both((int[]){ steal_fd(&mq->stream.read_fd), steal_fd(&mq->stream.write_fd) });
    memory_free(steal_pointer(&mq->scratch));
    int r = make_both(&link->options, ours, ret_offer->fds);
    if (r < 0)
        return r;
    ret_offer->n_fds = 2;
    r = mqueue_take(mq, &ours[0], &ours[1]);
    close_both(ours);
    return r;
}

static int mqueue_meet(struct link *link, struct offer *offer) {
    struct mq_link *mq = mq_of(link);
    unsigned expected = link->role == LINK_CONNECT ? 2 : 0;
    if (offer->n_fds != expected || offer->size != 0)
        return error_set(-EPROTO, "a hello with %u descriptors and %zu bytes where mq has %u and none", offer->n_fds, offer->size,
                         expected);
    if (link->role != LINK_CONNECT)
        return 0;
    if (mq->stream.read_fd >= 0)
        return error_set(-EPROTO, "a second hello");
    return mqueue_take(mq, &offer->fds[0], &offer->fds[1]);
}

static int mqueue_pack(struct link *link, struct offer *ret_offer) {
    struct mq_link *mq = mq_of(link);
    ret_offer->fds[0] = steal_fd(&link->peer.socket);
    ret_offer->fds[1] = steal_fd(&mq->stream.read_fd);
    ret_offer->fds[2] = steal_fd(&mq->stream.write_fd);
    ret_offer->n_fds = 3;
    return 0;
}

static int mqueue_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    if (offer->n_fds != 3 || offer->size != 0)
        return error_set(-EPROTO, "adopt: an end of mq has 3 descriptors, this one %u", offer->n_fds);
    struct link *link = NULL;
    int r = mqueue_create(options, LINK_PAIR, &link);
    if (r < 0)
        return r;
    r = peer_adopt(&link->peer, &offer->fds[0]);
    if (r == 0)
        r = mqueue_take(mq_of(link), &offer->fds[1], &offer->fds[2]);
    if (r < 0) {
        transport_mq.close(link, false);
        return r;
    }
    *ret_link = link;
    return 0;
}

static void mqueue_close(struct link *link, bool owner) {
    struct mq_link *mq = mq_of(link);
    uint8_t *scratch = mq->scratch;
    if (mq->stream.write_fd < 0)
        mq->stream.sending.closing = true; /* it failed on the way: the sentence that says why must stand */
    else if (owner)
        stream_drained(link); /* the goodbye may still want the scratch */
    stream_close(link, owner);
    memory_free(scratch);
}

const struct transport transport_mq = {
    .scheme = "mq",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE |
                    HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .dear = true,
    .listen = rendezvous_listen,
    .greet = rendezvous_greet,
    .unlisten = rendezvous_unlisten,
    .connect = rendezvous_connect,
    .pair = rendezvous_pair,
    .begin = rendezvous_begin,
    .pack = mqueue_pack,
    .unpack = mqueue_unpack,
    .create = mqueue_create,
    .join = mqueue_join,
    .offer = mqueue_offer,
    .meet = mqueue_meet,
    .note = stream_note,
    .send = stream_send,
    .progress = stream_progress,
    STREAM_OPERATIONS,
    .loan = stream_loan,
    .recv = stream_recv,
    .take = stream_take,
    .ready = stream_ready,
    .room = stream_room,
    .ask = stream_ask,
    .acked = stream_acked,
    .drained = stream_drained,
    .close = mqueue_close,
    .arm = stream_arm,
    .disarm = stream_disarm,
    .woken = stream_woken,
    .look = stream_look,
};
