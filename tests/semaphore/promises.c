/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What semaphores promise, over every way to come by one, 1, 2 and 64 permits, and every way to wait. A line for each cell. */

#include "worker.h"

#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

/* One cell's: a semaphore, and who else uses it. */
struct cell {
    enum variant variant;
    uint32_t permits;
    const char *wait;
    char address[HAWSER_ADDRESS_MAX]; /* NAMED */
    hawser_semaphore *semaphore;
    struct worker workers[WORKERS];
};

static unsigned cells;

static void open_in_worker(const struct cell *cell, const struct worker *worker) {
    struct order order = { .verb = cell->variant == NAMED ? OPEN : ADOPT, .n = cell->permits };
    int ticket = -1;
    snprintf(order.address, sizeof order.address, "%s", cell->address);
    if (cell->variant == TICKET)
        EXPECT(hawser_semaphore_export(cell->semaphore, &ticket), 0);
    worker_tell(worker, order, ticket);
    if (ticket >= 0)
        close(ticket);
    EXPECT(worker_answer(worker).result, 0);
}

/* Those who do not inherit the semaphore are there before it is. */
static void cell_open(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_options options = HAWSER_OPTIONS_INIT;
    bool inherit = cell->variant == FORKED;
    if (cell->variant == NAMED)
        snprintf(cell->address, sizeof cell->address, "sem://promises-%d-%u?wait=%s", (int)getpid(), ++cells, cell->wait);
    snprintf(address, sizeof address, "%s", cell->variant == NAMED ? cell->address : "sem://");
    options.wait = strcmp(cell->wait, "spin") == 0    ? HAWSER_WAIT_SPIN
                   : strcmp(cell->wait, "block") == 0 ? HAWSER_WAIT_BLOCK
                                                      : HAWSER_WAIT_ADAPTIVE;
    for (unsigned i = 0; i < WORKERS && !inherit; i++)
        cell->workers[i] = worker_start(NULL);
    EXPECT(hawser_semaphore_open(address, &options, cell->permits, &cell->semaphore), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (inherit)
            cell->workers[i] = worker_start(cell->semaphore);
        else
            open_in_worker(cell, &cell->workers[i]);
    }
}

static void cell_close(struct cell *cell) {
    for (unsigned i = 0; i < WORKERS; i++)
        if (cell->workers[i].pid)
            worker_end(&cell->workers[i]);
    hawser_semaphore_close(cell->semaphore);
}

static struct hawser_semaphore_status status_of(const struct cell *cell) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    EXPECT(hawser_semaphore_status(cell->semaphore, &status), 0);
    return status;
}

static struct order acquire(uint32_t n, int64_t timeout) { return (struct order){ .verb = ACQUIRE, .n = n, .timeout = timeout }; }

static struct order release(uint32_t n) { return (struct order){ .verb = RELEASE, .n = n }; }

static void await_line(const struct cell *cell, uint32_t waiting) {
    while (status_of(cell).waiting != waiting)
        sched_yield();
}

/* ---- The promises ---- */

static void counts(struct cell *cell) {
    uint32_t all = cell->permits;
    struct hawser_semaphore_status status = status_of(cell);
    CHECK(status.permits == all && status.available == all && status.held == 0 && status.deaths == 0);
    EXPECT(hawser_semaphore_acquire(cell->semaphore, 1, HAWSER_NOW), 0);
    EXPECT(worker_do(&cell->workers[0], acquire(all, HAWSER_NOW)), -EAGAIN);
    EXPECT(worker_do(&cell->workers[0], acquire(all, 2 * MS)), -ETIMEDOUT);
    if (all > 1)
        EXPECT(worker_do(&cell->workers[0], acquire(all - 1, HAWSER_NOW)), 0);
    status = status_of(cell);
    CHECK(status.available == 0 && status.held == 1 && status.waiting == 0);
    EXPECT(hawser_semaphore_release(cell->semaphore, 1), 0);
    if (all > 1)
        EXPECT(worker_do(&cell->workers[0], release(all - 1)), 0);
    EXPECT(status_of(cell).available, all);
    EXPECT(worker_do(&cell->workers[1], acquire(all, HAWSER_NOW)), 0);
    EXPECT(hawser_semaphore_acquire(cell->semaphore, 1, HAWSER_NOW), -EAGAIN);
    EXPECT(worker_do(&cell->workers[1], release(all)), 0);
}

