/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One sample: two children, one for each side, and this process asleep until both are done, the time is over
 * or the user has had enough. A side never outlives the supervisor (PR_SET_PDEATHSIG), nor a sample its call. */

#include "bench_loop.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIDES 2
#define DEATH_FOLLOWS_NS 100000000

struct sides {
    pid_t pids[SIDES]; /* 0: none, or reaped */
    int failed;        /* errno of it, 0: none */
    char text[SENTENCE_MAX];
};

static const char *side_name(int side) { return side == WAY_LEAD ? "the sending side" : "the far side"; }

static void __attribute__((noreturn)) side_main(const struct sample_request *request, struct board *board, void *state,
                                                enum way_side side, const int *handover, pid_t supervisor) {
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(1);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close(handover[!side]);
    cpus_pin(&request->cpus, side);
    int r = loop_run(request, board, state, side);
    if (r == 0)
        request->way->leave(state);
    _exit(r < 0 ? 1 : 0);
}

static void note_failure(struct sides *sides, const struct board *board, int side, int status) {
    const struct side_report *report = &board->reports[side];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFSIGNALED(status))
        snprintf(sides->text, sizeof sides->text, "%s died of signal %d (%s)", side_name(side), WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (report->error != 0 && report->sentence[0])
        snprintf(sides->text, sizeof sides->text, "%s failed: %.400s", side_name(side), report->sentence);
    else
        snprintf(sides->text, sizeof sides->text, "%s ended early without a word", side_name(side));
    sides->failed = !WIFSIGNALED(status) && report->error ? report->error : -ECHILD;
}

static void reap(struct sides *sides, const struct board *board) {
    for (int side = 0; side < SIDES; side++) {
        int status;
        if (sides->pids[side] > 0 && waitpid(sides->pids[side], &status, WNOHANG) == sides->pids[side]) {
            sides->pids[side] = 0;
            if (!sides->failed || WIFSIGNALED(status))
                note_failure(sides, board, side, status);
        }
    }
}

static void kill_all(struct sides *sides) {
    for (int side = 0; side < SIDES; side++)
        if (sides->pids[side] > 0) {
            kill(sides->pids[side], SIGKILL);
            while (waitpid(sides->pids[side], NULL, 0) < 0 && errno == EINTR)
                ;
            sides->pids[side] = 0;
        }
}

/* What a side says of its peer's death ("connection reset") is less telling than the death itself, which is
 * seen a moment later: a dying process's descriptors are closed first. */
static void prefer_death(struct sides *sides, const struct board *board) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int side = 0; side < SIDES; side++) {
        int status;
        if (sides->pids[side] <= 0)
            continue;
        sigtimedwait(&set, NULL, &(struct timespec){ .tv_nsec = DEATH_FOLLOWS_NS });
        if (waitpid(sides->pids[side], &status, WNOHANG) == sides->pids[side]) {
            sides->pids[side] = 0;
            if (WIFSIGNALED(status))
                note_failure(sides, board, side, status);
        }
    }
}

static int supervise(const struct sample_request *request, struct sides *sides, const struct board *board, int *ret_signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int64_t deadline = bench_now() + request->time_ns + request->grace_ns;
    while (sides->pids[WAY_LEAD] > 0 || sides->pids[WAY_FOLLOW] > 0) {
        int64_t left = deadline - bench_now();
        if (left <= 0) {
            snprintf(sides->text, sizeof sides->text, "no end after %.1f s: %s hangs; both sides were killed",
                     (double)(request->time_ns + request->grace_ns) / 1e9, side_name(sides->pids[WAY_FOLLOW] > 0));
            return -ETIMEDOUT;
        }
        struct timespec timeout = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
        int signal_number = sigtimedwait(&set, NULL, &timeout);
        if (signal_number == SIGINT || signal_number == SIGTERM) {
            *ret_signal = signal_number;
            return -ECANCELED;
        }
        reap(sides, board);
        if (sides->failed) {
            prefer_death(sides, board);
            return sides->failed;
        }
    }
    return 0;
}

