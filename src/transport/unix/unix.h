/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Between unix.c, which makes links, and unix_io.c, which moves their bytes and descriptors. */

#include "core/wire.h"

#define UNIX_HELD 64 /* descriptors that were read ahead and belong to messages not yet received */
#define UNIX_FDS 16  /* of one message */

struct unix_link {
    struct stream stream; /* first: a link is one, and so is this */
    /* [R] */
    bool expects_hello; /* pair: credentials are still to come */
    bool expects_fds;   /* the last read ended in a barrier: see unix_io.c */
    bool dropped;       /* a message's were dropped, for want of room, in a call that would have closed them */
    unsigned n_held;
    int held[UNIX_HELD]; /* oldest first */
    struct ucred who;    /* pair: who sent what came before the hello was looked at */
    /* [S] */
    unsigned n_late;
    int late[UNIX_FDS]; /* duplicates that go with the next byte to leave */
};

extern const struct stream_io unix_io;

void unix_forget_fds(struct unix_link *link); /* closes what is held and late */

/* Pair: asks for credentials, and notes them when the hello comes. */
void unix_know(struct unix_link *link, const struct ucred *who);
