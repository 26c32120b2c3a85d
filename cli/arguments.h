/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What send, recv, echo and inspect are told on the command line, and how they open their channel. */

#include "verbs.h"

#include <hawser/hawser.h>
#include <stdbool.h>

/* What a verb may be told, and where that goes. */
enum option_form {
    OPTION_ON,    /* no value: a bool becomes true */
    OPTION_OFF,   /* the same: false */
    OPTION_COUNT, /* a uint64_t */
    OPTION_SIZE,  /* the same, with K, M, G */
    OPTION_TIME,  /* an int64_t, ns; HAWSER_FOREVER */
    OPTION_TEXT,  /* a const char * */
};

struct option_word {
    char letter; /* in a list of options; nobody types it */
    const char *name;
    enum option_form form;
    void *to;
    uint64_t least, most; /* of counts and sizes; most 0: UINT64_MAX */
};

/* Reads the options among argv's words, of those in a table (up to one without a name) whose letters are in the list; optind is the first
 * other word then. 0, or the verb is over: *ret_code is its exit code (--help, wrong usage). */
int arguments_options(const char *verb, const char *help, const struct option_word *options, const char *letters, int argc, char **argv,
                      int *ret_code);

/* Prints "hawser VERB: " and what is wrong with which word; EXIT_USAGE. */
int arguments_wrong(const char *verb, const char *what, const char *which);

struct arguments {
    const char *verb;
    const char *address;
    const char *file; /* send: NULL for standard input; cell set: the value, the same */
    uint64_t size;    /* send: bytes of a block; cell set: of a value, 0: not given */
    uint64_t count;   /* recv: messages to receive; UINT64_MAX: all */
    int64_t timeout;  /* to wait for the other side, ns */
    bool lines;
    bool records; /* inspect: show each record */
    bool listen;
};

/* The options a verb understands, and its --help. */
struct usage {
    const char *options; /* letters: s --size, l --lines, n --count, r the roles --listen and --connect, t --timeout, R --records */
    const char *help;
    bool listens; /* unless told otherwise */
    bool has_file;
};

/* 0, or the verb is over: *ret_code is its exit code (--help, wrong usage). */
int arguments_parse(const struct usage *usage, int argc, char **argv, struct arguments *ret_arguments, int *ret_code);

/* Connects, or listens and accepts one, as the arguments say. The failure is printed. 0 or an exit code. */
int arguments_open(const struct arguments *arguments, bool sends, hawser_channel **ret_channel);

/* What a verb was given, as an address: NAME, or a path, is SCHEME://NAME. option ("permanent=yes", or "") joins its query, unless that says
 * the same, or the contrary. 0, or EXIT_USAGE, and the sentence is printed: without a name a shell cannot share a thing; it is over-long. */
int arguments_address(const char *verb, const char *given, const char *scheme, const char *option, char ret_address[HAWSER_ADDRESS_MAX]);

/* A number from 0 to most; false: it is none. */
bool arguments_count(const char *text, uint64_t most, uint64_t *ret_count);

/* Prints "hawser VERB: " and the sentence of the library's last failure; the exit code for error. */
int report_failure(const char *verb, int error);
int report(const struct arguments *arguments, int error);

/* Prints "hawser VERB: WHAT: " and errno's text; EXIT_FAILED. */
int report_errno(const struct arguments *arguments, const char *what);

/* Tells a terminal, and only a terminal, where a listener listens; anyone when the kernel chose the address. */
void report_listening(const struct arguments *arguments, const hawser_listener *listener);
