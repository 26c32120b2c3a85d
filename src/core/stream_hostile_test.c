/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One stream against bytes that somebody made up. */

#include "core/stream_test.h"

static size_t most_allocated;
static unsigned resizes;

static void *watch_resize(void *old, size_t size) {
    resizes++;
    most_allocated = size > most_allocated ? size : most_allocated;
    return realloc(old, size);
}

static void hostile(uint64_t word, uint64_t second, size_t size, int expected) {
    int fd;
    struct stream *stream = raw_new(&fd);
    uint8_t bytes[16], in[16];
    size_t got = 0;
    uint64_t acked;
    bytes_put64(bytes, word);
    bytes_put64(bytes + 8, second);
    assert_int_equal(write(fd, bytes, size), size);
    void *(*real)(void *, size_t) = memory_resize_hook;
    memory_resize_hook = watch_resize;
    most_allocated = 0;
    assert_int_equal(stream_recv(&stream->link, in, sizeof in, NULL, &got), expected);
    if (expected == -EPROTO) {
        assert_int_equal(stream_acked(&stream->link, &acked), -EPROTO);
        assert_int_equal(send_one(stream, in, 1, false), -EPROTO);
    } else {
        hawser_message message;
        assert_int_equal(stream_take(&stream->link, &message, 1, &got), -EAGAIN);
    }
    assert_true(most_allocated < 3 * STREAM_BLOCK);
    memory_resize_hook = real;
    close(fd);
    stream_close(&stream->link, true);
}

static uint64_t frame_word(unsigned kind, uint64_t size) { return (uint64_t)kind << 56 | size; }

static void test_hostile(void **state) {
    (void)state;
    hostile(frame_word(FRAME_DATA, MOST + 1), 0, 8, -EPROTO);
    hostile(frame_word(FRAME_DATA, ((uint64_t)1 << 56) - 1), 0, 8, -EPROTO);
    hostile(frame_word(FRAME_DATA, MOST), 0, 16, -EMSGSIZE); /* announced is not arrived */
    hostile(frame_word(FRAME_DATA_FDS, 3), 1, 16, -EPROTO);
    hostile(frame_word(FRAME_DATA_FDS, 8), 1, 16, -EPROTO); /* not on this mechanism */
    hostile(frame_word(FRAME_ASK, 1), 0, 16, -EPROTO);
    hostile(frame_word(FRAME_ACK, 7), 0, 16, -EPROTO);
    hostile(frame_word(FRAME_ACK, 8), 1, 16, -EPROTO); /* nothing was sent */
    hostile(frame_word(FRAME_ACK, 8), UINT64_MAX, 16, -EPROTO);
    hostile(frame_word(FRAME_SHUTDOWN, 1), 0, 16, -EPROTO);
    hostile(frame_word(FRAME_SHUTDOWN, 0), frame_word(FRAME_DATA, 0), 16, -EPROTO); /* it said that none follows */
    hostile(frame_word(FRAME_HELLO, 8), 0, 16, -EPROTO);
    hostile(frame_word(FRAME_HELLO, STREAM_HELLO_MAX + 1), 0, 16, -EPROTO);
    for (unsigned kind = FRAME_HELLO + 1; kind < 256; kind++)
        hostile(frame_word(kind, 0), 0, 16, -EPROTO);
}

static void test_ack_backwards(void **state) {
    (void)state;
    int fd;
    struct stream *stream = raw_new(&fd);
    uint8_t bytes[32];
    uint64_t acked;
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_one(stream, "x", 1, true), 0);
    for (unsigned i = 0; i < 2; i++) {
        bytes_put64(bytes + 16 * i, frame_word(FRAME_ACK, 8));
        bytes_put64(bytes + 16 * i + 8, 2 - i);
    }
    assert_int_equal(write(fd, bytes, 16), 16);
    assert_int_equal(stream_acked(&stream->link, &acked), 0);
    assert_int_equal(acked, 2);
    assert_int_equal(write(fd, bytes + 16, 16), 16);
    assert_int_equal(stream_acked(&stream->link, &acked), -EPROTO);
    close(fd);
    stream_close(&stream->link, true);
}

