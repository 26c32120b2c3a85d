/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A writer at full speed and several readers: no torn value, no step back in time. Every value is told by its first bytes and
 * holds the same number all over, so that a mixture of two is seen wherever it was cut. */

#include "sync/cell_memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(A) (sizeof(A) / sizeof *(A))
#define SIZE_MOST (UINT64_C(1) << 20)
#define READERS 3
#ifdef __SANITIZE_THREAD__ /* copies are of single bytes then */
#define HUNT (UINT64_C(1) << 24)
#else
#define HUNT (UINT64_C(1) << 29) /* bytes, and 1 KiB for each value's own cost, that a writer writes */
#endif

static const uint64_t sizes[] = { 1, 7, 8, 9, 16, 17, 24, 25, 56, 64, 120, 1000, 4096, 4097, 65536, SIZE_MOST };

static struct cell_memory memory;
static void *body;
static uint32_t stop;

static void begin(uint64_t size) {
    size_t bytes = (size_t)cell_memory_bytes(size);
    body = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    assert_non_null(body);
    memset(body, 0, bytes);
    cell_memory_init(&memory, body, size);
    stop = 0;
}

static void end(void) { free(body); }

/* Value number n: its size varies a little, its bytes tell n; all the same where there is room for one byte only. */
static size_t size_of(uint64_t n) {
    size_t shortest = memory.size > 8 ? memory.size - 8 : 1;
    return shortest + n % (memory.size - shortest + 1);
}

static void fill(uint8_t *value, uint64_t n) { memset(value, (int)(n * 31 % 251), size_of(n)); }

static bool is_whole(const uint8_t *value, size_t size, uint64_t n) {
    uint8_t first = (uint8_t)(n * 31 % 251);
    return size == size_of(n) && value[0] == first && memcmp(value, value + 1, size - 1) == 0;
}

static void *write_on(void *unused) {
    static uint8_t value[SIZE_MOST];
    uint64_t values = HUNT / (memory.size + 1024);
    for (uint64_t n = 1; n <= values; n++) {
        fill(value, n);
        cell_memory_set(&memory, value, size_of(n));
    }
    store_relaxed(&stop, 1);
    return unused;
}

/* One try, in turn at once and by copying: does buffer hold a value, told by *ret_view? */
static bool read_one(void *buffer, uint64_t turn, struct cell_view *ret_view) {
    uint64_t value;
    if (turn % 2 == 0 && memory.n == 0 && pairs_are_atomic()) {
        if (!cell_get_pair(&memory, ret_view, &value))
            return false;
        cell_spill(buffer, value, ret_view->size);
        return true;
    }
    if (!cell_memory_look(&memory, ret_view))
        return false;
    cell_load(buffer, ret_view->data, ret_view->size);
    return cell_memory_intact(&memory, ret_view);
}

/* The number of values read, at least one; 0: a torn one, or an older one after a newer. */
static void *read_on(void *buffer) {
    uint64_t last = 0, read = 0;
    for (uint64_t turn = 0; !load_relaxed(&stop) || read == 0; turn++) {
        struct cell_view view = { 0 };
        if (!read_one(buffer, turn, &view))
            continue;
        uint64_t n = cell_version_of(view.published);
        if (n < last || !is_whole(buffer, view.size, n))
            return NULL;
        last = n;
        read++;
    }
    return (void *)(uintptr_t)read;
}

static void hunt_torn_reads(uint64_t size, bool pairs) {
    pthread_t writer, readers[READERS];
    void *buffers[READERS], *result;
    begin(size);
    memory.pairs = pairs;
    assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
    for (int r = 0; r < READERS; r++) {
        buffers[r] = malloc(size);
        assert_int_equal(pthread_create(&readers[r], NULL, read_on, buffers[r]), 0);
    }
    for (int r = 0; r < READERS; r++) {
        assert_int_equal(pthread_join(readers[r], &result), 0);
        assert_non_null(result);
        free(buffers[r]);
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    end();
}

/* Where this processor writes pairs at once, both of its ways. */
static void test_torn_reads(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        hunt_torn_reads(sizes[i], false);
        if (sizes[i] <= CELL_WORD && pairs_are_atomic())
            hunt_torn_reads(sizes[i], true);
    }
}

/* All that a set at once gives is read at once and by copying alike, and nothing else is read at once. */
static void test_pairs(void **state) {
    (void)state;
    uint8_t value[CELL_SMALL_SIZE], copy[CELL_SMALL_SIZE] = { 0 };
    struct cell_view view = { 0 };
    uint64_t word;
    if (!pairs_are_atomic()) {
        print_message("this processor, or this build, reads no 16 bytes at once\n");
        skip();
    }
    begin(CELL_SMALL_SIZE);
    assert_false(cell_get_pair(&memory, &view, &word));
    for (size_t size = 0; size <= sizeof value; size++) {
        memset(value, (int)size + 1, sizeof value);
        cell_memory_set(&memory, value, size);
        assert_int_equal(cell_get_pair(&memory, &view, &word), size <= 8);
        assert_int_equal(view.size, size);
        assert_int_equal(cell_version_of(view.published), size + 1);
        cell_spill(copy, word, size <= 8 ? size : 0);
        assert_memory_equal(copy, value, size <= 8 ? size : 0);
        assert_true(copy[size <= 8 ? size : 8] != size + 1);
        assert_true(cell_memory_look(&memory, &view) && view.data == cell_first(&memory));
        assert_memory_equal(view.data, value, size);
        *memory.published |= 1; /* the second copy is the newest */
        assert_false(cell_get_pair(&memory, &view, &word));
    }
    end();
}

