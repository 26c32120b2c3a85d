/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What tests/cli/inspect.py looks at. usage: cli_inspect_peer ADDRESS MODE
 *   listen  accepts two, takes one message of the first and keeps it, and sleeps for one of the second, until that one ends
 *   send    sends three messages, the last through the pool, prints "sent" and waits for its standard input's end
 *   idle    prints "connected" and waits for its standard input's end
 *   NUMBER  prints what a walk from this position finds in the segment in the file that ADDRESS names
 *
 * The frozen numbers that the command reads segments by are compared with the library's here. */

#include "cli/inspect.h"
#include "shm/format.h"

#include <errno.h>
#include <fcntl.h>
#include <hawser/hawser.h>
#include <stdio.h>
#include <stdlib.h>
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
SAME_OFFSET(INSPECT_AT_TAKEN, taken);
SAME_OFFSET(INSPECT_AT_FREED, freed);
SAME_OFFSET(INSPECT_AT_RELEASED, released);
SAME_OFFSET(INSPECT_AT_RECEIVER_ASLEEP, receiver_asleep);
SAME_OFFSET(INSPECT_AT_SENDER_ASLEEP, sender_asleep);
SAME_OFFSET(INSPECT_AT_ASKER_ASLEEP, asker_asleep);
SAME_OFFSET(INSPECT_AT_STATE, state);

#define PATIENCE INT64_C(60000000000)

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

static int walk_from(const char *path, uint64_t position) {
    static unsigned char window[INSPECT_WINDOW];
    struct inspect_segment segment;
    struct inspect_walk walk;
    struct inspect_record record;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct inspect_source source = { .fd = fd, .size = (uint64_t)lseek(fd, 0, SEEK_END) };
    const char *wrong = inspect_segment_read(&source, &segment);
    if (wrong)
        return puts(wrong), 1;
    inspect_walk_begin(&walk, &source, segment.ring_size, position, window);
    while (inspect_walk_next(&walk, &record))
        printf("%s %llu at %llu\n", inspect_kind_name(record.kind), (unsigned long long)record.body, (unsigned long long)record.position);
    printf("%s at %llu\n", walk.wrong ? walk.wrong : "empty", (unsigned long long)walk.position);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    if (argv[2][0] >= '0' && argv[2][0] <= '9')
        return walk_from(argv[1], strtoull(argv[2], NULL, 10));
    return argv[2][0] == 'l' ? listen_for_two(argv[1]) : connect_and_wait(argv[1], argv[2][0] == 's');
}
