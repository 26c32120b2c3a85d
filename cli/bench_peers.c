/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* `--peers`: hawser beside other libraries. For each workload hawser and one peer are measured in turn, then hawser and the next peer,
 * as every row is; hawser's figure is the one taken in turn with the best peer, so that figures and ratio agree. A peer
 * that hangs once is not waited for again. */

#include "bench.h"
#include "bench_numbers.h"
#include "peers.h"
#include "verbs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORKLOADS 9
#define COLUMN 10

struct workload {
    enum pattern pattern;
    size_t size;
    bool in_bytes; /* told in B/s */
};

static const struct workload workloads[WORKLOADS] = {
    { PATTERN_ROUND_TRIP, 8, false }, { PATTERN_ROUND_TRIP, 1024, false }, { PATTERN_ROUND_TRIP, 65536, false },
    { PATTERN_ONE_WAY, 8, false },    { PATTERN_ONE_WAY, 64, false },      { PATTERN_ONE_WAY, 256, false },
    { PATTERN_ONE_WAY, 1024, false }, { PATTERN_ONE_WAY, 4096, false },    { PATTERN_ONE_WAY, 65536, true },
};

/* A peer that can be measured here; of hawser alone where there is none. */
struct column {
    const struct peer *peer;
    struct row rows[WORKLOADS];
    size_t tried; /* workloads: all, or up to the one in which the peer hung */
    bool hung;
};

struct comparison {
    struct column columns[PEERS];
    size_t n;
    size_t best[WORKLOADS]; /* the column; n where no peer has a figure */
};

/* Nobody spins against somebody on the same CPU. */
static bool can_run(const struct session *session, const struct way *way) {
    return way->can & (session->cpus.together ? WAY_CAN_BLOCK : WAY_CAN_BLOCK | WAY_CAN_SPIN);
}

static enum way_wait wait_of(const struct session *session, const struct way *way) {
    return !session->cpus.together && (way->can & WAY_CAN_SPIN) ? WAY_SPIN : WAY_BLOCK;
}

static void add_column(const struct session *session, struct comparison *comparison, const struct peer *peer) {
    struct column *column = &comparison->columns[comparison->n++];
    const struct way *ours = hawser_way_find("shm");
    column->peer = peer;
    for (size_t i = 0; i < WORKLOADS; i++)
        column->rows[i] = (struct row){
            .mechanism = "shm", .pattern = workloads[i].pattern, .size = workloads[i].size, .ours = ours,
            .wait = wait_of(session, ours), .bare = peer ? peer->way : NULL, .bare_wait = peer ? wait_of(session, peer->way) : WAY_BLOCK,
        };
}

static void plan(const struct session *session, struct comparison *comparison) {
    const struct peer *peers = peers_load();
    for (size_t i = 0; i < PEERS; i++)
        if (!peers[i].remote && peers[i].way && can_run(session, peers[i].way))
            add_column(session, comparison, &peers[i]);
    if (comparison->n == 0)
        add_column(session, comparison, NULL);
}

static double figure(const struct row *row, const struct sample *sample) {
    return row->pattern == PATTERN_ROUND_TRIP ? sample->p50_ns : sample->messages_per_s;
}

/* How many times as good hawser is: more is better for either pattern. */
static double advantage(const struct row *row) {
    double ours = figure(row, &row->figures), theirs = figure(row, &row->bare_figures);
    return row->pattern == PATTERN_ROUND_TRIP ? theirs / ours : ours / theirs;
}

/* By its own figure: with every peer hawser's was measured anew. */
static size_t find_best(const struct comparison *comparison, size_t workload) {
    size_t best = comparison->n;
    for (size_t i = 0; i < comparison->n; i++) {
        const struct row *row = &comparison->columns[i].rows[workload];
        if (!comparison->columns[i].peer || row->failure[0])
            continue;
        double theirs = figure(row, &row->bare_figures);
        double than = best < comparison->n ? figure(row, &comparison->columns[best].rows[workload].bare_figures) : NAN;
        if (isnan(than) || (row->pattern == PATTERN_ROUND_TRIP ? theirs < than : theirs > than))
            best = i;
    }
    return best;
}

/* A failure begins with the name of the way. */
static bool is_of_peer(const struct column *column, const struct row *row) {
    return column->peer && strncmp(row->failure, column->peer->name, strlen(column->peer->name)) == 0;
}

static int measure_one(struct session *session, struct column *column, size_t workload) {
    struct row *row = &column->rows[workload];
    if (column->hung) {
        session->samples_left -= row_samples(session, row);
        snprintf(row->failure, sizeof row->failure, "not tried again");
        return 0;
    }
    int r = row_measure(session, row);
    column->tried++;
    column->hung = r == -ETIMEDOUT && is_of_peer(column, row);
    return r == -ECANCELED ? r : 0;
}

static int measure(struct session *session, struct comparison *comparison) {
    for (size_t i = 0; i < comparison->n; i++)
        for (size_t w = 0; w < WORKLOADS; w++)
            session->samples_all += row_samples(session, &comparison->columns[i].rows[w]);
    session->samples_left = session->samples_all;
    for (size_t w = 0; w < WORKLOADS; w++) {
        for (size_t i = 0; i < comparison->n; i++)
            if (measure_one(session, &comparison->columns[i], w) < 0)
                return -ECANCELED;
        comparison->best[w] = find_best(comparison, w);
    }
    return 0;
}

/* The row that hawser's figure is taken from; NULL when it has none. */
static const struct row *our_row(const struct comparison *comparison, size_t workload) {
    size_t best = comparison->best[workload];
    const struct row *row = &comparison->columns[best < comparison->n ? best : 0].rows[workload];
    return row->failure[0] ? NULL : row;
}

