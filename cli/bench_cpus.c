/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Which CPUs the two sides run on, and how often any CPU was interrupted. */

#include "bench.h"

#include <ctype.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static long topology(int cpu, const char *what) {
    char path[128], text[32];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, what);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    long value = fgets(text, sizeof text, file) ? strtol(text, NULL, 10) : -1;
    fclose(file);
    return value;
}

/* Two hardware threads of one core share its caches and its time: not what two processes usually get. */
static bool same_core(int a, int b) {
    long core = topology(a, "core_id");
    return core >= 0 && core == topology(b, "core_id") &&
           topology(a, "physical_package_id") == topology(b, "physical_package_id");
}

void cpus_choose(bool together, struct cpus *ret_cpus) {
    struct cpus cpus = { .of_side = { -1, -1 }, .pinned = true, .together = together };
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        cpus.pinned = false;
    int second = -1;
    for (int cpu = 0; cpus.pinned && cpu < CPU_SETSIZE && cpus.of_side[1] < 0; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed))
            continue;
        if (cpus.of_side[0] < 0)
            cpus.of_side[0] = cpu;
        else if (!same_core(cpus.of_side[0], cpu))
            cpus.of_side[1] = cpu;
        else if (second < 0)
            second = cpu;
    }
    if (cpus.of_side[1] < 0)
        cpus.of_side[1] = second;
    if (cpus.pinned && cpus.of_side[1] < 0)
        cpus.together = true;
    if (cpus.together)
        cpus.of_side[1] = cpus.of_side[0];
    *ret_cpus = cpus;
}

void cpus_pin(const struct cpus *cpus, enum way_side side) {
    if (!cpus->pinned || cpus->of_side[side] < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    size_t cpu = (size_t)cpus->of_side[side];
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set); /* was allowed a moment ago; where it fails the kernel chooses */
}

/* "LOC:  27247  22719  Local timer interrupts": a name, a count for each CPU, words. */
static double line_sum(const char *line) {
    const char *at = strchr(line, ':');
    double sum = 0;
    while (at) {
        char *end;
        at++;
        unsigned long long count = strtoull(at, &end, 10);
        if (end == at || (*end && !isspace((unsigned char)*end)))
            break;
        sum += (double)count;
        at = isspace((unsigned char)*end) ? end : NULL;
    }
    return sum;
}

double interrupts_count(void) {
    FILE *file = fopen("/proc/interrupts", "re");
    if (!file)
        return NAN;
    double sum = 0;
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0)
        sum += line_sum(line);
    free(line);
    fclose(file);
    return sum;
}
