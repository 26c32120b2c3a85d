/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser gc: removes the names that killed processes left, and says which. */

#include "arguments.h"

#include <stdio.h>
#include <unistd.h>

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
    bool looks = false;
    int code;
    const struct option_word options[] = { { 'n', "dry-run", OPTION_ON, &looks, 0, 0 }, { 0 } };
    if (arguments_options("gc", help, options, "n", argc, argv, &code))
        return code;
    if (optind + 1 < argc)
        return arguments_wrong("gc", "one argument too many: ", argv[optind + 1]);
    int error = hawser_gc(argv[optind], looks ? HAWSER_GC_LOOK : 0, show, NULL, NULL);
    if (error < 0)
        fprintf(stderr, "hawser gc: %s\n", hawser_explain());
    return error < 0 ? EXIT_FAILED : EXIT_DONE;
}
