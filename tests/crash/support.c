/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "crash.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void die(const char *file, int line, const char *what, long got, long wanted) {
    fprintf(stderr, "%s:%d: process %d: %s gave %ld, expected %ld: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line,
            (int)getpid(), what, got, wanted, hawser_explain());
    _exit(1);
}

int64_t now(void) {
    struct timespec time;
    long long ran_ns, waited_ns = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file && fscanf(file, "%lld %lld", &ran_ns, &waited_ns) != 2)
        waited_ns = 0;
    if (file)
        fclose(file);
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec - waited_ns;
}
