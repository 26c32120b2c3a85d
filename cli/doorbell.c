/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See doorbell.h. Options: ringing takes --value, waiting --count, both may take --timeout. */

#include "doorbell.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int run(const struct doorbell_usage *usage, bool rings, int argc, char **argv) {
    char verb[32];
    int code;
    snprintf(verb, sizeof verb, "%s %s", usage->verb, argv[0]);
    struct doorbell doorbell = { .verb = verb, .value = 1, .count = 1, .timeout = rings ? usage->ring_timeout : usage->wait_timeout };
    const struct option_word options[] = {
        { 'v', "value", OPTION_COUNT, &doorbell.value, 0, 0 },
        { 'n', "count", OPTION_COUNT, &doorbell.count, 1, 0 },
        { 't', "timeout", OPTION_TIME, &doorbell.timeout, 0, 0 },
        { 0 },
    };
    const char *letters = rings ? (usage->ring_waits ? "vt" : "v") : "nt";
    if (arguments_options(verb, usage->help, options, letters, argc, argv, &code))
        return code;
    for (int i = optind; i < argc; i++) {
        if (doorbell.n_words == DOORBELL_WORDS)
            return arguments_wrong(verb, "too many arguments: ", argv[i]);
        doorbell.words[doorbell.n_words++] = argv[i];
    }
    return rings ? usage->run_ring(&doorbell) : usage->run_wait(&doorbell);
}

int doorbell_main(const struct doorbell_usage *usage, int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        fputs(usage->help, stdout);
        return EXIT_DONE;
    }
    if (strcmp(what, usage->ring) == 0 || strcmp(what, "wait") == 0)
        return run(usage, strcmp(what, "wait") != 0, argc - 1, argv + 1);
    fprintf(stderr, "hawser %s: expected %s or wait%s%s; see hawser %s --help\n", usage->verb, usage->ring, *what ? ", not " : "", what,
            usage->verb);
    return EXIT_USAGE;
}
