/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See bench_numbers.h. */

#include "bench_numbers.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_BITS 10 /* of HISTOGRAM_EXACT */
#define STEP_BITS 9   /* of HISTOGRAM_STEPS */

static size_t bucket_of(uint64_t ns) {
    if (ns < HISTOGRAM_EXACT)
        return (size_t)ns;
    unsigned top = 63 - (unsigned)__builtin_clzll(ns);
    unsigned octave = top - EXACT_BITS;
    if (octave >= HISTOGRAM_OCTAVES)
        return HISTOGRAM_EXACT + HISTOGRAM_OCTAVES * HISTOGRAM_STEPS - 1;
    size_t step = (size_t)(ns >> (top - STEP_BITS)) & (HISTOGRAM_STEPS - 1);
    return HISTOGRAM_EXACT + octave * HISTOGRAM_STEPS + step;
}

/* The middle of a bucket. */
static double bucket_value(size_t bucket) {
    if (bucket < HISTOGRAM_EXACT)
        return (double)bucket;
    size_t octave = (bucket - HISTOGRAM_EXACT) / HISTOGRAM_STEPS, step = (bucket - HISTOGRAM_EXACT) % HISTOGRAM_STEPS;
    return ldexp((double)(HISTOGRAM_STEPS + step) + 0.5, (int)octave + EXACT_BITS - STEP_BITS);
}

void histogram_add(struct histogram *histogram, int64_t ns) {
    histogram->counts[bucket_of(ns < 0 ? 0 : (uint64_t)ns)]++;
    histogram->n++;
}

double histogram_quantile(const struct histogram *histogram, double fraction) {
    if (histogram->n == 0)
        return NAN;
    uint64_t rank = (uint64_t)ceil(fraction * (double)histogram->n), below = 0;
    size_t bucket = 0;
    for (;; bucket++) {
        below += histogram->counts[bucket];
        if (below >= rank && below > 0)
            return bucket_value(bucket);
    }
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double median(double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (isnan(values[i]))
            return NAN;
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int size_parse(const char *text, size_t length, size_t *ret_size, size_t *ret_offset) {
    uint64_t size = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(size, 10, &size) || __builtin_add_overflow(size, (uint64_t)(text[i] - '0'), &size))
            goto wrong;
    if (i == 0)
        goto wrong;
    if (i < length) {
        const char *unit = strchr("KMG", text[i]);
        if (!unit || !*unit || __builtin_mul_overflow(size, UINT64_C(1) << (10 * (unit - "KMG" + 1)), &size))
            goto wrong;
        i++;
    }
    if (i < length || size > SIZE_MAX / 2)
        goto wrong;
    *ret_size = (size_t)size;
    return 0;
wrong:
    *ret_offset = i;
    return -EINVAL;
}

int time_parse(const char *text, int64_t *ret_ns, size_t *ret_offset) {
    static const struct {
        const char *name;
        double ns;
    } units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
    char *end;
    /* strtod would take "nan", "0x1" and " 1" too */
    double number = text[0] >= '0' && text[0] <= '9' && text[1] != 'x' ? strtod(text, &end) : (end = (char *)(uintptr_t)text, 0);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].name) == 0 && number * units[i].ns >= 1 && number * units[i].ns < 1e15) {
            *ret_ns = (int64_t)(number * units[i].ns);
            return 0;
        }
    *ret_offset = (size_t)(end - text);
    return -EINVAL;
}

const char *size_text(size_t size, char *buffer) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB" };
    size_t unit = 0;
    for (; unit < 3 && size >= 1024 && size % 1024 == 0; unit++)
        size /= 1024;
    snprintf(buffer, NUMBER_TEXT, "%zu %s", size, units[unit]);
    return buffer;
}

/* Three digits and a unit. */
static const char *scaled(double value, double step, const char *const *units, size_t n, char *buffer) {
    if (isnan(value))
        return "-";
    size_t unit = 0;
    for (; unit + 1 < n && value >= step; unit++)
        value /= step;
    int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf(buffer, NUMBER_TEXT, "%.*f %s", decimals, value, units[unit]);
    return buffer;
}

const char *duration_text(double ns, char *buffer) {
    static const char *const units[] = { "ns", "us", "ms", "s" };
    return scaled(ns, 1000, units, 4, buffer);
}

const char *rate_text(double per_second, char *buffer) {
    static const char *const units[] = { " ", "k", "M", "G", "T" };
    return scaled(per_second, 1000, units, 5, buffer);
}

const char *count_text(double count, char *buffer) {
    if (isnan(count))
        return "-";
    snprintf(buffer, NUMBER_TEXT, "%.*f", count < 10 ? 2 : count < 100 ? 1 : 0, count);
    return buffer;
}

const char *spread_text(double part, char *buffer) {
    if (isnan(part))
        return "-";
    if (part > 9.99)
        return ">999%";
    snprintf(buffer, NUMBER_TEXT, "%.0f%%", part * 100);
    return buffer;
}
