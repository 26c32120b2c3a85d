/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Death at any instruction of what is done with a region's guard, and with its name. A victim, which this process traces, does one
 * operation: first it is stepped through all of it, and after every instruction it is looked at as any other member could; then it is
 * killed at every instruction (a sample in the quick run) and at every system call's entry and exit. Each time the guard must be there within 100 ms
 * for one who wants it, who is told of the death if the data are half-written; and the name must be gone with the next close. */

#include "crash.h"
#include "trial.h"

#include <dirent.h>
#include <errno.h>
#include <hawser/hawser.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUICK_POINTS 20
#define TOLD_WITHIN (SECOND / 10)
#define REGION_SIZE 4096
#define CHECK(CONDITION) EXPECT(!!(CONDITION), true)

struct deed {
    const char *name;
    bool named;      /* it is about the name: the victim opens it itself */
    bool beside;     /* this process has it open meanwhile */
    bool opened;     /* the victim had opened it before */
    bool locked;     /* the victim had the guard exclusively before, and had begun to write */
    int (*work)(hawser_region *region);
};

static const char address[] = "region://frames";
static const char *directory; /* where its name is */
static hawser_region *region; /* this process's; NULL: it has none */

/* ---- Operations ---- */

static volatile uint64_t *words(hawser_region *of) { return hawser_region_data(of); }

static void write_words(hawser_region *of) {
    words(of)[0]++;
    words(of)[1]++;
}

static int write_guarded(hawser_region *of) {
    int r = hawser_region_lock(of, HAWSER_EXCLUSIVE, PATIENCE);
    if (r < 0)
        return r;
    write_words(of);
    return hawser_region_unlock(of);
}

static int end_writing(hawser_region *of) {
    words(of)[1]++;
    return hawser_region_unlock(of);
}

static int read_guarded(hawser_region *of) {
    int r = hawser_region_lock(of, HAWSER_SHARED, PATIENCE);
    return r < 0 ? r : hawser_region_unlock(of);
}

static int open_and_close(hawser_region *of) {
    (void)of;
    hawser_region *own = NULL;
    int r = hawser_region_open(address, NULL, REGION_SIZE, &own);
    hawser_region_close(own);
    return r;
}

static int close_it(hawser_region *of) {
    hawser_region_close(of);
    return 0;
}

static const struct deed deeds[] = {
    { .name = "lock, write, unlock", .beside = true, .work = write_guarded },
    { .name = "end of writing", .beside = true, .locked = true, .work = end_writing },
    { .name = "lock and unlock, shared", .beside = true, .work = read_guarded },
    { .name = "open that makes, and close", .named = true, .work = open_and_close },
    { .name = "open of another's, and close", .named = true, .beside = true, .work = open_and_close },
    { .name = "close of the last", .named = true, .opened = true, .work = close_it },
};

/* ---- Looking ---- */

/* Seen by any member, at any instant: what is written half is marked as being written. */
static void look_at_data(void) {
    uint64_t generation;
    EXPECT(hawser_region_generation(region, &generation), 0);
    if (generation % 2 == 0)
        EXPECT(words(region)[0], words(region)[1]);
}

static int whole(void *context, const struct hawser_name *name) {
    (void)context;
    if (name->kind != HAWSER_NAME_REGION || name->size != REGION_SIZE)
        die(__FILE__, __LINE__, "a name is a whole region's", (long)name->kind, HAWSER_NAME_REGION);
    return 0;
}

static void look_at_names(void) { EXPECT(hawser_names_list(directory, whole, NULL), 0); }

static unsigned names_left(void) {
    unsigned n = 0;
    DIR *names = opendir(directory);
    struct dirent *entry;
    while (names && (entry = readdir(names)))
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(names);
    return n;
}

/* ---- Victims ---- */

static void victim_run(const struct deed *deed) {
    hawser_region *own = region;
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    if (deed->named)
        own = hawser_region_close(own); /* inherited */
    if (deed->opened)
        EXPECT(hawser_region_open(address, NULL, REGION_SIZE, &own), 0);
    if (own)
        EXPECT(hawser_region_lock(own, deed->locked ? HAWSER_EXCLUSIVE : HAWSER_SHARED, PATIENCE), 0); /* joins */
    if (deed->locked)
        words(own)[0]++;
    else if (own)
        EXPECT(hawser_region_unlock(own), 0);
    raise(SIGSTOP);
    int r = deed->work(own);
    raise(SIGSTOP);
    _exit(r != 0);
}

static pid_t victim_start(const struct deed *deed) {
    if (deed->beside)
        EXPECT(hawser_region_open(address, NULL, REGION_SIZE, &region), 0);
    pid_t pid = fork();
    if (pid == 0)
        victim_run(deed);
    EXPECT(waitpid(pid, NULL, 0), pid);
    return pid;
}

/* The next who has the guard finds whole data, or is told. */
static void guard_is_there(int64_t death) {
    int r;
    while ((r = hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW)) == -EAGAIN && now() - death < TOLD_WITHIN)
        sched_yield();
    CHECK(r >= 0);
    if (r == 0)
        EXPECT(words(region)[0], words(region)[1]);
    words(region)[1] = words(region)[0];
    EXPECT(hawser_region_unlock(region), 0);
    EXPECT(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), 0); /* mended */
    EXPECT(hawser_region_unlock(region), 0);
    struct hawser_region_status status = HAWSER_REGION_STATUS_INIT;
    EXPECT(hawser_region_status(region, &status), 0);
    EXPECT(status.holders, 0);
    EXPECT(status.members, 1);
    EXPECT(status.generation % 2, 0);
}

/* Dead; and then all is as if it had never been. */
static void victim_kill(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int64_t death = now();
    look_at_names();
    if (!region)
        EXPECT(hawser_region_open(address, NULL, REGION_SIZE, &region), 0);
    guard_is_there(death);
    region = hawser_region_close(region);
    EXPECT(names_left(), 0);
}

/* ---- The kills ---- */

struct scene {
    const struct deed *deed;
    pid_t pid;
};

static int await_stop(void *scene) {
    int status;
    if (waitpid(((struct scene *)scene)->pid, &status, 0) < 0)
        return 0;
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static pid_t begin(void *scene) {
    struct scene *own = scene;
    own->pid = victim_start(own->deed);
    return own->pid;
}

static void look(void *scene) {
    if (!((struct scene *)scene)->deed->named)
        look_at_data();
}

static void end(void *scene) { victim_kill(((struct scene *)scene)->pid); }

static uint64_t try_all(const char *only) {
    uint64_t points = 0;
    directory = getenv("HAWSER_RUNTIME_DIR");
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        struct scene scene = { .deed = &deeds[i] };
        struct trial trial = {
            .what = deeds[i].name, .scene = &scene, .begin = begin, .await = await_stop, .look = look, .end = end,
        };
        if (!only || strcmp(only, deeds[i].name) == 0)
            points += trial_run(&trial, QUICK_POINTS);
    }
    return points;
}

int main(int argc, char **argv) { return trial_main(argc, argv, try_all); }
