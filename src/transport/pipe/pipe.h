/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

#include "core/transport.h"

extern const struct transport transport_pipe;
