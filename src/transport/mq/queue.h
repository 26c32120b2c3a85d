/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* One POSIX message queue without a name. On Linux mqd_t is a descriptor, so it can be passed and polled. */

#include "core/options.h"

/* The kernel's own bounds (ipc/mqueue.c), whatever the sysctls say. */
#define QUEUE_PACKET_MAX ((size_t)16 << 20)
#define QUEUE_DEPTH_MAX 65536

/* Makes a queue as the options (depth, packet) have it; non-blocking, for reading and writing.
 * Errors: -EINVAL, -ENOSPC: the sentence names the sysctl or limit; -EMFILE, -ENFILE, -ENOMEM. */
int mqueue_make(const struct options *options, int *ret_fd);

/* Checks what a peer says is a queue. write: it must be one to write to, else to read from. -EPROTO with a sentence. */
int mqueue_check(int fd, bool write, size_t *ret_packet);
