/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The bytes of headers and hellos, and how they and all that follows cross a socket. */

#include "core/wire.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "core/bytes.h"

#include <errno.h>
#include <string.h>

/* ---- Headers and hellos ---- */

void wire_head_put(uint8_t *where, uint16_t protocol) {
    const uint8_t head[WIRE_HEAD] = { 0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0 };
    memcpy(where, head, sizeof head);
}

int wire_head_get(const uint8_t *head, uint16_t *ret_protocol) {
    if (memcmp(head, "\0SP", 3) != 0)
        return error_set(-EPROTO, "it does not speak SP: its first bytes are %02x %02x %02x", head[0], head[1], head[2]);
    if (head[3] != 0)
        return error_set(-EPROTO, "it speaks SP of version %u, not 0", head[3]);
    if (head[6] != 0 || head[7] != 0)
        return error_set(-EPROTO, "the reserved bytes of its SP header are %02x %02x, not zero", head[6], head[7]);
    *ret_protocol = (uint16_t)(head[4] << 8 | head[5]);
    return 0;
}

void wire_hello_put(uint8_t *frame, uint64_t max_message) {
    bytes_put64(frame, (uint64_t)FRAME_HELLO << 56 | WIRE_HELLO_LEAST);
    bytes_put64(frame + 8, (uint64_t)WIRE_VERSION << 48 | (uint64_t)WIRE_VERSION << 32); /* least, most, 32 bits of zero */
    bytes_put64(frame + 16, 0);                                                          /* features */
    bytes_put64(frame + 24, max_message);
}

int wire_hello_get(const uint8_t *payload, size_t size, struct wire_hello *ret_hello) {
    if (size < WIRE_HELLO_LEAST || size > WIRE_HELLO_MOST)
        return error_set(-EPROTO, "its hello has %zu bytes", size);
    uint64_t versions = bytes_get64(payload), most = bytes_get64(payload + 16);
    unsigned version_least = (unsigned)(versions >> 48), version_most = (unsigned)(versions >> 32) & 0xffff;
    if (version_least > WIRE_VERSION || version_most < WIRE_VERSION)
        return error_set(-EPROTO, "it speaks versions %u to %u of the wire, this library %u", version_least, version_most,
                         WIRE_VERSION);
    if (most == 0)
        return error_set(-EPROTO, "its hello says that it accepts messages of 0 bytes");
    *ret_hello = (struct wire_hello){ .features = bytes_get64(payload + 8), .max_message = most };
    return 0;
}

int wire_hello_seen(struct stream *stream, const uint8_t *payload, size_t size) {
    struct wire_hello hello = { 0 };
    if (wire_hello_get(payload, size, &hello) < 0)
        return link_break(&stream->link, "%s", error_sentence());
    if (hello.max_message < load_relaxed(&stream->link.max_message))
        store_relaxed(&stream->link.max_message, hello.max_message);
    link_news(&stream->link);
    return 0;
}

int wire_begin(const struct wire *wire, struct link *link) {
    uint8_t frame[WIRE_HELLO_FRAME];
    wire_hello_put(frame, link->options.max_message);
    int r = wire_say(stream_of(link)->write_fd, frame, sizeof frame, wire->local);
    return r == -EPIPE || r == -ECONNRESET ? 0 : r; /* the other end is gone already: the first use will tell */
}

/* ---- Travel ---- */

int wire_pack(struct link *link, struct offer *ret_offer) {
    struct stream *stream = stream_of(link);
    *ret_offer = (struct offer){ .n_fds = 1 };
    ret_offer->fds[0] = steal_fd(&stream->read_fd);
    stream->write_fd = -1;
    return 0;
}

/* A connected stream socket? */
static bool is_connected(int fd, int family, int other_family) {
    int type = 0, domain = 0;
    struct sockaddr_storage name;
    socklen_t length = sizeof type, domain_length = sizeof domain, name_length = sizeof name;
    return sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) >= 0 && type == SOCK_STREAM &&
           sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length) >= 0 &&
           (domain == family || domain == other_family) &&
           sys_getpeername(fd, (struct sockaddr *)&name, &name_length) >= 0;
}

