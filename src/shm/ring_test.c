/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "shm/ring.h"

#include "shm/segment.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

struct pair {
    uint8_t data[65536] SHM_ALIGNED(4096);
    struct shm_segment segment SHM_ALIGNED(4096); /* the reader's */
    struct ring_writer writer;
    struct ring_reader reader;
};

static struct pair pair;

static void pair_init(uint64_t size) {
    ring_reader_deinit(&pair.reader);
    memset(&pair, 0, sizeof pair);
    memset(pair.data, 0xee, sizeof pair.data); /* bytes of laps gone by */
    memset(pair.data, 0, 8);
    ring_writer_init(&pair.writer, pair.data, size, false);
    ring_reader_init(&pair.reader, pair.data, size, &pair.segment);
    pair.writer.peer = &pair.segment;
}

static uint8_t byte_of(uint64_t n, uint64_t i) { return (uint8_t)(n * 131 + i * 7 + 1); }

static int put(struct ring_writer *writer, uint64_t n, uint64_t size) {
    uint8_t *body;
    int r = ring_claim(writer, size, 0, &body);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < size; i++)
        body[i] = byte_of(n, i);
    ring_append(writer, SHM_DATA, size);
    ring_publish(writer, &(uint64_t){ 0 });
    return 0;
}

static void check(const struct ring_record *record, uint64_t n, uint64_t size) {
    if (record->kind != SHM_DATA || record->size != size)
        fail_msg("message %llu: kind %u size %llu", (unsigned long long)n, record->kind, (unsigned long long)record->size);
    for (uint64_t i = 0; i < size; i++)
        if (record->body[i] != byte_of(n, i))
            fail_msg("message %llu: byte %llu", (unsigned long long)n, (unsigned long long)i);
}

static void get(struct ring_reader *reader, uint64_t n, uint64_t size) {
    struct ring_record record;
    assert_int_equal(ring_next(reader, &record), 1);
    check(&record, n, size);
    ring_consume(reader, &record);
    ring_reader_publish(reader);
}

/* A record of every size beginning at every offset, so each way to meet the ring's end occurs. */
static void test_wrap_everywhere(void **state) {
    (void)state;
    for (uint64_t first = 0; first < 512; first += 8)
        for (uint64_t size = 0; size <= 256; size += 5) {
            pair_init(4096);
            uint64_t n = 0;
            for (uint64_t i = 0; i < (4096 - 512 + first) / 8; i++, n++) {
                assert_int_equal(put(&pair.writer, n, 0), 0);
                get(&pair.reader, n, 0);
            }
            for (int i = 0; i < 8; i++, n++) {
                assert_int_equal(put(&pair.writer, n, size), 0);
                get(&pair.reader, n, size);
            }
        }
}

static void test_full_and_empty(void **state) {
    (void)state;
    for (uint64_t size = 0; size <= 200; size += 13) {
        pair_init(4096);
        struct ring_record record;
        uint64_t in = 0, out = 0;
        for (int lap = 0; lap < 20; lap++) {
            assert_int_equal(ring_next(&pair.reader, &record), 0);
            while (put(&pair.writer, in, size) == 0)
                in++;
            assert_true((in - out) * (8 + ring_padded(size)) >= 4096 - 2 * (8 + ring_padded(size)) - 8);
            get(&pair.reader, out++, size);
            if (put(&pair.writer, in, size) == 0) /* not where the freed bytes lie at the end of the ring */
                in++;
            while (out < in)
                get(&pair.reader, out++, size);
        }
    }
}

/* With the reader caught up, the largest message and every promised commit always fit. */
static void test_largest_fits(void **state) {
    (void)state;
    for (uint64_t size = 4096; size <= 65536; size *= 2)
        for (uint64_t before = 0; before < size; before += 8) {
            pair_init(size);
            pair.writer.write = before;
            pair.writer.limit = before + size;
            pair.segment.freed = before;
            uint8_t *body;
            assert_int_equal(ring_claim(&pair.writer, ring_inline_max(size) + 8, ring_spare(64), &body), 0);
        }
}

