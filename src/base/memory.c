/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static void *resize(void *old, size_t size) { return realloc(old, size); }

void *(*memory_resize_hook)(void *old, size_t size) = resize;

void *memory_resize(void *old, size_t size) { return memory_resize_hook(old, size > 0 ? size : 1); }

void *memory_new(size_t size) {
    void *fresh = memory_resize(NULL, size);
    return fresh ? memset(fresh, 0, size) : NULL;
}

void memory_free(void *old) { free(old); }
