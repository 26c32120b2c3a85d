/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A peer that lies, in its segment or with its memfds: its own link ends, with a sentence that names the check. */

#include "transport/shm/shm_test.h"

#define GROWING "shm://?ring=256K"

static void expect_receiver_breaks(struct ends *ends, const char *part) {
    static char buffer[300000];
    size_t size;
    assert_int_equal(hawser_recv(ends->b, buffer, sizeof buffer, HAWSER_NOW, &size), -EPROTO);
    const char *once = strstr(hawser_explain(), "broke the protocol");
    if (!once || strstr(once + 1, "broke the protocol") || !strstr(hawser_explain(), part))
        fail_msg("%s", hawser_explain());
    assert_int_equal(hawser_recv(ends->b, buffer, sizeof buffer, HAWSER_NOW, &size), -EPROTO);
    assert_int_equal(hawser_send(ends->b, "x", 1, HAWSER_NOW), -EPROTO);
    ends_close(ends);
}

static void lie(uint32_t kind, const void *body, size_t size, const char *part) {
    struct shm_link *liar;
    struct ends ends = met_pair_of(kind == SHM_RING ? GROWING : SMALL, &liar);
    struct ring_writer *ring = &liar->sender.ring;
    memcpy(ring->data + (ring->write & ring->mask) + 8, body, size);
    store_release(ring_word(ring->data, ring->write & ring->mask), (uint64_t)kind << SHM_KIND_SHIFT | size);
    expect_receiver_breaks(&ends, part);
}

static void test_lying_sender(void **state) {
    (void)state;
    struct shm_fds_prefix many = { .count = 17 }, none = { .count = 0 }, one = { .count = 1 };
    lie(9, "", 0, "unknown kind");
    lie(SHM_DATA_FDS, &many, sizeof many, "number of descriptors");
    lie(SHM_DATA_FDS, &none, sizeof none, "number of descriptors");
    lie(SHM_DATA_FDS, &none, 4, "too short");
    lie(SHM_POOL, &one, sizeof one, "impossible size");
    struct shm_descriptor pool = { .size = 10 }, own = { .size = 5000000 }, empty = { .size = 0 }, crowd = { .size = 1, .fds = 17 };
    lie(SHM_POOL, &pool, sizeof pool, "never came");
    lie(SHM_OWN, &own, sizeof own, "over max_message");
    lie(SHM_OWN, &empty, sizeof empty, "empty");
    lie(SHM_OWN, &crowd, sizeof crowd, "number of descriptors");
    own.size = 100;
    lie(SHM_OWN, &own, sizeof own, "did not come");
    struct shm_chunk chunk = { .size = 4096 };
    lie(SHM_CHUNK, &chunk, sizeof chunk, "did not come");
    lie(SHM_CHUNK, &chunk, 8, "impossible size");
    struct shm_larger larger = { .size = 131072 }, same = { .size = 65536 }, odd = { .size = 131080 }, huge = { .size = 524288 };
    struct shm_larger more = { .size = 131072, .zero = 1 };
    lie(SHM_RING, &more, sizeof more, "impossible size");
    lie(SHM_RING, &larger, sizeof larger, "did not come");
    lie(SHM_RING, &larger, 8, "impossible size");
    lie(SHM_RING, &same, sizeof same, "impossible size");
    lie(SHM_RING, &odd, sizeof odd, "impossible size");
    lie(SHM_RING, &huge, sizeof huge, "impossible size");
}

/* Memory that is not what its record says: unsealed, too small, out of turn, over the quota. */
static void lie_with_memory(uint32_t kind, const void *body, size_t size, int seals, const char *part) {
    struct shm_link *liar;
    struct ends ends = met_pair_of(kind == SHM_RING ? GROWING : SMALL, &liar);
    static const char zeroes[4096];
    int fd = sys_memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(sys_write(fd, zeroes, 4096), 4096);
    assert_int_equal(sys_fcntl(fd, F_ADD_SEALS, seals), 0);
    assert_int_equal(carrier_send(liar, &fd, 1), 0);
    sys_close(fd);
    struct ring_writer *ring = &liar->sender.ring;
    memcpy(ring->data + (ring->write & ring->mask) + 8, body, size);
    store_release(ring_word(ring->data, ring->write & ring->mask), (uint64_t)kind << SHM_KIND_SHIFT | size);
    expect_receiver_breaks(&ends, part);
}