static int look_for(struct stream *stream, bool in_place, hawser_message *ret_message) {
    static uint8_t in[1 << 20];
    size_t n = 0;
    if (in_place)
        return stream_take(&stream->link, ret_message, 1, &n);
    ret_message->data = in;
    int r = stream_recv(&stream->link, in, sizeof in, NULL, &ret_message->size);
    assert_int_equal(stream_unhand(&stream->link), 0); /* it does not wait */
    return r;
}

/* A large message in small pieces, looked for at each: what has arrived is not moved every time. */
static void pieces(bool in_place) {
    int fd;
    struct stream *stream = raw_new(&fd);
    static uint8_t piece[2048];
    size_t size = (size_t)1 << 20;
    hawser_message message;
    bytes_put64(piece, frame_word(FRAME_DATA, size));
    assert_int_equal(write(fd, piece, 8), 8);
    void *(*real)(void *, size_t) = memory_resize_hook;
    memory_resize_hook = watch_resize;
    resizes = 0;
    for (size_t sent = 0; sent < size; sent += sizeof piece) {
        assert_int_equal(look_for(stream, in_place, &message), -EAGAIN);
        bytes_put64(piece, sent);
        assert_int_equal(write(fd, piece, sizeof piece), sizeof piece);
    }
    memory_resize_hook = real;
    assert_int_equal(look_for(stream, in_place, &message), 0);
    assert_int_equal(message.size, size);
    for (size_t at = 0; at < size; at += sizeof piece)
        assert_int_equal(bytes_get64((const uint8_t *)message.data + at), at);
    assert_true(resizes < 20);
    if (in_place)
        stream_release(&stream->link, &message);
    close(fd);
    stream_close(&stream->link, true);
}

static void test_pieces(void **state) {
    (void)state;
    pieces(true);
    pieces(false);
}

/* Random frames, mostly well-formed, cut anywhere: any result, but no crash and no more memory than arrived. */
static void test_random_bytes(void **state) {
    (void)state;
    static uint8_t bytes[5000];
    for (unsigned seed = 1; seed < 400; seed++) {
        int fd;
        struct stream *stream = raw_new(&fd);
        random_state = seed;
        size_t size = 0;
        while (size < 4000) {
            bool sane = random_next(30) > 0;
            unsigned kind = sane ? random_next(5) : random_next(256);
            uint64_t length = kind == FRAME_ACK ? 8 : kind == FRAME_ASK ? 0 : sane ? random_next(300) : random_state;
            bytes_put64(bytes + size, frame_word(kind, length));
            memset(bytes + size + 8, 0, 300);
            size += 8 + (length < 300 ? (size_t)length : 8);
        }
        size -= random_next(300);
        assert_int_equal(write(fd, bytes, size), size);
        if (random_next(2))
            close(fd), fd = -1;
        read_most = 1 + random_next(200);
        for (int i = 0; i < 300; i++) {
            uint8_t in[300];
            size_t got;
            uint64_t acked;
            hawser_message message;
            switch (random_next(4)) {
            case 0: stream_recv(&stream->link, in, random_next(301), NULL, &got); break;
            case 1:
                if (stream_take(&stream->link, &message, 1, &got) == 0 && random_next(2))
                    stream_release(&stream->link, &message);
                break;
            case 2: stream_acked(&stream->link, &acked); break;
            default: stream_progress(&stream->link);
            }
            stream_unhand(&stream->link);
        }
        close(fd);
        stream_close(&stream->link, true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_hostile), cmocka_unit_test(test_ack_backwards),
                                        cmocka_unit_test(test_pieces), cmocka_unit_test(test_random_bytes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
