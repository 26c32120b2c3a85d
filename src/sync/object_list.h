/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Looks at objects that are not opened, without a trace; and removes what the dead left. */

#include <stdbool.h>
#include <stdint.h>

struct object_summary {
    uint32_t tag; /* enum object_tag; 0: a temporary name's, which is no object yet */
    uint32_t version, members;
    bool permanent;
    uint64_t size, bytes;
    uint64_t first_parameter;
};

/* Is there an object at this path, and who has it? -ENOENT: there is none. */
int object_summarize(const char *path, bool temporary, struct object_summary *ret_summary);

/* Removes it if nobody has it. 1: it went; 0: not. */
int object_remove_orphan(const char *path, bool temporary);
