/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Hosts and ports: taken apart, looked up, shown. */

#include "transport/tcp/tcp.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static int parse_port(const struct address *address, unsigned at, const char *text, bool listens, struct tcp_place *place) {
    unsigned long port = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || text[n])
        return address_error(address, at + (unsigned)n, "expected a port number");
    for (size_t i = 0; i < n; i++) {
        port = port * 10 + (unsigned long)(text[i] - '0');
        if (port > 65535)
            return address_error(address, at + (unsigned)i, "expected a port of at most 65535");
    }
    if (port == 0 && !listens)
        return address_error(address, at, "port 0 is for listeners; expected the port of one");
    snprintf(place->port, sizeof place->port, "%lu", port);
    return 0;
}

int tcp_parse(const struct address *address, bool listens, struct tcp_place *ret_place) {
    const char *text = address->place;
    unsigned at = (unsigned)(strlen("tcp") + strlen("://"));
    const char *colon = strrchr(text, ':'), *host = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    if (!colon)
        return address_error(address, at + (unsigned)strlen(text), "expected HOST:PORT");
    if (text[0] == '[') {
        if (length < 2 || text[length - 1] != ']')
            return address_error(address, at + (unsigned)length, "expected ] and a port");
        host++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return address_error(address, at, "expected brackets around an IPv6 address");
    }
    if (length == 1 && host[0] == '*')
        length = 0;
    if (length == 0 && !listens)
        return address_error(address, at, "expected a host to connect to");
    memset(ret_place, 0, sizeof *ret_place);
    memcpy(ret_place->host, host, length);
    return parse_port(address, at + (unsigned)(colon + 1 - text), colon + 1, listens, ret_place);
}

int tcp_resolve(const struct tcp_place *place, struct addrinfo **ret_list) {
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE };
    int r = getaddrinfo(place->host[0] ? place->host : NULL, place->port, &hints, ret_list);
    switch (r) {
    case 0: return 0;
    case EAI_MEMORY: return error_note(-ENOMEM, "no memory to look the host up");
    case EAI_AGAIN: return error_set(-EAGAIN, "the host \"%s\" cannot be looked up now", place->host);
    default: return error_set(-EHOSTUNREACH, "the host \"%s\" was not found: %s", place->host, gai_strerror(r));
    }
}

void tcp_show(const struct sockaddr_storage *name, char *text, size_t capacity) {
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    memcpy(&v6, name, sizeof v6);
    memcpy(&v4, name, sizeof v4);
    if (name->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
        snprintf(text, capacity, "[%s]:%u", host, ntohs(v6.sin6_port));
        return;
    }
    bool mapped = name->ss_family == AF_INET6;
    const void *bytes = mapped ? (const void *)&v6.sin6_addr.s6_addr[12] : (const void *)&v4.sin_addr;
    inet_ntop(AF_INET, bytes, host, sizeof host);
    snprintf(text, capacity, "%s:%u", host, ntohs(mapped ? v6.sin6_port : v4.sin_port));
}
