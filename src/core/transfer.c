/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The public calls that move messages, less waiting.c: try the transport's operation, on -EAGAIN wait a step, try again.
 * A transport's operation never waits, so a half's lock is never held over a sleep. */

#include "base/error.h"
#include "core/channel.h"

#include <errno.h>

#define MANY_MAX ((size_t)1 << 20)

static int bad(const char *sentence) { return error_note(-EINVAL, sentence); }

static int check_timeout(int64_t timeout) {
    return __builtin_expect(timeout >= HAWSER_FOREVER, 1) ? 0 : bad("the timeout is negative but not HAWSER_FOREVER");
}

/* ---- Sending ---- */

/* The first try of a call counts its system calls under the lock that it holds anyway; waiting_end() counts all after. */
static inline void count_first(struct half *half, const uint64_t *before) {
    if (before && __builtin_expect(sys_calls_made != *before, 0))
        count_add(&half->system_calls, sys_calls_made - *before);
}

struct outgoing {
    const hawser_message *messages;
    size_t n;
    const struct descriptors *fds;
    bool sync;
    uint64_t target; /* out: messages sent up to and with these */
};

static int check_sizes(struct hawser_channel *channel, const struct outgoing *out) {
    uint64_t most = load_relaxed(&channel->link->max_message);
    for (size_t i = 0; i < out->n; i++) {
        if (__builtin_expect(out->messages[i].size > most, 0))
            return error_set(-EMSGSIZE, "send: a message of %zu bytes is over the channel's max_message of %llu; nothing was sent",
                             out->messages[i].size, (unsigned long long)most);
        if (__builtin_expect(!out->messages[i].data && out->messages[i].size > 0, 0))
            return bad("send: the data is NULL but the size is not 0");
    }
    return 0;
}

/* The rest of a message that has begun: until it has left or time is up. The message counts as sent in any case. */
static void send_rest(struct waiting *waiting) {
    struct hawser_channel *channel = waiting->channel;
    int waited = 0;
    for (;;) {
        half_lock(channel, &channel->sending);
        int r = channel->transport->progress(channel->link);
        if (r == -EAGAIN && waited < 0) {
            channel->transport->keep(channel->link);
            link_news(channel->link); /* who sleeps in another call is to move it on from here */
        }
        half_unlock(channel, &channel->sending);
        channel_kick(channel);
        if (r != -EAGAIN || waited < 0)
            break;
        waited = waiting_step(waiting, WANT_SEND);
    }
    if (waited == -ECANCELED)
        hawser_interrupt(channel); /* this call succeeds: the next one is cancelled */
}

/* before: sys_calls_made when the call began, if this is its first try; else NULL. */
static inline int send_try(struct hawser_channel *channel, struct outgoing *out, size_t done, const uint64_t *before,
                           size_t *ret_sent) {
    half_lock(channel, &channel->sending);
    half_quicken(channel, &channel->sending, channel->put && !channel->shut);
    int r = channel->shut ? -EPIPE
                          : channel->transport->send(channel->link, out->messages + done, out->n - done, out->fds, out->sync, ret_sent);
    if (__builtin_expect(r == 0 || r == -EINPROGRESS, 1)) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < *ret_sent; i++)
            bytes += out->messages[done + i].size;
        count_add(&channel->sending.messages, *ret_sent);
        count_add(&channel->sending.bytes, bytes);
        out->target = load_relaxed(&channel->sending.messages);
    } else if (r == -EAGAIN) {
        count_add(&channel->sending.stalls, 1);
        channel_refused(channel, (struct refusal){ .size = out->messages[done].size, .many = out->n - done > 1, .fds = out->fds != NULL });
    } else if (channel->shut) {
        error_note(r, "send: hawser_shutdown() was called on this channel");
    }
    count_first(&channel->sending, before);
    half_unlock(channel, &channel->sending);
    return r;
}

