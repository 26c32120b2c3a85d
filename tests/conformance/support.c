/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What promises are written with: checks, ends, processes, time, messages. */

#include "suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- checks ---- */

void fail(const char *file, int line, const char *format, ...) {
    char text[1024];
    const char *slash = strrchr(file, '/');
    int length = snprintf(text, sizeof text, "%s:%d: ", slash ? slash + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "%s\n", text);
    kill(0, SIGKILL); /* the cell's process group; a process that became another user only ends itself */
    _exit(1);
}

void skip(const char *why) {
    dprintf(STDERR_FILENO, "%s\n", why);
    _exit(77);
}

static const char *name_of(long result) {
    static _Thread_local char text[64];
    if (result >= 0)
        snprintf(text, sizeof text, "%ld", result);
    else
        snprintf(text, sizeof text, "%ld (%s)", result, strerror((int)-result));
    return text;
}

long expect(const char *file, int line, const char *text, long got, long wanted, long or_wanted) {
    const char *sentence = hawser_explain();
    if (got != wanted && got != or_wanted) {
        char wanted_text[64];
        snprintf(wanted_text, sizeof wanted_text, "%s", name_of(wanted));
        fail(file, line, "%s: expected %s, got %s; explained as \"%s\"", text, wanted_text, name_of(got), got < 0 ? sentence : "");
    }
    if (got < 0 && !*sentence)
        fail(file, line, "%s: %s without an explanation", text, name_of(got));
    return got;
}

/* ---- time ---- */

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

void nap(int64_t ns) {
    struct timespec rest = { .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
    while (nanosleep(&rest, &rest) < 0) {
    }
}

static bool one_asleep(pid_t pid, const char *thread) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", pid, thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] && name_end[2] == 'S';
}

static bool all_asleep(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    bool asleep = true;
    for (struct dirent *entry; threads && (entry = readdir(threads));)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != (int)gettid())
            asleep &= one_asleep(pid, entry->d_name);
    if (threads)
        closedir(threads);
    return asleep;
}

bool until_asleep(pid_t pid) {
    int64_t deadline = now_ns() + 10 * MS;
    bool asleep;
    do {
        nap(MS); /* let it begin to wait */
        asleep = all_asleep(pid);
    } while (!asleep && now_ns() < deadline);
    return asleep;
}

/* ---- addresses and ends ---- */

bool can(const struct cell *cell, int capability) {
    int capabilities = hawser_capabilities(cell->place->base);
    if (capabilities < 0)
        fail(__FILE__, __LINE__, "hawser_capabilities(%s): %s", cell->place->base, hawser_explain());
    return (capabilities & capability) != 0;
}

static void add_queries(const struct cell *cell, const char *query, char *address) {
    const char *parts[] = { cell->place->query, query };
    char mark = '?';
    for (size_t i = 0; i < 2; i++) {
        if (!*parts[i])
            continue;
        size_t length = strlen(address);
        snprintf(address + length, HAWSER_ADDRESS_MAX - length, "%c%s", mark, parts[i]);
        mark = '&';
    }
}

void address_new(struct cell *cell, const char *query, char *ret_address) {
    char *end = ret_address;
    size_t room = HAWSER_ADDRESS_MAX;
    cell->made++;
    for (const char *from = cell->place->base; *from; from++) {
        int length = *from == '*'   ? snprintf(end, room, "%s", cell->directory)
                     : *from == '#' ? snprintf(end, room, "%u", cell->made)
                                    : snprintf(end, room, "%c", *from);
        CHECK((size_t)length < room);
        end += length;
        room -= (size_t)length;
    }
    add_queries(cell, query, ret_address);
}

void address_bound(const struct cell *cell, const char *query, char *ret_address) {
    snprintf(ret_address, HAWSER_ADDRESS_MAX, "%s", cell->bound);
    add_queries(cell, query, ret_address);
}

hawser_listener *listen_new(struct cell *cell, const char *query) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener = NULL;
    address_new(cell, query, address);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    CHECK(listener);
    snprintf(cell->bound, sizeof cell->bound, "%s", hawser_listener_address(listener));
    cell->bound[strcspn(cell->bound, "?")] = '\0';
    return listener;
}

