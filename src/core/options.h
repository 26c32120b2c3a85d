/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Options as the library uses them: checked, with their defaults filled in and names turned into ids. */

#include "core/address.h"

#include <hawser/options.h>
#include <stdbool.h>

#define IDS_MAX 32

struct id_list {
    bool any;
    unsigned n;
    uint32_t ids[IDS_MAX];
};

struct options {
    uint64_t max_message, read_ahead, ring, pool;
    uint64_t buffer; /* 0: the kernel's default */
    uint32_t depth;  /* 0: the mechanism's default */
    uint32_t packet; /* 0: the mechanism's default */
    int64_t linger_ns, hello_ns;
    uint32_t wait, threads, wire, framing;
    bool watch, stable, fence; /* fence: [barrier=fence] */
    struct id_list users, groups, peer;
    bool peer_given;
    int (*admit)(void *context, const struct hawser_peer *peer);
    void *admit_context;
};

/* Merges what the program gave (NULL: nothing) with the address's query, which wins. -EINVAL with a sentence
 * that names the option, or for the query points at the character. Unknown queries are refused. */
int options_resolve(const hawser_options *given, const struct address *address, struct options *ret_options);

/* An option that only the caller knows, of the query alone. read: 0, or -EINVAL: the value is not as expected. */
struct own_option {
    const char *name; /* NULL: the end */
    int (*read)(const char *text, size_t length, void *to);
    void *to;
    const char *expected; /* "expected a size" */
};

int own_option_size(const char *text, size_t length, void *to);   /* to: uint64_t; untouched where the option is not given */
int own_option_time(const char *text, size_t length, void *to);   /* to: int64_t, ns */
int own_option_switch(const char *text, size_t length, void *to); /* to: bool; "yes" or "no" */

int options_resolve_own(const hawser_options *given, const struct address *address, const struct own_option *own,
                        struct options *ret_options);
