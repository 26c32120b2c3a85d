/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Two streams over a socket pair whose reads and writes can be cut to any length, and one stream against raw bytes. */

#include "core/stream_test.h"

static void pair_new(enum framing framing, struct stream **ret_a, struct stream **ret_b) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    write_most = read_most = SIZE_MAX;
    *ret_a = stream_new(fds[0], framing);
    *ret_b = stream_new(fds[1], framing);
}

static void pair_free(struct stream *a, struct stream *b) {
    write_most = read_most = SIZE_MAX;
    stream_close(&a->link, true);
    stream_close(&b->link, true);
}

static void fill_pattern(uint8_t *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static void check_pattern(const uint8_t *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
            fail_msg("byte %zu of %zu, message %u", i, size, seed);
}

/* Every framing, sizes around the limits of the small and large ways, copied out and taken. */
static void run_sizes(enum framing framing) {
    static const size_t sizes[] = { 0, 1, 8, 100, 4088, 16368, 16375, 16376, 16377, 16384, 65527, 65536, 70000, 200000, 1 << 20 };
    struct stream *a, *b;
    pair_new(framing, &a, &b);
    uint8_t *out = malloc(1 << 20), *in = malloc(1 << 20);
    for (unsigned i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i / 2], got = 0;
        fill_pattern(out, size, i);
        int r = send_one(a, out, size, false);
        assert_int_equal(r, 0);
        memset(in, 0xee, size);
        hawser_message message;
        size_t taken = 0;
        do {
            stream_progress(&a->link);
            r = i % 2 ? stream_recv(&b->link, in, size, NULL, &got) : stream_take(&b->link, &message, 1, &taken);
        } while (r == -EAGAIN);
        assert_int_equal(r, 0);
        assert_int_equal(i % 2 ? got : message.size, size);
        check_pattern(i % 2 ? in : message.data, size, i);
        if (i % 2 == 0)
            assert_int_equal(stream_release(&b->link, &message), 0);
    }
    free(out);
    free(in);
    pair_free(a, b);
}

static void test_sizes(void **state) {
    (void)state;
    run_sizes(FRAMING_NATIVE);
    run_sizes(FRAMING_SP);
    run_sizes(FRAMING_SP_IPC);
}

/* A message cut at every byte by the writer, then by the reader. */
static void test_boundaries(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t out[40], in[40];
    for (size_t most = 1; most < 60; most++) {
        size_t got = 0;
        fill_pattern(out, sizeof out, (unsigned)most);
        write_most = most % 2 ? most : SIZE_MAX;
        read_most = most % 2 ? SIZE_MAX : most;
        assert_int_equal(send_one(a, out, sizeof out, most % 3 == 0), 0);
        int r;
        while ((r = stream_recv(&b->link, in, sizeof in, NULL, &got)) == -EAGAIN) {
            r = stream_progress(&a->link);
            assert_true(r == 0 || r == -EAGAIN);
        }
        assert_int_equal(r, 0);
        assert_int_equal(got, sizeof out);
        check_pattern(in, got, (unsigned)most);
        stream_progress(&b->link);
    }
    pair_free(a, b);
}

/* One direction. */
struct traffic {
    struct stream *from, *to;
    unsigned sent, received, n_held;
    hawser_message held[8];
    unsigned seeds[8]; /* of the held */
    void *loan;        /* lent, not yet committed */
    uint64_t acked;
    uint8_t *out, *in;
};

static size_t random_size(void) {
    return random_next(8) == 0 ? random_next(300000) : random_next(4) == 0 ? 0 : random_next(3000);
}

static void commit(struct traffic *traffic) {
    fill_pattern(traffic->loan, 500, traffic->sent++);
    assert_int_equal(stream_commit(&traffic->from->link, traffic->loan, 500), 0);
    traffic->loan = NULL;
}

/* The rest of a message moves on for a while, something else may queue behind it, then the buffer goes. */
static void finish(struct traffic *traffic) {
    if (random_next(2))
        while (random_next(3) && stream_progress(&traffic->from->link) == -EAGAIN)
            continue;
    if (traffic->loan)
        commit(traffic);
    assert_int_equal(stream_keep(&traffic->from->link), 0);
    memset(traffic->out, 0xee, 300000);
}

