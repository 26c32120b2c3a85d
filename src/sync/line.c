/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Waiting for permits: a spin, then a place in line and sleep. The names in brackets stand at the same steps of tests/model/permits.pml.
 *
 * A wake-up cannot get lost between two who live: one in line writes that it is asleep [arm] and looks once more [again] before it
 * sleeps; who frees writes that first [free] and then looks who waits [look]; a fence on both sides, so one of them sees the other.
 * Whoever leaves the line frees a place in the same sense: it looks who is next. Between the living and the dead nothing is certain but
 * time: a sleeper wakes after LOOK_NS, announces itself anew, and looks who has died. Of a crowd only the first two do so; the others wake
 * after LOOK_LATE_NS, and sleep on if somebody has looked meanwhile. A death is noticed within twice that. */

#include "sync/line.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>

#define LOOK_NS INT64_C(25000000)
#define LOOK_LATE_NS INT64_C(40000000)
#define LOOK_FIRST 2u          /* so many in line look every LOOK_NS, and are looked at by all who look */
#define NAP_CROWDED_NS 2000000 /* without a place in line */

#define SPIN_NS 50000
#define SPIN_PAUSES_FIRST 8u
#define SPIN_PAUSES_MOST 64u
#define FAVOUR_MOST 8
#define PROBE_WAITS 32u
#define PLACE_WAITS 1024u

/* ---- The line ---- */

static uint32_t used(const struct permits *permits) {
    uint32_t n = load_relaxed(&permits->shared->used);
    return n < PERMITS_WAITERS ? n : PERMITS_WAITERS;
}

/* The next in line after this ticket, or NULL. Tickets only rise, so a walk along the line ends. */
static struct permits_waiter *next_in_line(const struct permits *permits, uint64_t after, uint64_t *ret_ticket) {
    struct permits_waiter *found = NULL, *end = permits->shared->waiters + used(permits);
    uint64_t first = UINT64_MAX;
    for (struct permits_waiter *waiter = permits->shared->waiters; waiter < end; waiter++) {
        uint64_t ticket = load_relaxed(&waiter->ticket);
        if (ticket > after && ticket < first) {
            first = ticket;
            found = waiter;
        }
    }
    *ret_ticket = first;
    return found;
}

uint32_t permits_in_line(const struct permits *permits) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < used(permits); i++)
        n += load_relaxed(&permits->shared->waiters[i].ticket) != 0;
    return n;
}

/* How many stand before this waiter, and what they and it want. */
static uint32_t before(const struct permits *permits, const struct permits_waiter *self, uint64_t *ret_wanted) {
    uint64_t own = load_relaxed(&self->ticket), wanted = load_relaxed(&self->wanted);
    uint32_t n = 0;
    for (uint32_t i = 0; i < used(permits); i++) {
        const struct permits_waiter *waiter = &permits->shared->waiters[i];
        uint64_t ticket = load_relaxed(&waiter->ticket);
        if (ticket == 0 || ticket >= own)
            continue;
        n++;
        wanted += load_relaxed(&waiter->wanted);
    }
    *ret_wanted = wanted;
    return n;
}

static void ring(struct permits_waiter *waiter) {
    uint32_t asleep = BELL_ASLEEP;
    /* [ring]; pairs with nothing: what it is rung for is ordered by the fence before the look */
    if (load_relaxed(&waiter->bell) == BELL_ASLEEP && compare_exchange(&waiter->bell, &asleep, BELL_RUNG))
        sys_futex(&waiter->bell, FUTEX_WAKE, INT_MAX, NULL, 0);
}

void line_serve(struct permits *permits) {
    uint64_t ticket = 0, wanted = 0;
    for (uint32_t i = 0; i < PERMITS_WAITERS; i++) {
        struct permits_waiter *waiter = next_in_line(permits, ticket, &ticket);
        if (!waiter)
            return;
        wanted += load_relaxed(&waiter->wanted);
        if (!permits_free_at_least(permits, wanted))
            return;
        ring(waiter);
    }
}

/* Nobody is in line, it seems: says so. False: somebody came meanwhile, and it is taken back. */
static bool unannounce(struct permits *permits) {
    uint64_t ticket;
    store_relaxed(&permits->shared->waiting, 0);
    fence_seq_cst(); /* [quiet]; pairs with arm: who comes sees the 0, or is seen */
    if (!next_in_line(permits, 0, &ticket))
        return true;
    store_relaxed(&permits->shared->waiting, 1);
    fence_seq_cst(); /* pairs with permit_give: who frees sees the 1, or we see what was freed while it was 0 */
    return false;
}

/* Others may go now, as one has left. Who came while we said that nobody is there may be gone before that was taken back: then nobody
 * else would say so again. */
