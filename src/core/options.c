/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* One table of options serves both ways of giving one: a member of hawser_options and a word of the query. Each value
 * is checked by the same rule, so that neither way allows what the other refuses. */

#include "core/options.h"

#include "base/error.h"
#include "core/identity.h"
#include "core/transport.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum kind { KIND_SIZE, KIND_COUNT, KIND_TIME, KIND_WORD, KIND_SWITCH, KIND_USERS, KIND_GROUPS, KIND_PEER };

struct rule {
    const char *name;
    enum kind kind;
    unsigned from, to; /* where in hawser_options, where in struct options */
    uint64_t least, most, fallback;
    bool power;           /* of two */
    const char *words[4]; /* the value is the word's index plus 1 */
    const char *expected;
};

#define NOWHERE UINT32_MAX
#define FROM(MEMBER) (unsigned)offsetof(hawser_options, MEMBER)
#define TO(MEMBER) (unsigned)offsetof(struct options, MEMBER)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const struct rule rules[] = {
    { "max_message", KIND_SIZE, FROM(max_message), TO(max_message), 1, (UINT64_C(1) << 56) - 1, 64 * MIB,
      .expected = "expected a size of 1 to 2^56-1 bytes" },
    { "read_ahead", KIND_SIZE, FROM(read_ahead), TO(read_ahead), 4 * KIB, GIB, MIB,
      .expected = "expected a size of 4K to 1G" },
    { "ring", KIND_SIZE, FROM(ring), TO(ring), 4 * KIB, GIB, MIB, .power = true,
      .expected = "expected a power of two of 4K to 1G" },
    { "pool", KIND_SIZE, FROM(pool), TO(pool), 4 * KIB, 1024 * GIB, 64 * MIB,
      .expected = "expected a size of 4K to 1024G" },
    { "buffer", KIND_SIZE, FROM(buffer), TO(buffer), 1, GIB, 0, .expected = "expected a size of 1 to 1G" },
    { "depth", KIND_COUNT, FROM(depth), TO(depth), 1, 65536, 0, .expected = "expected a number of 1 to 65536" },
    { "packet", KIND_COUNT, FROM(packet), TO(packet), 32, 16 * MIB, 0, .expected = "expected a size of 32 to 16M" },
    { "linger", KIND_TIME, FROM(linger_ns), TO(linger_ns), 0, INT64_MAX, 1000000000,
      .expected = "expected a time like 1s, or 0" },
    { "hello_timeout", KIND_TIME, FROM(hello_ns), TO(hello_ns), 1, INT64_MAX, 2000000000,
      .expected = "expected a time like 2s, more than 0" },
    { "wait", KIND_WORD, FROM(wait), TO(wait), 0, 0, HAWSER_WAIT_ADAPTIVE, .words = { "adaptive", "spin", "block" },
      .expected = "expected adaptive, spin or block" },
    { "threads", KIND_WORD, FROM(threads), TO(threads), 0, 0, HAWSER_THREADS_TWO, .words = { "two", "many" },
      .expected = "expected two or many" },
    { "wire", KIND_WORD, FROM(wire), TO(wire), 0, 0, HAWSER_WIRE_DEFAULT, .words = { "native", "sp" },
      .expected = "expected native or sp" },
    { "framing", KIND_WORD, FROM(framing), TO(framing), 0, 0, HAWSER_FRAMING_DEFAULT, .words = { "line", "none" },
      .expected = "expected line or none" },
    { "watch", KIND_SWITCH, FROM(watch), TO(watch), 0, 0, HAWSER_YES, .words = { "yes", "no" },
      .expected = "expected yes or no" },
    { "stable", KIND_SWITCH, FROM(stable), TO(stable), 0, 0, HAWSER_NO, .words = { "yes", "no" },
      .expected = "expected yes or no" },
    { "barrier", KIND_SWITCH, NOWHERE, TO(fence), 0, 0, HAWSER_NO, .words = { "fence" }, .expected = "expected fence" },
    { "users", KIND_USERS, FROM(users), TO(users), 1, IDS_MAX, 0,
      .expected = "expected users: names or ids with commas between, or any" },
    { "groups", KIND_GROUPS, FROM(groups), TO(groups), 1, IDS_MAX, 0,
      .expected = "expected groups: names or ids with commas between, or any" },
    { "peer", KIND_PEER, FROM(peer), TO(peer), 1, 1, 0, .expected = "expected one user: a name, an id, or any" },
};

#define N_RULES (sizeof rules / sizeof rules[0])