static void send_step(struct traffic *traffic) {
    struct link *link = &traffic->from->link;
    hawser_message messages[20];
    size_t n = 1 + random_next(20), at = 0, sent = 0;
    if (!traffic->loan && random_next(3) == 0) {
        int r = stream_loan(link, 500 + random_next(10), &traffic->loan);
        assert_true(r == 0 || r == -EAGAIN);
    } else if (traffic->loan && random_next(5) == 0) {
        commit(traffic);
    }
    for (size_t i = 0; i < n; i++) {
        size_t size = random_size();
        fill_pattern(traffic->out + at, size, traffic->sent + (unsigned)i);
        messages[i] = (hawser_message){ .data = traffic->out + at, .size = size };
        at += size;
    }
    int r = stream_send(link, messages, n, NULL, traffic->from->framing == FRAMING_NATIVE && random_next(3) == 0, &sent);
    if (r == -EAGAIN)
        return;
    assert_true(r == 0 || r == -EINPROGRESS);
    assert_true(sent >= 1 && sent <= n);
    traffic->sent += (unsigned)sent;
    finish(traffic);
}

static void release_one(struct traffic *traffic) {
    unsigned i = random_next(traffic->n_held);
    hawser_message *message = &traffic->held[i];
    check_pattern(message->data, message->size, traffic->seeds[i]); /* still what it was */
    assert_int_equal(stream_release(&traffic->to->link, message), 0);
    assert_int_equal(stream_release(&traffic->to->link, message), -EINVAL);
    traffic->n_held--;
    traffic->held[i] = traffic->held[traffic->n_held];
    traffic->seeds[i] = traffic->seeds[traffic->n_held];
}

static void take_step(struct traffic *traffic) {
    size_t n = 8 - traffic->n_held, taken = 0;
    int r = n > 0 ? stream_take(&traffic->to->link, traffic->held + traffic->n_held, n, &taken) : -EAGAIN;
    assert_true(r == 0 || r == -EAGAIN);
    for (size_t i = 0; i < taken; i++) {
        const hawser_message *message = &traffic->held[traffic->n_held];
        check_pattern(message->data, message->size, traffic->received);
        traffic->seeds[traffic->n_held++] = traffic->received++;
    }
}

static void receive_step(struct traffic *traffic) {
    struct link *link = &traffic->to->link;
    size_t got = 0;
    if (traffic->n_held == 8 || (traffic->n_held > 0 && random_next(3) == 0)) /* in any order */
        release_one(traffic);
    if (random_next(2)) {
        take_step(traffic);
        return;
    }
    int r = stream_recv(link, traffic->in, 300000, NULL, &got);
    if (r == -EAGAIN && random_next(2)) {
        assert_int_equal(stream_unhand(link), 0);
        memset(traffic->in, 0xee, 300000);
    }
    assert_true(r == 0 || r == -EAGAIN);
    if (r == 0)
        check_pattern(traffic->in, got, traffic->received++);
}

static void step(struct traffic *traffic) {
    write_most = random_next(3) ? 1 + random_next(random_next(2) ? 100 : 100000) : SIZE_MAX;
    read_most = random_next(3) ? 1 + random_next(random_next(2) ? 100 : 100000) : SIZE_MAX;
    if (traffic->sent < 1000)
        send_step(traffic);
    else
        assert_true(stream_progress(&traffic->from->link) != -EPIPE);
    if (random_next(3))
        receive_step(traffic);
    stream_progress(&traffic->to->link);
    if (traffic->from->framing != FRAMING_NATIVE || random_next(4) > 0)
        return;
    uint64_t before = traffic->acked;
    int r = stream_acked(&traffic->from->link, &traffic->acked);
    assert_true(r == 0 || r == -ENOBUFS);
    assert_true(traffic->acked >= before && traffic->acked <= traffic->received);
}

