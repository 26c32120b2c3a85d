/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The verb: reads the command line, makes the list of rows, measures them one after another and prints. */

#include "bench.h"
#include "bench_loop.h"
#include "bench_numbers.h"
#include "bench_sync.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 32
#define SAMPLES_FULL 7
#define SAMPLES_QUICK 3
#define QUICK_BUDGET_NS INT64_C(40000000000) /* a busy machine overruns it: a minute is the promise */
#define QUICK_TIME_NS INT64_C(300000000)
#define FULL_TIME_NS INT64_C(1000000000)
#define SIZE_MAX_BENCH ((size_t)64 << 20) /* hawser's largest message by default */
#define NOTIFY_SIZE 8
#define IDLE_CHANNELS 1000

struct plan {
    const char *mechanisms[LIST_MAX];
    size_t n_mechanisms;
    size_t sizes[LIST_MAX];
    size_t n_sizes;
    enum way_wait waits[3];
    size_t n_waits;
    int64_t time_ns; /* for each figure, over all its samples */
    bool quick, one_cpu, many, targets, peers, idle;
    bool sizes_or_waits; /* said on the command line */
    bool syncs;          /* the mechanisms are those that carry no messages */
    struct output {
        const char *path; /* NULL: not wanted; "-": standard output, instead of the table */
        FILE *file;
    } json, html;
};

static const char help[] =
    "usage: hawser bench [MECHANISM...] [OPTIONS]\n"
    "\n"
    "Measures every mechanism between two processes on this machine, beside the same work in bare system\n"
    "calls. MECHANISM: shm pipe fifo unix tcp mq sysv, and only bare: seqpacket futex eventfd cache memcpy; or\n"
    "what carries no messages: semaphore event signal cell.\n"
    "\n"
    "  --sizes LIST  sizes of messages in bytes, with K, M, G (8,1K,64K,1M)\n"
    "  --time T      for each figure, over all its samples (1s)\n"
    "  --wait LIST   spin, adaptive, block (all three)\n"
    "  --quick       fewer and shorter samples: under a minute in all\n"
    "  --one-cpu     both processes on one CPU\n"
    "  --many        one-way with hawser_send_many too\n"
    "  --idle        what waking a reader costs among 1,000 idle channels (shm), beside one\n"
    "  --targets     the figures that hawser promises, each with what was measured\n"
    "  --peers       shm beside other libraries (iceoryx, UCX, Boost.Interprocess, nng, ZeroMQ), as far as they were built\n"
    "  --json FILE   the figures as JSON too; - is standard output, instead of the table\n"
    "  --html FILE   the figures as a page too\n"
    "\n"
    "example:\n"
    "  hawser bench shm pipe --sizes 8,64K --wait spin,block --time 200ms\n";

static int usage(const char *format, const char *argument) {
    fprintf(stderr, "hawser bench: ");
    fprintf(stderr, format, argument);
    fprintf(stderr, "; hawser bench --help tells more\n");
    return EXIT_USAGE;
}

/* Points at the character of a list or number that is wrong. */
static int usage_at(const char *option, const char *text, size_t offset, const char *wanted) {
    fprintf(stderr, "hawser bench: %s %s: %s\n%*s^ here\n", option, text, wanted,
            (int)(strlen("hawser bench: ") + strlen(option) + 1 + offset), "");
    return EXIT_USAGE;
}

static int parse_sizes(struct plan *plan, const char *text) {
    plan->n_sizes = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ","), offset = 0;
        if (plan->n_sizes == LIST_MAX)
            return usage_at("--sizes", text, (size_t)(at - text), "32 sizes at most");
        if (size_parse(at, length, &plan->sizes[plan->n_sizes], &offset) < 0)
            return usage_at("--sizes", text, (size_t)(at - text) + offset, "a size is a number and K, M, G or nothing");
        if (plan->sizes[plan->n_sizes++] > SIZE_MAX_BENCH)
            return usage_at("--sizes", text, (size_t)(at - text), "at most 64M");
        at += length;
        if (!*at)
            return EXIT_DONE;
    }
}