static void test_lying_memory(void **state) {
    (void)state;
    struct shm_chunk chunk = { .size = 4096 }, late = { .size = 4096, .index = 1 }, huge = { .size = UINT64_C(1) << 50 };
    struct shm_chunk larger = { .size = 8192 };
    struct shm_descriptor own = { .size = 4096 }, more = { .size = 4097 };
    lie_with_memory(SHM_CHUNK, &chunk, sizeof chunk, F_SEAL_SHRINK, "seals");
    lie_with_memory(SHM_CHUNK, &larger, sizeof larger, MEMORY_SEALS, "at least");
    lie_with_memory(SHM_CHUNK, &late, sizeof late, MEMORY_SEALS, "out of turn");
    lie_with_memory(SHM_CHUNK, &huge, sizeof huge, MEMORY_SEALS, "quota");
    struct shm_larger ring = { .size = 131072 };
    lie_with_memory(SHM_RING, &ring, sizeof ring, MEMORY_SEALS, "at least");
    lie_with_memory(SHM_OWN, &own, sizeof own, MEMORY_SEALS, "seals");
    lie_with_memory(SHM_OWN, &more, sizeof more, MEMORY_SEALS | F_SEAL_WRITE, "at least");
}

/* A packet beside the ring that is not what its record says: of no bytes, or with more descriptors than any record has. */
static void test_lying_carrier(void **state) {
    (void)state;
    enum { MOST = 30 };
    struct shm_fds_prefix prefix = { .count = 1 };
    for (unsigned n = 1; n <= MOST; n++) {
        struct shm_link *liar;
        unsigned before = open_descriptors();
        struct ends ends = met_pair(&liar);
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(MOST * sizeof(int))];
        } control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int)) } };
        uint32_t count = 1;
        struct iovec vector = { &count, n > 1 ? sizeof count : 0 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = (socklen_t)CMSG_SPACE(n * sizeof(int)) };
        for (unsigned i = 0; i < n; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &liar->carrier, sizeof(int));
        assert_true(sys_sendmsg(liar->carrier, &message, 0) >= 0);
        struct ring_writer *ring = &liar->sender.ring;
        memcpy(ring->data + (ring->write & ring->mask) + 8, &prefix, sizeof prefix);
        store_release(ring_word(ring->data, ring->write & ring->mask), (uint64_t)SHM_DATA_FDS << SHM_KIND_SHIFT | sizeof prefix);
        char byte;
        int fd;
        size_t size, arrived;
        assert_int_equal(hawser_recv_fds(ends.b, &byte, 1, &fd, 1, HAWSER_NOW, &size, &arrived), -EPROTO);
        ends_close(&ends);
        assert_int_equal(open_descriptors(), before);
    }
}

/* Who connects makes both ends of the socket for descriptors, and may keep a copy of ours: what it sets there must not bring us
 * descriptors that nobody closes, nor make those that come look as if there were none free. */
static void test_lying_options(void **state) {
    (void)state;
    enum { PASS_PIDFD = 76 }; /* SO_PASSPIDFD */
    static const int names[] = { PASS_PIDFD, SO_PASSCRED, SO_TIMESTAMP };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        static const int on = 1;
        struct shm_link *liar;
        unsigned before = open_descriptors();
        struct ends ends = met_pair(&liar);
        char byte;
        int fd = -1, zero = 0;
        size_t size, n;
        if (sys_setsockopt(shm_of(ends.b->link)->carrier, SOL_SOCKET, names[i], &on, sizeof on) == 0) {
            ok(hawser_send_fds(ends.a, "x", 1, &zero, 1, HAWSER_NOW));
            assert_int_equal(hawser_recv_fds(ends.b, &byte, 1, &fd, 1, HAWSER_NOW, &size, &n), -EPROTO);
            assert_non_null(strstr(hawser_explain(), "something else"));
        }
        ends_close(&ends);
        assert_int_equal(open_descriptors(), before);
    }
}

static void test_lying_receiver(void **state) {
    (void)state;
    for (int lie = 0; lie < 4; lie++) {
        struct shm_link *liar;
        struct ends ends = met_pair(&liar);
        struct shm_segment *segment = shm_own(liar);
        static char bytes[5000];
        ok(hawser_send(ends.b, bytes, 5000, HAWSER_NOW)); /* through the pool */
        if (lie == 0)
            segment->freed = UINT64_C(1) << 40;
        else if (lie == 1)
            segment->freed = 3;
        else if (lie == 2)
            segment->taken = 1000;
        else
            segment->released = 77;
        int r = 0;
        for (int i = 0; i < 100 && r == 0; i++)
            r = lie == 2 ? hawser_flush(ends.b, HAWSER_NOW) : hawser_send(ends.b, bytes, lie == 3 ? 5000 : 200, HAWSER_NOW);
        assert_int_equal(r, -EPROTO);
        assert_int_equal(hawser_send(ends.b, "x", 1, HAWSER_NOW), -EPROTO);
        ends_close(&ends);
    }
}

