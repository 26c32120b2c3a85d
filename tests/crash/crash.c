/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death at any instruction. Each operation over shm is done by a victim, a process that this one traces, and whose peer it is.
 *
 * First the victim is stepped through the whole operation, and after every instruction its segment is read as its peer would
 * (look.c). Then it is killed: at every instruction of the operations that move messages (a sample in the quick run), at every
 * system call's entry and exit and at random instructions of the others. Each time the survivor must get whole messages and then
 * the end, within 100 ms of the death, and afterwards hold as many descriptors, maps and names as before. */

#include "listen.h"
#include "look.h"
#include "trial.h"

#include "core/channel.h"
#include "transport/shm/shm.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOLD_WITHIN (SECOND / 10)
#define QUICK_POINTS 30
#define QUICK_RANDOM 5
#define RANDOM_POINTS 1000
#define IDLE_NS (SECOND / 500) /* so long without a stop, and it is looked whether it sleeps */

static uint8_t buffer[SIXTH];
static char address[HAWSER_ADDRESS_MAX];
static hawser_listener *listener;

/* ---- The other end of a victim ---- */

static void accept_now(struct victim *victim) {
    if (!victim->channel && hawser_accept(listener, HAWSER_NOW, &victim->channel) < 0)
        victim->channel = NULL;
}

/* The next message of the operation. */
static void send_next(struct victim *victim) {
    const struct operation *operation = victim->operation;
    int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
    size_t index = victim->sent++ % operation->n, size = size_of(operation, index);
    message_fill(buffer, size, index);
    if (operation->fds == 0)
        EXPECT(hawser_send(victim->channel, buffer, size, PATIENCE), 0);
    else
        EXPECT(hawser_send_fds(victim->channel, buffer, size, fds, operation->fds, PATIENCE), 0);
}

/* Takes up to so many of the operation's messages, which must be whole; an error ends it. */
static int receive_messages(struct victim *victim, size_t most, int64_t timeout) {
    const struct operation *operation = victim->operation;
    for (size_t end = victim->received + most; victim->received < end; victim->received++) {
        size_t size, n, index = victim->received;
        int fds[4];
        int r = hawser_recv_fds(victim->channel, buffer, sizeof buffer, fds, 4, timeout, &size, &n);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            close(fds[i]);
        if (index >= operation->n || size != size_of(operation, index) || !message_is(buffer, size, index))
            die(__FILE__, __LINE__, "the next message is whole", 0, 1);
        EXPECT(n, operation->fds);
    }
    return 0;
}

/* The victim sleeps: what it may wait for. */
static void move_on(struct victim *victim) {
    if (victim->operation->connects)
        accept_now(victim);
    else if (!victim->operation->receives)
        receive_messages(victim, 1, HAWSER_NOW);
    else if (victim->sent < victim->operation->n)
        send_next(victim);
}

