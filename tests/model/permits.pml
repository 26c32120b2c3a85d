/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Waiting for permits: src/sync/permits.c, permits.h and line.c. The names in brackets stand at the same steps there.
 *
 * USERS processes acquire and release one of LIMIT permits, ROUNDS times each. Newcomers may pass who is in line PASSES times; then
 * again when one is served, but before the first in line is, only AHEAD times. GIVES_UP times one in line has waited for long enough, and
 * leaves it with nothing. DEATHS of them are killed, before any step. Each process's slot is its number plus one; a place in line is its
 * own.
 *
 * Memory: what a process stores (its ticket, its bell, `waiting`) is pending until it is committed, in any order, while its later loads
 * go on; a fence or a compare-exchange of its own commits it, and so does its death. A walk along the line is one step, and so is one over
 * the permits.
 *
 * Time: a sleeper that nobody rings wakes up when somebody has died, and it would find that out by looking, or find its turn come or the
 * line not announced; otherwise its waking would change nothing.
 *
 * Checked in every interleaving: nobody sleeps for ever (no invalid end state), a permit has one holder, which is the one who took it
 * (assert), nobody who is first in line is passed without end (assert), and at the end all permits are free (assert).
 * MUTATE=1..13 breaks one step each; the check must then fail (model.py). */

#ifndef USERS
#define USERS 3
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef PASSES
#define PASSES 1
#endif
#ifndef AHEAD
#define AHEAD 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef GIVES_UP
#define GIVES_UP 0
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#define FREE 0
#define DIED 99
#define AWAKE 0
#define ASLEEP 1
#define RUNG 2
#define NOTHING 0 /* pending for `waiting` */
#define CLEAR 1
#define SET 2
#define LOOK_FIRST 2

byte word[LIMIT];
byte tickets, passed, ahead;
byte ticket[USERS], ticket_stored[USERS], bell[USERS], bell_stored[USERS];
byte waiting, waiting_stored[USERS];
bool dead[USERS];
#if MUTATE == 8 || MUTATE == 9
bool buried[USERS]; /* but not wholly */
#endif
byte deaths, finished, gives_up = GIVES_UP;
byte was_passed; /* since the first in line was served: whoever is that now */

#define PENDING(I) (ticket[I] != ticket_stored[I] || bell_stored[I] == ASLEEP || waiting_stored[I] != NOTHING)

inline commit(I) {
    ticket[I] = ticket_stored[I];
    if :: bell_stored[I] == ASLEEP -> bell[I] = ASLEEP; bell_stored[I] = AWAKE :: else fi;
    if :: waiting_stored[I] != NOTHING -> waiting = waiting_stored[I] - 1; waiting_stored[I] = NOTHING :: else fi
}

active proctype memory() {
    byte i;
end:
    do
    :: d_step { ticket[0] != ticket_stored[0] -> ticket[0] = ticket_stored[0] }
    :: d_step { ticket[1] != ticket_stored[1] -> ticket[1] = ticket_stored[1] }
    :: d_step { bell_stored[0] == ASLEEP -> bell[0] = ASLEEP; bell_stored[0] = AWAKE }
    :: d_step { bell_stored[1] == ASLEEP -> bell[1] = ASLEEP; bell_stored[1] = AWAKE }
    :: d_step { waiting_stored[0] != NOTHING -> waiting = waiting_stored[0] - 1; waiting_stored[0] = NOTHING }
    :: d_step { waiting_stored[1] != NOTHING -> waiting = waiting_stored[1] - 1; waiting_stored[1] = NOTHING }
#if USERS > 2
    :: d_step { ticket[2] != ticket_stored[2] -> ticket[2] = ticket_stored[2] }
    :: d_step { bell_stored[2] == ASLEEP -> bell[2] = ASLEEP; bell_stored[2] = AWAKE }
    :: d_step { waiting_stored[2] != NOTHING -> waiting = waiting_stored[2] - 1; waiting_stored[2] = NOTHING }
#endif
#if USERS > 3
    :: d_step { ticket[3] != ticket_stored[3] -> ticket[3] = ticket_stored[3] }
    :: d_step { bell_stored[3] == ASLEEP -> bell[3] = ASLEEP; bell_stored[3] = AWAKE }
    :: d_step { waiting_stored[3] != NOTHING -> waiting = waiting_stored[3] - 1; waiting_stored[3] = NOTHING }
#endif
    od
}

