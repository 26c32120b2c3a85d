/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Private memory. One door, so that a test can make the Nth allocation fail. The library allocates when
 * things are made and when a buffer must grow, never for each message. */

#include <stddef.h>

/* realloc with a size of at least 1; NULL when there is none. Tests put their own in its place. */
extern void *(*memory_resize_hook)(void *old, size_t size);

void *memory_new(size_t size);                 /* zeroed, or NULL */
void *memory_resize(void *old, size_t size);   /* new bytes undefined; on NULL old is intact */
void memory_free(void *old);                   /* takes NULL */
