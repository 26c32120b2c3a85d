/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Two ends of a socket meet. The listening end hears the other's header before it says its own, and speaks what it heard;
 * the connecting end tries native and, only when it has read a PAIR 0 header, connects again as PAIR 0. Nothing is read
 * beyond the hello, so the stream begins at its own first byte. Until then all is done with two small buffers: no byte of
 * an unwelcome guest costs memory. */

#include "core/wire.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/access.h"
#include "core/bytes.h"

#include <errno.h>
#include <string.h>

#define SPEAKS_PLAIN 1 /* a try's result: connect again, as PAIR 0 */

/* The fd and what is known of the other end become a link. On failure the fd stays the caller's. */
static int make_link(const struct wire *wire, const struct options *options, enum link_role role, int fd,
                     const struct wire_hello *hello, struct link **ret_link) {
    struct stream *stream = wire->create(options, role, hello ? FRAMING_NATIVE : wire->plain);
    if (!stream)
        return error_note(-ENOMEM, "no memory for a link");
    stream->read_fd = stream->write_fd = fd;
    stream->link.begun = true;
    stream->link.plain = !hello;
    if (hello && hello->max_message < stream->link.max_message)
        stream->link.max_message = hello->max_message;
    *ret_link = &stream->link;
    return 0;
}

/* A frame's header in place of or before the hello's payload: its size, or -EPROTO. */
static int check_frame(const uint8_t *head, uint8_t *ret_kind) {
    uint64_t word = bytes_get64(head), size = word << 8 >> 8;
    uint8_t kind = (uint8_t)(word >> 56);
    bool hello = kind == FRAME_HELLO && size >= WIRE_HELLO_LEAST && size <= WIRE_HELLO_MOST;
    bool refusal = kind == WIRE_REFUSE && size >= 8 && size <= 8 + WIRE_SENTENCE_MAX;
    if (!hello && !refusal)
        return error_set(-EPROTO, "its first frame is of kind %u and %llu bytes, no hello", kind, (unsigned long long)size);
    *ret_kind = kind;
    return (int)size;
}

/* ---- The listening end ---- */

/* Reads on until `size` bytes of the hello are there. 0, -EAGAIN, or an error. */
static int hear_until(const struct wire *wire, struct hawser_listener *listener, struct pending *pending, uint32_t size) {
    while (pending->got < size) {
        struct ucred who = { .pid = -1 };
        bool asks = wire->local && size > WIRE_HEAD;
        ssize_t got = wire_hear(pending->fd, pending->hello + pending->got, size - pending->got, asks ? &who : NULL);
        if (got < 0)
            return (int)got;
        pending->got += (uint32_t)got;
        if (!asks)
            continue;
        if (who.pid < 0)
            return error_note(-EPROTO, "a hello without credentials");
        pending->pid = who.pid;
        int r = who.uid == pending->uid ? 0 : access_admit(&listener->options, who.pid, who.uid, who.gid);
        if (r < 0)
            return r;
    }
    return 0;
}

static int say_native(const struct wire *wire, const struct options *options, int fd) {
    uint8_t bytes[WIRE_HEAD + WIRE_HELLO_FRAME];
    wire_head_put(bytes, WIRE_NATIVE);
    wire_hello_put(bytes + WIRE_HEAD, options->max_message);
    return wire_say(fd, bytes, sizeof bytes, wire->local);
}

static int say_head(int fd, uint16_t protocol) {
    uint8_t head[WIRE_HEAD];
    wire_head_put(head, protocol);
    return wire_say(fd, head, sizeof head, false);
}

/* The header is heard: answers. 0: now for the hello; SPEAKS_PLAIN: that was all; an error drops the connection. */
static int answer(const struct wire *wire, const struct options *options, struct pending *pending) {
    uint16_t heard;
    int r = wire_head_get(pending->hello, &heard);
    if (r < 0)
        return r;
    bool native = options->wire != HAWSER_WIRE_SP, plain = options->wire != HAWSER_WIRE_NATIVE;
    if (heard == WIRE_PAIR0 && plain) {
        r = say_head(pending->fd, WIRE_PAIR0);
        return r < 0 ? r : SPEAKS_PLAIN;
    }
    if (heard == WIRE_NATIVE && native) {
        r = wire->local ? wire_ask_credentials(pending->fd, true) : 0;
        return r < 0 ? r : say_native(wire, options, pending->fd);
    }
    say_head(pending->fd, plain ? WIRE_PAIR0 : WIRE_NATIVE); /* as SP has it: who reads it knows what we would have spoken */
    return error_set(-EPROTO, "who connects speaks SP protocol %u", heard);
}