static void test_batch(void **state) {
    (void)state;
    pair_init(4096);
    struct ring_record record;
    for (uint64_t n = 0; n < 1000; n += 5) {
        for (uint64_t i = 0; i < 5; i++) {
            uint8_t *body;
            assert_int_equal(ring_claim(&pair.writer, 100, 0, &body), 0);
            for (uint64_t k = 0; k < 100; k++)
                body[k] = byte_of(n + i, k);
            ring_append(&pair.writer, SHM_DATA, 100);
            assert_int_equal(ring_next(&pair.reader, &record), 0);
        }
        ring_publish(&pair.writer, &(uint64_t){ 0 });
        for (uint64_t i = 0; i < 5; i++)
            get(&pair.reader, n + i, 100);
    }
    assert_int_equal(pair.writer.messages, 1000);
    assert_int_equal(pair.segment.taken, 1000);
}

/* A round trip's writer stays in the first kilobytes; a stream's uses the whole ring. */
static void test_early_turn(void **state) {
    (void)state;
    pair_init(65536);
    uint64_t most = 0;
    for (uint64_t n = 0; n < 10000; n++) {
        assert_int_equal(put(&pair.writer, n, 64), 0);
        uint64_t offset = pair.writer.write & pair.writer.mask;
        most = offset > most ? offset : most;
        get(&pair.reader, n, 64);
    }
    assert_true(most <= RING_EARLY + 200);
    uint64_t n = 0;
    while (put(&pair.writer, n, 64) == 0)
        n++;
    assert_true(n > 65536 / 72 - 150);
}

/* Held messages come back in any order; bytes are free once nothing older is held. */
static void test_hold(void **state) {
    (void)state;
    pair_init(65536);
    uint64_t tickets[300];
    struct ring_record record;
    for (uint64_t n = 0; n < 300; n++) {
        assert_int_equal(put(&pair.writer, n, 24), 0);
        assert_int_equal(ring_next(&pair.reader, &record), 1);
        assert_int_equal(ring_hold(&pair.reader, &record, &tickets[n]), 0);
    }
    for (uint64_t n = 299; n >= 1; n--) {
        assert_int_equal(ring_release(&pair.reader, tickets[n]), 0);
        assert_int_equal(ring_release(&pair.reader, tickets[n]), -EINVAL);
        assert_int_equal(pair.reader.freed, 0);
    }
    assert_int_equal(put(&pair.writer, 300, 24), 0);
    get(&pair.reader, 300, 24);
    assert_int_equal(pair.reader.freed, 0);
    assert_int_equal(ring_release(&pair.reader, tickets[0]), 0);
    assert_int_equal(pair.reader.freed, pair.writer.write);
    assert_int_equal(ring_release(&pair.reader, tickets[0]), -EINVAL);
    assert_int_equal(ring_release(&pair.reader, 10000), -EINVAL);
    assert_int_equal(pair.reader.taken, 301);
}

static uint8_t larger[16384] __attribute__((aligned(4096)));

static void growing_init(void) {
    pair_init(4096);
    memset(larger, 0, sizeof larger);
    ring_writer_init(&pair.writer, pair.data, 4096, true);
    pair.writer.peer = &pair.segment;
}

static void move_writer(struct ring_writer *writer) {
    uint8_t *body;
    ring_writer_unreserve(writer);
    assert_int_equal(ring_claim(writer, sizeof(struct shm_larger), 0, &body), 0);
    ring_append(writer, SHM_RING, sizeof(struct shm_larger));
    ring_publish(writer, &(uint64_t){ 0 });
    ring_writer_move(writer, larger, sizeof larger);
}

static void move_reader(struct ring_reader *reader, const struct ring_record *record) {
    ring_consume(reader, record);
    ring_reader_move(reader, larger, sizeof larger);
}

