/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Peers that cost time and room instead of lying: doorbells as fast as a thread can ring, messages without a doorbell, a reader that
 * never gives anything back, descriptors by the thousand. The honest process stays usable and its other links do not notice. */

#include "liar.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/control.h"
#include "core/channel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define MS INT64_C(1000000)
#define ADDRESS "shm://?ring=4K&pool=256K&max_message=1M"

static bool over;

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 * MS + now.tv_nsec;
}

static void start(pthread_t *ret_thread, void *(*function)(void *), void *argument) {
    store_seq_cst(&over, false);
    CHECK(pthread_create(ret_thread, NULL, function, argument) == 0);
}

static void stop(pthread_t thread) {
    store_seq_cst(&over, true);
    pthread_join(thread, NULL);
}

/* ---- Doorbells ---- */

/* By either bell: the socket, and the word that a receiver naps on. */
static void *ring_on(void *argument) {
    struct world *world = argument;
    struct note note = { .type = NOTE_RING };
    const struct ring_reader *reader = &world->seen->receiver.ring;
    const uint32_t *word = ring_kind(segment_ring(&world->own->own) + (reader->read & reader->mask));
    while (!load_relaxed(&over)) {
        world->mutated += sys_send(world->own->link.peer.socket, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
        word_wake(word);
    }
    return NULL;
}

/* One message behind each flood: it comes all the same, and not much later. */
static void *ring_and_send(void *argument) {
    struct world *world = argument;
    struct note note = { .type = NOTE_RING };
    while (!load_relaxed(&over)) {
        for (unsigned i = 0; i < 20000; i++)
            (void)sys_send(world->own->link.peer.socket, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL);
        int64_t now_ns = clock_now();
        (void)!hawser_send(world->liar, &now_ns, sizeof now_ns, HAWSER_NOW);
    }
    return NULL;
}

/* One call that waits for `took_ns` while it is rung for. CPU time says little where many processes run; system calls do not change. */
static void through(const char *what, hawser_poll_item *items, size_t n) {
    enum { WAIT_MS = 300, CALLS_FIRST = 2000, CALLS_A_MS = 20 };
    uint8_t byte;
    size_t size;
    uint64_t calls = sys_calls_made;
    int64_t cpu = cpu_ns(), began = clock_now();
    int r = n > 0 ? hawser_poll(items, n, WAIT_MS * MS) : hawser_recv(items->channel, &byte, 1, WAIT_MS * MS, &size);
    CHECK(r == -ETIMEDOUT);
    int64_t took = clock_now() - began;
    cpu = cpu_ns() - cpu;
    calls = sys_calls_made - calls;
    printf("# %s: %.1f%% of a CPU, %llu system calls in %.0f ms\n", what, 100.0 * (double)cpu / (double)took, (unsigned long long)calls,
           (double)took / MS);
    CHECK(cpu < took / 4);
    CHECK(calls < CALLS_FIRST + CALLS_A_MS * (uint64_t)(took / MS));
}

static void doorbells(const char *wait) {
    enum { MANY = 24 };
    struct world world = { .source.seed = 1 };
    char address[80];
    hawser_channel *idle[MANY];
    hawser_poll_item items[MANY + 1];
    pthread_t thread;
    snprintf(address, sizeof address, ADDRESS "&wait=%s", wait);
    world_begin(&world, address);
    items[0] = (hawser_poll_item){ .channel = world.honest, .events = HAWSER_IN };
    for (unsigned i = 0; i < MANY; i += 2) {
        CHECK(hawser_pair(ADDRESS, NULL, &idle[i], &idle[i + 1]) == 0);
        items[i + 1] = (hawser_poll_item){ .channel = idle[i], .events = HAWSER_IN };
        items[i + 2] = (hawser_poll_item){ .channel = idle[i + 1], .events = HAWSER_IN };
    }
    start(&thread, ring_on, &world);
    printf("# wait=%s\n", wait);
    through("recv through doorbells", items, 0);
    through("poll", items, 1);
    through("poll of many", items, COUNT(items));
    stop(thread);
    for (unsigned i = 0; i < MANY; i++)
        hawser_close(idle[i]);
    world_end(&world);
}

/* A message is not lost among doorbells, and other links' come through poll. */
static void doorbells_and_messages(void) {
    struct world world = { .source.seed = 1 };
    struct witness witness;
    int64_t sent_ns, worst = 0;
    size_t size;
    pthread_t thread;
    world_begin(&world, ADDRESS);
    witness_begin(&witness);
    witness_check(&witness);
    start(&thread, ring_and_send, &world);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(hawser_recv(world.honest, &sent_ns, sizeof sent_ns, 10000 * MS, &size) == 0);
        int64_t late = clock_now() - sent_ns;
        worst = late > worst ? late : worst;
        CHECK(hawser_send(witness.a, "x", 1, HAWSER_NOW) == 0);
        hawser_poll_item items[] = { { .channel = world.honest, .events = HAWSER_IN }, { .channel = witness.b, .events = HAWSER_IN } };
        CHECK(hawser_poll(items, 2, 10000 * MS) > 0 && items[1].ret_events == HAWSER_IN);
        CHECK(hawser_recv(witness.b, &sent_ns, sizeof sent_ns, HAWSER_NOW, &size) == 0 && size == 1);
    }
    stop(thread);
    printf("# a message among doorbells comes within %.1f ms\n", (double)worst / MS);
    witness_end(&witness);
    world_end(&world);
}

