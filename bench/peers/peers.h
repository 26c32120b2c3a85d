/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The same work in other libraries, measured by the same loop; which of them, the build found. */

#include "way.h"

extern const struct way *const peer_ways[]; /* ends with NULL; empty when built without peers */