/* One packet beside the ring: `fd` and copies of the socket itself, n in all; so many bytes of a count that says `said`. */
static void carry(struct shm_link *liar, int fd, unsigned n, uint32_t said, size_t bytes) {
    enum { MOST = 30 };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int)) } };
    struct iovec vector = { &said, bytes };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = (socklen_t)CMSG_SPACE(n * sizeof(int)) };
    assert_true(n <= MOST);
    for (unsigned i = 0; i < n; i++)
        memcpy(CMSG_DATA(&control.header) + i * sizeof(int), i == 0 ? &fd : &liar->carrier, sizeof(int));
    assert_true(sys_sendmsg(liar->carrier, &message, 0) >= 0);
}

static void put_record(struct shm_link *liar, uint32_t kind, const void *body, size_t size) {
    struct ring_writer *ring = &liar->sender.ring;
    memcpy(ring->data + (ring->write & ring->mask) + 8, body, size);
    store_release(ring_word(ring->data, ring->write & ring->mask), (uint64_t)kind << SHM_KIND_SHIFT | size);
}

/* A count that is cut short, another count, and of a message in memory of its own the largest count there is, and more. */
static void test_lying_count(void **state) {
    (void)state;
    struct shm_fds_prefix prefix = { .count = 1 };
    struct shm_descriptor own = { .size = 4096, .fds = SHM_FDS_MAX };
    static const char zeroes[4096];
    for (int lie = 0; lie < 3; lie++) {
        struct shm_link *liar;
        unsigned before = open_descriptors();
        struct ends ends = met_pair(&liar);
        char byte[4096];
        int fd = sys_memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), fds[SHM_FDS_MAX];
        size_t size, n;
        assert_int_equal(sys_write(fd, zeroes, 4096), 4096);
        assert_int_equal(sys_fcntl(fd, F_ADD_SEALS, MEMORY_SEALS | F_SEAL_WRITE), 0);
        carry(liar, fd, lie == 2 ? 30 : 1, lie == 0 ? 1 : lie == 1 ? 5 : CARRIER_MAX, lie == 0 ? 1 : sizeof(uint32_t));
        sys_close(fd);
        put_record(liar, lie == 2 ? SHM_OWN : SHM_DATA_FDS, lie == 2 ? (void *)&own : (void *)&prefix, lie == 2 ? sizeof own : sizeof prefix);
        assert_int_equal(hawser_recv_fds(ends.b, byte, sizeof byte, fds, SHM_FDS_MAX, HAWSER_NOW, &size, &n), -EPROTO);
        ends_close(&ends);
        assert_int_equal(open_descriptors(), before);
    }
}

/* Who does not want a message's descriptors does not look at them; that there are none is found out all the same. */
static void test_no_packet(void **state) {
    (void)state;
    struct shm_fds_prefix prefix = { .count = 1 };
    struct shm_link *liar;
    struct ends ends = met_pair(&liar);
    char byte;
    size_t size;
    put_record(liar, SHM_DATA_FDS, &prefix, sizeof prefix);
    (void)!hawser_recv(ends.b, &byte, 1, HAWSER_NOW, &size);
    assert_int_equal(hawser_recv(ends.b, &byte, 1, HAWSER_NOW, &size), -EPROTO);
    assert_non_null(strstr(hawser_explain(), "did not come"));
    ends_close(&ends);
}

static void test_short_note(void **state) {
    (void)state;
    struct shm_link *liar;
    struct ends ends = met_pair(&liar);
    char byte;
    size_t size;
    assert_int_equal(sys_send(liar->link.peer.socket, "ring", 4, 0), 4);
    assert_int_equal(hawser_recv(ends.b, &byte, 1, SECOND, &size), -EPROTO);
    assert_non_null(strstr(hawser_explain(), "a note of 4 bytes"));
    ends_close(&ends);
}

/* More than may be announced, though the ring and the buffer have room for it: by the short way of receiving, too. */
static void test_over_most(void **state) {
    (void)state;
    static char bytes[2000], buffer[4000];
    struct ends ends = pair_of("shm://?max_message=1K");
    size_t size;
    ok(hawser_send(ends.a, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size));
    put_record(shm_of(ends.a->link), SHM_DATA, bytes, sizeof bytes);
    assert_int_equal(hawser_recv(ends.b, buffer, sizeof buffer, HAWSER_NOW, &size), -EPROTO);
    assert_non_null(strstr(hawser_explain(), "over max_message"));
    ends_close(&ends);
}