/* A message without its doorbell: a timeout later at the latest it is found. */
struct silent {
    struct world world;
    uint64_t at; /* where the honest end reads next: looked up while that end stands still */
};

static void *publish_silently(void *argument) {
    const struct silent *silent = argument;
    const struct world *world = &silent->world;
    const struct shm_segment *honest = segment_of(&world->own->view.memory);
    while (!(load_seq_cst(&honest->receiver_asleep) & 1))
        sched_yield();
    store_relaxed(ring_word(segment_ring(&world->own->own), silent->at + 16), 0);
    store_release(ring_word(segment_ring(&world->own->own), silent->at), (uint64_t)SHM_DATA << SHM_KIND_SHIFT | 8);
    return NULL;
}

static void no_doorbell(void) {
    struct silent silent = { .world.source.seed = 1 };
    struct world *world = &silent.world;
    uint8_t bytes[8];
    size_t size = 0;
    pthread_t thread;
    world_begin(world, ADDRESS "&wait=block");
    const struct ring_reader *reader = &world->seen->receiver.ring;
    silent.at = reader->read & reader->mask;
    start(&thread, publish_silently, &silent);
    int r = hawser_recv(world->honest, bytes, sizeof bytes, 200 * MS, &size);
    CHECK(r == 0 || r == -ETIMEDOUT);
    stop(thread);
    CHECK(r == 0 || hawser_recv(world->honest, bytes, sizeof bytes, HAWSER_NOW, &size) == 0);
    CHECK(size == 8);
    world_end(world);
}

/* ---- Room ---- */

/* Bytes the honest end could send before it was told to wait; some calls may find no room while smaller ones do. */
static uint64_t send_until_full(struct world *world) {
    static uint8_t bytes[1 << 20];
    static const size_t sizes[] = { 8, 900, 5000, 100000, sizeof bytes };
    uint64_t sent = 0;
    for (size_t i = COUNT(sizes); i-- > 0;)
        while (hawser_send(world->honest, bytes, sizes[i], HAWSER_NOW) == 0)
            sent += sizes[i];
    return sent;
}

