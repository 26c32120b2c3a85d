/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What hawser region does. Bytes are read to the end before the guard is taken, and written only once it is given back: nobody waits
 * for a slow pipe. */

#include "arguments.h"
#include "region.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAP_NS 1000000

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("hawser region: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return EXIT_FAILED;
}

static int open_region(const struct region_words *words, const char *name, const char *option, size_t size, hawser_region **ret_region) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_options options = HAWSER_OPTIONS_INIT;
    options.users = words->users;
    options.groups = words->groups;
    int code = arguments_address(words->verb, name, "region", option, address);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_region_open(address, &options, size, ret_region);
    return error < 0 ? report_failure(words->verb, error) : EXIT_DONE;
}

/* ---- Bytes ---- */

struct bytes {
    char *data;
    size_t size;
};

static int fail_to_read(const char *path) {
    return fail("cannot read %s: %s", path ? path : "standard input", strerror(errno));
}

/* All of a file, or of standard input; no more than `most` and one, so that too much is seen. */
static int read_all(const char *path, uint64_t most, struct bytes *ret_bytes) {
    FILE *file = path ? fopen(path, "rb") : stdin;
    struct bytes bytes = { 0 };
    size_t capacity = 0;
    if (!file)
        return fail_to_read(path);
    for (size_t n = 1; n > 0 && bytes.size <= most;) {
        if (bytes.size == capacity) {
            capacity = capacity * 2 + (64 << 10);
            char *larger = realloc(bytes.data, capacity);
            if (!larger)
                break;
            bytes.data = larger;
        }
        n = fread(bytes.data + bytes.size, 1, capacity - bytes.size, file);
        bytes.size += n;
    }
    bool failed = ferror(file) || (!feof(file) && bytes.size <= most);
    int code = failed ? fail_to_read(path) : EXIT_DONE;
    if (path)
        fclose(file);
    if (failed)
        free(bytes.data);
    else
        *ret_bytes = bytes;
    return code;
}

static int write_all(const struct bytes *bytes) {
    if (fwrite(bytes->data, 1, bytes->size, stdout) != bytes->size || fflush(stdout) != 0)
        return fail("cannot write standard output: %s", strerror(errno));
    return EXIT_DONE;
}

/* ---- Writing ---- */

/* Where who wrote last died half-way, only writing all of it mends it; the guard is not unlocked then, but goes with the process, so
 * that the next is told too. */
static int put(hawser_region *region, const struct bytes *bytes, uint64_t offset, int64_t timeout) {
    size_t size = hawser_region_size(region);
    if (offset > size || bytes->size > size - offset)
        return fail("the region has %zu bytes, which is too few for what is to be written from byte %" PRIu64 " on", size, offset);
    int got = hawser_region_lock(region, HAWSER_EXCLUSIVE, timeout);
    if (got < 0)
        return report_failure("region", got);
    if (got == HAWSER_OWNER_DIED && bytes->size < size)
        return fail("who wrote last died half-way; write all of its %zu bytes to mend it", size);
    if (bytes->size > 0)
        memcpy((char *)hawser_region_data(region) + offset, bytes->data, bytes->size);
    got = hawser_region_unlock(region);
    return got < 0 ? report_failure("region", got) : EXIT_DONE;
}

int region_write(const struct region_words *words) {
    hawser_region *region = NULL;
    struct bytes bytes = { 0 };
    int code = open_region(words, words->name, "", 0, &region);
    if (code == EXIT_DONE)
        code = read_all(words->file, hawser_region_size(region), &bytes);
    if (code == EXIT_DONE)
        code = put(region, &bytes, words->offset, words->timeout);
    free(bytes.data);
    hawser_region_close(region);
    return code;
}

int region_create(const struct region_words *words) {
    char share[64], shared[HAWSER_ADDRESS_MAX];
    hawser_region *region = NULL;
    struct hawser_region_status status = HAWSER_REGION_STATUS_INIT;
    struct bytes bytes = { 0 };
    int code = words->file ? read_all(words->file, words->size ? words->size : INT64_MAX, &bytes) : EXIT_DONE;
    size_t size = words->size ? (size_t)words->size : bytes.size;
    snprintf(share, sizeof share, "%s%s", words->share ? "share=" : "", words->share ? words->share : "");
    if (code == EXIT_DONE)
        code = arguments_address(words->verb, words->name, "region", share, shared);
    if (code == EXIT_DONE && size == 0)
        code = arguments_wrong(words->verb, "--size N is missing, or a FILE that is not empty", "");
    if (code == EXIT_DONE && bytes.size > size)
        code = fail("%s has more bytes than --size says", words->file);
    if (code == EXIT_DONE)
        code = open_region(words, shared, "permanent=yes", size, &region);
    if (code == EXIT_DONE && (hawser_region_status(region, &status) < 0 || !status.created))
        code = fail("%s is there already; hawser region write fills it, remove removes it", words->name);
    else if (code == EXIT_DONE && words->file)
        code = put(region, &bytes, 0, words->timeout);
    free(bytes.data);
    hawser_region_close(region);
    return code;
}

