/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* RouDi, without which no iceoryx process speaks to another: one of our own in a process of its own. Its names are
 * fixed (/tmp/roudi, /tmp/roudi.lock, /dev/shm/iceoryx_mgmt, ...), so it lives in a mount namespace with a /tmp and a
 * /dev/shm of its own: it meets no other RouDi of the machine, and whoever is killed, nothing is left of it. */

#include <cstddef>
#include <sys/types.h>

struct roudi_process {
    pid_t pid;
    bool own_user; /* the namespace took a user namespace to make */
};

/* With room for `chunks` messages of `size` bytes; returns when it is ready. */
int roudi_start(size_t size, unsigned chunks, roudi_process *ret_roudi, const char **ret_reason);
int roudi_enter(const roudi_process &process, const char **ret_reason); /* the calling process, of one thread, from now on */
void roudi_stop(roudi_process &process);