static int welcome(const struct wire *wire, struct hawser_listener *listener, struct pending *pending,
                   const struct wire_hello *hello, struct link **ret_link) {
    if (hello && wire->local)
        wire_ask_credentials(pending->fd, false); /* they would slow every receive */
    int r = make_link(wire, &listener->options, LINK_LISTEN, pending->fd, hello, ret_link);
    if (r == 0 && wire->local)
        peer_know(&(*ret_link)->peer, pending->pid, pending->uid, pending->gid);
    return r;
}

int wire_greet(const struct wire *wire, struct hawser_listener *listener, struct pending *pending, struct link **ret_link) {
    struct wire_hello hello;
    uint8_t kind;
    int r;
    if (pending->got < WIRE_HEAD) {
        r = hear_until(wire, listener, pending, WIRE_HEAD);
        if (r == 0)
            r = answer(wire, &listener->options, pending);
        if (r != 0)
            return r == SPEAKS_PLAIN ? welcome(wire, listener, pending, NULL, ret_link) : r;
    }
    r = hear_until(wire, listener, pending, WIRE_HEAD + 8);
    if (r < 0)
        return r;
    int size = check_frame(pending->hello + WIRE_HEAD, &kind);
    if (size < 0 || kind != FRAME_HELLO)
        return -EPROTO;
    r = hear_until(wire, listener, pending, WIRE_HEAD + 8 + (uint32_t)size);
    if (r == 0)
        r = wire_hello_get(pending->hello + WIRE_HEAD + 8, (size_t)size, &hello);
    return r < 0 ? r : welcome(wire, listener, pending, &hello, ret_link);
}

void wire_refuse(int fd, int error) {
    uint8_t bytes[WIRE_HEAD + 16 + WIRE_SENTENCE_MAX];
    const char *sentence = error_sentence();
    size_t size = strnlen(sentence, WIRE_SENTENCE_MAX);
    wire_head_put(bytes, WIRE_NATIVE);
    bytes_put64(bytes + WIRE_HEAD, (uint64_t)WIRE_REFUSE << 56 | (8 + size));
    bytes_put64(bytes + WIRE_HEAD + 8, (uint64_t)-error);
    memcpy(bytes + WIRE_HEAD + 16, sentence, size);
    wire_say(fd, bytes, WIRE_HEAD + 16 + size, false); /* who does not hear it sees the hang-up */
}

/* ---- The connecting end ---- */

static bool past(int64_t deadline) {
    return deadline == DEADLINE_PAST || (deadline != DEADLINE_NEVER && clock_now() >= deadline);
}

/* Exactly size bytes. -EAGAIN: they did not come in time. */
static int await(int fd, uint8_t *bytes, size_t size, int64_t deadline, struct ucred *with) {
    for (size_t have = 0; have < size;) {
        ssize_t got = wire_hear(fd, bytes + have, size - have, with);
        if (got == -EPIPE)
            return error_note(-EPROTO, "who listens there hung up without a word: no hawser or SP listener, or one that refuses us");
        if (got >= 0) {
            have += (size_t)got;
            continue;
        }
        if (got != -EAGAIN)
            return error_set((int)got, "cannot receive the listener's hello: %s", error_text((int)got));
        if (past(deadline))
            return error_note(-EAGAIN, "who listens there did not welcome us in time");
        struct pollfd fds[2];
        struct sleep_set set = { .fds = fds };
        sleep_add(&set, fd, POLLIN);
        sleep_until(&set, waker_self(), deadline);
    }
    return 0;
}

/* -EAGAIN: the listener is short of something and may welcome us later. */
static int read_refusal(int fd, size_t size, int64_t deadline) {
    uint8_t payload[8 + WIRE_SENTENCE_MAX];
    char sentence[WIRE_SENTENCE_MAX + 1] = "";
    int r = await(fd, payload, size, deadline, NULL);
    if (r < 0)
        return r;
    for (size_t i = 8; i < size; i++)
        sentence[i - 8] = payload[i] < ' ' || payload[i] > '~' ? '?' : (char)payload[i];
    switch (bytes_get64(payload)) {
    case EACCES: return error_set(-EACCES, "permission denied: %s", sentence);
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return error_set(-EAGAIN, "listener turned us away: %s", sentence);
    default: return error_set(-EPROTO, "listener refused: %s", sentence);
    }
}