static double per_message(double a, double b, uint64_t messages) { return (a + b) / (double)messages; }

static void summarise(const struct sample_request *request, const struct board *board, struct sample *ret_sample) {
    const struct side_report *lead = &board->reports[WAY_LEAD], *follow = &board->reports[WAY_FOLLOW];
    struct sample sample = board->sample;
    uint64_t n = board->messages;
    sample.bytes_per_s = sample.messages_per_s * (double)request->size;
    sample.cpu_ns = per_message(lead->end.cpu_ns - lead->begin.cpu_ns, follow->end.cpu_ns - follow->begin.cpu_ns, n);
    sample.calls = per_message(lead->end.calls - lead->begin.calls, follow->end.calls - follow->begin.calls, n);
    sample.switches = per_message(lead->end.switches - lead->begin.switches, follow->end.switches - follow->begin.switches, n);
    sample.interrupts = per_message(board->interrupts, 0, n);
    sample.distance_ns = fmin(sample.probes_ns[0], sample.probes_ns[1]); /* one may have been disturbed */
    sample.descriptors = fmax(board->descriptors[WAY_LEAD], board->descriptors[WAY_FOLLOW]);
    if (request->pattern != PATTERN_ROUND_TRIP)
        sample.p50_ns = sample.p99_ns = sample.p999_ns = sample.mean_ns = NAN;
    *ret_sample = sample;
}

static int run_sides(const struct sample_request *request, struct board *board, void *state, const int *handover,
                     struct sides *sides, int *ret_signal) {
    pid_t supervisor = getpid();
    int n = request->way->can & WAY_ALONE ? 1 : SIDES;
    fflush(NULL); /* what is buffered must not be written by three */
    for (int side = 0; side < n; side++) {
        pid_t pid = fork();
        if (pid == 0)
            side_main(request, board, state, (enum way_side)side, handover, supervisor);
        if (pid < 0) {
            snprintf(sides->text, sizeof sides->text, "start a process: %s", strerror(errno));
            return -errno;
        }
        sides->pids[side] = pid;
    }
    return supervise(request, sides, board, ret_signal);
}

static int sample_with(const struct sample_request *request, struct board *board, const int *handover, struct sample *ret_sample,
                       int *ret_signal, char *ret_sentence) {
    static unsigned count;
    char name[64];
    struct sides sides = { 0 };
    void *state = NULL;
    snprintf(name, sizeof name, "bench-%d-%llx-%u", (int)getpid(), (unsigned long long)bench_now(), count++);
    struct way_setup setup = {
        .directory = request->directory, .name = name, .wait = request->wait, .size = request->size,
        .one_way = request->pattern != PATTERN_ROUND_TRIP, .handover = { handover[0], handover[1] },
    };
    int r = request->way->prepare(&setup, &state);
    if (r < 0) {
        const char *reason = request->way->explain ? request->way->explain() : NULL;
        snprintf(sides.text, sizeof sides.text, "set up: %s", reason && *reason ? reason : strerror(-r));
    } else {
        r = run_sides(request, board, state, handover, &sides, ret_signal);
        kill_all(&sides);
        request->way->discard(state);
    }
    if (r == 0)
        summarise(request, board, ret_sample);
    else if (r != -ECANCELED)
        snprintf(ret_sentence, SENTENCE_MAX, "%s", sides.text);
    return r;
}

int sample_run(const struct sample_request *request, struct sample *ret_sample, int *ret_signal, char *ret_sentence) {
    int handover[2];
    struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, handover) < 0) {
        int error = -errno;
        snprintf(ret_sentence, SENTENCE_MAX, "set up: %s", strerror(errno));
        if (board != MAP_FAILED)
            munmap(board, sizeof *board);
        return error;
    }
    memset(board, 0, sizeof *board); /* so that no page fault is measured */
    board->begin = board->end = BOARD_NEVER;
    int r = sample_with(request, board, handover, ret_sample, ret_signal, ret_sentence);
    close(handover[0]);
    close(handover[1]);
    munmap(board, sizeof *board);
    return r;
}
