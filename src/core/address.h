/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* mechanism://place?option=value&option=value, taken apart. Holds copies; nothing to free. */

#include <hawser/channel.h>

struct transport;

struct address {
    const struct transport *transport; /* NULL: of address_parse_as() */
    char text[HAWSER_ADDRESS_MAX];  /* as given */
    char place[HAWSER_ADDRESS_MAX]; /* between :// and ?; percent-encoding is not a thing here */
    unsigned query;                 /* offset in text of the query's first character; of the NUL if there is none */
};

/* -EINVAL with a sentence that shows the address and points at the offending character. Does not look at the place
 * (the mechanism does) nor at the query (options_resolve does). */
int address_parse(const char *text, struct address *ret_address);

/* The same for what is no channel. schemes: what it may be ("sem"), NULL at the end; *ret_scheme is which of them it is. */
int address_parse_as(const char *text, const char *const *schemes, struct address *ret_address, unsigned *ret_scheme);

/* -EINVAL, sentence: `address "shm:/x": expected "://" at character 4 (":/x")`. at: offset in address->text. */
int address_error(const struct address *address, unsigned at, const char *what);

/* "64K" (sizes: K, M, G) and "10ms" (ns, us, ms, s); exact, with overflow refused: -EINVAL without a sentence. */
int parse_size(const char *text, size_t length, uint64_t *ret_size);
int parse_time(const char *text, size_t length, int64_t *ret_ns);
