/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What all links share: their peer, their limits, and how one ends when the peer breaks the protocol. */

#include "core/link.h"

#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BREAKING UINT32_MAX /* link->broken while its sentence is being written */

void link_init(struct link *link, const struct transport *transport, const struct options *options,
               enum link_role role) {
    memset(link, 0, sizeof *link);
    link->transport = transport;
    link->options = *options;
    link->role = role;
    link->max_message = options->max_message;
    peer_init(&link->peer);
}

void link_deinit(struct link *link) { peer_deinit(&link->peer); }

int link_break(struct link *link, const char *format, ...) {
    char sentence[sizeof link->sentence];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    uint32_t whole = 0;
    /* pairs with nothing: both halves may come here at once, and one writes */
    if (compare_exchange(&link->broken, &whole, BREAKING)) {
        memcpy(link->sentence, sentence, sizeof sentence);
        store_release(&link->broken, EPROTO); /* pairs with link_broken and acknowledged */
        link_news(link);
    }
    return error_set(-EPROTO, "the peer broke the protocol: %s", sentence);
}

int link_peer_gone(void) { return error_note(-EPIPE, "the peer is gone: nobody receives what is sent"); }

int link_broken(const struct link *link) {
    uint32_t broken = load_acquire(&link->broken); /* pairs with link_break: the sentence is whole */
    if (__builtin_expect(broken == 0, 1))
        return 0;
    if (broken == BREAKING)
        return error_note(-EPROTO, "the peer broke the protocol");
    return error_set(-EPROTO, "the peer broke the protocol: %s", link->sentence);
}