static void left(struct permits *permits) {
    uint64_t ticket;
    fence_seq_cst(); /* pairs with arm: it sees that we left, or we see it */
    for (uint32_t i = 0; i < PERMITS_WAITERS && !next_in_line(permits, 0, &ticket); i++) /* [anew] */
        if (unannounce(permits))
            return;
    if (load_relaxed(&permits->shared->waiting))
        line_serve(permits);
}

static void leave(struct permits *permits, struct permits_waiter *self, bool served) {
    uint64_t wanted;
    if (served)
        permits_next_turn(permits, before(permits, self, &wanted) == 0 ? TURN_FIRST : TURN_AHEAD);
    store_relaxed(&self->ticket, 0); /* [leave] */
    store_release(&self->owner, 0);  /* pairs with enter: whoever has it next finds no ticket */
    left(permits);
}

void line_reclaim(struct permits *permits, uint32_t slot) {
    for (uint32_t i = 0; i < used(permits); i++) {
        struct permits_waiter *waiter = &permits->shared->waiters[i];
        uint32_t owner = load_relaxed(&waiter->owner);
        if (owner == 0 || (owner != slot && slot != PERMITS_EVERY))
            continue;
        store_relaxed(&waiter->ticket, 0);
        store_release(&waiter->owner, 0); /* pairs with enter */
    }
    if (load_relaxed(&permits->shared->waiting))
        left(permits);
}

/* ---- Looking for the dead ---- */

static bool bury(struct permits *permits, uint32_t slot) {
    bool other = slot != permits->slot && slot != 0 && slot <= PERMITS_SLOT_MOST;
    return other && permits->owners->bury(permits->context, slot); /* [bury] */
}

/* The slots already looked at. */
struct seen {
    uint64_t words[(PERMITS_SLOT_MOST + 1) / 64];
};

static bool bury_once(struct permits *permits, uint32_t slot, struct seen *seen) {
    if (slot > PERMITS_SLOT_MOST || seen->words[slot / 64] >> slot % 64 & 1)
        return false;
    seen->words[slot / 64] |= UINT64_C(1) << slot % 64;
    return bury(permits, slot);
}

/* All who hold permits, and whoever has a place in line but is not in it: it may have died there. */
static bool look_at_all(struct permits *permits) {
    struct seen seen = { 0 };
    bool found = false;
    for (uint32_t i = 0; i < permits->limit; i++)
        found = bury_once(permits, load_relaxed(permit_word(permits, i)), &seen) || found;
    for (uint32_t i = 0; i < used(permits); i++) {
        const struct permits_waiter *waiter = &permits->shared->waiters[i];
        if (load_relaxed(&waiter->ticket) == 0)
            found = bury_once(permits, load_relaxed(&waiter->owner), &seen) || found;
    }
    return found;
}

/* Who died after it had left the line, but before it said that nobody is in it, left newcomers to pass nobody. */
static bool quieten(struct permits *permits) {
    uint64_t ticket;
    if (!permits_waiting(permits) || next_in_line(permits, 0, &ticket))
        return false;
    left(permits);
    return true;
}

/* Whoever looks looks at all: one behind the first two does so where they do not, be they dead or stopped. */
bool line_look(struct permits *permits, const struct permits_waiter *self) {
    bool any = false, found = true;
    if (self)
        add_relaxed(&permits->shared->looks, 1);
    for (uint32_t tries = 0; found && tries < PERMITS_WAITERS; tries++) { /* who comes first after a dead one may be dead, too */
        uint64_t ticket = 0;
        found = false;
        for (uint32_t i = 0; i < LOOK_FIRST && !found; i++) {
            const struct permits_waiter *waiter = next_in_line(permits, ticket, &ticket);
            found = waiter && waiter != self && bury(permits, load_relaxed(&waiter->owner));
        }
        any = any || found;
    }
    any = look_at_all(permits) || any;
    return quieten(permits) || any;
}

bool permits_look(struct permits *permits) { return line_look(permits, NULL); }

/* ---- Spinning ---- */

static void favour_add(struct permits *permits, int32_t n) {
    int32_t favour = load_relaxed(&permits->favour) + n;
    store_relaxed(&permits->favour, favour > FAVOUR_MOST ? FAVOUR_MOST : favour < -FAVOUR_MOST ? -FAVOUR_MOST : favour);
}

/* Can a holder run while this thread does? Asked rarely. */
static void place(struct permits *permits) {
    uint32_t until = load_relaxed(&permits->until_placed);
    store_relaxed(&permits->until_placed, until - 1);
    if (until != 0)
        return;
    store_relaxed(&permits->until_placed, PLACE_WAITS);
    uint32_t holder = load_relaxed(permit_word(permits, 0));
    bool other = holder != permits->slot && holder != 0 && holder <= PERMITS_SLOT_MOST;
    store_relaxed(&permits->apart, permits->owners->apart(permits->context, other ? holder : permits->slot));
}

