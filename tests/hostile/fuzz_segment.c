/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A fuzzer writes a whole segment, its header, cursors and ring, and chooses size and seals of its memfd. It is adopted, if it
 * may be, and read to its end by the ring's reader and by the command's own (hawser inspect). */

#include "liar.h"

#include "base/sys.h"
#include "../../cli/inspect.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES (SHM_RING_OFFSET + 2 * SHM_RING_MIN)

/* Pieces of the input: two bytes where to, one how many, the bytes. */
static void fill(uint8_t *bytes, struct source *source) {
    while (!source_ended(source)) {
        size_t at = (size_t)draw_below(source, BYTES / 8) * 8, n = 8 + (size_t)draw_below(source, 32);
        for (; n > 0 && at < BYTES && !source_ended(source); n--)
            bytes[at++] = (uint8_t)draw_below(source, 256);
    }
}

static int file_made(const uint8_t *bytes, struct source *source) {
    static const int seals[] = { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL, F_SEAL_WRITE };
    size_t size = chance(source, 240) ? BYTES : (size_t)draw_below(source, BYTES);
    int add = MEMORY_SEALS;
    if (chance(source, 10))
        add ^= seals[draw_below(source, COUNT(seals))];
    int fd = sys_memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && sys_write(fd, bytes, size) == (ssize_t)size);
    CHECK(sys_fcntl(fd, F_ADD_SEALS, add) == 0);
    return fd;
}

static void read_ring(const struct segment_view *view) {
    static struct shm_segment own;
    struct ring_reader reader;
    struct ring_record record;
    struct shm_receiver receiver = { 0 };
    ring_reader_init(&reader, segment_ring(&view->memory), view->ring_size, &own);
    for (unsigned i = 0; i < 1000 && ring_next(&reader, &record) == 1; i++) {
        CHECK(record.body >= reader.data && record.size <= reader.size - (uint64_t)(record.body - reader.data));
        if (record.kind == SHM_POOL && record.size == sizeof(struct shm_descriptor)) {
            struct shm_descriptor descriptor;
            const uint8_t *found;
            memcpy(&descriptor, record.body, sizeof descriptor);
            CHECK(pool_take(&receiver.pool, &descriptor, &found) == -EPROTO); /* no pool memfd ever came */
        }
        ring_consume(&reader, &record);
    }
    ring_reader_publish(&reader);
    ring_reader_deinit(&reader);
}

static void inspect(int fd, uint64_t size) {
    static unsigned char window[INSPECT_WINDOW];
    struct inspect_source source = { .fd = fd, .size = size };
    struct inspect_segment segment;
    struct inspect_walk walk;
    struct inspect_record record;
    if (inspect_segment_read(&source, &segment))
        return;
    inspect_walk_begin(&walk, &source, &segment, &source, segment.freed, window);
    for (unsigned i = 0; inspect_walk_next(&walk, &record); i++) {
        CHECK(i <= (segment.ring_size + segment.larger_size) / 8);
        CHECK(inspect_kind_name(record.kind));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[BYTES];
    static bool prepared;
    if (!prepared)
        guard_maps();
    prepared = true;
    struct source source = { .data = data, .left = size };
    struct shm_segment good = { .magic = SHM_MAGIC, .version = SHM_VERSION, .size = BYTES, .ring_size = SHM_RING_MIN,
                                .pool_quota = 1 << 20, .release_entries = SHM_SLOTS };
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &good, sizeof good);
    struct source choices = { .data = data, .left = size < 4 ? size : 4 };
    source.data += choices.left;
    source.left -= choices.left;
    fill(bytes, &source);
    int fd = file_made(bytes, &choices);
    struct segment_view view;
    struct stat status;
    CHECK(sys_fstat(fd, &status) == 0);
    inspect(fd, (uint64_t)status.st_size);
    if (segment_adopt(fd, &view) == 0) {
        read_ring(&view);
        memory_unmap(&view.memory);
    }
    sys_close(fd);
    return 0;
}