/* Goes on after a first try that gave r and sent `done`: sends all, or what the timeout allows. 0 when at least one was sent. */
static int send_on(struct waiting *waiting, struct outgoing *out, int r, size_t done, size_t *ret_sent) {
    for (;;) {
        if (r == -EINPROGRESS) {
            send_rest(waiting);
            r = 0;
        } else if (r == -EAGAIN) {
            r = waiting_step(waiting, WANT_SEND);
        }
        if (r != 0 || done == out->n)
            break;
        size_t now = 0;
        r = send_try(waiting->channel, out, done, NULL, &now);
        done += now;
    }
    if (done == 0)
        return r;
    if (r == -ECANCELED)
        hawser_interrupt(waiting->channel); /* as in send_rest */
    *ret_sent = done;
    return 0;
}

static __attribute__((noinline)) int send_waiting(hawser_channel *channel, struct outgoing *out, int64_t timeout, int r, size_t done,
                                                  size_t *ret_sent) {
    struct waiting waiting;
    waiting_init(&waiting, channel, &channel->sending, timeout);
    r = send_on(&waiting, out, r, done, ret_sent);
    waiting_end(&waiting, r == 0);
    return r;
}

/* The first try comes before anything that only waiting needs. */
static inline int send_public(hawser_channel *channel, struct outgoing *out, int64_t timeout, size_t *ret_sent) {
    uint64_t calls = sys_calls_made;
    size_t now = 0;
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r == 0)
        r = check_sizes(channel, out);
    if (r < 0)
        return r;
    half_use(&channel->sending);
    r = send_try(channel, out, 0, &calls, &now);
    if (__builtin_expect(r == 0 && now == out->n, 1))
        *ret_sent = now;
    else
        r = send_waiting(channel, out, timeout, r, now, ret_sent);
    channel_kick(channel); /* the transport may have read news on the way */
    return r;
}

/* tried: what the short way said. */
static __attribute__((noinline)) int send_long(hawser_channel *channel, const void *data, size_t size, int64_t timeout, int tried) {
    hawser_message message = { .data = data, .size = size };
    struct outgoing out = { .messages = &message, .n = 1 };
    size_t sent;
    if (tried != -EINPROGRESS)
        return send_public(channel, &out, timeout, &sent);
    int r = send_waiting(channel, &out, timeout, tried, 1, &sent);
    channel_kick(channel);
    return r;
}

/* quick was asked before the lock was taken: another thread may have shut the channel down since. */
static inline __attribute__((always_inline)) int send_short(hawser_channel *channel, const void *data, size_t size, int64_t timeout,
                                                            bool locks) {
    struct half *half = &channel->sending;
    uint64_t calls = sys_calls_made;
    half_use(half);
    if (locks)
        lock_acquire(&half->lock);
    int r = locks && channel->shut ? 1 : channel->put(channel->link, data, size);
    if (__builtin_expect(r <= 0, 1)) {
        count_add(&half->messages, 1);
        count_add(&half->bytes, size);
    }
    count_first(half, &calls);
    if (locks)
        lock_release(&half->lock);
    if (__builtin_expect(r != 0, 0))
        return send_long(channel, data, size, timeout, r);
    channel_kick(channel);
    return 0;
}

static __attribute__((noinline)) int send_locked(hawser_channel *channel, const void *data, size_t size, int64_t timeout) {
    return send_short(channel, data, size, timeout, true);
}

HAWSER_PUBLIC int hawser_send(hawser_channel *channel, const void *data, size_t size, int64_t timeout) {
    if (__builtin_expect(!channel || !data || timeout < HAWSER_FOREVER || !half_is_quick(&channel->sending), 0))
        return send_long(channel, data, size, timeout, 1);
    if (__builtin_expect(channel->locks, 0))
        return send_locked(channel, data, size, timeout);
    return send_short(channel, data, size, timeout, false);
}

HAWSER_PUBLIC int hawser_send_many(hawser_channel *channel, const hawser_message *messages, size_t n, int64_t timeout,
                                   size_t *ret_sent) {
    if (!messages || !ret_sent || n == 0 || n > MANY_MAX)
        return bad("send_many: messages or ret_sent is NULL, or n is not 1 to 2^20");
    struct outgoing out = { .messages = messages, .n = n };
    return send_public(channel, &out, timeout, ret_sent);
}