/* Checks a number by its rule and puts it where it belongs. */
static int place_number(const struct rule *rule, uint64_t value, struct options *options) {
    char *to = (char *)options + rule->to;
    if (value < rule->least || value > rule->most || (rule->power && (value & (value - 1)) != 0))
        return -EINVAL;
    if (rule->kind == KIND_COUNT)
        *(uint32_t *)(void *)to = (uint32_t)value;
    else
        memcpy(to, &value, sizeof value); /* sizes and times: both of 64 bits */
    return 0;
}

static int place_word(const struct rule *rule, uint32_t value, struct options *options) {
    char *to = (char *)options + rule->to;
    unsigned n = 0;
    while (n < 4 && rule->words[n])
        n++;
    if (value > n)
        return -EINVAL;
    if (rule->kind == KIND_SWITCH)
        *(bool *)to = value == HAWSER_YES;
    else
        *(uint32_t *)(void *)to = value;
    return 0;
}

static int place_ids(const struct rule *rule, const char *text, size_t length, struct options *options,
                     size_t *ret_bad) {
    struct id_list list;
    int error = ids_parse(text, length, rule->kind == KIND_GROUPS, (unsigned)rule->most, &list, ret_bad);
    if (error)
        return error;
    memcpy((char *)options + rule->to, &list, sizeof list);
    if (rule->kind == KIND_PEER)
        options->peer_given = true;
    return 0;
}

static void fall_back(struct options *options) {
    for (unsigned i = 0; i < N_RULES; i++) {
        const struct rule *rule = &rules[i];
        if (rule->kind == KIND_SIZE || rule->kind == KIND_TIME)
            memcpy((char *)options + rule->to, &rule->fallback, sizeof rule->fallback);
        else if (rule->kind == KIND_WORD || rule->kind == KIND_SWITCH)
            place_word(rule, (uint32_t)rule->fallback, options);
    }
}

/* ---- What the program gave ---- */

static int refuse_member(const struct rule *rule, const char *text) {
    if (text)
        return error_set(-EINVAL, "option %s is \"%s\": %s", rule->name, text, rule->expected);
    return error_set(-EINVAL, "option %s: %s", rule->name, rule->expected);
}

static int apply_time(const struct rule *rule, int64_t time, struct options *options) {
    if (time == HAWSER_OPTION_NONE && rule->least == 0)
        time = 0;
    return time < 0 ? -EINVAL : place_number(rule, (uint64_t)time, options);
}

static int apply_text(const struct rule *rule, const char *text, struct options *options) {
    size_t bad = 0;
    int error = place_ids(rule, text, strlen(text), options, &bad);
    return error == -EINVAL ? refuse_member(rule, text) : error;
}

static int apply_member(const struct rule *rule, const hawser_options *given, struct options *options) {
    const char *from = (const char *)given + rule->from;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    const char *text = NULL;
    int error = 0;
    if (rule->kind == KIND_SIZE || rule->kind == KIND_TIME)
        memcpy(&wide, from, sizeof wide);
    else if (rule->kind >= KIND_USERS)
        memcpy(&text, from, sizeof(const char *));
    else
        memcpy(&narrow, from, sizeof narrow);
    if (text)
        return apply_text(rule, text, options);
    if (rule->kind == KIND_TIME && wide)
        error = apply_time(rule, (int64_t)wide, options);
    else if (wide || (narrow && rule->kind == KIND_COUNT))
        error = place_number(rule, wide | narrow, options);
    else if (narrow)
        error = place_word(rule, narrow, options);
    return error ? refuse_member(rule, NULL) : 0;
}

/* A program built with a newer header gives a longer struct: what this library does not know must be unset. */
static int check_struct(const hawser_options *given) {
    if (given->struct_size < sizeof *given || given->struct_size > 65536)
        return error_note(-EINVAL, "hawser_options: struct_size is wrong; set the struct up with HAWSER_OPTIONS_INIT");
    for (unsigned i = 0; i < sizeof given->reserved / sizeof given->reserved[0]; i++)
        if (given->reserved[i])
            return error_note(-EINVAL, "hawser_options: a reserved member is not 0");
    for (size_t i = sizeof *given; i < given->struct_size; i++)
        if (((const char *)given)[i])
            return error_note(-EINVAL,
                              "hawser_options: an option is set that this version of the library does not know");
    return 0;
}

static int apply_given(const hawser_options *given, struct options *options) {
    int error = check_struct(given);
    for (unsigned i = 0; !error && i < N_RULES; i++)
        if (rules[i].from != NOWHERE)
            error = apply_member(&rules[i], given, options);
    options->admit = given->admit;
    options->admit_context = given->admit_context;
    return error;
}

/* ---- What the query says ---- */

