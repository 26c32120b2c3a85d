/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The speed that hawser promises, each line of it measured: ratios of medians of samples taken in turn, so that
 * what the machine does to one side it does to the other. */

#include "bench.h"
#include "bench_numbers.h"
#include "bench_sync.h"
#include "peers.h"
#include "verbs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS_MAX 96
#define CONNECT_NS 150000.0
#define DESCRIPTORS 3.0
#define LOANS 1.5
#define IDLE 1.5
#define IDLE_CHANNELS 1000
#define THINK_NS 30000

struct target {
    struct row row;
    char than[32];     /* what the figure is held against */
    double limit;      /* of the ratio, or of the figure itself when there is nothing beside it */
    bool at_most;      /* else at least */
    bool together;     /* both sides on one CPU */
};

struct targets {
    struct target list[TARGETS_MAX];
    size_t n;
};

static const char *const kernel_mechanisms[] = { "pipe", "fifo", "unix", "tcp", "mq", "sysv" };
#define KERNEL_MECHANISMS (sizeof kernel_mechanisms / sizeof *kernel_mechanisms)

static struct target *add(struct targets *targets, const char *mechanism, enum pattern pattern, enum way_wait wait, size_t size) {
    struct target *target = &targets->list[targets->n++];
    enum way_wait beside = wait == WAY_BLOCK ? WAY_BLOCK : WAY_SPIN;
    target->row = (struct row){ .mechanism = mechanism, .pattern = pattern, .wait = wait, .size = size, .bare_wait = beside,
                                .ours = hawser_way_find(mechanism), .bare = bare_way_find(mechanism) };
    target->limit = pattern == PATTERN_ROUND_TRIP ? 1.10 : 0.95;
    target->at_most = pattern == PATTERN_ROUND_TRIP;
    snprintf(target->than, sizeof target->than, "bare %s", wait_name(beside));
    return target;
}

static void add_kernel(struct targets *targets) {
    for (size_t i = 0; i < KERNEL_MECHANISMS; i++) {
        const char *mechanism = kernel_mechanisms[i];
        add(targets, mechanism, PATTERN_ROUND_TRIP, WAY_BLOCK, 8);
        add(targets, mechanism, PATTERN_ROUND_TRIP, WAY_BLOCK, 65536);
        add(targets, mechanism, PATTERN_ROUND_TRIP, WAY_ADAPTIVE, 8)->limit = 1.3;
        struct target *together = add(targets, mechanism, PATTERN_ROUND_TRIP, WAY_ADAPTIVE, 8);
        together->together = true;
        together->row.bare = together->row.ours;
        together->row.bare_wait = WAY_BLOCK;
        snprintf(together->than, sizeof together->than, "wait=block, one CPU");
        for (enum way_wait wait = WAY_BLOCK; wait <= WAY_ADAPTIVE; wait++)
            if (wait != WAY_SPIN) {
                add(targets, mechanism, PATTERN_ONE_WAY, wait, 64);
                add(targets, mechanism, PATTERN_ONE_WAY, wait, 1048576);
            }
    }
}

static void add_peers(struct targets *targets) {
    static const struct {
        const char *peer, *mechanism;
    } pairs[] = { { "zmq-ipc", "unix" }, { "zmq-tcp", "tcp" } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && peer_find(pairs[i].peer); i++) {
        struct target *target = add(targets, pairs[i].mechanism, PATTERN_ONE_WAY_MANY, WAY_ADAPTIVE, 64);
        target->row.bare = peer_find(pairs[i].peer);
        target->row.bare_wait = WAY_BLOCK;
        target->limit = 1.3;
        snprintf(target->than, sizeof target->than, "%s", pairs[i].peer);
    }
}

/* hawser's over `beside`, both over shared memory or both bells. */
static void add_beside(struct targets *targets, enum pattern pattern, enum way_wait wait, size_t size, const struct way *beside,
                       enum way_wait beside_wait, double limit, const char *than) {
    struct target *target = add(targets, "shm", pattern, wait, size);
    target->row.bare = beside;
    target->row.bare_wait = beside_wait;
    target->limit = limit;
    snprintf(target->than, sizeof target->than, "%s", than);
}

