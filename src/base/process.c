/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The word lies in a page of its own that the kernel zeroes in a forked child. Its number is random, not the pid: the first
 * process of each pid namespace has pid 1, so a sandboxed child may have its parent's, and pids of the dead come again. Should
 * there be no such page (no memory, when it is first wanted), the pid is asked for each time from then on. */

#include "base/process.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/sys.h"

#include <sched.h>

uint32_t *process_word; /* written once; racing first calls map two pages and one wins */

static uint32_t no_word; /* in place of the page, if there can be none: always 0 */

static uint32_t *page_new(void) {
    long page = sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page < 0 && page > -4096)
        return NULL;
    uint32_t *fresh = (uint32_t *)page; // NOLINT: an address by the kernel's own word
    if (sys_madvise(fresh, 4096, MADV_WIPEONFORK) < 0) {
        sys_munmap(fresh, 4096);
        return NULL;
    }
    return fresh;
}

/* Decided once: numbers of both kinds would take one process for two. */
static uint32_t *word_make(void) {
    uint32_t *page = page_new(), *word = page ? page : &no_word, *none = NULL;
    if (compare_exchange(&process_word, &none, word)) /* pairs with process_self, process_is and process_self_slow */
        return word;
    if (page)
        sys_munmap(page, 4096);
    return none;
}

/* Random; where that cannot be had, by the clock. Not 0, nor all ones, which is no process's. */
static uint32_t number_new(void) {
    static uint32_t last; /* a forked child has its parent's here */
    uint32_t number = 0, before = load_relaxed(&last);
    for (unsigned tries = 0; number == 0 || number == UINT32_MAX || number == before; tries++)
        if (tries > 3 || sys_getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
            number = (uint32_t)clock_now() * 2654435761u ^ (uint32_t)getpid();
    store_relaxed(&last, number);
    return number;
}

uint32_t process_self_slow(void) {
    uint32_t *word = load_acquire(&process_word); /* pairs with word_make */
    if (!word)
        word = word_make();
    if (word == &no_word)
        return (uint32_t)getpid();
    uint32_t self = load_relaxed(word);
    if (self != 0)
        return self;
    uint32_t fresh = number_new();
    /* pairs with nothing: the number is all there is; where it was not set it is another thread's */
    return compare_exchange(word, &self, fresh) ? fresh : self;
}

#define CPU_WORDS (8192 / 64) /* the kernel's NR_CPUS is at most 8192 */

/* Ors the affinity in; negative when it cannot be told. */
static int affinity_add(pid_t pid, uint64_t *set) {
    uint64_t fresh[CPU_WORDS] = { 0 };
    int bytes = sys_sched_getaffinity(pid, sizeof fresh, fresh);
    for (size_t i = 0; i < CPU_WORDS; i++)
        set[i] |= fresh[i];
    return bytes;
}

int process_apart(pid_t pid) {
    uint64_t set[CPU_WORDS] = { 0 };
    unsigned cpus = 0;
    int own = affinity_add(0, set), peer = pid > 0 ? affinity_add(pid, set) : -1;
    for (size_t i = 0; i < CPU_WORDS; i++)
        cpus += (unsigned)__builtin_popcountll(set[i]);
    if (cpus > 1)
        return 1;
    return own < 0 || peer < 0 ? -1 : 0;
}

int process_cpu(void) { return sched_getcpu(); }
