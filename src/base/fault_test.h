/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* For unit tests that make each system call and allocation fail in turn: between fault_begin() and fault_end() call number `failing` does.
 * fault_harmless(), which the test defines first, tells what cannot fail. */

#include "base/memory.h"
#include "base/sys.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

static bool fault_harmless(const char *name);

static unsigned calls;   /* so far, by all threads */
static unsigned failing; /* the number of the call that fails; 0: none */
static int failure;
static const char *failed;
static void *(*real_resize)(void *old, size_t size);

static bool fails(const char *name) {
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != failing)
        return false;
    failed = name;
    return true;
}

#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL)     \
    static TYPE faulty_##NAME PARAMETERS {             \
        if (!fault_harmless(#NAME) && fails(#NAME))    \
            return (TYPE)(intptr_t)failure;            \
        return sys_table_real.NAME ARGUMENTS;          \
    }
SYS_CALLS(X)
#undef X

static const struct sys_table faulty_table = {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) .NAME = faulty_##NAME,
    SYS_CALLS(X)
#undef X
};

static void *faulty_resize(void *old, size_t size) { return fails("memory") ? NULL : real_resize(old, size); }

static void fault_begin(unsigned nth) {
    calls = 0;
    failing = nth;
    failed = NULL;
    real_resize = memory_resize_hook;
    memory_resize_hook = faulty_resize;
    sys_table = faulty_table;
}

static void fault_end(void) {
    sys_table = sys_table_real;
    memory_resize_hook = real_resize;
}
