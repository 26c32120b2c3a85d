/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Sleeping and waking over src/transport/shm/wake.c and src/core/waiting.c. The names in brackets stand at the same steps there.
 *
 * Two ends, each with one thread that sends and one that receives, on both directions of one link with room for ROOM messages.
 * Threads of one end sleep on the same socket, and pass news on by each other's waker. Direction D goes from end D to end 1-D; its
 * sender is thread D, its receiver thread 2+D. ONE_WAY: only direction 0. A sender that has sent all may wait until all was taken
 * (ASK). With ENDS it then shuts down; a receiver knows no number: it ends when it finds nothing, and that its peer will send no
 * more; that of direction 0 takes TAKES messages at most; and an end whose threads are done closes. With DIE end 1 may be killed
 * before any step.
 *
 * Memory: what a thread publishes (messages sent, messages freed, its end's state) is pending until it is committed, while its
 * later loads go on: the one reordering that all processors do. LIGHT: only the barrier of who falls asleep commits it
 * (membarrier); else the publisher has a fence of its own. The kernel shows a death after all that the dead one stored.
 *
 * A receiver may nap (NAPS) on the word that its next message will change, instead of sleeping on the socket: the kernel looks at
 * the word and queues the sleeper in one step, and whoever wakes does so after his stores. A nap hears of nothing but messages; it
 * ends by itself, which is counted on only where there is an end to hear of.
 *
 * Checked in every interleaving: nobody sleeps for ever (no invalid end state), so no wake-up is lost, be it by a message, by room,
 * by what was taken, by a goodbye or by a death; and what was sent before a goodbye or a death is received (assert).
 * MUTATE=1..12 breaks one step each; the check must then fail (model.py). */

#ifndef MESSAGES
#define MESSAGES 2 /* in direction 0 */
#endif
#ifndef BACK
#define BACK 1 /* in direction 1 */
#endif
#ifndef ROOM
#define ROOM 1
#endif
#ifndef TAKES
#define TAKES (MESSAGES + ENDS)
#endif
#ifndef ASK
#define ASK 0
#endif
#ifndef ENDS
#define ENDS 0
#endif
#ifndef ONE_WAY
#define ONE_WAY 0
#endif
#ifndef DIE
#define DIE 0
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#ifndef NAPS
#define NAPS 0
#endif
#ifndef LIGHT
#define LIGHT 1
#endif
#define BELL_FULL 2 /* a full socket wakes as well */
#define OPEN 0
#define SHUT_DOWN 1
#define CLOSED 2

byte sent[2], freed[2], state[2];                      /* committed; freed counts what was taken, too */
byte sent_stored[2], freed_stored[2], state_stored[2]; /* what their owners stored; pending while it differs */
byte receiver_asleep[2], sender_asleep[2], asker_asleep[2];
byte rung_receiver[2], rung_sender[2], rung_asker[2]; /* the word for which the peer was last rung */
byte bell[2];
bool napping[2];  /* of each direction: its receiver is in the kernel's queue ... */
byte naps_for[2]; /* ... on the word of this message */
bool slot[4], waker[4];
byte ended_threads[2]; /* of each end */
bool dead;    /* end 1 */
bool gone;    /* end 0 has seen it */

#define IS_ODD(WORD) (((WORD) & 1) == 1)

active proctype memory() {
end:
    do
    :: d_step { sent[0] != sent_stored[0] -> sent[0] = sent_stored[0] }
    :: d_step { sent[1] != sent_stored[1] -> sent[1] = sent_stored[1] }
    :: d_step { freed[0] != freed_stored[0] -> freed[0] = freed_stored[0] }
    :: d_step { freed[1] != freed_stored[1] -> freed[1] = freed_stored[1] }
    :: d_step { state[0] != state_stored[0] && sent[0] == sent_stored[0] -> state[0] = state_stored[0] } /* a release */
    :: d_step { state[1] != state_stored[1] && sent[1] == sent_stored[1] -> state[1] = state_stored[1] }
    od
}

/* The thread `me` of end `end_`, beside `other`; word: its asleep word; changed: why not to sleep; nap: it may, on the word of
 * the message after `next`. */
inline fall_asleep(me, other, end_, word, changed, nap, next) {
    slot[me] = true; /* [register] */
#if MUTATE != 4
    sleeps++;
#endif
    word = ((nap) -> (next) << 2 | 3 : sleeps << 2 | 1); /* [arm], with a fence */
#if LIGHT && MUTATE != 1
    d_step { /* [barrier] */
        sent[1 - (end_)] = sent_stored[1 - (end_)];
        freed[end_] = freed_stored[end_];
        state[1 - (end_)] = state_stored[1 - (end_)]
    };
#endif
    if
#if MUTATE != 3
    :: (changed) || ((end_) == 0 && gone) /* [again] */
#endif
    :: else ->
        if
#if NAPS
        :: nap -> /* of direction 1 - end_ */
            d_step {
#if MUTATE != 11
                if
                :: sent[1 - (end_)] == next ->
#endif
                    napping[1 - (end_)] = true;
                    naps_for[1 - (end_)] = next /* [nap] */
#if MUTATE != 11
                :: else
                fi
#endif
            };
            if
            :: !napping[1 - (end_)]
            :: napping[1 - (end_)] && (state_stored[1 - (end_)] != OPEN || dead) -> napping[1 - (end_)] = false
            fi
        :: !(nap) ->
#else
        :: true ->
#endif
            if /* [sleep] */
            :: atomic { bell[end_] > 0 -> bell[end_]-- }; /* [drain] */
#if MUTATE != 5
                if :: slot[other] -> waker[other] = true :: else fi /* [kick] */
#endif
            :: waker[me]
#if MUTATE != 10
            :: (end_) == 0 && dead -> gone = true; /* [gone]: a hang-up wakes all who sleep on it */
#if MUTATE != 5
                if :: slot[other] -> waker[other] = true :: else fi
#endif
#endif
            fi;
            waker[me] = false
        fi
    fi;
    word = 0; /* [disarm] */
    slot[me] = false
}

/* A doorbell on its way to end_. */
#define TO_THE_BELL(END) d_step { if :: bell[END] < BELL_FULL -> bell[END]++ :: else fi } /* [ring] */

/* A receiver of direction D in the kernel's queue is woken; what the waker stored is there to be seen. */
#define WAKE_THE_NAP(D, HEADER) d_step { sent[D] = sent_stored[D]; if :: napping[D] && naps_for[D] == (HEADER) -> napping[D] = false :: else fi }

/* The peer's receiver may sleep for what was published, at `header`. */
inline wake_receiver(end_, header) {
    seen = receiver_asleep[1 - (end_)]; /* [look] */
    if
#if NAPS && MUTATE == 12
    :: (seen & 3) == 3 && seen != rung_receiver[1 - (end_)] ->
        rung_receiver[1 - (end_)] = seen;
        WAKE_THE_NAP(1 - (end_), header)
#elif NAPS
    :: (seen & 3) == 3 && seen >> 2 == (header) -> WAKE_THE_NAP(1 - (end_), header)
#endif
    :: (seen & 3) == 1 && seen != rung_receiver[1 - (end_)] ->
        rung_receiver[1 - (end_)] = seen;
        TO_THE_BELL(end_)
    :: else
    fi;
    seen = 0
}

/* The peer's sender may sleep for room, its asker for what was taken. */
inline wake_sender(end_) {
    seen = sender_asleep[end_]; /* [look] */
#if MUTATE == 9
    asker = 0;
#else
    asker = asker_asleep[end_];
#endif
    if
    :: (IS_ODD(seen) && seen != rung_sender[end_]) || (IS_ODD(asker) && asker != rung_asker[end_]) ->
        rung_sender[end_] = seen;
        rung_asker[end_] = asker;
        TO_THE_BELL(end_)
    :: else
    fi;
    seen = 0;
    asker = 0
}

/* End E says that the end has come, and wakes whoever sleeps for it. */
inline tell(E, what) {
    state_stored[E] = what; /* [tell] */
#if !LIGHT && MUTATE != 7
    state[E] == state_stored[E]; /* [fence] */
#endif
#if MUTATE != 6
    wake_receiver(1 - (E), sent_stored[E]);
    if :: what == CLOSED -> wake_sender(1 - (E)) :: else fi
#endif
}

/* A thread of end E ends; with the last one the end closes. */
inline finish(E) {
    d_step { ended_threads[E]++; last = ended_threads[E] == 2 - ONE_WAY };
    if :: last -> tell(E, CLOSED) :: else fi
}

/* Nothing that end E sends now is received any more. */
#define NOBODY(E) (state[1 - (E)] == CLOSED || ((E) == 0 && gone))

proctype sender(byte D; byte messages) {
    byte n, seen, asker, told, sleeps;
    bool last;
    {
        do
        :: n == messages || NOBODY(D) -> break
        :: n < messages && !NOBODY(D) && n - freed[D] >= ROOM ->
            fall_asleep(D, 3 - D, D, sender_asleep[D], n - freed[D] < ROOM || state[1 - D] == CLOSED, 0, 0)
        :: n < messages && !NOBODY(D) && n - freed[D] < ROOM ->
#if MUTATE == 2
            wake_receiver(1 - D, n);
#endif
            n++;
            sent_stored[D] = n; /* [publish] */
#if !LIGHT && MUTATE != 1
            sent[D] == sent_stored[D]; /* [fence] */
#endif
#if MUTATE != 2
            wake_receiver(1 - D, n - 1)
#endif
        od;
#if ASK
        do
        :: freed[D] == n || NOBODY(D) -> break
        :: freed[D] != n && !NOBODY(D) ->
            told = freed[D]; /* what it compares with */
            if
            :: told != n -> fall_asleep(D, 3 - D, D, asker_asleep[D], freed[D] != told || state[1 - D] == CLOSED, 0, 0)
            :: else
            fi
        od;
        told = 0;
#endif
#if ENDS
        tell(D, SHUT_DOWN);
        finish(D);
#endif
        skip
    } unless { D == 1 && dead }
}

proctype receiver(byte D; byte messages) {
    byte n, seen, asker, ended, sleeps;
    bool last, may_nap;
    {
        do
        :: n == messages -> break
        :: n < messages && sent[D] == n ->
            ended = state[D] != OPEN || (D == 1 && gone); /* first the end is looked for ... */
#if MUTATE == 8
            if :: ended -> break :: else fi;
#endif
            if
            :: sent[D] != n /* ... then what came before it [next] */
            :: sent[D] == n && ended -> break
            :: sent[D] == n && !ended ->
#if NAPS
                if
                :: may_nap = true
                :: may_nap = false
                fi;
#endif
                fall_asleep(2 + D, 1 - D, 1 - D, receiver_asleep[D], sent[D] != n || state[D] != OPEN, may_nap, n)
            fi
        :: n < messages && sent[D] != n ->
            n++;
            freed_stored[D] = n; /* [free] */
#if !LIGHT && MUTATE != 1
            freed[D] == freed_stored[D]; /* [fence] */
#endif
            wake_sender(D)
        od;
#if ENDS
        assert(n == messages || n == sent_stored[D]);
        finish(1 - D);
#endif
        skip
    } unless { D == 0 && dead }
}

#if DIE
proctype death() {
    if
    :: d_step {
            sent[1] = sent_stored[1];
            freed[0] = freed_stored[0];
            state[1] = state_stored[1];
            dead = true
        }
    :: true
    fi
}
#endif

init {
    atomic {
        run sender(0, MESSAGES);
        run receiver(0, TAKES);
#if !ONE_WAY
        run sender(1, BACK);
        run receiver(1, BACK + ENDS); /* with ENDS it learns only from the goodbye that there is no more */
#endif
#if DIE
        run death()
#endif
    }
}