static int parse_waits(struct plan *plan, const char *text) {
    plan->n_waits = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        bool known = false;
        for (enum way_wait wait = WAY_BLOCK; wait <= WAY_ADAPTIVE; wait++)
            if (plan->n_waits < 3 && strlen(wait_name(wait)) == length && memcmp(wait_name(wait), at, length) == 0) {
                plan->waits[plan->n_waits++] = wait;
                known = true;
                break;
            }
        if (!known)
            return usage_at("--wait", text, (size_t)(at - text), "spin, adaptive, block, with commas");
        at += length;
        if (!*at)
            return EXIT_DONE;
    }
}

static int parse_time(struct plan *plan, const char *text) {
    size_t offset = 0;
    if (time_parse(text, &plan->time_ns, &offset) < 0)
        return usage_at("--time", text, offset, "a time is a number and ns, us, ms or s");
    return EXIT_DONE;
}

static int parse_value(struct plan *plan, const char *option, const char *value) {
    plan->sizes_or_waits |= strcmp(option, "--sizes") == 0 || strcmp(option, "--wait") == 0;
    if (strcmp(option, "--sizes") == 0)
        return parse_sizes(plan, value);
    if (strcmp(option, "--wait") == 0)
        return parse_waits(plan, value);
    if (strcmp(option, "--time") == 0)
        return parse_time(plan, value);
    struct output *output = strcmp(option, "--json") == 0 ? &plan->json : &plan->html;
    output->path = value;
    return EXIT_DONE;
}

static int parse_flag(struct plan *plan, const char *option) {
    if (strcmp(option, "--quick") == 0)
        plan->quick = true;
    else if (strcmp(option, "--one-cpu") == 0)
        plan->one_cpu = true;
    else if (strcmp(option, "--many") == 0)
        plan->many = true;
    else if (strcmp(option, "--targets") == 0)
        plan->targets = true;
    else if (strcmp(option, "--peers") == 0)
        plan->peers = true;
    else if (strcmp(option, "--idle") == 0)
        plan->idle = true;
    else
        return usage("there is no option %s", option);
    return EXIT_DONE;
}

static int parse_mechanism(struct plan *plan, const char *name) {
    if (!hawser_way_find(name) && !bare_way_find(name) && !sync_is(name))
        return usage("there is no mechanism '%s'", name);
    if (plan->n_mechanisms > 0 && plan->syncs != sync_is(name))
        return usage("%s: semaphore, event, signal and cell are measured by themselves", name);
    plan->syncs = sync_is(name);
    if (plan->n_mechanisms == LIST_MAX)
        return usage("too many mechanisms, at %s", name);
    plan->mechanisms[plan->n_mechanisms++] = name;
    return EXIT_DONE;
}

static bool takes_value(const char *option, size_t length) {
    static const char *const options[] = { "--sizes", "--wait", "--time", "--json", "--html" };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strlen(options[i]) == length && memcmp(options[i], option, length) == 0)
            return true;
    return false;
}

/* EXIT_DONE, or what to exit with. */
static int parse(struct plan *plan, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *argument = argv[i];
        size_t length = strcspn(argument, "=");
        int r;
        if (argument[0] != '-') {
            r = parse_mechanism(plan, argument);
        } else if (takes_value(argument, length)) {
            char *value = argument[length] ? argument + length + 1 : argv[++i];
            argument[length] = 0;
            r = value ? parse_value(plan, argument, value) : usage("%s wants a value", argument);
        } else {
            r = parse_flag(plan, argument);
        }
        if (r != EXIT_DONE)
            return r;
    }
    return EXIT_DONE;
}

const struct way *hawser_way_find(const char *name) {
    for (const struct way *const *way = hawser_ways; *way; way++)
        if (strcmp((*way)->name, name) == 0)
            return *way;
    return NULL;
}

static bool can_wait(const struct way *way, enum way_wait wait) {
    static const unsigned bits[] = { [WAY_BLOCK] = WAY_CAN_BLOCK, [WAY_SPIN] = WAY_CAN_SPIN, [WAY_ADAPTIVE] = WAY_CAN_ADAPT };
    return way->can & bits[wait];
}

