/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death of a cell's writer at any instruction. A victim sets a value, and is stepped through it: after each instruction its reader, this
 * process, must get the old value or the new one, whole. Then it is killed at each instruction: the value stays, whoever waited
 * for it is told in time, and the next writer goes on. It also counts the instructions of a set with and without readers. */

#include "crash.h"
#include "trial.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLD_WITHIN (SECOND / 10)
#define WARM 40u /* values set before: each buffer was used, the first time of everything is over */
#define SIZE_MOST 1000u
#define READERS 8
#define HUNTS 20

struct work {
    const char *name;
    size_t size;
    enum { SET, PUBLISH, SUCCEED, CLOSE } what;
    bool sleeper; /* somebody waits for it */
    bool calls;   /* cut short at system calls only */
};

static const struct work works[] = {
    { .name = "set of 8 bytes", .size = 8 },
    { .name = "set of 24 bytes", .size = 24 },
    { .name = "set of 100 bytes", .size = 100 },
    { .name = "set of 1000 bytes", .size = SIZE_MOST },
    { .name = "begin and publish", .size = 100, .what = PUBLISH },
    { .name = "set that wakes", .size = 100, .sleeper = true },
    { .name = "create", .size = 100, .what = SUCCEED, .calls = true },
    { .name = "close", .size = 100, .what = CLOSE, .calls = true },
};

static char address[HAWSER_ADDRESS_MAX] = "cell://crash"; /* and more, in the sleeper */

/* ---- Values: version n is of one byte all over, so that any mixture shows ---- */

static size_t size_of_version(size_t size, uint64_t version) { return size - version % (size < 8 ? size : 8); }

static void fill(uint8_t *value, size_t size, uint64_t version) { memset(value, (int)(version % 251), size_of_version(size, version)); }

/* The version of the newest value, which must be whole. */
static uint64_t look(hawser_cell *cell, size_t size) {
    uint8_t value[SIZE_MOST];
    uint64_t version;
    size_t got;
    EXPECT(hawser_cell_get(cell, value, sizeof value, &got, &version), 0);
    EXPECT(got, size_of_version(size, version));
    for (size_t i = 0; i < got; i++)
        EXPECT(value[i], version % 251);
    return version;
}

static void set_next(hawser_cell *cell, size_t size, uint64_t version) {
    uint8_t value[SIZE_MOST];
    fill(value, size, version);
    EXPECT(hawser_cell_set(cell, value, size_of_version(size, version)), 0);
}

/* ---- Victims ---- */

static void do_work(const struct work *work, hawser_cell *cell) {
    static uint8_t value[SIZE_MOST];
    void *place;
    size_t size = size_of_version(work->size, WARM + 1);
    fill(value, work->size, WARM + 1);
    raise(SIGSTOP);
    switch (work->what) {
    case SET:
        EXPECT(hawser_cell_set(cell, value, size), 0);
        break;
    case PUBLISH:
        EXPECT(hawser_cell_begin(cell, &place), 0);
        memcpy(place, value, size);
        EXPECT(hawser_cell_publish(cell, size), 0);
        break;
    case SUCCEED:
        EXPECT(hawser_cell_create(address, NULL, 0, &cell), 0);
        EXPECT(hawser_cell_set(cell, value, size), 0);
        break;
    case CLOSE:
        hawser_cell_close(cell);
        break;
    }
    raise(SIGSTOP);
    _exit(0);
}

static void __attribute__((noreturn)) victim_run(const struct work *work, int go) {
    hawser_cell *cell = NULL;
    char byte;
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    EXPECT(hawser_cell_create(address, NULL, work->size, &cell), 0);
    for (uint64_t version = 1; version <= WARM; version++)
        set_next(cell, work->size, version);
    EXPECT(write(go, "", 1), 1);
    EXPECT(read(go, &byte, 1), 1); /* everybody who is to see it is there */
    close(go);
    if (work->what == SUCCEED)
        cell = hawser_cell_close(cell);
    do_work(work, cell);
    _exit(1);
}

