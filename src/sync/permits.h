/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* N permits in memory that several processes share and can all write: what a semaphore and a region's guard are made of.
 *
 * A permit is one word: PERMIT_FREE, PERMIT_DIED (free too, but back from a holder who died) or the slot of the process that holds
 * it (object.h). To take is one compare-exchange, to give back is one: the words are the whole truth, at whatever instruction a
 * process dies. No count is stored, so none can be wrong.
 *
 * Who must wait for long has a place in line: a record with its slot, its ticket and the word it sleeps on. Tickets are the order;
 * a waiter may take when what those before it want and what it wants is free. Newcomers may pass them, so that a permit is never idle
 * while its next owner wakes up: at most PERMITS_PASSES times a turn, and not once more in it when the first in line has been woken for
 * a permit and found it taken, nor where it wants several. A turn ends when one in line is served; but before the first is, at most
 * PERMITS_AHEAD others begin one. The right is bought in batches, for a turn: the word `passed` holds the turn, how many were so begun, and
 * what was sold in it.
 *
 * `waiting` only says that somebody may be in line. Where it is wrong, where a wake-up is lost as its sender dies, and where a holder or
 * one in line dies, sleepers find out by looking: the first two in line every LOOK_NS; the others, every LOOK_LATE_NS, only at whether
 * anybody looked meanwhile, and if nobody did, as those are dead or stopped, they look, too. Whether a slot is dead, its owners know.
 *
 * Its users trust each other: one that writes nonsense makes the others wait, or hold too many; but nothing read here leads anyone
 * out of bounds or into an endless loop. */

#include "base/atomic.h"

#include <hawser/options.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERMITS_MOST 65536u
#define PERMITS_WAITERS 1024u /* places in line; who finds none naps */
#define PERMITS_PASSES 1024u
#define PERMITS_AHEAD 31u
#define PERMITS_BATCH 64u
#define PERMITS_SLOT_MOST 8191u
#define PERMITS_LINE 64u
#define PERMITS_APART 64u /* so many permits, and fewer, have a cache line each */

#define PERMIT_FREE 0u
#define PERMIT_DIED UINT32_MAX

#define BELL_AWAKE 0u
#define BELL_ASLEEP 1u
#define BELL_RUNG 2u

#define PERMITS_HELD_DIED 1 /* permits_acquire(): a permit came back from the dead */

/* The format. Everything is 0 at first but limit. Each part has lines of its own, as others write it. */
struct permits_waiter {
    uint32_t owner;  /* 0: nobody's; else the slot */
    uint32_t bell;   /* BELL_...; a futex */
    uint64_t ticket; /* 0: not in line */
    uint32_t wanted;
    uint32_t reserved[11];
};

struct permits_shared {
    uint32_t limit;  /* frozen */
    uint32_t torn;   /* 1: who died held all permits, and nobody has held all since */
    uint64_t deaths; /* times that permits came back from the dead; may miss or repeat one where who counts dies */
    uint32_t reserved_first[12];
    uint32_t waiting; /* 1: somebody may be in line */
    uint32_t used;    /* no waiter from here on was ever anybody's */
    uint64_t passed;  /* turn << 16 | turns begun by others than the first in line << 11 | passes sold in it */
    uint32_t looks;   /* how often somebody in line looked for the dead */
    uint32_t reserved_second[11];
    uint64_t tickets; /* drawn so far */
    uint32_t reserved_third[14];
    struct permits_waiter waiters[PERMITS_WAITERS];
    /* the permits: limit words, each at the start of a line where there are at most PERMITS_APART */
};

_Static_assert(sizeof(struct permits_waiter) == PERMITS_LINE, "a waiter has one line");
_Static_assert(offsetof(struct permits_shared, waiting) == PERMITS_LINE, "what waiters write has a line");
_Static_assert(offsetof(struct permits_shared, tickets) == 2 * PERMITS_LINE, "tickets have a line");
_Static_assert(offsetof(struct permits_shared, waiters) == 3 * PERMITS_LINE, "waiters begin at a line");

/* Who the slots are. bury(): if the slot's process is dead, makes sure that nobody else is in the slot, has permits_reclaim() called for
 * it, and says true; it is given any number but the own slot's. apart(): as process_apart(), whether a slot's process can run while
 * this thread does. */
struct permits_owners {
    bool (*bury)(void *context, uint32_t slot);
    int (*apart)(void *context, uint32_t slot);
};

