/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the tests of objects share: a kind whose members hold words, a runtime directory of the test's own, and processes that do
 * as they are told. */

#include "sync/object.h"

#include <sys/stat.h>
#include <sys/types.h>

#define WORDS 16

struct words {
    uint32_t holder[WORDS]; /* a slot */
    uint32_t reclaimed;     /* words given back for the dead */
    uint32_t value;
};

extern const struct object_kind test_kind, other_kind;
extern char root[64], runtime[80];

int set_up(void **state);
int tear_down(void **state); /* fails when a name is left over */

/* Opens sem://NAME or, with a slash, a path; size 0: must exist. */
int open_as(const char *text, enum object_access access, uint64_t size, struct object **ret_object);
struct object *open_new(const char *text);
void hold(struct object *object, unsigned word);
struct words *words_of(const struct object *object);
bool exists(const char *name); /* in runtime, or a path */

/* A process that does one thing after the other, each when told. */
struct actor {
    pid_t pid;
    int socket;
};

/* inherited: what 'e' and 'w' use. Commands: o open (making it), f open what exists, r the same to read, h hold word 0, c close, u unlink,
 * e enter, m count the members, i the inode's number of its open object, v read value, V write value 7, a adopt from the ticket. */
struct actor act(struct object *inherited, int ticket);
void tell(const struct actor *actor, char command);
int answer(const struct actor *actor);
int order(const struct actor *actor, char command); /* both */
void finish(struct actor *actor);  /* lets it end without closing anything by hand */
void slay(struct actor *actor);    /* kill -9 */

#define NAME "sem://thing"
