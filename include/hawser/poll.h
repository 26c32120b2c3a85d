/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_POLL_H
#define HAWSER_POLL_H

/* Waits on many channels and listeners at once. */

#include <hawser/listener.h>

HAWSER_BEGIN

#define HAWSER_IN (1u << 0)  /* channel: a message or the end can be received; listener: one can be accepted */
#define HAWSER_OUT (1u << 1) /* channel: there is room to send, or -EPIPE waits */

/* Room to send is room for a message of at least one byte; but where the last send or loan found none (-EAGAIN, -ETIMEDOUT),
 * for one as large as that: who polls and tries again does not spin. Any message sent meanwhile ends that. */

/* Exactly one of channel and listener is set; both NULL: the item is skipped. */
typedef struct hawser_poll_item {
    hawser_channel *channel;
    hawser_listener *listener;
    uint32_t events;     /* wanted: HAWSER_IN, HAWSER_OUT */
    uint32_t ret_events; /* what is there; 0 for items that are not ready */
} hawser_poll_item;

/* Waits until at least one of n items (0 to 2^20) is ready; returns how many are, at least 1.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW), -EINVAL, -EPERM, -ENOMEM, -ECANCELED (one of them was interrupted).
 * Counts as sending for channels polled for HAWSER_OUT, as receiving for HAWSER_IN (see channel.h, threads). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_poll(hawser_poll_item *items, size_t n, int64_t timeout);

HAWSER_END

#endif
