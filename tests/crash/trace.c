/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Leading a traced process. A single step costs two switches between processes, so a place deep in an operation is reached by a
 * breakpoint of the processor's: at whichever earlier place leaves the fewest stops in all. Victims are forked and
 * never run another program, so addresses are the same in each. */

#include "trace.h"

#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define CAN_BREAK 1
#else
#define CAN_BREAK 0
#endif

bool trace_allowed(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t place_of(pid_t pid) {
#if CAN_BREAK
    return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, (void *)offsetof(struct user, regs.rip), NULL);
#else
    static uint64_t n;
    return (uint64_t)pid + n++;
#endif
}

/* A breakpoint of the processor's, in its first debug register: on, or off again. */
static void break_at(pid_t pid, uint64_t place, bool on) {
#if CAN_BREAK
    EXPECT(ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, u_debugreg[0]), (void *)place), 0);
    EXPECT(ptrace(PTRACE_POKEUSER, pid, (void *)offsetof(struct user, u_debugreg[7]), (void *)(uintptr_t)on), 0);
#else
    (void)pid;
    (void)place;
    (void)on;
#endif
}

/* The end of the copying instruction at the place: a prefix of repetition, maybe one of width, the instruction. */
static uint64_t end_of_copy(pid_t pid, uint64_t place) {
    uint64_t code = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, (void *)place, NULL);
    EXPECT((code & 0xff) == 0xf3 || (code & 0xff) == 0xf2, true);
    return place + ((code >> 12 & 0xf) == 4 ? 3 : 2);
}

int trace_step(pid_t pid, trace_await await, void *argument) {
    uint64_t place = place_of(pid);
    EXPECT(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    int signal = await(argument);
    if (signal != SIGTRAP || place_of(pid) != place)
        return signal;
    break_at(pid, end_of_copy(pid, place), true);
    EXPECT(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    signal = await(argument);
    break_at(pid, 0, false);
    return signal;
}

int trace_call(pid_t pid, trace_await await, void *argument) {
    EXPECT(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
    return await(argument);
}

bool trace_asleep(pid_t pid) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    bool asleep = file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'S';
    if (file)
        fclose(file);
    return asleep;
}

/* ---- Paths ---- */

#define TABLE (1u << 16) /* more than there are different instructions in any operation */

struct count {
    uint64_t place;
    uint32_t hits;
};

static uint32_t count_hit(struct count *table, uint64_t place) {
    uint32_t at = (uint32_t)(place * UINT64_C(0x9e3779b97f4a7c15) >> 48) % TABLE;
    while (table[at].hits > 0 && table[at].place != place)
        at = (at + 1) % TABLE;
    table[at].place = place;
    return ++table[at].hits;
}

void path_add(struct path *path, pid_t pid) {
    if (path->n == path->capacity) {
        path->capacity = path->capacity * 2 + 4096;
        path->places = realloc(path->places, path->capacity * sizeof *path->places);
    }
    path->places[path->n++] = place_of(pid);
}

/* Step s is the state after s instructions, at places[s - 1]. */
void path_end(struct path *path) {
    struct count *table = calloc(TABLE, sizeof *table);
    path->from = calloc(path->n + 1, sizeof *path->from);
    path->hits = calloc(path->n + 1, sizeof *path->hits);
    size_t cost = 0; /* of the step before: stops on the way to it */
    for (size_t step = 1; step <= path->n; step++) {
        uint32_t hits = CAN_BREAK ? count_hit(table, path->places[step - 1]) : UINT32_MAX;
        path->from[step] = path->from[step - 1];
        path->hits[step] = path->hits[step - 1];
        cost++;
        if (hits < cost) {
            path->from[step] = (uint32_t)step;
            path->hits[step] = hits;
            cost = hits;
        }
    }
    free(table);
}

void path_free(struct path *path) {
    free(path->places);
    free(path->from);
    free(path->hits);
    *path = (struct path){ 0 };
}

bool path_follow(const struct path *path, pid_t pid, size_t step, trace_await await, void *argument) {
    size_t from = path->from[step];
    if (from > 0)
        break_at(pid, path->places[from - 1], true);
    for (uint32_t i = 0; from > 0 && i < path->hits[step]; i++) {
        EXPECT(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
        if (await(argument) != SIGTRAP)
            return false;
    }
    if (from > 0)
        break_at(pid, 0, false);
    for (; from < step; from++)
        if (trace_step(pid, await, argument) != SIGTRAP)
            return false;
    return true;
}

void trace_runtime(char ret_directory[TRACE_PATH]) {
    const char *run = getenv("HAWSER_RUNTIME_DIR");
    snprintf(ret_directory, TRACE_PATH, "%s/hawser-crash-XXXXXX", run ? run : "/tmp");
    if (!mkdtemp(ret_directory) || setenv("HAWSER_RUNTIME_DIR", ret_directory, 1) != 0) {
        perror(ret_directory);
        exit(1);
    }
}
