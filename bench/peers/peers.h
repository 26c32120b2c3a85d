/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The same work in other libraries, measured by the same loop. Each is a module of its own beside the bench in the
 * build tree, loaded only when it is measured: the command itself depends on none of them. Which of them exist,
 * the build found; the others are known by name, with what building them takes. */

#include "way.h"

#define PEER_WAYS hawser_peer_ways /* what a module exports: its ways, ends with NULL */
#define PEER_WAYS_NAME "hawser_peer_ways"

struct peer {
    const char *name;      /* of the way */
    const char *module;    /* of the file: peer_MODULE.so */
    const char *package;   /* Debian's, for building the module */
    const char *how;       /* what is measured, in a few words */
    bool remote;           /* through the network stack: no peer of shared memory */
    const struct way *way; /* NULL: not here, and why */
    char problem[256];
};

#define PEERS 6

/* All of them, PEERS in number; the first call loads the modules. */
const struct peer *peers_load(void);
const struct way *peer_find(const char *name); /* NULL when it is not here */