HAWSER_PUBLIC int hawser_send_fds(hawser_channel *channel, const void *data, size_t size, const int *fds, size_t n, int64_t timeout) {
    if (n > 16 || (n > 0 && !fds))
        return bad("send_fds: more than 16 descriptors, or none given");
    int r = channel_enter(channel);
    if (r < 0)
        return r;
    if (!(channel->transport->capabilities & HAWSER_CAN_DESCRIPTORS))
        return error_set(-EOPNOTSUPP, "send_fds: %s cannot carry descriptors; use shm or unix", channel->transport->scheme);
    hawser_message message = { .data = data, .size = size };
    struct descriptors descriptors = { .fds = fds, .n = n };
    struct outgoing out = { .messages = &message, .n = 1, .fds = n > 0 ? &descriptors : NULL };
    size_t sent;
    return send_public(channel, &out, timeout, &sent);
}

/* ---- Acknowledgements ---- */

static int can_sync(struct hawser_channel *channel) {
    if (channel->transport->capabilities & HAWSER_CAN_SYNC && !channel->link->plain)
        return 0;
    return error_set(-EOPNOTSUPP, "%s%s has no acknowledgements, so neither send_sync nor flush", channel->transport->scheme,
                     channel->link->plain ? " with a plain SP peer" : "");
}

/* What keeps acknowledgements from being seen here (memory, descriptors) says nothing of the message: that has left. */
static int unseen(int error) {
    if (error == -EPROTO || error == -ENOBUFS || error == -ESHUTDOWN || error == -ECONNRESET)
        return error;
    return error_set(-EINPROGRESS, "sent, but whether the peer has taken it could not be looked up: %s", error_text(error));
}

/* Until the peer's program has taken `target` messages in all. */
static int wait_taken(struct waiting *waiting, uint64_t target) {
    struct hawser_channel *channel = waiting->channel;
    for (;;) {
        uint64_t taken = 0;
        half_lock(channel, &channel->receiving);
        int r = channel->transport->acked(channel->link, &taken);
        if (r == 0)
            channel->told = waiting->told = taken;
        half_unlock(channel, &channel->receiving);
        channel_kick(channel); /* it may have read a message that another thread sleeps for */
        channel_pay(channel); /* the peer may be waiting for ours just as we for its */
        if (r == 0 && taken >= target)
            return 0;
        if (r < 0 && r != -EAGAIN)
            return unseen(r);
        r = waiting_step(waiting, WANT_ACK);
        if (r == -EAGAIN || r == -ETIMEDOUT)
            return error_note(-EINPROGRESS, "sent, but the peer has not taken it within the timeout");
        if (r < 0)
            return r;
    }
}

static int send_sync(struct waiting *waiting, struct outgoing *out) {
    size_t sent = 0;
    int r = can_sync(waiting->channel);
    if (r == 0)
        r = check_sizes(waiting->channel, out);
    if (r < 0)
        return r;
    r = send_try(waiting->channel, out, 0, NULL, &sent);
    r = send_on(waiting, out, r, sent, &sent);
    return r < 0 ? r : wait_taken(waiting, out->target);
}

HAWSER_PUBLIC int hawser_send_sync(hawser_channel *channel, const void *data, size_t size, int64_t timeout) {
    hawser_message message = { .data = data, .size = size };
    struct outgoing out = { .messages = &message, .n = 1, .sync = true };
    struct waiting waiting;
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r < 0)
        return r;
    waiting_init(&waiting, channel, &channel->sending, timeout);
    r = send_sync(&waiting, &out);
    waiting_end(&waiting, r == 0);
    channel_pay(channel);
    return r;
}

/* Runs one operation of the sending half until it is no longer -EAGAIN. */
static int until_done(struct waiting *waiting, int (*operation)(struct link *link)) {
    struct hawser_channel *channel = waiting->channel;
    for (;;) {
        half_lock(channel, &channel->sending);
        int r = operation(channel->link);
        half_unlock(channel, &channel->sending);
        channel_kick(channel);
        if (r != -EAGAIN)
            return r;
        r = waiting_step(waiting, WANT_SEND);
        if (r < 0)
            return r;
    }
}