static bool may_spin(const struct permits *permits) {
    return permits->mode != HAWSER_WAIT_BLOCK && load_relaxed(&permits->apart) != 0 &&
           (permits->mode == HAWSER_WAIT_SPIN || load_relaxed(&permits->favour) >= 0);
}

static bool wants_spin(struct permits *permits) {
    if (permits->mode == HAWSER_WAIT_BLOCK)
        return false;
    place(permits);
    if (load_relaxed(&permits->apart) == 0 || may_spin(permits))
        return load_relaxed(&permits->apart) != 0;
    uint32_t waits = load_relaxed(&permits->waits) + 1;
    store_relaxed(&permits->waits, waits);
    return waits % PROBE_WAITS == 0;
}

static void pauses(uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        cpu_pause();
}

/* Looks at the words rarely, and more and more so: each look slows down who has the permit, and who waits long loses little. */
static int spin(struct permits *permits, uint32_t n, int64_t deadline) {
    int64_t until = deadline_earlier(deadline, clock_now() + SPIN_NS);
    for (uint32_t count = SPIN_PAUSES_FIRST;; count = count < SPIN_PAUSES_MOST ? count * 2 : count) {
        pauses(count);
        int r = permits_free_at_least(permits, n) ? permits_take_new(permits, n) : -EAGAIN;
        if (r != -EAGAIN)
            return r;
        if (clock_now() >= until)
            return -EAGAIN;
    }
}

/* ---- Waiting ---- */

/* A place in line, or NULL: all are taken. */
static struct permits_waiter *enter(struct permits *permits, uint32_t n) {
    struct permits_shared *shared = permits->shared;
    for (uint32_t i = 0; i < PERMITS_WAITERS; i++) {
        struct permits_waiter *self = &shared->waiters[i];
        uint32_t nobody = 0, most = load_relaxed(&shared->used);
        if (load_relaxed(&self->owner) != 0)
            continue;
        while (most <= i && !compare_exchange(&shared->used, &most, i + 1)) { /* pairs with nothing: the later fence orders it */
        }
        if (!compare_exchange(&self->owner, &nobody, permits->slot)) /* pairs with leave and line_reclaim */
            continue;
        store_relaxed(&self->wanted, n);
        store_relaxed(&self->bell, BELL_AWAKE);
        store_release(&self->ticket, add_seq_cst(&shared->tickets, 1) + 1); /* [enter]; pairs with nothing: only orders wanted before */
        return self;
    }
    return NULL;
}

static int try_turn(struct permits *permits, const struct permits_waiter *self, uint32_t n) {
    uint64_t wanted;
    before(permits, self, &wanted);
    return permits_free_at_least(permits, wanted) ? permits_take(permits, n) : -EAGAIN;
}

/* Somebody is in line: also said again, as who said that nobody is may have died before it looked whether that is true. */
static void announce(struct permits *permits) {
    if (load_relaxed(&permits->shared->waiting) != 0)
        return;
    store_relaxed(&permits->shared->waiting, 1); /* [announce] */
    fence_seq_cst(); /* pairs with permit_give and permits_waiting: who frees sees the 1, or we see what was freed */
}

/* From here on we are rung. */
static int arm(struct permits *permits, struct permits_waiter *self, uint32_t n) {
    store_relaxed(&self->bell, BELL_ASLEEP); /* [arm] */
    fence_seq_cst(); /* pairs with permit_give, left and unannounce: we see what was freed, or who freed it sees us */
    announce(permits);
    return try_turn(permits, self, n); /* [again] */
}

/* As futex(2) has it, but that a signal does not end it: who gets one every 20 ms would never come to look. */
static long sleep_on(struct permits_waiter *self, int64_t most_ns, int64_t deadline) {
    int64_t until = deadline_earlier(deadline, clock_now() + most_ns);
    long r;
    do {
        int64_t now = clock_now(), left_ns = until > now ? until - now : 0;
        struct timespec timeout = { .tv_sec = (time_t)(left_ns / 1000000000), .tv_nsec = (long)(left_ns % 1000000000) };
        r = sys_futex(&self->bell, FUTEX_WAIT, BELL_ASLEEP, &timeout, 0); /* [sleep] */
    } while (r == -EINTR);
    return r;
}

