/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser gc: removes the names that killed processes left, and says which. */

#include "verbs.h"

#include <getopt.h>
#include <hawser/hawser.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: hawser gc [--dry-run] [DIRECTORY]\n"
    "\n"
    "Removes what killed processes left behind: names of semaphores, events, regions and cells that nobody has open,\n"
    "and, where no DIRECTORY is given, sockets and FIFOs of dead listeners and System V message queues. Whatever is in\n"
    "use or permanent stays. Each name is printed as it goes.\n"
    "\n"
    "  --dry-run    only tells what would go\n"
    "\n"
    "example:\n"
    "  hawser gc --dry-run\n"
    "\n"
    "exit codes: 0 done, 1 failed, 2 wrong usage\n";

static const char *kind_name(uint32_t kind) {
    static const char *const names[] = { "?", "semaphore", "event", "region", "cell", "listener", "fifo", "queues", "half-made" };
    return kind < sizeof names / sizeof names[0] ? names[kind] : "?";
}

static int show(void *context, const struct hawser_name *name) {
    (void)context;
    printf("%-9s %s\n", kind_name(name->kind), name->address[0] ? name->address : name->path);
    return 0;
}

int verb_gc(int argc, char **argv) {
    static const struct option options[] = { { "dry-run", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
    uint32_t flags = 0;
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        }
        if (letter != 'n') {
            fprintf(stderr, "hawser gc: unknown option %s; see hawser gc --help\n", argv[optind - 1]);
            return EXIT_USAGE;
        }
        flags = HAWSER_GC_LOOK;
    }
    if (optind + 1 < argc) {
        fprintf(stderr, "hawser gc: one argument too many: %s; see hawser gc --help\n", argv[optind + 1]);
        return EXIT_USAGE;
    }
    int error = hawser_gc(argv[optind], flags, show, NULL, NULL);
    if (error < 0)
        fprintf(stderr, "hawser gc: %s\n", hawser_explain());
    return error < 0 ? EXIT_FAILED : EXIT_DONE;
}
