/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Making and adopting sealed memfds. Everything a peer's descriptor can be is checked before it is mapped. */

#include "shm/segment.h"

#include "base/atomic.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/process.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define PAGE 4096u /* memfd sizes are rounded to it; the kernel's page may be larger, its map then too */

/* include/uapi/linux/membarrier.h */
#define MEMBARRIER_QUERY 0
#define MEMBARRIER_GLOBAL_EXPEDITED (1 << 1)
#define MEMBARRIER_REGISTER_GLOBAL_EXPEDITED (1 << 2)

static uint64_t round_to_page(uint64_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

#define HUGETLBFS_MAGIC 0x958458f6u /* include/uapi/linux/magic.h */
#define MEMORY_SMALL (UINT64_C(128) << 10)

static int memfd_new(const char *name) {
    int fd = sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd == -EINVAL) /* before Linux 6.3 */
        fd = sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set(fd, "make shared memory: %s", error_text(fd));
    return fd;
}

/* Growing a file beyond RLIMIT_FSIZE raises SIGXFSZ, which kills; so the limit is asked first. */
static int check_file_limit(uint64_t size) {
    struct rlimit limit;
    int r = sys_getrlimit(RLIMIT_FSIZE, &limit);
    if (r < 0)
        return error_set(r, "read the limit of file sizes: %s", error_text(r));
    if (limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur)
        return error_set(-EFBIG, "make %llu bytes of shared memory: the limit of file sizes is %llu; raise it with ulimit -f",
                         (unsigned long long)size, (unsigned long long)limit.rlim_cur);
    return 0;
}

/* Writing allocates a page and fills it in one go. fallocate would leave pages that count as holes until they are touched, by
 * page faults that cost three times as much (docs/decisions.md). */
static int write_zeros(int fd, uint64_t size) {
    enum { PAGES = 64 };
    static uint8_t zeros[4096];
    struct iovec vector[PAGES];
    for (unsigned i = 0; i < PAGES; i++)
        vector[i].iov_base = zeros;
    for (uint64_t done = 0; done < size;) {
        int n = 0;
        for (uint64_t left = size - done; left > 0 && n < PAGES; n++) {
            vector[n].iov_len = left < sizeof zeros ? (size_t)left : sizeof zeros;
            left -= vector[n].iov_len;
        }
        ssize_t written = sys_pwritev2(fd, vector, n, (off_t)done, 0);
        if (written < 0 && written != -EINTR)
            return (int)written;
        if (written == 0)
            return -ENOSPC;
        done += written > 0 ? (uint64_t)written : 0;
    }
    return 0;
}

static int memory_allocate(int fd, uint64_t size) {
    if (size > INT64_MAX || size > SIZE_MAX)
        return error_set(-ENOMEM, "make %llu bytes of shared memory: more than this process can address", (unsigned long long)size);
    int r = check_file_limit(size);
    if (r < 0)
        return r;
    r = write_zeros(fd, size);
    if (r < 0)
        return error_set(r, "make %llu bytes of shared memory: %s", (unsigned long long)size, error_text(r));
    return 0;
}

/* populate: page faults in the data path would cost more than the message. Not for small segments: few of their pages are ever
 * touched by a link that does not stream, and connecting should be quick; readers' faults come by sixteen. */
static int memory_map(int fd, uint64_t size, int protection, bool populate, struct memory *ret_memory) {
    if (size > SIZE_MAX / 2)
        return error_set(-ENOMEM, "map %llu bytes of shared memory: more than this process can address", (unsigned long long)size);
    int flags = MAP_SHARED | (populate && size > MEMORY_SMALL ? MAP_POPULATE : 0);
    long start = sys_mmap(NULL, (size_t)size, protection, flags, fd, 0);
    if (start < 0 && start > -4096)
        return error_set((int)start, "map %llu bytes of shared memory: %s", (unsigned long long)size, error_text((int)start));
    struct memory fresh = { .base = (uint8_t *)start, .size = (size_t)size }; // NOLINT: the kernel's own address
    int r = sys_madvise(fresh.base, fresh.size, MADV_DONTFORK);
    if (r < 0) {
        memory_unmap(&fresh);
        return error_set(r, "keep shared memory from forked children: %s", error_text(r));
    }
    *ret_memory = fresh;
    return 0;
}