/* One process's view. Threads share it: what changes is only a hint, and is loaded and stored relaxed. */
struct permits {
    struct permits_shared *shared;
    uint32_t *near; /* the permit to look at first */
    uint32_t *words;
    uint32_t limit;
    uint32_t shift; /* words are 1 << shift words apart */
    uint32_t slot;  /* this process's, 1 to PERMITS_SLOT_MOST */
    uint32_t mode;  /* enum hawser_wait, resolved */
    uint64_t pass;                 /* turn << 16 | passes bought for it and not yet used */
    int64_t looked_ns;             /* when a try last looked for the dead in vain */
    int32_t favour;                /* of spinning: -8 to 8 */
    uint32_t waits;
    int32_t apart;
    uint32_t until_placed;
    const struct permits_owners *owners;
    void *context;
};

size_t permits_size(uint32_t limit);

/* The first to have the memory, of permits_size() zero bytes at a line's start, before anybody else sees it. */
void permits_format(void *memory, uint32_t limit);

/* -EPROTO (no sentence): what the memory says of itself does not fit limit. */
int permits_open(struct permits *permits, void *memory, uint32_t limit, uint32_t slot, uint32_t mode,
                 const struct permits_owners *owners, void *context);

/* Takes n, 1 to limit, of them: 0; PERMITS_HELD_DIED; -ETIMEDOUT; -EAGAIN where the deadline is DEADLINE_PAST. No sentences. */
int permits_acquire(struct permits *permits, uint32_t n, int64_t deadline);

/* Gives n back. -EPERM: this process holds fewer, and keeps them. */
int permits_release(struct permits *permits, uint32_t n);

/* The permits and places in line of a slot that is nobody's, and stays so meanwhile; of PERMITS_EVERY: of all slots. */
#define PERMITS_EVERY UINT32_MAX
void permits_reclaim(struct permits *permits, uint32_t slot);

/* This process closes: all that it holds is free, as if released. */
void permits_give_back(struct permits *permits);

/* Did somebody die who held all? Told to all who take one after that, until one who holds all mends it. */
static inline bool permits_torn(const struct permits *permits) { return load_relaxed(&permits->shared->torn) != 0; }
static inline void permits_tear(struct permits *permits) { store_relaxed(&permits->shared->torn, 1); } /* as if who holds all had died */
static inline void permits_mend(struct permits *permits) { store_relaxed(&permits->shared->torn, 0); }

/* Looks for dead holders and waiters; true: there were some. */
bool permits_look(struct permits *permits);

uint32_t permits_held(const struct permits *permits, uint32_t slot);
uint32_t permits_free(const struct permits *permits);
uint32_t permits_in_line(const struct permits *permits);

/* Rings those in line whose turn has come: after every change that may be what one of them waits for. */
void permits_serve(struct permits *permits);

static inline uint32_t *permit_word(const struct permits *permits, uint32_t index) {
    return permits->words + ((size_t)index << permits->shift);
}

/* One permit, where that is one compare-exchange: nobody is in line, and the permit of last time is free. */
static inline bool permits_take_quick(struct permits *permits) {
    uint32_t *word = load_relaxed(&permits->near), none = PERMIT_FREE;
    /* pairs with permit_give and permits_reclaim: what its holder did before is seen */
    return load_relaxed(&permits->shared->waiting) == 0 && load_relaxed(word) == PERMIT_FREE &&
           compare_exchange(word, &none, permits->slot);
}

/* False: this process does not hold it. */
static inline bool permit_give(struct permits *permits, uint32_t *word, uint32_t as) {
    uint32_t slot = permits->slot;
    /* [free]; pairs with permits_take_quick, permit_take, arm, announce and unannounce: the last three see the word, or we see that
     * somebody waits, in permits_waiting */
    return compare_exchange(word, &slot, as);
}

/* What permits_take_quick() took; permits_serve() must follow if permits_waiting(). False: that is not held. */
static inline bool permits_give_quick(struct permits *permits) {
    return permit_give(permits, load_relaxed(&permits->near), PERMIT_FREE);
}

/* As a compare-exchange before it is no fence on machines that are not x86; there this costs nothing. */
static inline bool permits_waiting(const struct permits *permits) {
    return load_seq_cst(&permits->shared->waiting) != 0; /* pairs with announce: who frees sees the 1, or it sees what was freed */
}
