/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What tests/cli/inspect.py looks at. usage: cli_inspect_peer ADDRESS MODE [LARGER]
 *   listen  accepts two, takes one message of the first and keeps it, and sleeps for one of the second, until that one ends
 *   send    sends three messages, the last through the pool, prints "sent" and waits for its standard input's end
 *   idle    prints "connected" and waits for its standard input's end
 *   fill    connects and sends FILL messages of 1000 bytes, more than its first ring holds, prints "sent" and waits likewise
 *   drain   connects, prints "connected", and does what it is told (below)
 *   fill-listening, drain-listening  prints "listening", accepts one, and goes on as fill or drain
 *   NUMBER  prints what a walk from this position finds in the segment in the file that ADDRESS names, and in its larger ring
 *           in the file LARGER
 *
 * A byte of standard input tells who drains to receive ten messages ("t"), or to take one and keep it ("k"); it prints "done".
 *
 * The frozen numbers that the command reads segments by are compared with the library's here. */

#include "cli/inspect.h"
#include "shm/format.h"

#include <errno.h>
#include <fcntl.h>
#include <hawser/hawser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAME(A, B) _Static_assert((unsigned long)(A) == (unsigned long)(B), "the command reads another format")
SAME(INSPECT_MAGIC, SHM_MAGIC);
SAME(INSPECT_VERSION, SHM_VERSION);
SAME(INSPECT_RING_OFFSET, SHM_RING_OFFSET);
SAME(INSPECT_RING_MIN, SHM_RING_MIN);
SAME(INSPECT_RING_MAX, SHM_RING_MAX);
SAME(INSPECT_SLOTS, SHM_SLOTS);
SAME(INSPECT_CHUNKS, SHM_CHUNKS);
SAME(INSPECT_FDS_MAX, SHM_FDS_MAX);
SAME(INSPECT_DATA, SHM_DATA);
SAME(INSPECT_DATA_FDS, SHM_DATA_FDS);
SAME(INSPECT_POOL, SHM_POOL);
SAME(INSPECT_OWN, SHM_OWN);
SAME(INSPECT_CHUNK, SHM_CHUNK);
SAME(INSPECT_SKIP, SHM_SKIP);
SAME(INSPECT_RING, SHM_RING);
#define SAME_OFFSET(NAME, MEMBER) SAME(NAME, offsetof(struct shm_segment, MEMBER))
SAME_OFFSET(INSPECT_AT_MAGIC, magic);
SAME_OFFSET(INSPECT_AT_VERSION, version);
SAME_OFFSET(INSPECT_AT_SIZE, size);
SAME_OFFSET(INSPECT_AT_RING_SIZE, ring_size);
SAME_OFFSET(INSPECT_AT_POOL_QUOTA, pool_quota);
SAME_OFFSET(INSPECT_AT_BARRIER, barrier);
SAME_OFFSET(INSPECT_AT_RELEASE_ENTRIES, release_entries);
SAME_OFFSET(INSPECT_AT_LARGER_SIZE, larger_size);
SAME_OFFSET(INSPECT_AT_LARGER_FROM, larger_from);
SAME_OFFSET(INSPECT_AT_LARGER_INODE, larger_inode);
SAME_OFFSET(INSPECT_AT_TAKEN, taken);
SAME_OFFSET(INSPECT_AT_FREED, freed);
SAME_OFFSET(INSPECT_AT_RELEASED, released);
SAME_OFFSET(INSPECT_AT_RECEIVER_ASLEEP, receiver_asleep);
SAME_OFFSET(INSPECT_AT_SENDER_ASLEEP, sender_asleep);
SAME_OFFSET(INSPECT_AT_ASKER_ASLEEP, asker_asleep);
SAME_OFFSET(INSPECT_AT_STATE, state);

#define PATIENCE INT64_C(60000000000)
#define FILL 100

static int fail(const char *what, int error) {
    fprintf(stderr, "%s: %d: %s\n", what, error, hawser_explain());
    return 1;
}