/* Bare loops know no third way: beside adaptive stands the spinning one. On one CPU nobody can spin. */
static enum way_wait bare_wait(const struct plan *plan, enum way_wait wait) {
    return plan->one_cpu || wait == WAY_BLOCK ? WAY_BLOCK : WAY_SPIN;
}

static bool is_alone(const struct way *way) { return way && (way->can & WAY_ALONE); }

static void fill(const struct plan *plan, const char *mechanism, struct row *ret_row) {
    struct row *row = ret_row;
    row->mechanism = mechanism;
    row->ours = hawser_way_find(mechanism);
    row->bare = bare_way_find(mechanism);
    row->bare_wait = is_alone(row->bare) ? row->wait : bare_wait(plan, row->wait);
    if (row->bare && !can_wait(row->bare, row->bare_wait))
        row->bare = NULL;
}

static bool makes_sense(const struct plan *plan, const struct row *row) {
    static const unsigned bits[] = { WAY_CAN_ROUND_TRIP, WAY_CAN_ONE_WAY, WAY_CAN_MANY };
    if (plan->one_cpu && row->wait == WAY_SPIN && !is_alone(row->bare))
        return false;
    if (row->ours)
        return can_wait(row->ours, row->wait) && (row->ours->can & bits[row->pattern]);
    return row->bare && row->wait != WAY_ADAPTIVE && (row->bare->can & bits[row->pattern]) &&
           (!(row->bare->can & WAY_NOTIFIES) || row->size == NOTIFY_SIZE);
}

static size_t make_rows(const struct plan *plan, struct row *ret_rows) {
    size_t n = 0;
    enum pattern last = plan->many ? PATTERN_ONE_WAY_MANY : PATTERN_ONE_WAY;
    for (enum pattern pattern = PATTERN_ROUND_TRIP; pattern <= last; pattern++)
        for (size_t m = 0; m < plan->n_mechanisms; m++)
            for (size_t s = 0; s < plan->n_sizes; s++)
                for (size_t w = 0; w < plan->n_waits; w++) {
                    struct row row = { .pattern = pattern, .size = plan->sizes[s], .wait = plan->waits[w] };
                    fill(plan, plan->mechanisms[m], &row);
                    /* a bell has one size, whatever was asked for */
                    if (!row.ours && row.bare && (row.bare->can & WAY_NOTIFIES) && s == 0)
                        row.size = NOTIFY_SIZE;
                    else if (!row.ours && row.bare && (row.bare->can & WAY_NOTIFIES))
                        continue;
                    if (makes_sense(plan, &row))
                        ret_rows[n++] = row;
                }
    return n;
}

static void add_all(struct plan *plan) {
    for (const struct way *const *way = hawser_ways; *way; way++)
        plan->mechanisms[plan->n_mechanisms++] = (*way)->name;
    for (const struct way *const *way = bare_ways; *way; way++)
        if (!hawser_way_find((*way)->name))
            plan->mechanisms[plan->n_mechanisms++] = (*way)->name;
}

static int measure_rows(struct session *session, struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        session->samples_all += row_samples(session, &rows[i]);
    session->samples_left = session->samples_all;
    for (size_t i = 0; i < n; i++)
        if (row_measure(session, &rows[i]) == -ECANCELED)
            return -ECANCELED;
    return 0;
}

