/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Runs cells and counts. The run has one scratch directory; a janitor process removes it when the run ends, however
 * it ends. A line a cell: "ok THEME/PROMISE PLACE", "not ok ...", or "[  SKIPPED ] ..." with the reason. */

#include "suite.h"

#include "base/sys.h"

#include <dirent.h>
#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 5
#else
#define SLOWER 1
#endif

#ifdef __SANITIZE_THREAD__
/* It takes the NULL of a recv() that throws bytes away for memory that two threads write. */
HAWSER_PUBLIC const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:discard_input\n"; }
#endif

bool suite_long;

static const struct theme themes[] = {
    { "exchange", exchange_promises },   { "limits", limits_promises },     { "timeouts", timeouts_promises },
    { "sync", sync_promises },           { "ending", ending_promises },     { "death", death_promises },
    { "fork", fork_promises },           { "export", export_promises },     { "interrupt", interrupt_promises },
    { "poll", poll_promises },           { "crowd", crowd_promises },
    { "threads", threads_promises },   { "access", access_promises },
    { "listener", listener_promises },   { "hostile", hostile_promises },   { "loans", loans_promises },
    { "many", many_promises },           { "descriptors", descriptors_promises },
    { "report", report_promises },       { "leaks", leaks_promises },       { NULL, NULL },
};

struct suite {
    const char *theme, *promise, *place; /* NULL: all */
    bool plain, old_kernel, list;
    char scratch[96];
    unsigned passed, failed, skipped, cells;
    int janitor_pipe;
    pid_t janitor;
    pid_t *group; /* of the cell that runs, 0 between cells; the janitor ends it should the run be killed */
};

unsigned long long amount(unsigned long long quick, unsigned long long in_long) { return suite_long ? in_long : quick; }

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *where) {
    (void)status, (void)flag, (void)where;
    remove(path);
    return 0;
}

static void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* Outlives the run, if only for a moment: the end of its pipe tells it that the run is over. */
static void janitor_start(struct suite *suite) {
    const char *temporary = getenv("TMPDIR");
    snprintf(suite->scratch, sizeof suite->scratch, "%s/hawser-XXXXXX", temporary ? temporary : "/tmp");
    int ends[2];
    if (!mkdtemp(suite->scratch) || chmod(suite->scratch, 0711) < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        perror(suite->scratch);
        exit(1);
    }
    suite->janitor_pipe = ends[1];
    suite->group = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    suite->janitor = fork();
    if (suite->janitor == 0) {
        setsid();
        close(ends[1]);
        char byte;
        while (read(ends[0], &byte, 1) < 0) {
        }
        if (*suite->group > 0)
            kill(-*suite->group, SIGKILL);
        remove_tree(suite->scratch);
        _exit(0);
    }
    close(ends[0]);
}

/* ---- what a cell leaves behind ---- */

static unsigned names_found;

static int count_name(const char *path, const struct stat *status, int flag, struct FTW *where) {
    (void)status, (void)where;
    if (flag != FTW_D && !strstr(path, "/own/")) {
        fprintf(stderr, "left behind: %s\n", path);
        names_found++;
    }
    return 0;
}

static unsigned queues_left(void) {
    unsigned lines = 0;
    FILE *table = fopen("/proc/sysvipc/msg", "re");
    char line[256];
    while (table && fgets(line, sizeof line, table))
        lines++;
    if (table)
        fclose(table);
    return lines > 0 ? lines - 1 : 0;
}

/* A killed process may leave a name or a queue, but only until the next open. */
static void check_left(struct cell *cell, bool own_queues) {
    if (!cell->promise->kills) {
        nftw(cell->directory, count_name, 16, FTW_PHYS);
        CHECK(names_found == 0);
    } else if (own_queues && cell->place->mechanism == SYSV) {
        hawser_channel *sender, *receiver;
        ends_open(cell, "", &sender, &receiver);
        hawser_close(sender);
        hawser_close(receiver);
    }
    if (own_queues && queues_left() > 0)
        fail(__FILE__, __LINE__, "%u System V queues left behind", queues_left());
}

/* ---- one cell ---- */

static void cell_main(struct suite *suite, struct cell *cell) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    close(suite->janitor_pipe);
    char runtime[160];
    snprintf(runtime, sizeof runtime, "%s/run", cell->directory);
    setenv("HAWSER_RUNTIME_DIR", runtime, 1);
    cell->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    /* in an IPC namespace of its own the queues found at the end are this cell's, and die with it */
    bool own_queues = (cell->place->mechanism & (MQ | SYSV)) && unshare(CLONE_NEWIPC) == 0;
    if (suite->old_kernel)
        sys_refuse_newer();
    cell->promise->run(cell);
    check_left(cell, own_queues);
    exit(0);
}

/* Waits for the cell's end or its time limit, collecting what it says. Returns its status, -1 for the limit. */
static int cell_wait(pid_t pid, int output, int64_t deadline, char *ret_text, size_t capacity) {
    size_t size = 0;
    int status = -1;
    for (bool ended = false;;) {
        struct pollfd wait = { .fd = output, .events = POLLIN };
        poll(&wait, 1, 10);
        char lost[256];
        bool full = size + 1 >= capacity;
        ssize_t got = wait.revents ? read(output, full ? lost : ret_text + size, full ? sizeof lost : capacity - size - 1) : 0;
        size += got > 0 && !full ? (size_t)got : 0;
        if (ended && got <= 0)
            break;
        if (!ended && waitpid(pid, &status, WNOHANG) == pid) {
            ended = true;
            kill(-pid, SIGKILL);
        }
        if (!ended && now_ns() > deadline) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            ended = true;
            status = -1;
        }
    }
    ret_text[size] = '\0';
    return status;
}

