/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A row: hawser and the bare system calls in turn, in changing order, on the same two CPUs at the same distance. Virtual
 * CPUs move, so a pair of samples counts only when all its probes agree; medians are taken over the pairs that
 * count and that were taken at the row's usual distance. */

#include "bench_loop.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define PROBES_AGREE 1.25  /* highest to lowest of a pair's probes */
#define DISTANCE_AGREE 1.5 /* a pair's distance to the row's */
#define RETRIES_PER_PAIR 1
#define SAMPLE_LEAST_NS 2000000
#define GRACE_NS INT64_C(15000000000)

struct pair {
    struct sample ours, bare;
    double distance_ns;
    bool steady;
};

size_t row_samples(const struct session *session, const struct row *row) {
    return (size_t)session->samples * ((row->ours ? 1u : 0u) + (row->bare ? 1u : 0u));
}

/* With a budget: what is left of it for each sample that is left. */
static int64_t sample_time(const struct session *session) {
    if (session->budget_end_ns == 0 || session->samples_left == 0)
        return session->time_ns;
    int64_t each = (session->budget_end_ns - bench_now()) / (int64_t)session->samples_left - session->overhead_ns;
    each = each * 5 / 6; /* the warm-up comes on top */
    if (each < SAMPLE_LEAST_NS)
        return SAMPLE_LEAST_NS;
    return each < session->time_ns ? each : session->time_ns;
}

static int take(struct session *session, struct row *row, const struct way *way, enum way_wait wait, enum pattern pattern,
                struct sample *ret_sample) {
    struct sample_request request = {
        .way = way, .pattern = pattern, .wait = wait, .size = row->size, .think_ns = row->think_ns, .time_ns = sample_time(session),
        .grace_ns = GRACE_NS, .cpus = session->cpus, .directory = session->directory,
    };
    char sentence[SENTENCE_MAX] = "";
    int64_t start = bench_now();
    int r = sample_run(&request, ret_sample, &session->signal, sentence);
    int64_t overhead = bench_now() - start - request.time_ns * 6 / 5;
    session->overhead_ns += (overhead - session->overhead_ns) / 16;
    if (r < 0 && r != -ECANCELED) {
        char size[NUMBER_TEXT];
        snprintf(row->failure, sizeof row->failure, "%s%s, %s, %s, wait=%s: %.300s", bare_way_find(way->name) == way ? "bare " : "",
                 way->name, pattern_name(pattern), size_text(row->size, size), wait_name(wait), sentence);
    }
    return r;
}

static int take_pair(struct session *session, struct row *row, bool bare_first, struct pair *ret_pair) {
    int r = 0;
    /* bare calls have no send_many: their one call per message is what it is held against */
    enum pattern bare_pattern = row->pattern == PATTERN_ONE_WAY_MANY && !(row->bare && row->bare->can & WAY_CAN_MANY)
                                    ? PATTERN_ONE_WAY : row->pattern;
    for (int turn = 0; turn < 2 && r == 0; turn++) {
        bool bare = (turn == 0) == bare_first;
        if (bare && row->bare)
            r = take(session, row, row->bare, row->bare_wait, bare_pattern, &ret_pair->bare);
        else if (!bare && row->ours)
            r = take(session, row, row->ours, row->wait, row->pattern, &ret_pair->ours);
    }
    if (r == 0 && !row->ours)
        ret_pair->ours = ret_pair->bare;
    if (r == 0 && !row->bare)
        ret_pair->bare = ret_pair->ours;
    return r;
}

static void judge(struct pair *pair) {
    const double probes[4] = { pair->ours.probes_ns[0], pair->ours.probes_ns[1], pair->bare.probes_ns[0], pair->bare.probes_ns[1] };
    double low = INFINITY, high = 0;
    for (int i = 0; i < 4; i++) {
        low = fmin(low, probes[i]);
        high = fmax(high, probes[i]);
    }
    /* both sides on one CPU, or no far side: no distance, and nothing to disagree about */
    pair->steady = high == 0 || high <= low * PROBES_AGREE;
    pair->distance_ns = high == 0 ? NAN : (pair->ours.distance_ns + pair->bare.distance_ns) / 2;
}

