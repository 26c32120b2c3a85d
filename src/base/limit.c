/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See limit.h. /proc may be absent; then nothing is known. */

#include "base/limit.h"

#include "base/cleanup.h"

#include <errno.h>

static ssize_t read_again(int fd, char *bytes, size_t size) {
    ssize_t n;
    do
        n = sys_read(fd, bytes, size);
    while (n == -EINTR);
    return n;
}

int limit_read(const char *path, uint64_t *ret_number) {
    char text[32];
    int opened;
    do
        opened = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    while (opened == -EINTR);
    cleanup_fd fd = opened;
    if (fd < 0)
        return fd;
    ssize_t n = read_again(fd, text, sizeof text);
    if (n < 0)
        return (int)n;
    uint64_t number = 0;
    ssize_t i = 0;
    for (; i < n && i < 19 && text[i] >= '0' && text[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    if (i == 0)
        return -EINVAL;
    *ret_number = number;
    return 0;
}