static int flush(struct waiting *waiting) {
    struct hawser_channel *channel = waiting->channel;
    uint64_t target = load_relaxed(&channel->sending.messages);
    int r = can_sync(channel);
    if (r < 0 || target == 0)
        return r;
    r = until_done(waiting, channel->transport->progress);
    if (r == 0)
        r = until_done(waiting, channel->transport->ask);
    /* A peer that is gone cannot be asked, but what it took and how it went can be known. */
    return r < 0 && r != -EPIPE ? r : wait_taken(waiting, target);
}

HAWSER_PUBLIC int hawser_flush(hawser_channel *channel, int64_t timeout) {
    struct waiting waiting;
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r < 0)
        return r;
    waiting_init(&waiting, channel, &channel->sending, timeout);
    r = flush(&waiting);
    waiting_end(&waiting, r == 0);
    channel_pay(channel);
    return r;
}

/* ---- Loans ---- */

HAWSER_PUBLIC int hawser_loan(hawser_channel *channel, size_t size, int64_t timeout, void **ret_data) {
    struct waiting waiting;
    hawser_message message = { .data = &message, .size = size };
    struct outgoing out = { .messages = &message, .n = 1 };
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r == 0 && !ret_data)
        r = bad("loan: ret_data is NULL");
    if (r == 0)
        r = check_sizes(channel, &out);
    if (r < 0)
        return r;
    waiting_init(&waiting, channel, &channel->sending, timeout);
    do {
        half_lock(channel, &channel->sending);
        r = channel->shut ? error_note(-EPIPE, "loan: hawser_shutdown() was called on this channel")
                          : channel->transport->loan(channel->link, size, ret_data);
        if (r == -EAGAIN)
            channel_refused(channel, (struct refusal){ .size = size, .loan = true });
        half_unlock(channel, &channel->sending);
        channel_kick(channel);
    } while (r == -EAGAIN && (r = waiting_step(&waiting, WANT_SEND)) == 0);
    waiting_end(&waiting, r == 0);
    return r;
}

HAWSER_PUBLIC int hawser_commit(hawser_channel *channel, void *data, size_t size) {
    uint64_t calls = sys_calls_made;
    int r = channel_enter(channel);
    if (r == 0 && !data)
        r = bad("commit: the loan is NULL");
    if (r < 0)
        return r;
    half_use(&channel->sending);
    half_lock(channel, &channel->sending);
    if (channel->shut) {
        channel->transport->discard(channel->link, data);
        r = error_note(-EPIPE, "commit: hawser_shutdown() was called on this channel; the loan is gone");
    } else {
        r = channel->transport->commit(channel->link, data, size);
    }
    if (r == 0) {
        count_add(&channel->sending.messages, 1);
        count_add(&channel->sending.bytes, size);
    }
    count_add(&channel->sending.system_calls, sys_calls_made - calls);
    half_unlock(channel, &channel->sending);
    channel_kick(channel); /* as in send_public */
    return r;
}

HAWSER_PUBLIC int hawser_discard(hawser_channel *channel, void *data) {
    int r = channel_enter(channel);
    if (r < 0 || !data)
        return r;
    half_lock(channel, &channel->sending);
    r = channel->transport->discard(channel->link, data);
    half_unlock(channel, &channel->sending);
    channel_kick(channel);
    return r;
}

/* ---- Receiving ---- */

static void count_received(struct hawser_channel *channel, uint64_t n, uint64_t bytes) {
    count_add(&channel->receiving.messages, n);
    count_add(&channel->receiving.bytes, bytes);
}

/* wait=block, and as the last wait slept and something was sent since, an answer is awaited that is hardly there yet: the
 * first try would be in vain. Where time is short there may be no other. */
static inline void be_patient(struct hawser_channel *channel, int64_t timeout) {
    struct half *half = &channel->receiving;
    uint64_t sent = load_relaxed(&channel->sending.messages);
    const struct options *options = &channel->link->options;
    channel->link->patient = half->slept && sent != half->answered && (timeout == HAWSER_FOREVER || timeout >= NAP_NS) &&
                             options->wait == HAWSER_WAIT_BLOCK && options->threads != HAWSER_THREADS_MANY;
    half->answered = sent;
}

