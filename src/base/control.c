/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "base/control.h"

#include <string.h>

void control_put_fds(struct msghdr *message, const int *fds, unsigned n) {
    message->msg_controllen = (socklen_t)CONTROL_FDS_SPACE(n); /* musl's type; glibc's is wider */
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n * sizeof(int));
}

#define SCM_PIDFD_ 4 /* include/linux/socket.h, since Linux 6.5; who sets SO_PASSPIDFD gets one with each message */

static void close_pidfd(struct cmsghdr *header) {
    int fd;
    if (header->cmsg_type != SCM_PIDFD_ || header->cmsg_len < CMSG_LEN(sizeof fd))
        return;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    if (fd >= 0)
        sys_close(fd);
}

bool control_has_others(const struct msghdr *message) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = sys_next_control(message, header))
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            return true;
    return false;
}

unsigned control_take_fds(const struct msghdr *message, int *ret_fds, unsigned most) {
    unsigned n = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = sys_next_control(message, header)) {
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        close_pidfd(header);
        if (header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (n < most)
                ret_fds[n++] = fd;
            else
                sys_close(fd);
        }
    }
    return n;
}