static void bad_arguments(struct cell *cell) {
    struct hawser_semaphore_status status = { 0 };
    hawser_semaphore *semaphore = cell->semaphore, *other = NULL;
    size_t n;
    EXPECT(hawser_semaphore_acquire(NULL, 1, HAWSER_NOW), -EINVAL);
    EXPECT(hawser_semaphore_acquire(semaphore, 0, HAWSER_NOW), -EINVAL);
    EXPECT(hawser_semaphore_acquire(semaphore, cell->permits + 1, HAWSER_NOW), -EINVAL);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, -2), -EINVAL);
    EXPECT(hawser_semaphore_release(NULL, 1), -EINVAL);
    EXPECT(hawser_semaphore_release(semaphore, 0), -EINVAL);
    EXPECT(hawser_semaphore_release(semaphore, 1), -EPERM);
    EXPECT(hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW), 0);
    EXPECT(worker_do(&cell->workers[0], release(1)), -EPERM); /* another's */
    EXPECT(hawser_semaphore_release(semaphore, 1), 0);
    EXPECT(hawser_semaphore_status(semaphore, &status), -EINVAL);
    EXPECT(hawser_semaphore_holders(semaphore, NULL, 1, &n), -EINVAL);
    EXPECT(hawser_semaphore_open("sem://x", NULL, HAWSER_PERMITS_MAX + 1, &other), -EINVAL);
    EXPECT(hawser_semaphore_open("sem://", NULL, 0, &other), -EINVAL);
    EXPECT(hawser_semaphore_open("shm://x", NULL, 1, &other), -EINVAL);
    EXPECT(hawser_semaphore_open("sem://nobody-has-this", NULL, 0, &other), -ENOENT);
    EXPECT(hawser_semaphore_open(cell->variant == NAMED ? cell->address : "sem://a/b", NULL, cell->permits + 1, &other), -EINVAL);
    EXPECT(hawser_semaphore_adopt(STDIN_FILENO, NULL, &other) < 0, true);
    CHECK(other == NULL);
    CHECK(hawser_semaphore_close(NULL) == NULL);
}

static void holders(struct cell *cell) {
    struct hawser_semaphore_holder held[2];
    size_t n;
    EXPECT(hawser_semaphore_holders(cell->semaphore, held, 2, &n), 0);
    EXPECT(n, 0);
    EXPECT(worker_do(&cell->workers[2], acquire(cell->permits, HAWSER_NOW)), 0);
    EXPECT(hawser_semaphore_holders(cell->semaphore, held, 2, &n), 0);
    CHECK(n == 1 && held[0].pid == cell->workers[2].pid && held[0].permits == cell->permits);
    EXPECT(hawser_semaphore_holders(cell->semaphore, NULL, 0, &n), 0);
    EXPECT(n, 1);
    worker_kill(&cell->workers[2]);
    EXPECT(hawser_semaphore_holders(cell->semaphore, held, 2, &n), 0);
    EXPECT(n, 0);
}

/* Who sleeps is served in order, and by whoever releases. */
static void order_of_waiters(struct cell *cell) {
    EXPECT(hawser_semaphore_acquire(cell->semaphore, cell->permits, HAWSER_NOW), 0);
    for (unsigned i = 0; i < 3; i++) {
        worker_tell(&cell->workers[i], acquire(cell->permits, PATIENCE), -1);
        await_line(cell, i + 1);
    }
    EXPECT(hawser_semaphore_release(cell->semaphore, cell->permits), 0);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(worker_answer(&cell->workers[i]).result, 0);
        EXPECT(status_of(cell).waiting, 2 - i);
        EXPECT(worker_do(&cell->workers[i], release(cell->permits)), 0);
    }
}

