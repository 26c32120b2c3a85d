/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* One function a verb: argv[0] is the verb's name; it returns the command's exit code. */

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_TIMED_OUT = 3,
};

int verb_send(int argc, char **argv);
int verb_recv(int argc, char **argv);
int verb_echo(int argc, char **argv);
int verb_gc(int argc, char **argv);
int verb_event(int argc, char **argv);
int verb_signal(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_sem(int argc, char **argv);
int verb_cell(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_region(int argc, char **argv);
