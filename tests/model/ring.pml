/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The ring of src/shm/ring.h: one writer, one reader, SIZE words instead of bytes / 8. The names in brackets stand at the same
 * steps there. With GROW the writer moves to a larger ring, of LARGER words, when it first finds no room. With HOLD the reader keeps
 * up to two messages in place and releases them in any order.
 *
 * Memory: a store of the writer's is pending until the memory process commits it, and pending stores are committed in any order;
 * a release store waits until all before it are. The reader's loads are in order (it loads the word with acquire, and all
 * else depends on it). That is weaker than x86, and what C11 asks of ARM.
 *
 * Checked in every interleaving: each message arrives once, whole, in order, with its size (assert), whatever sizes the messages
 * have, where the writer wraps early, how it batches, and how late the reader frees; what is held stays as it is; and nobody
 * waits for ever (no invalid end state). A writer that dies is one that takes no more steps, so every prefix of its steps is covered too.
 *
 * MUTATE=1..8 breaks one step each; the check must then fail (model.py). */

#define SIZE 8
#ifndef GROW
#define GROW 0
#endif
#ifndef HOLD
#define HOLD 0
#endif
#ifndef MESSAGES
#define MESSAGES 5
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#if GROW
#define LARGER 16
#define LONGEST 2
#define RESERVE 4 /* for the record of the larger ring: a skip, its word, its body, the zero after it */
#else
#define LARGER 0
#define LONGEST 3
#define RESERVE 0
#endif
#define DATA 16 /* a word: kind + words of the body */
#define SKIP 32
#define RING 48
#define BODY(SEQUENCE) (64 + (SEQUENCE))

byte ring[SIZE + LARGER]; /* the larger one behind the first */
bool pending[SIZE + LARGER];
byte stored[SIZE + LARGER];
byte n_pending;
byte freed;           /* the reader's cursor; its page */
byte sizes[MESSAGES]; /* what the writer chose: for the reader's check only */
#if GROW
bool carried;         /* the larger ring's memory waits in the carrier */
#endif

#define COMMIT(I) :: d_step { pending[I] -> ring[I] = stored[I]; stored[I] = 0; pending[I] = false; n_pending-- }
#define COMMITTED (n_pending == 0)

active proctype memory() {
end:
    do
    COMMIT(0) COMMIT(1) COMMIT(2) COMMIT(3) COMMIT(4) COMMIT(5) COMMIT(6) COMMIT(7)
#if GROW
    COMMIT(8) COMMIT(9) COMMIT(10) COMMIT(11) COMMIT(12) COMMIT(13) COMMIT(14) COMMIT(15)
    COMMIT(16) COMMIT(17) COMMIT(18) COMMIT(19) COMMIT(20) COMMIT(21) COMMIT(22) COMMIT(23)
#endif
    od
}

/* Stores to one location are seen in their order. */
inline store(at, value) {
    d_step { !pending[at] -> pending[at] = true; stored[at] = value; n_pending++ }
}

#define AT(POSITION) (base + (POSITION) % size)

/* [publish] The first word of a batch, with release. */
inline publish() {
    if
    :: batch ->
#if MUTATE != 3
        COMMITTED; /* release */
#endif
        store(batch - 1, batch_word);
        batch = 0;
        batch_word = 0
    :: else
    fi
}

/* The record of `kind` at start, its body of `words` words; behind a skip, unless it begins where the last one ended. */
inline append(kind, words, body) {
    next = start + 1 + words;
#if MUTATE != 2
    store(AT(next), 0); /* [zero] */
#endif
    i = 0;
    do /* [body] */
    :: i < words -> store(AT(start + 1 + i), body); i++
    :: else -> break
    od;
    word = kind + words;
    if
#if MUTATE == 4
    :: start != write -> word = SKIP
#else
    :: start != write -> store(AT(start), word); word = SKIP /* [word] behind a skip */
#endif
    :: else
    fi;
    if
    :: batch -> store(AT(write), word) /* [word] of a batch's later ones: nobody comes here before the first */
    :: else -> batch = AT(write) + 1; batch_word = word
    fi;
    write = next;
    next = 0; word = 0; i = 0
}

