/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A copy in memory, within one process: what a message cannot be moved faster than by copying. */

#include "way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct copy {
    char *landing;
    size_t size;
};

static int memcpy_prepare(const struct way_setup *setup, void **ret_state) {
    struct copy *copy = calloc(1, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    copy->landing = malloc(setup->size + 1);
    if (!copy->landing) {
        free(copy);
        return -ENOMEM;
    }
    memset(copy->landing, 1, setup->size + 1); /* so that no page fault is measured */
    *ret_state = copy;
    return 0;
}

static int memcpy_join(void *state, enum way_side side) {
    (void)state, (void)side;
    return 0;
}

static int memcpy_send(void *state, const void *data, size_t size) {
    struct copy *copy = state;
    memcpy(copy->landing, data, size);
    copy->size = size;
    return 0;
}

/* Gives the bytes to be checked where they landed: a second copy is not what is measured. */
static int memcpy_recv_many(void *state, struct way_piece *ret_pieces, size_t n, size_t *ret_n) {
    struct copy *copy = state;
    if (n == 0)
        return -EINVAL;
    ret_pieces[0] = (struct way_piece){ .data = copy->landing, .size = copy->size };
    *ret_n = 1;
    return 0;
}

static uint64_t memcpy_calls(void *state) {
    (void)state;
    return 0;
}

static void memcpy_discard(void *state) {
    struct copy *copy = state;
    free(copy->landing);
    free(copy);
}

const struct way bare_memcpy = {
    .name = "memcpy",
    .can = WAY_CAN_SPIN | WAY_CAN_ONE_WAY | WAY_ALONE,
    .prepare = memcpy_prepare,
    .join = memcpy_join,
    .send = memcpy_send,
    .recv_many = memcpy_recv_many,
    .calls = memcpy_calls,
    .leave = memcpy_discard,
    .discard = memcpy_discard,
};
