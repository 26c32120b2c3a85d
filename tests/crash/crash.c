/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death at any instruction. Each operation over shm is done by a victim, a process that this one traces, and whose peer it is.
 *
 * First the victim is stepped through the whole operation, and after every instruction its segment is read as its peer would:
 * there must be a prefix of whole messages, and no cursor that a peer could not believe. Then it is killed: at every instruction
 * of the short operations (a sample in the quick run), at every system call's entry and exit and at random instructions of the
 * long ones. Each time the survivor must get whole messages and then the end, within 100 ms of the death, and afterwards hold as
 * many descriptors and maps as before. */

#include "crash.h"

#include "core/channel.h"
#include "transport/shm/shm.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOLD_WITHIN (SECOND / 10)
#define QUICK_POINTS 30
#define QUICK_RANDOM 3
#define RANDOM_POINTS 1000

static bool is_long;
static uint8_t buffer[LARGEST];
static char address[HAWSER_ADDRESS_MAX];
static hawser_listener *listener;

struct victim {
    const struct operation *operation;
    pid_t pid;
    hawser_channel *channel; /* the survivor's end; NULL before it was accepted */
    uint64_t visible;        /* messages that could be read after the last instruction */
};

void die(const char *file, int line, const char *what, long got, long wanted) {
    fprintf(stderr, "%s:%d: process %d: %s gave %ld, expected %ld: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line,
            (int)getpid(), what, got, wanted, hawser_explain());
    _exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* ---- Leading a victim ---- */

static void accept_now(struct victim *victim) {
    if (!victim->channel && hawser_accept(listener, HAWSER_NOW, &victim->channel) < 0)
        victim->channel = NULL;
}

/* Waits until the victim stops; a connecting one is accepted meanwhile. The signal; 0: it ended. */
static int await_stop(struct victim *victim) {
    int status;
    bool accepts = victim->operation->connects && !victim->channel;
    for (;;) {
        pid_t pid = waitpid(victim->pid, &status, accepts ? WNOHANG : 0);
        if (pid == victim->pid)
            return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
        if (accepts)
            accept_now(victim);
    }
}

/* The constants are of another type in each libc. */
static void resume(struct victim *victim, bool to_call) {
    EXPECT(to_call ? ptrace(PTRACE_SYSCALL, victim->pid, NULL, NULL) : ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, NULL), 0);
}

/* Takes the operation's messages from index on, until an error; that, and how many there are by then. */
static int receive_messages(struct victim *victim, size_t most, size_t *ret_n) {
    const struct operation *operation = victim->operation;
    for (*ret_n = 0; *ret_n < most; ++*ret_n) {
        size_t size, n;
        int fds[4];
        int r = hawser_recv_fds(victim->channel, buffer, sizeof buffer, fds, 4, PATIENCE, &size, &n);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
        if (*ret_n >= operation->n || size != operation->sizes[*ret_n] || !message_is(buffer, size, *ret_n))
            die(__FILE__, __LINE__, "the next message is whole", 0, 1);
    }
    return 0;
}

/* A victim at the beginning of its operation. */
static void victim_start(struct victim *victim, const struct operation *operation) {
    size_t received;
    *victim = (struct victim){ .operation = operation, .pid = fork() };
    if (victim->pid == 0)
        victim_main(operation, address);
    if (!operation->connects)
        EXPECT(hawser_accept(listener, PATIENCE, &victim->channel), 0);
    for (int round = operation->warm ? 0 : 1; round < 2 && !operation->connects; round++) {
        EXPECT(hawser_send(victim->channel, "!", 1, PATIENCE), 0);
        for (size_t i = 0; operation->receives && i < operation->n; i++) {
            message_fill(buffer, operation->sizes[i], i);
            EXPECT(hawser_send(victim->channel, buffer, operation->sizes[i], PATIENCE), 0);
        }
        if (!operation->receives && round == 0)
            EXPECT(receive_messages(victim, operation->n, &received), 0);
    }
    EXPECT(await_stop(victim), SIGSTOP);
}