static int finish(const struct output *output, int written) {
    int r = written;
    if (output->file != stdout && fclose(output->file) != 0)
        r = -errno;
    if (r < 0)
        fprintf(stderr, "hawser bench: write %s: %s\n", output->path, strerror(-r));
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int print(const struct plan *plan, const struct session *session, const struct row *rows, size_t n) {
    int code = EXIT_DONE;
    if (plan->json.file != stdout && plan->html.file != stdout)
        table_print(stdout, session, rows, n);
    if (plan->json.file)
        code |= finish(&plan->json, json_print(plan->json.file, rows, n));
    if (plan->html.file)
        code |= finish(&plan->html, html_print(plan->html.file, session, rows, n));
    for (size_t i = 0; i < n; i++)
        if (rows[i].failure[0]) {
            fprintf(stderr, "hawser bench: %s\n", rows[i].failure);
            code = EXIT_FAILED;
        }
    return fflush(stdout) == 0 ? code : EXIT_FAILED;
}

static int run_rows(const struct plan *plan, struct session *session) {
    size_t most = plan->n_mechanisms * plan->n_sizes * plan->n_waits * 3, n;
    struct row *rows = calloc(most, sizeof *rows);
    if (!rows)
        return EXIT_FAILED;
    n = make_rows(plan, rows);
    int code = EXIT_FAILED;
    if (n == 0)
        code = usage("nothing is left to measure: %s", plan->one_cpu ? "on one CPU nobody can spin" : "none of these knows such a wait");
    else if (measure_rows(session, rows, n) == 0) {
        session_close(session); /* the bar makes way */
        code = print(plan, session, rows, n);
    }
    free(rows);
    return code;
}

static int run_peers(const struct plan *plan, struct session *session) {
    FILE *json = plan->json.file;
    int code = peers_run(session, json == stdout ? NULL : stdout, json);
    return json ? code | finish(&plan->json, ferror(json) ? -EIO : 0) : code;
}

static int run_syncs(const struct plan *plan, struct session *session) {
    FILE *json = plan->json.file;
    int code = sync_run(session, plan->mechanisms, plan->n_mechanisms, json == stdout ? NULL : stdout, json);
    return json ? code | finish(&plan->json, ferror(json) ? -EIO : 0) : code;
}

static int run(const struct plan *plan) {
    struct session session = { .samples = plan->quick && !plan->targets ? SAMPLES_QUICK : SAMPLES_FULL };
    session.time_ns = plan->time_ns / session.samples;
    if (session_open(&session, plan->one_cpu) < 0)
        return EXIT_FAILED;
    if (plan->quick)
        session.budget_end_ns = bench_now() + QUICK_BUDGET_NS;
    int code = plan->targets ? targets_run(&session)
               : plan->peers ? run_peers(plan, &session)
               : plan->syncs ? run_syncs(plan, &session)
               : plan->idle  ? idle_run(&session, IDLE_CHANNELS)
                             : run_rows(plan, &session);
    session_close(&session);
    if (session.signal) { /* everything is cleaned up: die of it, as the caller expects */
        sigset_t none;
        signal(session.signal, SIG_DFL);
        raise(session.signal);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
    }
    return code;
}

/* Before minutes of measuring, not after. */
static int open_output(struct output *output) {
    if (!output->path)
        return 0;
    output->file = strcmp(output->path, "-") == 0 ? stdout : fopen(output->path, "we");
    if (output->file)
        return 0;
    fprintf(stderr, "hawser bench: open %s: %s\n", output->path, strerror(errno));
    return -1;
}

int verb_bench(int argc, char **argv) {
    struct plan plan = {
        .sizes = { 8, 1024, 65536, 1048576 }, .n_sizes = 4, .waits = { WAY_SPIN, WAY_ADAPTIVE, WAY_BLOCK }, .n_waits = 3,
    };
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return EXIT_DONE;
        }
    int code = parse(&plan, argc, argv);
    if (code != EXIT_DONE)
        return code;
    if ((plan.targets || plan.idle) && (plan.json.path || plan.html.path || plan.n_mechanisms || plan.one_cpu || plan.many))
        return usage("%s takes no other option than --quick and --time", plan.targets ? "--targets" : "--idle");
    if (plan.peers && (plan.targets || plan.idle || plan.html.path || plan.n_mechanisms || plan.one_cpu || plan.many || plan.sizes_or_waits))
        return usage("%s takes no other option than --quick, --time and --json", "--peers");
    if (plan.syncs && (plan.html.path || plan.many || plan.sizes_or_waits))
        return usage("%s: semaphore, event, signal and cell take no other option than --quick, --time, --one-cpu and --json", plan.mechanisms[0]);
    if (plan.n_mechanisms == 0)
        add_all(&plan);
    if (plan.time_ns == 0)
        plan.time_ns = plan.quick ? QUICK_TIME_NS : FULL_TIME_NS;
    if (open_output(&plan.json) < 0 || open_output(&plan.html) < 0)
        return EXIT_FAILED;
    return run(&plan);
}
