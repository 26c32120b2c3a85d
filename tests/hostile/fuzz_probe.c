/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Is there a libFuzzer? */

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data && size > 1 ? 0 : 0; }
