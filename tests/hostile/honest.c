/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The honest end: a program that sends, receives, takes and lends, and believes nothing. Whatever comes of a call must be one of the
 * few results the headers name; what it was given must lie where a message may lie, and be no more than it asked for. */

#include "liar.h"

#include "base/error.h"
#include "core/channel.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define AREA ((size_t)128 << 10) /* behind it lies a page that faults */
#define PAGE ((size_t)4096)
#define SENTENCES 64

static uint8_t *area_end;

void fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    fflush(stdout);
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (%s)\n", error_sentence());
    va_end(arguments);
    abort(); /* a fuzzer keeps the input that led here */
}

/* ---- Why links ended ---- */

static struct {
    char text[160];
    uint64_t n;
} sentences[SENTENCES];

/* Numbers are blanked: each check is to be counted once. */
static void note_sentence(const char *sentence) {
    static const char start[] = "the peer broke the protocol: ";
    char text[sizeof sentences[0].text];
    const char *found = strstr(sentence, start);
    CHECK(found && strlen(found) > sizeof start + 5);
    while (strncmp(found, start, sizeof start - 1) == 0)
        found += sizeof start - 1;
    size_t n = 0;
    for (; *found && n + 1 < sizeof text; found++)
        if (*found < '0' || *found > '9')
            text[n++] = *found;
        else if (n == 0 || text[n - 1] != 'N')
            text[n++] = 'N';
    text[n] = 0;
    for (size_t i = 0; i < SENTENCES; i++) {
        if (sentences[i].n > 0 && strcmp(sentences[i].text, text) != 0)
            continue;
        memcpy(sentences[i].text, text, sizeof text);
        sentences[i].n++;
        return;
    }
}

unsigned sentences_told(void) {
    unsigned n = 0;
    while (n < SENTENCES && sentences[n].n > 0)
        n++;
    return n;
}

void tell_sentences(FILE *to) {
    for (unsigned i = 0; i < sentences_told(); i++)
        fprintf(to, "#   %10llu  %s\n", (unsigned long long)sentences[i].n, sentences[i].text);
}

/* What a call on a link to a liar may say. Once broken a link stays so. */
static void heed(struct world *world, int r, const char *call) {
    switch (r) {
    case -EPROTO:
        if (!world->broken)
            note_sentence(hawser_explain());
        world->broken = true;
        return;
    case 0:
    case -EAGAIN:
    case -EMSGSIZE:
    case -ENOBUFS:
    case -ESHUTDOWN:
    case -ECONNRESET: /* an empty packet is what a hang-up looks like */
    case -EPIPE:
    case -EINPROGRESS:
    case -ETIMEDOUT:
    case -ETOOMANYREFS:
        return;
    default: fail(__FILE__, __LINE__, "%s gave %d", call, r);
    }
}

#define HEED(CALL) heed(world, (CALL), #CALL)

/* ---- Receiving ---- */

static uint64_t sum; /* so that no read is left out */

static void read_all(const struct world *world, const void *data, size_t size) {
    const volatile uint8_t *bytes = data;
    for (size_t i = 0; i < size; i += world->checks_all || size < 256 ? 1 : size - 1)
        sum += bytes[i];
}

static bool inside(const void *data, size_t size, const void *base, uint64_t length) {
    uintptr_t from = (uintptr_t)data, start = (uintptr_t)base;
    return from >= start && from - start <= length && size <= length - (from - start);
}

/* A taken message lies in the ring, in one of the pool's memfds, or in memory kept for it alone. */
static void check_place(const struct world *world, const hawser_message *message) {
    const struct shm_receiver *receiver = &world->seen->receiver;
    bool found = inside(message->data, message->size, receiver->ring.data, receiver->ring.size);
    for (unsigned i = 0; i < receiver->pool.n_chunks; i++)
        found |= inside(message->data, message->size, receiver->pool.chunks[i].base, receiver->pool.chunks[i].size) &&
                 ((uintptr_t)message->data - (uintptr_t)receiver->pool.chunks[i].base) % SHM_POOL_ALIGNMENT == 0;
    for (size_t i = 0; i < receiver->n_kept; i++)
        found |= receiver->kept[i].copy == message->data || receiver->kept[i].memory.base == message->data;
    CHECK(found);
    CHECK(message->size <= world->seen->link.options.max_message);
    read_all(world, message->data, message->size);
}

static void act_recv(struct world *world) {
    static const size_t capacities[] = { 0, 8, 64, 300, 300, 4096, 70000, AREA };
    size_t capacity = capacities[draw_below(&world->source, COUNT(capacities))], size = SIZE_MAX;
    uint8_t *buffer = area_end - capacity;
    int r = hawser_recv(world->honest, buffer, capacity, HAWSER_NOW, &size);
    HEED(r);
    CHECK(r != 0 || (size <= capacity && size <= world->seen->link.options.max_message));
}

