/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Who may talk to whom. Really another user: the forked process becomes one, which only root can. */

#include "suite.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STRANGER = 65533, OTHER = 65532 };

static void need_root(void) {
    if (geteuid() != 0)
        skip("only root can become another user");
}

/* With a runtime directory of its own, as every user has. */
static void become(uid_t user) {
    char runtime[192];
    snprintf(runtime, sizeof runtime, "%s-%u", getenv("HAWSER_RUNTIME_DIR"), user);
    CHECK(mkdir(runtime, 0700) == 0 || errno == EEXIST);
    CHECK(chown(runtime, user, (gid_t)user) == 0 && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0);
    CHECK(setgroups(0, NULL) == 0 && setgid((gid_t)user) == 0 && setuid(user) == 0);
}

/* A directory of `owner` for a name that more than one user shall reach; the address of a name in it. */
static void shared_place(struct cell *cell, uid_t owner, const char *query, char *ret_address) {
    char directory[192];
    snprintf(directory, sizeof directory, "%s/own", cell->directory);
    (void)!mkdir(directory, 0755);
    snprintf(directory, sizeof directory, "%s/own/%u", cell->directory, ++cell->made);
    CHECK(mkdir(directory, 0755) == 0 && chown(directory, owner, (gid_t)owner) == 0);
    const char *scheme = cell->place->base;
    int length = (int)(strstr(scheme, "://") - scheme);
    bool abstract = strstr(scheme, "@") != NULL;
    length = snprintf(ret_address, HAWSER_ADDRESS_MAX, "%.*s://%s%s/name%s%s", length, scheme, abstract ? "@" : "", directory,
                      *query ? "?" : "", query);
    CHECK(length < HAWSER_ADDRESS_MAX);
}

static const char *without_query(const char *address) {
    static char bare[HAWSER_ADDRESS_MAX];
    snprintf(bare, sizeof bare, "%s", address);
    bare[strcspn(bare, "?")] = '\0';
    return bare;
}

/* In a process of `user`: connects and expects `wanted`; if it is 0, sends a message. */
static pid_t connect_as(uid_t user, const char *address, const char *query, int wanted) {
    char full[HAWSER_ADDRESS_MAX];
    CHECK(snprintf(full, sizeof full, "%s%s%s", without_query(address), *query ? "?" : "", query) < HAWSER_ADDRESS_MAX);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel = NULL;
        if (user != 0)
            become(user);
        EXPECT(hawser_connect(full, NULL, 5 * SECOND, &channel), wanted);
        if (channel)
            send_one(channel, 1, 20);
        hawser_close(channel);
        exit(0);
    }
    return child;
}

static hawser_listener *listen_shared(const char *address, const hawser_options *options) {
    hawser_listener *listener = NULL;
    EXPECT(hawser_listen(address, options, &listener), 0);
    return listener;
}

static bool runs(pid_t child) {
    siginfo_t ended = { 0 };
    CHECK(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) == 0);
    return ended.si_pid == 0;
}

/* The refused one is told, and the listener goes on: the next that is admitted is served. */
static void serve_after(hawser_listener *listener, const char *address, pid_t refused) {
    hawser_channel *channel = NULL;
    do
        EXPECT(hawser_accept(listener, 20 * MS, &channel), -ETIMEDOUT);
    while (runs(refused));
    reap(refused);
    pid_t admitted = connect_as(0, address, "", 0);
    channel = accept_one(listener);
    recv_one(channel, 1, 20);
    hawser_close(channel);
    reap(admitted);
    hawser_listener_close(listener);
}

static void refused_user(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    need_root();
    shared_place(cell, 0, "", address);
    hawser_listener *listener = listen_shared(address, NULL);
    serve_after(listener, address, connect_as(STRANGER, address, "", -EACCES));
    shared_place(cell, 0, "users=65532", address); /* the name is open to others, the listener not to this one */
    listener = listen_shared(address, NULL);
    serve_after(listener, address, connect_as(STRANGER, address, "", -EACCES));
    shared_place(cell, 0, "groups=65532", address);
    listener = listen_shared(address, NULL);
    serve_after(listener, address, connect_as(STRANGER, address, "", -EACCES));
}