static void test_lying_taken(void **state) {
    (void)state;
    static char bytes[300000]; /* beyond the pool */
    struct shm_link *liar;
    struct ends ends = met_pair(&liar);
    ok(hawser_send(ends.b, "x", 1, HAWSER_NOW));
    shm_own(liar)->taken = 2;
    ok(hawser_flush(ends.b, HAWSER_NOW));
    ok(hawser_send(ends.b, "x", 1, HAWSER_NOW));
    shm_own(liar)->taken = 1; /* and back */
    assert_int_equal(hawser_flush(ends.b, HAWSER_NOW), -EPROTO);
    ends_close(&ends);
    ends = met_pair(&liar);
    ok(hawser_send(ends.b, bytes, sizeof bytes, HAWSER_NOW));
    shm_own(liar)->taken = 1000;
    assert_int_equal(hawser_send(ends.b, bytes, sizeof bytes, HAWSER_NOW), -EPROTO);
    ends_close(&ends);
}

/* A cursor that lies when a loan is made, or when one larger than the pool is committed: the link is broken for everything. */
static void test_lying_cursor_and_loans(void **state) {
    (void)state;
    for (int committed = 0; committed < 2; committed++) {
        struct ends ends = pair_of("shm://?pool=256K&max_message=4M"); /* in a small ring the writer does not look before it is full */
        char bytes[100];
        void *data = NULL;
        size_t size;
        ok(hawser_send(ends.a, "x", 1, HAWSER_NOW));
        ok(hawser_recv(ends.b, bytes, 1, HAWSER_NOW, &size));
        struct ring_writer *ring = &shm_of(ends.b->link)->sender.ring;
        if (committed)
            ok(hawser_loan(ends.b, 300000, HAWSER_NOW, &data));
        while (ring->write + 32 <= ring->look) { /* until a description, but no message of 8 bytes, needs a look */
            ok(hawser_send(ends.b, bytes, 8, HAWSER_NOW));
            ok(hawser_recv(ends.a, bytes, sizeof bytes, HAWSER_NOW, &size));
        }
        shm_own(shm_of(ends.a->link))->freed = 3;
        int r = committed ? hawser_commit(ends.b, data, 300000) : hawser_loan(ends.b, 100, HAWSER_NOW, &data);
        assert_int_equal(r, -EPROTO);
        assert_int_equal(hawser_recv(ends.b, bytes, sizeof bytes, HAWSER_NOW, &size), -EPROTO);
        ends_close(&ends);
    }
}

static void test_second_larger_ring(void **state) {
    (void)state;
    struct ends ends = pair_of("shm://?ring=1M");
    enum { FIRST = 131072, SECOND_SIZE = 262144 };
    char byte;
    size_t size;
    ok(hawser_send(ends.a, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends.b, &byte, 1, HAWSER_NOW, &size));
    struct shm_link *liar = shm_of(ends.a->link);
    for (uint64_t ring_size = FIRST; ring_size <= SECOND_SIZE; ring_size *= 2) {
        struct shm_larger larger = { .size = ring_size };
        struct memory memory;
        int fd = -1;
        assert_int_equal(memory_create("test", ring_size, &memory, &fd), 0);
        assert_int_equal(carrier_send(liar, &fd, 1), 0);
        if (ring_size == FIRST) {
            put_record(liar, SHM_RING, &larger, sizeof larger);
            uint64_t at = liar->sender.ring.write + 8 + sizeof larger;
            memcpy(memory.base + (at & (FIRST - 1)) + 8, &(struct shm_larger){ .size = SECOND_SIZE }, sizeof larger);
            store_release(ring_word(memory.base, at & (FIRST - 1)), (uint64_t)SHM_RING << SHM_KIND_SHIFT | sizeof larger);
        }
        memory_unmap(&memory);
        sys_close(fd);
    }
    assert_int_equal(hawser_recv(ends.b, &byte, 1, HAWSER_NOW, &size), -EPROTO);
    assert_non_null(strstr(hawser_explain(), "second larger ring"));
    ends_close(&ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lying_sender),   cmocka_unit_test(test_lying_memory),      cmocka_unit_test(test_lying_receiver),
        cmocka_unit_test(test_lying_carrier),  cmocka_unit_test(test_lying_options),     cmocka_unit_test(test_lying_count),
        cmocka_unit_test(test_no_packet),      cmocka_unit_test(test_lying_taken),       cmocka_unit_test(test_lying_cursor_and_loans),
        cmocka_unit_test(test_second_larger_ring), cmocka_unit_test(test_short_note),        cmocka_unit_test(test_over_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
