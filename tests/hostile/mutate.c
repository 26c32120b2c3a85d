/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Random lies, by the million, to an honest process: at most the link to the liar ends, with -EPROTO and a sentence that names the
 * failed check; a second link of the same process does not notice; descriptors, maps and memory do not grow.
 *
 * usage: mutate [--seed N] [--messages N]. Counted is each message whose record, description, descriptors or memfd was mutated,
 * and each call made after what it goes by (a cursor, count, release, flag, note) was: one lie, then one call that heeds it. */

#include "liar.h"

#include <string.h>
#include <time.h>

#define QUICK UINT64_C(500000)
#define LONG UINT64_C(100000000)
#define LIFE 20000       /* lies after which a link that still lives is given up */
#define LIVES_CHECKED 200 /* links after which the process is looked at */
#define WITNESS 2000

static const char *const addresses[] = {
    "shm://?ring=4K&pool=256K&max_message=1M",
    "shm://?ring=256K&pool=256K&max_message=8K",
    "shm://?ring=4K&pool=64K&max_message=1M&stable=yes",
    "shm://?ring=4K&pool=256K&max_message=1M&barrier=fence",
};

struct holdings {
    unsigned descriptors, maps;
    uint64_t resident;
};

static struct holdings holdings_now(void) { return (struct holdings){ descriptors_open(), maps_made(), resident_bytes() }; }

static void live(struct world *world, struct witness *witness, const char *address) {
    world_begin(world, address);
    for (uint64_t i = 0; i < LIFE && !world->broken; i++) {
        lie_and_act(world);
        if (world->mutated % WITNESS == 0)
            witness_check(witness);
    }
    world_end(world);
}

/* Sanitizers keep freed memory for a while: there only descriptors and maps are counted. */
static void check_growth(struct holdings before, struct holdings now) {
    CHECK(now.descriptors == before.descriptors);
    CHECK(now.maps == before.maps);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(now.resident < before.resident + ((uint64_t)16 << 20));
#endif
}

static void run(struct world *world, uint64_t messages) {
    struct witness witness;
    struct holdings before = { 0 };
    uint64_t lives = 0;
    witness_begin(&witness);
    witness_check(&witness);
    for (; world->mutated < messages; lives++) {
        live(world, &witness, addresses[lives % COUNT(addresses)]);
        if (lives == LIVES_CHECKED)
            before = holdings_now();
        else if (lives > 0 && lives % LIVES_CHECKED == 0)
            check_growth(before, holdings_now());
    }
    witness_check(&witness);
    printf("# %llu mutated messages to %llu links, %llu messages beside them, %u checks ended links\n",
           (unsigned long long)world->mutated, (unsigned long long)lives, (unsigned long long)witness.messages, sentences_told());
    witness_end(&witness);
}

int main(int count, char **words) {
    uint64_t messages = getenv("HAWSER_TEST_LONG") ? LONG : QUICK;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct world world = { .source.seed = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec };
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(words[i], "--seed") == 0)
            world.source.seed = strtoull(words[i + 1], NULL, 10);
        else if (strcmp(words[i], "--messages") == 0)
            messages = strtoull(words[i + 1], NULL, 10);
    }
    printf("# seed %llu\n", (unsigned long long)world.source.seed);
    fflush(stdout);
    world.source.seed |= 1;
    guard_maps();
    liar_prepare();
    run(&world, messages);
    tell_sentences(stdout);
    CHECK(sentences_told() >= 20);
    printf("ok mutate\n");
    return 0;
}