static void no_release(void) {
    struct world world = { .source.seed = 1 };
    struct witness witness;
    world_begin(&world, ADDRESS);
    witness_begin(&witness);
    witness_check(&witness);
    unsigned descriptors = descriptors_open();
    uint64_t sent = send_until_full(&world);
    CHECK(hawser_send(world.honest, &sent, sizeof sent, 20 * MS) == -ETIMEDOUT);
    CHECK(sent <= 4096 + (256 << 10) + (1 << 20));
    CHECK(descriptors_open() == descriptors);
    /* One that says it took all, but leaves its memfds where they are: as many as the socket between holds. */
    uint64_t more = 0;
    for (unsigned i = 0; i < 1000; i++) {
        store_release(&world.segment->freed, world.seen->sender.ring.write);
        store_release(&world.segment->taken, world.seen->sender.ring.messages);
        more += send_until_full(&world);
        if (more > (uint64_t)1 << 30)
            break;
    }
    printf("# a reader that gives nothing back holds %llu bytes; one that says it does, %llu more\n", (unsigned long long)sent,
           (unsigned long long)more);
    CHECK(more < (uint64_t)400 << 20);
    CHECK(descriptors_open() == descriptors);
    witness_check(&witness);
    witness_end(&witness);
    world_end(&world);
}

/* ---- Descriptors by the thousand ---- */

static unsigned flood(int socket, uint32_t type) {
    union {
        struct cmsghdr header;
        char bytes[CONTROL_FDS_SPACE(200)];
    } control = { 0 };
    struct note note = { .type = type };
    struct iovec vector = { .iov_base = &note, .iov_len = sizeof note };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control };
    int fds[200] = { 0 }; /* the kernel takes 253, musl 252 */
    unsigned n = 0;
    control_put_fds(&message, fds, COUNT(fds));
    while (sys_sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        n++;
    return n * (unsigned)COUNT(fds);
}

static void thousands(void) {
    struct world world = { .source.seed = 1 };
    uint8_t byte;
    size_t size, n;
    int fd;
    world_begin(&world, ADDRESS);
    unsigned descriptors = descriptors_open();
    unsigned carried = flood(world.own->carrier, 1), noted = flood(world.own->link.peer.socket, NOTE_RING);
    CHECK(carried > 2000 && noted > 2000);
    CHECK(hawser_recv_fds(world.honest, &byte, 1, &fd, 1, 5 * MS, &size, &n) == -ETIMEDOUT);
    hawser_poll_item item = { .channel = world.honest, .events = HAWSER_IN };
    CHECK(hawser_poll(&item, 1, 5 * MS) == -ETIMEDOUT);
    CHECK(descriptors_open() == descriptors);
    CHECK(hawser_send_fds(world.liar, "x", 1, &fd, 0, HAWSER_NOW) == 0);
    CHECK(hawser_recv_fds(world.honest, &byte, 1, &fd, 1, HAWSER_NOW, &size, &n) == 0 && n == 0);
    struct shm_fds_prefix prefix = { .count = 1 };
    const struct ring_reader *reader = &world.seen->receiver.ring;
    uint64_t at = reader->read & reader->mask;
    memcpy(segment_ring(&world.own->own) + at + 8, &prefix, sizeof prefix);
    store_release(ring_word(segment_ring(&world.own->own), at), (uint64_t)SHM_DATA_FDS << SHM_KIND_SHIFT | sizeof prefix);
    CHECK(hawser_recv_fds(world.honest, &byte, 1, &fd, 1, HAWSER_NOW, &size, &n) == -EPROTO);
    CHECK(descriptors_open() == descriptors);
    world.broken = true;
    world_end(&world);
    printf("# %u descriptors in packets nobody asked for\n", carried + noted);
}

int main(void) {
    guard_maps();
    liar_prepare();
    doorbells("block"); /* and what the thread sleeps with is there */
    unsigned descriptors = descriptors_open(), maps = maps_made();
    doorbells("adaptive");
    printf("ok doorbells\n");
    doorbells_and_messages();
    printf("ok doorbells and messages\n");
    no_doorbell();
    printf("ok no doorbell\n");
    no_release();
    printf("ok no release\n");
    thousands();
    printf("ok thousands of descriptors\n");
    CHECK(descriptors_open() == descriptors && maps_made() == maps);
    printf("ok nothing is left\n");
    return 0;
}