void memory_unmap(struct memory *memory) {
    if (memory->size > 0)
        sys_munmap(memory->base, memory->size);
    *memory = (struct memory){ 0 };
}

static int add_seals(int fd, int seals) {
    int r = sys_fcntl(fd, F_ADD_SEALS, seals);
    return r < 0 ? error_set(r, "seal shared memory: %s", error_text(r)) : 0;
}

int memory_create(const char *name, uint64_t size, struct memory *ret_memory, int *ret_fd) {
    cleanup_fd fd = memfd_new(name);
    if (fd < 0)
        return fd;
    struct memory fresh;
    size = round_to_page(size);
    int r = memory_allocate(fd, size);
    if (r == 0)
        r = memory_map(fd, size, PROT_READ | PROT_WRITE, true, &fresh);
    if (r < 0)
        return r;
    r = add_seals(fd, MEMORY_SEALS); /* the map above is the last that can write */
    if (r < 0) {
        memory_unmap(&fresh);
        return r;
    }
    *ret_memory = fresh;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int check_peer_memory(int fd, uint64_t minimum, uint64_t maximum, int stable, uint64_t *ret_size) {
    struct stat status;
    int r = sys_fstat(fd, &status);
    if (r < 0)
        return error_set(r, "inspect the peer's memory: %s", error_text(r));
    uint64_t size = (uint64_t)status.st_size;
    if (!S_ISREG(status.st_mode) || status.st_size < 0 || size < minimum)
        return error_set(-EPROTO, "the peer's memory is no file of at least %llu bytes", (unsigned long long)minimum);
    if (size > maximum)
        return error_set(-EPROTO, "the peer's memory has %llu bytes, over the quota of %llu", (unsigned long long)size,
                         (unsigned long long)maximum);
    int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (stable ? F_SEAL_WRITE : 0);
    int seals = sys_fcntl(fd, F_GET_SEALS, 0); /* -EINVAL: not a memfd */
    if (seals < 0 && seals != -EINVAL)
        return error_set(seals, "inspect the peer's memory: %s", error_text(seals));
    if (seals < 0 || (seals & wanted) != wanted || !(seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE)))
        return error_set(-EPROTO, "the peer's memory lacks the seals that make it safe to map");
    off_t hole = sys_lseek(fd, 0, SEEK_HOLE);
    if (hole < 0)
        return error_set((int)hole, "look for holes in the peer's memory: %s", error_text((int)hole));
    if (hole != status.st_size)
        return error_set(-EPROTO, "the peer's memory has holes");
    struct statfs system;
    r = sys_fstatfs(fd, &system);
    if (r < 0)
        return error_set(r, "inspect the peer's memory: %s", error_text(r));
    if ((uint32_t)system.f_type == HUGETLBFS_MAGIC) /* they say that they have no holes, whatever they have */
        return error_set(-EPROTO, "the peer's memory is of huge pages");
    *ret_size = size;
    return 0;
}

int memory_adopt(int fd, uint64_t minimum, uint64_t maximum, int stable, struct memory *ret_memory) {
    uint64_t size = 0;
    int r = check_peer_memory(fd, minimum > 0 ? minimum : 1, maximum, stable, &size);
    if (r < 0)
        return r;
    return memory_map(fd, size, PROT_READ, true, ret_memory);
}

static int memory_fill(int fd, const void *data, uint64_t size) {
    const uint8_t *from = data;
    while (size > 0) {
        size_t step = size > (1u << 30) ? 1u << 30 : (size_t)size;
        ssize_t n = sys_write(fd, from, step);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return error_set(n < 0 ? (int)n : -EIO, "write a message to its memory: %s", error_text(n < 0 ? (int)n : -EIO));
        from += n;
        size -= (uint64_t)n;
    }
    return 0;
}

int memory_message(uint64_t size, const void *data, int *ret_fd) {
    cleanup_fd fd = memfd_new("hawser-message");
    if (fd < 0)
        return fd;
    int r = data ? check_file_limit(size) : memory_allocate(fd, size);
    if (r == 0 && data)
        r = memory_fill(fd, data, size);
    if (r < 0)
        return r;
    *ret_fd = steal_fd(&fd);
    return 0;
}

int memory_map_writable(int fd, uint64_t size, struct memory *ret_memory) {
    return memory_map(fd, size, PROT_READ | PROT_WRITE, true, ret_memory);
}