/* While somebody waits for all of them, others may take one so often, and then no more. */
static void passing_has_an_end(struct cell *cell) {
    unsigned passes = 0, refused = 0;
    EXPECT(hawser_semaphore_acquire(cell->semaphore, 1, HAWSER_NOW), 0);
    worker_tell(&cell->workers[0], acquire(cell->permits, PATIENCE), -1);
    await_line(cell, 1);
    for (; cell->permits > 1 && refused == 0; passes++) {
        refused = worker_do(&cell->workers[1], acquire(1, HAWSER_NOW)) == -EAGAIN;
        if (!refused)
            EXPECT(worker_do(&cell->workers[1], release(1)), 0);
        CHECK(passes <= 1024);
    }
    EXPECT(hawser_semaphore_release(cell->semaphore, 1), 0);
    EXPECT(worker_answer(&cell->workers[0]).result, 0);
    EXPECT(worker_do(&cell->workers[0], release(cell->permits)), 0);
    EXPECT(worker_do(&cell->workers[1], acquire(1, HAWSER_NOW)), 0);
}

/* The sleeper has what a killed holder had within 100 ms, and is told. */
static void holder_dies(struct cell *cell) {
    EXPECT(worker_do(&cell->workers[0], acquire(cell->permits, HAWSER_NOW)), 0);
    worker_tell(&cell->workers[1], acquire(1, PATIENCE), -1);
    await_line(cell, 1);
    worker_kill(&cell->workers[0]);
    int64_t death = now();
    struct answer answer = worker_answer(&cell->workers[1]);
    EXPECT(answer.result, HAWSER_OWNER_DIED);
    CHECK(answer.at_ns - death < 100 * MS);
    EXPECT(worker_do(&cell->workers[1], release(1)), 0);
    struct hawser_semaphore_status status = status_of(cell);
    CHECK(status.available == cell->permits && status.deaths == 1);
    EXPECT(hawser_semaphore_acquire(cell->semaphore, cell->permits, HAWSER_NOW), cell->permits > 1 ? HAWSER_OWNER_DIED : 0);
    EXPECT(hawser_semaphore_release(cell->semaphore, cell->permits), 0);
    EXPECT(hawser_semaphore_acquire(cell->semaphore, cell->permits, HAWSER_NOW), 0); /* told once */
}

/* The same without a sleeper: whoever tries has it at once. */
static void holder_dies_unwatched(struct cell *cell) {
    EXPECT(worker_do(&cell->workers[0], acquire(cell->permits, HAWSER_NOW)), 0);
    worker_kill(&cell->workers[0]);
    EXPECT(worker_do(&cell->workers[1], acquire(1, HAWSER_NOW)), HAWSER_OWNER_DIED);
    worker_kill(&cell->workers[1]);
    EXPECT(worker_do(&cell->workers[2], acquire(cell->permits, PATIENCE)), HAWSER_OWNER_DIED);
}

/* The first two in line die, and with them the holder. */
static void waiters_die(struct cell *cell) {
    EXPECT(worker_do(&cell->workers[0], acquire(cell->permits, HAWSER_NOW)), 0);
    for (unsigned i = 1; i < WORKERS; i++) {
        worker_tell(&cell->workers[i], acquire(cell->permits, PATIENCE), -1);
        await_line(cell, i);
    }
    for (unsigned i = 0; i < 3; i++)
        kill(cell->workers[i].pid, SIGKILL);
    for (unsigned i = 0; i < 3; i++)
        worker_kill(&cell->workers[i]);
    int64_t death = now();
    struct answer answer = worker_answer(&cell->workers[3]);
    EXPECT(answer.result, HAWSER_OWNER_DIED);
    CHECK(answer.at_ns - death < 100 * MS);
    EXPECT(status_of(cell).waiting, 0);
}

