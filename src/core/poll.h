/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What poll.c, for a few items or any, and poll_many.c, for many, share. */

#include "core/channel.h"

#include <hawser/poll.h>

#define POLL_STACK_ITEMS 16 /* so many need no memory, and no poller: a pass over them is cheap */

/* Where an item's descriptors stand in the common set, and what was published for it. */
struct place {
    unsigned first, count;
    int slot_in, slot_out;
    bool ready; /* something happened, or its arm said so: it is worth a check */
};

struct polling {
    hawser_poll_item *items;
    size_t n;
    int64_t deadline;
    struct place *places;
    struct pollfd *fds;
    int waker;
    bool naps; /* the waker could not be published everywhere */
};

/* Is it a sound item, that this process may wait for? 0 or an error; ret_events is then 0. */
int item_begin(hawser_poll_item *items, size_t i);

/* 1 ready, 0, or an error. */
int item_check(hawser_poll_item *item);

/* For one sleep. The deadline of a listener's hello comes back. */
int64_t item_arm(struct polling *polling, const hawser_poll_item *item, struct place *place, struct sleep_set *set);
void item_disarm(struct polling *polling, const hawser_poll_item *item, struct place *place);

int poll_expired(const struct polling *polling);

/* The whole wait, if a poller can be had and some items can be its members: true, and what hawser_poll() returns. */
bool poll_many(struct polling *polling, int *ret_result);
