/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* sysv://: two System V queues, one for each direction (in a shared one two full senders would lock each other out), made by the
 * listening end or with the pair. A packet is a piece of the stream's bytes.
 *
 * The kernel frees them for nobody, so (record.h) a locked file stands for them, whose one description both ends hold. At a
 * close the last to go removes all three: each end says goodbye, ends its side of the rendezvous socket, and only then looks
 * whether the other has gone; of two that close at once at least one sees the other gone. Whoever cannot tell in that
 * way (an end that was never used) asks the lock. What dies without a close is collected by the next open. */

#include "transport/sysv/sysv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/rendezvous.h"
#include "transport/sysv/queue.h"

#include <errno.h>
#include <string.h>

#define PACKET_MAX ((size_t)16 << 20)
#define OFFER_MAGIC 0x76737973u /* "sysv" */

/* In hellos and in exported ends. The maker's hello and an exported end name the queues; other hellos have zeroes there. */
struct sysv_offer {
    uint32_t magic;
    uint32_t key;
    int32_t in, out; /* as the receiver of the offer is to use them */
    uint32_t packet;
    uint32_t reserved;
};

static ssize_t sysv_read(struct stream *stream, const struct iovec *vector, int n) {
    struct sysv_link *sysv = sysv_of(&stream->link);
    (void)n;
    if (bells_empty(sysv))
        return -EAGAIN;
    ssize_t got = sysv_queue_receive(sysv->in, sysv->receiving, sysv->packet);
    if (got == -EMSGSIZE || got == 0 || got > (ssize_t)vector[0].iov_len)
        return link_break(&stream->link, "the peer sends a packet of no bytes, or of more than %zu", sysv->packet);
    if (got == -EPIPE)
        return 0;
    if (got < 0)
        return got;
    memcpy(vector[0].iov_base, sysv->receiving->bytes, (size_t)got);
    bell_sender(sysv);
    return got;
}

static size_t gather(struct sysv_link *sysv, const struct iovec *vector, int n) {
    size_t size = 0;
    for (int i = 0; i < n && size < sysv->packet; i++) {
        size_t part = vector[i].iov_len < sysv->packet - size ? vector[i].iov_len : sysv->packet - size;
        memcpy(sysv->sending->bytes + size, vector[i].iov_base, part);
        size += part;
    }
    return size;
}

static void set_full(struct sysv_link *sysv, bool full, uint32_t received) {
    store_relaxed(&sysv->full_received, received);
    store_relaxed(&sysv->full, full);
}

/* Found no room. What the peer has taken is looked at before a last try, so that whatever it takes after that is noticed. Where
 * that is all, no room will come of it: then the kernel refused for a reason of its own, and is asked again; or the peer, who
 * may own the queue, made it too small. */
static ssize_t send_again(struct sysv_link *sysv, size_t size) {
    uint32_t received = bells_received(sysv);
    bool empty = received == sysv->sent - 1; /* this one is announced already */
    ssize_t r = sysv_queue_send(sysv->out, sysv->sending, size);
    if (r == -EAGAIN && empty && !sysv_queue_has_room(sysv->out, size))
        r = link_break(&sysv->stream.link, "its queue has no room for a packet of %zu bytes, though it is empty", size);
    set_full(sysv, r == -EAGAIN && !empty, received);
    return r;
}

static ssize_t sysv_write(struct stream *stream, const struct iovec *vector, int n) {
    struct sysv_link *sysv = sysv_of(&stream->link);
    if (peer_glance(&stream->link, &sysv->looked_ns))
        return -EPIPE;
    if (bells_full(sysv))
        return -EAGAIN;
    size_t size = gather(sysv, vector, n);
    bells_announce(sysv, 1);
    ssize_t r = sysv_queue_send(sysv->out, sysv->sending, size);
    if (r == -EAGAIN)
        r = send_again(sysv, size);
    else if (load_relaxed(&sysv->full))
        store_relaxed(&sysv->full, false);
    if (r > 0)
        bell_receiver(sysv);
    else
        bells_announce(sysv, -1);
    return r;
}

