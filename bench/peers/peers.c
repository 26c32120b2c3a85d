/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See peers.h. Modules are looked for where the build puts them, seen from the running program: ../bench/peers. They
 * must belong to whoever the program belongs to, so that a program copied into a place where others may write does not
 * load theirs. */

#include "peers.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct peer peers[PEERS] = {
    { .name = "iceoryx", .module = "iceoryx", .package = "libiceoryx-posh-dev and libacl1-dev", .how = "loan, copy in, publish; take, copy out; spins" },
    { .name = "ucx", .module = "ucx", .package = "libucx-dev", .how = "active messages over posix shared memory; spins" },
    { .name = "boost-mq", .module = "boost", .package = "libboost-dev", .how = "Boost.Interprocess message_queue; spins" },
    { .name = "nng", .module = "nng", .package = "libnng-dev", .how = "pair0 over ipc; blocks, as it cannot spin" },
    { .name = "zmq-ipc", .module = "zmq", .package = "libzmq3-dev", .how = "ZeroMQ pair, push to pull, over ipc; blocks, as it cannot spin" },
    { .name = "zmq-tcp", .module = "zmq", .package = "libzmq3-dev", .how = "ZeroMQ pair, push to pull, over tcp; blocks", .remote = true },
};

/* Where the module is; 0, or -1 when it is not there, or not ours. */
static int find(const char *module, char *ret_path, size_t size) {
    char program[PATH_MAX];
    struct stat status, program_status;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0)
        return -1;
    program[length] = 0;
    if (stat(program, &program_status) < 0 || !strrchr(program, '/'))
        return -1;
    *strrchr(program, '/') = 0;
    length = snprintf(ret_path, size, "%s/../bench/peers/peer_%s.so", program, module);
    if (length < 0 || (size_t)length >= size || stat(ret_path, &status) < 0)
        return -1;
    return status.st_uid == program_status.st_uid ? 0 : -1;
}

static void load(struct peer *peer) {
    char path[PATH_MAX];
    if (find(peer->module, path, sizeof path) < 0) {
        snprintf(peer->problem, sizeof peer->problem, "not built: install %s and build again", peer->package);
        return;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct way *const *ways = module ? dlsym(module, PEER_WAYS_NAME) : NULL;
    for (; ways && *ways; ways++)
        if (strcmp((*ways)->name, peer->name) == 0)
            peer->way = *ways;
    if (!peer->way) {
        const char *reason = dlerror();
        snprintf(peer->problem, sizeof peer->problem, "cannot be loaded: %s", reason ? reason : "its module is of another version");
    }
}

const struct peer *peers_load(void) {
    static bool loaded;
    for (size_t i = 0; i < PEERS && !loaded; i++)
        load(&peers[i]);
    loaded = true;
    return peers;
}

const struct way *peer_find(const char *name) {
    peers_load();
    for (size_t i = 0; i < PEERS; i++)
        if (strcmp(peers[i].name, name) == 0)
            return peers[i].way;
    return NULL;
}
