/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The command: finds the verb and runs it. */

#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} verbs[] = {
    { "send", verb_send, "send a file or standard input, as messages" },
    { "recv", verb_recv, "receive messages to standard output" },
    { "echo", verb_echo, "send everything back, to many peers at once" },
    { "event", verb_event, "raise a doorbell, or wait for one" },
    { "signal", verb_signal, "send queued signals with a value, or wait for them" },
    { "cell", verb_cell, "set, get or watch the latest value of one writer" },
    { "inspect", verb_inspect, "show what lies in the shared memory of a listener's links" },
    { "region", verb_region, "make, list, read, write and remove shared memory" },
    { "gc", verb_gc, "remove what killed processes left behind" },
    { "sem", verb_sem, "run a command while it holds a permit: at most so many at once" },
    { "bench", verb_bench, "measure every mechanism on this machine, beside bare system calls" },
};

static void print_help(FILE *to) {
    fprintf(to, "usage: hawser VERB [ARGUMENTS]\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(to, "\n"
                "hawser VERB --help tells more; hawser --version which hawser this is.\n"
                "\n"
                "example, in two terminals:\n"
                "  hawser recv shm://greeting\n"
                "  echo hello | hawser send shm://greeting\n"
                "\n"
                "exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out\n");
}

static int run_verb(int argc, char **argv) {
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(argv[0], verbs[i].name) == 0)
            return verbs[i].run(argc, argv);
    fprintf(stderr, "hawser: there is no verb '%s'; hawser --help lists them\n", argv[0]);
    return EXIT_USAGE;
}

/* Where standard output is closed, the next file to be opened takes its place, and what is printed goes into that: into a region, say.
 * What is put there instead fails to be used, as before, and a command that is run finds it closed. */
static bool occupy_standard(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
            return false;
    return true;
}

/* What was printed may be in a buffer still, and the disk full. */
static int finish(int code) {
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != EXIT_DONE)
        return code;
    fprintf(stderr, "hawser: cannot write standard output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hawser %s\n", hawser_version());
        return EXIT_DONE;
    }
    return run_verb(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    /* Standard output may be a pipe whose reader left: that is an error to report, not to die of. */
    signal(SIGPIPE, SIG_IGN);
    return occupy_standard() ? finish(run(argc, argv)) : EXIT_FAILED;
}