static void print_lines(const char *text) {
    while (*text) {
        int length = (int)strcspn(text, "\n");
        printf("#     %.*s\n", length, text);
        text += length + (text[length] == '\n');
    }
}

static void cell_report(struct suite *suite, const char *title, int status, const char *text) {
    if (status == 0) {
        suite->passed++;
        printf("ok %s\n", title);
    } else if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        suite->skipped++;
        printf("[  SKIPPED ] %s: %s", title, text);
    } else {
        suite->failed++;
        printf("not ok %s%s\n", title, status == -1 ? " (timed out)" : "");
        if (status > 0 && WIFSIGNALED(status) && !*text)
            printf("#     killed by signal %d\n", WTERMSIG(status));
        print_lines(text);
    }
    fflush(stdout);
}

static void cell_run(struct suite *suite, const char *theme, const struct promise *promise, const struct place *place) {
    struct cell cell = { .promise = promise, .place = place };
    char title[128], text[8192];
    snprintf(title, sizeof title, "%s/%s %s", theme, promise->name, place->title);
    snprintf(cell.directory, sizeof cell.directory, "%s/%u", suite->scratch, ++suite->cells);
    int output[2];
    if (mkdir(cell.directory, 0711) < 0 || pipe2(output, O_CLOEXEC) < 0) {
        perror(cell.directory);
        exit(1);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(output[1], STDERR_FILENO);
        close(output[0]);
        close(output[1]);
        cell_main(suite, &cell);
    }
    setpgid(pid, pid); /* whoever comes first: the group must exist before it is killed */
    *suite->group = pid;
    close(output[1]);
    /* where others want the CPUs as well, a spinner costs its peer a time slice at each wait */
    int64_t limit = (promise->seconds ? promise->seconds : 20) * SECOND * (strstr(place->query, "wait=spin") ? 5 : 1);
    limit *= SLOWER * (suite_long ? 100 : 1);
    int status = cell_wait(pid, output[0], now_ns() + limit, text, sizeof text);
    close(output[0]);
    *suite->group = 0;
    cell_report(suite, title, status, text);
    remove_tree(cell.directory);
}

/* ---- all of them ---- */

static bool machine_has_v6(void) {
    struct { /* sockaddr_in6 without its header */
        uint16_t family, port;
        uint32_t flow;
        uint8_t address[16];
        uint32_t scope;
    } loopback = { .family = AF_INET6, .address = { [15] = 1 } };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int status = bind(fd, (struct sockaddr *)&loopback, sizeof loopback);
    close(fd);
    return status == 0;
}

static bool wanted(const struct suite *suite, const struct promise *promise, const struct place *place) {
    unsigned kinds = promise->kinds ? promise->kinds : PLAIN;
    if (suite->plain)
        kinds &= PLAIN;
    return !(promise->excused & place->mechanism) && (kinds & place->kind) &&
           (!suite->promise || strcmp(suite->promise, promise->name) == 0) &&
           (!suite->place || strcmp(suite->place, place->title) == 0);
}

static void run_theme(struct suite *suite, const struct theme *theme, bool v6) {
    for (const struct promise *promise = theme->promises; promise->name; promise++) {
        for (const struct place *place = places; place->title; place++) {
            if (!wanted(suite, promise, place))
                continue;
            if (suite->list)
                printf("%s/%s %s\n", theme->name, promise->name, place->title);
            else if (strcmp(place->title, "tcp6") == 0 && !v6)
                printf("[  SKIPPED ] %s/%s tcp6: no IPv6 here\n", theme->name, promise->name);
            else
                cell_run(suite, theme->name, promise, place);
        }
    }
}

static void usage(void) {
    fputs("usage: conformance [--theme T] [--promise P] [--address PLACE] [--plain] [--old-kernel] [--long] [--list]\n", stderr);
    exit(2);
}

static void arguments(struct suite *suite, int argc, char **argv) {
    static const struct option options[] = {
        { "theme", 1, NULL, 't' },      { "promise", 1, NULL, 'p' }, { "address", 1, NULL, 'a' }, { "plain", 0, NULL, 'n' },
        { "old-kernel", 0, NULL, 'o' }, { "long", 0, NULL, 'l' },    { "list", 0, NULL, 's' },    { NULL, 0, NULL, 0 },
    };
    suite_long = getenv("HAWSER_TEST_LONG") != NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 't': suite->theme = optarg; break;
        case 'p': suite->promise = optarg; break;
        case 'a': suite->place = optarg; break;
        case 'n': suite->plain = true; break;
        case 'o': suite->old_kernel = true; break;
        case 'l': suite_long = true; break;
        case 's': suite->list = true; break;
        default: usage();
        }
    }
    if (optind < argc)
        usage();
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--adopt") == 0)
        return adopt_main(argv[2]);
    struct suite suite = { 0 };
    arguments(&suite, argc, argv);
    janitor_start(&suite);
    bool v6 = machine_has_v6();
    for (const struct theme *theme = themes; theme->name; theme++)
        if (!suite.theme || strcmp(suite.theme, theme->name) == 0)
            run_theme(&suite, theme, v6);
    close(suite.janitor_pipe);
    waitpid(suite.janitor, NULL, 0);
    if (!suite.list)
        printf("%u passed, %u failed, %u skipped\n", suite.passed, suite.failed, suite.skipped);
    return suite.failed > 0 || (!suite.list && suite.passed + suite.skipped == 0);
}
