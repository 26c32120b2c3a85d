/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Events and signals: round trips of a number of 64 bits. */

#include "bench_doorbell.h"
#include "bench_sync.h"

#define TRIP(MECHANISM, WORK, WAIT, WAY, NAME, BARE, LIMIT)                                   \
    {                                                                                        \
        .mechanism = MECHANISM, .work = WORK, .wait = WAIT, .ours = { "hawser", &WAY, NULL }, \
        .beside = { { NAME, &BARE, NULL } }, .limits = { LIMIT },                             \
    }

const struct sync_case sync_events[] = {
    TRIP("event", "round trip over eventfd", WAY_BLOCK, hawser_event_way, "eventfd", bare_eventfd, 1.05),
    TRIP("event", "round trip over eventfd", WAY_ADAPTIVE, hawser_event_way, "eventfd, blocking", bare_eventfd, 1.05),
    TRIP("event", "round trip over futex", WAY_BLOCK, hawser_event_futex_way, "futex", bare_futex, 0),
    TRIP("event", "round trip over futex", WAY_ADAPTIVE, hawser_event_futex_way, "futex, blocking", bare_futex, 0),
    TRIP("event", "round trip over signal", WAY_BLOCK, hawser_event_signal_way, "sigqueue, signalfd", bare_signal, 0),
    { .mechanism = NULL },
};

const struct sync_case sync_signals[] = {
    TRIP("signal", "round trip", WAY_BLOCK, hawser_signal_way, "sigqueue, signalfd", bare_signal, 1.1),
    TRIP("signal", "round trip", WAY_ADAPTIVE, hawser_signal_way, "the same, blocking", bare_signal, 1.1),
    { .mechanism = NULL },
};
