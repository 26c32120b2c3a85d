/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the tests of shm share: two ends in one process, and bytes that can be checked. */

#include "transport/shm/shm.h"

#include "base/error.h"
#include "base/process.h"
#include "core/channel.h"

#include <hawser/hawser.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND ((int64_t)1000000000)
#define SMALL "shm://?ring=4K&pool=256K&max_message=4M"

struct ends {
    hawser_channel *a, *b;
};

static inline struct ends pair_of(const char *address) {
    struct ends ends;
    if (hawser_pair(address, NULL, &ends.a, &ends.b) != 0)
        fail_msg("%s", hawser_explain());
    return ends;
}

static inline void ends_close(struct ends *ends) {
    ends->a = hawser_close(ends->a);
    ends->b = hawser_close(ends->b);
}

#define ok(CALL)                                               \
    do {                                                       \
        int ok_ = (CALL);                                      \
        if (ok_ != 0)                                          \
            fail_msg("%s: %d: %s", #CALL, ok_, hawser_explain()); \
    } while (0)

static inline uint8_t *pattern(size_t size, unsigned seed) {
    uint8_t *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) + seed);
    return bytes;
}

static inline bool matches(const void *data, size_t size, unsigned seed) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (uint8_t)(i * 31 + (i >> 8) + seed))
            return false;
    return true;
}

static inline unsigned open_descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += sys_fcntl(fd, F_GETFD, 0) >= 0;
    return n;
}

/* Each end has heard the other's hello. ret_link: a's. */
static inline struct ends met_pair_of(const char *address, struct shm_link **ret_link) {
    struct ends ends = pair_of(address);
    char byte;
    size_t size;
    ok(hawser_send(ends.a, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends.b, &byte, 1, HAWSER_NOW, &size));
    ok(hawser_send(ends.b, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends.a, &byte, 1, HAWSER_NOW, &size));
    *ret_link = shm_of(ends.a->link);
    return ends;
}

static inline struct ends met_pair(struct shm_link **ret_link) { return met_pair_of(SMALL, ret_link); }
