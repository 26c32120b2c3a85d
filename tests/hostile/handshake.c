/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Peers at a listener's door with a good hello and bad descriptors, one wrong thing at a time, and with hellos that are mutated at
 * random: each is refused with a sentence that names the check, or becomes a channel that can do no harm; nothing is left of it, and
 * an honest process gets through. (Silence, halves and garbage are the conformance suite's.)
 *
 * usage: handshake [--seed N] [--hellos N] */

#include "liar.h"

#include "base/control.h"
#include "core/rendezvous.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#define QUICK 1500
#define LONG 300000
#define BYTES (SHM_RING_OFFSET + SHM_RING_MIN)
#define OFFER_MAGIC 0x6d687368u
#define FDS_MOST 40

static char address[200];
static hawser_listener *listener;

/* ---- A good hello ---- */

struct greeting {
    struct note note;
    uint8_t bytes[sizeof(struct hello) + OFFER_DATA + 64];
    size_t size; /* of bytes */
    int fds[FDS_MOST];
    unsigned n_fds;
};

static int segment_good(void) {
    struct memory memory;
    int fd = -1;
    CHECK(segment_create(&(struct segment_plan){ .ring_size = SHM_RING_MIN, .pool_quota = 1 << 20, .barrier = true }, &memory, &fd) == 0);
    memory_unmap(&memory);
    return fd;
}

static int carrier_good(void) {
    int fds[2];
    CHECK(carrier_pair(fds) == 0);
    sys_close(fds[1]);
    return fds[0];
}

static struct greeting greeting_good(int segment, int carrier) {
    struct greeting greeting = { .note.type = NOTE_HELLO, .fds = { segment, carrier }, .n_fds = 2 };
    uint32_t offer[2] = { OFFER_MAGIC, SHM_VERSION };
    struct hello hello = { .magic = HELLO_MAGIC, .version_least = HELLO_VERSION, .version_most = HELLO_VERSION,
                           .max_message = 1 << 20, .scheme = "shm", .word_size = 8, .offer_size = sizeof offer };
    memcpy(greeting.bytes, &hello, sizeof hello);
    memcpy(greeting.bytes + sizeof hello, offer, sizeof offer);
    greeting.size = sizeof hello + sizeof offer;
    return greeting;
}

static int raw_connect(void) {
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    snprintf(local.sun_path, sizeof local.sun_path, "%s", strstr(address, "//") + 2);
    local.sun_path[strcspn(local.sun_path, "?")] = 0;
    int fd = sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && sys_connect(fd, (struct sockaddr *)&local, sizeof local) == 0);
    return fd;
}

static void send_raw(int socket, const void *data, size_t size, const int *fds, unsigned n) {
    union {
        struct cmsghdr header;
        char bytes[CONTROL_FDS_SPACE(FDS_MOST)];
    } control = { 0 };
    struct iovec vector = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = n > 0 ? &control : NULL };
    if (n > 0)
        control_put_fds(&message, fds, n);
    (void)sys_sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What the listener made of a packet: 1 a channel, 0 nothing yet, or it refused, with a sentence, or hung up. */
static int greet_raw(const void *data, size_t size, const int *fds, unsigned n, char *ret_sentence, size_t capacity) {
    struct packet answer = { 0 };
    hawser_channel *channel = NULL;
    int fd = raw_connect(), result = 0, r = -EAGAIN;
    ret_sentence[0] = 0;
    send_raw(fd, data, size, fds, n);
    for (unsigned tries = 0; tries < 3 && r == -EAGAIN; tries++) {
        int accepted = hawser_accept(listener, HAWSER_NOW, &channel);
        CHECK(accepted == 0 || accepted == -EAGAIN);
        result |= accepted == 0;
        r = packet_receive(fd, false, &answer);
    }
    if (r == 0 && answer.note.type == NOTE_REFUSE)
        rendezvous_sentence(&answer, ret_sentence, capacity);
    if (r == 0)
        packet_close(&answer);
    if (channel) { /* it may be used; what comes of it is the other tests' matter */
        uint8_t bytes[300];
        size_t got;
        r = hawser_recv(channel, bytes, sizeof bytes, HAWSER_NOW, &got);
        CHECK(r == 0 || r == -EAGAIN || r == -EPROTO || r == -ESHUTDOWN || r == -ECONNRESET || r == -EMSGSIZE);
        (void)!hawser_send(channel, bytes, sizeof bytes, HAWSER_NOW);
    }
    hawser_close(channel);
    sys_close(fd);
    return result;
}