/* A full ring has room for the record of a larger one, wherever it ends; nothing is lost on the way. */
static void move_at(uint64_t first, uint64_t size) {
    uint64_t n = 0;
    growing_init();
    for (uint64_t i = 0; i < first / 8; i++, n++) {
        assert_int_equal(put(&pair.writer, n, 0), 0);
        get(&pair.reader, n, 0);
    }
    uint64_t from = n, read = n;
    while (put(&pair.writer, n, size) == 0)
        n++;
    move_writer(&pair.writer);
    while (put(&pair.writer, n, size) == 0)
        n++;
    assert_true((n - from) * (size + 15) > 12000);
    while (read < n) {
        struct ring_record record;
        assert_int_equal(ring_next(&pair.reader, &record), 1);
        if (record.kind == SHM_RING) {
            move_reader(&pair.reader, &record);
            continue;
        }
        get(&pair.reader, read++, size);
    }
    assert_int_equal(pair.reader.taken, n);
    assert_int_equal(pair.writer.messages, n);
    for (uint64_t i = 0; i < 200; i++, n++) {
        assert_int_equal(put(&pair.writer, n, size), 0);
        get(&pair.reader, n, size);
    }
}

static void test_larger_ring(void **state) {
    (void)state;
    for (uint64_t first = 0; first < 4096; first += 8)
        for (uint64_t size = 0; size <= 256; size += 43)
            move_at(first, size);
}

static void expect_reader_fault(uint64_t word, const char *part) {
    struct ring_record record;
    *ring_word(pair.data, pair.reader.read & pair.reader.mask) = word;
    assert_int_equal(ring_next(&pair.reader, &record), -EPROTO);
    assert_non_null(strstr(pair.reader.fault, part));
}

static void test_hostile_words(void **state) {
    (void)state;
    pair_init(4096);
    expect_reader_fault(UINT64_C(8) << 56, "unknown kind");
    expect_reader_fault(UINT64_C(255) << 56 | 8, "unknown kind");
    expect_reader_fault(5, "unknown kind");
    expect_reader_fault(UINT64_C(1) << 56 | 4089, "longer");
    expect_reader_fault(UINT64_C(1) << 56 | SHM_SIZE_MASK, "longer");
    expect_reader_fault(UINT64_C(6) << 56, "with a body");
    pair.reader.read = 64;
    expect_reader_fault(UINT64_C(1) << 56 | (4096 - 64 - 7), "longer");
    expect_reader_fault(UINT64_C(6) << 56 | 8, "with a body");
    *ring_word(pair.data, 0) = 0;
    expect_reader_fault(UINT64_C(6) << 56, "leads to no record");
    *ring_word(pair.data, 0) = UINT64_C(6) << 56;
    expect_reader_fault(UINT64_C(6) << 56, "leads to no record");
    *ring_word(pair.data, 0) = UINT64_C(8) << 56;
    expect_reader_fault(UINT64_C(6) << 56, "leads to no record");
    *ring_word(pair.data, 0) = UINT64_C(1) << 56 | 4089;
    expect_reader_fault(UINT64_C(6) << 56, "longer than the ring");
}

/* A writer that goes on over what is held would make the account of it grow for ever. */
static void test_hostile_overrun(void **state) {
    (void)state;
    pair_init(4096);
    struct ring_record record;
    uint64_t oldest, ticket, n = 0;
    int r = 0;
    pair.writer.peer = NULL;
    for (; r == 0 && n < 100000; n++) {
        pair.writer.limit = pair.writer.write + 4096;
        assert_int_equal(put(&pair.writer, n, 8), 0);
        assert_int_equal(ring_next(&pair.reader, &record), 1);
        r = ring_hold(&pair.reader, &record, n == 0 ? &oldest : &ticket);
        if (r == 0 && n > 0)
            assert_int_equal(ring_release(&pair.reader, ticket), 0);
    }
    assert_int_equal(r, -EPROTO);
    assert_true(n > 4096 / 16 && n < 4096);
    assert_non_null(strstr(pair.reader.fault, "more messages"));
}