#define IS_FREE(W) (word[W] == FREE || word[W] == DIED)
#if LIMIT == 1
#define FREE_NOW (IS_FREE(0))
#else
#define FREE_NOW (IS_FREE(0) + IS_FREE(1))
#endif
#if USERS == 2
#define ANY_IN_LINE (ticket[0] + ticket[1] > 0)
#define BEFORE(T) ((ticket[0] > 0 && ticket[0] < (T)) + (ticket[1] > 0 && ticket[1] < (T)))
#elif USERS == 3
#define ANY_IN_LINE (ticket[0] + ticket[1] + ticket[2] > 0)
#define BEFORE(T) ((ticket[0] > 0 && ticket[0] < (T)) + (ticket[1] > 0 && ticket[1] < (T)) + (ticket[2] > 0 && ticket[2] < (T)))
#else
#define ANY_IN_LINE (ticket[0] + ticket[1] + ticket[2] + ticket[3] > 0)
#define BEFORE(T) ((ticket[0] > 0 && ticket[0] < (T)) + (ticket[1] > 0 && ticket[1] < (T)) + (ticket[2] > 0 && ticket[2] < (T)) + \
                   (ticket[3] > 0 && ticket[3] < (T)))
#endif
/* As its own process sees it: its own stores at once. */
#define RANK(I) (BEFORE(ticket_stored[I]))

/* Takes a free permit if there is one; `at` says which, LIMIT: none. */
inline take(I) {
    atomic {
        commit(I);
        if
        :: IS_FREE(0) -> word[0] = I + 1; at = 0
#if LIMIT > 1
        :: !IS_FREE(0) && IS_FREE(1) -> word[1] = I + 1; at = 1
#endif
        :: else -> at = LIMIT
        fi
    }
}

/* Rings those whose turn has come. */
inline serve(I) {
    after = 0;
    need = 0;
    do
    :: d_step { /* the next in line */
            next = USERS;
            k = 0;
            do
            :: k < USERS ->
                if
                :: ticket[k] > after && (next == USERS || ticket[k] < ticket[next]) -> next = k
                :: else
                fi;
                k++
            :: else -> break
            od;
            k = 0;
            if :: next < USERS -> after = ticket[next]; need++ :: else fi
        };
        if
        :: next == USERS || FREE_NOW < need -> break
        :: else -> d_step { if :: bell[next] == ASLEEP -> bell[next] = RUNG :: else fi } /* [ring] */
        fi
    od;
    atomic { after = 0; need = 0; next = 0 }
}

/* Others may go, or nobody is in line any more. */
inline left(I) {
    d_step { commit(I) }; /* a fence */
    do
    :: !ANY_IN_LINE -> /* [anew] */
        waiting_stored[I] = CLEAR;
        d_step { commit(I) }; /* [quiet], a fence */
#if MUTATE == 5
        break
#else
        if
        :: ANY_IN_LINE ->
            waiting_stored[I] = SET;
            d_step { commit(I) } /* a fence */
        :: else -> break
        fi
#if MUTATE == 12
        ; break
#endif
#endif
    :: else -> break
    od;
#if MUTATE == 4
    skip
#else
    if
#if MUTATE == 6
    :: false
#else
    :: waiting == 1 -> serve(I)
#endif
    :: else
    fi
#endif
}

/* Slot J + 1 is dead: what it had is given back. */
inline bury(I, J) { /* [bury] */
#if MUTATE == 8 || MUTATE == 9
    buried[J] = true;
#endif
#if MUTATE == 8
    skip;
#else
    d_step { if :: word[0] == J + 1 -> word[0] = DIED :: else fi }; /* [reclaim] */
#if LIMIT > 1
    d_step { if :: word[1] == J + 1 -> word[1] = DIED :: else fi };
#endif
#endif
#if MUTATE != 9
    d_step { ticket[J] = 0; ticket_stored[J] = 0 };
#endif
    if :: waiting == 1 -> left(I) :: else fi
}

#if LIMIT == 1
#define HOLDS(J) (word[0] == J + 1)
#else
#define HOLDS(J) (word[0] == J + 1 || word[1] == J + 1)
#endif
#if MUTATE == 10
#define IN_FIRST(J) false
#else
#define IN_FIRST(J) (ticket[J] > 0 && BEFORE(ticket[J]) < LOOK_FIRST)
#endif
/* Is J dead, and would I see it by looking? */
#if MUTATE == 7
#define FINDS(I, J) false
#elif MUTATE == 8 || MUTATE == 9
#define FINDS(I, J) (dead[J] && !buried[J] && (IN_FIRST(J) || (RANK(I) < LOOK_FIRST && HOLDS(J))))
#else
#define FINDS(I, J) (dead[J] && (IN_FIRST(J) || (RANK(I) < LOOK_FIRST && HOLDS(J))))
#endif
#if USERS == 2
#define FINDS_ANY(I) (FINDS(I, 0) || FINDS(I, 1))
#elif USERS == 3
#define FINDS_ANY(I) (FINDS(I, 0) || FINDS(I, 1) || FINDS(I, 2))
#else
#define FINDS_ANY(I) (FINDS(I, 0) || FINDS(I, 1) || FINDS(I, 2) || FINDS(I, 3))
#endif
#define MY_TURN(I) (FREE_NOW > RANK(I))

