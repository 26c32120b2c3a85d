/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A liar in a thread of its own, which changes headers, lengths, descriptions, cursors and releases while the honest end is between
 * looking at them and using them: a bad value stands for a few nanoseconds, over and over. What was checked must be what is used;
 * where it is not, a read runs into the page behind a map, a write into the page behind a buffer, or a message lies nowhere.
 *
 * usage: race [--seconds N] */

#include "liar.h"

#include "base/atomic.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#define QUICK_SECONDS 2
#define LONG_SECONDS 300
#define LIFE 3000 /* calls after which a link that still lives is given up */

static struct world world;
static bool invited, inside, over; /* the racer may touch the world; does; is to end */

/* For a moment something else stands there. */
static void flash(uint64_t *word, uint64_t lie) {
    uint64_t truth = load_relaxed(word);
    store_relaxed(word, lie);
    store_relaxed(word, truth);
}

static uint64_t *word_in_ring(uint64_t position) {
    uint64_t mask = world.seen->receiver.ring.mask;
    return ring_word(segment_ring(&world.own->own), position & mask);
}

/* A record where the honest end reads next, good in itself, then its words in turn not. */
static void race_record(struct source *source) {
    const struct ring_reader *reader = &world.seen->receiver.ring;
    uint64_t at = load_relaxed(&reader->read), rest = reader->size - (at & reader->mask);
    if (rest < 512 || !world.seen->receiver.peer)
        return;
    bool described = chance(source, 100);
    uint64_t size = described ? sizeof(struct shm_descriptor) : draw_below(source, 300);
    uint64_t good = (uint64_t)(described ? SHM_POOL : SHM_DATA) << SHM_KIND_SHIFT | size;
    store_relaxed(word_in_ring(at + 8 + ring_padded(size)), 0);
    if (described) {
        struct shm_descriptor descriptor = { .size = 300, .slot = (uint16_t)draw_below(source, SHM_SLOTS) };
        uint64_t words[3];
        memcpy(words, &descriptor, sizeof words);
        for (unsigned i = 0; i < 3; i++)
            store_relaxed(word_in_ring(at + 8 + 8 * i), words[i]);
    }
    store_release(word_in_ring(at), good);
    for (unsigned i = 0; i < 8; i++) {
        unsigned which = (unsigned)draw_below(source, 8);
        if (which >= 1 && which <= 3 && described)
            flash(word_in_ring(at + 8 * which), draw_near(source, 4096));
        else
            flash(word_in_ring(at), chance(source, 250) ? (uint64_t)SHM_DATA << SHM_KIND_SHIFT | draw_below(source, 300) : draw(source));
    }
}

static void race_cursors(struct source *source) {
    const struct ring_writer *writer = &world.seen->sender.ring;
    store_release(&world.segment->freed, load_relaxed(&writer->write));
    store_release(&world.segment->taken, load_relaxed(&writer->messages));
    if (chance(source, 1))
        flash(&world.segment->freed, draw_near(source, writer->write));
    if (chance(source, 1))
        flash(&world.segment->taken, draw_near(source, writer->messages));
    store_relaxed(&world.segment->receiver_asleep, (uint32_t)draw(source));
    if (chance(source, 1))
        flash(&world.segment->released, draw_near(source, world.segment->released));
}

static void *racer(void *argument) {
    struct source source = { .seed = (uint64_t)(uintptr_t)argument | 1 };
    while (!load_relaxed(&over)) {
        store_seq_cst(&inside, true); /* pairs with stop_racing */
        for (unsigned i = 0; i < 50 && load_seq_cst(&invited); i++) {
            race_record(&source);
            race_cursors(&source);
        }
        store_seq_cst(&inside, false);
        if (!load_relaxed(&invited))
            sched_yield();
    }
    return NULL;
}

static void stop_racing(void) {
    store_seq_cst(&invited, false);
    while (load_seq_cst(&inside))
        sched_yield();
}

/* One link: a message through the pool first, so that there is one to lie about. */
static void live(void) {
    static uint8_t bytes[5000];
    size_t size;
    world_begin(&world, "shm://?ring=4K&pool=256K&max_message=1M");
    CHECK(hawser_send(world.liar, bytes, sizeof bytes, HAWSER_NOW) == 0);
    CHECK(hawser_recv(world.honest, bytes, sizeof bytes, HAWSER_NOW, &size) == 0);
    store_seq_cst(&invited, true);
    for (unsigned i = 0; i < LIFE && !world.broken; i++, world.mutated++) {
        if (i % 8)
            act_receiving(&world);
        else
            act_sending(&world);
    }
    stop_racing();
    world_end(&world);
}

static int64_t now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

int main(int count, char **words) {
    int64_t seconds = getenv("HAWSER_TEST_LONG") ? LONG_SECONDS : QUICK_SECONDS;
    if (count == 3 && strcmp(words[1], "--seconds") == 0)
        seconds = atoi(words[2]);
#if defined(__SANITIZE_THREAD__)
    printf("not under this sanitizer: the races are what is tested\n");
    return 77;
#endif
    struct witness witness;
    pthread_t thread;
    uint64_t lives = 0;
    guard_maps();
    liar_prepare();
    witness_begin(&witness);
    witness_check(&witness);
    world.source.seed = 12345;
    unsigned descriptors = descriptors_open(), maps = maps_made();
    CHECK(pthread_create(&thread, NULL, racer, &world) == 0);
    for (int64_t until = now_s() + seconds + 1; now_s() < until; lives++) {
        live();
        witness_check(&witness);
    }
    store_relaxed(&over, true);
    pthread_join(thread, NULL);
    CHECK(descriptors_open() == descriptors && maps_made() == maps);
    printf("# %llu calls raced on %llu links, %u checks ended links\n", (unsigned long long)world.mutated, (unsigned long long)lives,
           sentences_told());
    tell_sentences(stdout);
    witness_end(&witness);
    printf("ok race\n");
    return 0;
}