static void test_hostile_cursor(void **state) {
    (void)state;
    pair_init(4096);
    for (uint64_t n = 0; n < 10; n++)
        assert_int_equal(put(&pair.writer, n, 8), 0);
    pair.segment.freed = 168;
    assert_int_equal(ring_refresh(&pair.writer), -EPROTO);
    pair.segment.freed = 31;
    assert_int_equal(ring_refresh(&pair.writer), -EPROTO);
    pair.segment.freed = 32;
    assert_int_equal(ring_refresh(&pair.writer), 0);
    pair.segment.freed = 16;
    assert_int_equal(ring_refresh(&pair.writer), -EPROTO);
    assert_non_null(strstr(pair.writer.fault, "backwards"));
    pair.segment.freed = UINT64_MAX - 7;
    uint8_t *body;
    int r;
    while ((r = ring_claim(&pair.writer, 8, 0, &body)) == 0)
        ring_append(&pair.writer, SHM_DATA, 8);
    assert_int_equal(r, -EPROTO);
}

#define STREAM 100000 /* messages, some hundred laps */

static uint64_t random_size(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 40) % 200;
}

static void *stream_out(void *argument) {
    struct ring_writer *writer = argument;
    uint64_t seed = 1;
    for (uint64_t n = 0; n < STREAM; n++) {
        uint64_t size = random_size(&seed);
        while (put(writer, n, size) == -EAGAIN)
            sched_yield();
    }
    return NULL;
}

static void stream_in(struct ring_reader *reader) {
    uint64_t seed = 1;
    struct ring_record record;
    for (uint64_t n = 0; n < STREAM; n++) {
        while (ring_next(reader, &record) == 0)
            sched_yield();
        check(&record, n, random_size(&seed));
        ring_consume(reader, &record);
        ring_reader_publish(reader);
    }
}

static void test_two_threads(void **state) {
    (void)state;
    pair_init(16384);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stream_out, &pair.writer), 0);
    stream_in(&pair.reader);
    pthread_join(thread, NULL);
}

/* The short ways, and the long one where those refuse. */
static void *short_out(void *argument) {
    struct ring_writer *writer = argument;
    uint8_t bytes[200];
    uint64_t seed = 1;
    for (uint64_t n = 0; n < STREAM; n++) {
        uint64_t size = random_size(&seed);
        for (uint64_t i = 0; i < size; i++)
            bytes[i] = byte_of(n, i);
        while (!ring_put(writer, bytes, size) && put(writer, n, size) == -EAGAIN)
            sched_yield();
    }
    return NULL;
}

static bool long_in(struct ring_reader *reader, uint8_t *bytes, uint64_t *ret_size) {
    struct ring_record record;
    if (ring_next(reader, &record) != 1)
        return false;
    memcpy(bytes, record.body, record.size);
    *ret_size = record.size;
    ring_consume(reader, &record);
    return true;
}

static void short_in(struct ring_reader *reader) {
    uint8_t bytes[200];
    uint64_t seed = 1;
    for (uint64_t n = 0; n < STREAM; n++) {
        uint64_t size;
        while (!ring_get(reader, bytes, sizeof bytes, &size) && !long_in(reader, bytes, &size))
            sched_yield();
        ring_reader_publish(reader);
        assert_int_equal(size, random_size(&seed));
        for (uint64_t i = 0; i < size; i++)
            assert_int_equal(bytes[i], byte_of(n, i));
    }
}

/* A few to a batch; a writer that finds no room publishes what it has, and may move to a larger ring. */
static void *batches_out(void *argument) {
    struct ring_writer *writer = argument;
    uint64_t seed = 1;
    for (uint64_t n = 0; n < STREAM; n++) {
        uint64_t size = random_size(&seed);
        uint8_t *body;
        while (ring_claim(writer, size, 0, &body) == -EAGAIN) {
            ring_publish(writer, &(uint64_t){ 0 });
            if (writer->reserve > 0)
                move_writer(writer);
            else
                sched_yield();
        }
        for (uint64_t i = 0; i < size; i++)
            body[i] = byte_of(n, i);
        ring_append(writer, SHM_DATA, size);
        if ((seed >> 33) % 5 == 0)
            ring_publish(writer, &(uint64_t){ 0 });
    }
    ring_publish(writer, &(uint64_t){ 0 });
    return NULL;
}

#define HELD 12

