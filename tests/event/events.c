/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What every event promises, over every variant and every way to share one: a table of promises times a table of places. Each cell
 * is a process of its own, with a runtime directory of its own, under a time limit. usage: events [--old-kernel | PART OF A NAME] */

#include "events.h"

#include <dirent.h>

static const struct place places[] = {
    { "eventfd by fork", EVENTFD | FORK, "eventfd://" },
    { "eventfd by fork, wait=block", EVENTFD | FORK, "event://?wait=block" },
    { "eventfd by fork, wait=spin", EVENTFD | FORK, "eventfd://?wait=spin" },
    { "eventfd by name", EVENTFD | NAME, "event://bell" },
    { "eventfd by name, wait=block", EVENTFD | NAME, "eventfd://bell?wait=block" },
    { "eventfd by name, wait=spin", EVENTFD | NAME, "eventfd://bell?wait=spin" },
    { "eventfd by ticket", EVENTFD | TICKET, "eventfd://" },
    { "futex by fork", FUTEX | FORK, "futex://" },
    { "futex by fork, wait=block", FUTEX | FORK, "futex://?wait=block" },
    { "futex by name", FUTEX | NAME, "futex://bell" },
    { "futex by name, wait=spin", FUTEX | NAME, "futex://bell?wait=spin" },
    { "futex by ticket", FUTEX | TICKET, "futex://" },
    { "signal by fork", SIGNAL | FORK, "signal://?signal=SIGRTMIN+3" },
    { "signal by fork, wait=block", SIGNAL | FORK, "signal://?signal=SIGRTMIN+3&wait=block" },
    { "signal by name", SIGNAL | NAME, "signal://bell?signal=SIGRTMIN+3" },
    { "signal by name, wait=spin", SIGNAL | NAME, "signal://bell?signal=SIGRTMIN+3&wait=spin" },
    { "signal by ticket", SIGNAL | TICKET, "signal://?signal=SIGRTMIN+3" },
};

static void remove_tree(const char *path) {
    char inner[300];
    struct dirent *entry;
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory))) {
        snprintf(inner, sizeof inner, "%.100s/%.180s", path, entry->d_name);
        unlink(inner);
    }
    if (directory)
        closedir(directory);
    rmdir(path);
}

static bool run_cell(const struct promise *promise) {
    char path[128];
    int status;
    snprintf(path, sizeof path, "%.100s/hawser-events-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    CHECK(mkdtemp(path));
    fflush(stdout);
    memset(shared, 0, 4096);
    pid_t cell = fork_child();
    if (cell == 0) {
        setenv("HAWSER_RUNTIME_DIR", path, 1);
        alarm(30);
        promise->run();
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(cell, &status, 0) == cell);
    remove_tree(path);
    if (status != 0 && WIFSIGNALED(status))
        printf("#   ended by signal %d\n", WTERMSIG(status));
    return status == 0;
}

/* Runs a list of promises at every place; how many cells failed. */
static int run_promises(const struct promise *promises, const char *only) {
    int failed = 0;
    for (; promises->name; promises++)
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            place = &places[i];
            if (promises->not_for & place->is || (only && !strstr(promises->name, only)))
                continue;
            bool good = run_cell(promises);
            printf("%s %s: %s\n", good ? "ok" : "not ok", promises->name, place->title);
            failed += !good;
        }
    return failed;
}

int main(int argc, char **argv) {
    const char *only = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    if (argc > 1 && strcmp(argv[1], "--old-kernel") == 0)
        sys_refuse_newer();
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    int failed = run_promises(value_promises, only) + run_promises(end_promises, only) + run_promises(access_promises, only);
    munmap(shared, 4096);
    return failed > 0;
}
