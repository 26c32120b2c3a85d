/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The same figures as a page that stands alone: no script, nothing fetched. Each row has two bars, hawser's and the
 * bare calls', drawn to the longer of the two. */

#include "bench.h"
#include "bench_numbers.h"

#include <errno.h>
#include <math.h>

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>hawser bench</title>\n"
    "<style>body{font:14px/1.4 sans-serif;margin:2em;max-width:90em}table{border-collapse:collapse;margin-bottom:2em}"
    "td,th{padding:2px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child,td:nth-child(3),th:nth-child(3){text-align:left}"
    "i{display:block;height:6px;margin:1px 0;background:#26c}i+i{background:#bbb}.bars{width:14em}</style></head><body>\n"
    "<h1>hawser bench</h1>\n";

static void print_cell(FILE *file, const char *text) { fprintf(file, "<td>%s</td>", text); }

static void print_bar(FILE *file, double value, double most) {
    fprintf(file, "<i style=\"width:%.1f%%\"></i>", isfinite(value) && most > 0 ? value / most * 100 : 0.0);
}

static void print_row(FILE *file, const struct row *row) {
    char text[NUMBER_TEXT];
    bool trip = row->pattern == PATTERN_ROUND_TRIP;
    const struct sample *figures = &row->figures;
    const char *(*print)(double, char *) = trip ? duration_text : rate_text;
    double ours = row->ours ? (trip ? figures->p50_ns : figures->messages_per_s) : NAN;
    double bare = row->bare ? (trip ? row->bare_figures.p50_ns : row->bare_figures.messages_per_s) : NAN;
    double most = fmax(ours, bare);
    fprintf(file, "<tr><td>%s</td><td>%s</td><td>%s</td>", row->mechanism, size_text(row->size, text), wait_name(row->wait));
    print_cell(file, print(ours, text));
    print_cell(file, print(bare, text));
    print_cell(file, count_text(ours / bare, text));
    print_cell(file, trip ? duration_text(figures->p99_ns, text) : rate_text(figures->bytes_per_s, text));
    print_cell(file, trip ? duration_text(figures->p999_ns, text) : rate_text(row->bare ? row->bare_figures.bytes_per_s : NAN, text));
    print_cell(file, duration_text(figures->cpu_ns, text));
    print_cell(file, count_text(figures->calls, text));
    print_cell(file, count_text(figures->switches, text));
    print_cell(file, count_text(figures->interrupts, text));
    print_cell(file, duration_text(figures->distance_ns, text));
    fprintf(file, "<td class=\"bars\">");
    print_bar(file, ours, most);
    print_bar(file, bare, most);
    fprintf(file, "</td></tr>\n");
}

static void print_section(FILE *file, const struct row *rows, size_t n, enum pattern pattern) {
    static const char *const titles[] = { "Round trip", "One way", "One way, send_many" };
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].pattern != pattern || rows[i].failure[0])
            continue;
        if (!any)
            fprintf(file, "<h2>%s</h2>\n<table><tr><th>mechanism</th><th>size</th><th>wait</th><th>%s</th><th>bare</th><th>ratio</th>"
                          "<th>%s</th><th>%s</th><th>CPU</th><th>calls</th><th>switches</th><th>interrupts*</th><th>distance</th>"
                          "<th class=\"bars\">hawser, bare</th></tr>\n", titles[pattern],
                    pattern == PATTERN_ROUND_TRIP ? "p50" : "msg/s", pattern == PATTERN_ROUND_TRIP ? "p99" : "B/s",
                    pattern == PATTERN_ROUND_TRIP ? "p99.9" : "bare B/s");
        any = true;
        print_row(file, &rows[i]);
    }
    if (any)
        fprintf(file, "</table>\n");
}

int html_print(FILE *file, const struct session *session, const struct row *rows, size_t n) {
    fputs(head, file);
    fprintf(file, "<p>");
    table_print_where(file, session, rows, n, "bare");
    fprintf(file, "</p>\n");
    for (enum pattern pattern = PATTERN_ROUND_TRIP; pattern <= PATTERN_ONE_WAY_MANY; pattern++)
        print_section(file, rows, n, pattern);
    fprintf(file, "<p>CPU, calls, switches and interrupts are per message; a round trip is two. * of the whole system.</p>\n"
                  "</body></html>\n");
    return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}