static const struct stream_io sysv_io = { .read = sysv_read, .write = sysv_write, .packet = 2048, .unpollable = true };

static int sysv_create(const struct options *options, enum link_role role, struct link **ret_link) {
    struct sysv_link *sysv = memory_new(sizeof *sysv);
    if (!sysv)
        return error_set(-ENOMEM, "no memory for a channel");
    stream_init(&sysv->stream, &transport_sysv, options, role, &sysv_io, FRAMING_NATIVE);
    sysv->record = RECORD_NONE;
    sysv->in = sysv->out = -1;
    *ret_link = &sysv->stream.link;
    return 0;
}

static int take_queues(struct sysv_link *sysv, size_t packet, int in, int out) {
    sysv->sending = memory_new(sizeof *sysv->sending + packet);
    sysv->receiving = memory_new(sizeof *sysv->receiving + packet);
    if (!sysv->sending || !sysv->receiving)
        return error_set(-ENOMEM, "no memory for a packet of %zu bytes", packet);
    sysv->sending->type = 1;
    sysv->packet = sysv->stream.packet = packet;
    sysv->in = in;
    sysv->out = out;
    return 0;
}

static int make_queues(struct sysv_link *sysv) {
    size_t packet;
    int queues[2];
    int r = sysv_queue_packet(&sysv->stream.link.options, &packet);
    if (r == 0)
        r = record_make(&sysv->record, queues);
    return r < 0 ? r : take_queues(sysv, packet, queues[0], queues[1]);
}

static int duplicate(int fd, int *ret_fd) {
    int copy = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return error_set(copy, "duplicate a record's descriptor: %s", error_text(copy));
    *ret_fd = copy;
    return 0;
}

static int sysv_join(struct link *a, struct link *b) {
    struct sysv_link *ours = sysv_of(a), *theirs = sysv_of(b);
    int r = make_queues(ours);
    if (r < 0)
        return r;
    int copy = -1;
    r = duplicate(ours->record.fd, &copy);
    if (r < 0)
        return r;
    theirs->record = ours->record;
    theirs->record.fd = copy;
    return take_queues(theirs, ours->packet, ours->out, ours->in);
}

static void offer_begin(struct offer *offer, const struct sysv_offer *data) {
    memcpy(offer->data, data, sizeof *data);
    offer->size = sizeof *data;
}

/* The maker names the queues, lets the peer's user use them, and hands over the lock. */
static int offer_queues(struct sysv_link *sysv, struct sysv_offer *data, struct offer *offer) {
    const struct peer *peer = &sysv->stream.link.peer;
    int r = sysv->record.fd < 0 ? make_queues(sysv) : 0;
    if (r == 0 && peer->uid != geteuid()) {
        r = sysv_queue_share(sysv->in, peer->uid, peer->gid);
        if (r == 0)
            r = sysv_queue_share(sysv->out, peer->uid, peer->gid);
    }
    if (r == 0)
        r = duplicate(sysv->record.fd, &offer->fds[1]);
    if (r < 0)
        return r;
    offer->n_fds = 2;
    data->key = sysv->record.key;
    data->in = sysv->out;
    data->out = sysv->in;
    data->packet = (uint32_t)sysv->packet;
    return 0;
}

static int sysv_offer(struct link *link, struct offer *ret_offer) {
    struct sysv_link *sysv = sysv_of(link);
    struct sysv_offer data = { .magic = OFFER_MAGIC };
    cleanup_fd page = -1;
    int r = bells_make(sysv, &page);
    ret_offer->n_fds = 1;
    if (r == 0 && link->role == LINK_LISTEN)
        r = offer_queues(sysv, &data, ret_offer);
    if (r < 0) {
        ret_offer->n_fds = 0;
        return r;
    }
    ret_offer->fds[0] = steal_fd(&page);
    offer_begin(ret_offer, &data);
    return 0;
}