inline look(I) {
    do
    :: FINDS(I, 0) -> bury(I, 0)
    :: FINDS(I, 1) -> bury(I, 1)
#if USERS > 2
    :: FINDS(I, 2) -> bury(I, 2)
#endif
#if USERS > 3
    :: FINDS(I, 3) -> bury(I, 3)
#endif
    :: !FINDS_ANY(I) -> break
    od
}

inline try_turn(I) {
    rank = RANK(I);
    if
    :: FREE_NOW > rank -> take(I)
    :: else -> at = LIMIT
    fi;
    rank = 0
}

inline wait_asleep(I) {
    do
    :: true ->
        bell_stored[I] = ASLEEP; /* [arm] */
#if MUTATE != 1
        d_step { commit(I) }; /* a fence */
#endif
        if
        :: waiting == 0 ->
            waiting_stored[I] = SET; /* [announce] */
#if MUTATE != 1
            d_step { commit(I) } /* a fence */
#endif
        :: else
        fi;
#if MUTATE == 3
        at = LIMIT;
#else
        try_turn(I); /* [again] */
#endif
        if
        :: at < LIMIT -> break
#if GIVES_UP
        :: atomic { at == LIMIT && gives_up > 0 -> gives_up--; break }
#endif
        :: at == LIMIT
        fi;
        rung = 0;
        if /* [sleep] */
        :: bell[I] != ASLEEP && bell_stored[I] != ASLEEP -> rung = bell[I] == RUNG
        :: deaths > 0 && (FINDS_ANY(I) || MY_TURN(I) || waiting == 0) -> look(I)
        fi;
        try_turn(I);
        if
        :: at < LIMIT -> break
        :: at == LIMIT && rung && RANK(I) == 0 -> passed = PASSES; rung = 0 /* [insist] */
        :: else -> rung = 0
        fi
    od
}

inline line_up(I) {
    d_step { commit(I); tickets++; own = tickets }; /* a compare-exchange takes the place */
    d_step { ticket_stored[I] = own; own = 0 }; /* [enter] */
    wait_asleep(I);
    atomic {
        if
        :: at == LIMIT
        :: at < LIMIT && RANK(I) == 0 -> passed = 0; ahead = 0; was_passed = 0
#if MUTATE == 13
        :: at < LIMIT && RANK(I) > 0 -> passed = 0
#else
        :: at < LIMIT && RANK(I) > 0 && ahead < AHEAD -> passed = 0; ahead++
#endif
        :: else
        fi
    };
    ticket_stored[I] = 0; /* [leave] */
    left(I)
}

inline acquire(I) {
    if
    :: waiting == 0 -> take(I)
    :: waiting == 1 && FREE_NOW > 0 ->
        atomic {
            if
#if MUTATE == 11
            :: true -> was_passed++
#else
            :: passed < PASSES -> passed++; was_passed++
#endif
            :: else -> at = LIMIT
            fi
        };
        assert(was_passed <= PASSES * (1 + AHEAD));
        if :: at == LIMIT :: else -> take(I) fi
    :: waiting == 1 && FREE_NOW == 0 -> at = LIMIT
    fi;
    if :: at == LIMIT -> line_up(I) :: else fi
}

inline release(I) {
#if MUTATE == 2
    own = waiting;
#endif
    atomic {
        assert(word[at] == I + 1);
        commit(I);
        word[at] = FREE; /* [free] */
        at = 0
    };
    if
#if MUTATE == 2
    :: own == 1 -> serve(I)
#else
    :: waiting == 1 -> serve(I) /* [look] */
#endif
    :: else
    fi;
    own = 0
}

proctype user(byte I) {
    byte n, at, after, need, next, k, rank, own;
    bool rung;
    {
        do
        :: n < ROUNDS ->
            acquire(I);
            if
            :: at < LIMIT ->
                assert(word[at] == I + 1);
                release(I)
            :: else -> at = 0
            fi;
            n++
        :: else -> break
        od;
        atomic { commit(I); finished++ }
    } unless { dead[I] }
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
#if USERS > 2
        :: d_step { !dead[2] -> commit(2); dead[2] = true; deaths++ }
#endif
        :: true
        fi
    :: else -> break
    od
}
#endif

init {
    byte i;
    atomic {
        i = 0;
        do
        :: i < USERS -> run user(i); i++
        :: else -> break
        od;
#if DEATHS
        run death()
#endif
    };
#if DEATHS == 0
    finished == USERS;
    assert(FREE_NOW == LIMIT && !ANY_IN_LINE && waiting == 0)
#endif
}
