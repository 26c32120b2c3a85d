/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* System V queues are the one thing the kernel does not free by itself, so every pair of them has a record: a file
 * RUNTIME/.sysv/KEY (8 hexadecimal digits), made and flocked BEFORE the queues are. Both ends hold that one locked
 * description, so the lock lasts as long as either process; a record that can be locked is an orphan's, and whoever finds
 * it removes the queues and it.
 *
 * The two queues of a record have its key (even) and the key after it. */

#include "base/sys.h"

#include <stdbool.h>

struct record {
    int fd;         /* the locked description; -1: none */
    uint32_t key;   /* 0: none */
    char path[144]; /* "": not in our RUNTIME (the maker's is another), so only the maker can unlink it */
};

#define RECORD_NONE ((struct record){ .fd = -1 })

/* Makes a record and its two queues, mode 0600. Errors: -ENOSPC names kernel.msgmni; of files as they are. */
int record_make(struct record *ret_record, int ret_queues[2]);

/* What a peer sent of a record: takes the descriptor (sets *fd to -1) if it can be one. -EPROTO with a sentence. */
int record_adopt(uint32_t key, int *fd, struct record *ret_record);

/* Removes queues and record, which nobody uses any more; twice, or at once with the peer, does no harm. */
void record_remove(struct record *record, const int queues[2]);

/* Closes our description, and removes record and queues if it was the last. */
void record_leave(struct record *record);

/* Closes our description of what turned out not to be ours. */
void record_forget(struct record *record);

/* Removes what dead processes left in our RUNTIME. Returns how many records went, or an error. */
int record_collect(void);

/* The same; look: removes nothing, and counts what it would have. */
int record_collect_dead(bool look);
