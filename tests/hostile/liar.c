/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The liar's lies: records, cursors, flags and releases in its own segment; packets beside the ring; notes on the rendezvous
 * socket. Most are such as keep the link alive, so that the deeper states are reached. */

#include "liar.h"

#include "base/control.h"
#include "base/sys.h"

#include <string.h>

#define POOL_BYTES 65536u
#define OWN_BYTES 4096u
#define PALETTE 12
#define LARGER_BYTES 131072u

/* The first three are what honest records bring; the others are what they must not. */
static int palette[PALETTE];

/* A larger ring, which every link to the liar may be told to go on in. */
static struct memory larger;
static int larger_fd;

static int file_of(uint64_t size, bool written, int seals) {
    static const char zeroes[POOL_BYTES];
    int fd = sys_memfd_create("liar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    if (written)
        CHECK(sys_write(fd, zeroes, size) == (ssize_t)size);
    else
        CHECK(sys_ftruncate(fd, (off_t)size) == 0);
    if (seals)
        CHECK(sys_fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

void liar_prepare(void) {
    int pipes[2], sockets[2];
    CHECK(sys_pipe2(pipes, O_CLOEXEC) == 0);
    CHECK(sys_socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    int all[PALETTE] = {
        file_of(POOL_BYTES, true, MEMORY_SEALS),
        file_of(OWN_BYTES, true, MEMORY_SEALS),
        file_of(OWN_BYTES, true, MEMORY_SEALS | F_SEAL_WRITE),
        file_of(POOL_BYTES, true, 0),
        file_of(POOL_BYTES, false, MEMORY_SEALS),
        file_of(OWN_BYTES, true, F_SEAL_WRITE),
        file_of(POOL_BYTES - 1, true, MEMORY_SEALS),
        pipes[0],
        sockets[0],
        sys_eventfd(0, EFD_CLOEXEC),
        sys_openat(AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC, 0),
        sys_openat(AT_FDCWD, "/", O_RDONLY | O_CLOEXEC, 0),
    };
    memcpy(palette, all, sizeof palette);
    sys_close(pipes[1]);
    sys_close(sockets[1]);
    CHECK(memory_create("liar", LARGER_BYTES, &larger, &larger_fd) == 0);
}

/* ---- Beside the ring ---- */

static void send_packet(int socket, const void *data, size_t size, const int *fds, unsigned n) {
    union {
        struct cmsghdr header;
        char bytes[CONTROL_FDS_SPACE(40)];
    } control = { 0 };
    struct iovec vector = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    if (n > 0) {
        message.msg_control = &control;
        control_put_fds(&message, fds, n);
    }
    (void)sys_sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* For the record that is placed next. */
static void carry(struct world *world, uint32_t count, const int *fds, unsigned n) {
    world->carried_at = world->seen->receiver.ring.read;
    send_packet(world->own->carrier, &count, sizeof count, fds, n);
}

void lie_packet(struct world *world) {
    struct source *source = &world->source;
    int fds[40];
    unsigned n = chance(source, 200) ? (unsigned)draw_below(source, 18) : (unsigned)draw_below(source, 40);
    for (unsigned i = 0; i < n; i++)
        fds[i] = palette[draw_below(source, PALETTE)];
    uint8_t bytes[64] = { 0 };
    uint32_t count = chance(source, 200) ? n : (uint32_t)draw_near(source, n);
    memcpy(bytes, &count, sizeof count);
    size_t size = chance(source, 200) ? sizeof count : (size_t)draw_below(source, sizeof bytes);
    send_packet(world->own->carrier, bytes, size, fds, n);
}

/* Doorbells mostly. */
void lie_note(struct world *world) {
    struct source *source = &world->source;
    uint8_t bytes[600] = { 0 };
    struct note note = { .type = NOTE_RING };
    size_t size = sizeof note;
    unsigned n = 0;
    if (chance(source, 40))
        note = (struct note){ .type = NOTE_ACK, .value = draw_near(source, 3) };
    if (chance(source, 4))
        note.type = (uint32_t)draw_near(source, NOTE_OWN);
    if (chance(source, 2))
        size = (size_t)draw_below(source, sizeof bytes);
    if (chance(source, 20))
        n = (unsigned)draw_below(source, 17);
    memcpy(bytes, &note, sizeof note);
    send_packet(world->own->link.peer.socket, bytes, size, palette, n > PALETTE ? PALETTE : n);
}

/* ---- In the ring ---- */

static uint8_t *ring_of(const struct world *world) {
    return world->seen->receiver.larger.size == LARGER_BYTES ? larger.base : segment_ring(&world->own->own);
}

/* A record where the honest end reads next; what does not fit is cut off. The word after it says "nothing yet". */
static void place(struct world *world, uint64_t word, const void *body, size_t size) {
    const struct ring_reader *reader = &world->seen->receiver.ring;
    uint8_t *ring = ring_of(world);
    uint64_t offset = reader->read & reader->mask, after = offset + 8 + ring_padded(size);
    if (after + 8 > reader->size) {
        store_relaxed(ring_word(ring, offset), (uint64_t)SHM_SKIP << SHM_KIND_SHIFT);
        offset = 0;
        after = 8 + ring_padded(size);
    }
    if (size > reader->size - 16)
        size = 0;
    memcpy(ring + offset + 8, body, size);
    if (after + 8 <= reader->size)
        store_relaxed(ring_word(ring, after), 0);
    store_release(ring_word(ring, offset), word);
}

static uint64_t word_of(uint32_t kind, uint64_t size) { return (uint64_t)kind << SHM_KIND_SHIFT | (size & SHM_SIZE_MASK); }

/* Its bytes are those of laps gone by. */
static void lie_data(struct world *world) {
    const struct ring_reader *reader = &world->seen->receiver.ring;
    uint8_t *ring = ring_of(world);
    uint64_t offset = reader->read & reader->mask, rest = reader->size - offset - 8;
    uint64_t size = draw_below(&world->source, 300);
    if (draw_below(&world->source, 1000) == 0) { /* longer than there is room, by a little mostly */
        static const uint64_t most[] = { 64, 64, 8192, 65536 };
        size = draw_near(&world->source, rest);
        if (chance(&world->source, 200))
            size = draw_below(&world->source, most[draw_below(&world->source, COUNT(most))]) + (chance(&world->source, 128) ? rest + 1 : 0);
        store_release(ring_word(ring, offset), word_of(SHM_DATA, size));
        return;
    }
    if (size > rest) {
        store_relaxed(ring_word(ring, offset), word_of(SHM_SKIP, 0));
        offset = 0;
    }
    store_relaxed(ring_word(ring, (offset + 8 + ring_padded(size)) & reader->mask), 0);
    store_release(ring_word(ring, offset), word_of(SHM_DATA, size));
}

/* Are there pool memfds to speak of? */
static void join_pool(struct world *world) {
    unsigned n = world->seen->receiver.pool.n_chunks;
    struct shm_chunk chunk = { .size = n == 0 ? POOL_BYTES : OWN_BYTES, .index = n };
    int fd = palette[n == 0 ? 0 : 1];
    if (chance(&world->source, 6))
        fd = palette[draw_below(&world->source, PALETTE)];
    if (chance(&world->source, 10))
        chunk.size = draw_near(&world->source, chunk.size);
    if (chance(&world->source, 10))
        chunk.index = (uint32_t)draw_near(&world->source, n);
    size_t size = chance(&world->source, 10) ? (size_t)draw_below(&world->source, sizeof chunk) : sizeof chunk;
    carry(world, 1, &fd, 1);
    place(world, word_of(SHM_CHUNK, size), &chunk, sizeof chunk);
}

static void join_larger(struct world *world) {
    struct shm_larger body = { .size = LARGER_BYTES };
    int fd = chance(&world->source, 10) ? palette[draw_below(&world->source, PALETTE)] : larger_fd;
    if (chance(&world->source, 10))
        body.size = draw_near(&world->source, body.size);
    size_t size = chance(&world->source, 10) ? (size_t)draw_below(&world->source, sizeof body) : sizeof body;
    memset(larger.base, 0, larger.size);
    carry(world, 1, &fd, 1);
    place(world, word_of(SHM_RING, size), &body, sizeof body);
}

/* A described message, of which one field may lie. */
static void lie_descriptor(struct world *world, uint32_t kind) {
    struct source *source = &world->source;
    const struct pool_reader *pool = &world->seen->receiver.pool;
    if (kind == SHM_POOL && pool->n_chunks == 0 && chance(source, 250)) {
        join_pool(world);
        return;
    }
    struct shm_descriptor descriptor = { .size = OWN_BYTES };
    size_t size = sizeof descriptor;
    if (kind == SHM_POOL) {
        descriptor.slot = (uint16_t)draw_below(source, SHM_SLOTS);
        descriptor.chunk = pool->n_chunks > 0 ? (uint32_t)draw_below(source, pool->n_chunks) : 0;
        uint64_t room = pool->n_chunks > 0 ? pool->chunks[descriptor.chunk].size : 4096;
        descriptor.offset = draw_below(source, room / 64) * 64;
        descriptor.size = draw_below(source, room - descriptor.offset + 1);
    }
    switch (draw_below(source, 600)) {
    case 0: descriptor.size = draw_near(source, descriptor.size); break;
    case 1: descriptor.offset = draw_near(source, descriptor.offset); break;
    case 2: descriptor.chunk = (uint32_t)draw_near(source, descriptor.chunk); break;
    case 3: descriptor.slot = (uint16_t)draw_near(source, SHM_SLOTS); break;
    case 4: descriptor.fds = (uint16_t)draw_near(source, SHM_FDS_MAX); break;
    case 5: size = (size_t)draw_below(source, sizeof descriptor + 8); break;
    case 6: descriptor.size = (uint64_t)0 - descriptor.offset; break;
    default: break;
    }
    uint64_t size_said = size;
    if (kind == SHM_OWN || chance(source, 10)) {
        unsigned n = (unsigned)draw_below(source, 4), own = kind == SHM_OWN;
        int fds[5] = { palette[chance(source, 230) ? 2 : draw_below(source, PALETTE)] };
        for (unsigned i = 0; i < n; i++)
            fds[own + i] = palette[draw_below(source, PALETTE)];
        descriptor.fds = chance(source, 230) ? (uint16_t)n : descriptor.fds;
        if (own + n > 0)
            carry(world, chance(source, 250) ? own + n : (uint32_t)draw(source), fds, own + n);
    }
    place(world, word_of(kind, size_said), &descriptor, sizeof descriptor);
}

static void lie_inline_fds(struct world *world) {
    struct source *source = &world->source;
    struct {
        struct shm_fds_prefix prefix;
        uint8_t bytes[64];
    } body = { 0 };
    unsigned n = 1 + (unsigned)draw_below(source, 3);
    size_t size = sizeof body.prefix + (size_t)draw_below(source, sizeof body.bytes);
    body.prefix.count = chance(source, 253) ? n : (uint32_t)draw_near(source, SHM_FDS_MAX);
    if (chance(source, 2))
        size = (size_t)draw_below(source, sizeof body.prefix);
    if (chance(source, 254))
        carry(world, n, &palette[draw_below(source, PALETTE - 4)], n);
    place(world, word_of(SHM_DATA_FDS, size), &body, sizeof body);
}

static void lie_word(struct world *world) {
    struct source *source = &world->source;
    uint64_t word = word_of((uint32_t)draw_below(source, 12), draw_near(source, world->seen->receiver.ring.size));
    if (chance(source, 64))
        word = draw(source);
    if (chance(source, 64)) { /* a skip, to nothing or to a lie */
        store_relaxed(ring_word(ring_of(world), 0), chance(source, 128) ? 0 : word);
        word = word_of(SHM_SKIP, chance(source, 200) ? 0 : draw_below(source, 16));
    }
    const struct ring_reader *reader = &world->seen->receiver.ring;
    store_release(ring_word(ring_of(world), reader->read & reader->mask), word);
}

void lie_record(struct world *world) {
    const struct shm_receiver *receiver = &world->seen->receiver;
    if (!receiver->peer || (world->carried_at == receiver->ring.read && chance(&world->source, 250)))
        return; /* a packet for another record would break the link: this one is still to be received */
    uint64_t what = draw_below(&world->source, 2048);
    if (what < 1800)
        lie_data(world);
    else if (what < 1990)
        lie_descriptor(world, SHM_POOL);
    else if (what < 2030)
        lie_inline_fds(world);
    else if (what < 2042)
        lie_descriptor(world, SHM_OWN);
    else if (what < 2045)
        join_pool(world);
    else if (what < 2046)
        join_larger(world);
    else
        lie_word(world);
}

/* ---- What the honest sender goes by ---- */

/* Releases slots: those that are out, mostly. */
static void lie_release(struct world *world) {
    struct source *source = &world->source;
    const struct pool_writer *pool = world->seen->sender.pool;
    uint64_t released = world->segment->released;
    if (!pool || pool->sent == 0 || released != pool->released) {
        if (draw_below(source, 500) == 0)
            store_release(&world->segment->released, draw_near(source, released));
        return;
    }
    unsigned slot = (unsigned)draw_below(source, SHM_SLOTS);
    for (unsigned i = 0; i < SHM_SLOTS && !pool->slots[slot].sent; i++)
        slot = (slot + 1) % SHM_SLOTS;
    uint32_t said = draw_below(source, 500) == 0 ? (uint32_t)draw_near(source, SHM_SLOTS) : slot;
    store_relaxed(&world->segment->release[released % SHM_SLOTS], said);
    store_release(&world->segment->released, draw_below(source, 500) == 0 ? draw_near(source, released) : released + 1);
}

void lie_cursor(struct world *world) {
    struct source *source = &world->source;
    struct shm_segment *segment = world->segment;
    const struct ring_writer *writer = &world->seen->sender.ring;
    switch (draw_below(source, 8)) {
    case 0:
        while (chance(source, 8) && sys_recv(world->own->carrier, NULL, 0, MSG_DONTWAIT) >= 0)
            ; /* their descriptors die in the kernel */
        __attribute__((fallthrough));
    case 1: /* what it never read counts as read */
        store_release(&segment->freed, draw_below(source, 500) == 0 ? draw_near(source, writer->write) : writer->write);
        break;
    case 2:
    case 3: store_release(&segment->taken, draw_below(source, 500) == 0 ? draw_near(source, writer->messages) : writer->messages); break;
    case 4: store_relaxed(&segment->receiver_asleep, (uint32_t)draw(source)); break;
    case 5:
        store_relaxed(&segment->sender_asleep, (uint32_t)draw(source));
        store_relaxed(&segment->asker_asleep, (uint32_t)draw(source));
        break;
    default: lie_release(world); break;
    }
}

/* Any word of its first page; the state comes back, else nothing would follow. */
void lie_anywhere(struct world *world) {
    struct source *source = &world->source;
    uint64_t *words = (uint64_t *)(void *)world->segment;
    uint64_t at = draw_below(source, sizeof *world->segment / sizeof *words);
    if (chance(source, 64))
        store_relaxed(&world->segment->state, (uint32_t)draw_below(source, 4));
    else if (chance(source, 128))
        store_relaxed(&words[at], draw_near(source, words[at]));
    else
        store_relaxed(&words[at], words[at] ^ UINT64_C(1) << draw_below(source, 64));
}

/* Each lie is followed by a call that heeds it. */
void lie_and_act(struct world *world) {
    uint64_t what = draw_below(&world->source, 4096);
    world->mutated++;
    if (what < 3400) {
        lie_record(world);
        act_receiving(world);
        return;
    }
    if (what < 4085) {
        lie_cursor(world);
        act_sending(world);
        return;
    }
    if (what < 4092)
        lie_note(world);
    else if (what < 4094)
        lie_packet(world);
    else if (chance(&world->source, 64))
        lie_anywhere(world);
    else
        store_relaxed(&world->segment->state, SHM_OPEN);
    act_sending(world);
    act_receiving(world);
}
