/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A poll of many channels that stay armed between its calls, over src/core/poll_many.c and src/transport/shm/wake.c. The names in
 * brackets stand at the same steps there.
 *
 * N channels, each with a peer that sends MESSAGES; a reader that polls all, and receives from those it is told of; and another
 * thread of the reader's process, which READS what comes on the socket of the first channel for its own reasons (it sends, and waits for
 * room), and tells the poll by the bell. As in wake.pml what a peer publishes is pending until it is committed; with LIGHT only the
 * reader's barrier, one for all channels that it arms, commits it.
 *
 * Checked in every interleaving: nobody sleeps for ever while there is a message, so no wake-up is lost.
 * MUTATE=1..5 breaks one step each; the check must then fail (model.py). */

#define N 2
#ifndef MESSAGES
#define MESSAGES 1
#endif
#ifndef READS
#define READS 1
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#ifndef LIGHT
#define LIGHT 1
#endif
#define SOCKET_FULL 2 /* a full socket wakes as well */

byte sent[N], sent_stored[N], taken[N];
byte asleep[N];  /* the words */
byte rung[N];    /* for which the peer last rang */
byte socket[N];  /* doorbells not yet read */
byte news[N];
bool armed[N], slot[N];
byte seen_news[N];
bool bell;       /* the poller's */

#define IS_ODD(WORD) (((WORD) & 1) == 1)
#define READY(C) (sent[C] != taken[C])

active proctype memory() {
end:
    do
    :: d_step { sent[0] != sent_stored[0] -> sent[0] = sent_stored[0] }
    :: d_step { sent[1] != sent_stored[1] -> sent[1] = sent_stored[1] }
    od
}

proctype peer(byte C) {
    byte n, seen;
    do
    :: n == MESSAGES -> break
    :: n < MESSAGES ->
        n++;
        sent_stored[C] = n; /* [publish] */
#if !LIGHT
        sent[C] == sent_stored[C]; /* [fence] */
#endif
        seen = asleep[C]; /* [look] */
        if
        :: IS_ODD(seen) && seen != rung[C] ->
            rung[C] = seen;
            d_step { if :: socket[C] < SOCKET_FULL -> socket[C]++ :: else fi } /* [ring] */
        :: else
        fi;
        seen = 0
    od
}

/* Another thread of the reader's process: it takes a doorbell off the socket that was for the poll. */
proctype other() {
    byte n;
    do
    :: n == READS -> break
    :: n < READS ->
        n++;
        if
        :: atomic { socket[0] > 0 -> socket[0]-- };
            news[0]++;
#if MUTATE != 4
            if :: slot[0] -> bell = true :: else fi /* [kick] */
#endif
        :: skip
        fi
    od
}

inline disarm(C) {
    slot[C] = false;
    asleep[C]++; /* [disarm] */
    armed[C] = false
}

#define HEARD (socket[0] > 0 || socket[1] > 0 || bell)

proctype reader() {
    byte c, left = N * MESSAGES;
    bool any, again;
    do
    :: left == 0 -> break
    :: left > 0 ->
        /* [stale] */
        any = false;
        c = 0;
        do
        :: c == N -> break
        :: c < N ->
            if
            :: !armed[c] && READY(c) -> any = true
            :: else
            fi;
            c++
        od;
        if
        :: any -> skip
        :: else ->
            /* [register], [arm] */
            again = false;
            c = 0;
            do
            :: c == N -> break
            :: c < N ->
                if
                :: !armed[c] ->
                    slot[c] = true;
                    seen_news[c] = news[c];
                    asleep[c] = (asleep[c] + 1) | 1
                :: else
                fi;
                c++
            od;
#if LIGHT && MUTATE != 1
            c = 0;
            d_step { sent[0] = sent_stored[0]; sent[1] = sent_stored[1] }; /* [barrier] */
#endif
            c = 0;
            do
            :: c == N -> break
            :: c < N ->
                if
                :: !armed[c] ->
                    armed[c] = true;
                    if
#if MUTATE != 2
                    :: READY(c) || news[c] != seen_news[c] -> disarm(c); again = true /* [again] */
#endif
                    :: else
                    fi
                :: else
                fi;
                c++
            od;
            if
            :: again
            :: else -> HEARD /* [sleep] */
            fi;
            /* what the wait found */
            c = 0;
            do
            :: c == N -> break
            :: c < N ->
                if
                :: atomic { socket[c] > 0 -> socket[c]-- }; /* [drain] */
#if MUTATE != 3
                    if :: armed[c] -> disarm(c) :: else fi
#endif
                :: else
                fi;
                c++
            od;
            if
            :: bell ->
                bell = false;
#if MUTATE == 5
                skip
#else
                c = 0; /* [scan] */
                do
                :: c == N -> break
                :: c < N ->
                    if
                    :: armed[c] && news[c] != seen_news[c] -> disarm(c)
                    :: else
                    fi;
                    c++
                od
#endif
            :: else
            fi
        fi;
        /* the program receives what it was told of, one message of each, or does not yet */
        c = 0;
        do
        :: c == N -> break
        :: c < N ->
            if
            :: !armed[c] && READY(c) -> taken[c]++; left--
            :: armed[c] && READY(c) -> disarm(c); taken[c]++; left-- /* it was not told of this one, and looks all the same */
            :: true
            fi;
            c++
        od
    od
}

init {
    atomic {
        run peer(0);
        run peer(1);
        run other();
        run reader()
    }
}
