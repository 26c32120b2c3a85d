/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "shm/pool.h"

#include "base/error.h"
#include "base/sys.h"
#include "shm/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct pool_writer writer;
static struct pool_reader reader;
static struct shm_segment segment; /* the reader's */

static void begin(uint64_t budget, uint64_t quota) {
    memset(&segment, 0, sizeof segment);
    pool_writer_init(&writer, budget);
    pool_reader_init(&reader, quota, &segment);
}

static void end(void) {
    pool_writer_deinit(&writer, true);
    pool_reader_deinit(&reader, true);
}

static void grow(uint64_t size) {
    int fd = -1;
    struct shm_chunk chunk;
    assert_int_equal(pool_grow(&writer, size, &fd, &chunk), 0);
    assert_int_equal(pool_adopt(&reader, fd, &chunk), 0);
    sys_close(fd);
}

static unsigned blocks_of(unsigned chunk) {
    unsigned n = 0;
    for (uint16_t i = writer.first[chunk]; i != POOL_NONE; i = writer.blocks[i].next)
        n++;
    return n;
}

static uint64_t draw(uint64_t *seed) { return (*seed = *seed * 6364136223846793005u + 1442695040888963407u) >> 33; }

/* Releases in any order: no two messages in flight overlap, and in the end everything is one free block again. */
static void test_any_order(void **state) {
    (void)state;
    begin(UINT64_C(8) << 20, UINT64_C(8) << 20);
    struct {
        struct shm_descriptor descriptor;
        const uint8_t *data;
    } out[600];
    unsigned n = 0;
    uint64_t seed = 3;
    for (int round = 0; round < 20000; round++) {
        uint64_t size = draw(&seed) % 200000;
        uint16_t slot;
        uint8_t *data;
        assert_int_equal(pool_reap(&writer, &segment), 0);
        int r = pool_allocate(&writer, size, &slot, &data);
        if (r == -ENOBUFS || (r == -EAGAIN && pool_can_grow(&writer, size))) {
            grow(size);
            continue;
        }
        if (r == 0) {
            memset(data, (int)slot, size);
            out[n].descriptor = pool_send(&writer, slot, size);
            assert_int_equal(pool_take(&reader, &out[n].descriptor, &out[n].data), 0);
            n++;
        }
        if (n > 0 && (r == -EAGAIN || draw(&seed) % 3 == 0)) {
            unsigned which = (unsigned)(draw(&seed) % n);
            for (uint64_t i = 0; i < out[which].descriptor.size; i += 997)
                assert_int_equal(out[which].data[i], (uint8_t)out[which].descriptor.slot);
            assert_int_equal(pool_release(&reader, out[which].descriptor.slot), 0);
            assert_int_equal(pool_release(&reader, out[which].descriptor.slot), -EINVAL);
            out[which] = out[--n];
        }
    }
    while (n > 0)
        assert_int_equal(pool_release(&reader, out[--n].descriptor.slot), 0);
    assert_int_equal(pool_reap(&writer, &segment), 0);
    assert_int_equal(writer.sent, 0);
    assert_int_equal(writer.n_free_slots, SHM_SLOTS);
    for (unsigned i = 0; i < writer.n_chunks; i++)
        assert_int_equal(blocks_of(i), 1);
    end();
}

static void test_slots_run_out(void **state) {
    (void)state;
    begin(UINT64_C(2) << 20, UINT64_C(2) << 20);
    grow(1);
    uint16_t slot;
    uint8_t *data;
    for (unsigned i = 0; i < SHM_SLOTS; i++)
        assert_int_equal(pool_allocate(&writer, 0, &slot, &data), 0);
    assert_int_equal(pool_allocate(&writer, 0, &slot, &data), -EAGAIN);
    pool_free(&writer, 17);
    assert_int_equal(pool_allocate(&writer, 0, &slot, &data), 0);
    assert_int_equal(slot, 17);
    end();
}

