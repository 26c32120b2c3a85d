/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "trial.h"

#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

bool is_long;

static void look(const struct trial *trial) {
    if (trial->look)
        trial->look(trial->scene);
}

struct path trial_observe(const struct trial *trial) {
    struct path path = { 0 };
    int signal;
    pid_t pid = trial->begin(trial->scene);
    while ((signal = trace_step(pid, trial->await, trial->scene)) == SIGTRAP) {
        path_add(&path, pid);
        look(trial);
    }
    EXPECT(signal, SIGSTOP);
    if (trial->done)
        trial->done(trial->scene);
    trial->end(trial->scene);
    path_end(&path);
    return path;
}

void trial_kill_at(const struct trial *trial, const struct path *path, size_t step) {
    pid_t pid = trial->begin(trial->scene);
    path_follow(path, pid, step, trial->await, trial->scene);
    look(trial);
    trial->end(trial->scene);
}

uint64_t trial_kill_at_random(const struct trial *trial, const struct path *path, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        trial_kill_at(trial, path, (size_t)random() % (path->n + 1));
    return n;
}

/* False: the work was over before. */
static bool kill_at_call(const struct trial *trial, uint64_t stops) {
    bool over = false;
    pid_t pid = trial->begin(trial->scene);
    for (uint64_t i = 0; i < stops && !over; i++)
        over = trace_call(pid, trial->await, trial->scene) != SIGTRAP;
    look(trial);
    trial->end(trial->scene);
    return !over;
}

uint64_t trial_kill_at_calls(const struct trial *trial) {
    uint64_t points = 1;
    while (kill_at_call(trial, points))
        points++;
    return points;
}

void trial_report(const struct trial *trial, const struct path *path, uint64_t points) {
    printf("ok crash: %s: looked at after %zu instructions, killed at %llu points\n", trial->what, path->n, (unsigned long long)points);
    fflush(stdout);
}

uint64_t trial_run(const struct trial *trial, uint64_t quick_points) {
    struct path path = trial_observe(trial);
    uint64_t points = 0;
    for (; is_long && points <= path.n; points++)
        trial_kill_at(trial, &path, (size_t)points);
    if (!is_long)
        points = trial_kill_at_random(trial, &path, quick_points);
    points += trial_kill_at_calls(trial);
    trial_report(trial, &path, points);
    path_free(&path);
    return points;
}

int trial_main(int argc, char **argv, uint64_t (*try_all)(const char *only)) {
    char own[TRACE_PATH];
    sigset_t child;
    if (SANITIZED || !trace_allowed()) {
        printf("%s\n", SANITIZED ? "not under this sanitizer: most instructions would be its own"
                                 : "this process may not trace its children");
        return 77;
    }
    is_long = getenv("HAWSER_TEST_LONG") != NULL;
    trace_runtime(own);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL); /* who awaits a victim may want to wait for it with a timeout */
    srandom((unsigned)getpid());
    uint64_t all = try_all(argc > 1 ? argv[1] : NULL);
    printf("%llu kills\n", (unsigned long long)all);
    return rmdir(own);
}
