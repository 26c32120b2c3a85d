/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Who may raise whose events. Really other users: children become them, which only root can. */

#include "events.h"

#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STRANGER = 65533, OTHER = 65532 };

static bool is_root(void) {
    if (geteuid() == 0)
        return true;
    printf("#   skipped: only root can become another user\n");
    return false;
}

static void become(uid_t user) {
    if (user != 0)
        CHECK(setgroups(0, NULL) == 0 && setgid((gid_t)user) == 0 && setuid(user) == 0);
}

/* The place's address in a directory that owner alone can write and all can enter, with one option more. */
static void address_in(const char *name, uid_t owner, const char *option, char *ret_address) {
    char directory[200];
    int scheme = (int)(strchr(place->address, ':') - place->address);
    const char *query = strchr(place->address, '?');
    CHECK(chmod(getenv("HAWSER_RUNTIME_DIR"), 0755) == 0);
    snprintf(directory, sizeof directory, "%.180s/%s", getenv("HAWSER_RUNTIME_DIR"), name);
    CHECK((mkdir(directory, 0755) == 0 || errno == EEXIST) && chown(directory, owner, (gid_t)owner) == 0);
    snprintf(ret_address, HAWSER_ADDRESS_MAX, "%.*s://%.170s/bell%s%s%s", scheme, place->address, directory, query ? query : "",
             *option ? (query ? "&" : "?") : "", option);
}

static void remove_directory(const char *name) {
    char directory[200];
    snprintf(directory, sizeof directory, "%.180s/%s", getenv("HAWSER_RUNTIME_DIR"), name);
    CHECK(rmdir(directory) == 0);
}

/* Opens as that user, and raises if that may be. What it has of the event by fork it gives up first. */
static pid_t open_as(hawser_event *event, uid_t user, const char *address, int opened, int raised) {
    pid_t child = fork_child();
    if (child > 0)
        return child;
    hawser_event_close(event);
    become(user);
    hawser_event *raiser;
    int error = hawser_event_open(address, NULL, 10 * SECOND, &raiser);
    EXPECT(error, opened);
    if (opened == 0) {
        EXPECT(hawser_event_raise(raiser, 1), raised);
        hawser_event_close(raiser);
    }
    announce(0);
    _exit(0);
}

/* The waiter is root, or whoever this process has become. */
static void try_as(hawser_event *event, uid_t user, const char *address, int opened, int raised) {
    uint64_t value = 0, before = __atomic_load_n(&shared[0], __ATOMIC_ACQUIRE);
    int64_t began = now_ns();
    pid_t child = open_as(event, user, address, opened, raised);
    bool came = false;
    while (__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE) == before || (opened == 0 && raised == 0 && !came)) {
        came |= hawser_event_wait(event, MS, &value) == 0;
        CHECK(now_ns() - began < 10 * SECOND);
    }
    CHECK(came == (opened == 0 && raised == 0));
    reap(child);
}

static void users_are_kept_out_or_let_in(void) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_event *event;
    if (!is_root())
        return;
    int raised = place->is & SIGNAL ? -EPERM : 0; /* the kernel lets nobody signal other users' processes */
    address_in("own", 0, "", address);
    EXPECT(hawser_event_create(address, NULL, &event), 0);
    try_as(event, STRANGER, address, -EACCES, 0);
    try_as(event, 0, address, 0, 0);
    hawser_event_close(event);
    address_in("own", 0, "users=any", address);
    EXPECT(hawser_event_create(address, NULL, &event), 0);
    try_as(event, STRANGER, address, 0, raised);
    hawser_event_close(event);
    if (!(place->is & FUTEX)) { /* there it takes a file system with access lists */
        address_in("own", 0, "users=65533", address);
        EXPECT(hawser_event_create(address, NULL, &event), 0);
        try_as(event, STRANGER, address, 0, raised);
        try_as(event, OTHER, address, -EACCES, 0);
        hawser_event_close(event);
    }
    remove_directory("own");
}

/* A stranger has taken the name: it is not raised unless it is who we say that we expect. */
static void squatters_are_not_raised(void) {
    char address[HAWSER_ADDRESS_MAX], expected[HAWSER_ADDRESS_MAX];
    hawser_event *raiser;
    if (!is_root())
        return;
    address_in("squat", STRANGER, "users=any", address);
    address_in("squat", STRANGER, "peer=65533", expected);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_event *event;
        uint64_t value;
        become(STRANGER);
        EXPECT(hawser_event_create(address, NULL, &event), 0);
        announce(0);
        while (hawser_event_wait(event, 10 * SECOND, &value) != 0) {
        }
        hawser_event_close(event);
        _exit(0);
    }
    await(0, 1);
    EXPECT(hawser_event_open(address, NULL, SECOND, &raiser), -EACCES);
    EXPECT(hawser_event_open(expected, NULL, 10 * SECOND, &raiser), 0);
    EXPECT(hawser_event_raise(raiser, 1), 0);
    reap(child);
    hawser_event_close(raiser);
    remove_directory("squat");
}

const struct promise access_promises[] = {
    { "users are kept out or let in", users_are_kept_out_or_let_in, FORK | TICKET },
    { "squatters are not raised", squatters_are_not_raised, FORK | TICKET },
    { NULL, NULL, 0 },
};
