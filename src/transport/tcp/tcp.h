/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Between tcp.c, which makes links, and address.c, which knows hosts and ports. */

#include "core/address.h"

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

struct tcp_place {
    char host[HAWSER_ADDRESS_MAX]; /* a name or a number, without brackets; "" for any */
    char port[6];                  /* decimal digits */
};

/* HOST:PORT, [V6]:PORT, *:PORT or :PORT. -EINVAL with a sentence that points at the character. */
int tcp_parse(const struct address *address, bool listens, struct tcp_place *ret_place);

/* -EAGAIN: may be known later. freeaddrinfo() it. */
int tcp_resolve(const struct tcp_place *place, struct addrinfo **ret_list);

/* "192.0.2.1:4000", "[2001:db8::1]:4000"; a v4 address in v6's clothes as v4. */
void tcp_show(const struct sockaddr_storage *name, char *text, size_t capacity);