/* Holds up to 12 and gives them back in any order. */
static void held_in(struct ring_reader *reader) {
    struct {
        struct ring_record record;
        uint64_t n, ticket;
    } held[HELD];
    uint64_t n = 0, n_held = 0, seed = 1, random = 7;
    while (n < STREAM || n_held > 0) {
        struct ring_record record;
        if (n < STREAM && n_held < HELD && ring_next(reader, &record) == 1) {
            if (record.kind == SHM_RING) {
                move_reader(reader, &record);
                continue;
            }
            check(&record, n, random_size(&seed));
            assert_int_equal(ring_hold(reader, &record, &held[n_held].ticket), 0);
            held[n_held].record = record;
            held[n_held++].n = n++;
        } else if (n_held == 0) {
            sched_yield();
            continue;
        } else {
            uint64_t which = random_size(&random) % n_held;
            check(&held[which].record, held[which].n, held[which].record.size);
            assert_int_equal(ring_release(reader, held[which].ticket), 0);
            held[which] = held[--n_held];
        }
        ring_reader_publish(reader);
    }
}

/* Writer and reader on the same addresses, and those in private memory: only there does a thread sanitizer see who touches what. */
static void test_threads_short(void **state) {
    (void)state;
    for (uint64_t size = 4096; size <= 65536; size *= 4) {
        pair_init(size);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, short_out, &pair.writer), 0);
        short_in(&pair.reader);
        pthread_join(thread, NULL);
    }
}

static void batches_and_held(void) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, batches_out, &pair.writer), 0);
    held_in(&pair.reader);
    pthread_join(thread, NULL);
}

static void test_threads_batches_held(void **state) {
    (void)state;
    for (uint64_t size = 4096; size <= 65536; size *= 4) {
        pair_init(size);
        batches_and_held();
    }
    growing_init();
    batches_and_held();
    assert_ptr_equal(pair.reader.data, larger);
}

/* With the maps as they are in use: each side's segment, the other's view read-only. */
static void test_two_processes(void **state) {
    (void)state;
    int writer_fd = -1, reader_fd = -1, ready[2];
    struct memory writer_memory, reader_memory;
    assert_int_equal(segment_create(&(struct segment_plan){ .ring_size = 16384, .barrier = true }, &reader_memory, &reader_fd), 0);
    assert_int_equal(sys_pipe2(ready, O_CLOEXEC), 0);
    pid_t child = fork_child();
    if (child == 0) {
        struct segment_view view;
        struct ring_writer writer;
        if (segment_create(&(struct segment_plan){ .ring_size = 16384, .barrier = true }, &writer_memory, &writer_fd) < 0 || segment_adopt(reader_fd, &view) < 0)
            _exit(1);
        ring_writer_init(&writer, segment_ring(&writer_memory), 16384, false);
        writer.peer = segment_of(&view.memory);
        int shown = writer_fd;
        if (sys_write(ready[1], &shown, sizeof shown) != sizeof shown)
            _exit(2);
        stream_out(&writer);
        pause();
        _exit(0);
    }
    struct segment_view view;
    int shown = -1;
    char path[64];
    assert_int_equal(sys_read(ready[0], &shown, sizeof shown), sizeof shown);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)child, shown);
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(segment_adopt(fd, &view), 0);
    struct ring_reader reader;
    ring_reader_init(&reader, segment_ring(&view.memory), view.ring_size, segment_of(&reader_memory));
    stream_in(&reader);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ring_reader_deinit(&reader);
    memory_unmap(&view.memory);
    memory_unmap(&reader_memory);
    sys_close(fd);
    sys_close(reader_fd);
    sys_close(ready[0]);
    sys_close(ready[1]);
}

static int done(void **state) {
    (void)state;
    ring_reader_deinit(&pair.reader);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_everywhere), cmocka_unit_test(test_full_and_empty), cmocka_unit_test(test_largest_fits),
        cmocka_unit_test(test_batch),           cmocka_unit_test(test_early_turn),     cmocka_unit_test(test_hold),
        cmocka_unit_test(test_larger_ring),     cmocka_unit_test(test_hostile_words),  cmocka_unit_test(test_hostile_cursor),
        cmocka_unit_test(test_two_threads),     cmocka_unit_test(test_threads_short),  cmocka_unit_test(test_threads_batches_held),
        cmocka_unit_test(test_two_processes),   cmocka_unit_test(test_hostile_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
