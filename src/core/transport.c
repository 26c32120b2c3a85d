/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Finds mechanisms by their scheme. */

#include "core/transport.h"

#include "core/address.h"

#include <string.h>

const struct transport *transport_find(const char *scheme, size_t length) {
    for (unsigned i = 0; transports[i]; i++)
        if (strlen(transports[i]->scheme) == length && strncmp(transports[i]->scheme, scheme, length) == 0)
            return transports[i];
    return NULL;
}

HAWSER_PUBLIC int hawser_capabilities(const char *text) {
    struct address address;
    int error = address_parse(text, &address);
    return error ? error : address.transport->capabilities;
}
