/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Many channels in one process. This one listens; helpers, forked before, hold the other ends. First a crowd of which nearly all
 * are idle while peers send, close, die and come, and each poll must tell of just what there is; then as many channels as
 * the limit of descriptors allows, up to 10,000: messages through all, what an idle one takes, and nothing left after.
 *
 * usage: scale crowd|hold [CHANNELS] */

#include <dirent.h>
#include <errno.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (30 * SECOND)
#define HELPERS 4
#define MOST 10000
#define DESCRIPTORS 3 /* of an idle channel */
#define SPARE 200
#define IDLE_MOST ((uint64_t)256 << 10) /* bytes resident, a side: promised */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* slow, and with memory of its own beside each allocation */
#else
#define SANITIZED 0
#endif

struct helper {
    pid_t pid;
    int control; /* a seqpacket socket: struct order there, a number back for some */
};

/* CONNECT: n more, from index on; ECHO: receive one and send it back, on each of n from index on; SEND and CLOSE: on one;
 * MEASURE: answers with the bytes that all take. */
enum verb { CONNECT, SEND, ECHO, CLOSE, MEASURE, LEAVE };

struct order {
    enum verb verb;
    unsigned index, n;
    uint64_t number; /* SEND: the message */
};

struct peer {
    hawser_channel *channel;
    unsigned helper, index; /* whose, and which of its channels */
    uint64_t sent, received; /* messages to us */
    bool ended;              /* it was told to close, or is dead */
    bool away;               /* not polled now */
};

static struct helper helpers[HELPERS];
static struct peer *peers;
static hawser_poll_item *items; /* of the same index */
static unsigned n_peers;
static char address[128];
static uint64_t random_state = 42;

static void __attribute__((format(printf, 2, 3), noreturn)) fail(int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "scale.c:%d: ", line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1); /* helpers die with us */
}

#define CHECK(CONDITION) ((CONDITION) ? (void)0 : fail(__LINE__, "%s (%s)", #CONDITION, hawser_explain()))

static unsigned random_below(unsigned n) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % n;
}

/* ---- what is open, and what it takes ---- */

