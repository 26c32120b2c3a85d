/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Users and groups by name or number. */

#include "core/options.h"

/* "alice,1001" or "any", at most `most` ids. -EINVAL: *ret_bad is the offset of the entry that is wrong or unknown;
 * -ENOMEM and what the user database's files say, with a sentence. */
int ids_parse(const char *text, size_t length, bool groups, unsigned most, struct id_list *ret_list, size_t *ret_bad);

/* Whether the list holds the id. An id the kernel could not map is held by "any" alone. */
bool ids_hold(const struct id_list *list, uint32_t id, bool group);

/* Whether this id stands for those that this user namespace has no id for (overflowuid; a real "nobody" does not). */
bool id_unmapped(uint32_t id, bool group);
