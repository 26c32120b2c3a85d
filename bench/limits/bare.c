/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The table of bare ways. Those that share their name with a mechanism of hawser are measured beside it. */

#include "way.h"

#include <string.h>

const struct way *const bare_ways[] = {
    &bare_shm, &bare_pipe, &bare_fifo, &bare_unix, &bare_seqpacket, &bare_tcp,
    &bare_mq, &bare_sysv, &bare_futex, &bare_eventfd, &bare_cache, &bare_memcpy, NULL,
};

const struct way *bare_way_find(const char *name) {
    for (const struct way *const *way = bare_ways; *way; way++)
        if (strcmp((*way)->name, name) == 0)
            return *way;
    return NULL;
}