static unsigned descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;
    CHECK(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static unsigned maps(void) {
    FILE *file = fopen("/proc/self/maps", "re");
    unsigned n = 0;
    CHECK(file);
    for (int c; (c = getc(file)) != EOF;)
        n += c == '\n';
    fclose(file);
    return n;
}

/* Private memory that is resident, and the whole of each memfd that this process can write: what its own side takes. */
static uint64_t private_bytes(void) {
    char line[256];
    uint64_t bytes = 0, kb;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Anonymous: %llu", (unsigned long long *)&kb) == 1)
            bytes = kb * 1024;
    fclose(file);
    return bytes;
}

static uint64_t memfd_bytes(void) {
    char line[512], flags[8];
    uint64_t bytes = 0;
    unsigned long long from, to;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        if (strstr(line, "/memfd:hawser") && sscanf(line, "%llx-%llx %7s", &from, &to, flags) == 3 && flags[1] == 'w')
            bytes += to - from;
    fclose(file);
    return bytes;
}

static uint64_t own_bytes(void) { return private_bytes() + memfd_bytes(); }

/* ---- the other ends ---- */

static void obey(hawser_channel **channels, const struct order *order, int control) {
    char buffer[16];
    size_t size;
    uint64_t answer;
    for (unsigned i = order->index; i < order->index + order->n; i++)
        switch (order->verb) {
        case CONNECT: CHECK(hawser_connect(address, NULL, PATIENCE, &channels[i]) == 0); break;
        case SEND: CHECK(hawser_send(channels[i], &order->number, sizeof order->number, PATIENCE) == 0); break;
        case ECHO:
            CHECK(hawser_recv(channels[i], buffer, sizeof buffer, PATIENCE, &size) == 0);
            CHECK(hawser_send(channels[i], buffer, size, PATIENCE) == 0);
            break;
        case CLOSE: channels[i] = hawser_close(channels[i]); break;
        case MEASURE:
            answer = own_bytes();
            CHECK(send(control, &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer);
            break;
        case LEAVE: exit(0);
        }
}

static void __attribute__((noreturn)) help(int control) {
    hawser_channel **channels = calloc(MOST, sizeof(hawser_channel *));
    struct order order;
    CHECK(channels);
    while (recv(control, &order, sizeof order, 0) == sizeof order)
        obey(channels, &order, control);
    exit(1);
}

static void ask(unsigned helper, enum verb verb, unsigned index, unsigned n, uint64_t number) {
    struct order order = { .verb = verb, .index = index, .n = n, .number = number };
    CHECK(send(helpers[helper].control, &order, sizeof order, MSG_NOSIGNAL) == sizeof order);
}

static hawser_listener *listener;

static void helper_start(unsigned k) {
    int control[2];
    pid_t parent = getpid();
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    fflush(NULL);
    helpers[k].pid = fork();
    CHECK(helpers[k].pid >= 0);
    if (helpers[k].pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            exit(1);
        for (unsigned i = 0; i < n_peers; i++) /* copies of what others hold */
            hawser_close(peers[i].channel);
        hawser_listener_close(listener);
        help(control[1]);
    }
    close(control[1]);
    helpers[k].control = control[0];
}

static void helper_end(unsigned k, bool killed) {
    int status;
    if (killed)
        kill(helpers[k].pid, SIGKILL);
    else
        ask(k, LEAVE, 0, 1, 0);
    CHECK(waitpid(helpers[k].pid, &status, 0) == helpers[k].pid);
    CHECK(killed ? WIFSIGNALED(status) : status == 0);
    close(helpers[k].control);
}

/* Channels of one helper, from its index on; they stand from ours on. */
static void connect_some(unsigned helper, unsigned index, unsigned ours, unsigned n) {
    ask(helper, CONNECT, index, n, 0);
    for (unsigned i = 0; i < n; i++) {
        struct peer *peer = &peers[ours + i];
        *peer = (struct peer){ .helper = helper, .index = index + i };
        CHECK(hawser_accept(listener, PATIENCE, &peer->channel) == 0);
        items[ours + i] = (hawser_poll_item){ .channel = peer->channel, .events = HAWSER_IN };
    }
}

static void begin(unsigned n) {
    snprintf(address, sizeof address, "shm://scale-%d?linger=0", (int)getpid());
    peers = calloc(n, sizeof *peers);
    items = calloc(n, sizeof *items);
    CHECK(peers && items);
    for (unsigned k = 0; k < HELPERS; k++)
        helper_start(k);
    CHECK(hawser_listen(address, NULL, &listener) == 0);
    for (unsigned k = 0; k < HELPERS; k++)
        connect_some(k, 0, n / HELPERS * k, n / HELPERS);
    n_peers = n / HELPERS * HELPERS;
}

/* ---- a crowd: each poll tells of what there is, and of nothing else ---- */

/* What is there on a channel: all of it is received. Returns whether it goes on. */
static bool receive_all(struct peer *peer) {
    uint64_t number = 0;
    size_t size;
    int r;
    while ((r = hawser_recv(peer->channel, &number, sizeof number, HAWSER_NOW, &size)) == 0) {
        CHECK(number == peer->received && number < peer->sent);
        peer->received++;
    }
    if (r == -ESHUTDOWN || r == -ECONNRESET) {
        CHECK(peer->ended);
        return false;
    }
    CHECK(r == -EAGAIN);
    return true;
}

static bool due(const struct peer *peer) { return !peer->away && (peer->received < peer->sent || peer->ended); }

/* One that ended makes room for a new one. The dead have lost what they had not sent. */
static void replace(unsigned i) {
    struct peer *peer = &peers[i];
    unsigned helper = peer->helper, index = peer->index;
    hawser_close(peer->channel);
    peer->channel = NULL;
    connect_some(helper, index, i, 1);
}

/* Polls until nothing is due. */
static void settle(unsigned n_due) {
    while (n_due > 0) {
        int ready = hawser_poll(items, n_peers, PATIENCE), seen = 0;
        if (ready < 1)
            fail(__LINE__, "asleep though %u channels have something: %s", n_due, hawser_explain());
        for (unsigned i = 0; i < n_peers; i++) {
            if (!items[i].ret_events)
                continue;
            seen++;
            if (!due(&peers[i]))
                fail(__LINE__, "told of channel %u, where nothing is", i);
            bool goes_on = receive_all(&peers[i]);
            n_due -= goes_on ? !due(&peers[i]) : 1;
            if (!goes_on)
                replace(i);
        }
        CHECK(seen == ready);
    }
}

static void quiet(void) { CHECK(hawser_poll(items, n_peers, SECOND / 2000) == -ETIMEDOUT); }

static unsigned order_send(unsigned i) {
    bool was_due = due(&peers[i]);
    if (peers[i].ended)
        return 0;
    ask(peers[i].helper, SEND, peers[i].index, 1, peers[i].sent++);
    return !was_due && due(&peers[i]);
}

static unsigned order_close(unsigned i) {
    bool was_due = due(&peers[i]);
    if (peers[i].ended || peers[i].away)
        return 0;
    ask(peers[i].helper, CLOSE, peers[i].index, 1, 0);
    peers[i].ended = true;
    return !was_due;
}

/* What comes on a channel that is not polled is told once it is polled again, and not before. */
static void away_and_back(void) {
    unsigned from = random_below(n_peers), n = 1 + random_below(9), n_due = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned i = (from + k * 7) % n_peers;
        peers[i].away = true;
        items[i].channel = NULL;
        order_send(i);
    }
    settle(order_send((from + 1) % n_peers));
    for (unsigned k = 0; k < n; k++) {
        unsigned i = (from + k * 7) % n_peers;
        n_due += peers[i].away && peers[i].received < peers[i].sent;
        peers[i].away = false;
        items[i].channel = peers[i].channel;
    }
    settle(n_due);
}

/* A helper is killed with all of its channels, and another takes its place. */
static void kill_one(unsigned k) {
    unsigned n_due = 0, first = n_peers;
    for (unsigned i = 0; i < n_peers; i++)
        if (peers[i].helper == k) {
            peers[i].ended = true;
            n_due++;
            first = i < first ? i : first;
        }
    helper_end(k, true);
    helper_start(k);
    settle(n_due);
    CHECK(n_due == n_peers / HELPERS && !peers[first].ended);
}

static void crowd(unsigned n, unsigned rounds) {
    begin(n);
    quiet();
    for (unsigned round = 0; round < rounds; round++) {
        unsigned n_due = 0, senders = round % 10 == 0 ? 1 + random_below(n_peers / 4) : 1 + random_below(3);
        for (unsigned k = 0; k < senders; k++)
            n_due += order_send(random_below(n_peers));
        if (round % 5 == 0)
            n_due += order_close(random_below(n_peers));
        settle(n_due);
        if (round % 50 == 7)
            away_and_back();
        if (round % 100 == 11)
            quiet();
        if (round % (rounds / 2) == rounds / 4)
            kill_one(random_below(HELPERS));
    }
    printf("ok %u channels: each of %u polls told of what there was\n", n_peers, rounds);
}

/* ---- as many as can be ---- */

static unsigned raise_limit(unsigned wanted) {
    struct rlimit limit;
    rlim_t need = (rlim_t)wanted * DESCRIPTORS + SPARE;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur >= need)
        return wanted;
    struct rlimit raised = { .rlim_cur = need, .rlim_max = limit.rlim_max > need ? limit.rlim_max : need };
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    unsigned n = (unsigned)((limit.rlim_cur - SPARE) / DESCRIPTORS);
    if (n >= wanted)
        return wanted;
    printf("%u channels instead of %u: the hard limit of descriptors is %llu, and we may not raise it\n", n, wanted,
           (unsigned long long)limit.rlim_max);
    return n;
}