int memory_seal(int fd, uint64_t size) {
    int r;
    do
        r = sys_ftruncate(fd, (off_t)size);
    while (r == -EINTR);
    if (r < 0)
        return error_set(r, "cut a message's memory to its size: %s", error_text(r));
    return add_seals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

int segment_create(const struct segment_plan *plan, struct memory *ret_memory, int *ret_fd) {
    struct memory fresh;
    int r = memory_create("hawser", SHM_RING_OFFSET + plan->ring_size, &fresh, ret_fd);
    if (r < 0)
        return r;
    struct shm_segment *segment = segment_of(&fresh);
    segment->magic = SHM_MAGIC;
    segment->version = SHM_VERSION;
    segment->size = fresh.size;
    segment->ring_size = plan->ring_size;
    segment->ring_quota = plan->ring_quota;
    segment->pool_quota = plan->pool_quota;
    segment->barrier = plan->barrier ? barrier_prepare() : 0;
    segment->release_entries = SHM_SLOTS;
    *ret_memory = fresh;
    return 0;
}

static int check_segment(const struct shm_segment *segment, size_t mapped, struct segment_view *view) {
    uint32_t version = load_relaxed(&segment->version);
    if (load_relaxed(&segment->magic) != SHM_MAGIC)
        return error_set(-EPROTO, "the peer's segment does not begin with the magic");
    if (version != SHM_VERSION)
        return error_set(-EPROTO, "the peer's segment has version %u, this library knows %u", version, SHM_VERSION);
    uint64_t ring = load_relaxed(&segment->ring_size);
    if (ring < SHM_RING_MIN || ring > SHM_RING_MAX || (ring & (ring - 1)) != 0)
        return error_set(-EPROTO, "the peer's ring has an impossible size of %llu bytes", (unsigned long long)ring);
    if (load_relaxed(&segment->size) != mapped || mapped - SHM_RING_OFFSET < ring)
        return error_set(-EPROTO, "the peer's segment is smaller than its header says");
    if (load_relaxed(&segment->release_entries) != SHM_SLOTS)
        return error_set(-EPROTO, "the peer's release ring has an impossible size");
    view->ring_size = ring;
    view->ring_quota = load_relaxed(&segment->ring_quota);
    view->pool_quota = load_relaxed(&segment->pool_quota);
    view->barrier = load_relaxed(&segment->barrier);
    return 0;
}

int segment_adopt(int fd, struct segment_view *ret_view) {
    struct segment_view view = { 0 };
    uint64_t least = SHM_RING_OFFSET + SHM_RING_MIN;
    uint64_t size = 0;
    int r = check_peer_memory(fd, least, (uint64_t)SHM_RING_OFFSET + SHM_RING_MAX, 0, &size);
    if (r == 0) /* not populated: hellos with huge rings would keep a listener from others */
        r = memory_map(fd, size, PROT_READ, false, &view.memory);
    if (r < 0)
        return r;
    r = check_segment(segment_of(&view.memory), view.memory.size, &view);
    if (r < 0) {
        memory_unmap(&view.memory);
        return r;
    }
    *ret_view = view;
    return 0;
}

/* Registration is kept by fork in no documented way: each process registers once. Its first time with several
 * threads waits for an RCU grace period, milliseconds: that is the "first channel" of a process. */
uint32_t barrier_prepare(void) {
    static uint64_t known; /* process << 32 | bits; racing threads would store the same */
    uint64_t self = (uint64_t)process_self() << 32;
    uint64_t seen = load_relaxed(&known);
    if ((seen & ~(uint64_t)UINT32_MAX) == self)
        return (uint32_t)seen;
    uint32_t bits = 0;
    int can = sys_membarrier(MEMBARRIER_QUERY, 0);
    if (can > 0 && (can & MEMBARRIER_GLOBAL_EXPEDITED))
        bits |= SHM_BARRIER_ISSUES;
    if (bits != 0 && sys_membarrier(MEMBARRIER_REGISTER_GLOBAL_EXPEDITED, 0) == 0)
        bits |= SHM_BARRIER_REGISTERED;
    store_relaxed(&known, self | bits);
    return bits;
}

int barrier_heavy(void) { return sys_membarrier(MEMBARRIER_GLOBAL_EXPEDITED, 0); }
