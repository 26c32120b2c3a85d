/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The real table: libc's functions, their -1 and errno turned into a negative errno; and the table of an
 * older kernel. What libc or musl lacks is made of syscall() here. */

#include "base/sys.h"

#include <errno.h>
#include <sched.h>
#include <sys/select.h>
#include <sys/syscall.h>

_Thread_local uint64_t sys_calls_made __attribute__((tls_model("initial-exec")));

static long raw_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout, uint32_t bits) {
    return syscall(SYS_futex, word, operation, value, timeout, NULL, bits);
}

static int raw_membarrier(int operation, unsigned flags) { return (int)syscall(SYS_membarrier, operation, flags, 0); }

/* musl has no getdents64 under that name without tricks, older glibc none at all. */
static ssize_t raw_getdents64(int fd, void *buffer, size_t size) { return syscall(SYS_getdents64, fd, buffer, size); }

static int raw_pidfd_open(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }

static int raw_pidfd_send_signal(int pidfd, int signal, siginfo_t *information, unsigned flags) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, information, flags);
}

static int raw_rt_tgsigqueueinfo(pid_t process, pid_t thread, int signal, siginfo_t *information) {
    return (int)syscall(SYS_rt_tgsigqueueinfo, process, thread, signal, information);
}

/* musl's begins anew, with the whole timeout, whenever a handler has run. The kernel wants 64-bit times where libc has them. */
static int raw_sigtimedwait(const sigset_t *set, siginfo_t *information, const struct timespec *timeout) {
#ifdef SYS_rt_sigtimedwait_time64
    if (sizeof timeout->tv_sec > sizeof(long)) {
        int64_t both[2] = { timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_nsec : 0 };
        return (int)syscall(SYS_rt_sigtimedwait_time64, set, information, timeout ? both : NULL, _NSIG / 8);
    }
#endif
    return (int)syscall(SYS_rt_sigtimedwait, set, information, timeout, _NSIG / 8);
}

static pid_t raw_gettid(void) { return (pid_t)syscall(SYS_gettid); }

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* Linux 5.11; the same number on all architectures */
#endif

/* glibc before 2.35 and musl lack it. The kernel wants 64-bit times everywhere. */
static int raw_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    int64_t both[2] = { timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_nsec : 0 };
    return (int)syscall(SYS_epoll_pwait2, epoll, events, n, timeout ? both : NULL, NULL, 0);
}

/* glibc's sched_getaffinity hides how many bytes the kernel wrote, and fails without _GNU_SOURCE types. */
static int raw_sched_getaffinity(pid_t pid, size_t size, void *set) {
    return (int)syscall(SYS_sched_getaffinity, pid, size, set);
}

static int raw_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    int error = pthread_sigmask(how, set, old); /* returns the errno itself */
    errno = error;
    return error ? -1 : 0;
}

/* glibc's prototype wants an enum, musl's an int. */
static int raw_getrlimit(int resource, struct rlimit *limit) {
    uint64_t both[2];
    if (syscall(SYS_prlimit64, 0, resource, NULL, both) < 0)
        return -1;
    limit->rlim_cur = (rlim_t)both[0];
    limit->rlim_max = (rlim_t)both[1];
    return 0;
}

/* glibc's and musl's prototypes differ, and both take any number of arguments. */
static int raw_ioctl(int fd, unsigned long request, void *argument) { return (int)syscall(SYS_ioctl, fd, request, argument); }

/* musl 1.2.3 lacks it. The kernel takes the offset as two longs, low first. */
static ssize_t raw_pwritev2(int fd, const struct iovec *vector, int n, off_t offset, int flags) {
    return syscall(SYS_pwritev2, fd, vector, n, (long)offset, (long)((int64_t)offset >> 32), flags);
}

static ssize_t raw_preadv2(int fd, const struct iovec *vector, int n, off_t offset, int flags) {
    return syscall(SYS_preadv2, fd, vector, n, (long)offset, (long)((int64_t)offset >> 32), flags);
}

static long raw_mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset) {
    return (long)mmap(start, size, protection, flags, fd, offset); /* MAP_FAILED is -1 */
}

#define SELECT_MOST 65536 /* descriptors; libc's own sets end at 1024 */
#define WORD_BITS (8 * sizeof(long))

/* Bits of descriptors, as the kernel has them in select(2). */
struct descriptor_set {
    unsigned long words[SELECT_MOST / WORD_BITS];
};

static void set_add(struct descriptor_set *set, int fd) { set->words[(size_t)fd / WORD_BITS] |= 1ul << (size_t)fd % WORD_BITS; }

