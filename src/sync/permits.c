/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Permits as words: taking, giving, counting, and taking from the dead. Who has to wait goes on in line.c. */

#include "sync/permits.h"

#include "base/clock.h"
#include "sync/line.h"

#include <errno.h>
#include <string.h>

#define TURN_SHIFT 16
#define AHEAD_SHIFT 11 /* below it: passes sold */
#define SOLD_MASK ((UINT64_C(1) << AHEAD_SHIFT) - 1)
#define AHEAD_MASK ((UINT64_C(1) << (TURN_SHIFT - AHEAD_SHIFT)) - 1)
#define LOOK_TRY_NS 1000000 /* who only tries looks for the dead no more often */

static uint32_t shift_of(uint32_t limit) { return limit <= PERMITS_APART ? 4 : 0; }

size_t permits_size(uint32_t limit) { return sizeof(struct permits_shared) + (sizeof(uint32_t) * limit << shift_of(limit)); }

void permits_format(void *memory, uint32_t limit) { ((struct permits_shared *)memory)->limit = limit; }

int permits_open(struct permits *permits, void *memory, uint32_t limit, uint32_t slot, uint32_t mode,
                 const struct permits_owners *owners, void *context) {
    struct permits_shared *shared = memory;
    if (load_relaxed(&shared->limit) != limit || limit == 0 || limit > PERMITS_MOST)
        return -EPROTO;
    *permits = (struct permits){
        .shared = shared,
        .words = (uint32_t *)(void *)((char *)memory + sizeof *shared),
        .limit = limit,
        .shift = shift_of(limit),
        .slot = slot,
        .mode = mode,
        .owners = owners,
        .context = context,
    };
    permits->near = permit_word(permits, slot % limit); /* so that processes do not all begin with the same */
    return 0;
}

/* ---- Counting ---- */

static bool is_free(uint32_t word) { return word == PERMIT_FREE || word == PERMIT_DIED; }

uint32_t permits_held(const struct permits *permits, uint32_t slot) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < permits->limit; i++)
        n += load_relaxed(permit_word(permits, i)) == slot;
    return n;
}

uint32_t permits_free(const struct permits *permits) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < permits->limit; i++)
        n += is_free(load_relaxed(permit_word(permits, i)));
    return n;
}

/* The permits one after the other, beginning with the one to look at first. */
static uint32_t *next_word(const struct permits *permits, uint32_t *word) {
    uint32_t *next = word + ((size_t)1 << permits->shift);
    return next == permit_word(permits, permits->limit) ? permits->words : next;
}

bool permits_free_at_least(const struct permits *permits, uint64_t n) {
    uint32_t *word = load_relaxed(&permits->near);
    for (uint32_t i = 0; n > 0 && i < permits->limit; i++, word = next_word(permits, word))
        n -= is_free(load_relaxed(word));
    return n == 0;
}

/* ---- Taking ---- */

/* 0, PERMITS_HELD_DIED, or -EAGAIN: it is not free. */
static int permit_take(struct permits *permits, uint32_t *word) {
    uint32_t old = load_relaxed(word);
    /* pairs with permit_give and permits_reclaim: what its holder did before is seen */
    return is_free(old) && compare_exchange(word, &old, permits->slot) ? old == PERMIT_DIED : -EAGAIN;
}

/* Up to n of them; how many, and how many of these a dead process had last. */
static uint32_t take_some(struct permits *permits, uint32_t n, uint32_t *ret_died) {
    uint32_t *word = load_relaxed(&permits->near), taken = 0;
    for (uint32_t i = 0; taken < n && i < permits->limit; i++, word = next_word(permits, word)) {
        int r = permit_take(permits, word);
        if (r < 0)
            continue;
        taken++;
        *ret_died += r == PERMITS_HELD_DIED;
        store_relaxed(&permits->near, word);
    }
    return taken;
}

/* Permits of one slot are all alike: whichever are given back, as many are, so many of them as from the dead. How many were. */
static uint32_t give_some(struct permits *permits, uint32_t n, uint32_t died) {
    uint32_t *word = load_relaxed(&permits->near), given = 0;
    for (uint32_t i = 0; given < n && i < permits->limit; i++, word = next_word(permits, word)) {
        if (load_relaxed(word) != permits->slot || !permit_give(permits, word, given < died ? PERMIT_DIED : PERMIT_FREE))
            continue;
        given++;
        store_relaxed(&permits->near, word);
    }
    return given;
}

int permits_take(struct permits *permits, uint32_t n) {
    uint32_t died = 0;
    if (n > 1 && !permits_free_at_least(permits, n))
        return -EAGAIN;
    uint32_t taken = take_some(permits, n, &died);
    if (taken == n)
        return died > 0 ? PERMITS_HELD_DIED : 0;
    if (taken > 0) { /* others were quicker: as if it had not been tried */
        give_some(permits, taken, died);
        permits_serve(permits);
    }
    return -EAGAIN;
}