struct incoming {
    void *buffer;
    size_t capacity;
    struct received_descriptors *fds;
};

/* One read may have brought more than one message, or the end, which concerns all; but of the others who sleep, those that the
 * descriptor woke have found it empty and sleep again. */
static inline void pass_on(struct hawser_channel *channel, int r) {
    if (__builtin_expect(!channel_many(channel), 1) || r == -EAGAIN)
        return;
    if (r < 0)
        half_wake(&channel->receiving);
    else
        channel_pass_on(channel);
}

static inline int receive_try(struct hawser_channel *channel, const struct incoming *in, int64_t timeout, const uint64_t *before,
                              size_t *ret_size) {
    half_lock(channel, &channel->receiving);
    channel_disarm_own(channel);
    half_quicken(channel, &channel->receiving, channel->get && !channel->armed);
    be_patient(channel, timeout);
    int r = channel->transport->recv(channel->link, in->buffer, in->capacity, in->fds, ret_size);
    channel->link->patient = false; /* if it was not needed: a call that does not wait must not find it */
    if (r == 0)
        count_received(channel, 1, *ret_size);
    pass_on(channel, r);
    count_first(&channel->receiving, before);
    half_unlock(channel, &channel->receiving);
    channel_kick(channel);
    return r;
}

static void unhand(struct hawser_channel *channel) {
    half_lock(channel, &channel->receiving);
    channel->transport->unhand(channel->link);
    half_unlock(channel, &channel->receiving);
}

/* Goes on after a first try that got -EAGAIN. */
static __attribute__((noinline)) int receive_waiting(hawser_channel *channel, const struct incoming *in, int64_t timeout,
                                                     size_t *ret_size) {
    struct waiting waiting;
    waiting_init(&waiting, channel, &channel->receiving, timeout);
    int r;
    do {
        channel_pay(channel);
        r = waiting_step(&waiting, WANT_RECEIVE);
        if (r < 0) {
            unhand(channel);
            break;
        }
        r = receive_try(channel, in, HAWSER_NOW, NULL, ret_size);
    } while (r == -EAGAIN);
    waiting_end(&waiting, r == 0);
    return r;
}

static inline int receive_public(hawser_channel *channel, const struct incoming *in, int64_t timeout, size_t *ret_size) {
    uint64_t calls = sys_calls_made;
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r == 0 && (!ret_size || (!in->buffer && in->capacity > 0)))
        r = bad("recv: the buffer or ret_size is NULL");
    if (r < 0)
        return r;
    r = receive_try(channel, in, timeout, &calls, ret_size);
    if (r == -EAGAIN)
        r = receive_waiting(channel, in, timeout, ret_size);
    channel_pay(channel);
    return r;
}

/* tried: what the short way said. */
static __attribute__((noinline)) int receive_long(hawser_channel *channel, void *buffer, size_t capacity, int64_t timeout, int tried,
                                                  size_t *ret_size) {
    struct incoming in = { .buffer = buffer, .capacity = capacity };
    if (tried != -EAGAIN)
        return receive_public(channel, &in, timeout, ret_size);
    int r = receive_waiting(channel, &in, timeout, ret_size);
    channel_pay(channel);
    return r;
}

static inline __attribute__((always_inline)) int receive_short(hawser_channel *channel, void *buffer, size_t capacity,
                                                               int64_t timeout, size_t *ret_size, bool locks) {
    struct half *half = &channel->receiving;
    uint64_t calls = sys_calls_made;
    half_use(half);
    if (locks)
        lock_acquire(&half->lock);
    int r = channel->get(channel->link, buffer, capacity, ret_size);
    if (__builtin_expect(r == 0, 1))
        count_received(channel, 1, *ret_size);
    count_first(half, &calls);
    if (locks)
        lock_release(&half->lock);
    channel_kick(channel);
    if (__builtin_expect(r != 0, 0))
        return receive_long(channel, buffer, capacity, timeout, r, ret_size);
    channel_pay(channel);
    return 0;
}