active proctype writer() {
    byte sequence, write, start, next, limit = SIZE - RESERVE, length, word, i;
    byte size = SIZE, base, reserve = RESERVE;
    byte batch; /* place + 1 of the batch's first word, 0: none */
    byte batch_word;

    do
    :: sequence == MESSAGES -> break
    :: else ->
        if :: length = 0 :: length = 1 :: length = 2 :: LONGEST == 3 -> length = 3 fi;
        /* [claim] */
        do
        :: true ->
            start = write;
            if
            :: write % size + 1 + length > size -> start = write + size - write % size
            :: else ->
                if
                :: limit + reserve - size == write && 2 + length + reserve <= write % size ->
                    start = write + size - write % size /* caught up: over early */
                :: true
                fi
            fi;
#if MUTATE == 1
            if :: start + 1 + length <= limit -> break :: else fi; /* no room kept for the next word */
#else
            if :: start + 1 + length + 1 <= limit -> break :: else fi;
#endif
            publish(); /* who waits has published */
#if GROW
            if
            :: reserve ->
                /* [move] */
                start = write;
                if :: write % size + 2 > size -> start = write + size - write % size :: else fi;
                assert(start + 3 <= limit + reserve); /* so much was kept back */
#if MUTATE != 8
                carried = true;
#endif
                append(RING, 1, BODY(MESSAGES));
                publish();
#if MUTATE == 8
                carried = true;
#endif
                base = SIZE;
                limit = limit + reserve - size + LARGER;
                size = LARGER;
                reserve = 0;
                goto again
            :: else
            fi;
#endif
            freed + size - reserve > limit; /* [refresh]; blocks: waiting for room is wake.pml's */
            limit = freed + size - reserve;
again:      skip
        od;
        sizes[sequence] = length;
        append(DATA, length, BODY(sequence));
        sequence++;
        length = 0; start = 0;
        if
        :: true -> publish()
        :: sequence < MESSAGES /* the batch goes on */
        fi
    od
}

#if HOLD
#define ANY_HELD (n_held > 0)
#else
#define ANY_HELD false
#endif

/* [consume] Freed at once, or with the youngest of those held. */
inline consume() {
    if
#if HOLD && MUTATE != 7
    :: n_held > 0 -> ends[n_held - 1] = end_
    :: n_held == 0 -> mine = end_
#else
    :: true -> mine = end_
#endif
    fi
}

active proctype reader() {
    byte sequence, read, place, end_, length, i, mine; /* mine: what is free, in private */
    byte size = SIZE, base;
#if HOLD
    byte n_held, ends[2], from[2], which[2]; /* the older one first: its end, its place, its number */
    bool released[2];
#endif

    do
    :: sequence == MESSAGES && !ANY_HELD -> break
#if HOLD
    :: ANY_HELD ->
        i = 0; /* [release] one of those held; what they say stands as it did */
        if :: !released[0] -> i = 0 :: n_held == 2 && !released[1] -> i = 1 fi;
        length = 0;
        do
        :: length < sizes[which[i]] -> assert(ring[from[i] + 1 + length] == BODY(which[i])); length++
        :: else -> break
        od;
        released[i] = true;
#if MUTATE == 6
        mine = ends[i];
#endif
        do
        :: n_held > 0 && released[0] -> /* freed once nothing older is held */
            mine = ends[0];
            ends[0] = ends[1]; from[0] = from[1]; which[0] = which[1]; released[0] = released[1];
            ends[1] = 0; from[1] = 0; which[1] = 0; released[1] = false;
            n_held--
        :: else -> break
        od;
        i = 0; length = 0
#endif
    :: freed != mine -> freed = mine /* [free] now or later, at the latest before the reader waits for long */
    :: sequence < MESSAGES && ring[AT(read)] != 0 -> /* [next] */
        place = read;
        if
        :: ring[AT(read)] == SKIP ->
            assert(read % size != 0);
            place = read + size - read % size
        :: else
        fi;
        assert(ring[AT(place)] >= DATA && ring[AT(place)] != SKIP); /* a skip leads to a record */
        if
#if GROW
        :: ring[AT(place)] >= RING ->
            end_ = place + 2;
            assert(base == 0 && carried);
            consume();
            base = SIZE; /* [move] */
            size = LARGER
#endif
        :: else ->
            length = ring[AT(place)] - DATA;
            assert(length == sizes[sequence]);
            end_ = place + 1 + length;
#if MUTATE == 5
            freed = end_;
#endif
            i = 0;
            do /* [copy] */
            :: i < length -> assert(ring[AT(place + 1 + i)] == BODY(sequence)); i++
            :: else -> break
            od;
            if
#if HOLD
            :: n_held < 2 ->
                ends[n_held] = end_; from[n_held] = AT(place); which[n_held] = sequence; /* [hold] */
                n_held++
#endif
            :: true -> consume()
            fi;
            sequence++
        fi;
        read = end_;
        place = 0; end_ = 0; length = 0; i = 0
    od
}
