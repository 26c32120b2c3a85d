/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See doorbell.h. Options: ringing takes --value, waiting --count, both may take --timeout. */

#include "doorbell.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct option options[] = {
    { "value", required_argument, NULL, 'v' },   { "count", required_argument, NULL, 'n' },
    { "timeout", required_argument, NULL, 't' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
};

static const char *name_of(int letter) {
    for (const struct option *option = options; option->name; option++)
        if (option->val == letter)
            return option->name;
    return "";
}

int doorbell_wrong(const struct doorbell *doorbell, const char *what, const char *which) {
    size_t word = strcspn(doorbell->verb, " ");
    fprintf(stderr, "hawser %s: %s%s; see hawser %.*s --help\n", doorbell->verb, what, which, (int)word, doorbell->verb);
    return EXIT_USAGE;
}

static bool parse_option(struct doorbell *doorbell, int letter, const char *value) {
    switch (letter) {
    case 'v':
        return arguments_count(value, UINT64_MAX, &doorbell->value);
    case 'n':
        return arguments_count(value, UINT64_MAX, &doorbell->count) && doorbell->count > 0;
    default:
        return arguments_time(value, &doorbell->timeout);
    }
}

static const char *form_of(int letter) {
    return letter == 'v'   ? ": a value is a number up to 2^64-1"
           : letter == 'n' ? ": a count is a number over 0"
                           : ": a time is a number and ns, us, ms or s, or it is forever";
}

/* 0 to go on, else the verb is over and *ret_code says how. */
static int parse_options(const struct doorbell_usage *usage, const char *letters, int argc, char **argv, struct doorbell *doorbell,
                         int *ret_code) {
    int letter;
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (letter == 'h') {
            fputs(usage->help, stdout);
            *ret_code = EXIT_DONE;
        } else if (letter == ':') {
            *ret_code = doorbell_wrong(doorbell, "a value is missing after ", word);
        } else if (!strchr(letters, letter)) {
            *ret_code = letter == '?' ? doorbell_wrong(doorbell, "unknown option ", word)
                                      : doorbell_wrong(doorbell, "unknown option --", name_of(letter));
        } else if (!parse_option(doorbell, letter, optarg)) {
            *ret_code = doorbell_wrong(doorbell, optarg, form_of(letter));
        } else {
            continue;
        }
        return 1;
    }
    return 0;
}

static int run(const struct doorbell_usage *usage, bool rings, int argc, char **argv) {
    char verb[32];
    int code;
    snprintf(verb, sizeof verb, "%s %s", usage->verb, argv[0]);
    struct doorbell doorbell = { .verb = verb, .value = 1, .count = 1, .timeout = rings ? usage->ring_timeout : usage->wait_timeout };
    const char *letters = rings ? (usage->ring_waits ? "vt" : "v") : "nt";
    if (parse_options(usage, letters, argc, argv, &doorbell, &code))
        return code;
    for (int i = optind; i < argc; i++) {
        if (doorbell.n_words == DOORBELL_WORDS)
            return doorbell_wrong(&doorbell, "too many arguments: ", argv[i]);
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
