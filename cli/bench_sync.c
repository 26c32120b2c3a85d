/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Takes the samples of a case in turn, in changing order, so that what the machine does to one it does to the others, and prints the
 * medians. */

#include "bench_sync.h"
#include "verbs.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>

#define CONTENDERS (BESIDE_MOST + 1)
#define GRACE_NS INT64_C(15000000000)

static const struct {
    const char *name;
    const struct sync_case *cases;
} mechanisms[] = {
    { "semaphore", sync_semaphores },
    { "event", sync_events },
    { "signal", sync_signals },
    { "cell", sync_cells },
};

#define MECHANISMS (sizeof mechanisms / sizeof *mechanisms)

struct sync_row {
    const struct sync_case *what;
    struct sample figures[CONTENDERS]; /* ours, then those beside */
    double spread;
    char failure[SENTENCE_MAX]; /* empty: all is well */
};

int sync_tell(int fd) { return send(fd, "", 1, MSG_NOSIGNAL) == 1 ? 0 : -EIO; }

int sync_await(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) == 1 ? 0 : -EIO;
}

bool sync_is(const char *mechanism) {
    for (size_t i = 0; i < MECHANISMS; i++)
        if (strcmp(mechanisms[i].name, mechanism) == 0)
            return true;
    return false;
}

/* ---- Measuring ---- */

static const struct contender *contender_of(const struct sync_case *what, unsigned i) { return i == 0 ? &what->ours : &what->beside[i - 1]; }

static unsigned contenders(const struct sync_case *what) {
    unsigned n = 1;
    while (n < CONTENDERS && contender_of(what, n)->name)
        n++;
    return n;
}

/* Of batches, where one piece of work is short: what else the machine does in some of them does not count. */
static double figure_of(const struct sample *sample) { return sample->p50_ns; }

static int take(struct session *session, struct sync_row *row, unsigned which, struct sample *ret_sample) {
    const struct contender *contender = contender_of(row->what, which);
    char sentence[SENTENCE_MAX] = "";
    struct sample_request request = {
        .way = contender->way, .work = contender->work, .pattern = PATTERN_ROUND_TRIP, .grace_ns = GRACE_NS,
        .wait = which > 0 && row->what->wait == WAY_ADAPTIVE ? WAY_BLOCK : row->what->wait, .time_ns = session->time_ns,
        .size = row->what->size ? row->what->size : sizeof(uint64_t), .cpus = session->cpus, .directory = session->directory,
    };
    int r = sample_run(&request, ret_sample, &session->signal, sentence);
    if (r < 0 && r != -ECANCELED)
        snprintf(row->failure, sizeof row->failure, "%s, %s, %s: %.300s", row->what->mechanism, row->what->work, contender->name, sentence);
    return r;
}

/* All members, which are doubles. */
static struct sample middle_of(struct sample *samples, unsigned n) {
    struct sample middle = { .p50_ns = NAN };
    for (size_t member = 0; member < sizeof middle; member += sizeof(double)) {
        double values[SAMPLES_MAX];
        for (unsigned i = 0; i < n; i++)
            memcpy(&values[i], (const char *)&samples[i] + member, sizeof(double));
        values[0] = median(values, n);
        memcpy((char *)&middle + member, &values[0], sizeof(double));
    }
    return middle;
}

static double spread_of(const struct sample *samples, unsigned n) {
    double low = INFINITY, high = 0;
    for (unsigned i = 0; i < n; i++) {
        low = fmin(low, figure_of(&samples[i]));
        high = fmax(high, figure_of(&samples[i]));
    }
    return high - low;
}

static int measure(struct session *session, struct sync_row *row) {
    struct sample samples[CONTENDERS][SAMPLES_MAX];
    unsigned n = contenders(row->what);
    for (unsigned i = 0; i < session->samples; i++) {
        char what[128];
        snprintf(what, sizeof what, "%s, %s", row->what->mechanism, row->what->work);
        session_progress(session, what);
        for (unsigned turn = 0; turn < n; turn++) {
            unsigned which = (turn + i) % n;
            int r = take(session, row, which, &samples[which][i]);
            if (r < 0)
                return r;
        }
        session->samples_left -= n;
    }
    for (unsigned which = 0; which < n; which++)
        row->figures[which] = middle_of(samples[which], session->samples);
    row->spread = spread_of(samples[0], session->samples) / figure_of(&row->figures[0]);
    return 0;
}

/* ---- Printing ---- */

static void print_head(FILE *file, const struct session *session) {
    fprintf(file, "Semaphores, events, signals and cells beside the bare calls; medians of %u samples in turn; %s.\n\n"
                  "%-9s %-27s %8s %-8s %9s  %-24s %9s %6s  %-14s %8s %6s\n",
            session->samples, !session->cpus.pinned ? "not pinned" : session->cpus.together ? "on one CPU" : "one process pinned to each CPU",
            "", "", "size", "wait", "hawser", "beside", "", "ratio", "promised", "distance", "spread");
}

static void print_promise(FILE *file, double ratio, double limit) {
    char text[32] = "";
    if (limit > 0)
        snprintf(text, sizeof text, "%.2f %s", limit, isnan(ratio) ? "not measured" : ratio <= limit ? "met" : "MISSED");
    fprintf(file, "  %-14s", text);
}

