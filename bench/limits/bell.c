/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See bell.h. The mapping belongs to the supervisor and, after the fork, to each side. */

#include "bell.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int bell_prepare(const struct way_setup *setup, void **ret_state) {
    (void)setup;
    struct bell *bell = calloc(1, sizeof *bell);
    if (!bell)
        return -ENOMEM;
    bell->lines = mmap(NULL, 2 * sizeof *bell->lines, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bell->lines == MAP_FAILED) {
        free(bell);
        return -ENOMEM;
    }
    *ret_state = bell;
    return 0;
}

int bell_join(void *state, enum way_side side) {
    struct bell *bell = state;
    bell->mine = &bell->lines[side];
    bell->theirs = &bell->lines[!side];
    return 0;
}

uint64_t bell_calls(void *state) { return ((struct bell *)state)->calls; }

void bell_leave(void *state) {
    struct bell *bell = state;
    munmap(bell->lines, 2 * sizeof *bell->lines);
    free(bell);
}
