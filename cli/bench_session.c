/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What lasts for one command line: a private directory for every name that is made, the signals that could
 * leave something behind, the progress bar. */

#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define DESCRIPTORS_MOST 4 /* open at once while the directory is removed */
#define PARENT_MOST 40 /* bytes: a socket's path holds 107 in all */

int session_open(struct session *session, bool one_cpu) {
    sigset_t set;
    const char *parent = getenv("TMPDIR");
    if (!parent || parent[0] != '/' || strlen(parent) > PARENT_MOST)
        parent = "/tmp";
    snprintf(session->directory, sizeof session->directory, "%s/hawser-bench-XXXXXX", parent);
    if (!mkdtemp(session->directory)) {
        fprintf(stderr, "hawser bench: make a directory in %s: %s\n", parent, strerror(errno));
        return -errno;
    }
    /* hawser's own names too: what a killed side leaves goes with the directory */
    setenv("HAWSER_RUNTIME_DIR", session->directory, 1);
    signal(SIGCHLD, SIG_DFL); /* a parent may have left it ignored, and then children cannot be waited for */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    session->progress = isatty(STDERR_FILENO);
    cpus_choose(one_cpu, &session->cpus);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status, (void)type, (void)place;
    remove(path);
    return 0;
}

void session_close(struct session *session) {
    nftw(session->directory, remove_one, DESCRIPTORS_MOST, FTW_DEPTH | FTW_PHYS);
    if (session->progress)
        fprintf(stderr, "\r\033[K");
}

void session_progress(const struct session *session, const char *what) {
    if (!session->progress || session->samples_all == 0)
        return;
    size_t done = session->samples_all - session->samples_left;
    char bar[BAR_WIDTH + 1];
    size_t filled = done * BAR_WIDTH / session->samples_all;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = 0;
    fprintf(stderr, "\r[%s] %3zu%% %s\033[K", bar, done * 100 / session->samples_all, what);
}