static void print_row(FILE *file, const struct sync_row *row) {
    const struct sync_case *what = row->what;
    char a[NUMBER_TEXT], b[NUMBER_TEXT];
    for (unsigned i = 1; i < contenders(what) && !row->failure[0]; i++) {
        double ours = figure_of(&row->figures[0]), bare = figure_of(&row->figures[i]);
        fprintf(file, "%-9s %-27s %8s %-8s", what->mechanism, what->work, what->size ? size_text(what->size, a) : "-", wait_name(what->wait));
        fprintf(file, " %9s  %-24s %9s %6.2f", duration_text(ours, a), what->beside[i - 1].name, duration_text(bare, b), ours / bare);
        print_promise(file, ours / bare, what->limits[i - 1]);
        fprintf(file, " %8s %6s\n", duration_text(row->figures[0].distance_ns, a), spread_text(row->spread, b));
    }
    if (row->failure[0])
        fprintf(file, "%-9s %-27s failed: %s\n", what->mechanism, what->work, row->failure);
    fflush(file);
}

static void print_number(FILE *file, const char *key, double value, const char *after) {
    if (isfinite(value))
        fprintf(file, "\"%s\": %.6g%s", key, value, after);
    else
        fprintf(file, "\"%s\": null%s", key, after);
}

/* The keys of any row of the bench; raw_ are those of the first beside it, which `beside` names; and all of them in `others`. */
static void print_object(FILE *file, const struct sync_row *row) {
    const struct sync_case *what = row->what;
    const struct sample *ours = &row->figures[0];
    bool counted = !what->ours.work; /* by the loop of round trips */
    fprintf(file, "  { \"mechanism\": \"%s\", \"pattern\": \"%s\", \"wait\": \"%s\", \"size\": %zu, ", what->mechanism,
            what->work, wait_name(what->wait), what->size);
    print_number(file, "p50_ns", ours->p50_ns, ", ");
    print_number(file, "p99_ns", ours->p99_ns > 0 ? ours->p99_ns : NAN, ", ");
    print_number(file, "p999_ns", ours->p999_ns > 0 ? ours->p999_ns : NAN, ", ");
    print_number(file, "mean_ns", ours->mean_ns, ", ");
    print_number(file, "messages_per_s", 1e9 / ours->mean_ns, ", ");
    print_number(file, "bytes_per_s", 1e9 / ours->mean_ns * (double)what->size, ", ");
    print_number(file, "cpu_ns_per_message", counted ? ours->cpu_ns : NAN, ", ");
    print_number(file, "syscalls_per_message", counted ? ours->calls : NAN, ", ");
    print_number(file, "switches_per_message", counted ? ours->switches : NAN, ", ");
    print_number(file, "interrupts_per_message", counted ? ours->interrupts : NAN, ", ");
    print_number(file, "raw_p50_ns", row->figures[1].p50_ns, ", ");
    print_number(file, "raw_messages_per_s", 1e9 / row->figures[1].mean_ns, ", ");
    print_number(file, "distance_ns", ours->distance_ns, ", ");
    print_number(file, "spread", row->spread, ", \"others\": [");
    for (unsigned i = 1; i < contenders(what); i++) {
        fprintf(file, "%s{ \"name\": \"%s\", ", i > 1 ? ", " : "", what->beside[i - 1].name);
        print_number(file, "ns", figure_of(&row->figures[i]), ", ");
        print_number(file, "ratio", figure_of(ours) / figure_of(&row->figures[i]), ", ");
        print_number(file, "promised", what->limits[i - 1] > 0 ? what->limits[i - 1] : NAN, " }");
    }
    fprintf(file, "] }");
}

/* ---- Running ---- */

struct output {
    FILE *table, *json;
    bool promises_only;
    bool any; /* an object was printed */
};

static bool wanted(const struct output *output, const struct sync_case *what) {
    return !output->promises_only || what->limits[0] > 0 || what->limits[1] > 0;
}

static int run_cases(struct session *session, const struct sync_case *cases, struct output *output) {
    int code = EXIT_DONE;
    for (const struct sync_case *what = cases; what->mechanism; what++) {
        struct sync_row row = { .what = what };
        if (!wanted(output, what))
            continue;
        int r = measure(session, &row);
        if (r == -ECANCELED)
            return r;
        code = r < 0 ? EXIT_FAILED : code;
        if (session->progress)
            fprintf(stderr, "\r\033[K");
        if (output->table)
            print_row(output->table, &row);
        if (!output->json || r < 0)
            continue;
        fprintf(output->json, "%s", output->any ? ",\n" : "");
        print_object(output->json, &row);
        output->any = true;
    }
    return code;
}

static size_t samples_of(const struct session *session, const struct sync_case *cases, const struct output *output) {
    size_t n = 0;
    for (const struct sync_case *what = cases; what->mechanism; what++)
        n += wanted(output, what) ? session->samples * contenders(what) : 0;
    return n;
}

static bool named(const char *name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return n == 0;
}

static int run_all(struct session *session, const char *const *names, size_t n, struct output *output) {
    int code = EXIT_DONE;
    session->samples_all = 0;
    for (size_t i = 0; i < MECHANISMS; i++)
        session->samples_all += named(mechanisms[i].name, names, n) ? samples_of(session, mechanisms[i].cases, output) : 0;
    session->samples_left = session->samples_all;
    for (size_t i = 0; i < MECHANISMS; i++) {
        int r = named(mechanisms[i].name, names, n) ? run_cases(session, mechanisms[i].cases, output) : EXIT_DONE;
        if (r < 0)
            return EXIT_FAILED;
        code |= r;
    }
    return code;
}

int sync_run(struct session *session, const char *const *names, size_t n, FILE *table, FILE *json) {
    struct output output = { .table = table, .json = json };
    if (table)
        print_head(table, session);
    if (json)
        fprintf(json, "[\n");
    int code = run_all(session, names, n, &output);
    if (json)
        fprintf(json, "\n]\n");
    return code;
}

int sync_targets(struct session *session) {
    struct output output = { .table = stdout, .promises_only = true };
    printf("\n");
    print_head(stdout, session);
    return run_all(session, NULL, 0, &output);
}