/* ---- What the peer could read ---- */

static bool record_is(const struct ring_record *record, const struct operation *operation, size_t index) {
    struct shm_descriptor descriptor;
    if (index >= operation->n)
        return false;
    size_t size = operation->sizes[index];
    switch (record->kind) {
    case SHM_DATA:
        return record->size == size && message_is(record->body, size, index);
    case SHM_DATA_FDS:
        return record->size == size + sizeof(struct shm_fds_prefix) &&
               message_is(record->body + sizeof(struct shm_fds_prefix), size, index);
    default:
        memcpy(&descriptor, record->body, sizeof descriptor);
        return record->size == sizeof descriptor && descriptor.size == size;
    }
}

/* With a private copy of the receiving half: nothing is taken. */
static void check_sent(struct victim *victim) {
    struct shm_link *shm = shm_of(victim->channel->link);
    EXPECT(receiver_meet(shm), true);
    struct ring_reader reader = shm->receiver.ring;
    struct ring_record record;
    uint64_t messages = 0;
    int r;
    while ((r = ring_next(&reader, &record)) == 1) {
        if (record.kind != SHM_CHUNK && !record_is(&record, victim->operation, (size_t)messages++))
            die(__FILE__, __LINE__, "a message that can be read is whole", 0, 1);
        reader.read = record.end;
    }
    EXPECT(r, 0);
    if (messages < victim->visible)
        die(__FILE__, __LINE__, "messages that can be read", (long)messages, (long)victim->visible);
    victim->visible = messages;
}

/* What the victim took and released, with a private copy of the sending half. */
static void check_taken(struct victim *victim) {
    static struct pool_writer pool;
    struct shm_sender *sender = &shm_of(victim->channel->link)->sender;
    struct ring_writer writer = sender->ring;
    uint64_t taken = load_acquire(&sender->peer->taken);
    EXPECT(ring_refresh(&writer), 0);
    EXPECT(taken >= victim->visible && taken <= load_relaxed(&writer.messages), 1);
    victim->visible = taken;
    if (sender->pool) {
        pool = *sender->pool;
        EXPECT(pool_reap(&pool, sender->peer), 0);
    }
}

/* Steps through the whole operation; how many instructions it has. */
static uint64_t observe(const struct operation *operation) {
    struct victim victim;
    uint64_t steps = 0;
    victim_start(&victim, operation);
    for (;; steps++) {
        resume(&victim, false);
        int signal = await_stop(&victim);
        if (signal == SIGSTOP)
            break;
        EXPECT(signal, SIGTRAP);
        if (operation->connects && steps % 256 == 0)
            accept_now(&victim);
        else if (operation->receives)
            check_taken(&victim);
        else if (!operation->connects)
            check_sent(&victim);
    }
    if (!operation->connects && victim.visible < operation->n)
        die(__FILE__, __LINE__, "messages at the end", (long)victim.visible, (long)operation->n);
    kill(victim.pid, SIGKILL);
    waitpid(victim.pid, NULL, 0);
    hawser_close(victim.channel);
    return steps;
}

/* ---- The kills ---- */

/* Whole messages, then the end, in time. */
static void survive_receiving(struct victim *victim, int64_t death) {
    size_t received;
    int r = receive_messages(victim, SIZE_MAX, &received);
    if (received < victim->visible)
        die(__FILE__, __LINE__, "messages after the death", (long)received, (long)victim->visible);
    if (r != -ECONNRESET && !(victim->operation->ends && r == -ESHUTDOWN))
        die(__FILE__, __LINE__, "the end", r, -ECONNRESET);
    if (now() - death > TOLD_WITHIN)
        die(__FILE__, __LINE__, "the end came after ns", (long)(now() - death), TOLD_WITHIN);
}

