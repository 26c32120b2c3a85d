/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Takes addresses, sizes and times apart. What is wrong is shown where it stands, so that the
 * writer of an address need not guess. */

#include "core/address.h"

#include "base/error.h"
#include "core/transport.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* An address may hold anything; a sentence holds no control characters. */
static void show(const char *text, char *ret_shown, size_t capacity) {
    size_t i = 0;
    for (; text[i] && i + 1 < capacity; i++)
        ret_shown[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    ret_shown[i] = 0;
}

int address_error(const struct address *address, unsigned at, const char *what) {
    char shown[HAWSER_ADDRESS_MAX];
    show(address->text, shown, sizeof shown);
    if (!shown[at])
        return error_set(-EINVAL, "address \"%s\": %s at character %u (its end)", shown, what, at + 1);
    return error_set(-EINVAL, "address \"%s\": %s at character %u (\"%s\")", shown, what, at + 1, shown + at);
}

/* n: the scheme's length. schemes: NULL: those of the transports. */
static int scheme_error(const struct address *address, unsigned n, const char *const *schemes) {
    char known[160] = "";
    for (unsigned i = 0; schemes ? schemes[i] != NULL : transports[i] != NULL; i++) {
        size_t used = strlen(known);
        bool last = schemes ? !schemes[i + 1] : !transports[i + 1];
        const char *before = i == 0 ? "" : last ? " and " : ", ";
        snprintf(known + used, sizeof known - used, "%s%s", before, schemes ? schemes[i] : transports[i]->scheme);
    }
    if (schemes && !schemes[1])
        return error_set(-EINVAL, "address \"%s\": expected %s://NAME at character 1, not \"%.*s\"", address->text, known, (int)n,
                         address->text);
    return error_set(-EINVAL, "address \"%s\": unknown mechanism \"%.*s\" at character 1; the mechanisms are %s", address->text,
                     (int)n, address->text, known);
}

static int check_characters(const struct address *address) {
    for (unsigned i = 0; address->text[i]; i++)
        if ((unsigned char)address->text[i] < ' ' || address->text[i] == 0x7f)
            return address_error(address, i, "control character");
    return 0;
}

static int find_scheme(struct address *address, unsigned n, const char *const *schemes, unsigned *ret_scheme) {
    if (!schemes)
        address->transport = transport_find(address->text, n);
    for (unsigned i = 0; schemes && schemes[i]; i++)
        if (strlen(schemes[i]) == n && strncmp(schemes[i], address->text, n) == 0) {
            *ret_scheme = i;
            return 0;
        }
    return address->transport ? 0 : scheme_error(address, n, schemes);
}

static int parse_scheme(struct address *address, const char *const *schemes, unsigned *ret_place, unsigned *ret_scheme) {
    unsigned n = 0;
    const char *text = address->text;
    while ((text[n] >= 'a' && text[n] <= 'z') || (n > 0 && text[n] >= '0' && text[n] <= '9') ||
           (n > 0 && text[n] == '+'))
        n++;
    if (n == 0)
        return address_error(address, 0, "expected a mechanism, in lower case");
    if (strncmp(text + n, "://", 3) != 0)
        return address_error(address, n, "expected \"://\", as in shm://NAME,");
    *ret_place = n + 3;
    return find_scheme(address, n, schemes, ret_scheme);
}

static int parse(const char *text, const char *const *schemes, struct address *ret_address, unsigned *ret_scheme) {
    struct address address = { 0 };
    if (!text)
        return error_note(-EINVAL, "the address is NULL");
    size_t length = strnlen(text, HAWSER_ADDRESS_MAX);
    if (length == HAWSER_ADDRESS_MAX)
        return error_set(-EINVAL, "address \"%.32s...\" is over-long at character %d: at most %d bytes", text,
                         HAWSER_ADDRESS_MAX, HAWSER_ADDRESS_MAX - 1);
    memcpy(address.text, text, length);
    unsigned place = 0;
    int error = check_characters(&address);
    if (!error)
        error = parse_scheme(&address, schemes, &place, ret_scheme);
    if (error)
        return error;
    size_t place_length = strcspn(address.text + place, "?");
    memcpy(address.place, address.text + place, place_length);
    address.query = (unsigned)(place + place_length);
    if (address.text[address.query] == '?') {
        address.query++;
        if (!address.text[address.query])
            return address_error(&address, address.query, "expected an option");
    }
    *ret_address = address;
    return 0;
}

int address_parse(const char *text, struct address *ret_address) { return parse(text, NULL, ret_address, NULL); }

int address_parse_as(const char *text, const char *const *schemes, struct address *ret_address, unsigned *ret_scheme) {
    return parse(text, schemes, ret_address, ret_scheme);
}

/* The number's own digits; the rest is the unit. */
static int parse_number(const char *text, size_t length, uint64_t *ret_number, size_t *ret_digits) {
    uint64_t number = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return -EINVAL;
    if (i == 0)
        return -EINVAL;
    *ret_number = number;
    *ret_digits = i;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static int parse_unit(const char *text, size_t length, const struct unit *units, uint64_t *ret_factor) {
    for (; units->name; units++)
        if (strlen(units->name) == length && strncmp(units->name, text, length) == 0) {
            *ret_factor = units->factor;
            return 0;
        }
    return -EINVAL;
}

static int parse_quantity(const char *text, size_t length, const struct unit *units, uint64_t *ret_quantity) {
    uint64_t number, factor, quantity;
    size_t digits;
    if (parse_number(text, length, &number, &digits) < 0)
        return -EINVAL;
    if (number == 0 && digits == length)
        factor = 1; /* nothing is nothing in every unit */
    else if (parse_unit(text + digits, length - digits, units, &factor) < 0)
        return -EINVAL;
    if (__builtin_mul_overflow(number, factor, &quantity))
        return -EINVAL;
    *ret_quantity = quantity;
    return 0;
}

int parse_size(const char *text, size_t length, uint64_t *ret_size) {
    static const struct unit units[] = { { "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 } };
    return parse_quantity(text, length, units, ret_size);
}

int parse_time(const char *text, size_t length, int64_t *ret_ns) {
    static const struct unit units[] = {
        { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { NULL, 0 }
    };
    uint64_t ns;
    if (parse_quantity(text, length, units, &ns) < 0 || ns > INT64_MAX)
        return -EINVAL;
    *ret_ns = (int64_t)ns;
    return 0;
}
