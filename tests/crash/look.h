/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What a peer could read in the segments of a victim that stands still. */

#include "crash.h"

#include <sys/types.h>

struct victim {
    const struct operation *operation;
    pid_t pid;
    hawser_channel *channel; /* the survivor's end; NULL before it was accepted */
    size_t sent, received;   /* messages of the operation, by the driver */
    uint64_t visible;        /* of the operation's messages: those that could be read, or were taken, after the last instruction */
    int64_t asleep_since;    /* a victim that waits: when it was last seen to move */
};

/* With private copies of the driver's half: nothing is taken, nothing changes. Dies unless there is a prefix of whole messages,
 * no shorter than before, and no cursor that a peer could not believe. */
void look_at(struct victim *victim);