static void admit_one(hawser_listener *listener, const char *address, uid_t user) {
    pid_t child = connect_as(user, address, "", 0);
    hawser_channel *channel = accept_one(listener);
    struct hawser_peer peer = HAWSER_PEER_INIT;
    recv_one(channel, 1, 20);
    EXPECT(hawser_peer(channel, &peer), 0);
    CHECK(peer.uid == user && peer.gid == (gid_t)user && peer.pid == child);
    hawser_close(channel);
    reap(child);
    hawser_listener_close(listener);
}

static void admitted_user(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    const char *policies[] = { "users=65533", "users=65530,65533", "groups=65533", "users=any" };
    need_root();
    for (int i = 0; i < 4; i++) {
        shared_place(cell, 0, policies[i], address);
        admit_one(listen_shared(address, NULL), address, STRANGER);
    }
}

struct asked {
    unsigned times;
    uid_t last;
};

static int admit_stranger(void *context, const struct hawser_peer *peer) {
    struct asked *asked = context;
    asked->times++;
    asked->last = peer->uid;
    return peer->uid == STRANGER;
}

static void callback(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    struct asked asked = { 0 };
    hawser_options options = HAWSER_OPTIONS_INIT;
    options.admit = admit_stranger;
    options.admit_context = &asked;
    need_root();
    shared_place(cell, 0, "", address);
    admit_one(listen_shared(address, &options), address, STRANGER);
    CHECK(asked.times == 1 && asked.last == STRANGER);
    shared_place(cell, 0, "", address);
    hawser_listener *listener = listen_shared(address, &options);
    serve_after(listener, address, connect_as(OTHER, address, "", -EACCES));
    if (asked.times != 2 || asked.last != OTHER) /* not asked about the own user */
        fail(__FILE__, __LINE__, "asked %u times, last about uid %u", asked.times, asked.last);
}

/* ---- a squatted name ---- */

/* The last to leave a System V queue may not remove that of another user: its maker's next open does. */
static void collect_as(struct cell *cell, uid_t user) {
    pid_t child = cell->place->mechanism == SYSV ? fork_child() : -1;
    if (child == 0) {
        hawser_listener *listener = NULL;
        become(user);
        EXPECT(hawser_listen("sysv://collect", NULL, &listener), 0);
        hawser_listener_close(listener);
        exit(0);
    }
    if (child > 0)
        reap(child);
}

static void squatter_main(struct side *side, const char *address) {
    hawser_listener *listener = NULL;
    hawser_channel *channel = NULL;
    become(STRANGER);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    tell(side);
    EXPECT(hawser_accept(listener, 5 * SECOND, &channel), 0); /* the last, who asks for this user by name */
    recv_one(channel, 1, 20);
    hawser_close(channel);
    hawser_listener_close(listener);
    exit(0);
}

/* A stranger listens where root, then another user, expect somebody else. */
static void squatted(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    int control[2];
    hawser_channel *channel = NULL;
    need_root();
    shared_place(cell, STRANGER, "users=any", address);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0);
    struct side side = { .cell = cell, .control = control[0] };
    pid_t squatter = fork_child();
    if (squatter == 0) {
        close(control[0]);
        side.control = control[1];
        squatter_main(&side, address);
    }
    close(control[1]);
    hear(&side);
    EXPECT(hawser_connect(without_query(address), NULL, 2 * SECOND, &channel), -EACCES);
    reap(connect_as(OTHER, address, "", -EACCES));
    reap(connect_as(OTHER, address, "peer=65531", -EACCES));
    CHECK(!channel);
    reap(connect_as(OTHER, address, "peer=65533", 0));
    reap(squatter);
    close(control[0]);
    collect_as(cell, STRANGER);
}