/* The listener speaks something else than we asked for. */
static int differ(const struct options *options, const struct dialled *dialled, uint16_t asked, uint16_t heard) {
    uint8_t head[8], kind = 0;
    if (asked == WIRE_NATIVE && heard == WIRE_PAIR0 && options->wire != HAWSER_WIRE_NATIVE)
        return SPEAKS_PLAIN;
    if (heard == WIRE_NATIVE && await(dialled->fd, head, sizeof head, DEADLINE_PAST, NULL) == 0) {
        int size = check_frame(head, &kind);
        if (size > 0 && kind == WIRE_REFUSE)
            return read_refusal(dialled->fd, (size_t)size, DEADLINE_PAST);
    }
    if (heard == WIRE_PAIR0)
        return error_note(-EPROTO, "listener speaks plain SP only, and wire=native forbids it");
    if (heard == WIRE_NATIVE)
        return error_note(-EPROTO, "listener speaks hawser's own wire only, and wire=sp forbids it");
    return error_set(-EPROTO, "listener speaks SP protocol %u, not PAIR version 0 (%u)", heard, WIRE_PAIR0);
}

static int hear_hello(const struct wire *wire, const struct dialled *dialled, int64_t deadline, struct wire_hello *ret_hello,
                      struct ucred *ret_who) {
    uint8_t bytes[WIRE_HELLO_MOST], kind;
    struct ucred *with = wire->local ? ret_who : NULL;
    int r = await(dialled->fd, bytes, 8, deadline, with);
    int size = r < 0 ? r : check_frame(bytes, &kind);
    if (size < 0)
        return size;
    if (kind == WIRE_REFUSE)
        return read_refusal(dialled->fd, (size_t)size, deadline);
    r = await(dialled->fd, bytes, (size_t)size, deadline, with);
    if (r < 0)
        return r;
    if (with && with->pid < 0)
        return error_note(-EPROTO, "the listener's hello came without credentials");
    return wire_hello_get(bytes, (size_t)size, ret_hello);
}

static int say_hello(const struct wire *wire, const struct options *options, int fd) {
    uint8_t frame[WIRE_HELLO_FRAME];
    wire_hello_put(frame, options->max_message);
    return wire_say(fd, frame, sizeof frame, wire->local);
}

/* Both headers, and both hellos if it is native. 0, SPEAKS_PLAIN, -EAGAIN or an error. */
static int exchange(const struct wire *wire, const struct options *options, const struct dialled *dialled, uint16_t protocol,
                    int64_t deadline, struct wire_hello *ret_hello, struct ucred *ret_who) {
    uint8_t head[WIRE_HEAD];
    uint16_t heard;
    bool native = protocol == WIRE_NATIVE;
    int r = native && wire->local ? wire_ask_credentials(dialled->fd, true) : 0;
    if (r == 0)
        r = say_head(dialled->fd, protocol);
    /* One that refuses may do so, and hang up, before our header is out: its reason is on the socket all the same. */
    if (r == 0 || r == -EPIPE)
        r = await(dialled->fd, head, sizeof head, deadline, NULL);
    if (r == 0)
        r = wire_head_get(head, &heard);
    if (r == 0 && heard != protocol)
        r = differ(options, dialled, protocol, heard);
    if (r != 0 || !native)
        return r;
    r = hear_hello(wire, dialled, deadline, ret_hello, ret_who);
    if (r == 0)
        r = say_hello(wire, options, dialled->fd);
    if (r == 0 && wire->local)
        r = wire_ask_credentials(dialled->fd, false);
    return r;
}

static int attempt(const struct wire *wire, const struct address *address, const struct options *options, uint16_t protocol,
                   int64_t deadline, struct link **ret_link) {
    struct dialled dialled = { .fd = -1 };
    struct wire_hello hello;
    struct ucred who = { .pid = -1 };
    int r = wire->dial(address, options, deadline, &dialled);
    if (r < 0)
        return r;
    cleanup_fd fd = dialled.fd;
    r = exchange(wire, options, &dialled, protocol, deadline, &hello, &who);
    if (r == 0)
        r = make_link(wire, options, LINK_CONNECT, fd, protocol == WIRE_NATIVE ? &hello : NULL, ret_link);
    if (r != 0)
        return r;
    fd = -1;
    memcpy((*ret_link)->address, dialled.remote, sizeof dialled.remote);
    if (wire->local)
        peer_know(&(*ret_link)->peer, who.pid, dialled.uid, dialled.gid);
    return 0;
}

int wire_connect(const struct wire *wire, const struct address *address, const struct options *options, int64_t deadline,
                 struct link **ret_link) {
    uint16_t protocol = options->wire == HAWSER_WIRE_SP ? WIRE_PAIR0 : WIRE_NATIVE;
    int64_t nap_ns = NAME_NAP_NS;
    for (;;) {
        int r = attempt(wire, address, options, protocol, deadline, ret_link);
        if (r == SPEAKS_PLAIN) {
            protocol = WIRE_PAIR0;
            continue;
        }
        if (r != -EAGAIN)
            return r;
        if (past(deadline))
            return deadline == DEADLINE_PAST ? r : error_within(-ETIMEDOUT, "not in time");
        name_nap(&nap_ns, deadline);
    }
}