/* All ways to send and to receive, both ways, mixed at random, with calls cut at random. */
static void run_traffic(unsigned seed, enum framing framing) {
    struct stream *a, *b;
    pair_new(framing, &a, &b);
    random_state = seed;
    struct traffic there = { .from = a, .to = b, .out = malloc(20 * 300000), .in = malloc(300000) };
    struct traffic back = { .from = b, .to = a, .out = malloc(20 * 300000), .in = malloc(300000) };
    while (there.sent < 1000 || there.received < there.sent || back.sent < 1000 || back.received < back.sent) {
        step(&there);
        step(&back);
    }
    write_most = read_most = SIZE_MAX;
    stream_progress(&b->link);
    if (framing == FRAMING_NATIVE) {
        assert_int_equal(stream_ask(&a->link), 0);
        assert_int_equal(stream_ready(&b->link), 0);
        stream_progress(&b->link);
        assert_int_equal(stream_acked(&a->link, &there.acked), 0);
        assert_int_equal(there.acked, there.sent);
    }
    free(there.out);
    free(there.in);
    free(back.out);
    free(back.in);
    pair_free(a, b); /* with messages still held */
}

static void test_traffic(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++)
        run_traffic(seed, seed % 3 == 0 ? FRAMING_SP_IPC : FRAMING_NATIVE);
}

static void test_many_in_one_call(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    static uint8_t payload[64];
    hawser_message out[300], in[300];
    size_t n = 0;
    for (unsigned i = 0; i < 300; i++)
        out[i] = (hawser_message){ .data = payload, .size = sizeof payload };
    uint64_t before = b->receiving.position;
    assert_int_equal(stream_send(&a->link, out, 300, NULL, false, &n), 0);
    assert_int_equal(n, 300);
    assert_int_equal(stream_take(&b->link, in, 300, &n), 0);
    assert_int_equal(n, 300);
    assert_int_equal(b->receiving.position - before, 300 * (64 + 8));
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(stream_release(&b->link, &in[i]), 0);
    pair_free(a, b);
}