static bool set_holds(const struct descriptor_set *set, int fd) {
    return set->words[(size_t)fd / WORD_BITS] >> (size_t)fd % WORD_BITS & 1;
}

static int selected(struct pollfd *fds, nfds_t n, const struct descriptor_set *in, const struct descriptor_set *out) {
    int ready = 0;
    for (nfds_t i = 0; i < n; i++) {
        fds[i].revents = 0;
        if (fds[i].fd >= 0 && set_holds(in, fds[i].fd))
            fds[i].revents = (short)(fds[i].events & (POLLIN | POLLRDHUP));
        if (fds[i].fd >= 0 && set_holds(out, fds[i].fd))
            fds[i].revents = (short)(fds[i].revents | (fds[i].events & POLLOUT));
        ready += fds[i].revents != 0;
    }
    return ready;
}

/* A hang-up counts as something to read here. */
static int select_instead(struct pollfd *fds, nfds_t n, const struct timespec *timeout) {
    struct descriptor_set in = { 0 }, out = { 0 };
    int most = -1;
    for (nfds_t i = 0; i < n; i++) {
        if (fds[i].fd >= SELECT_MOST) {
            errno = EINVAL;
            return -1;
        }
        if (fds[i].fd >= 0 && fds[i].events & (POLLIN | POLLRDHUP))
            set_add(&in, fds[i].fd);
        if (fds[i].fd >= 0 && fds[i].events & POLLOUT)
            set_add(&out, fds[i].fd);
        most = fds[i].fd > most ? fds[i].fd : most;
    }
    int r = pselect(most + 1, (fd_set *)(void *)&in, (fd_set *)(void *)&out, NULL, timeout, NULL);
    return r < 0 ? r : selected(fds, n, &in, &out);
}

/* ppoll refuses more entries than RLIMIT_NOFILE. There can be more, as both halves of a channel wait for the same descriptors,
 * and as a process may have lowered the limit below what it has open, in a sandbox to 0. */
static int raw_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
    int r = ppoll(fds, n, timeout, mask);
    return r < 0 && errno == EINVAL && !mask ? select_instead(fds, n, timeout) : r;
}

#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL)  \
    static TYPE real_##NAME PARAMETERS {            \
        TYPE result = (TYPE)REAL ARGUMENTS;         \
        return result == (TYPE)-1 ? (TYPE)-errno : result; \
    }
SYS_CALLS(X)
#undef X

const struct sys_table sys_table_real = {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) .NAME = real_##NAME,
    SYS_CALLS(X)
#undef X
};

struct sys_table sys_table = {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) .NAME = real_##NAME,
    SYS_CALLS(X)
#undef X
};

static ssize_t old_pwritev2(int fd, const struct iovec *vector, int n, off_t offset, int flags) {
    return flags & RWF_NOSIGNAL ? -EOPNOTSUPP : real_pwritev2(fd, vector, n, offset, flags);
}

static int old_memfd_create(const char *name, unsigned flags) {
    return flags & MFD_NOEXEC_SEAL ? -EINVAL : real_memfd_create(name, flags);
}

static int old_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    /* SO_NETNS_COOKIE (71, Linux 5.14) is the first socket option that 5.10 lacks; SO_PEERPIDFD is 77. */
    return level == SOL_SOCKET && name >= 71 ? -ENOPROTOOPT : real_getsockopt(fd, level, name, value, length);
}

static int old_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    /* SO_PREFER_BUSY_POLL (69, Linux 5.11) */
    return level == SOL_SOCKET && name >= 69 ? -ENOPROTOOPT : real_setsockopt(fd, level, name, value, length);
}

static int old_fcntl(int fd, int operation, long argument) {
    /* F_SEAL_EXEC (0x20) came with 6.3 */
    return operation == F_ADD_SEALS && (argument & 0x20) ? -EINVAL : real_fcntl(fd, operation, argument);
}

static int old_pidfd_open(pid_t pid, unsigned flags) { return flags ? -EINVAL : real_pidfd_open(pid, flags); }

static int old_epoll_pwait2(int epoll, struct epoll_event *events, int n, const struct timespec *timeout) {
    (void)epoll, (void)events, (void)n, (void)timeout;
    return -ENOSYS;
}

void sys_refuse_newer(void) {
    sys_table.epoll_pwait2 = old_epoll_pwait2;
    sys_table.pwritev2 = old_pwritev2;
    sys_table.memfd_create = old_memfd_create;
    sys_table.getsockopt = old_getsockopt;
    sys_table.setsockopt = old_setsockopt;
    sys_table.fcntl = old_fcntl;
    sys_table.pidfd_open = old_pidfd_open;
}