/* True: nobody rang until it was time to look. */
static bool sleep_in_line(struct permits *permits, struct permits_waiter *self, int64_t deadline) {
    uint32_t *looks = &permits->shared->looks, seen;
    uint64_t wanted;
    long r;
    if (before(permits, self, &wanted) < LOOK_FIRST)
        return sleep_on(self, LOOK_NS, deadline) == -ETIMEDOUT;
    do {
        seen = load_relaxed(looks);
        r = sleep_on(self, LOOK_LATE_NS, deadline);
    } while (r == -ETIMEDOUT && load_relaxed(looks) != seen && !deadline_passed(deadline));
    return r == -ETIMEDOUT;
}

/* Woken for a permit and passed all the same: nobody else passes the first in line, which now stays awake for as long as a spin. */
static int insist(struct permits *permits, struct permits_waiter *self, uint32_t n, int64_t deadline) {
    uint64_t wanted;
    if (before(permits, self, &wanted) > 0)
        return -EAGAIN;
    permits_next_turn(permits, TURN_CLOSED); /* [insist] */
    if (!may_spin(permits))
        return -EAGAIN;
    int64_t until = deadline_earlier(deadline, clock_now() + SPIN_NS);
    int r;
    while ((r = try_turn(permits, self, n)) == -EAGAIN && clock_now() < until)
        pauses(SPIN_PAUSES_FIRST);
    return r;
}

/* Who wants several waits for others to be done, not to be woken up: nothing is idle for want of somebody who passes, and each who
 * does makes the wait longer by all the time that it holds a permit. */
static void stop_passing(struct permits *permits, const struct permits_waiter *self, uint32_t n) {
    uint64_t wanted;
    if (n > 1 && before(permits, self, &wanted) == 0)
        permits_next_turn(permits, TURN_CLOSED);
}

/* One in line that sleeps until its turn comes. */
static int wait_asleep(struct permits *permits, struct permits_waiter *self, uint32_t n, int64_t deadline) {
    int r;
    while ((r = arm(permits, self, n)) == -EAGAIN) {
        if (deadline_passed(deadline))
            return -ETIMEDOUT;
        stop_passing(permits, self, n);
        bool rung = !sleep_in_line(permits, self, deadline);
        if (!rung)
            line_look(permits, self);
        r = try_turn(permits, self, n); /* while the bell is not armed nobody rings it for nothing */
        if (r == -EAGAIN && rung && load_relaxed(&self->bell) == BELL_RUNG)
            r = insist(permits, self, n, deadline);
        if (r != -EAGAIN)
            return r;
    }
    return r;
}

/* One in line that does not sleep: nobody rings for it. */
static int wait_awake(struct permits *permits, struct permits_waiter *self, uint32_t n, int64_t deadline) {
    int r = arm(permits, self, n);
    int64_t look = clock_now() + LOOK_NS;
    for (store_relaxed(&self->bell, BELL_AWAKE); r == -EAGAIN; r = try_turn(permits, self, n)) {
        int64_t now = clock_now();
        if (now >= deadline)
            return -ETIMEDOUT;
        if (now >= look) {
            stop_passing(permits, self, n);
            line_look(permits, self);
            announce(permits);
            look = now + LOOK_NS;
        }
        pauses(SPIN_PAUSES_FIRST);
    }
    return r;
}

static int line_up(struct permits *permits, uint32_t n, int64_t deadline) {
    struct permits_waiter *self = enter(permits, n);
    if (!self)
        return -ENOBUFS;
    bool awake = permits->mode == HAWSER_WAIT_SPIN && load_relaxed(&permits->apart) != 0;
    int r = awake ? wait_awake(permits, self, n, deadline) : wait_asleep(permits, self, n, deadline);
    leave(permits, self, r >= 0);
    return r;
}

/* So many wait that there is no place in line. */
static int nap(struct permits *permits, uint32_t n, int64_t deadline) {
    const struct timespec brief = { .tv_nsec = NAP_CROWDED_NS };
    if (deadline_passed(deadline))
        return -ETIMEDOUT;
    uint32_t never = 0;
    sys_futex(&never, FUTEX_WAIT | FUTEX_PRIVATE, 0, &brief, 0);
    return permits_try(permits, n);
}

int line_wait(struct permits *permits, uint32_t n, int64_t deadline) {
    bool spins = wants_spin(permits);
    int64_t began = clock_now();
    int r = spins ? spin(permits, n, deadline) : -EAGAIN;
    if (r != -EAGAIN) {
        favour_add(permits, load_relaxed(&permits->favour) < 0 ? FAVOUR_MOST / 2 : 1);
        return r;
    }
    while (r == -EAGAIN) {
        r = line_up(permits, n, deadline);
        if (r == -ENOBUFS)
            r = nap(permits, n, deadline);
    }
    if (permits->mode == HAWSER_WAIT_ADAPTIVE)
        favour_add(permits, spins ? -2 : clock_now() - began < SPIN_NS ? 1 : -1);
    return r;
}
