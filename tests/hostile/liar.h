/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* A peer that lies, and the honest process it lies to, as two ends in one process: the liar (liar.c) writes what it likes into the
 * memory and the sockets that are its own; the honest end (honest.c) makes ordinary public calls, and everything that comes of them is
 * checked. Both are driven by one source of numbers, a seed's or a fuzzer's, so a run can be had again.
 *
 * To place its lies well the liar looks into the honest end's private cursors, which no real one could; it never writes there. */

#include "transport/shm/shm.h"

#include <hawser/hawser.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define HELD_MOST 24
#define LENT_MOST 4
#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof *(ARRAY))

void fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
#define CHECK(CONDITION) ((CONDITION) ? (void)0 : fail(__FILE__, __LINE__, "%s", #CONDITION))

/* ---- Numbers: of a seed without end, or of a fuzzer's input until it is used up. ---- */

struct source {
    uint64_t seed;
    const uint8_t *data; /* NULL: the seed's */
    size_t left;
};

uint64_t draw(struct source *source);                      /* any */
uint64_t draw_below(struct source *source, uint64_t limit); /* limit > 0 */
uint64_t draw_near(struct source *source, uint64_t truth);  /* at and around the truth, powers of two, anything */
static inline bool chance(struct source *source, unsigned of_256) { return draw_below(source, 256) < of_256; }
static inline bool source_ended(const struct source *source) { return source->data && source->left == 0; }

/* ---- The two ends ---- */

struct loan {
    void *data;
    size_t size;
};

struct world {
    struct source source;
    hawser_channel *liar, *honest;
    struct shm_link *own;        /* the liar's */
    const struct shm_link *seen; /* the honest end's */
    struct shm_segment *segment; /* the liar's: all that it writes */
    bool broken;                 /* the honest end said so */
    bool checks_all;             /* the harness has time for every byte */
    uint64_t carried_at;         /* position of the last record that descriptors went with */
    uint64_t mutated;            /* messages with a lie in them, or sent to one */
    hawser_message held[HELD_MOST];
    unsigned n_held;
    struct loan lent[LENT_MOST];
    unsigned n_lent;
};

void world_begin(struct world *world, const char *address); /* both ends have met */
void world_end(struct world *world);

/* ---- liar.c ---- */

void liar_prepare(void); /* makes the descriptors it passes; once */
void lie_and_act(struct world *world);
/* One lie each. */
void lie_record(struct world *world);
void lie_cursor(struct world *world);
void lie_note(struct world *world);
void lie_packet(struct world *world);
void lie_anywhere(struct world *world);

/* ---- honest.c ---- */

/* One call of an honest program. */
void act_receiving(struct world *world);
void act_sending(struct world *world);
void tell_sentences(FILE *to); /* how often each failed check ended a link */
unsigned sentences_told(void);
void guard_maps(void); /* from here on a page that faults follows each map the library makes */
unsigned descriptors_open(void);
unsigned maps_made(void);
uint64_t resident_bytes(void);

/* A link between two honest ends, whose messages are checked to the byte: what a liar does must not reach it. */
struct witness {
    hawser_channel *a, *b;
    uint64_t messages;
};
void witness_begin(struct witness *witness);
void witness_check(struct witness *witness);
void witness_end(struct witness *witness);