static uint32_t find_word(const struct rule *rule, const char *text, size_t length) {
    for (uint32_t i = 0; i < 4 && rule->words[i]; i++)
        if (strlen(rule->words[i]) == length && strncmp(rule->words[i], text, length) == 0)
            return i + 1;
    return UINT32_MAX;
}

static int read_value(const struct rule *rule, const char *text, size_t length, struct options *options,
                      size_t *ret_bad) {
    uint64_t size;
    int64_t time;
    switch (rule->kind) {
    case KIND_SIZE:
    case KIND_COUNT:
        return parse_size(text, length, &size) < 0 ? -EINVAL : place_number(rule, size, options);
    case KIND_TIME:
        return parse_time(text, length, &time) < 0 ? -EINVAL : place_number(rule, (uint64_t)time, options);
    case KIND_WORD:
    case KIND_SWITCH:
        return place_word(rule, find_word(rule, text, length), options);
    default:
        return place_ids(rule, text, length, options, ret_bad);
    }
}

static const struct rule *find_rule(const char *name, size_t length) {
    for (unsigned i = 0; i < N_RULES; i++)
        if (strlen(rules[i].name) == length && strncmp(rules[i].name, name, length) == 0)
            return &rules[i];
    return NULL;
}

int own_option_size(const char *text, size_t length, void *to) { return parse_size(text, length, to); }

int own_option_time(const char *text, size_t length, void *to) { return parse_time(text, length, to); }

int own_option_switch(const char *text, size_t length, void *to) {
    bool yes = length == 3 && strncmp(text, "yes", 3) == 0, no = length == 2 && strncmp(text, "no", 2) == 0;
    if (yes || no)
        *(bool *)to = yes;
    return yes || no ? 0 : -EINVAL;
}

/* One pair of the query: its name and its value. */
struct pair {
    const char *text;
    unsigned at, name, length; /* at: in the address; name: bytes of it; length: of all */
};

static const struct own_option *find_own(const struct own_option *own, const struct pair *pair) {
    for (; own && own->name; own++)
        if (strlen(own->name) == pair->name && strncmp(own->name, pair->text, pair->name) == 0)
            return own;
    return NULL;
}

/* Each option has a bit: the rules' first, then the caller's own. */
static int see(const struct address *address, const struct pair *pair, unsigned number, uint64_t *seen) {
    uint64_t bit = UINT64_C(1) << number;
    if (pair->text[pair->name] != '=')
        return address_error(address, pair->at + pair->name, "expected \"=\" and a value");
    if (*seen & bit)
        return address_error(address, pair->at, "option given twice");
    *seen |= bit;
    return 0;
}

static int apply_pair(const struct address *address, const struct pair *pair, const struct own_option *own,
                      struct options *options, uint64_t *seen) {
    const struct rule *rule = find_rule(pair->text, pair->name);
    const struct own_option *found = rule ? NULL : find_own(own, pair);
    const char *value = pair->text + pair->name + 1;
    size_t bad = 0, length = pair->length - pair->name - 1;
    if (!rule && !found)
        return address_error(address, pair->at, pair->name > 0 ? "unknown option (hawser_options(3) lists them)" : "expected an option");
    int error = see(address, pair, (unsigned)(rule ? (size_t)(rule - rules) : N_RULES + (size_t)(found - own)), seen);
    if (error)
        return error;
    error = rule ? read_value(rule, value, length, options, &bad) : found->read(value, length, found->to);
    return error == -EINVAL ? address_error(address, pair->at + pair->name + 1 + (unsigned)bad, rule ? rule->expected : found->expected)
                            : error;
}

static int apply_query(const struct address *address, const struct own_option *own, struct options *options) {
    uint64_t seen = 0;
    unsigned at = address->query;
    while (address->text[at]) {
        const char *text = address->text + at;
        struct pair pair = { text, at, (unsigned)strcspn(text, "=&"), (unsigned)strcspn(text, "&") };
        int error = apply_pair(address, &pair, own, options, &seen);
        if (error)
            return error;
        at += pair.length;
        if (address->text[at] == '&' && !address->text[++at])
            return address_error(address, at, "expected an option");
    }
    return 0;
}

int options_resolve_own(const hawser_options *given, const struct address *address, const struct own_option *own,
                        struct options *ret_options) {
    struct options options = { 0 };
    int error = 0;
    fall_back(&options);
    if (given)
        error = apply_given(given, &options);
    if (!error)
        error = apply_query(address, own, &options);
    if (!error)
        *ret_options = options;
    return error;
}

int options_resolve(const hawser_options *given, const struct address *address, struct options *ret_options) {
    return options_resolve_own(given, address, NULL, ret_options);
}