static int greet(const struct greeting *greeting, char *ret_sentence, size_t capacity) {
    uint8_t bytes[sizeof greeting->note + sizeof greeting->bytes];
    memcpy(bytes, &greeting->note, sizeof greeting->note);
    memcpy(bytes + sizeof greeting->note, greeting->bytes, greeting->size);
    return greet_raw(bytes, sizeof greeting->note + greeting->size, greeting->fds, greeting->n_fds, ret_sentence, capacity);
}

/* An honest process, or the like of it: a hello as the library says it. */
static void honest_gets_in(void) {
    struct greeting good = greeting_good(segment_good(), carrier_good());
    char sentence[OFFER_DATA + 1];
    if (greet(&good, sentence, sizeof sentence) != 1)
        fail(__FILE__, __LINE__, "an honest hello: %s", sentence);
    sys_close(good.fds[0]);
    sys_close(good.fds[1]);
}

/* ---- Bad descriptors, one at a time ---- */

static int memfd(uint64_t size, bool written, int seals, unsigned flags) {
    static const uint8_t zeroes[BYTES];
    int fd = sys_memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd < 0)
        return -1;
    if (written)
        CHECK(sys_write(fd, zeroes, size) == (ssize_t)size);
    else
        CHECK(sys_ftruncate(fd, (off_t)size) == 0);
    CHECK(seals == 0 || sys_fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int header(uint64_t ring, uint64_t size, uint32_t entries, uint32_t version, int seals) {
    uint8_t bytes[BYTES] = { 0 };
    struct shm_segment segment = { .magic = SHM_MAGIC, .version = version, .size = size, .ring_size = ring, .release_entries = entries };
    memcpy(bytes, &segment, sizeof segment);
    int fd = sys_memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && sys_write(fd, bytes, sizeof bytes) == sizeof bytes && sys_fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int one_of(int *fds) {
    sys_close(fds[1]);
    return fds[0];
}

static int pipe_end(void) {
    int fds[2];
    CHECK(sys_pipe2(fds, O_CLOEXEC) == 0);
    return one_of(fds);
}

static int socket_end(int type) {
    int fds[2];
    CHECK(sys_socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0);
    return one_of(fds);
}

static int device(const char *path, int flags) { return sys_openat(AT_FDCWD, path, flags | O_CLOEXEC, 0); }

struct bad {
    const char *name;
    int fd;
    const char *part; /* of the sentence; NULL: it is let in, and can do no harm */
};

static void try_all(const struct bad *bads, size_t n, bool is_segment) {
    for (size_t i = 0; i < n; i++) {
        const struct bad *bad = &bads[i];
        char sentence[OFFER_DATA + 1];
        int other = is_segment ? carrier_good() : segment_good();
        if (bad->fd < 0) {
            printf("# %s: not to be had here\n", bad->name);
            sys_close(other);
            continue;
        }
        struct greeting greeting = is_segment ? greeting_good(bad->fd, other) : greeting_good(other, bad->fd);
        int in = greet(&greeting, sentence, sizeof sentence);
        if (bad->part ? in || !strstr(sentence, bad->part) : !in)
            fail(__FILE__, __LINE__, "%s: let in: %d; %s", bad->name, in, sentence);
        sys_close(other);
        sys_close(bad->fd);
    }
}

static void bad_segments(void) {
    const struct bad bads[] = {
        { "unsealed", memfd(BYTES, true, 0, 0), "seals" },
        { "not against shrinking", memfd(BYTES, true, MEMORY_SEALS & ~F_SEAL_SHRINK, 0), "seals" },
        { "not against growing", memfd(BYTES, true, MEMORY_SEALS & ~F_SEAL_GROW, 0), "seals" },
        { "not against writers to come", memfd(BYTES, true, MEMORY_SEALS & ~F_SEAL_FUTURE_WRITE, 0), "seals" },
        { "not for good", memfd(BYTES, true, MEMORY_SEALS & ~F_SEAL_SEAL, 0), "seals" },
        { "shrunk", memfd(BYTES - 4096, true, MEMORY_SEALS, 0), "at least" },
        { "empty", memfd(0, true, MEMORY_SEALS, 0), "at least" },
        { "huge", memfd((uint64_t)SHM_RING_MAX * 2, false, MEMORY_SEALS, 0), "quota" },
        { "immense", memfd((uint64_t)INT64_MAX & ~UINT64_C(4095), false, MEMORY_SEALS, 0), "quota" },
        { "holes", memfd(BYTES, false, MEMORY_SEALS, 0), "holes" },
        { "huge pages", memfd(4 << 20, false, MEMORY_SEALS, MFD_HUGETLB), "huge pages" },
        { "no magic", memfd(BYTES, true, MEMORY_SEALS, 0), "magic" },
        { "version", header(SHM_RING_MIN, BYTES, SHM_SLOTS, SHM_VERSION + 1, MEMORY_SEALS), "version" },
        { "ring 0", header(0, BYTES, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS), "impossible size" },
        { "ring odd", header(SHM_RING_MIN + 8, BYTES, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS), "impossible size" },
        { "ring larger", header(SHM_RING_MIN * 2, BYTES, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS), "smaller than its header" },
        { "ring immense", header(UINT64_C(1) << 63, BYTES, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS), "impossible size" },
        { "size", header(SHM_RING_MIN, BYTES + 4096, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS), "smaller than its header" },
        { "release ring", header(SHM_RING_MIN, BYTES, SHM_SLOTS * 2, SHM_VERSION, MEMORY_SEALS), "release ring" },
        { "pipe", pipe_end(), "no file" },
        { "socket", socket_end(SOCK_STREAM), "no file" },
        { "eventfd", sys_eventfd(0, EFD_CLOEXEC), "no file" },
        { "/dev/zero", device("/dev/zero", O_RDWR), "no file" },
        { "directory", device("/", O_RDONLY), "no file" },
        { "a path only", device("/", O_PATH), "no file" },
        { "a file", device("/proc/self/exe", O_RDONLY), "seals" },
        /* More seals than needed make a segment that nobody can ever write: a peer that has nothing to say. */
        { "sealed against all writing", header(SHM_RING_MIN, BYTES, SHM_SLOTS, SHM_VERSION, MEMORY_SEALS | F_SEAL_WRITE), NULL },
    };
    try_all(bads, COUNT(bads), true);
    printf("ok bad segments\n");
}

static void bad_carriers(void) {
    const struct bad bads[] = {
        { "stream", socket_end(SOCK_STREAM), "socket for descriptors" },
        { "datagram", socket_end(SOCK_DGRAM), "socket for descriptors" },
        { "pipe", pipe_end(), "socket for descriptors" },
        { "memfd", memfd(BYTES, true, MEMORY_SEALS, 0), "socket for descriptors" },
        { "tcp", sys_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket for descriptors" },
        { "packets, but of a virtual machine", sys_socket(AF_VSOCK, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket for descriptors" },
        { "not connected", sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), NULL },
    };
    try_all(bads, COUNT(bads), false);
    printf("ok bad carriers\n");
}

static void counts_of_descriptors(void) {
    for (unsigned n = 0; n <= FDS_MOST; n++) {
        struct greeting greeting = greeting_good(segment_good(), carrier_good());
        char sentence[OFFER_DATA + 1];
        for (unsigned i = 2; i < n; i++)
            greeting.fds[i] = greeting.fds[0];
        greeting.n_fds = n;
        int in = greet(&greeting, sentence, sizeof sentence);
        CHECK(in == (n == 2) && (in || strstr(sentence, n > OFFER_FDS ? "more than 16 descriptors" : "descriptors")));
        sys_close(greeting.fds[0]);
        sys_close(greeting.fds[1]);
    }
    printf("ok counts of descriptors\n");
}

/* Each field of the hello and of the offer behind it, by the sentence that it brings. */
static void bad_fields(void) {
    static const struct {
        size_t at;
        uint8_t byte;
        const char *part;
    } bads[] = {
        { offsetof(struct hello, magic), 1, "no hawser hello" },
        { offsetof(struct hello, version_least), 99, "version" },
        { offsetof(struct hello, version_most), 0, "version" },
        { offsetof(struct hello, max_message) + 7, 0x10, "max_message" },
        { offsetof(struct hello, scheme), 'q', "the other by qhm" },
        { offsetof(struct hello, offer_size), 9, "offer" },
        { sizeof(struct hello), 1, "another shared-memory format" },
        { sizeof(struct hello) + 4, 99, "another shared-memory format" },
    };
    char sentence[OFFER_DATA + 1];
    int fds[] = { segment_good(), carrier_good() };
    for (size_t i = 0; i < COUNT(bads); i++) {
        struct greeting greeting = greeting_good(fds[0], fds[1]);
        greeting.bytes[bads[i].at] = bads[i].byte;
        if (greet(&greeting, sentence, sizeof sentence) != 0 || !strstr(sentence, bads[i].part))
            fail(__FILE__, __LINE__, "%s: %s", bads[i].part, sentence);
    }
    struct greeting none = greeting_good(fds[0], fds[1]), swapped = none, few = none, lone = none, other = none, long_offer = none;
    memset(none.bytes + offsetof(struct hello, max_message), 0, 8);
    CHECK(greet(&none, sentence, sizeof sentence) == 0 && strstr(sentence, "max_message"));
    uint32_t magic = __builtin_bswap32(HELLO_MAGIC);
    memcpy(swapped.bytes, &magic, sizeof magic);
    CHECK(greet(&swapped, sentence, sizeof sentence) == 0 && strstr(sentence, "byte order"));
    few.size -= 4;
    few.bytes[offsetof(struct hello, offer_size)] = 4;
    CHECK(greet(&few, sentence, sizeof sentence) == 0 && strstr(sentence, "too short for shared memory"));
    lone.size = 20;
    CHECK(greet(&lone, sentence, sizeof sentence) == 0 && strstr(sentence, "a hello of 20 bytes"));
    long_offer.bytes[offsetof(struct hello, offer_size)] = 200;
    long_offer.size = sizeof(struct hello) + 200;
    CHECK(greet(&long_offer, sentence, sizeof sentence) == 0 && strstr(sentence, "a hello of 240 bytes"));
    long_offer.size = sizeof long_offer.bytes;
    CHECK(greet(&long_offer, sentence, sizeof sentence) == 0 && strstr(sentence, "a note of over"));
    CHECK(greet_raw(&other.note, 8, NULL, 0, sentence, sizeof sentence) == 0 && strstr(sentence, "a note of 8 bytes"));
    other.note.type = NOTE_RING;
    CHECK(greet(&other, sentence, sizeof sentence) == 0 && strstr(sentence, "expected a hello"));
    sys_close(fds[0]);
    sys_close(fds[1]);
    printf("ok bad fields\n");
}

/* ---- At random ---- */

static void mutate(struct source *source, struct greeting *greeting) {
    for (uint64_t n = 1 + draw_below(source, 2); n > 0; n--) {
        size_t at = (size_t)draw_below(source, greeting->size);
        if (chance(source, 128))
            greeting->bytes[at] = (uint8_t)draw(source);
        else
            greeting->bytes[at] ^= (uint8_t)(1u << draw_below(source, 8));
    }
    if (chance(source, 30))
        greeting->size = (size_t)draw_below(source, sizeof greeting->bytes);
    if (chance(source, 20))
        greeting->note.type = (uint32_t)draw_near(source, NOTE_HELLO);
    if (chance(source, 30))
        greeting->n_fds = (unsigned)draw_below(source, 3);
}

static void at_random(uint64_t seed, uint64_t hellos) {
    struct source source = { .seed = seed | 1 };
    uint64_t in = 0;
    int fds[] = { segment_good(), carrier_good() };
    for (uint64_t i = 0; i < hellos; i++) {
        struct greeting greeting = greeting_good(fds[0], fds[1]);
        char sentence[OFFER_DATA + 1];
        mutate(&source, &greeting);
        in += (uint64_t)greet(&greeting, sentence, sizeof sentence);
        if (i % 200 == 0)
            honest_gets_in();
    }
    sys_close(fds[0]);
    sys_close(fds[1]);
    printf("# %llu mutated hellos, %llu let in (features, say, may be anything)\n", (unsigned long long)hellos, (unsigned long long)in);
    printf("ok mutated hellos\n");
}

int main(int count, char **words) {
    uint64_t hellos = getenv("HAWSER_TEST_LONG") ? LONG : QUICK, seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(words[i], "--seed") == 0)
            seed = strtoull(words[i + 1], NULL, 10);
        else if (strcmp(words[i], "--hellos") == 0)
            hellos = strtoull(words[i + 1], NULL, 10);
    }
    char directory[100];
    const char *temporary = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/hawser-hostile-XXXXXX", temporary ? temporary : "/tmp");
    CHECK(mkdtemp(directory));
    snprintf(address, sizeof address, "shm://%s/door?ring=4K", directory);
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    guard_maps();
    CHECK(hawser_listen(address, NULL, &listener) == 0);
    honest_gets_in();
    unsigned descriptors = descriptors_open(), maps = maps_made();
    bad_segments();
    bad_carriers();
    counts_of_descriptors();
    bad_fields();
    at_random(seed, hellos);
    honest_gets_in();
    CHECK(descriptors_open() == descriptors && maps_made() == maps);
    listener = hawser_listener_close(listener);
    rmdir(directory);
    return 0;
}
