/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Sizes take K, M, G and times ns, us, ms, s, as in addresses. A wrong argument is told with the argument. */

#include "arguments.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = { { "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 } };
static const struct unit time_units[] = { { "ns", 1 },          { "us", 1000 }, { "ms", 1000000 },
                                          { "s", 1000000000 }, { NULL, 0 } };
static const struct unit count_units[] = { { "", 1 }, { NULL, 0 } };

static bool parse_number(const char *text, const struct unit *units, uint64_t most, uint64_t *ret_value) {
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (; units->name; units++) {
        if (strcmp(end, units->name) != 0)
            continue;
        if (number > most / units->factor)
            return false;
        *ret_value = number * units->factor;
        return true;
    }
    return false;
}

bool arguments_address(const char *given, const char *scheme, char ret_address[HAWSER_ADDRESS_MAX]) {
    bool whole = strstr(given, "://") != NULL;
    int length = snprintf(ret_address, HAWSER_ADDRESS_MAX, "%s%s%s", whole ? "" : scheme, whole ? "" : "://", given);
    return length >= 0 && length < HAWSER_ADDRESS_MAX;
}

bool arguments_time(const char *text, int64_t *ret_ns) {
    uint64_t ns;
    if (strcmp(text, "forever") == 0) {
        *ret_ns = HAWSER_FOREVER;
        return true;
    }
    if (!parse_number(text, time_units, INT64_MAX, &ns) && !(strcmp(text, "0") == 0 && (ns = 0, true)))
        return false;
    *ret_ns = (int64_t)ns;
    return true;
}

bool arguments_size(const char *text, uint64_t *ret_size) { return parse_number(text, size_units, INT64_MAX, ret_size); }

bool arguments_count(const char *text, uint64_t most, uint64_t *ret_count) {
    return parse_number(text, count_units, most, ret_count);
}

static bool parse_option(struct arguments *arguments, int letter, const char *value) {
    uint64_t size;
    switch (letter) {
    case 's':
        if (!parse_number(value, size_units, SIZE_MAX / 2, &size) || size == 0)
            return false;
        arguments->size = (size_t)size;
        arguments->size_given = true;
        return true;
    case 'n':
        return arguments_count(value, UINT64_MAX - 1, &arguments->count);
    case 't':
        return arguments_time(value, &arguments->timeout);
    case 'R':
        arguments->records = true;
        return true;
    case 'l':
        arguments->lines = true;
        return true;
    default:
        arguments->listen = letter == 'r';
        return true;
    }
}

static int wrong_usage(const struct arguments *arguments, const char *what, const char *which) {
    fprintf(stderr, "hawser %s: %s%s; see hawser %s --help\n", arguments->verb, what, which, arguments->verb);
    return EXIT_USAGE;
}

static const char *form_of(int letter) {
    return letter == 's'   ? "a size is a number over 0 and K, M, G or nothing"
           : letter == 'n' ? "a count is a number"
                           : "a time is a number and ns, us, ms or s, or it is forever";
}

static int wrong_value(const struct arguments *arguments, const struct option *option, const char *value) {
    fprintf(stderr, "hawser %s: --%s %s: %s\n", arguments->verb, option->name, value, form_of(option->val));
    return EXIT_USAGE;
}

static const struct option long_options[] = {
    { "size", required_argument, NULL, 's' },    { "lines", no_argument, NULL, 'l' },  { "count", required_argument, NULL, 'n' },
    { "listen", no_argument, NULL, 'r' },        { "connect", no_argument, NULL, 'c' }, { "timeout", required_argument, NULL, 't' },
    { "records", no_argument, NULL, 'R' },       { "help", no_argument, NULL, 'h' },    { NULL, 0, NULL, 0 },
};

static const struct option *find_option(int letter) {
    for (const struct option *option = long_options; option->name; option++)
        if (option->val == letter)
            return option;
    return NULL;
}

/* What getopt would not take: word is the one it stands on, but in the middle of "-xy". */
static int wrong_option(const struct arguments *arguments, const char *word) {
    char name[64];
    bool is_short = optopt && strncmp(word, "--", 2) != 0;
    if (is_short)
        snprintf(name, sizeof name, "-%c", optopt);
    else
        snprintf(name, sizeof name, "%.60s", word);
    return wrong_usage(arguments, !is_short && optopt ? "this option takes no value: " : "unknown option ", name);
}

