/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* fault MECHANISM: counts the calls of a scenario, then fails each in turn. A line for each kind of call.
 *
 * The process of one fault runs the scenario three times: whole, which fills the process's pools; with the fault, after which it
 * must hold as many descriptors as before; and whole again at the same name, after which no name may be left. */

#include "fault.h"

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SECONDS 120u
#else
#define SECONDS 20u
#endif

struct run {
    const struct mechanism *mechanism;
    char scratch[96];
    unsigned tried, passed, failed;
    bool all; /* every call, not a sample */
};

static char described[160]; /* the fault of this process, for fatal() */

void fatal(const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dprintf(STDOUT_FILENO, "#     %s: %s\n", described, text);
    _exit(1);
}

static unsigned names_left;

static int visit(const char *path, const struct stat *status, int flag, struct FTW *where) {
    (void)status, (void)where;
    if (flag != FTW_D && flag != FTW_DP) {
        names_left++;
        dprintf(STDOUT_FILENO, "#     %s: left behind: %s\n", described, path);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *where) {
    (void)status, (void)flag, (void)where;
    return remove(path) < 0 ? 0 : 0;
}

static unsigned descriptors_open(void) {
    unsigned n = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        n++;
    closedir(directory);
    return n;
}

/* ---- the process of one fault ---- */

static pthread_barrier_t together;

static void *sleep_once(void *argument) {
    (void)argument;
    pthread_barrier_wait(&together);
    (void)!hawser_poll(NULL, 0, 2000000);
    pthread_barrier_wait(&together);
    return NULL;
}

/* The library keeps what its sleeping threads wake by; as many as ever sleep at once in a scenario are made here. */
static void fill_pools(void) {
    enum { SLEEPERS = 4 };
    pthread_t threads[SLEEPERS];
    pthread_barrier_init(&together, NULL, SLEEPERS);
    for (int i = 0; i < SLEEPERS; i++)
        if (pthread_create(&threads[i], NULL, sleep_once, NULL) != 0)
            fatal("no thread");
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
}

static void fault_main(const struct run *run, const struct plan *plan) {
    char directory[128];
    snprintf(directory, sizeof directory, "%s/%d", run->scratch, (int)getpid());
    if (mkdir(directory, 0700) < 0)
        fatal("no directory");
    setenv("HAWSER_RUNTIME_DIR", directory, 1);
    alarm(SECONDS);
    faulty_install();
    fill_pools();
    scenario_run(run->mechanism, directory, true);
    unsigned before = descriptors_open();
    faulty_arm(plan);
    scenario_run(run->mechanism, directory, plan == NULL);
    faulty_disarm();
    unsigned after = descriptors_open();
    if (plan && after != before)
        fatal("%u descriptors before, %u after", before, after);
    if (plan)
        scenario_run(run->mechanism, directory, true);
    nftw(directory, visit, 16, FTW_PHYS);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    exit(names_left > 0);
}

static bool fault_try(struct run *run, const struct plan *plan) {
    snprintf(described, sizeof described, plan ? "%s call %llu, error %d (%s)" : "counting", plan ? call_name(plan->call) : "",
             plan ? (unsigned long long)plan->nth : 0ull, plan ? plan->error : 0,
             plan ? plan->error > 0 ? strerror(plan->error) : "short" : "");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        fault_main(run, plan);
    int status = 0;
    char directory[128];
    if (child < 0 || waitpid(child, &status, 0) != child)
        fatal("no process");
    snprintf(directory, sizeof directory, "%s/%d", run->scratch, (int)child);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (WIFSIGNALED(status))
        printf("#     %s: %s\n", described, WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
    return status == 0;
}

/* ---- all of them ---- */

/* In the quick run: each of the first calls, then ever fewer. */
static uint64_t next_nth(const struct run *run, uint64_t nth) { return run->all || nth < 4 ? nth + 1 : nth + 1 + nth / 2; }

static void fail_kind(struct run *run, int call, uint64_t made) {
    uint64_t before = tally->injected;
    unsigned bad = 0;
    for (uint64_t nth = 0; nth < made; nth = next_nth(run, nth)) {
        for (const int *error = call_errors(call); *error; error++) {
            struct plan plan = { .call = call, .nth = nth, .error = *error };
            run->tried++;
            bad += !fault_try(run, &plan);
        }
    }
    printf("%s %s %s: %llu calls, %llu faults\n", bad ? "not ok" : "ok", run->mechanism->name, call_name(call),
           (unsigned long long)made, (unsigned long long)(tally->injected - before));
    *(bad ? &run->failed : &run->passed) += 1;
}

static void run_mechanism(struct run *run, const char *only_call) {
    uint64_t made[CALLS_MAX] = { 0 };
    if (!fault_try(run, NULL)) {
        printf("not ok %s without any fault\n", run->mechanism->name);
        run->failed++;
        return;
    }
    memcpy(made, tally->calls, sizeof made);
    for (int call = 0; call < (int)calls_known(); call++)
        if (made[call] > 0 && call_errors(call)[0] && (!only_call || strcmp(only_call, call_name(call)) == 0))
            fail_kind(run, call, made[call]);
}

int main(int argc, char **argv) {
    struct run run = { .all = getenv("HAWSER_TEST_LONG") != NULL };
    const char *temporary = getenv("TMPDIR");
    if (argc < 2 || argc > 3) {
        fputs("usage: fault MECHANISM [CALL]\n", stderr);
        return 2;
    }
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(run.scratch, sizeof run.scratch, "%s/hawser-fault-XXXXXX", temporary ? temporary : "/tmp");
    if (tally == MAP_FAILED || !mkdtemp(run.scratch))
        return 1;
    scenario_prepare();
    for (const struct mechanism *mechanism = mechanisms; mechanism->name; mechanism++) {
        if (strcmp(mechanism->name, argv[1]) != 0)
            continue;
        run.mechanism = mechanism;
        run_mechanism(&run, argc > 2 ? argv[2] : NULL);
    }
    nftw(run.scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    printf("%llu faults injected in %u tries: %u kinds of call passed, %u failed\n", (unsigned long long)tally->injected, run.tried,
           run.passed, run.failed);
    return run.failed > 0 || run.passed == 0;
}
