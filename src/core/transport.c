/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Finds mechanisms by their scheme; what all of them answer alike. */

#include "core/transport.h"

#include "base/error.h"
#include "core/address.h"

#include <errno.h>
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

int received_fits(uint64_t size, unsigned n_fds, size_t capacity, struct received_descriptors *fds, size_t *ret_size) {
    bool fits = size <= capacity;
    if (fits && (!fds || n_fds <= fds->capacity))
        return 0;
    *ret_size = (size_t)size;
    if (fds)
        fds->n = n_fds;
    return fits ? error_set(-EMSGSIZE, "the message carries %u descriptors, room is for %zu", n_fds, fds->capacity)
                : error_set(-EMSGSIZE, "the message has %llu bytes, the buffer %zu", (unsigned long long)size, capacity);
}
