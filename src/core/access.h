/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Who may talk to whom. Ids the kernel could not map (overflowuid 65534 read from /proc/sys/kernel/overflowuid) match nothing
 * but "any". */

#include "core/options.h"

#include <sys/types.h>

/* A policy that the mechanism cannot keep must not look as if it were kept: 0, or -EOPNOTSUPP. */
int access_keepable(const char *scheme, int capabilities, const struct options *options);

/* A listener's policy over one that connects: 0, or -EACCES with the sentence "listener allows uid 1000, you are uid 1001". */
int access_admit(const struct options *options, pid_t pid, uid_t uid, gid_t gid);

/* The connecting end's over the listener. */
int access_expect(const struct options *options, uid_t uid, gid_t gid);

/* 0600, or 0666 when the policy admits others. */
mode_t access_mode(const struct options *options);

/* SO_PEERCRED of a connected Unix socket. */
int access_credentials(int fd, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);
