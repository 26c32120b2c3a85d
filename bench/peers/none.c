/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The table of peers of a build without any. */

#include "peers.h"

const struct way *const peer_ways[] = { NULL };