static void test_budget(void **state) {
    (void)state;
    begin(UINT64_C(5) << 20, UINT64_C(4) << 20);
    uint16_t slot;
    uint8_t *data;
    assert_int_equal(pool_allocate(&writer, 100, &slot, &data), -ENOBUFS);
    assert_int_equal(pool_allocate(&writer, (UINT64_C(5) << 20) + 1, &slot, &data), -ENOBUFS);
    assert_false(pool_can_grow(&writer, (UINT64_C(5) << 20) + 1));
    grow(100);
    assert_int_equal(writer.total, UINT64_C(2) << 20);
    grow(100);
    assert_int_equal(writer.total, UINT64_C(4) << 20);
    int fd = -1;
    struct shm_chunk chunk;
    assert_int_equal(pool_grow(&writer, 100, &fd, &chunk), 0);
    assert_int_equal(writer.total, UINT64_C(5) << 20);
    assert_int_equal(pool_adopt(&reader, fd, &chunk), -EPROTO); /* the reader's quota */
    sys_close(fd);
    assert_false(pool_can_grow(&writer, 1));
    pool_ungrow(&writer);
    assert_true(pool_can_grow(&writer, 1));
    end();
}

static void expect_fault(struct shm_descriptor descriptor, const char *part) {
    const uint8_t *data = NULL;
    assert_int_equal(pool_take(&reader, &descriptor, &data), -EPROTO);
    assert_non_null(strstr(reader.fault, part));
    assert_null(data);
}

static void test_hostile_writer(void **state) {
    (void)state;
    begin(UINT64_C(2) << 20, UINT64_C(2) << 20);
    grow(1);
    uint64_t size = reader.chunks[0].size;
    expect_fault((struct shm_descriptor){ .size = 1, .chunk = 1 }, "never came");
    expect_fault((struct shm_descriptor){ .size = 1, .offset = 8 }, "beyond the end");
    expect_fault((struct shm_descriptor){ .size = size + 1 }, "beyond the end");
    expect_fault((struct shm_descriptor){ .size = 65, .offset = size - 64 }, "beyond the end");
    expect_fault((struct shm_descriptor){ .size = UINT64_MAX, .offset = 64 }, "beyond the end");
    expect_fault((struct shm_descriptor){ .size = 1, .offset = UINT64_MAX - 63 }, "beyond the end");
    expect_fault((struct shm_descriptor){ .size = 1, .slot = SHM_SLOTS }, "slot");
    const uint8_t *data;
    struct shm_descriptor good = { .size = size, .slot = 511 };
    assert_int_equal(pool_take(&reader, &good, &data), 0);
    expect_fault(good, "still held");
    int fd = -1;
    struct memory memory;
    assert_int_equal(memory_create("test", 4096, &memory, &fd), 0);
    struct shm_chunk chunk = { .size = 4096, .index = 2 };
    assert_int_equal(pool_adopt(&reader, fd, &chunk), -EPROTO);
    chunk = (struct shm_chunk){ .size = UINT64_MAX, .index = 1 };
    assert_int_equal(pool_adopt(&reader, fd, &chunk), -EPROTO);
    memory_unmap(&memory);
    sys_close(fd);
    end();
}

static void test_too_many_memfds(void **state) {
    (void)state;
    begin(UINT64_C(2) << 20, UINT64_C(2) << 20);
    struct memory memory;
    int fd = -1;
    assert_int_equal(memory_create("test", 4096, &memory, &fd), 0);
    for (uint32_t i = 0; i <= SHM_CHUNKS; i++) {
        struct shm_chunk chunk = { .size = 4096, .index = i };
        assert_int_equal(pool_adopt(&reader, fd, &chunk), i < SHM_CHUNKS ? 0 : -EPROTO);
    }
    memory_unmap(&memory);
    sys_close(fd);
    end();
}

static void test_hostile_reader(void **state) {
    (void)state;
    begin(UINT64_C(2) << 20, UINT64_C(2) << 20);
    grow(1);
    uint16_t sent, lent;
    uint8_t *data;
    assert_int_equal(pool_allocate(&writer, 10, &sent, &data), 0);
    assert_int_equal(pool_allocate(&writer, 10, &lent, &data), 0);
    pool_send(&writer, sent, 10);
    segment.released = 2;
    assert_int_equal(pool_reap(&writer, &segment), -EPROTO);
    segment.released = 1;
    segment.release[0] = lent; /* never sent: still being written */
    assert_int_equal(pool_reap(&writer, &segment), -EPROTO);
    segment.release[0] = SHM_SLOTS;
    assert_int_equal(pool_reap(&writer, &segment), -EPROTO);
    segment.release[0] = sent;
    assert_int_equal(pool_reap(&writer, &segment), 0);
    segment.released = 0;
    pool_send(&writer, lent, 10);
    assert_int_equal(pool_reap(&writer, &segment), -EPROTO); /* backwards */
    end();
}