/* A waiter that dies is in nobody's way. */
static void only_a_waiter_dies(struct cell *cell) {
    EXPECT(hawser_semaphore_acquire(cell->semaphore, cell->permits, HAWSER_NOW), 0);
    worker_tell(&cell->workers[0], acquire(cell->permits, PATIENCE), -1);
    await_line(cell, 1);
    worker_tell(&cell->workers[1], acquire(1, PATIENCE), -1);
    await_line(cell, 2);
    worker_kill(&cell->workers[0]);
    int64_t death = now();
    EXPECT(hawser_semaphore_release(cell->semaphore, cell->permits), 0);
    struct answer answer = worker_answer(&cell->workers[1]);
    EXPECT(answer.result, 0);
    CHECK(answer.at_ns - death < 100 * MS);
}

static void closing_gives_back(struct cell *cell) {
    EXPECT(worker_do(&cell->workers[0], acquire(cell->permits, HAWSER_NOW)), 0);
    worker_tell(&cell->workers[1], acquire(cell->permits, PATIENCE), -1);
    await_line(cell, 1);
    EXPECT(worker_do(&cell->workers[0], (struct order){ .verb = CLOSE }), 0);
    EXPECT(worker_answer(&cell->workers[1]).result, 0); /* nobody died */
    EXPECT(status_of(cell).deaths, 0);
}

static void no_system_calls(struct cell *cell) {
    EXPECT(worker_do(&cell->workers[0], acquire(1, HAWSER_NOW)), 0); /* a forked one joins */
    EXPECT(worker_do(&cell->workers[0], release(1)), 0);
    worker_tell(&cell->workers[0], acquire(1, PATIENCE), -1);
    struct answer answer = worker_answer(&cell->workers[0]);
    CHECK(answer.result == 0 && answer.calls == 0);
    worker_tell(&cell->workers[0], release(1), -1);
    answer = worker_answer(&cell->workers[0]);
    CHECK(answer.result == 0 && answer.calls == 0);
}

static void locks(struct cell *cell) {
    struct order lock = { .verb = LOCK, .timeout = PATIENCE }, unlock = { .verb = UNLOCK }, elsewhere = { .verb = THREAD_UNLOCK };
    if (cell->permits > 1) {
        EXPECT(hawser_lock(cell->semaphore, HAWSER_NOW), -EINVAL);
        EXPECT(hawser_unlock(cell->semaphore), -EINVAL);
        return;
    }
    EXPECT(hawser_unlock(cell->semaphore), -EPERM);
    EXPECT(hawser_lock(cell->semaphore, HAWSER_NOW), 0);
    EXPECT(hawser_lock(cell->semaphore, HAWSER_FOREVER), -EDEADLK);
    EXPECT(worker_do(&cell->workers[0], (struct order){ .verb = LOCK, .timeout = HAWSER_NOW }), -EAGAIN);
    EXPECT(worker_do(&cell->workers[0], unlock), -EPERM);
    EXPECT(hawser_unlock(cell->semaphore), 0);
    EXPECT(worker_do(&cell->workers[0], lock), 0);
    EXPECT(worker_do(&cell->workers[0], elsewhere), -EPERM);
    EXPECT(hawser_lock(cell->semaphore, 2 * MS), -ETIMEDOUT);
    worker_kill(&cell->workers[0]);
    EXPECT(worker_do(&cell->workers[1], lock), HAWSER_OWNER_DIED);
    EXPECT(worker_do(&cell->workers[1], unlock), 0);
    EXPECT(hawser_lock(cell->semaphore, HAWSER_NOW), 0);
}

