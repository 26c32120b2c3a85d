/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the transports over pipes and FIFOs share: reading and writing without waiting and without SIGPIPE, and size. */

#include "core/stream.h"

#define PIPE_BUFFER ((size_t)256 << 10) /* bytes a pipe holds; the kernel's default where the user's limits forbid it */

/* The read and write of a stream_io. Writing is pwritev2(RWF_NOSIGNAL); on a kernel without it, SIGPIPE is blocked for
 * the call and, if one came of it, consumed. */
ssize_t pipe_read(struct stream *stream, const struct iovec *vector, int n);
ssize_t pipe_write(struct stream *stream, const struct iovec *vector, int n);

/* Asks for room: options->buffer, else PIPE_BUFFER. Best effort. */
void pipe_set_room(int fd, const struct options *options);
