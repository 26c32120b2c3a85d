/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The inside of a link over System V queues: sysv.c is its life, bell.c how its ends wake each other. */

#include "core/stream.h"
#include "shm/segment.h"
#include "transport/sysv/record.h"

/* What an end tells the other by memory: one page that it alone writes. The words of sleep are odd while their owner sleeps, and
 * count up with each sleep, so that the other rings once for each. The counts, modulo 2^32, spare calls in vain: nothing is
 * to be had, nor is there more room, while the other's count stands still. Whoever lies in them harms its own link. */
struct bells {
    uint32_t magic;
    uint32_t version;
    uint32_t reserved[14];
    uint32_t receiver_asleep; /* for messages */
    uint32_t reserved_receiver[15];
    uint32_t sender_asleep; /* for room */
    uint32_t reserved_sender[15];
    uint32_t sent;            /* packets its owner put into its queue */
    uint32_t reserved_sent[15];
    uint32_t received;        /* packets its owner took out of the other's */
    uint32_t reserved_received[15];
};

#define BELLS_MAGIC 0x6c6c6562u /* "bell" */
#define BELLS_VERSION 2

_Static_assert(sizeof(struct bells) == 320, "the page's layout is a format");

enum sleeper { SLEEPER_RECEIVER, SLEEPER_SENDER, SLEEPER_ASKER, SLEEPERS };

/* Guarded by its lock: both halves fall asleep. */
struct bedroom {
    struct lock lock;
    uint32_t n[SLEEPERS];       /* atomic: who sleeps */
    bool wants_room[SLEEPERS];  /* one of them has bytes stuck, and wants to know of room too */
};

struct packet_buffer; /* as msgsnd and msgrcv want it */

struct sysv_link {
    struct stream stream;
    struct record record;
    int in, out;                             /* queues; -1: none yet */
    size_t packet;                           /* most bytes of a message */
    struct packet_buffer *sending, *receiving;
    uint32_t sent, received;                 /* [S], [R]: ours, as in the page */
    uint32_t seen_sent;                      /* [R] the peer's count when last looked at */
    uint32_t full;                           /* atomic: the last packet found no room ... */
    uint32_t full_received;                  /* atomic: ... when the peer had taken so many. Written by [S], both */
    int64_t looked_ns;                       /* [S] when the peer was last looked at */
    struct memory own, theirs;               /* pages of bells: maps, which forked children do not have */
    uint32_t met;                            /* atomic: theirs is there */
    uint32_t rang_receiver, rang_sender;     /* [S], [R]: the sleep that was last rung for */
    struct bedroom bedroom;
};

static inline struct sysv_link *sysv_of(struct link *link) { return (struct sysv_link *)link; }

/* Our page; its descriptor is for the peer. */
int bells_make(struct sysv_link *sysv, int *ret_fd);
int bells_adopt(struct sysv_link *sysv, int fd);

/* [S] Counts a packet before it is put in, so that a spinning receiver is on its way already; -1: it was not. */
void bells_announce(struct sysv_link *sysv, int packets);

/* [S] after a packet was put in; [R] after one was taken out, which it counts: wakes who waits for it. */
void bell_receiver(struct sysv_link *sysv);
void bell_sender(struct sysv_link *sysv);

/* [R] Has the peer put in as much as was taken out? False also when it cannot be known. */
bool bells_empty(struct sysv_link *sysv);
/* How many packets the peer has taken. 0 before it was met, as nobody takes then. */
uint32_t bells_received(const struct sysv_link *sysv);
/* The last packet found no room, and nothing was taken since. */
bool bells_full(const struct sysv_link *sysv);

int sysv_arm(struct link *link, enum want want, struct sleep_set *set);
void sysv_disarm(struct link *link, enum want want);
void sysv_woken(struct link *link, int fd, short revents);
void sysv_look(struct link *link);

extern const struct transport transport_sysv;