/* limit: ns, or messages a second. */
static void add_absolute(struct targets *targets, enum pattern pattern, size_t size, double limit) {
    struct target *target = add(targets, "shm", pattern, WAY_SPIN, size);
    target->row.bare = NULL;
    target->limit = limit;
}

/* Both sides work before they send, so that the other is fast asleep. */
static void add_sleeping(struct targets *targets, const struct way *beside, const char *than) {
    add_beside(targets, PATTERN_ROUND_TRIP, WAY_BLOCK, 8, beside, WAY_BLOCK, 1.05, than);
    targets->list[targets->n - 1].row.think_ns = THINK_NS;
}

static void add_shm(struct targets *targets) {
    static const struct {
        size_t size;
        double rate;
    } streams[] = { { 8, 190e6 }, { 64, 160e6 }, { 256, 110e6 }, { 1024, 55e6 }, { 4096, 14e6 }, { 65536, 48e9 / 65536 } };
    const struct way *shm = hawser_way_find("shm");
    add_beside(targets, PATTERN_ROUND_TRIP, WAY_SPIN, 8, &bare_cache, WAY_SPIN, 1.0, "cache ping-pong");
    add_absolute(targets, PATTERN_ROUND_TRIP, 1024, 250);
    add_absolute(targets, PATTERN_ROUND_TRIP, 65536, 4000);
    add_beside(targets, PATTERN_ROUND_TRIP, WAY_SPIN, 65536, &bare_shm, WAY_SPIN, 1.1, "bare ring");
    add_beside(targets, PATTERN_ROUND_TRIP, WAY_ADAPTIVE, 8, shm, WAY_SPIN, 1.1, "wait=spin");
    add_sleeping(targets, &bare_futex, "futex, sleeping");
    add_sleeping(targets, &bare_eventfd, "eventfd, sleeping");
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        add_beside(targets, PATTERN_ONE_WAY, WAY_SPIN, streams[i].size, &bare_shm, WAY_SPIN, 0.85, "bare ring");
        add_absolute(targets, PATTERN_ONE_WAY, streams[i].size, streams[i].rate);
    }
}

static void print_verdict(double measured, double limit, bool at_most) {
    bool met = at_most ? measured <= limit : measured >= limit;
    printf("  %s\n", isnan(measured) ? "not measured" : met ? "met" : "MISSED");
}

static double figure_of(const struct row *row, const struct sample *sample) {
    return row->pattern == PATTERN_ROUND_TRIP ? sample->p50_ns : sample->messages_per_s;
}

static void print_target(const struct target *target) {
    const struct row *row = &target->row;
    char size[NUMBER_TEXT], a[NUMBER_TEXT], b[NUMBER_TEXT], limit[NUMBER_TEXT];
    double ours = figure_of(row, &row->figures), bare = row->bare ? figure_of(row, &row->bare_figures) : 1;
    const char *(*text)(double, char *) = row->pattern == PATTERN_ROUND_TRIP ? duration_text : rate_text;
    printf("%-5s %-12s %8s %-9s", row->mechanism, pattern_name(row->pattern), size_text(row->size, size), wait_name(row->wait));
    if (row->failure[0]) {
        printf(" FAILED: %s\n", row->failure);
        return;
    }
    if (row->bare)
        printf(" %s %.2f x %-20s %8s / %8s = %5.2f", target->at_most ? "<=" : ">=", target->limit, target->than, text(ours, a),
               text(bare, b), ours / bare);
    else
        printf(" %s %-27s %8s %18s", target->at_most ? "<=" : ">=", text(target->limit, limit), text(ours, a), "");
    printf(" %7s %4s%s", duration_text(row->figures.distance_ns, a), spread_text(row->spread, b), row->unsteady ? "~" : " ");
    print_verdict(ours / bare, target->limit, target->at_most);
}

