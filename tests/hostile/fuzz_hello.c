/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A fuzzer writes the first packets that come over a link: a hello, or what it takes for one, with descriptors of its choice. */

#include "liar.h"

#include "core/channel.h"
#include "core/packet.h"
#include "core/rendezvous.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FDS 5

static void prepare(int *fds) {
    struct memory memory;
    guard_maps();
    CHECK(segment_create(&(struct segment_plan){ .ring_size = SHM_RING_MIN, .pool_quota = 1 << 20, .barrier = true }, &memory, &fds[0]) == 0);
    memory_unmap(&memory);
    fds[1] = sys_memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    fds[2] = sys_eventfd(0, EFD_CLOEXEC);
    CHECK(carrier_pair(&fds[3]) == 0);
}

/* Good but for what the input says otherwise. */
static void send_packet(int socket, struct source *source, const int *fds) {
    struct note note = { .type = NOTE_HELLO };
    struct hello hello = { .magic = HELLO_MAGIC, .version_least = HELLO_VERSION, .version_most = HELLO_VERSION,
                           .max_message = 1 << 20, .scheme = "shm", .word_size = 8, .offer_size = 8 };
    uint32_t offer[2] = { 0x6d687368u, SHM_VERSION };
    uint8_t bytes[sizeof hello + OFFER_DATA + 32] = { 0 };
    int chosen[OFFER_FDS] = { fds[0] };
    size_t size = sizeof hello + sizeof offer;
    unsigned n = 1;
    memcpy(bytes, &hello, sizeof hello);
    memcpy(bytes + sizeof hello, offer, sizeof offer);
    for (uint64_t changes = draw_below(source, 4); changes > 0; changes--)
        bytes[draw_below(source, sizeof bytes)] = (uint8_t)draw_below(source, 256);
    if (chance(source, 60))
        size = (size_t)draw_below(source, sizeof bytes);
    if (chance(source, 60))
        note.type = (uint32_t)draw_below(source, 256);
    if (chance(source, 60))
        for (n = 0; n < OFFER_FDS && chance(source, 128); n++)
            chosen[n] = fds[draw_below(source, FDS)];
    (void)packet_send(socket, &note, NULL, 0, bytes, size, chosen, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fds[FDS];
    if (fds[0] == 0)
        prepare(fds);
    struct source source = { .data = data, .left = size };
    hawser_channel *liar, *honest;
    CHECK(hawser_pair("shm://?ring=4K", NULL, &liar, &honest) == 0);
    for (unsigned i = 0; i < 4 && !source_ended(&source); i++) {
        uint8_t bytes[64];
        size_t got;
        send_packet(liar->link->peer.socket, &source, fds);
        int r = hawser_recv(honest, bytes, sizeof bytes, HAWSER_NOW, &got);
        CHECK(r == 0 || r == -EAGAIN || r == -EPROTO || r == -ESHUTDOWN || r == -EMSGSIZE || r == -ECONNRESET);
        CHECK(r != -EPROTO || hawser_explain()[0]);
        r = hawser_send(honest, bytes, sizeof bytes, HAWSER_NOW);
        CHECK(r == 0 || r == -EAGAIN || r == -EPROTO || r == -EPIPE);
    }
    hawser_close(honest);
    hawser_close(liar);
    return 0;
}
