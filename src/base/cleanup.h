/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Locals that clean up after themselves. On success the local is nulled (steal) and its owner changes. */

#include "base/memory.h"
#include "base/sys.h"

static inline void cleanup_close(int *fd) {
    if (*fd >= 0)
        sys_close(*fd);
}

static inline void cleanup_free(void *pointer) { memory_free(*(void **)pointer); }

#define cleanup_fd __attribute__((cleanup(cleanup_close))) int
#define cleanup_memory __attribute__((cleanup(cleanup_free)))

static inline int steal_fd(int *fd) {
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#define steal_pointer(P)              \
    (__extension__({                  \
        __typeof__(*(P)) stolen_ = *(P); \
        *(P) = NULL;                  \
        stolen_;                      \
    }))
