/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What a person reads: hawser beside the bare system calls, and the ratio. */

#include "bench.h"
#include "bench_numbers.h"

#include <math.h>
#include <string.h>

const char *pattern_name(enum pattern pattern) {
    static const char *const names[] = { "rtt", "oneway", "oneway-many" };
    return names[pattern];
}

const char *wait_name(enum way_wait wait) {
    static const char *const names[] = { "block", "spin", "adaptive" };
    return names[wait];
}

void table_print_where(FILE *file, const struct session *session, const struct row *rows, size_t n, const char *other) {
    double distances[1024], low = INFINITY, high = 0;
    size_t known = 0;
    for (size_t i = 0; i < n && known < sizeof distances / sizeof *distances; i++) {
        double distance = rows[i].failure[0] ? NAN : rows[i].figures.distance_ns;
        if (isnan(distance))
            continue;
        distances[known++] = distance;
        low = fmin(low, distance);
        high = fmax(high, distance);
    }
    if (!session->cpus.pinned)
        fprintf(file, "Two processes, not pinned: the CPU affinity cannot be set.\n");
    else if (session->cpus.together)
        fprintf(file, "Two processes, both pinned to CPU %d.\n", session->cpus.of_side[0]);
    else
        fprintf(file, "Two processes, pinned to CPUs %d and %d.\n", session->cpus.of_side[0], session->cpus.of_side[1]);
    if (known)
        fprintf(file, "A cache line there and back between them: %.0f ns (%.0f to %.0f over the rows).\n",
                median(distances, known), low, high);
    fprintf(file, "Medians of %u samples, hawser and %s in turn; every message was checked on arrival.\n", session->samples, other);
}

static void print_ratio(FILE *file, double ours, double bare) {
    double ratio = ours / bare;
    if (isnan(ratio))
        fprintf(file, " %7s", "-");
    else
        fprintf(file, " %6.2fx", ratio);
}

static void print_costs(FILE *file, const struct row *row) {
    char cpu[NUMBER_TEXT], calls[NUMBER_TEXT], switches[NUMBER_TEXT], interrupts[NUMBER_TEXT], distance[NUMBER_TEXT], spread[NUMBER_TEXT];
    const struct sample *figures = &row->figures;
    fprintf(file, " | %8s %6s %8s %7s | %7s %5s%s\n", duration_text(figures->cpu_ns, cpu), count_text(figures->calls, calls),
            count_text(figures->switches, switches), count_text(figures->interrupts, interrupts),
            duration_text(figures->distance_ns, distance), spread_text(row->spread, spread), row->unsteady ? " ~" : "");
}

static void print_row(FILE *file, const struct row *row) {
    char size[NUMBER_TEXT], a[NUMBER_TEXT], b[NUMBER_TEXT], c[NUMBER_TEXT], d[NUMBER_TEXT], e[NUMBER_TEXT];
    const struct sample *ours = &row->figures, *bare = &row->bare_figures;
    bool both = row->ours && row->bare;
    fprintf(file, "%-9s %8s %-8s", row->mechanism, size_text(row->size, size), wait_name(row->wait));
    if (row->pattern == PATTERN_ROUND_TRIP) {
        fprintf(file, " %8s %8s", row->ours ? duration_text(ours->p50_ns, a) : "-", row->bare ? duration_text(bare->p50_ns, b) : "-");
        print_ratio(file, both ? ours->p50_ns : NAN, bare->p50_ns);
        fprintf(file, " %8s %8s %8s", duration_text(ours->p99_ns, c), duration_text(ours->p999_ns, d), duration_text(ours->mean_ns, e));
    } else {
        fprintf(file, " %8s %8s", row->ours ? rate_text(ours->messages_per_s, a) : "-", row->bare ? rate_text(bare->messages_per_s, b) : "-");
        print_ratio(file, both ? ours->messages_per_s : NAN, bare->messages_per_s);
        fprintf(file, " %8s %8s", rate_text(ours->bytes_per_s, c), row->bare ? rate_text(bare->bytes_per_s, d) : "-");
    }
    print_costs(file, row);
}

static void print_section(FILE *file, const struct row *rows, size_t n, enum pattern pattern) {
    bool any = false;
    char size[NUMBER_TEXT];
    for (size_t i = 0; i < n; i++) {
        if (rows[i].pattern != pattern)
            continue;
        if (!any && pattern == PATTERN_ROUND_TRIP)
            fprintf(file, "\nROUND TRIP                          p50     bare   ratio      p99    p99.9     mean");
        else if (!any)
            fprintf(file, "\n%-24s        msg/s     bare   ratio      B/s bare B/s",
                    pattern == PATTERN_ONE_WAY ? "ONE WAY" : "ONE WAY, send_many");
        if (!any)
            fprintf(file, " | per msg: cpu  calls switches  irqs* | distance, spread\n");
        any = true;
        if (rows[i].failure[0])
            fprintf(file, "%-9s %8s %-8s   failed\n", rows[i].mechanism, size_text(rows[i].size, size), wait_name(rows[i].wait));
        else
            print_row(file, &rows[i]);
    }
}

void table_print(FILE *file, const struct session *session, const struct row *rows, size_t n) {
    bool unsteady = false;
    table_print_where(file, session, rows, n, "bare");
    for (enum pattern pattern = PATTERN_ROUND_TRIP; pattern <= PATTERN_ONE_WAY_MANY; pattern++)
        print_section(file, rows, n, pattern);
    for (size_t i = 0; i < n; i++)
        unsteady |= rows[i].unsteady > 0;
    fprintf(file, "\nbare: the same work in bare system calls, blocking for wait=block%s. A round trip is two messages.\n"
                  "ratio: hawser / bare; of a round trip less is better, of a rate more. distance: a cache line there and back between the CPUs.\n"
                  "spread: from the lowest sample to the highest, as a part of the median.\n"
                  "* interrupts of the whole system, whoever caused them.\n",
            session->cpus.together ? "" : ", spinning for spin and adaptive");
    if (unsteady)
        fprintf(file, "~ the distance between the CPUs changed while this row was measured.\n");
}