/* Waits until the victim stops, and moves on what it waits for. The signal; 0: it ended. */
static int await_stop(void *argument) {
    struct victim *victim = argument;
    bool alone = !victim->operation->waits && !victim->operation->connects;
    const struct timespec idle = { .tv_nsec = IDLE_NS };
    int status;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (waitpid(victim->pid, &status, alone ? 0 : WNOHANG) != victim->pid)
        if (sigtimedwait(&child, NULL, &idle) < 0 && errno == EAGAIN && trace_asleep(victim->pid))
            move_on(victim);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

/* ---- Lives ---- */

/* A victim at the beginning of its operation. */
static void victim_start(struct victim *victim, const struct operation *operation) {
    *victim = (struct victim){ .operation = operation, .pid = fork() };
    if (victim->pid == 0)
        victim_main(operation, address);
    if (!operation->connects)
        EXPECT(hawser_accept(listener, PATIENCE, &victim->channel), 0);
    for (unsigned round = 0; round <= operation->warm && !operation->connects; round++) {
        bool last = round == operation->warm;
        victim->sent = victim->received = 0;
        EXPECT(hawser_send(victim->channel, "!", 1, PATIENCE), 0);
        for (size_t i = 0; operation->receives && !(operation->waits && last) && i < operation->n; i++)
            send_next(victim);
        if (!operation->receives && !last)
            EXPECT(receive_messages(victim, operation->n, PATIENCE), 0);
    }
    victim->received = 0;
    EXPECT(waitpid(victim->pid, NULL, 0), victim->pid);
}

/* Dead, and known to be. */
static int64_t victim_kill(struct victim *victim) {
    kill(victim->pid, SIGKILL);
    waitpid(victim->pid, NULL, 0);
    return now();
}

/* Whole messages, then the end, in time. */
static void survive_receiving(struct victim *victim, int64_t death) {
    int r = receive_messages(victim, MESSAGES_MOST + 1, PATIENCE);
    if (victim->received < victim->visible)
        die(__FILE__, __LINE__, "messages after the death", (long)victim->received, (long)victim->visible);
    if (r != -ECONNRESET && !(victim->operation->ends && r == -ESHUTDOWN))
        die(__FILE__, __LINE__, "the end", r, -ECONNRESET);
    if (now() - death > TOLD_WITHIN)
        die(__FILE__, __LINE__, "the end came after ns", (long)(now() - death), TOLD_WITHIN);
    EXPECT(hawser_send(victim->channel, "?", 1, PATIENCE), -EPIPE);
}

static void survive_sending(struct victim *victim, int64_t death) {
    int r;
    while ((r = hawser_send(victim->channel, buffer, 1000, PATIENCE)) == 0)
        if (now() - death > TOLD_WITHIN)
            die(__FILE__, __LINE__, "sending to a dead peer", r, -EPIPE);
    EXPECT(r, -EPIPE);
    const struct shm_sender *sender = &shm_of(victim->channel->link)->sender;
    uint64_t taken = load_acquire(&sender->peer->taken); /* pairs with ring_reader_publish */
    bool all = taken == load_relaxed(&sender->ring.messages);
    bool closed = load_acquire(&sender->peer->state) != SHM_OPEN; /* pairs with shm_tell */
    EXPECT(taken >= victim->visible, true);
    EXPECT(hawser_flush(victim->channel, PATIENCE), all ? 0 : closed ? -ESHUTDOWN : -ECONNRESET);
    size_t size;
    EXPECT(hawser_recv(victim->channel, buffer, sizeof buffer, PATIENCE, &size), closed ? -ESHUTDOWN : -ECONNRESET);
    if (now() - death > TOLD_WITHIN)
        die(__FILE__, __LINE__, "the end came after ns", (long)(now() - death), TOLD_WITHIN);
}

static void kill_here(struct victim *victim) {
    int64_t death = victim_kill(victim);
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

/* ---- What is left ---- */

struct holdings {
    int descriptors, maps, names;
};

static int entries(const char *path) {
    int n = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static struct holdings holdings_now(void) {
    struct holdings holdings = { .descriptors = entries("/proc/self/fd"), .names = entries(getenv("HAWSER_RUNTIME_DIR")) };
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        holdings.maps += strstr(line, "memfd:hawser") != NULL;
    fclose(maps);
    return holdings;
}

static struct holdings before;
static bool is_settled;

void settled(bool now) {
    is_settled = now;
    before = holdings_now();
}

/* The listener may hold the memory of the next link ready, or not: one descriptor and one map. */
void nothing_left(void) {
    struct holdings after = holdings_now();
    int ready = after.descriptors - before.descriptors;
    if (!is_settled)
        return;
    EXPECT(ready >= -1 && ready <= 1, true);
    EXPECT(after.maps - before.maps, ready);
    EXPECT(after.names, before.names);
}

/* ---- The kills ---- */

static pid_t begin(void *scene) {
    struct victim *victim = scene;
    victim_start(victim, victim->operation);
    return victim->pid;
}

static void look(void *scene) {
    struct victim *victim = scene;
    if (victim->operation->connects)
        accept_now(victim);
    look_at(victim);
}

static void done(void *scene) {
    struct victim *victim = scene;
    const struct operation *operation = victim->operation;
    if (!operation->receives)
        EXPECT(victim->visible, operation->n);
    else if (!operation->ends)
        EXPECT(victim->visible, load_relaxed(&shm_of(victim->channel->link)->sender.ring.messages));
}

static void end(void *scene) {
    kill_here(scene);
    nothing_left();
}

static struct trial trial_of(struct victim *victim, const struct operation *operation) {
    *victim = (struct victim){ .operation = operation };
    return (struct trial){
        .what = operation->name, .scene = victim, .begin = begin, .await = await_stop, .look = look, .done = done, .end = end,
    };
}

/* One whole life, so that what the listener holds ready is the same before and after. */
static void settle(void) {
    struct victim victim;
    struct trial trial = trial_of(&victim, &operations[0]);
    settled(false);
    struct path path = trial_observe(&trial);
    path_free(&path);
    settled(true);
}

/* Each operation has a listener of its own, so that both ends have its options. */
static void listen_for(const struct operation *operation) {
    snprintf(address, sizeof address, "shm://crash-%d?%s", (int)getpid(), operation->options ? operation->options : OPTIONS_SMALL);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    settle();
}

static uint64_t try_listeners(void) {
    listen_for(&operations[0]);
    hawser_listener_close(listener); /* what this thread needs to sleep is there now */
    return kill_listeners(is_long ? RANDOM_POINTS : QUICK_RANDOM);
}

static uint64_t kill_everywhere(const struct trial *trial, const struct path *path, enum points which) {
    uint64_t points = 0;
    if (which == POINTS_ALL && is_long) {
        for (; points <= path->n; points++)
            trial_kill_at(trial, path, (size_t)points);
        return points;
    }
    uint64_t random_points = which == POINTS_ALL ? QUICK_POINTS : is_long ? RANDOM_POINTS : QUICK_RANDOM;
    return trial_kill_at_calls(trial) + trial_kill_at_random(trial, path, random_points);
}

static uint64_t try_operation(const struct operation *operation) {
    struct victim victim;
    struct trial trial = trial_of(&victim, operation);
    listen_for(operation);
    struct holdings first = before;
    struct path path = trial_observe(&trial);
    uint64_t points = kill_everywhere(&trial, &path, operation->points);
    settle();
    EXPECT(before.descriptors, first.descriptors);
    EXPECT(before.maps, first.maps);
    trial_report(&trial, &path, points);
    path_free(&path);
    hawser_listener_close(listener);
    return points;
}

static uint64_t try_all(const char *only) {
    uint64_t points = 0;
    for (size_t i = 0; i < n_operations; i++)
        if (!only || strcmp(only, operations[i].name) == 0)
            points += try_operation(&operations[i]);
    return points + (!only || strcmp(only, "listen") == 0 ? try_listeners() : 0);
}

int main(int argc, char **argv) { return trial_main(argc, argv, try_all); }
