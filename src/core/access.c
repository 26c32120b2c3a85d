/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Both ends' checks of the other's kernel credentials. The sentences of a refusal travel to the end that is
 * refused, so they speak to it. */

#include "core/access.h"

#include "base/error.h"
#include "base/sys.h"
#include "core/identity.h"

#include <errno.h>
#include <string.h>

static void list_show(const char *what, const struct id_list *list, char *text, size_t capacity) {
    if (list->any)
        snprintf(text + strlen(text), capacity - strlen(text), ", any %s", what);
    for (unsigned i = 0; i < list->n; i++)
        snprintf(text + strlen(text), capacity - strlen(text), ", %s %u", what, list->ids[i]);
}

static int refuse(const struct options *options, uid_t uid, gid_t gid) {
    char allowed[96];
    snprintf(allowed, sizeof allowed, "uid %u", geteuid());
    list_show("uid", &options->users, allowed, sizeof allowed);
    list_show("gid", &options->groups, allowed, sizeof allowed);
    if (options->groups.n > 0)
        return error_set(-EACCES, "listener allows %s, you are uid %u, gid %u", allowed, uid, gid);
    return error_set(-EACCES, "listener allows %s, you are uid %u", allowed, uid);
}

int access_keepable(const char *scheme, int capabilities, const struct options *options) {
    if (capabilities & HAWSER_CAN_CREDENTIALS || (options->users.n == 0 && options->groups.n == 0 && !options->admit))
        return 0;
    return error_set(-EOPNOTSUPP, "%s cannot tell who connects, so it keeps nobody out: leave users, groups and admit out, or use "
                                  "another mechanism", scheme);
}

int access_admit(const struct options *options, pid_t pid, uid_t uid, gid_t gid) {
    if (uid == geteuid() && !id_unmapped(uid, false))
        return 0;
    if (ids_hold(&options->users, uid, false) || ids_hold(&options->groups, gid, true))
        return 0;
    if (options->admit) {
        struct hawser_peer peer = { .struct_size = sizeof peer, .pid = pid, .uid = uid, .gid = gid, .pidfd = -1 };
        if (options->admit(options->admit_context, &peer))
            return 0;
    }
    return refuse(options, uid, gid);
}

int access_expect(const struct options *options, uid_t uid, gid_t gid) {
    (void)gid;
    if (options->peer_given ? ids_hold(&options->peer, uid, false)
                            : (uid == geteuid() || uid == 0) && !id_unmapped(uid, false))
        return 0;
    if (options->peer_given)
        return error_set(-EACCES, "permission denied: listener runs as uid %u, you expect uid %u", uid,
                         options->peer.ids[0]);
    return error_set(-EACCES,
                     "permission denied: listener runs as uid %u, you are uid %u and expect your own user or root; "
                     "peer=%u in the address allows it",
                     uid, geteuid(), uid);
}

mode_t access_mode(const struct options *options) {
    bool others =
        options->users.any || options->users.n > 0 || options->groups.any || options->groups.n > 0 || options->admit;
    return others ? 0666 : 0600;
}

int access_credentials(int fd, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    int error = sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    if (error < 0)
        return error_set(error, "cannot ask the kernel who is at the other end: %s", error_text(error));
    *ret_pid = credentials.pid;
    *ret_uid = credentials.uid;
    *ret_gid = credentials.gid;
    return 0;
}