/* ---- Reading ---- */

static int copy_locked(hawser_region *region, const struct bytes *to, uint64_t offset, int64_t timeout) {
    int got = hawser_region_lock(region, HAWSER_SHARED, timeout);
    if (got < 0)
        return got;
    memcpy(to->data, (const char *)hawser_region_data(region) + offset, to->size);
    hawser_region_unlock(region);
    return got;
}

/* Who may only read has no guard: a copy between two looks at the same even generation is whole. False: somebody wrote meanwhile. */
static bool copy_unlocked(hawser_region *region, const struct bytes *to, uint64_t offset) {
    uint64_t before = 0, after = 0;
    hawser_region_generation(region, &before);
    memcpy(to->data, (const char *)hawser_region_data(region) + offset, to->size);
    hawser_region_generation(region, &after);
    return before == after && before % 2 == 0;
}

/* Who dies while he writes is not seen to have died by who may only read, but that the guard's users know it. */
static int copy_patiently(hawser_region *region, const struct bytes *to, uint64_t offset, int64_t timeout) {
    const struct timespec nap = { .tv_nsec = NAP_NS };
    struct hawser_region_status status = HAWSER_REGION_STATUS_INIT;
    for (int64_t waited = 0; !copy_unlocked(region, to, offset); waited += NAP_NS) {
        if ((hawser_region_status(region, &status) == 0 && status.torn) || (timeout != HAWSER_FOREVER && waited >= timeout))
            return HAWSER_OWNER_DIED;
        nanosleep(&nap, NULL);
    }
    return 0;
}

static int get(hawser_region *region, const struct region_words *words) {
    struct bytes bytes = { .size = hawser_region_size(region) };
    if (words->offset > bytes.size || words->size > bytes.size - words->offset)
        return fail("the region has %zu bytes, and not as many as are to be read from byte %" PRIu64 " on", bytes.size, words->offset);
    bytes.size = words->size ? (size_t)words->size : bytes.size - (size_t)words->offset;
    bytes.data = malloc(bytes.size ? bytes.size : 1);
    if (!bytes.data)
        return fail("no memory for a copy of the region");
    int got = copy_locked(region, &bytes, words->offset, words->timeout);
    if (got == -EACCES)
        got = copy_patiently(region, &bytes, words->offset, words->timeout);
    int code = got < 0 ? report_failure("region", got) : write_all(&bytes);
    if (code == EXIT_DONE && got == HAWSER_OWNER_DIED)
        code = fail("who writes it died half-way, or never stops: this may be half-written");
    free(bytes.data);
    return code;
}

int region_read(const struct region_words *words) {
    hawser_region *region = NULL;
    int code = open_region(words, words->name, "access=read", 0, &region);
    if (code == EXIT_DONE)
        code = get(region, words);
    hawser_region_close(region);
    return code;
}

/* ---- The rest ---- */

static int show(void *context, const struct hawser_name *name) {
    (void)context;
    if (name->kind == HAWSER_NAME_REGION)
        printf("%-40s %14llu %8u  %s\n", name->address, (unsigned long long)name->size, name->members,
               name->permanent ? "permanent" : name->members ? "" : "left by the dead: hawser gc removes it");
    return 0;
}

int region_list(const struct region_words *words) {
    (void)words;
    printf("%-40s %14s %8s\n", "REGION", "BYTES", "MEMBERS");
    int error = hawser_names_list(NULL, show, NULL);
    return error < 0 ? report_failure("region", error) : EXIT_DONE;
}

int region_remove(const struct region_words *words) {
    char address[HAWSER_ADDRESS_MAX];
    int code = arguments_address(words->verb, words->name, "region", "", address);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_region_remove(address, NULL);
    return error < 0 ? report_failure(words->verb, error) : EXIT_DONE;
}
