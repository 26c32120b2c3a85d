/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Which sockets belong to a name, without connecting to it. A listener binds a temporary name and renames it, so the path
 * that /proc/net/unix shows is never the name's. The kernel's socket diagnosis (sock_diag) also tells the inode of the
 * file that a socket was bound to, which the rename keeps; accepted sockets tell their listener's, and their peers. */

#include "inspect.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* include/uapi/linux/netlink.h, sock_diag.h, unix_diag.h */
#define FAMILY_SOCK_DIAG 4
#define REQUEST_DUMP 0x301 /* NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH */
#define MESSAGE_ERROR 2
#define MESSAGE_DONE 3
#define MESSAGE_BY_FAMILY 20
#define SHOW 7 /* UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER */
#define STATE_ESTABLISHED 1
#define STATE_LISTEN 10

enum attribute_kind { ATTRIBUTE_NAME = 0, ATTRIBUTE_FILE = 1, ATTRIBUTE_PEER = 2 };

struct netlink_address {
    uint16_t family, pad;
    uint32_t port, groups;
};

struct netlink_header {
    uint32_t size;
    uint16_t type, flags;
    uint32_t sequence, port;
};

struct unix_request {
    uint8_t family, protocol;
    uint16_t pad;
    uint32_t states, inode, show, cookie[2];
};

struct unix_answer {
    uint8_t family, type, state, pad;
    uint32_t inode, cookie[2];
};

struct attribute {
    uint16_t size, kind;
};

struct sought {
    const char *path;
    uint32_t inode, device;
};

static int failed(const char *path, const char *what) {
    fprintf(stderr, "hawser inspect: %s \"%s\": %s\n", what, path, strerror(errno));
    return EXIT_FAILED;
}

static bool same_directory(const char *path, const unsigned char *name, size_t size) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    return length > 0 && size > length && memcmp(path, name, length) == 0;
}

static bool add(struct inspect_sockets *sockets, const struct unix_answer *answer, uint32_t peer) {
    if (answer->state == STATE_LISTEN) {
        uint32_t *more = realloc(sockets->listening, (sockets->n_listening + 1) * sizeof *more);
        if (!more)
            return false;
        sockets->listening = more;
        sockets->listening[sockets->n_listening++] = answer->inode;
    } else if (answer->state == STATE_ESTABLISHED && peer) {
        bool is_full = (sockets->n_meetings & (sockets->n_meetings - 1)) == 0;
        size_t capacity = sockets->n_meetings ? 2 * sockets->n_meetings : 1;
        struct inspect_meeting *more = is_full ? realloc(sockets->meetings, capacity * sizeof *more) : sockets->meetings;
        if (!more)
            return false;
        sockets->meetings = more;
        sockets->meetings[sockets->n_meetings++] = (struct inspect_meeting){ answer->inode, peer };
    }
    return true;
}

/* On a stacked file system the device of a file is not that of its file system: there the directory has to agree. */
static bool consider(const unsigned char *bytes, size_t size, const struct sought *sought, struct inspect_sockets *sockets) {
    struct unix_answer answer;
    uint32_t file[2] = { 0, 0 }, peer = 0;
    bool is_beside = false;
    if (size < sizeof answer)
        return true;
    memcpy(&answer, bytes, sizeof answer);
    for (size_t at = sizeof answer; at + sizeof(struct attribute) <= size;) {
        struct attribute attribute;
        memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.size < sizeof attribute || attribute.size > size - at)
            break;
        const unsigned char *value = bytes + at + sizeof attribute;
        size_t length = attribute.size - sizeof attribute;
        if (attribute.kind == ATTRIBUTE_FILE && length == sizeof file)
            memcpy(file, value, sizeof file);
        else if (attribute.kind == ATTRIBUTE_PEER && length == sizeof peer)
            memcpy(&peer, value, sizeof peer);
        else if (attribute.kind == ATTRIBUTE_NAME)
            is_beside = same_directory(sought->path, value, length);
        at += (attribute.size + 3u) & ~3u;
    }
    bool is_it = file[0] != 0 && file[0] == sought->inode && (file[1] == sought->device || is_beside);
    return !is_it || add(sockets, &answer, peer);
}

/* 1: that was the last; 0: more to come; negative errno. */
static int digest(const unsigned char *bytes, size_t size, const struct sought *sought, struct inspect_sockets *sockets) {
    for (size_t at = 0; at + sizeof(struct netlink_header) <= size;) {
        struct netlink_header header;
        int32_t error = 0;
        memcpy(&header, bytes + at, sizeof header);
        if (header.size < sizeof header || header.size > size - at)
            return -EPROTO;
        const unsigned char *body = bytes + at + sizeof header;
        size_t length = header.size - sizeof header;
        if (header.type == MESSAGE_DONE)
            return 1;
        if (header.type == MESSAGE_ERROR && length >= sizeof error) {
            memcpy(&error, body, sizeof error);
            return error < 0 ? error : -EPROTO;
        }
        if (header.type == MESSAGE_BY_FAMILY && !consider(body, length, sought, sockets))
            return -ENOMEM;
        at += (header.size + 3u) & ~3u;
    }
    return 0;
}

static int ask(int fd) {
    struct {
        struct netlink_header header;
        struct unix_request request;
    } dump = {
        .header = { .size = sizeof dump, .type = MESSAGE_BY_FAMILY, .flags = REQUEST_DUMP, .sequence = 1 },
        .request = { .family = AF_UNIX, .states = 1u << STATE_ESTABLISHED | 1u << STATE_LISTEN, .show = SHOW },
    };
    struct netlink_address kernel = { .family = AF_NETLINK };
    ssize_t n;
    do
        n = sendto(fd, &dump, sizeof dump, 0, (struct sockaddr *)(void *)&kernel, sizeof kernel);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int dump(const struct sought *sought, struct inspect_sockets *sockets) {
    static unsigned char bytes[65536];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, FAMILY_SOCK_DIAG);
    int error = fd < 0 ? -errno : ask(fd);
    while (error == 0) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            error = digest(bytes, (size_t)n, sought, sockets);
        else if (n == 0 || errno != EINTR)
            error = n == 0 ? -EPROTO : -errno;
    }
    if (fd >= 0)
        close(fd);
    return error < 0 ? error : 0;
}

int inspect_sockets_find(const char *path, struct inspect_sockets *ret_sockets) {
    struct inspect_sockets sockets = { 0 };
    struct stat status;
    bool is_there = lstat(path, &status) == 0;
    if (!is_there && errno != ENOENT)
        return failed(path, "cannot look at the name");
    if (!is_there)
        status = (struct stat){ 0 };
    /* sock_diag has 32 bits of the inode, and the device as the kernel keeps it */
    struct sought sought = { .path = path, .inode = (uint32_t)status.st_ino,
                             .device = (uint32_t)(major(status.st_dev) << 20 | minor(status.st_dev)) };
    if (is_there && S_ISSOCK(status.st_mode)) {
        int error = dump(&sought, &sockets);
        if (error < 0) {
            inspect_sockets_free(&sockets);
            errno = -error;
            return failed(path, "the kernel does not tell (sock_diag) whose socket is");
        }
    }
    if (sockets.n_listening == 0) {
        inspect_sockets_free(&sockets);
        fprintf(stderr, "hawser inspect: nobody listens at \"%s\"\n", path);
        return EXIT_FAILED;
    }
    *ret_sockets = sockets;
    return EXIT_DONE;
}

void inspect_sockets_free(struct inspect_sockets *sockets) {
    free(sockets->listening);
    free(sockets->meetings);
    *sockets = (struct inspect_sockets){ 0 };
}