hawser_channel *connect_bound(const struct cell *cell, const char *query) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_channel *channel = NULL;
    address_bound(cell, query, address);
    EXPECT(hawser_connect(address, NULL, 10 * SECOND, &channel), 0);
    CHECK(channel);
    return channel;
}

hawser_channel *accept_one(hawser_listener *listener) {
    hawser_channel *channel = NULL;
    EXPECT(hawser_accept(listener, 10 * SECOND, &channel), 0);
    CHECK(channel);
    return channel;
}

struct connecting {
    const struct cell *cell;
    const char *query;
    hawser_channel *channel;
};

static void *connect_thread(void *argument) {
    struct connecting *connecting = argument;
    connecting->channel = connect_bound(connecting->cell, connecting->query);
    return NULL;
}

void ends_open(struct cell *cell, const char *query, hawser_channel **ret_sender, hawser_channel **ret_receiver) {
    hawser_listener *listener = listen_new(cell, query);
    struct connecting connecting = { .cell = cell, .query = query };
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, connect_thread, &connecting) == 0);
    *ret_receiver = accept_one(listener);
    pthread_join(thread, NULL);
    *ret_sender = connecting.channel;
    hawser_listener_close(listener);
}

/* ---- two processes ---- */

pid_t fork_child(void) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

void reap(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        fail(__FILE__, __LINE__, "the other process was killed by signal %d", WTERMSIG(status));
    CHECK(WEXITSTATUS(status) == 0);
}

void tell(struct side *side) { CHECK(send(side->control, "t", 1, MSG_NOSIGNAL) == 1); }

void hear(struct side *side) {
    char byte;
    ssize_t got;
    do
        got = read(side->control, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got != 1)
        fail(__FILE__, __LINE__, "the other process ended early");
}

void kill_other(struct side *side) {
    CHECK(kill(side->other, SIGKILL) == 0);
    CHECK(waitpid(side->other, NULL, 0) == side->other);
    side->killed = true;
}

/* The listening child says where: only it may use its listener. */
static void child_main(struct side *side, const char *query, hawser_listener *listener, act *child) {
    if (listener) {
        hawser_listener_close(listener); /* the copy; the listener itself is the parent's */
        side->channel = connect_bound(side->cell, query);
    } else {
        listener = listen_new(side->cell, query);
        CHECK(write(side->control, side->cell->bound, sizeof side->cell->bound) == sizeof side->cell->bound);
        side->channel = accept_one(listener);
        hawser_listener_close(listener);
    }
    child(side);
    hawser_close(side->channel);
    exit(0);
}

void meet_as(struct cell *cell, const char *query, bool child_connects, act *child, act *parent) {
    int control[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0);
    hawser_listener *listener = child_connects ? listen_new(cell, query) : NULL;
    pid_t self = getpid();
    struct side side = { .cell = cell, .control = control[0], .other = fork_child(), .child = true };
    if (side.other == 0) {
        close(control[0]);
        side = (struct side){ .cell = cell, .control = control[1], .other = self };
        child_main(&side, query, listener, child);
    }
    close(control[1]);
    if (child_connects) {
        side.channel = accept_one(listener);
        hawser_listener_close(listener);
    } else {
        cell->made++; /* the name the child took */
        CHECK(recv(side.control, cell->bound, sizeof cell->bound, MSG_WAITALL) == sizeof cell->bound);
        side.channel = connect_bound(cell, query);
    }
    parent(&side);
    hawser_close(side.channel);
    if (!side.killed)
        reap(side.other);
    close(side.control);
}

void meet(struct cell *cell, const char *query, act *connecting, act *listening) {
    meet_as(cell, query, true, connecting, listening);
}

void meet_both_ways(struct cell *cell, const char *query, act *sender, act *receiver) {
    meet(cell, query, sender, receiver);
    if (can(cell, HAWSER_CAN_TWO_WAY))
        meet(cell, query, receiver, sender);
}

/* ---- messages ---- */

