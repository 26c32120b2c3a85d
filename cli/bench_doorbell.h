/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Events and signals as ways; bare_eventfd, bare_futex and bare_signal are the same in bare system calls. */

#include "way.h"

extern const struct way hawser_event_way, hawser_event_futex_way, hawser_event_signal_way, hawser_signal_way;