static void act_recv_fds(struct world *world) {
    int fds[20];
    size_t size = 0, n = 0, most = (size_t)draw_below(&world->source, 18);
    int r = hawser_recv_fds(world->honest, area_end - 4096, 4096, fds, most, HAWSER_NOW, &size, &n);
    HEED(r);
    if (r != 0)
        return;
    CHECK(size <= 4096 && n <= most);
    for (size_t i = 0; i < n; i++)
        CHECK(sys_close(fds[i]) == 0);
}

static void act_release(struct world *world) {
    if (world->n_held == 0)
        return;
    unsigned which = (unsigned)draw_below(&world->source, world->n_held);
    read_all(world, world->held[which].data, world->held[which].size);
    CHECK(hawser_release(world->honest, &world->held[which]) == 0);
    world->held[which] = world->held[--world->n_held];
}

static void act_take(struct world *world) {
    size_t taken = 0, most = 1 + (size_t)draw_below(&world->source, 4);
    while (world->n_held + most > HELD_MOST)
        act_release(world);
    int r = hawser_take_many(world->honest, &world->held[world->n_held], most, HAWSER_NOW, &taken);
    HEED(r);
    CHECK(taken <= most && (r == 0) == (taken > 0));
    for (size_t i = 0; i < taken; i++)
        check_place(world, &world->held[world->n_held++]);
}

/* Whatever poll says, the next call says what is so. */
static void act_poll(struct world *world) {
    hawser_poll_item item = { .channel = world->honest, .events = HAWSER_IN | HAWSER_OUT };
    int r = hawser_poll(&item, 1, HAWSER_NOW);
    CHECK(r == 1 || r == -EAGAIN);
    world->seen->link.transport->look(world->honest->link); /* as one that spins does, once a millisecond */
}

/* ---- Sending ---- */

static void act_send(struct world *world) {
    static const size_t sizes[] = { 0, 8, 100, 1000, 5000, 60000, AREA };
    size_t size = sizes[draw_below(&world->source, COUNT(sizes))];
    HEED(hawser_send(world->honest, area_end - size, size, HAWSER_NOW));
}

static void act_send_fds(struct world *world) {
    static const int fds[] = { 0, 1, 2 };
    HEED(hawser_send_fds(world->honest, area_end - 8, 8, fds, 1 + (size_t)draw_below(&world->source, COUNT(fds)), HAWSER_NOW));
}

static void act_send_many(struct world *world) {
    hawser_message messages[5];
    size_t sent = 0;
    for (size_t i = 0; i < COUNT(messages); i++) {
        size_t size = (size_t)draw_below(&world->source, 2000);
        messages[i] = (hawser_message){ .data = area_end - size, .size = size };
    }
    HEED(hawser_send_many(world->honest, messages, COUNT(messages), HAWSER_NOW, &sent));
    CHECK(sent <= COUNT(messages));
}

static void act_loan(struct world *world) {
    size_t size = (size_t)draw_below(&world->source, 40000);
    void *data = NULL;
    if (world->n_lent == LENT_MOST)
        return;
    int r = hawser_loan(world->honest, size, HAWSER_NOW, &data);
    HEED(r);
    if (r != 0)
        return;
    memset(data, 0x5a, size); /* no lie of the reader's makes this someone else's memory */
    world->lent[world->n_lent++] = (struct loan){ data, size };
}

static void act_commit(struct world *world) {
    if (world->n_lent == 0)
        return;
    struct loan *loan = &world->lent[draw_below(&world->source, world->n_lent)];
    memset(loan->data, 0xa5, loan->size);
    if (chance(&world->source, 200))
        HEED(hawser_commit(world->honest, loan->data, loan->size));
    else
        HEED(hawser_discard(world->honest, loan->data));
    *loan = world->lent[--world->n_lent];
}

void act_receiving(struct world *world) {
    uint64_t what = draw_below(&world->source, 64);
    if (what < 34)
        act_recv(world);
    else if (what < 54)
        act_take(world);
    else if (what < 60)
        act_release(world);
    else if (what < 63)
        act_recv_fds(world);
    else
        act_poll(world);
}

void act_sending(struct world *world) {
    switch (draw_below(&world->source, 16)) {
    case 0: act_send_fds(world); break;
    case 1: act_send_many(world); break;
    case 2:
    case 3: act_loan(world); break;
    case 4:
    case 5: act_commit(world); break;
    case 6: HEED(hawser_flush(world->honest, HAWSER_NOW)); break;
    case 7: HEED(hawser_send_sync(world->honest, area_end - 8, 8, HAWSER_NOW)); break;
    case 8: act_poll(world); break;
    default: act_send(world); break;
    }
}