uint64_t random_next(uint64_t *state) {
    uint64_t value = *state;
    value ^= value >> 12;
    value ^= value << 25;
    value ^= value >> 27;
    *state = value;
    return value * 0x2545f4914f6cdd1dull;
}

/* One block of noise; a message is a window of it that moves by a prime from number to number. */
const uint8_t *noise(uint64_t number) {
    enum { WINDOWS = 4093 };
    static uint64_t *block;
    uint64_t *ready = __atomic_load_n(&block, __ATOMIC_ACQUIRE);
    if (!ready) {
        size_t words = NOISE / 8 + WINDOWS / 8 + 1;
        uint64_t *fresh = malloc(words * 8), state = 88172645463325252ull;
        CHECK(fresh);
        for (size_t i = 0; i < words; i++)
            fresh[i] = random_next(&state);
        if (__atomic_compare_exchange_n(&block, &ready, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ready = fresh;
        else
            free(fresh);
    }
    return (const uint8_t *)ready + number * 1009 % WINDOWS;
}

void send_one(hawser_channel *channel, uint64_t number, size_t size) {
    EXPECT(hawser_send(channel, noise(number), size, HAWSER_FOREVER), 0);
}

void check_bytes(const void *data, size_t size, uint64_t number, size_t expected_size) {
    if (size != expected_size)
        fail(__FILE__, __LINE__, "message %llu has %zu bytes, expected %zu", (unsigned long long)number, size, expected_size);
    if (size > 0 && memcmp(data, noise(number), size) != 0)
        fail(__FILE__, __LINE__, "message %llu of %zu bytes is not what was sent", (unsigned long long)number, size);
}

void recv_one(hawser_channel *channel, uint64_t number, size_t size) {
    static _Thread_local uint8_t buffer[NOISE + 1];
    size_t got = SIZE_MAX;
    EXPECT(hawser_recv(channel, buffer, sizeof buffer, 15 * SECOND, &got), 0);
    check_bytes(buffer, got, number, size);
}

/* Over tcp the kernel goes on moving bytes, and growing its buffers, for a while after it first says that it is full. */
static int64_t settling_ns(hawser_channel *channel) {
    struct hawser_peer peer = HAWSER_PEER_INIT;
    int status = hawser_peer(channel, &peer);
    return status == 0 && peer.address[0] ? 400 * MS : HAWSER_NOW;
}

uint64_t fill(hawser_channel *channel, uint64_t first, size_t size) {
    int64_t settling = settling_ns(channel);
    uint64_t number = first;
    while (number - first < 10000000) {
        int status = hawser_send(channel, noise(number), size, HAWSER_NOW);
        if (status == -EAGAIN && settling > 0)
            status = hawser_send(channel, noise(number), size, settling);
        if (status == -EAGAIN || status == -ETIMEDOUT)
            return number - first;
        EXPECT(status, 0);
        number++;
    }
    fail(__FILE__, __LINE__, "a queue that never fills");
}

void drain(hawser_channel *sender, hawser_channel *receiver, uint64_t first, uint64_t n, size_t size) {
    static uint8_t buffer[NOISE];
    int64_t deadline = now_ns() + 10 * SECOND;
    for (uint64_t i = 0; i < n;) {
        size_t got;
        int status = hawser_recv(receiver, buffer, sizeof buffer, HAWSER_NOW, &got);
        if (status == 0) {
            check_bytes(buffer, got, first + i++, size);
            deadline = now_ns() + 10 * SECOND;
            continue;
        }
        EXPECT(status, -EAGAIN);
        hawser_poll_item item = { .channel = sender, .events = HAWSER_OUT };
        (void)!hawser_poll(&item, 1, HAWSER_NOW);
        if (now_ns() > deadline)
            fail(__FILE__, __LINE__, "%llu of %llu messages arrived", (unsigned long long)i, (unsigned long long)n);
    }
}

/* ---- what the process holds ---- */

unsigned descriptors_open(void) {
    unsigned n = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n - 3; /* ".", ".." and the directory itself */
}

unsigned maps_count(void) {
    unsigned n = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps);
    while (fgets(line, sizeof line, maps))
        n += strchr(line, '\n') != NULL;
    fclose(maps);
    return n;
}
