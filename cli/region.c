/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser region: makes, lists, reads, writes and removes regions. What it makes is permanent, as no process of its own keeps it. Reading
 * and writing take the guard, so that what is read is never half of what another hawser region writes. */

#include "arguments.h"
#include "region.h"

#include <getopt.h>
#include <stdio.h>
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

static int read_words(const struct action *action, struct region_words *words, int argc, char **argv) {
    int most = optind + action->named + action->filed;
    if (action->named && optind >= argc)
        return arguments_wrong(words->verb, "the region's name is missing", "");
    if (most < argc)
        return arguments_wrong(words->verb, "one argument too many: ", argv[most]);
    words->name = action->named ? argv[optind] : NULL;
    if (action->filed && optind + 1 < argc && strcmp(argv[optind + 1], "-") != 0)
        words->file = argv[optind + 1];
    return EXIT_DONE;
}

static int run(const struct action *action, int argc, char **argv) {
    char verb[32];
    int code;
    snprintf(verb, sizeof verb, "region %s", action->name);
    struct region_words words = { .verb = verb, .timeout = INT64_C(10000000000) };
    const struct option_word options[] = {
        { 's', "size", OPTION_SIZE, &words.size, 1, INT64_MAX },  { 'o', "offset", OPTION_SIZE, &words.offset, 0, INT64_MAX },
        { 'S', "share", OPTION_TEXT, &words.share, 0, 0 },        { 'u', "users", OPTION_TEXT, &words.users, 0, 0 },
        { 'g', "groups", OPTION_TEXT, &words.groups, 0, 0 },      { 't', "timeout", OPTION_TIME, &words.timeout, 0, 0 },
        { 0 },
    };
    if (arguments_options(verb, help, options, action->options, argc, argv, &code))
        return code;
    code = read_words(action, &words, argc, argv);
    return code != EXIT_DONE ? code : action->run(&words);
}

int verb_region(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "nothing";
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    for (const struct action *action = actions; action->name; action++)
        if (strcmp(action->name, what) == 0)
            return run(action, argc - 1, argv + 1);
    return arguments_wrong("region", "create, list, read, write or remove is expected, not ", what);
}