/* Both sides of each, with some to spare. */
static unsigned fit_memory(unsigned wanted) {
    unsigned long long kb = 0;
    char line[256];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu", &kb) != 1)
        continue;
    if (file)
        fclose(file);
    unsigned n = (unsigned)(kb / 320);
    if (n >= wanted)
        return wanted;
    printf("%u channels instead of %u: %llu MB of memory are free\n", n, wanted, kb / 1024);
    return n;
}

static void check_memory(const char *who, uint64_t bytes, unsigned n) {
    printf("ok %s: an idle channel takes %llu KiB\n", who, (unsigned long long)(bytes / n / 1024));
    CHECK(SANITIZED || bytes / n <= IDLE_MOST);
}

static uint64_t measured(unsigned helper) {
    uint64_t bytes = 0;
    ask(helper, MEASURE, 0, 1, 0);
    CHECK(recv(helpers[helper].control, &bytes, sizeof bytes, 0) == sizeof bytes);
    return bytes;
}

/* A message there and back on each. */
static void echo_all(void) {
    for (unsigned i = 0; i < n_peers; i++)
        CHECK(hawser_send(peers[i].channel, &peers[i].received, sizeof peers[i].received, HAWSER_NOW) == 0);
    for (unsigned k = 0; k < HELPERS; k++)
        ask(k, ECHO, 0, n_peers / HELPERS, 0);
    for (unsigned i = 0; i < n_peers; i++)
        peers[i].sent++;
    settle(n_peers);
}