/* Full: nothing is sent; a write cut inside the first of many leaves the others unsent. */
static void test_full(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t payload[100] = { 0 };
    hawser_message out[3] = { { .data = payload, .size = 100 }, { .data = payload, .size = 100 }, { .data = payload, .size = 100 } };
    size_t sent = 0, got = 0;
    write_most = 0;
    assert_int_equal(stream_send(&a->link, out, 3, NULL, false, &sent), -EAGAIN);
    assert_int_equal(stream_send(&a->link, &(hawser_message){ .data = payload, .size = 100 }, 1, NULL, false, &sent), -EAGAIN);
    assert_int_equal(a->sent, 0);
    write_most = 150; /* the first, and some of the second */
    assert_int_equal(stream_send(&a->link, out, 3, NULL, false, &sent), -EINPROGRESS);
    assert_int_equal(sent, 2);
    assert_int_equal(a->sent, 2);
    write_most = 0;
    void *loan;
    assert_int_equal(stream_loan(&a->link, 1, &loan), -EAGAIN);
    assert_int_equal(stream_progress(&a->link), -EAGAIN);
    write_most = SIZE_MAX;
    assert_int_equal(stream_progress(&a->link), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(stream_recv(&b->link, payload, 100, NULL, &got), 0);
    assert_int_equal(stream_recv(&b->link, payload, 100, NULL, &got), -EAGAIN);
    pair_free(a, b);
}

static void test_loans(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    void *loans[STREAM_LOANS], *one_more;
    uint8_t in[200];
    size_t got = 0;
    for (unsigned i = 0; i < STREAM_LOANS; i++) {
        assert_int_equal(stream_loan(&a->link, 100 + i, &loans[i]), 0);
        assert_int_equal((uintptr_t)loans[i] % 8, 0);
        fill_pattern(loans[i], 100 + i, i);
    }
    assert_int_equal(stream_loan(&a->link, 1, &one_more), -ENOBUFS);
    assert_int_equal(stream_commit(&a->link, loans[3], 104), -EMSGSIZE);
    assert_int_equal(stream_commit(&a->link, in, 1), -EINVAL);
    assert_int_equal(stream_discard(&a->link, in), -EINVAL);
    assert_int_equal(stream_discard(&a->link, loans[5]), 0);
    assert_int_equal(stream_discard(&a->link, loans[5]), -EINVAL);
    write_most = 10; /* they wait in the outbox, in commit order */
    for (unsigned i = STREAM_LOANS; i-- > 0;)
        if (i != 5)
            assert_int_equal(stream_commit(&a->link, loans[i], 90), 0);
    write_most = SIZE_MAX;
    assert_int_equal(stream_progress(&a->link), 0);
    for (unsigned i = STREAM_LOANS; i-- > 0;) {
        if (i == 5)
            continue;
        assert_int_equal(stream_recv(&b->link, in, sizeof in, NULL, &got), 0);
        assert_int_equal(got, 90);
        check_pattern(in, got, i);
    }
    assert_int_equal(stream_loan(&a->link, 1, &one_more), 0); /* left out: freed with the stream */
    pair_free(a, b);
}

static void test_too_small(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t *big = malloc(100000);
    size_t got = 0;
    fill_pattern(big, 100000, 1);
    assert_int_equal(send_one(a, big, 100000, false), 0);
    assert_int_equal(stream_recv(&b->link, big, 10, NULL, &got), -EMSGSIZE);
    assert_int_equal(got, 100000);
    read_most = 30000;
    assert_int_equal(stream_recv(&b->link, big, 100000, NULL, &got), 0); /* several reads */
    check_pattern(big, got, 1);
    pair_free(a, b);
    free(big);
}

/* ---- The end ---- */

static void test_goodbye(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t byte = 7;
    size_t got = 0;
    assert_int_equal(send_one(a, &byte, 1, false), 0);
    assert_int_equal(stream_shutdown(&a->link), 0);
    assert_int_equal(stream_shutdown(&a->link), 0);
    assert_int_equal(stream_recv(&b->link, &byte, 1, NULL, &got), 0);
    assert_int_equal(stream_recv(&b->link, &byte, 1, NULL, &got), -ESHUTDOWN);
    assert_int_equal(send_one(b, &byte, 1, false), 0); /* the other direction goes on */
    assert_int_equal(stream_recv(&a->link, &byte, 1, NULL, &got), 0);
    assert_int_equal(stream_drained(&a->link), 0);
    stream_close(&a->link, true);
    assert_int_equal(stream_ready(&b->link), 1);
    uint64_t acked;
    stream_acked(&b->link, &acked);
    assert_int_equal(send_one(b, &byte, 1, false), -EPIPE);
    assert_int_equal(stream_recv(&b->link, &byte, 1, NULL, &got), -ESHUTDOWN);
    stream_close(&b->link, true);
}

static void end_after(const void *bytes, size_t size, enum framing framing, int messages, int expected) {
    int fd;
    struct stream *stream = raw_new(&fd);
    stream->framing = framing;
    uint8_t in[100];
    size_t got = 0;
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    for (int i = 0; i < messages; i++)
        assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), 0);
    assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), expected);
    assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), expected);
    stream_close(&stream->link, true);
}

static void test_ends(void **state) {
    (void)state;
    static const uint8_t one[] = { 0, 0, 0, 0, 0, 0, 0, 1, 'x', 0, 0, 0, 0, 0, 0, 0, 2, 'y' };
    end_after(one, 9, FRAMING_NATIVE, 1, -ECONNRESET);
    end_after(one, 18, FRAMING_NATIVE, 1, -ECONNRESET); /* half a message is dropped */
    end_after(one, 9, FRAMING_SP, 1, -ESHUTDOWN);
    end_after(one, 18, FRAMING_SP, 1, -ECONNRESET);
    end_after(one, 12, FRAMING_SP, 1, -ECONNRESET);
    end_after("a\n\nb", 4, FRAMING_LINE, 3, -ESHUTDOWN);
    end_after("a\n\nb\n", 5, FRAMING_LINE, 3, -ESHUTDOWN);
    end_after("abc", 3, FRAMING_NONE, 1, -ESHUTDOWN);
    static const uint8_t bye[] = { 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0 };
    end_after(bye, 8, FRAMING_NATIVE, 0, -ESHUTDOWN);
    end_after(bye + 8, 8, FRAMING_NATIVE, 0, -ESHUTDOWN);
}