struct scene {
    const struct work *work;
    pid_t victim, sleeper;
    hawser_cell *reader;
    uint64_t visible; /* the newest version that was seen */
    int told;         /* the sleeper's: when it woke */
};

static int await_stop(void *argument) {
    const struct scene *scene = argument;
    int status;
    EXPECT(waitpid(scene->victim, &status, 0), scene->victim);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

/* Waits for the value that the victim sets, and says when it came. */
static void sleeper_start(struct scene *scene) {
    int told[2];
    char byte;
    EXPECT(pipe(told), 0);
    scene->sleeper = fork();
    if (scene->sleeper == 0) {
        EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
        hawser_cell *cell;
        snprintf(address + strlen(address), 32, "?wait=block");
        EXPECT(hawser_cell_open(address, NULL, PATIENCE, &cell), 0);
        EXPECT(write(told[1], "", 1), 1);
        EXPECT(hawser_cell_wait(cell, WARM, PATIENCE, NULL), 0);
        int64_t at = clock_now();
        look(cell, scene->work->size);
        EXPECT(write(told[1], &at, sizeof at), sizeof at);
        _exit(0);
    }
    close(told[1]);
    scene->told = told[0];
    EXPECT(read(told[0], &byte, 1), 1);
    while (!trace_asleep(scene->sleeper))
        sched_yield();
}

/* The victim stands before its work. */
static void scene_begin(struct scene *scene, const struct work *work) {
    int go[2];
    char byte;
    *scene = (struct scene){ .work = work, .visible = WARM };
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, go), 0);
    scene->victim = fork();
    if (scene->victim == 0)
        victim_run(work, go[1]);
    close(go[1]);
    EXPECT(read(go[0], &byte, 1), 1);
    EXPECT(hawser_cell_open(address, NULL, PATIENCE, &scene->reader), 0);
    if (work->sleeper)
        sleeper_start(scene);
    EXPECT(write(go[0], "", 1), 1);
    EXPECT(await_stop(scene), SIGSTOP);
    close(go[0]);
}

