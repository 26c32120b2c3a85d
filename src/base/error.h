/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The calling thread's last failure, as one sentence (hawser_explain). Both setters return the error, so
 * that a failing path reads "return error_set(-EPROTO, ...)". */

/* Formats the sentence; cuts it at 511 bytes. Not for hot paths. */
int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Notes a literal: two stores, for -EAGAIN and its like on hot paths. The text must live for ever. */
int error_note(int error, const char *sentence);

/* Puts "WHAT: " before the sentence that stands, once a caller up the stack knows more ("connect shm://a"). */
int error_within(int error, const char *what);

/* "no such file or directory" for ENOENT, thread-safe, lower case first letter; takes either sign. */
const char *error_text(int error);

const char *error_sentence(void);