/* docs/wire.md's vector. The pieces come as write and write_fds are given them. */
static ssize_t write_any_fds(struct stream *stream, const struct iovec *vector, int n, const struct descriptors *fds) {
    assert_int_equal(fds->n, 2);
    return test_write(stream, vector, n);
}

static void test_descriptors_vector(void **state) {
    (void)state;
    static const struct stream_io with_fds = { .read = test_read, .write = test_write, .write_fds = write_any_fds };
    static const uint8_t expected[] = { 2, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 'x' };
    int fd;
    uint8_t bytes[sizeof expected + 1];
    size_t sent = 0;
    struct stream *stream = raw_new(&fd);
    stream->io = &with_fds;
    hawser_message message = { .data = "x", .size = 1 };
    struct descriptors fds = { .fds = (const int[]){ 0, 1 }, .n = 2 };
    assert_int_equal(stream_send(&stream->link, &message, 1, &fds, false, &sent), 0);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
    close(fd);
    stream_close(&stream->link, true);
}

/* ---- Acknowledgements ---- */

static void test_acks(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t in[100], out[100] = { 0 };
    size_t got = 0;
    uint64_t acked = 9;
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_one(a, out, 100, i == 1), 0);
    assert_int_equal(stream_recv(&b->link, in, 100, NULL, &got), 0);
    assert_int_equal(b->link.ack_due, 0);
    assert_int_equal(stream_recv(&b->link, in, 100, NULL, &got), 0);
    assert_int_equal(b->link.ack_due, 1);
    assert_int_equal(send_one(b, out, 100, false), 0); /* pays first */
    assert_int_equal(stream_acked(&a->link, &acked), 0);
    assert_int_equal(acked, 2);
    assert_int_equal(stream_ask(&a->link), 0);
    assert_int_equal(stream_ask(&a->link), 0);
    assert_int_equal(stream_recv(&b->link, in, 100, NULL, &got), 0);
    assert_int_equal(stream_ready(&b->link), 0);
    assert_int_equal(stream_progress(&b->link), 0);
    assert_int_equal(stream_acked(&a->link, &acked), 0); /* behind the message of b, which nobody received */
    assert_int_equal(acked, 3);
    assert_int_equal(stream_recv(&a->link, in, 100, NULL, &got), 0);
    assert_int_equal(stream_recv(&a->link, in, 100, NULL, &got), -EAGAIN);
    assert_int_equal(stream_acked(&a->link, &acked), 0);
    stream_drained(&b->link);
    assert_int_equal(send_one(a, out, 100, true), 0);
    assert_int_equal(stream_acked(&a->link, &acked), -ESHUTDOWN);
    pair_free(a, b);
}

/* The other end sends and never receives: this end looks for its acknowledgement among read_ahead bytes, no more. */
static void test_read_ahead(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_NATIVE, &a, &b);
    uint8_t *out = malloc(60000), *in = malloc(60000);
    unsigned sent = 0;
    size_t got = 0;
    uint64_t acked;
    int r = 0;
    assert_int_equal(send_one(a, out, 1, true), 0);
    while (r == 0 && sent < 100) {
        fill_pattern(out, 60000, sent);
        if (send_one(b, out, 60000, false) == 0)
            sent++;
        r = stream_acked(&a->link, &acked);
    }
    assert_int_equal(r, -ENOBUFS);
    assert_true(sent >= 16 && sent < 30);
    for (unsigned i = 0; i < sent; i++) {
        while ((r = stream_recv(&a->link, in, 60000, NULL, &got)) == -EAGAIN)
            stream_progress(&b->link);
        assert_int_equal(r, 0);
        check_pattern(in, got, i);
    }
    free(in);
    free(out);
    pair_free(a, b);
}

