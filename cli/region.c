/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser region: makes, lists, reads, writes and removes regions. What it makes is permanent, as no process of its own keeps it. Reading
 * and writing take the guard, so that what is read is never half of what another hawser region writes. */

#include "arguments.h"
#include "region.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: hawser region create [--size N] [--share read] [--users U] [--groups G] NAME [FILE]\n"
    "       hawser region list\n"
    "       hawser region read [--offset N] [--size N] [--timeout T] NAME\n"
    "       hawser region write [--offset N] [--timeout T] NAME [FILE]\n"
    "       hawser region remove NAME\n"
    "\n"
    "Shared memory by a name: NAME is a name, a path or region://NAME. create makes one that stays until it is removed,\n"
    "of --size bytes or as large as FILE, and fills it from FILE. read writes it to standard output, write fills it from\n"
    "FILE or standard input; both hold its guard, shared and exclusive.\n"
    "\n"
    "  --size N      how many bytes; K, M, G\n"
    "  --offset N    from which byte on (0)\n"
    "  --share read  users and groups may only read it (write)\n"
    "  --users U     who else may use it: names or ids with commas between, or any; --groups the same\n"
    "  --timeout T   how long to wait for the guard (10s)\n"
    "\n"
    "example:\n"
    "  hawser region create --size 64K settings && echo blue | hawser region write settings\n"
    "  hawser region read --size 5 settings; hawser region remove settings\n"
    "\n"
    "exit codes: 0 done, 1 failed (also where who wrote last died half-way), 2 wrong usage, 3 timed out\n";

static const struct option long_options[] = {
    { "size", required_argument, NULL, 's' },   { "offset", required_argument, NULL, 'o' }, { "share", required_argument, NULL, 'S' },
    { "users", required_argument, NULL, 'u' },  { "groups", required_argument, NULL, 'g' }, { "timeout", required_argument, NULL, 't' },
    { "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 },
};

struct action {
    const char *name, *options;
    bool named, filed;
    int (*run)(const struct region_words *words);
};

static const struct action actions[] = {
    { "create", "sSug", true, true, region_create }, { "list", "", false, false, region_list },
    { "read", "sot", true, false, region_read },     { "write", "ot", true, true, region_write },
    { "remove", "", true, false, region_remove },    { NULL, NULL, false, false, NULL },
};

static int usage_error(const char *what, const char *which) {
    fprintf(stderr, "hawser region: %s%s; see hawser region --help\n", what, which);
    return EXIT_USAGE;
}

static int read_option(struct region_words *words, int letter, const char *value) {
    bool good = true;
    if (letter == 's')
        good = arguments_size(value, &words->size) && words->size > 0;
    else if (letter == 'o')
        good = arguments_size(value, &words->offset);
    else if (letter == 't')
        good = arguments_time(value, &words->timeout);
    else if (letter == 'S')
        words->share = value;
    else if (letter == 'u')
        words->users = value;
    else
        words->groups = value;
    if (good)
        return 0;
    return letter == 't' ? usage_error("a time is a number and ns, us, ms or s, or it is forever, not ", value)
                         : usage_error(letter == 's' ? "a size is a number over 0 and K, M, G or nothing, not "
                                                     : "an offset is a number and K, M, G or nothing, not ", value);
}

/* 0 to go on, else the verb is over and *ret_code says how. */
static int read_options(const struct action *action, struct region_words *words, int argc, char **argv, int *ret_code) {
    int letter;
    opterr = 0;
    optind = 1;
    *ret_code = 0;
    while (*ret_code == 0 && (letter = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (letter == 'h') {
            fputs(help, stdout);
            return 1;
        }
        if (letter == ':')
            *ret_code = usage_error("a value is missing after ", argv[optind - 1]);
        else if (letter == '?' || !strchr(action->options, letter))
            *ret_code = usage_error("unknown option ", argv[optind - 1]);
        else
            *ret_code = read_option(words, letter, optarg);
    }
    return *ret_code;
}

static int read_words(const struct action *action, struct region_words *words, int argc, char **argv) {
    int most = optind + action->named + action->filed;
    if (action->named && optind >= argc)
        return usage_error("the region's name is missing", "");
    if (most < argc)
        return usage_error("one argument too many: ", argv[most]);
    words->name = action->named ? argv[optind] : NULL;
    if (action->filed && optind + 1 < argc && strcmp(argv[optind + 1], "-") != 0)
        words->file = argv[optind + 1];
    return 0;
}

int verb_region(int argc, char **argv) {
    struct region_words words = { .timeout = INT64_C(10000000000) };
    int code;
    if (argc < 2)
        return usage_error("create, list, read, write or remove is missing", "");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    for (const struct action *action = actions; action->name; action++)
        if (strcmp(action->name, argv[1]) == 0) {
            if (read_options(action, &words, argc - 1, argv + 1, &code))
                return code;
            code = read_words(action, &words, argc - 1, argv + 1);
            return code ? code : action->run(&words);
        }
    return usage_error("create, list, read, write or remove is expected, not ", argv[1]);
}