static __attribute__((noinline)) int receive_locked(hawser_channel *channel, void *buffer, size_t capacity, int64_t timeout,
                                                    size_t *ret_size) {
    return receive_short(channel, buffer, capacity, timeout, ret_size, true);
}

HAWSER_PUBLIC int hawser_recv(hawser_channel *channel, void *buffer, size_t capacity, int64_t timeout, size_t *ret_size) {
    if (__builtin_expect(!channel || !buffer || !ret_size || timeout < HAWSER_FOREVER || !half_is_quick(&channel->receiving), 0))
        return receive_long(channel, buffer, capacity, timeout, 1, ret_size);
    if (__builtin_expect(channel->locks, 0))
        return receive_locked(channel, buffer, capacity, timeout, ret_size);
    return receive_short(channel, buffer, capacity, timeout, ret_size, false);
}

HAWSER_PUBLIC int hawser_recv_fds(hawser_channel *channel, void *buffer, size_t capacity, int *fds, size_t capacity_fds,
                                  int64_t timeout, size_t *ret_size, size_t *ret_n) {
    struct received_descriptors descriptors = { .fds = fds, .capacity = capacity_fds };
    struct incoming in = { .buffer = buffer, .capacity = capacity, .fds = &descriptors };
    if (!ret_n || (!fds && capacity_fds > 0))
        return bad("recv_fds: fds or ret_n is NULL");
    int r = channel_enter(channel);
    if (r == 0 && !(channel->transport->capabilities & HAWSER_CAN_DESCRIPTORS))
        r = error_set(-EOPNOTSUPP, "recv_fds: %s cannot carry descriptors; use shm or unix", channel->transport->scheme);
    if (r == 0)
        r = receive_public(channel, &in, timeout, ret_size);
    if (r == 0 || r == -EMSGSIZE)
        *ret_n = descriptors.n;
    return r;
}

static int take_try(struct hawser_channel *channel, hawser_message *messages, size_t n, size_t *ret_taken) {
    half_lock(channel, &channel->receiving);
    channel_disarm_own(channel);
    int r = channel->transport->take(channel->link, messages, n, ret_taken);
    if (r == 0) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < *ret_taken; i++)
            bytes += messages[i].size;
        count_received(channel, *ret_taken, bytes);
    }
    pass_on(channel, r);
    half_unlock(channel, &channel->receiving);
    channel_kick(channel);
    return r;
}

HAWSER_PUBLIC int hawser_take_many(hawser_channel *channel, hawser_message *ret_messages, size_t n, int64_t timeout,
                                   size_t *ret_taken) {
    struct waiting waiting;
    int r = channel_enter_waiting(channel);
    if (r == 0)
        r = check_timeout(timeout);
    if (r == 0 && (!ret_messages || !ret_taken || n == 0 || n > MANY_MAX))
        r = bad("take: an argument is NULL, or n is not 1 to 2^20");
    if (r < 0)
        return r;
    waiting_init(&waiting, channel, &channel->receiving, timeout);
    while ((r = take_try(channel, ret_messages, n, ret_taken)) == -EAGAIN) {
        r = waiting_step(&waiting, WANT_RECEIVE);
        if (r < 0)
            break;
        channel_pay(channel);
    }
    channel_pay(channel);
    waiting_end(&waiting, r == 0);
    return r;
}

HAWSER_PUBLIC int hawser_take(hawser_channel *channel, int64_t timeout, hawser_message *ret_message) {
    size_t taken;
    return hawser_take_many(channel, ret_message, 1, timeout, &taken);
}

HAWSER_PUBLIC int hawser_release(hawser_channel *channel, hawser_message *message) {
    int r = channel_enter(channel);
    if (r == 0 && !message)
        r = bad("release: the message is NULL");
    if (r < 0)
        return r;
    half_lock(channel, &channel->receiving);
    r = channel->transport->release(channel->link, message);
    half_unlock(channel, &channel->receiving);
    if (r == 0)
        *message = (hawser_message){ 0 };
    return r;
}
