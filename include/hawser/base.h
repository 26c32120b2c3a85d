/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_BASE_H
#define HAWSER_BASE_H

/* What every header of hawser shares: time, errors, versions.
 *
 * Every call that can fail returns an int: 0 or a positive value that its documentation names, or a
 * negative errno (-EINVAL, -ETIMEDOUT, ...). Outputs come last, are named ret_... and are untouched on
 * failure. No call ever returns -EINTR, prints, exits, or changes a signal's disposition. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define HAWSER_BEGIN extern "C" {
#define HAWSER_END }
#else
#define HAWSER_BEGIN
#define HAWSER_END
#endif

#if defined(__GNUC__)
#define HAWSER_PUBLIC __attribute__((visibility("default")))
#define HAWSER_MUST_CHECK __attribute__((warn_unused_result))
#else
#define HAWSER_PUBLIC
#define HAWSER_MUST_CHECK
#endif

HAWSER_BEGIN

/* Timeouts are relative, in nanoseconds, at every call that can wait. */
#define HAWSER_FOREVER ((int64_t)-1) /* wait without end; any other negative timeout is -EINVAL */
#define HAWSER_NOW ((int64_t)0)      /* do not wait: what would have to wait is -EAGAIN */

/* A positive return of calls that take what another process had: it died with it. */
#define HAWSER_OWNER_DIED 1

#define HAWSER_VERSION_MAJOR 0
#define HAWSER_VERSION_MINOR 1
#define HAWSER_VERSION_PATCH 0

/* The version of the library that is running, as "0.1.0". Any thread; the text lives for ever. */
HAWSER_PUBLIC const char *hawser_version(void);

/* The calling thread's last failure as one sentence: what was tried, what went wrong, what to do
 * ("connect shm://quotes: permission denied: listener allows uid 1000, you are uid 1001").
 * Any thread. The text belongs to the calling thread and lives until its next failing call; without a
 * failure so far it is the empty string. Never NULL. */
HAWSER_PUBLIC const char *hawser_explain(void);

HAWSER_END

#endif