static const char *figure_text(const struct workload *workload, const struct sample *sample, char *buffer) {
    if (workload->pattern == PATTERN_ROUND_TRIP)
        return duration_text(sample->p50_ns, buffer);
    return rate_text(workload->in_bytes ? sample->bytes_per_s : sample->messages_per_s, buffer);
}

static void print_workload(FILE *file, const struct comparison *comparison, size_t w) {
    char size[NUMBER_TEXT], text[NUMBER_TEXT];
    const struct row *ours = our_row(comparison, w);
    size_t best = comparison->best[w];
    fprintf(file, "%-10s %*s", size_text(workloads[w].size, size), COLUMN,
            ours ? figure_text(&workloads[w], &ours->figures, text) : "failed");
    for (size_t i = 0; i < comparison->n && comparison->columns[i].peer; i++) {
        const struct column *column = &comparison->columns[i];
        fprintf(file, " %*s", COLUMN, column->rows[w].failure[0] ? "failed" : figure_text(&workloads[w], &column->rows[w].bare_figures, text));
    }
    if (best < comparison->n)
        fprintf(file, "   %6.2f x %s%s", advantage(ours), comparison->columns[best].peer->name, ours->unsteady ? " ~" : "");
    fprintf(file, "\n");
}

static void print_header(FILE *file, const struct comparison *comparison, const char *title) {
    fprintf(file, "\n%-10s %*s", title, COLUMN, "hawser");
    for (size_t i = 0; i < comparison->n && comparison->columns[i].peer; i++)
        fprintf(file, " %*s", COLUMN, comparison->columns[i].peer->name);
    fprintf(file, "%s\n", comparison->columns[0].peer ? "   hawser against the best" : "");
}

static const struct column *column_of(const struct comparison *comparison, const struct peer *peer) {
    for (size_t i = 0; i < comparison->n; i++)
        if (comparison->columns[i].peer == peer)
            return &comparison->columns[i];
    return NULL;
}

/* What each column is; and the peers that have none, and why. */
static void print_legend(FILE *file, const struct session *session, const struct comparison *comparison) {
    const struct peer *peers = peers_load();
    fprintf(file, "\nAll copy the payload in and out. Round trips: p50. More than 1 x: hawser is that much faster.\n%-10s shm://, wait=%s\n", "hawser",
            wait_name(comparison->columns[0].rows[0].wait));
    for (size_t i = 0; i < PEERS; i++) {
        if (peers[i].remote)
            continue;
        if (column_of(comparison, &peers[i]))
            fprintf(file, "%-10s %s\n", peers[i].name, peers[i].how);
        else
            fprintf(file, "%-10s %s\n", peers[i].name, peers[i].way && session->cpus.together ? "only spins, which one CPU does not allow" : peers[i].problem);
    }
}

static void print_table(FILE *file, const struct session *session, const struct comparison *comparison) {
    const struct row *rows = comparison->columns[0].rows;
    table_print_where(file, session, rows, WORKLOADS, "each peer");
    for (size_t w = 0; w < WORKLOADS; w++) {
        if (w == 0)
            print_header(file, comparison, "ROUND TRIP");
        else if (workloads[w].pattern != workloads[w - 1].pattern)
            print_header(file, comparison, "MESSAGES/S");
        else if (workloads[w].in_bytes)
            print_header(file, comparison, "BYTES/S");
        print_workload(file, comparison, w);
    }
    print_legend(file, session, comparison);
}

static struct row row_of_peer(const struct column *column, size_t workload) {
    struct row row = column->rows[workload];
    row.mechanism = column->peer->name;
    row.wait = row.bare_wait;
    row.figures = row.bare_figures;
    row.spread = NAN;
    row.bare = NULL;
    return row;
}

static struct row row_of_hawser(const struct comparison *comparison, size_t workload) {
    const struct row *ours = our_row(comparison, workload);
    size_t best = comparison->best[workload];
    struct row row = ours ? *ours : comparison->columns[0].rows[workload];
    row.bare = NULL;
    if (best < comparison->n) {
        row.best_peer = comparison->columns[best].peer->name;
        row.times_best_peer = advantage(ours);
    }
    return row;
}

static int print_json(FILE *file, const struct comparison *comparison) {
    struct row *rows = calloc(WORKLOADS * (PEERS + 1), sizeof *rows);
    size_t n = 0;
    if (!rows)
        return -ENOMEM;
    for (size_t w = 0; w < WORKLOADS; w++) {
        rows[n++] = row_of_hawser(comparison, w);
        for (size_t i = 0; i < comparison->n && comparison->columns[i].peer; i++)
            rows[n++] = row_of_peer(&comparison->columns[i], w);
    }
    int r = json_print(file, rows, n);
    free(rows);
    return r;
}

static int print_failures(const struct comparison *comparison) {
    int code = EXIT_DONE;
    for (size_t i = 0; i < comparison->n; i++)
        for (size_t w = 0; w < comparison->columns[i].tried; w++)
            if (comparison->columns[i].rows[w].failure[0]) {
                fprintf(stderr, "hawser bench: %s\n", comparison->columns[i].rows[w].failure);
                code = EXIT_FAILED;
            }
    return code;
}

int peers_run(struct session *session, FILE *table, FILE *json) {
    struct comparison *comparison = calloc(1, sizeof *comparison);
    int code = EXIT_FAILED;
    if (!comparison)
        return code;
    plan(session, comparison);
    if (measure(session, comparison) == 0) {
        if (session->progress)
            fprintf(stderr, "\r\033[K");
        if (table)
            print_table(table, session, comparison);
        fflush(stdout);
        code = print_failures(comparison);
        if (json && print_json(json, comparison) < 0)
            code = EXIT_FAILED;
    }
    free(comparison);
    return code;
}