static void print_simple(const char *what, double limit, double measured, const char *(*text)(double, char *)) {
    char a[NUMBER_TEXT], b[NUMBER_TEXT];
    printf("%-37s <= %-27s %8s %18s %13s", what, text(limit, a), text(measured, b), "", "");
    print_verdict(measured, limit, true);
}

static const char *ratio_text(double ratio, char *text) {
    snprintf(text, NUMBER_TEXT, "%.2f x", ratio);
    return text;
}

static int run_connect(struct session *session) {
    struct sample samples[SAMPLES_MAX];
    double p50[SAMPLES_MAX], held = 0;
    char sentence[SENTENCE_MAX] = "";
    for (unsigned i = 0; i < session->samples; i++) {
        int r = connect_measure(session, &samples[i], sentence);
        if (r == -ECANCELED)
            return r;
        if (r < 0) {
            printf("shm   connect + accept + first message: FAILED: %s\n", sentence);
            return r;
        }
        p50[i] = samples[i].p50_ns;
        held = fmax(held, samples[i].descriptors);
    }
    print_simple("shm   connect + accept + first, p50", CONNECT_NS, median(p50, session->samples), duration_text);
    print_simple("shm   descriptors a side, idle", DESCRIPTORS, held, count_text);
    return 0;
}

static void run_loans(void) {
    static const size_t sizes[] = { 1048576, 67108864 };
    double least = loans_measure(8);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char what[64], a[NUMBER_TEXT];
        snprintf(what, sizeof what, "shm   loan to release, %s / 8 B", size_text(sizes[i], a));
        print_simple(what, LOANS, loans_measure(sizes[i]) / least, ratio_text);
    }
}

static int run_idle(struct session *session) {
    char sentence[SENTENCE_MAX] = "";
    struct idle_figures figures;
    for (int epolls = 0; epolls <= 1; epolls++) {
        int r = idle_measure(session, IDLE_CHANNELS, epolls, &figures, sentence);
        if (r < 0) {
            printf("shm   wake among 1,000 idle: FAILED: %s\n", sentence);
            return r;
        }
        print_simple(epolls ? "shm   epoll, 1,000 idle / 1" : "shm   hawser_poll, 1,000 idle / 1", IDLE, figures.many_ns / figures.one_ns,
                     ratio_text);
    }
    return 0;
}

static int measure(struct session *session, struct targets *targets) {
    struct cpus apart = session->cpus, together;
    cpus_choose(true, &together);
    int code = EXIT_DONE;
    for (size_t i = 0; i < targets->n; i++)
        session->samples_all += row_samples(session, &targets->list[i].row);
    session->samples_left = session->samples_all;
    for (size_t i = 0; i < targets->n; i++) {
        struct target *target = &targets->list[i];
        session->cpus = target->together ? together : apart;
        int r = row_measure(session, &target->row);
        session->cpus = apart;
        if (r == -ECANCELED)
            return EXIT_FAILED;
        if (r < 0)
            code = EXIT_FAILED;
        if (session->progress)
            fprintf(stderr, "\r\033[K");
        print_target(target);
        fflush(stdout);
    }
    run_loans();
    return run_idle(session) < 0 || run_connect(session) < 0 ? EXIT_FAILED : code;
}

int targets_run(struct session *session) {
    struct targets *targets = calloc(1, sizeof *targets);
    if (!targets)
        return EXIT_FAILED;
    add_kernel(targets);
    add_peers(targets);
    add_shm(targets);
    if (!peer_find("zmq-ipc"))
        printf("(built without libzmq3-dev: nothing to hold send_many against)\n");
    printf("Medians of %u samples in turn; %s. Columns: the promise, hawser / the other = ratio, distance, spread.\n\n", session->samples,
           !session->cpus.pinned ? "not pinned" : session->cpus.together ? "only one CPU allowed" : "one process pinned to each CPU");
    int code = measure(session, targets);
    free(targets);
    return session->signal ? code : code | sync_targets(session);
}