/* A handle of a process opened twice is one member. */
static void opened_twice(struct cell *cell) {
    hawser_semaphore *again;
    int ticket;
    if (cell->variant == NAMED)
        EXPECT(hawser_semaphore_open(cell->address, NULL, 0, &again), 0);
    if (cell->variant != NAMED) {
        EXPECT(hawser_semaphore_export(cell->semaphore, &ticket), 0);
        EXPECT(hawser_semaphore_adopt(ticket, NULL, &again), 0);
        close(ticket);
    }
    EXPECT(hawser_semaphore_acquire(again, cell->permits, HAWSER_NOW), 0);
    hawser_semaphore_close(again);
    EXPECT(hawser_semaphore_release(cell->semaphore, cell->permits), 0); /* the process still has it open, and holds them */
    EXPECT(worker_do(&cell->workers[0], acquire(1, HAWSER_NOW)), 0);
}

static const struct promise {
    const char *name;
    void (*run)(struct cell *cell);
} promises[] = {
    { "counts", counts },
    { "bad arguments", bad_arguments },
    { "holders", holders },
    { "order of waiters", order_of_waiters },
    { "passing has an end", passing_has_an_end },
    { "holder dies", holder_dies },
    { "holder dies unwatched", holder_dies_unwatched },
    { "waiters die", waiters_die },
    { "only a waiter dies", only_a_waiter_dies },
    { "closing gives back", closing_gives_back },
    { "no system calls", no_system_calls },
    { "locks", locks },
    { "opened twice", opened_twice },
};

/* ---- The table ---- */

static unsigned entries(const char *path) {
    unsigned n = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        n++;
    closedir(directory);
    return n;
}

/* A process of its own: what it leaves is seen afterwards. */
static bool run_cell(const struct promise *promise, struct cell cell) {
    static const char *const variants[] = { "named", "forked", "ticket" };
    unsigned names = entries(getenv("HAWSER_RUNTIME_DIR"));
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        unsigned before = entries("/proc/self/fd");
        alarm(60);
        cell_open(&cell);
        promise->run(&cell);
        cell_close(&cell);
        EXPECT(entries("/proc/self/fd"), before);
        _exit(0);
    }
    bool good = waitpid(pid, &status, 0) == pid && status == 0 && entries(getenv("HAWSER_RUNTIME_DIR")) == names;
    char line[128]; /* in one piece, as others print beside it */
    int n = snprintf(line, sizeof line, "%s semaphore: %s, %u permits, wait=%s: %s\n", good ? "ok" : "not ok", variants[cell.variant],
                     cell.permits, cell.wait, promise->name);
    CHECK(write(STDOUT_FILENO, line, (size_t)n) == n);
    return good;
}

/* All cells of a variant, in a process and a runtime directory of their own: most of the time they sleep. */
static pid_t run_variant(enum variant variant, const char *parent) {
    static const uint32_t permits[] = { 1, 2, 64 };
    static const char *const waits[] = { "adaptive", "block", "spin" };
    char own[300];
    unsigned failed = 0;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    mkdir(parent, 0700);
    snprintf(own, sizeof own, "%s/promises-%d", parent, (int)getpid()); /* the same table with old calls may run beside it */
    mkdir(own, 0700);
    setenv("HAWSER_RUNTIME_DIR", own, 1);
    for (size_t i = 0; i < sizeof promises / sizeof promises[0]; i++)
        for (unsigned j = 0; j < 9; j++)
            failed += !run_cell(&promises[i], (struct cell){ .variant = variant, .permits = permits[j % 3], .wait = waits[j / 3] });
    _exit(rmdir(own) != 0 || failed > 0);
}

int main(int argc, char **argv) {
    char own[] = "/tmp/hawser-promises-XXXXXX";
    const char *parent = getenv("HAWSER_RUNTIME_DIR");
    int status, failed = 0;
    bool is_own = !parent;
    if (is_own)
        parent = mkdtemp(own);
    CHECK(parent != NULL);
    if (argc > 1 && strcmp(argv[1], "--old-kernel") == 0)
        sys_refuse_newer();
    for (enum variant variant = NAMED; variant <= TICKET; variant++)
        CHECK(run_variant(variant, parent) > 0);
    while (wait(&status) > 0)
        failed += status != 0;
    if (is_own)
        rmdir(own);
    return failed > 0;
}