static void survive_sending(struct victim *victim, int64_t death) {
    int r;
    while ((r = hawser_send(victim->channel, buffer, 1000, PATIENCE)) == 0)
        if (now() - death > TOLD_WITHIN)
            die(__FILE__, __LINE__, "sending to a dead peer", r, -EPIPE);
    EXPECT(r, -EPIPE);
    const struct shm_sender *sender = &shm_of(victim->channel->link)->sender;
    bool all = load_acquire(&sender->peer->taken) == load_relaxed(&sender->ring.messages);
    EXPECT(hawser_flush(victim->channel, PATIENCE), all ? 0 : -ECONNRESET);
}

static void kill_here(struct victim *victim) {
    if (!victim->operation->receives && !victim->operation->connects)
        check_sent(victim);
    kill(victim->pid, SIGKILL);
    waitpid(victim->pid, NULL, 0);
    int64_t death = now();
    if (victim->operation->connects)
        accept_now(victim);
    if (!victim->channel)
        return;
    if (victim->operation->receives)
        survive_sending(victim, death);
    else
        survive_receiving(victim, death);
    hawser_close(victim->channel);
}

/* False: the operation was over before. */
static bool kill_after(const struct operation *operation, bool calls, uint64_t stops) {
    struct victim victim;
    bool over = false;
    victim_start(&victim, operation);
    for (uint64_t i = 0; i < stops && !over; i++) {
        resume(&victim, calls);
        over = await_stop(&victim) != SIGTRAP;
        if (operation->connects && i % 256 == 0)
            accept_now(&victim);
    }
    kill_here(&victim);
    return !over;
}

static uint64_t random_below(uint64_t n) { return (uint64_t)random() % n; }

static uint64_t kill_everywhere(const struct operation *operation, uint64_t steps) {
    uint64_t points = 0;
    if (operation->points == POINTS_ALL) {
        uint64_t stride = is_long ? 1 : steps / QUICK_POINTS + 1;
        for (uint64_t i = is_long ? 0 : random_below(stride); i <= steps; i += stride, points++)
            kill_after(operation, false, i);
        return points;
    }
    for (bool inside = true; inside; points++)
        inside = kill_after(operation, true, points + 1);
    for (unsigned i = 0; i < (is_long ? RANDOM_POINTS : QUICK_RANDOM); i++, points++)
        kill_after(operation, false, random_below(steps));
    return points;
}

/* ---- What is left ---- */

struct holdings {
    unsigned descriptors, maps;
};

static struct holdings holdings_now(void) {
    struct holdings holdings = { 0, 0 };
    char line[512];
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        holdings.descriptors++;
    closedir(directory);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        holdings.maps += strstr(line, "memfd:hawser") != NULL;
    fclose(maps);
    return holdings;
}

/* One whole life, so that what the listener holds ready is the same before and after. */
static struct holdings settle(void) {
    observe(&operations[0]);
    return holdings_now();
}

static bool can_trace(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void) {
    uint64_t all = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("not under this sanitizer: most instructions would be its own\n");
    return 77;
#endif
    if (!can_trace()) {
        printf("this process may not trace its children\n");
        return 77;
    }
    is_long = getenv("HAWSER_TEST_LONG") != NULL;
    srandom((unsigned)getpid());
    snprintf(address, sizeof address, "shm://crash-%d?" ADDRESS_OPTIONS, (int)getpid());
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    for (size_t i = 0; i < n_operations; i++) {
        struct holdings before = settle();
        uint64_t steps = observe(&operations[i]);
        uint64_t points = kill_everywhere(&operations[i], steps);
        struct holdings after = settle();
        EXPECT(after.descriptors, before.descriptors);
        EXPECT(after.maps, before.maps);
        printf("ok crash: %s: %llu instructions, killed at %llu points\n", operations[i].name, (unsigned long long)steps,
               (unsigned long long)points);
        fflush(stdout);
        all += points;
    }
    hawser_listener_close(listener);
    printf("%llu kills\n", (unsigned long long)all);
    return 0;
}