static double middle(const struct pair *pairs, size_t n, bool bare, size_t member) {
    double values[SAMPLES_MAX];
    for (size_t i = 0; i < n; i++) {
        const struct sample *sample = bare ? &pairs[i].bare : &pairs[i].ours;
        memcpy(&values[i], (const char *)sample + member, sizeof values[i]);
    }
    return median(values, n);
}

static struct sample middle_sample(const struct pair *pairs, size_t n, bool bare) {
    struct sample sample = { .probes_ns = { NAN, NAN } };
    const size_t members[] = {
        offsetof(struct sample, p50_ns), offsetof(struct sample, p99_ns), offsetof(struct sample, p999_ns),
        offsetof(struct sample, mean_ns), offsetof(struct sample, messages_per_s), offsetof(struct sample, bytes_per_s),
        offsetof(struct sample, cpu_ns), offsetof(struct sample, calls), offsetof(struct sample, switches),
        offsetof(struct sample, interrupts), offsetof(struct sample, distance_ns),
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        double value = middle(pairs, n, bare, members[i]);
        memcpy((char *)&sample + members[i], &value, sizeof value);
    }
    return sample;
}

/* Drops the pairs taken at another distance than the middle one; returns how many remain. */
static size_t same_distance(struct pair *pairs, size_t n) {
    double distances[SAMPLES_MAX];
    for (size_t i = 0; i < n; i++)
        distances[i] = pairs[i].distance_ns;
    /* one of those that were measured, so that at least its pair is kept; median() has sorted them */
    double usual = isnan(median(distances, n)) ? NAN : distances[n / 2];
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        double ratio = pairs[i].distance_ns / usual;
        if (isnan(usual) || (ratio < DISTANCE_AGREE && ratio > 1 / DISTANCE_AGREE))
            pairs[kept++] = pairs[i];
    }
    return kept;
}

static void summarise(struct row *row, struct pair *pairs, size_t n) {
    row->kept = (unsigned)same_distance(pairs, n);
    row->figures = middle_sample(pairs, row->kept, false);
    row->bare_figures = middle_sample(pairs, row->kept, true);
    double low = INFINITY, high = 0;
    for (size_t i = 0; i < row->kept; i++) {
        double value = row->pattern == PATTERN_ROUND_TRIP ? pairs[i].ours.p50_ns : pairs[i].ours.messages_per_s;
        low = fmin(low, value);
        high = fmax(high, value);
    }
    row->spread = (high - low) /
                  (row->pattern == PATTERN_ROUND_TRIP ? row->figures.p50_ns : row->figures.messages_per_s);
}

int row_measure(struct session *session, struct row *row) {
    struct pair pairs[SAMPLES_MAX];
    size_t per_pair = row_samples(session, row) / session->samples;
    char what[128], size[NUMBER_TEXT];
    snprintf(what, sizeof what, "%s %s %s wait=%s", row->mechanism, pattern_name(row->pattern), size_text(row->size, size),
             wait_name(row->wait));
    unsigned retries = session->budget_end_ns ? 1 : session->samples * RETRIES_PER_PAIR;
    for (unsigned i = 0; i < session->samples; i++) {
        session_progress(session, what);
        int r = take_pair(session, row, i % 2 == 0, &pairs[i]);
        if (r < 0) {
            session->samples_left -= per_pair * (session->samples - i);
            return r;
        }
        judge(&pairs[i]);
        if (!pairs[i].steady && row->retried < retries) {
            row->retried++;
            i--; /* again; the budget of the others pays for it */
            continue;
        }
        row->unsteady += !pairs[i].steady;
        session->samples_left -= per_pair;
    }
    summarise(row, pairs, session->samples);
    return 0;
}