static int offer_check(const struct offer *offer, unsigned n_fds, struct sysv_offer *ret_data) {
    struct sysv_offer data = { 0 };
    if (offer->size != sizeof data || offer->n_fds != n_fds)
        return error_set(-EPROTO, "a hello of %zu bytes and %u descriptors where sysv has %zu and %u", offer->size, offer->n_fds,
                         sizeof data, n_fds);
    memcpy(&data, offer->data, sizeof data);
    if (data.magic != OFFER_MAGIC)
        return error_set(-EPROTO, "a hello that is none of sysv");
    if (data.packet > PACKET_MAX || (n_fds == 2 && data.packet == 0))
        return error_set(-EPROTO, "the peer's packets of %u bytes are impossible", data.packet);
    *ret_data = data;
    return 0;
}

/* The connecting end: the listener made the queues, the one we read from having the record's second key. */
static int meet_queues(struct sysv_link *sysv, const struct sysv_offer *data, struct offer *offer) {
    const struct peer *peer = &sysv->stream.link.peer;
    int r = record_adopt(data->key, &offer->fds[1], &sysv->record);
    if (r == 0)
        r = sysv_queue_check(data->in, data->key + 1, peer->uid, peer->pid, true);
    if (r == 0)
        r = sysv_queue_check(data->out, data->key, peer->uid, peer->pid, false);
    if (r < 0) {
        record_forget(&sysv->record);
        return r;
    }
    return take_queues(sysv, data->packet, data->in, data->out);
}

static int sysv_meet(struct link *link, struct offer *offer) {
    struct sysv_link *sysv = sysv_of(link);
    bool connects = link->role == LINK_CONNECT;
    struct sysv_offer data = { 0 };
    int r = offer_check(offer, connects ? 2 : 1, &data);
    if (r < 0)
        return r;
    if (load_relaxed(&sysv->met))
        return error_set(-EPROTO, "a second hello");
    if (connects)
        r = meet_queues(sysv, &data, offer);
    return r < 0 ? r : bells_adopt(sysv, offer->fds[0]);
}

static int sysv_pack(struct link *link, struct offer *ret_offer) {
    struct sysv_link *sysv = sysv_of(link);
    struct sysv_offer data = { .magic = OFFER_MAGIC, .key = sysv->record.key, .in = sysv->in, .out = sysv->out,
                               .packet = (uint32_t)sysv->packet };
    ret_offer->fds[0] = steal_fd(&link->peer.socket);
    ret_offer->fds[1] = steal_fd(&sysv->record.fd);
    ret_offer->n_fds = 2;
    offer_begin(ret_offer, &data);
    sysv->record = RECORD_NONE;
    return 0;
}

/* Which of a pair's ends this is shows in which queue has which key. */
static int unpack_queues(struct sysv_link *sysv, const struct sysv_offer *data, struct offer *offer) {
    int r = record_adopt(data->key, &offer->fds[1], &sysv->record);
    if (r < 0)
        return r;
    bool first = sys_msgget((key_t)data->key, 0) == data->in;
    r = sysv_queue_check_key(data->in, first ? data->key : data->key + 1);
    if (r == 0)
        r = sysv_queue_check_key(data->out, first ? data->key + 1 : data->key);
    if (r < 0)
        record_forget(&sysv->record);
    return r < 0 ? r : take_queues(sysv, data->packet, data->in, data->out);
}

static int sysv_unpack(const struct options *options, struct offer *offer, struct link **ret_link) {
    struct sysv_offer data = { 0 };
    struct link *link = NULL;
    int r = offer_check(offer, 2, &data);
    if (r == 0)
        r = sysv_create(options, LINK_PAIR, &link);
    if (r < 0)
        return r;
    r = peer_adopt(&link->peer, &offer->fds[0]);
    if (r == 0)
        r = unpack_queues(sysv_of(link), &data, offer);
    if (r < 0) {
        transport_sysv.close(link, false);
        return r;
    }
    *ret_link = link;
    return 0;
}

