/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Numbers of the bench: durations in a histogram, medians, and sizes and times as people write them. */

#include <stddef.h>
#include <stdint.h>

/* Durations in ns: exact below 1024, to one part in 512 above. Its footprint in use is a few lines, so that noting
 * a duration does not push what is measured out of the cache. */
#define HISTOGRAM_EXACT 1024u
#define HISTOGRAM_STEPS 512u
#define HISTOGRAM_OCTAVES 32u

struct histogram {
    uint64_t n;
    uint64_t counts[HISTOGRAM_EXACT + HISTOGRAM_OCTAVES * HISTOGRAM_STEPS];
};

void histogram_add(struct histogram *histogram, int64_t ns);
double histogram_quantile(const struct histogram *histogram, double fraction); /* NAN when empty */

/* Sorts the values; NAN when n is 0. NANs among them make it NAN. */
double median(double *values, size_t n);

/* "8", "64K", "1M", "2G". On failure -EINVAL and the offset of the character that is wrong. */
int size_parse(const char *text, size_t length, size_t *ret_size, size_t *ret_offset);
/* "500ms", "1s", "1.5s"; a unit is a must. */
int time_parse(const char *text, int64_t *ret_ns, size_t *ret_offset);

#define NUMBER_TEXT 24
const char *size_text(size_t size, char *buffer);     /* "64 KiB" */
const char *duration_text(double ns, char *buffer);   /* "1.23 us", "-" for NAN */
const char *rate_text(double per_second, char *buffer); /* "1.23 M" */
const char *count_text(double count, char *buffer);   /* "0.02" */
const char *spread_text(double part, char *buffer);   /* "12%", ">999%" */
