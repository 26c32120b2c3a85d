/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_HAWSER_H
#define HAWSER_HAWSER_H

/* Everything. */

#include <hawser/base.h>
#include <hawser/cell.h>
#include <hawser/channel.h>
#include <hawser/event.h>
#include <hawser/listener.h>
#include <hawser/names.h>
#include <hawser/options.h>
#include <hawser/poll.h>
#include <hawser/region.h>
#include <hawser/semaphore.h>
#include <hawser/signal.h>

#endif
