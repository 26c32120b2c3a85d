/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What send, recv, echo and inspect are told on the command line, and how they open their channel. */

#include "verbs.h"

#include <hawser/hawser.h>
#include <stdbool.h>

struct arguments {
    const char *verb;
    const char *address;
    const char *file; /* send: NULL for standard input; cell set: the value, the same */
    size_t size;      /* send: bytes of a block; cell set: of a value */
    bool size_given;
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

/* What a verb was given, as an address: NAME, or a path, is SCHEME://NAME. False: it is over-long. */
bool arguments_address(const char *given, const char *scheme, char ret_address[HAWSER_ADDRESS_MAX]);

/* A time ("10ms", "forever", "0"), a number from 0 to most; false: it is none. */
bool arguments_time(const char *text, int64_t *ret_ns);
bool arguments_count(const char *text, uint64_t most, uint64_t *ret_count);
bool arguments_size(const char *text, uint64_t *ret_size); /* "64K" */

/* Prints "hawser VERB: " and the sentence of the library's last failure; the exit code for error. */
int report_failure(const char *verb, int error);
int report(const struct arguments *arguments, int error);

/* Prints "hawser VERB: WHAT: " and errno's text; EXIT_FAILED. */
int report_errno(const struct arguments *arguments, const char *what);

/* Tells a terminal, and only a terminal, where a listener listens; anyone when the kernel chose the address. */
void report_listening(const struct arguments *arguments, const hawser_listener *listener);
