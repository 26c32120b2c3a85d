/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A fuzzer in the place of the liar: each byte of its input decides what is written into the liar's memory and sockets, and which call
 * the honest end makes next. What the honest end runs through is what it covers. */

#include "liar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const addresses[] = {
    "shm://?ring=4K&pool=256K&max_message=1M",
    "shm://?ring=4K&pool=64K&max_message=2K&stable=yes",
    "shm://?ring=256K&pool=64K&max_message=1M&barrier=fence",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool prepared;
    if (!prepared) {
        guard_maps();
        liar_prepare();
        prepared = true;
    }
    if (size == 0)
        return 0;
    struct world world = { .source = { .data = data + 1, .left = size - 1 }, .checks_all = true };
    world_begin(&world, addresses[data[0] % COUNT(addresses)]);
    while (!world.broken && !source_ended(&world.source))
        lie_and_act(&world);
    world_end(&world);
    return 0;
}
