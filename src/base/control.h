/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Descriptors in the control data of a message over a Unix socket (SCM_RIGHTS, unix(7)). */

#include "base/sys.h"

#define CONTROL_FDS_SPACE(N) CMSG_SPACE((N) * sizeof(int))

/* n descriptors, at least 1, into message->msg_control, which is aligned, zeroed and of CONTROL_FDS_SPACE(n) bytes or more. */
void control_put_fds(struct msghdr *message, const int *fds, unsigned n);

/* Is there anything but descriptors? A socket of ours never asks for more; but who holds the same description can. */
bool control_has_others(const struct msghdr *message);

/* All that came with it, now the caller's (but a pidfd that somebody else asked for: it is closed); beyond `most` they are closed (alignment lets the kernel put one more than was asked for). */
unsigned control_take_fds(const struct msghdr *message, int *ret_fds, unsigned most);
