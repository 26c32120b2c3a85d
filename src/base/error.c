/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One sentence per thread. The buffer is static TLS, so that a failure for lack of memory can be told. */

#include "base/error.h"

#include <ctype.h>
#include <hawser/base.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SENTENCE_MAX 512

static _Thread_local char sentence[SENTENCE_MAX];
static _Thread_local char text[96];
static _Thread_local const char *last = "";

int error_set(int error, const char *format, ...) {
    char fresh[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fresh, sizeof fresh, format, arguments); /* an argument may be the old sentence */
    va_end(arguments);
    memcpy(sentence, fresh, sizeof fresh);
    last = sentence;
    return error;
}

int error_note(int error, const char *literal) {
    last = literal;
    return error;
}

int error_within(int error, const char *what) {
    char old[SENTENCE_MAX];
    snprintf(old, sizeof old, "%s", last);
    return error_set(error, "%s: %s", what, old);
}

const char *error_text(int error) {
    /* strerror_r's GNU and POSIX forms differ between glibc and musl; strerrordesc_np is glibc only. */
    const char *found = strerror(error < 0 ? -error : error);
    snprintf(text, sizeof text, "%s", found);
    if (isupper((unsigned char)text[0]) && islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}

const char *error_sentence(void) { return last; }

HAWSER_PUBLIC const char *hawser_explain(void) { return last; }