#define PAYLOADS 30000
#define HELD 5

/* Each payload is described in a ring and filled with its number. */
static void *payloads_out(void *argument) {
    struct ring_writer *ring = argument;
    uint64_t seed = 1;
    for (unsigned n = 0; n < PAYLOADS; n++) {
        uint64_t size = draw(&seed) % 2000;
        uint8_t *data, *body;
        uint16_t slot;
        while (pool_reap(&writer, &segment) == 0 && pool_allocate(&writer, size, &slot, &data) == -EAGAIN)
            sched_yield();
        for (uint64_t i = 0; i < size; i++) /* no memset: inlined, it would go unseen by the sanitizer */
            data[i] = (uint8_t)(n + 7 * i);
        struct shm_descriptor descriptor = pool_send(&writer, slot, size);
        while (ring_claim(ring, sizeof descriptor, 0, &body) == -EAGAIN)
            sched_yield();
        memcpy(body, &descriptor, sizeof descriptor);
        ring_append(ring, SHM_POOL, sizeof descriptor);
        ring_publish(ring, &(uint64_t){ 0 });
    }
    return NULL;
}

static bool payload_in(struct ring_reader *ring, struct shm_descriptor *ret_descriptor, const uint8_t **ret_data) {
    struct ring_record record;
    if (ring_next(ring, &record) != 1)
        return false;
    memcpy(ret_descriptor, record.body, sizeof *ret_descriptor);
    assert_int_equal(pool_take(&reader, ret_descriptor, ret_data), 0);
    ring_consume(ring, &record);
    ring_reader_publish(ring);
    return true;
}

/* Holds up to five and gives them back in any order. */
static void payloads_in(struct ring_reader *ring) {
    struct {
        struct shm_descriptor descriptor;
        const uint8_t *data;
        unsigned n;
    } held[HELD];
    unsigned n = 0, n_held = 0;
    uint64_t seed = 2;
    while (n < PAYLOADS || n_held > 0) {
        if (n < PAYLOADS && n_held < HELD && payload_in(ring, &held[n_held].descriptor, &held[n_held].data)) {
            held[n_held++].n = n++;
            continue;
        }
        uint64_t which = draw(&seed) % HELD;
        if (which >= n_held) {
            sched_yield();
            continue;
        }
        for (uint64_t i = 0; i < held[which].descriptor.size; i++)
            assert_int_equal(held[which].data[i], (uint8_t)(held[which].n + 7 * i));
        assert_int_equal(pool_release(&reader, held[which].descriptor.slot), 0);
        held[which] = held[--n_held];
    }
}

/* Writer and reader on the same addresses, and those in private memory: only there does a thread sanitizer see who touches what. */
static void test_two_threads(void **state) {
    static uint8_t bytes[4096] SHM_ALIGNED(4096), payloads[65536] SHM_ALIGNED(64);
    struct ring_writer out;
    struct ring_reader in;
    pthread_t thread;
    (void)state;
    begin(65536, 65536);
    grow(1);
    struct memory written = writer.chunks[0], read = reader.chunks[0];
    writer.chunks[0].base = reader.chunks[0].base = payloads;
    ring_writer_init(&out, bytes, sizeof bytes, false);
    ring_reader_init(&in, bytes, sizeof bytes, &segment);
    out.peer = &segment;
    assert_int_equal(pthread_create(&thread, NULL, payloads_out, &out), 0);
    payloads_in(&in);
    pthread_join(thread, NULL);
    ring_reader_deinit(&in);
    writer.chunks[0] = written;
    reader.chunks[0] = read;
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),      cmocka_unit_test(test_slots_run_out), cmocka_unit_test(test_budget),
        cmocka_unit_test(test_hostile_writer), cmocka_unit_test(test_hostile_reader), cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_too_many_memfds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
