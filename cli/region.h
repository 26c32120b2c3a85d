/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What hawser region was told, and what it does; each returns the exit code. */

#include <stdint.h>

struct region_words {
    const char *verb; /* "region create" */
    const char *name;
    const char *file; /* NULL: standard input, or none */
    uint64_t size, offset; /* size 0: not given */
    int64_t timeout;
    const char *share, *users, *groups;
};

int region_create(const struct region_words *words);
int region_list(const struct region_words *words);
int region_read(const struct region_words *words);
int region_write(const struct region_words *words);
int region_remove(const struct region_words *words);