static int listen_for_two(const char *address) {
    hawser_listener *listener;
    hawser_channel *channels[2] = { NULL, NULL };
    hawser_message kept;
    char byte;
    size_t size;
    int error = hawser_listen(address, NULL, &listener);
    if (error < 0)
        return fail("listen", error);
    printf("listening\n");
    fflush(stdout);
    for (unsigned i = 0; i < 2 && error >= 0; i++)
        error = hawser_accept(listener, PATIENCE, &channels[i]);
    if (error >= 0)
        error = hawser_take(channels[0], PATIENCE, &kept);
    if (error >= 0)
        error = hawser_recv(channels[1], &byte, 1, PATIENCE, &size);
    hawser_close(channels[0]);
    hawser_close(channels[1]);
    hawser_listener_close(listener);
    return error == -ESHUTDOWN ? 0 : fail("listener", error);
}

static int connect_and_wait(const char *address, bool sends) {
    static const char bytes[1 << 20];
    static const size_t sizes[] = { 100, 0, sizeof bytes };
    hawser_channel *channel;
    char byte;
    int error = hawser_connect(address, NULL, PATIENCE, &channel);
    for (unsigned i = 0; sends && i < 3 && error >= 0; i++)
        error = hawser_send(channel, bytes, sizes[i], PATIENCE);
    if (error < 0)
        return fail("peer", error);
    puts(sends ? "sent" : "connected");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    hawser_close(channel);
    return 0;
}

static int say(const char *word) {
    puts(word);
    return fflush(stdout);
}

static int connect_or_accept(const char *address, bool listens, hawser_listener **listener, hawser_channel **ret_channel) {
    if (!listens)
        return hawser_connect(address, NULL, PATIENCE, ret_channel);
    int error = hawser_listen(address, NULL, listener);
    if (error < 0)
        return error;
    say("listening");
    return hawser_accept(*listener, PATIENCE, ret_channel);
}

static int fill(hawser_channel *channel) {
    static const char bytes[1000];
    char byte;
    int error = 0;
    for (unsigned i = 0; i < FILL && error >= 0; i++)
        error = hawser_send(channel, bytes, sizeof bytes, PATIENCE);
    say("sent");
    while (error >= 0 && read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return error;
}

static int drain(hawser_channel *channel) {
    char bytes[1000], order;
    hawser_message kept;
    size_t size;
    int error = 0;
    say("connected");
    while (error >= 0 && read(STDIN_FILENO, &order, 1) > 0) {
        if (order == 'k')
            error = hawser_take(channel, PATIENCE, &kept);
        for (unsigned i = 0; order == 't' && i < 10 && error >= 0; i++)
            error = hawser_recv(channel, bytes, sizeof bytes, PATIENCE, &size);
        say("done");
    }
    return error;
}

static int run_one(const char *address, const char *mode) {
    hawser_listener *listener = NULL;
    hawser_channel *channel;
    int error = connect_or_accept(address, strstr(mode, "-listening") != NULL, &listener, &channel);
    if (error >= 0) {
        error = mode[0] == 'f' ? fill(channel) : drain(channel);
        hawser_close(channel);
    }
    hawser_listener_close(listener);
    return error < 0 ? fail(mode, error) : 0;
}

static struct inspect_source source_of(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return (struct inspect_source){ .fd = fd, .size = (uint64_t)lseek(fd, 0, SEEK_END) };
}

static int walk_from(const char *path, uint64_t position, const char *path_of_larger) {
    static unsigned char window[INSPECT_WINDOW];
    struct inspect_segment segment;
    struct inspect_walk walk;
    struct inspect_record record;
    struct inspect_source source = source_of(path), larger = { 0 };
    const char *wrong = inspect_segment_read(&source, &segment);
    if (wrong)
        return puts(wrong), 1;
    if (path_of_larger)
        larger = source_of(path_of_larger);
    inspect_walk_begin(&walk, &source, &segment, path_of_larger ? &larger : NULL, position, window);
    while (inspect_walk_next(&walk, &record))
        printf("%s %llu at %llu\n", inspect_kind_name(record.kind), (unsigned long long)record.body, (unsigned long long)record.position);
    printf("%s at %llu\n", walk.wrong ? walk.wrong : "empty", (unsigned long long)walk.position);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    const char *mode = argv[2];
    if (mode[0] >= '0' && mode[0] <= '9')
        return walk_from(argv[1], strtoull(mode, NULL, 10), argv[3]);
    if (mode[0] == 'f' || mode[0] == 'd')
        return run_one(argv[1], mode);
    return mode[0] == 'l' ? listen_for_two(argv[1]) : connect_and_wait(argv[1], mode[0] == 's');
}