static void hold(unsigned wanted) {
    unsigned n = fit_memory(raise_limit(wanted));
    unsigned descriptors_before = descriptors(), maps_before = maps();
    uint64_t bytes_before = own_bytes(), helper_before;
    begin(HELPERS);
    helper_before = measured(0);
    for (unsigned k = 0; k < HELPERS; k++)
        peers[k].ended = false;
    n_peers = HELPERS;
    peers = realloc(peers, n * sizeof *peers);
    items = realloc(items, n * sizeof *items);
    CHECK(peers && items);
    unsigned each = n / HELPERS - 1;
    for (unsigned k = 0; k < HELPERS; k++)
        connect_some(k, 1, HELPERS + k * each, each);
    n_peers = HELPERS + HELPERS * each;
    quiet();
    echo_all();
    quiet();
    check_memory("this process", own_bytes() - bytes_before, n_peers);
    check_memory("the other side", measured(0) - helper_before, n_peers / HELPERS);
    echo_all();
    for (unsigned k = 0; k < HELPERS; k++)
        helper_end(k, false); /* an exit is a death to its channels */
    for (unsigned i = 0; i < n_peers; i++) {
        uint64_t number;
        size_t size;
        CHECK(hawser_recv(peers[i].channel, &number, sizeof number, PATIENCE, &size) == -ECONNRESET);
        hawser_close(peers[i].channel);
    }
    hawser_listener_close(listener);
    /* the poller's epoll and bell, a waker, and what the C library keeps */
    CHECK(descriptors() <= descriptors_before + 3 && (SANITIZED || maps() <= maps_before + 16));
    printf("ok %u channels in one process, and nothing of them is left\n", n_peers);
}

int main(int argc, char **argv) {
    bool in_long = getenv("HAWSER_TEST_LONG") != NULL;
    bool crowds = argc > 1 && strcmp(argv[1], "crowd") == 0;
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : crowds ? 1000 : MOST;
    if (SANITIZED && n > 400)
        n = 400;
    if (crowds)
        crowd(fit_memory(raise_limit(n)), SANITIZED ? 100 : in_long ? 20000 : 400);
    else
        hold(n);
    if (crowds)
        for (unsigned i = 0; i < n_peers; i++)
            hawser_close(peers[i].channel);
    if (crowds)
        hawser_listener_close(listener);
    free(peers);
    free(items);
    for (unsigned k = 0; crowds && k < HELPERS; k++)
        helper_end(k, false);
    return 0;
}