/* The next value is begun by many whose lives end at that: what was looked at is intact, and is so in truth. */
static void begin_in_vain(const struct cell_view *view, uint64_t n) {
    uint8_t copy[4096];
    for (int i = 0; i < 3; i++) {
        memset(cell_memory_begin(&memory), 0, 1);
        assert_true(cell_memory_intact(&memory, view));
        cell_load(copy, view->data, view->size);
        assert_true(is_whole(copy, view->size, n));
    }
}

/* A buffer is begun again only after n - 1 further values; in a small cell the second copy as soon as the first is whole. */
static void test_overwriting(void **state) {
    (void)state;
    uint8_t value[4096];
    for (size_t i = 0; i < COUNT(sizes) && sizes[i] <= sizeof value; i++) {
        struct cell_view view = { 0 };
        begin(sizes[i]);
        assert_false(cell_memory_look(&memory, &view));
        for (uint64_t n = 1; n < 100; n++) {
            fill(value, n);
            cell_memory_set(&memory, value, size_of(n));
            assert_true(cell_memory_look(&memory, &view));
            begin_in_vain(&view, n);
            for (uint64_t later = 1; later < (memory.n > 0 ? memory.n : 2); later++) {
                if (memory.n > 0)
                    begin_in_vain(&view, n);
                fill(value, n + later);
                cell_memory_set(&memory, value, size_of(n + later));
            }
            assert_false(cell_memory_intact(&memory, &view));
            n += memory.n > 0 ? memory.n - 1 : 1;
        }
        end();
    }
}

/* A small cell's writer dies between its two copies: the second is read, and its successor writes the first. */
static void test_between_the_copies(void **state) {
    (void)state;
    uint8_t value[CELL_SMALL_SIZE], copy[CELL_SMALL_SIZE];
    struct cell_view view = { 0 };
    begin(CELL_SMALL_SIZE);
    for (uint64_t n = 1; n < 20; n++) {
        fill(value, n);
        cell_memory_set(&memory, value, size_of(n));
        memset(cell_first(&memory), 0xee, CELL_SMALL_SIZE); /* half written again, it might look like this */
        *memory.published |= 1;
        assert_true(cell_memory_look(&memory, &view));
        cell_load(copy, view.data, view.size);
        assert_true(cell_memory_intact(&memory, &view));
        assert_true(is_whole(copy, view.size, n));
        cell_memory_succeed(&memory);
        assert_false(cell_memory_intact(&memory, &view));
        assert_true(cell_memory_look(&memory, &view));
        assert_ptr_equal(view.data, cell_first(&memory));
        cell_load(copy, view.data, view.size);
        assert_true(is_whole(copy, view.size, n));
        assert_int_equal(cell_version_of(view.published), n);
    }
    end();
}

/* The buffers lie within the memory, apart, and where the format says. */
static void test_layout(void **state) {
    (void)state;
    static uint8_t base[8192];
    for (uint64_t size = 1; size <= 70000; size += size < 300 ? 1 : 997) {
        struct cell_memory laid;
        cell_memory_init(&laid, base, size);
        assert_ptr_equal(laid.published, base + CELL_PUBLISHED_OFFSET);
        assert_ptr_equal(laid.buffers, base + CELL_BUFFERS_OFFSET);
        if (size <= 56) {
            assert_int_equal(laid.n, 0);
            assert_int_equal(cell_memory_bytes(size), 4096 + 128);
            continue;
        }
        assert_true(laid.n >= 8);
        assert_true(laid.stride >= laid.size + 8);
        assert_int_equal(laid.stride / 64 % 2, 1);
        assert_int_equal(cell_memory_bytes(size), 4160 + laid.n * laid.stride);
    }
    assert_int_equal(cell_memory_bytes(100), 4160 + 32 * 192);
}

/* Whatever lies in the memory, a view is within it. */
static void test_garbage(void **state) {
    (void)state;
    static const uint64_t some[] = { 10, 100 };
    for (size_t i = 0; i < COUNT(some); i++) {
        begin(some[i]);
        uint8_t *from = body, *to = from + cell_memory_bytes(some[i]);
        for (uint64_t place = 0; place < 256; place++) {
            struct cell_view view = { 0 };
            memset(from + CELL_PUBLISHED_OFFSET, 0xff, (size_t)(to - from) - CELL_PUBLISHED_OFFSET);
            *memory.published = UINT64_C(7) << 8 | place;
            assert_true(cell_memory_look(&memory, &view));
            assert_true(view.data >= from && view.size <= some[i] && view.data + view.size <= to);
            cell_memory_succeed(&memory);
            cell_memory_set(&memory, &place, sizeof place);
            assert_true(cell_memory_look(&memory, &view));
            assert_memory_equal(view.data, &place, sizeof place);
        }
        end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_overwriting),
        cmocka_unit_test(test_between_the_copies),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_torn_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