int wire_check_offer(const struct offer *offer, int family, int other_family) {
    if (offer->n_fds != 1)
        return error_set(-EPROTO, "the exported end has %u descriptors, not 1", offer->n_fds);
    int flags = sys_fcntl(offer->fds[0], F_GETFL, 0);
    if (flags < 0 || !is_connected(offer->fds[0], family, other_family))
        return error_note(-EPROTO, "the exported end is no connected socket of its mechanism");
    int r = sys_fcntl(offer->fds[0], F_SETFL, flags | O_NONBLOCK);
    return r < 0 ? error_set(r, "cannot make the socket non-blocking: %s", error_text(r)) : 0;
}

/* ---- Bytes ---- */

ssize_t wire_read_result(ssize_t result) {
    switch (result) {
    case -EPIPE:
    case -ECONNABORTED:
    case -ECONNREFUSED:
    case -ETIMEDOUT: /* keepalive found nobody */
    case -EHOSTUNREACH:
    case -EHOSTDOWN:
    case -ENETUNREACH:
    case -ENETDOWN:
    case -ENETRESET:
    case -ENOTCONN: return -ECONNRESET;
    default: return result;
    }
}

ssize_t wire_write_result(ssize_t result) {
    result = wire_read_result(result);
    return result == -ECONNRESET ? -EPIPE : result;
}

ssize_t wire_read(struct stream *stream, const struct iovec *vector, int n) {
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = (__typeof__(message.msg_iovlen))n };
    ssize_t got;
    do
        got = n == 1 ? sys_recv(stream->read_fd, vector->iov_base, vector->iov_len, MSG_DONTWAIT)
                     : sys_recvmsg(stream->read_fd, &message, MSG_DONTWAIT);
    while (got == -EINTR);
    return wire_read_result(got);
}

ssize_t wire_write(struct stream *stream, const struct iovec *vector, int n) {
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = (__typeof__(message.msg_iovlen))n };
    ssize_t put;
    do
        put = n == 1 ? sys_send(stream->write_fd, vector->iov_base, vector->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
                     : sys_sendmsg(stream->write_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put == -EINTR);
    return wire_write_result(put);
}

/* ---- Credentials ---- */

int wire_ask_credentials(int fd, bool wanted) {
    int on = wanted;
    int r = sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    return r < 0 ? error_set(r, "cannot ask for credentials: %s", error_text(r)) : 0;
}

struct ucred wire_credentials(const struct msghdr *message) {
    struct ucred credentials = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = sys_next_control(message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS &&
            header->cmsg_len == CMSG_LEN(sizeof credentials))
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
    return credentials;
}

static void put_credentials(struct msghdr *message, union wire_control *control) {
    struct ucred credentials = { .pid = getpid(), .uid = geteuid(), .gid = getegid() };
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(sizeof credentials);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof credentials);
    memcpy(CMSG_DATA(header), &credentials, sizeof credentials);
}

int wire_say(int fd, const void *bytes, size_t size, bool credentials) {
    struct iovec vector = { (void *)(uintptr_t)bytes, size };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    union wire_control control = { 0 };
    if (credentials)
        put_credentials(&message, &control);
    ssize_t put;
    do
        put = sys_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put == -EINTR);
    put = wire_write_result(put);
    if (put >= 0 && (size_t)put < size)
        put = -ENOBUFS;
    return put >= 0 ? 0 : error_set((int)put, "cannot send the hello: %s", error_text((int)put));
}

ssize_t wire_hear(int fd, void *bytes, size_t size, struct ucred *with) {
    struct iovec vector = { bytes, size };
    union wire_control control;
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    if (with) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(struct ucred)); /* no room for descriptors: the kernel drops them */
    }
    ssize_t got;
    do
        got = sys_recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got == -EINTR);
    got = wire_read_result(got);
    if (with && got > 0)
        *with = wire_credentials(&message);
    return got == 0 || got == -ECONNRESET ? -EPIPE : got;
}