static unsigned names(void) {
    unsigned n = 0;
    DIR *directory = opendir(getenv("HAWSER_RUNTIME_DIR"));
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

/* The victim dies; the value stays, the sleeper hears of a new one, and another can write. */
static void scene_end(void *argument) {
    struct scene *scene = argument;
    int64_t at, death = clock_now();
    size_t size = scene->work->size;
    hawser_cell *next;
    kill(scene->victim, SIGKILL);
    waitpid(scene->victim, NULL, 0);
    uint64_t version = look(scene->reader, size);
    EXPECT(version >= scene->visible && version <= WARM + 1, true);
    EXPECT(hawser_cell_create(address, NULL, size, &next), 0);
    if (version == WARM) {
        death = clock_now(); /* it is this value that the sleeper hears of */
        set_next(next, size, ++version);
    }
    if (scene->sleeper) {
        EXPECT(read(scene->told, &at, sizeof at), sizeof at);
        EXPECT(at - death < TOLD_WITHIN, true);
        waitpid(scene->sleeper, NULL, 0);
        close(scene->told);
    }
    set_next(next, size, ++version);
    EXPECT(look(scene->reader, size), version);
    hawser_cell_close(next);
    hawser_cell_close(scene->reader);
    EXPECT(names(), 0);
}

/* ---- What is tried ---- */

static pid_t begin(void *scene) {
    scene_begin(scene, ((struct scene *)scene)->work);
    return ((struct scene *)scene)->victim;
}

static void look_again(void *scene) {
    struct scene *own = scene;
    uint64_t version = look(own->reader, own->work->size);
    EXPECT(version >= own->visible && version <= WARM + 1, true);
    own->visible = version;
}

static void done(void *scene) {
    const struct scene *own = scene;
    EXPECT(own->visible, WARM + (own->work->what != CLOSE));
}

static uint64_t try_work(const struct work *work) {
    struct scene scene = { .work = work };
    struct trial trial = {
        .what = work->name, .scene = &scene, .begin = begin, .await = await_stop, .look = look_again, .done = done, .end = scene_end,
    };
    struct path path = trial_observe(&trial);
    size_t every = is_long || path.n < 400 ? 1 : path.n / 400;
    uint64_t points = work->calls ? trial_kill_at_calls(&trial) : 0;
    for (size_t step = 0; !work->calls && step <= path.n; step += every, points++)
        trial_kill_at(&trial, &path, step);
    trial_report(&trial, &path, points);
    path_free(&path);
    return points;
}

/* Reads without a pause until it is killed. */
static pid_t reader_start(size_t size) {
    int opened[2];
    char byte;
    EXPECT(pipe(opened), 0);
    pid_t pid = fork();
    if (pid == 0) {
        hawser_cell *cell;
        EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
        EXPECT(hawser_cell_open(address, NULL, PATIENCE, &cell), 0);
        for (uint64_t last = look(cell, size), version;; last = version) {
            version = look(cell, size);
            EXPECT(version >= last, true);
            if (opened[1] >= 0 && write(opened[1], "", 1) == 1) {
                close(opened[1]);
                opened[1] = -1;
            }
        }
    }
    close(opened[1]);
    EXPECT(read(opened[0], &byte, 1), 1);
    close(opened[0]);
    return pid;
}

static void reader_end(pid_t pid) {
    EXPECT(waitpid(pid, NULL, WNOHANG), 0); /* it did not die of what it saw */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Instructions of a set among so many readers that read as fast as they can. */
static size_t count_instructions(const struct work *work, unsigned readers) {
    struct scene scene;
    pid_t pids[READERS];
    size_t n = 0;
    scene_begin(&scene, work);
    for (unsigned i = 0; i < readers; i++)
        pids[i] = reader_start(work->size);
    while (trace_step(scene.victim, await_stop, &scene) == SIGTRAP)
        n++;
    for (unsigned i = 0; i < readers; i++)
        reader_end(pids[i]);
    scene_end(&scene);
    return n;
}

/* A writer at full speed, killed at some moment, again and again; its readers, and the next writer, go on from where it was. */
static void hunt_at_full_speed(size_t size) {
    hawser_cell *reader;
    pid_t readers[2];
    uint64_t version = 0;
    for (int i = 0; i < HUNTS; i++) {
        pid_t writer = fork();
        if (writer == 0) {
            hawser_cell *cell;
            EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
            EXPECT(hawser_cell_create(address, NULL, size, &cell), 0);
            uint64_t next = i == 0 ? 1 : look(cell, size) + 1;
            for (;; next++)
                set_next(cell, size, next);
        }
        if (i == 0) {
            EXPECT(hawser_cell_open(address, NULL, PATIENCE, &reader), 0);
            EXPECT(hawser_cell_wait(reader, 0, PATIENCE, NULL), 0);
            readers[0] = reader_start(size);
            readers[1] = reader_start(size);
        }
        for (uint64_t began = version; version < began + 1000;)
            version = look(reader, size);
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        uint64_t left = look(reader, size);
        EXPECT(left >= version, true);
        version = left;
    }
    reader_end(readers[0]);
    reader_end(readers[1]);
    hawser_cell_close(reader);
}

static uint64_t try_all(const char *only) {
    uint64_t points = 0;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (!only || strcmp(only, works[i].name) == 0)
            points += try_work(&works[i]);
    for (size_t i = 0; i < 4 && !only; i++) {
        size_t alone = count_instructions(&works[i], 0), among = count_instructions(&works[i], READERS);
        EXPECT(among, alone);
        hunt_at_full_speed(works[i].size);
        printf("ok crash: cell: %s: %zu instructions, with %d readers as without; no torn value at full speed\n", works[i].name, alone,
               READERS);
    }
    return points;
}

int main(int argc, char **argv) { return trial_main(argc, argv, try_all); }
