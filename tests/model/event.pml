/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Raising and waiting for an event over futex: src/sync/event_futex.c. The names in brackets stand at the same steps there.
 *
 * RAISERS processes raise by 1, RAISES times each; WAITERS processes, which share the event by fork, take what is there, each of them
 * TAKES times at most. DEATHS raisers are killed, before any step.
 *
 * Memory: what a process stores in `asleep` is pending until it is committed, while its later loads go on; a fence, a compare-exchange, an
 * exchange or a system call of its own commits it, and so does its death. The kernel looks at the word and queues the sleeper in one step.
 *
 * Time: a sleep ends by itself only after a death, and where waking changes anything: who raises must else wake whoever sleeps.
 *
 * Checked in every interleaving: when nothing moves any more, nobody sleeps while something is there (assert); what was raised is there or
 * was taken, once (assert).
 * MUTATE=1..9 breaks one step each; the check must then fail (model.py). */

#ifndef RAISERS
#define RAISERS 2
#endif
#ifndef RAISES
#define RAISES 2
#endif
#ifndef WAITERS
#define WAITERS 1
#endif
#ifndef TAKES
#define TAKES (RAISERS * RAISES)
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#define NOTHING 0 /* pending for `asleep` */
#define CLEAR 1
#define SET 2

byte count, asleep;             /* committed */
byte pending[RAISERS + WAITERS]; /* for asleep; raisers first */
byte raised, taken;
byte waiting = WAITERS;
bool sleeping[WAITERS]; /* in the kernel's queue */
bool dead[RAISERS];
byte deaths;

inline commit(P) {
    if :: pending[P] != NOTHING -> asleep = pending[P] - 1; pending[P] = NOTHING :: else fi
}

active proctype memory() {
    byte i;
end:
    do
    :: d_step { pending[0] != NOTHING -> commit(0) }
    :: d_step { pending[1] != NOTHING -> commit(1) }
    :: d_step { pending[2] != NOTHING -> commit(2) }
#if RAISERS + WAITERS > 3
    :: d_step { pending[3] != NOTHING -> commit(3) }
#endif
#if RAISERS + WAITERS > 4
    :: d_step { pending[4] != NOTHING -> commit(4) }
#endif
    od
}

/* All that sleep; MUTATE 6: one. */
inline wake_all() {
    k = 0;
    do
    :: k < WAITERS && sleeping[k] ->
        sleeping[k] = false;
#if MUTATE == 6
        break
#else
        k++
#endif
    :: k < WAITERS && !sleeping[k] -> k++
    :: else -> break
    od;
    k = 0
}

inline raise(I) {
#if MUTATE == 2
    seen = asleep;
#endif
#if MUTATE == 8
    own = count;
    d_step { commit(I); count = own + 1; raised++; own = 0 };
#else
    d_step { commit(I); count++; raised++ }; /* [raise], a compare-exchange */
#endif
#if MUTATE != 2
    seen = asleep; /* [look] */
#endif
    if
    :: seen == 1 ->
#if MUTATE == 4
        d_step { commit(I); wake_all() };
        pending[I] = CLEAR
#else
        pending[I] = CLEAR; /* [clear] */
        d_step { commit(I); wake_all() } /* [wake] */
#endif
    :: else
    fi;
    seen = 0
}

proctype raiser(byte I) {
    byte n, seen, own, k;
    {
        do
        :: n < RAISES -> raise(I); n++
        :: else -> break
        od
    } unless { dead[I] }
}

inline take(I) {
#if MUTATE == 7
    found = count;
    d_step { if :: found > 0 -> commit(RAISERS + I); taken = taken + found; count = 0; times++ :: else fi; found = 0 }
#else
    d_step { if :: count > 0 -> commit(RAISERS + I); taken = taken + count; count = 0; times++ :: else fi } /* [take], an exchange */
#endif
}

inline fall_asleep(I) {
    pending[RAISERS + I] = SET; /* [arm] */
#if MUTATE != 1
    d_step { commit(RAISERS + I) }; /* a fence */
#endif
    if
#if MUTATE != 3
    :: count > 0 /* [again] */
    :: count == 0 ->
#else
    :: true ->
#endif
        d_step { /* [sleep] */
            commit(RAISERS + I);
#if MUTATE == 5
            sleeping[I] = true
#else
            if :: asleep == 1 -> sleeping[I] = true :: else fi
#endif
        };
end:
        if
        :: !sleeping[I]
#if MUTATE != 9
        :: sleeping[I] && deaths > 0 && (count > 0 || asleep == 0) -> sleeping[I] = false /* [nap] */
#endif
        fi
    fi
}

proctype waiter(byte I) {
    byte times, before, found;
    do
    :: times == TAKES -> break
    :: times < TAKES ->
        before = times;
        take(I);
        if
        :: times == before -> before = 0; fall_asleep(I)
        :: else -> before = 0
        fi
    od;
    waiting--
}

#if DEATHS
proctype death() {
    byte n;
    do
    :: n < DEATHS ->
        n++;
        if
        :: d_step { !dead[0] -> commit(0); dead[0] = true; deaths++ }
        :: d_step { !dead[1] -> commit(1); dead[1] = true; deaths++ }
        :: true
        fi
    :: else -> break
    od
}
#endif

active proctype watch() {
    timeout;
    assert(waiting == 0 || count == 0);
    assert(raised == taken + count)
}

init {
    byte i;
    atomic {
        do
        :: i < RAISERS -> run raiser(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < WAITERS -> run waiter(i); i++
        :: else -> break
        od;
#if DEATHS
        run death()
#endif
    }
}
