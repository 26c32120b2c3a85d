/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* An array of objects, one for each row; null is what is unknown or makes no sense. Rows of ways that only bare
 * system calls have (futex, eventfd, ...) carry their figures in both places. */

#include "bench.h"

#include <errno.h>
#include <math.h>

/* JSON knows no nan and no infinity. */
static void print_number(FILE *file, const char *key, double value, const char *after) {
    if (isfinite(value))
        fprintf(file, "\"%s\": %.6g%s", key, value, after);
    else
        fprintf(file, "\"%s\": null%s", key, after);
}

static void print_object(FILE *file, const struct row *row) {
    const struct sample *figures = &row->figures;
    fprintf(file, "  { \"mechanism\": \"%s\", \"pattern\": \"%s\", \"wait\": \"%s\", \"size\": %zu, ", row->mechanism,
            pattern_name(row->pattern), wait_name(row->wait), row->size);
    print_number(file, "p50_ns", figures->p50_ns, ", ");
    print_number(file, "p99_ns", figures->p99_ns, ", ");
    print_number(file, "p999_ns", figures->p999_ns, ", ");
    print_number(file, "mean_ns", figures->mean_ns, ", ");
    print_number(file, "messages_per_s", figures->messages_per_s, ", ");
    print_number(file, "bytes_per_s", figures->bytes_per_s, ", ");
    print_number(file, "cpu_ns_per_message", figures->cpu_ns, ", ");
    print_number(file, "syscalls_per_message", figures->calls, ", ");
    print_number(file, "switches_per_message", figures->switches, ", ");
    print_number(file, "interrupts_per_message", figures->interrupts, ", ");
    print_number(file, "raw_p50_ns", row->bare ? row->bare_figures.p50_ns : NAN, ", ");
    print_number(file, "raw_messages_per_s", row->bare ? row->bare_figures.messages_per_s : NAN, ", ");
    /* beyond the promised keys: the best of other libraries, how far apart the CPUs were, and how far apart the samples */
    if (row->best_peer) {
        fprintf(file, "\"best_peer\": \"%s\", ", row->best_peer);
        print_number(file, "times_best_peer", row->times_best_peer, ", ");
    }
    print_number(file, "distance_ns", figures->distance_ns, ", ");
    print_number(file, "spread", row->spread, " }");
}

int json_print(FILE *file, const struct row *rows, size_t n) {
    bool any = false;
    fprintf(file, "[\n");
    for (size_t i = 0; i < n; i++) {
        if (rows[i].failure[0])
            continue;
        if (any)
            fprintf(file, ",\n");
        any = true;
        print_object(file, &rows[i]);
    }
    fprintf(file, "\n]\n");
    return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}