/* ---- The two ends ---- */

static void must(int r) {
    if (r != 0)
        fail(__FILE__, __LINE__, "an honest call gave %d", r);
}

void world_begin(struct world *world, const char *address) {
    struct source source = world->source;
    uint64_t mutated = world->mutated;
    bool checks_all = world->checks_all;
    uint8_t byte;
    size_t size;
    *world = (struct world){ .source = source, .mutated = mutated, .checks_all = checks_all,
                              .carried_at = UINT64_MAX };
    must(hawser_pair(address, NULL, &world->liar, &world->honest));
    must(hawser_send(world->liar, "x", 1, HAWSER_NOW));
    must(hawser_recv(world->honest, &byte, 1, HAWSER_NOW, &size));
    must(hawser_send(world->honest, "x", 1, HAWSER_NOW));
    must(hawser_recv(world->liar, &byte, 1, HAWSER_NOW, &size));
    world->own = shm_of(world->liar->link);
    world->seen = shm_of(world->honest->link);
    world->segment = shm_own(world->own);
}

void world_end(struct world *world) {
    uint8_t byte;
    size_t size;
    if (world->broken) { /* and everything says so */
        CHECK(hawser_recv(world->honest, &byte, 1, HAWSER_NOW, &size) == -EPROTO);
        CHECK(hawser_send(world->honest, &byte, 1, HAWSER_NOW) == -EPROTO);
        CHECK(hawser_flush(world->honest, HAWSER_NOW) == -EPROTO);
    }
    world->honest = hawser_close(world->honest);
    world->liar = hawser_close(world->liar);
}

/* ---- The witness ---- */

void witness_begin(struct witness *witness) {
    *witness = (struct witness){ 0 };
    must(hawser_pair("shm://?pool=4M", NULL, &witness->a, &witness->b));
}

static void witness_one(struct witness *witness, hawser_channel *from, hawser_channel *to, size_t size) {
    static uint8_t out[30000], in[30000];
    size_t got = 0, n = 0;
    int fd = 0;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(witness->messages * 7 + i * 31 + (i >> 8));
    bool with_fd = witness->messages % 5 == 0;
    must(with_fd ? hawser_send_fds(from, out, size, &fd, 1, HAWSER_NOW) : hawser_send(from, out, size, HAWSER_NOW));
    must(hawser_recv_fds(to, in, sizeof in, &fd, 1, HAWSER_NOW, &got, &n));
    CHECK(got == size && memcmp(in, out, size) == 0 && n == with_fd);
    if (n > 0)
        sys_close(fd);
    witness->messages++;
}

void witness_check(struct witness *witness) {
    static const size_t sizes[] = { 0, 8, 500, 30000 };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        witness_one(witness, witness->a, witness->b, sizes[i]);
        witness_one(witness, witness->b, witness->a, sizes[i]);
    }
}

void witness_end(struct witness *witness) {
    witness->a = hawser_close(witness->a);
    witness->b = hawser_close(witness->b);
}

/* ---- What the process holds ---- */

static unsigned entries(const char *path) {
    unsigned n = 0;
    DIR *directory = opendir(path);
    CHECK(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

unsigned descriptors_open(void) { return entries("/proc/self/fd"); }

/* Of shared memory: the allocator's own maps come and go. */
unsigned maps_made(void) {
    char line[1024];
    unsigned n = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        n += strstr(line, "memfd:") != NULL;
    fclose(file);
    return n;
}

uint64_t resident_bytes(void) {
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%llu %llu", &total, &resident) == 2);
    fclose(file);
    return resident * PAGE;
}

/* One page more than was asked for, which stays unreadable. */
static long guarded_mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset) {
    size_t whole = (size + PAGE - 1) / PAGE * PAGE + PAGE;
    long base = sys_table_real.mmap(start, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base < 0 && base > -4096)
        return base;
    long mapped = sys_table_real.mmap((void *)base, size, protection, flags | MAP_FIXED, fd, offset);
    if (mapped < 0 && mapped > -4096)
        sys_table_real.munmap((void *)base, whole);
    return mapped;
}

static int guarded_munmap(void *start, size_t size) { return sys_table_real.munmap(start, (size + PAGE - 1) / PAGE * PAGE + PAGE); }

void guard_maps(void) {
    sys_table.mmap = guarded_mmap;
    sys_table.munmap = guarded_munmap;
    long base = guarded_mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base > 0);
    area_end = (uint8_t *)base + AREA;
}