/* Uses a pass bought before for this turn, or buys a batch. */
static bool may_pass(struct permits *permits) {
    struct permits_shared *shared = permits->shared;
    for (unsigned tries = 0; tries < 8; tries++) {
        uint64_t sold = load_relaxed(&shared->passed), own = load_relaxed(&permits->pass);
        /* pairs with nothing: the words are all there is */
        if (own >> TURN_SHIFT == sold >> TURN_SHIFT && (own & 0xffff) > 0) {
            if (compare_exchange(&permits->pass, &own, own - 1)) /* pairs with nothing: the same */
                return true;
        } else if ((sold & SOLD_MASK) + PERMITS_BATCH > PERMITS_PASSES) {
            return false;
        } else if (compare_exchange(&shared->passed, &sold, sold + PERMITS_BATCH)) { /* pairs with nothing: the same */
            store_relaxed(&permits->pass, (sold >> TURN_SHIFT << TURN_SHIFT) + PERMITS_BATCH - 1);
            return true;
        }
    }
    return false;
}

/* Tried so often, as in may_pass: a turn that does not begin lets fewer pass, never more than one that goes on does. */
void permits_next_turn(struct permits *permits, enum permits_turn turn) {
    uint64_t *passed = &permits->shared->passed, old = load_relaxed(passed), next;
    unsigned tries = 0;
    do {
        uint64_t ahead = (old >> AHEAD_SHIFT & AHEAD_MASK) + (turn == TURN_AHEAD);
        if (turn == TURN_AHEAD && ahead > PERMITS_AHEAD)
            return;
        next = ((old >> TURN_SHIFT) + 1) << TURN_SHIFT | (turn == TURN_FIRST ? 0 : ahead << AHEAD_SHIFT);
        next |= turn == TURN_CLOSED ? PERMITS_PASSES : 0;
    } while (!compare_exchange(passed, &old, next) && ++tries < 8); /* pairs with nothing: the word is all there is */
}

int permits_take_new(struct permits *permits, uint32_t n) {
    if (load_relaxed(&permits->shared->waiting) && (!permits_free_at_least(permits, n) || !may_pass(permits)))
        return -EAGAIN;
    return permits_take(permits, n);
}

int permits_try(struct permits *permits, uint32_t n) {
    int r = permits_take_new(permits, n);
    int64_t now = r == -EAGAIN ? clock_now() : 0;
    if (r != -EAGAIN || now - load_relaxed(&permits->looked_ns) < LOOK_TRY_NS)
        return r;
    if (line_look(permits, NULL))
        return permits_take_new(permits, n);
    store_relaxed(&permits->looked_ns, now);
    return -EAGAIN;
}

int permits_acquire(struct permits *permits, uint32_t n, int64_t deadline) {
    if (deadline == DEADLINE_PAST)
        return permits_try(permits, n);
    int r = permits_take_new(permits, n);
    return r == -EAGAIN ? line_wait(permits, n, deadline) : r;
}

/* ---- Giving ---- */

void permits_serve(struct permits *permits) {
    if (permits_waiting(permits)) /* [look] */
        line_serve(permits);
}

int permits_release(struct permits *permits, uint32_t n) {
    if (n > 1 && permits_held(permits, permits->slot) < n)
        return -EPERM;
    uint32_t given = give_some(permits, n, 0);
    permits_serve(permits);
    return given == n ? 0 : -EPERM;
}

void permits_give_back(struct permits *permits) {
    give_some(permits, permits->limit, 0);
    permits_serve(permits);
}

static bool is_of(uint32_t word, uint32_t slot) { return !is_free(word) && (slot == PERMITS_EVERY || word == slot); }

/* The slot whose process held all permits; 0: none did. */
static uint32_t holder_of_all(const struct permits *permits) {
    uint32_t holder = load_relaxed(permit_word(permits, 0));
    return !is_free(holder) && permits_held(permits, holder) == permits->limit ? holder : 0;
}

/* torn first: should we die on the way, too, the next to reclaim this slot no longer sees that all were held. */
void permits_reclaim(struct permits *permits, uint32_t slot) {
    struct permits_shared *shared = permits->shared;
    bool held = false;
    if (is_of(holder_of_all(permits), slot))
        store_relaxed(&shared->torn, 1); /* seen by whoever sees the words below */
    for (uint32_t i = 0; i < permits->limit; i++) {
        uint32_t *word = permit_word(permits, i), dead = load_relaxed(word);
        /* [reclaim]; pairs with permit_take and permits_take_quick: who takes it sees what the dead did */
        if (is_of(dead, slot) && compare_exchange(word, &dead, PERMIT_DIED))
            held = true;
    }
    if (held)
        add_relaxed(&shared->deaths, 1);
    line_reclaim(permits, slot);
}