/* 0 to go on, else the verb is over and *ret_code says how. */
static int parse_options(const struct usage *usage, int argc, char **argv, struct arguments *arguments, int *ret_code) {
    int letter;
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        const char *word = argv[optind - 1];
        const struct option *option = find_option(letter);
        if (letter == 'h') {
            fputs(usage->help, stdout);
            *ret_code = EXIT_DONE;
        } else if (letter == ':') {
            *ret_code = wrong_usage(arguments, "a value is missing after ", word);
        } else if (!option) {
            *ret_code = wrong_option(arguments, word);
        } else if (!strchr(usage->options, letter == 'c' ? 'r' : letter)) {
            *ret_code = wrong_usage(arguments, "unknown option --", option->name);
        } else if (!parse_option(arguments, letter, optarg)) {
            *ret_code = wrong_value(arguments, option, optarg);
        } else {
            continue;
        }
        return 1;
    }
    return 0;
}

int arguments_parse(const struct usage *usage, int argc, char **argv, struct arguments *ret_arguments, int *ret_code) {
    struct arguments arguments = {
        .verb = argv[0],
        .size = 64 << 10,
        .count = UINT64_MAX,
        .timeout = INT64_C(10000000000),
        .listen = usage->listens,
    };
    if (parse_options(usage, argc, argv, &arguments, ret_code))
        return 1;
    if (optind >= argc) {
        *ret_code = wrong_usage(&arguments, "the address is missing", "");
        return 1;
    }
    arguments.address = argv[optind];
    if (optind + 1 < argc && usage->has_file && strcmp(argv[optind + 1], "-") != 0)
        arguments.file = argv[optind + 1];
    if (optind + 1 + usage->has_file < argc) {
        *ret_code = wrong_usage(&arguments, "one argument too many: ", argv[optind + 1 + usage->has_file]);
        return 1;
    }
    *ret_arguments = arguments;
    return 0;
}

int report_failure(const char *verb, int error) {
    fprintf(stderr, "hawser %s: %s\n", verb, hawser_explain());
    return error == -ETIMEDOUT || error == -EAGAIN ? EXIT_TIMED_OUT : error == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int report(const struct arguments *arguments, int error) { return report_failure(arguments->verb, error); }

int report_errno(const struct arguments *arguments, const char *what) {
    fprintf(stderr, "hawser %s: %s: %s\n", arguments->verb, what, strerror(errno));
    return EXIT_FAILED;
}

void report_listening(const struct arguments *arguments, const hawser_listener *listener) {
    const char *address = hawser_listener_address(listener);
    size_t place = strcspn(arguments->address, "?");
    bool chosen = strlen(address) < place || strncmp(address, arguments->address, place) != 0;
    if (chosen || isatty(STDERR_FILENO))
        fprintf(stderr, "hawser %s: listening on %s\n", arguments->verb, address);
}

static int report_nobody(const struct arguments *arguments) {
    fprintf(stderr, "hawser %s: nobody connected to %s in time; --timeout T waits longer, --timeout forever without end\n",
            arguments->verb, arguments->address);
    return EXIT_TIMED_OUT;
}

static int accept_one(const struct arguments *arguments, hawser_channel **ret_channel) {
    hawser_listener *listener;
    int error = hawser_listen(arguments->address, NULL, &listener);
    if (error < 0)
        return report(arguments, error);
    report_listening(arguments, listener);
    error = hawser_accept(listener, arguments->timeout, ret_channel);
    int code = error == -ETIMEDOUT || error == -EAGAIN ? report_nobody(arguments)
               : error < 0                             ? report(arguments, error)
                                                       : EXIT_DONE;
    hawser_listener_close(listener);
    return code;
}

int arguments_open(const struct arguments *arguments, bool sends, hawser_channel **ret_channel) {
    int capabilities = hawser_capabilities(arguments->address);
    if (capabilities < 0)
        return report(arguments, capabilities);
    if (!(capabilities & HAWSER_CAN_TWO_WAY) && sends == arguments->listen) {
        fprintf(stderr, "hawser %s: %s goes one way, from the connecting end to the listening end: leave %s out\n",
                arguments->verb, arguments->address, sends ? "--listen" : "--connect");
        return EXIT_USAGE;
    }
    if (arguments->listen)
        return accept_one(arguments, ret_channel);
    int error = hawser_connect(arguments->address, NULL, arguments->timeout, ret_channel);
    return error < 0 ? report(arguments, error) : EXIT_DONE;
}