/* The bytes of the packet that the message which found no room would begin with. */
static size_t first_packet(const struct sysv_link *sysv) {
    enum { SMALL = 128 };
    const struct refusal *refusal = &sysv->stream.link.refusal;
    uint64_t framed = refusal->many ? UINT64_MAX : stream_head_size(&sysv->stream) + refusal->size;
    uint64_t bytes = framed > SMALL ? framed : SMALL;
    return bytes < sysv->packet ? (size_t)bytes : sysv->packet;
}

/* [S] */
static int sysv_room(struct link *link) {
    struct sysv_link *sysv = sysv_of(link);
    int r = stream_progress(link);
    if (r < 0 && r != -EAGAIN)
        return 1;
    if (load_relaxed(&sysv->stream.stuck) & STUCK_BYTES)
        return 0;
    if (bells_full(sysv))
        return 0;
    uint32_t received = bells_received(sysv); /* before the look */
    bool full = received != sysv->sent && !sysv_queue_has_room(sysv->out, first_packet(sysv)); /* else a send will tell */
    set_full(sysv, full, received);
    return !full;
}

/* Says to the peer that we are gone, and tells whether it went before. */
static bool last_to_go(struct link *link) {
    if (link->peer.socket < 0)
        return false;
    sys_shutdown(link->peer.socket, SHUT_WR); /* before the look: see the top */
    return peer_look(link) != 0;
}

static void sysv_close(struct link *link, bool owner) {
    struct sysv_link *sysv = sysv_of(link);
    struct record record = sysv->record;
    int queues[2] = { sysv->in, sysv->out };
    void *sending = sysv->sending, *receiving = sysv->receiving;
    if (owner && queues[0] >= 0) /* else it failed on the way: the sentence that says why must stand */
        stream_drained(link);    /* the goodbye wants buffers and bells */
    bool last = owner && queues[0] >= 0 && last_to_go(link);
    if (owner) { /* in a forked child something else may lie there: the maps were not inherited */
        memory_unmap(&sysv->own);
        memory_unmap(&sysv->theirs);
    }
    sysv->stream.sending.closing = true; /* said, or not to be said any more */
    stream_close(link, owner);
    memory_free(sending);
    memory_free(receiving);
    if (last)
        record_remove(&record, queues);
    else
        record_leave(&record);
}

static int sysv_listen(struct hawser_listener *listener) {
    record_collect(); /* what cannot be collected now can be later: no reason to fail */
    return rendezvous_listen(listener);
}

static int sysv_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link) {
    record_collect();
    return rendezvous_connect(address, options, deadline, ret_link);
}

static int sysv_pair(const struct transport *self, const struct options *options, struct link **ret_a, struct link **ret_b) {
    record_collect();
    return rendezvous_pair(self, options, ret_a, ret_b);
}

const struct transport transport_sysv = {
    .scheme = "sysv",
    .capabilities = HAWSER_CAN_TWO_WAY | HAWSER_CAN_SYNC | HAWSER_CAN_CREDENTIALS | HAWSER_CAN_PAIR | HAWSER_CAN_GOODBYE |
                    HAWSER_CAN_ORDERED,
    .halves_meet = true,
    .dear = true,
    .naps = true,
    .listen = sysv_listen,
    .collect = record_collect_dead,
    .greet = rendezvous_greet,
    .unlisten = rendezvous_unlisten,
    .connect = sysv_connect,
    .pair = sysv_pair,
    .begin = rendezvous_begin,
    .pack = sysv_pack,
    .unpack = sysv_unpack,
    .create = sysv_create,
    .join = sysv_join,
    .offer = sysv_offer,
    .meet = sysv_meet,
    .note = stream_note,
    .send = stream_send,
    .progress = stream_progress,
    STREAM_OPERATIONS,
    .loan = stream_loan,
    .recv = stream_recv,
    .take = stream_take,
    .ready = stream_ready,
    .room = sysv_room,
    .ask = stream_ask,
    .acked = stream_acked,
    .drained = stream_drained,
    .close = sysv_close,
    .arm = sysv_arm,
    .disarm = sysv_disarm,
    .woken = sysv_woken,
    .look = sysv_look,
};