/* Acknowledgements behind a message that is not received, between others: they take no room of read_ahead. */
static void test_acks_behind_messages(void **state) {
    (void)state;
    int fd;
    struct stream *stream = raw_new(&fd);
    stream->link.options.read_ahead = 4096;
    uint8_t bytes[2 * (9 + 16)], in[8];
    uint64_t acked = 0;
    size_t got = 0;
    for (unsigned i = 1; i <= 600; i += 2) {
        assert_int_equal(send_one(stream, in, 1, true), 0);
        assert_int_equal(send_one(stream, in, 1, true), 0);
        size_t size = 0;
        for (unsigned k = 0; k < 2; k++) {
            bytes_put64(bytes + size, (uint64_t)FRAME_ACK << 56 | 8);
            bytes_put64(bytes + size + 8, i + k);
            size += 16;
            if (i % 100 == 1) { /* a message before each */
                memmove(bytes + size - 16 + 9, bytes + size - 16, 16);
                bytes_put64(bytes + size - 16, 1);
                bytes[size - 16 + 8] = (uint8_t)(i / 100 * 2 + k);
                size += 9;
            }
        }
        size_t cut = i % size;
        assert_int_equal(write(fd, bytes, cut), cut);
        assert_int_equal(stream_acked(&stream->link, &acked), 0);
        assert_int_equal(write(fd, bytes + cut, size - cut), size - cut);
        assert_int_equal(stream_acked(&stream->link, &acked), 0);
        assert_int_equal(acked, i + 1);
        assert_int_equal(read(fd, bytes, 18), 18);
    }
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), 0);
        assert_int_equal(in[0], i);
    }
    assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), -EAGAIN);
    close(fd);
    stream_close(&stream->link, true);
}

/* ---- fifo's framings ---- */

static void test_lines(void **state) {
    (void)state;
    int fd;
    struct stream *stream = raw_new(&fd);
    stream->framing = FRAMING_LINE;
    char in[10] = { 0 };
    size_t got = 0;
    assert_int_equal(send_one(stream, "ab", 2, false), 0);
    assert_int_equal(send_one(stream, "a\nb", 3, false), -EINVAL);
    assert_int_equal(send_one(stream, "", 0, false), 0);
    void *loan;
    assert_int_equal(stream_loan(&stream->link, 2, &loan), 0);
    memcpy(loan, "cd", 2);
    assert_int_equal(stream_commit(&stream->link, loan, 2), 0);
    assert_int_equal(read(fd, in, sizeof in), 7);
    assert_memory_equal(in, "ab\n\ncd\n", 7);
    assert_int_equal(write(fd, "one\ntw", 6), 6);
    assert_int_equal(stream_recv(&stream->link, in, 10, NULL, &got), 0);
    assert_memory_equal(in, "one", 3);
    assert_int_equal(stream_recv(&stream->link, in, 10, NULL, &got), -EAGAIN);
    assert_int_equal(write(fd, "o\n", 2), 2);
    assert_int_equal(stream_recv(&stream->link, in, 10, NULL, &got), 0);
    assert_int_equal(got, 3);
    close(fd);
    stream_close(&stream->link, true);
}

static void test_large_lines(void **state) {
    (void)state;
    struct stream *a, *b;
    pair_new(FRAMING_LINE, &a, &b);
    char *line = malloc(100000), *in = malloc(100000);
    memset(line, 'x', 100000);
    size_t got = 0;
    write_most = 30000;
    assert_int_equal(send_one(a, line, 100000, false), 0);
    int r;
    while ((r = stream_recv(&b->link, in, 100000, NULL, &got)) == -EAGAIN)
        stream_progress(&a->link);
    assert_int_equal(r, 0);
    assert_int_equal(got, 100000);
    assert_memory_equal(in, line, got);
    free(line);
    free(in);
    pair_free(a, b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_boundaries), cmocka_unit_test(test_traffic),
        cmocka_unit_test(test_many_in_one_call), cmocka_unit_test(test_full),  cmocka_unit_test(test_loans),
        cmocka_unit_test(test_too_small),    cmocka_unit_test(test_goodbye),    cmocka_unit_test(test_ends),
        cmocka_unit_test(test_acks),         cmocka_unit_test(test_read_ahead), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_large_lines),  cmocka_unit_test(test_acks_behind_messages),
        cmocka_unit_test(test_descriptors_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
