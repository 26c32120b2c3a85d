/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The ring of src/shm/ring.h: one writer, one reader, SIZE words instead of bytes / 8. The names in brackets stand at the same
 * steps there.
 *
 * Memory: a store of the writer's is pending until the memory process commits it, and pending stores are committed in any order;
 * a release store waits until all before it are. The reader's loads are in order (it loads the word with acquire, and all
 * else depends on it). That is weaker than x86, and what C11 asks of ARM.
 *
 * Checked in every interleaving: each message arrives once, whole, in order, with its size (assert), whatever sizes the messages
 * have, where the writer wraps early, how it batches, and how late the reader frees; and nobody waits for ever (no invalid end
 * state). A writer that dies is one that takes no more steps, so every prefix of its steps is covered too.
 *
 * MUTATE=1..5 breaks one step each; the check must then fail (model.py). */

#define SIZE 8
#ifndef MESSAGES
#define MESSAGES 5
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#define DATA 16 /* a word: kind + bytes of the body */
#define SKIP 32
#define BODY(SEQUENCE) (64 + (SEQUENCE))

byte ring[SIZE];
bool pending[SIZE];
byte stored[SIZE];
byte freed;           /* the reader's cursor; its page */
byte sizes[MESSAGES]; /* what the writer chose: for the reader's check only */

#define COMMIT(I) :: d_step { pending[I] -> ring[I] = stored[I]; stored[I] = 0; pending[I] = false }
#define COMMITTED (!(pending[0] || pending[1] || pending[2] || pending[3] || pending[4] || pending[5] || pending[6] || pending[7]))

active proctype memory() {
end:
    do
    COMMIT(0) COMMIT(1) COMMIT(2) COMMIT(3) COMMIT(4) COMMIT(5) COMMIT(6) COMMIT(7)
    od
}

/* Stores to one location are seen in their order. */
inline store(at, value) {
    d_step { !pending[at] -> pending[at] = true; stored[at] = value }
}

active proctype writer() {
    byte sequence, write, start, next, limit = SIZE, size, word, i;
    byte batch; /* position + 1 of the batch's first word, 0: none */
    byte batch_word;

    do
    :: sequence == MESSAGES -> break
    :: else ->
        if :: size = 0 :: size = 1 :: size = 2 :: size = 3 fi
        /* [claim] */
        do
        :: true ->
            start = write;
            if
            :: write % SIZE + 1 + size > SIZE -> start = write + SIZE - write % SIZE
            :: else ->
                if
                :: limit - SIZE == write && 2 + size <= write % SIZE -> start = write + SIZE - write % SIZE /* caught up: over early */
                :: true
                fi
            fi;
#if MUTATE == 1
            if :: start + 1 + size <= limit -> break :: else fi; /* no room kept for the next word */
#else
            if :: start + 1 + size + 1 <= limit -> break :: else fi;
#endif
            if /* who waits has published */
            :: batch -> COMMITTED; store((batch - 1) % SIZE, batch_word); batch = 0
            :: else
            fi;
            freed + SIZE > limit; /* [refresh]; blocks: waiting for room is wake.pml's */
            limit = freed + SIZE
        od;
        sizes[sequence] = size;
        next = start + 1 + size;
#if MUTATE == 2
        skip;
#else
        store(next % SIZE, 0); /* [zero] */
#endif
        i = 0;
        do /* [body] */
        :: i < size -> store((start + 1 + i) % SIZE, BODY(sequence)); i++
        :: else -> break
        od;
        word = DATA + size;
        if
#if MUTATE == 4
        :: start != write -> word = SKIP
#else
        :: start != write -> store(start % SIZE, word); word = SKIP /* [word] behind a skip */
#endif
        :: else
        fi;
        if
        :: batch -> store(write % SIZE, word) /* [word] of a batch's later ones: nobody comes here before the first */
        :: else -> batch = write + 1; batch_word = word
        fi;
        write = next;
        sequence++;
        size = 0; start = 0; next = 0; word = 0; i = 0;
        if
        :: batch ->
#if MUTATE != 3
            COMMITTED; /* release */
#endif
            store((batch - 1) % SIZE, batch_word); /* [publish] */
            batch = 0; batch_word = 0
        :: sequence < MESSAGES /* the batch goes on */
        fi
    od
}

active proctype reader() {
    byte sequence, read, body, end_, size, i;

    do
    :: sequence == MESSAGES -> break
    :: else ->
        do /* [next]; what was taken is freed now or later, at the latest before the reader waits for long */
        :: ring[read % SIZE] != 0 -> break
        :: freed != read -> freed = read
        od;
        if
        :: ring[read % SIZE] == SKIP ->
            assert(read % SIZE != 0);
            body = read + SIZE - read % SIZE
        :: else -> body = read
        fi;
        assert(ring[body % SIZE] >= DATA && ring[body % SIZE] < SKIP); /* a skip leads to a message */
        size = ring[body % SIZE] - DATA;
        assert(size == sizes[sequence]);
        end_ = body + 1 + size;
#if MUTATE == 5
        freed = end_;
#endif
        i = 0;
        do /* [copy] */
        :: i < size -> assert(ring[(body + 1 + i) % SIZE] == BODY(sequence)); i++
        :: else -> break
        od;
        read = end_; /* [consume] */
        sequence++;
        body = 0; end_ = 0; size = 0; i = 0;
        if :: freed = read :: true fi /* [free] */
    od
}
