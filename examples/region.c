/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Shared memory under a guard: four processes add to two numbers that are always the same when somebody else looks; one of them is
 * killed half-way, and the next mends what it left. */

#include <hawser/hawser.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct tally {
    volatile unsigned long here, there;
};

static int add(hawser_region *region, int dies) {
    struct tally *tally = hawser_region_data(region);
    int got = hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_FOREVER);
    if (got < 0)
        return got;
    if (got == HAWSER_OWNER_DIED) {
        printf("somebody died half-way: %lu here, %lu there\n", tally->here, tally->there);
        fflush(stdout);
        tally->here = tally->there;
    }
    tally->here++;
    if (dies)
        raise(SIGKILL);
    tally->there++;
    return hawser_region_unlock(region);
}

int main(void) {
    hawser_region *region;
    if (hawser_region_open("region://", NULL, sizeof(struct tally), &region) < 0)
        return fprintf(stderr, "%s\n", hawser_explain()), 1;
    for (int child = 0; child < 4; child++)
        if (fork() == 0)
            _exit(add(region, child == 1) < 0);
    while (wait(NULL) > 0)
        ;
    int error = add(region, 0);
    const struct tally *tally = hawser_region_data(region);
    printf("%lu here, %lu there\n", tally->here, tally->there);
    error |= tally->here != 4 || tally->there != 4;
    hawser_region_close(region);
    return error != 0;
}
