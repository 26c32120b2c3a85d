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

/* Is the option ("name=value") said by the query, or another value of it? */
static bool is_said(const char *query, const char *option) {
    size_t name = strcspn(option, "=") + 1;
    for (const char *at = query; at; at = strchr(at, '&'))
        if (strncmp(++at, option, name) == 0)
            return true;
    return false;
}

int arguments_address(const char *verb, const char *given, const char *scheme, const char *option, char ret_address[HAWSER_ADDRESS_MAX]) {
    const char *whole = strstr(given, "://"), *query = strchr(given, '?');
    const char *join = !*option || is_said(query, option) ? "" : query ? "&" : "?";
    if (strcspn(whole ? whole + strlen("://") : given, "?") == 0)
        return arguments_wrong(verb, "the name is missing", "");
    int length = snprintf(ret_address, HAWSER_ADDRESS_MAX, "%s%s%s%s%s", whole ? "" : scheme, whole ? "" : "://", given, join,
                          *join ? option : "");
    return length < HAWSER_ADDRESS_MAX ? EXIT_DONE : arguments_wrong(verb, "the name is over-long: ", given);
}

static bool parse_time(const char *text, int64_t *ret_ns) {
    uint64_t ns = 0;
    if (strcmp(text, "forever") == 0)
        *ret_ns = HAWSER_FOREVER;
    else if (strcmp(text, "0") == 0 || parse_number(text, time_units, INT64_MAX, &ns))
        *ret_ns = (int64_t)ns;
    else
        return false;
    return true;
}

bool arguments_count(const char *text, uint64_t most, uint64_t *ret_count) {
    return parse_number(text, count_units, most, ret_count);
}

/* ---- Options ---- */

#define OPTIONS_MOST 12
#define OPTION_FIRST 256 /* after all that is a letter to getopt */

int arguments_wrong(const char *verb, const char *what, const char *which) {
    fprintf(stderr, "hawser %s: %s%s; see hawser %.*s --help\n", verb, what, which, (int)strcspn(verb, " "), verb);
    return EXIT_USAGE;
}

static bool parse_value(const struct option_word *option, const char *value) {
    const struct unit *units = option->form == OPTION_SIZE ? size_units : count_units;
    uint64_t number;
    switch (option->form) {
    case OPTION_ON:
    case OPTION_OFF:
        *(bool *)option->to = option->form == OPTION_ON;
        return true;
    case OPTION_TEXT:
        *(const char **)option->to = value;
        return true;
    case OPTION_TIME:
        return parse_time(value, option->to);
    default:
        if (!parse_number(value, units, option->most ? option->most : UINT64_MAX, &number) || number < option->least)
            return false;
        *(uint64_t *)option->to = number;
        return true;
    }
}

static int wrong_value(const char *verb, const struct option_word *option, const char *value) {
    fprintf(stderr, "hawser %s: --%s %s: ", verb, option->name, value);
    if (option->form == OPTION_TIME)
        fprintf(stderr, "a time is a number and ns, us, ms or s, or it is forever\n");
    else if (option->form == OPTION_SIZE)
        fprintf(stderr, "a size is a number%s and K, M, G or nothing\n", option->least ? " over 0" : "");
    else if (option->most)
        fprintf(stderr, "a count is a number from %" PRIu64 " to %" PRIu64 "\n", option->least, option->most);
    else
        fprintf(stderr, "a count is a number%s\n", option->least ? " over 0" : "");
    return EXIT_USAGE;
}

/* What getopt would not take: word is the one it stands on, but in the middle of "-xy". */
static int wrong_option(const char *verb, const char *word) {
    const char name[] = { '-', (char)optopt, 0 };
    if (optopt >= OPTION_FIRST)
        return arguments_wrong(verb, "this option takes no value: ", word);
    return arguments_wrong(verb, "unknown option ", optopt ? name : word);
}

/* As getopt has them; a letter is the place in the table. */
static void list_options(const struct option_word *options, const char *letters, struct option ret_list[OPTIONS_MOST + 2]) {
    size_t n = 0;
    ret_list[n++] = (struct option){ "help", no_argument, NULL, 'h' };
    for (int i = 0; options[i].name && n <= OPTIONS_MOST; i++)
        if (strchr(letters, options[i].letter))
            ret_list[n++] = (struct option){ options[i].name, options[i].form <= OPTION_OFF ? no_argument : required_argument, NULL, OPTION_FIRST + i };
    ret_list[n] = (struct option){ 0 };
}

int arguments_options(const char *verb, const char *help, const struct option_word *options, const char *letters, int argc, char **argv,
                      int *ret_code) {
    struct option list[OPTIONS_MOST + 2];
    int letter;
    list_options(options, letters, list);
    opterr = 0;
    optind = 1;
    while ((letter = getopt_long(argc, argv, ":h", list, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (letter >= OPTION_FIRST && parse_value(&options[letter - OPTION_FIRST], optarg))
            continue;
        *ret_code = letter >= OPTION_FIRST ? wrong_value(verb, &options[letter - OPTION_FIRST], optarg)
                    : letter == 'h'        ? EXIT_DONE
                    : letter == ':'        ? arguments_wrong(verb, "a value is missing after ", word)
                                           : wrong_option(verb, word);
        if (letter == 'h')
            fputs(help, stdout);
        return 1;
    }
    return 0;
}

/* ---- What send, recv, echo, inspect and cell are told ---- */

int arguments_parse(const struct usage *usage, int argc, char **argv, struct arguments *ret_arguments, int *ret_code) {
    struct arguments arguments = { .verb = argv[0], .count = UINT64_MAX, .timeout = INT64_C(10000000000), .listen = usage->listens };
    const struct option_word options[] = {
        { 's', "size", OPTION_SIZE, &arguments.size, 1, SIZE_MAX / 2 },
        { 'l', "lines", OPTION_ON, &arguments.lines, 0, 0 },
        { 'n', "count", OPTION_COUNT, &arguments.count, 0, 0 },
        { 'r', "listen", OPTION_ON, &arguments.listen, 0, 0 },
        { 'r', "connect", OPTION_OFF, &arguments.listen, 0, 0 },
        { 't', "timeout", OPTION_TIME, &arguments.timeout, 0, 0 },
        { 'R', "records", OPTION_ON, &arguments.records, 0, 0 },
        { 0 },
    };
    if (arguments_options(argv[0], usage->help, options, usage->options, argc, argv, ret_code))
        return 1;
    int most = optind + 1 + usage->has_file;
    *ret_code = optind >= argc ? arguments_wrong(argv[0], "the address is missing", "")
                : most < argc  ? arguments_wrong(argv[0], "one argument too many: ", argv[most])
                               : EXIT_DONE;
    if (*ret_code != EXIT_DONE)
        return 1;
    arguments.address = argv[optind];
    if (optind + 1 < argc && strcmp(argv[optind + 1], "-") != 0)
        arguments.file = argv[optind + 1];
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