/* A root listener is expected by everyone; "any" expects anyone. */
static void expected(struct cell *cell) {
    char address[HAWSER_ADDRESS_MAX];
    need_root();
    const char *queries[] = { "", "peer=any", "peer=root", "peer=0" };
    for (int i = 0; i < 4; i++) {
        shared_place(cell, 0, "users=any", address);
        hawser_listener *listener = listen_shared(address, NULL);
        pid_t child = connect_as(STRANGER, address, queries[i], 0);
        hawser_channel *channel = accept_one(listener);
        recv_one(channel, 1, 20);
        hawser_close(channel);
        reap(child);
        hawser_listener_close(listener);
    }
}

/* ---- directories ---- */

static void expect_listen_refused(const char *address, int wanted) {
    hawser_listener *listener = NULL;
    hawser_channel *channel = NULL;
    EXPECT(hawser_listen(address, NULL, &listener), wanted);
    EXPECT(hawser_connect(address, NULL, 10 * MS, &channel), wanted);
}

/* RUNTIME of another user, or open to others, is refused by both ends. */
static void runtime(struct cell *cell) {
    char path[192], address[HAWSER_ADDRESS_MAX];
    struct stat status;
    const char *good = getenv("HAWSER_RUNTIME_DIR");
    hawser_listener_close(listen_new(cell, ""));
    CHECK(stat(good, &status) == 0 && (status.st_mode & 0777) == 0700); /* made when missing */
    snprintf(path, sizeof path, "%s/own", cell->directory);
    CHECK(mkdir(path, 0777) == 0 && chmod(path, 0777) == 0);
    setenv("HAWSER_RUNTIME_DIR", path, 1);
    address_new(cell, "", address);
    expect_listen_refused(address, -EACCES);
    if (geteuid() != 0)
        return;
    CHECK(chmod(path, 0700) == 0 && chown(path, STRANGER, STRANGER) == 0);
    expect_listen_refused(address, -EACCES);
}

/* An absolute NAME in a directory that others may write. */
static void open_directory(struct cell *cell) {
    char path[192], address[HAWSER_ADDRESS_MAX];
    snprintf(path, sizeof path, "%s/own", cell->directory);
    CHECK(mkdir(path, 0777) == 0 && chmod(path, 0777) == 0);
    const char *scheme = cell->place->base;
    snprintf(address, sizeof address, "%.*s://%s/name", (int)(strstr(scheme, "://") - scheme), scheme, path);
    expect_listen_refused(address, -EACCES);
}

/* ---- who it is ---- */

static void identity_act(struct side *side) {
    struct hawser_peer peer = HAWSER_PEER_INIT;
    EXPECT(hawser_peer(side->channel, &peer), 0);
    if (can(side->cell, HAWSER_CAN_CREDENTIALS)) {
        CHECK(peer.pid == side->other && peer.uid == geteuid() && peer.gid == getegid());
        CHECK(peer.pidfd >= 0 && fcntl(peer.pidfd, F_GETFD) >= 0 && peer.address[0] == '\0');
    } else {
        CHECK(peer.pid == -1 && peer.uid == (uid_t)-1 && peer.gid == (gid_t)-1 && peer.pidfd == -1);
        CHECK((peer.address[0] != '\0') == (side->cell->place->mechanism == TCP));
    }
    tell(side);
    hear(side);
}

static void identity(struct cell *cell) { meet(cell, "", identity_act, identity_act); }

/* "kills": over sysv, should the other user be the last to leave, the queues stay until the next open, as the dead's do. */
const struct promise access_promises[] = {
    { "refused_user", refused_user, FIFO | TCP, PLAIN, false, 0 },
    { "admitted_user", admitted_user, FIFO | TCP, PLAIN, true, 0 },
    { "callback", callback, FIFO | TCP, PLAIN, true, 0 },
    { "squatted", squatted, FIFO | TCP, PLAIN, false, 0 },
    { "expected", expected, FIFO | TCP, PLAIN, true, 0 },
    { "runtime", runtime, FIFO | TCP | UNIX, PLAIN, false, 0 },
    { "open_directory", open_directory, FIFO | TCP | UNIX, PLAIN, false, 0 },
    { "identity", identity, 0, PLAIN | LADDER, false, 0 },
    { NULL, NULL, 0, 0, false, 0 },
};
