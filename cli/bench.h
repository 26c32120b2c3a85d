/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* `hawser bench`, inside. From small to large: a sample is one run of one way between two processes; a row
 * is samples of hawser and of the bare system calls in turn and their medians; a session is everything one command
 * line asks for. What is unknown or makes no sense is NAN, printed as "-", null in JSON. */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "way.h"

#define SENTENCE_MAX 512
#define SAMPLES_MAX 31

enum pattern { PATTERN_ROUND_TRIP, PATTERN_ONE_WAY, PATTERN_ONE_WAY_MANY };

struct cpus {
    int of_side[2]; /* by enum way_side */
    bool pinned;    /* affinity could be set */
    bool together;  /* both sides on one CPU */
};

struct run;

struct sample_request {
    const struct way *way;
    int (*work)(struct run *run); /* NULL: the way's pattern; else what each side does instead */
    enum pattern pattern;
    enum way_wait wait;
    size_t size;     /* bytes of a message */
    int64_t think_ns; /* each side's work before it sends, in a round trip; not counted in its time */
    int64_t time_ns; /* to measure, after a warm-up of a fifth of it */
    int64_t grace_ns; /* beyond that, both sides are killed */
    struct cpus cpus;
    const char *directory; /* private, for names */
};

/* Per message: a round trip is two of them. */
struct sample {
    double p50_ns, p99_ns, p999_ns, mean_ns; /* of a round trip */
    double messages_per_s, bytes_per_s;
    double cpu_ns, calls, switches, interrupts; /* both sides together; interrupts: of the whole system */
    double distance_ns;   /* a cache line there and back, mean of the probes before and after */
    double probes_ns[2];  /* those probes */
    double descriptors;   /* connect only: held by an idle channel, on the side that holds more */
};

/* 0; -ECANCELED: *ret_signal asked for the end; else the sentence says which way failed and how. No child,
 * name or queue is left in any case. The caller has blocked SIGCHLD, SIGINT and SIGTERM. */
int sample_run(const struct sample_request *request, struct sample *ret_sample, int *ret_signal, char *ret_sentence);

struct row {
    const char *mechanism;
    enum pattern pattern;
    enum way_wait wait;
    size_t size;
    const struct way *ours; /* hawser's, or NULL where only the bare way exists */
    const struct way *bare; /* or NULL */
    enum way_wait bare_wait;
    int64_t think_ns; /* round trip: each side's work before it sends */

    struct sample figures;      /* medians; of the bare way where there is no other */
    struct sample bare_figures;
    double spread;              /* (highest - lowest) / median of the p50 or rate of `figures` */
    unsigned kept, retried, unsteady; /* pairs of samples: used, measured again, used though their probes disagree */
    char failure[SENTENCE_MAX]; /* empty: all is well */

    const char *best_peer;  /* beside other libraries: the best of them, or NULL */
    double times_best_peer; /* how many times as good `figures` are; more is better */
};

struct session {
    struct cpus cpus;
    char directory[64];
    unsigned samples;     /* pairs for each row */
    int64_t time_ns;      /* for one sample */
    int64_t budget_end_ns; /* CLOCK_MONOTONIC; 0: take the time it takes */
    int64_t overhead_ns;  /* what a sample takes beyond its own time, learned */
    size_t samples_left;  /* to be taken, for the budget and the bar */
    size_t samples_all;
    int signal;           /* that asked for the end, or 0 */
    bool progress;        /* draw a bar */
};

/* Fills the row's figures or its failure. -ECANCELED: session->signal. */
int row_measure(struct session *session, struct row *row);
size_t row_samples(const struct session *session, const struct row *row);

int session_open(struct session *session, bool one_cpu);
void session_close(struct session *session); /* removes the directory and what is in it */
void session_progress(const struct session *session, const char *what);

/* cpus.c of the bench */
void cpus_choose(bool together, struct cpus *ret_cpus);
void cpus_pin(const struct cpus *cpus, enum way_side side);
double interrupts_count(void); /* of all CPUs, from /proc/interrupts; NAN when it cannot be read */

/* Output */
const char *pattern_name(enum pattern pattern);
const char *wait_name(enum way_wait wait);
void table_print(FILE *file, const struct session *session, const struct row *rows, size_t n);
/* Its first lines; hawser was measured in turn with `other`. */
void table_print_where(FILE *file, const struct session *session, const struct row *rows, size_t n, const char *other);
int html_print(FILE *file, const struct session *session, const struct row *rows, size_t n);
int json_print(FILE *file, const struct row *rows, size_t n);
int targets_run(struct session *session); /* prints as it goes; an exit code */
int peers_run(struct session *session, FILE *table, FILE *json); /* either may be NULL; an exit code */

/* Connect, accept, first message over shm: p50_ns, p99_ns and descriptors. Errors as sample_run(). */
int connect_measure(struct session *session, struct sample *ret_sample, char *ret_sentence);

/* Waking a reader that waits on one channel, and on n, of which the rest are idle: medians. Errors as sample_run(). */
#define IDLE_LIMIT 1.5 /* promised: many_ns / one_ns at 1,000 */

/* ns to lend, commit, take and release a message of that size over shm, both ends in this process; NAN: it failed. */
double loans_measure(size_t size);

struct idle_figures {
    unsigned n; /* fewer than asked for where descriptors are scarce */
    double one_ns, many_ns;
};

int idle_measure(struct session *session, unsigned n, bool epolls, struct idle_figures *ret_figures, char *ret_sentence);
int idle_run(struct session *session, unsigned n); /* prints; an exit code */

/* hawser's ways, by mechanism; ends with NULL */
extern const struct way *const hawser_ways[];
const struct way *hawser_way_find(const char *name);
