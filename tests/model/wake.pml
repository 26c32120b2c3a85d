/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Sleeping and waking over src/transport/shm/wake.c and src/core/waiting.c. The names in brackets stand at the same steps there.
 *
 * Two ends, each with one thread that sends and one that receives, on both directions of one link with room for ROOM messages.
 * Threads of one end sleep on the same socket, and pass news on by each other's waker. Direction D goes from end D to end 1-D; its
 * sender is thread D, its receiver thread 2+D.
 *
 * Memory: what a thread publishes (messages sent, messages freed) is pending until it is committed, while its later loads go on:
 * the one reordering that all processors do. LIGHT: only the barrier of who falls asleep commits it (membarrier); else
 * the publisher has a fence of its own.
 *
 * Checked in every interleaving: nobody sleeps for ever (no invalid end state), so no wake-up is lost.
 * MUTATE=1..5 breaks one step each; the check must then fail (model.py). */

#ifndef MESSAGES
#define MESSAGES 2 /* in direction 0 */
#endif
#ifndef BACK
#define BACK 1 /* in direction 1 */
#endif
#ifndef ROOM
#define ROOM 1
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#ifndef LIGHT
#define LIGHT 1
#endif
#define BELL_FULL 2 /* a full socket wakes as well */

byte sent[2], freed[2];                /* committed */
byte sent_stored[2], freed_stored[2];  /* what their owners stored; pending while it differs */
byte receiver_asleep[2], sender_asleep[2];
byte rung_receiver[2], rung_sender[2]; /* the word for which the peer was last rung */
byte bell[2];
bool slot[4], waker[4];

#define IS_ODD(WORD) (((WORD) & 1) == 1)

active proctype memory() {
end:
    do
    :: d_step { sent[0] != sent_stored[0] -> sent[0] = sent_stored[0] }
    :: d_step { sent[1] != sent_stored[1] -> sent[1] = sent_stored[1] }
    :: d_step { freed[0] != freed_stored[0] -> freed[0] = freed_stored[0] }
    :: d_step { freed[1] != freed_stored[1] -> freed[1] = freed_stored[1] }
    od
}

/* The thread `me` of end `end_`, beside `other`; word: its asleep word; changed: why not to sleep. */
inline fall_asleep(me, other, end_, word, changed) {
    slot[me] = true; /* [register] */
#if MUTATE == 4
    word = 1;
#else
    word = (word + 1) | 1; /* [arm], with a fence */
#endif
#if LIGHT && MUTATE != 1
    d_step { /* [barrier] */
        sent[1 - (end_)] = sent_stored[1 - (end_)];
        freed[end_] = freed_stored[end_]
    };
#endif
    if
#if MUTATE != 3
    :: changed /* [again] */
#endif
    :: else ->
        if /* [sleep] */
        :: atomic { bell[end_] > 0 -> bell[end_]-- }; /* [drain] */
#if MUTATE != 5
            if :: slot[other] -> waker[other] = true :: else fi /* [kick] */
#endif
        :: waker[me]
        fi;
        waker[me] = false
    fi;
#if MUTATE == 4
    word = 0;
#else
    word++; /* [disarm] */
#endif
    slot[me] = false;
}

inline ring(end_, word, rung) {
    seen = word; /* [look] */
    if
    :: IS_ODD(seen) && seen != rung ->
        rung = seen;
        d_step { if :: bell[end_] < BELL_FULL -> bell[end_]++ :: else fi } /* [ring] */
    :: else
    fi;
    seen = 0
}

proctype sender(byte D; byte messages) {
    byte n, seen;
    do
    :: n == messages -> break
    :: n < messages && n - freed[D] >= ROOM ->
        fall_asleep(D, 3 - D, D, sender_asleep[D], n - freed[D] < ROOM)
    :: n < messages && n - freed[D] < ROOM ->
#if MUTATE == 2
        ring(1 - D, receiver_asleep[D], rung_receiver[D]);
#endif
        n++;
        sent_stored[D] = n; /* [publish] */
#if !LIGHT && MUTATE != 1
        sent[D] == sent_stored[D]; /* [fence] */
#endif
#if MUTATE != 2
        ring(1 - D, receiver_asleep[D], rung_receiver[D])
#endif
    od
}

proctype receiver(byte D; byte messages) {
    byte n, seen;
    do
    :: n == messages -> break
    :: n < messages && sent[D] == n ->
        fall_asleep(2 + D, 1 - D, 1 - D, receiver_asleep[D], sent[D] != n)
    :: n < messages && sent[D] != n ->
        n++;
        freed_stored[D] = n; /* [free] */
#if !LIGHT && MUTATE != 1
        freed[D] == freed_stored[D]; /* [fence] */
#endif
        ring(D, sender_asleep[D], rung_sender[D])
    od
}

init {
    atomic {
        run sender(0, MESSAGES);
        run receiver(0, MESSAGES);
        run sender(1, BACK);
        run receiver(1, BACK)
    }
}
