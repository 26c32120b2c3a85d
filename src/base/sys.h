/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Every system call the library makes, through one replaceable table. A call NAME is made as
 * sys_NAME(...), which counts it for the thread and goes through sys_table.NAME; each returns what the
 * kernel returns: a negative errno on failure, never -1 and errno. Nothing here retries on EINTR.
 *
 * Adding a call is adding a line to SYS_CALLS; the real function is libc's or, for what libc (or musl)
 * lacks, one of sys.c's own. Tests make their faulty table from the same list. */

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* X(returned type, name, (parameters), (arguments), real function) */
#define SYS_CALLS(X) \
    X(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags), accept4) \
    X(int, bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), bind) \
    X(int, close, (int fd), (fd), close) \
    X(int, connect, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length), connect) \
    X(int, epoll_create1, (int flags), (flags), epoll_create1) \
    X(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event), epoll_ctl) \
    X(int, epoll_pwait2, (int epoll, struct epoll_event *events, int n, const struct timespec *timeout), (epoll, events, n, timeout), raw_epoll_pwait2) \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int n, int timeout_ms), (epoll, events, n, timeout_ms), epoll_wait) \
    X(int, eventfd, (unsigned value, int flags), (value, flags), eventfd) \
    X(int, fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size), fallocate) \
    X(int, fchmod, (int fd, mode_t mode), (fd, mode), fchmod) \
    X(int, fchmodat, (int directory, const char *path, mode_t mode, int flags), (directory, path, mode, flags), fchmodat) \
    X(int, fcntl, (int fd, int operation, long argument), (fd, operation, argument), fcntl) \
    X(int, flock, (int fd, int operation), (fd, operation), flock) \
    X(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags), (fd, name, value, size, flags), fsetxattr) \
    X(int, fstat, (int fd, struct stat *status), (fd, status), fstat) \
    X(int, fstatat, (int directory, const char *path, struct stat *status, int flags), (directory, path, status, flags), fstatat) \
    X(int, fstatfs, (int fd, struct statfs *status), (fd, status), fstatfs) \
    X(int, ftruncate, (int fd, off_t size), (fd, size), ftruncate) \
    X(long, futex, (uint32_t *word, int operation, uint32_t value, const struct timespec *timeout, uint32_t bits), \
      (word, operation, value, timeout, bits), raw_futex) \
    X(ssize_t, getdents64, (int fd, void *buffer, size_t size), (fd, buffer, size), raw_getdents64) \
    X(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length), getpeername) \
    X(pid_t, gettid, (void), (), raw_gettid) \
    X(ssize_t, getrandom, (void *buffer, size_t size, unsigned flags), (buffer, size, flags), getrandom) \
    X(int, getrlimit, (int resource, struct rlimit *limit), (resource, limit), raw_getrlimit) \
    X(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length), getsockname) \
    X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length), (fd, level, name, value, length), getsockopt) \
    X(int, ioctl, (int fd, unsigned long request, void *argument), (fd, request, argument), raw_ioctl) \
    X(int, linkat, (int from_directory, const char *from, int to_directory, const char *to, int flags), \
      (from_directory, from, to_directory, to, flags), linkat) \
    X(int, listen, (int fd, int backlog), (fd, backlog), listen) \
    X(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence), lseek) \
    X(int, madvise, (void *start, size_t size, int advice), (start, size, advice), madvise) \
    X(int, membarrier, (int operation, unsigned flags), (operation, flags), raw_membarrier) \
    X(int, memfd_create, (const char *name, unsigned flags), (name, flags), memfd_create) \
    X(int, mkdir, (const char *path, mode_t mode), (path, mode), mkdir) \
    X(int, mkfifo, (const char *path, mode_t mode), (path, mode), mkfifo) \
    X(long, mmap, (void *start, size_t size, int protection, int flags, int fd, off_t offset), \
      (start, size, protection, flags, fd, offset), raw_mmap) \
    X(int, mq_getattr, (mqd_t queue, struct mq_attr *attributes), (queue, attributes), mq_getattr) \
    X(mqd_t, mq_open, (const char *name, int flags, mode_t mode, struct mq_attr *attributes), (name, flags, mode, attributes), mq_open) \
    X(ssize_t, mq_timedreceive, (mqd_t queue, char *buffer, size_t size, unsigned *priority, const struct timespec *until), \
      (queue, buffer, size, priority, until), mq_timedreceive) \
    X(int, mq_timedsend, (mqd_t queue, const char *data, size_t size, unsigned priority, const struct timespec *until), \
      (queue, data, size, priority, until), mq_timedsend) \
    X(int, mq_unlink, (const char *name), (name), mq_unlink) \
    X(int, msgctl, (int queue, int operation, struct msqid_ds *status), (queue, operation, status), msgctl) \
    X(int, msgget, (key_t key, int flags), (key, flags), msgget) \
    X(ssize_t, msgrcv, (int queue, void *message, size_t size, long type, int flags), (queue, message, size, type, flags), msgrcv) \
    X(int, msgsnd, (int queue, const void *message, size_t size, int flags), (queue, message, size, flags), msgsnd) \
    X(int, munmap, (void *start, size_t size), (start, size), munmap) \
    X(int, openat, (int directory, const char *path, int flags, mode_t mode), (directory, path, flags, mode), openat) \
    X(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), raw_pidfd_open) \
    X(int, pidfd_send_signal, (int pidfd, int signal, siginfo_t *information, unsigned flags), (pidfd, signal, information, flags), \
      raw_pidfd_send_signal) \
    X(int, pipe2, (int *fds, int flags), (fds, flags), pipe2) \
    X(int, ppoll, (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask), (fds, n, timeout, mask), raw_ppoll) \
    X(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset), (fd, buffer, size, offset), pread) \
    X(ssize_t, preadv2, (int fd, const struct iovec *vector, int n, off_t offset, int flags), (fd, vector, n, offset, flags), raw_preadv2) \
    X(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old), raw_pthread_sigmask) \
    X(ssize_t, pwritev2, (int fd, const struct iovec *vector, int n, off_t offset, int flags), (fd, vector, n, offset, flags), raw_pwritev2) \
    X(ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size), read) \
    X(ssize_t, readv, (int fd, const struct iovec *vector, int n), (fd, vector, n), readv) \
    X(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags), recv) \
    X(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), recvmsg) \
    X(int, renameat, (int from_directory, const char *from, int to_directory, const char *to), (from_directory, from, to_directory, to), renameat) \
    X(int, rt_tgsigqueueinfo, (pid_t process, pid_t thread, int signal, siginfo_t *information), \
      (process, thread, signal, information), raw_rt_tgsigqueueinfo) \
    X(int, sched_getaffinity, (pid_t pid, size_t size, void *set), (pid, size, set), raw_sched_getaffinity) \
    X(int, sched_yield, (void), (), sched_yield) \
    X(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags), send) \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), sendmsg) \
    X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length), (fd, level, name, value, length), setsockopt) \
    X(int, shutdown, (int fd, int how), (fd, how), shutdown) \
    X(int, sigaction, (int signal, const struct sigaction *action, struct sigaction *old), (signal, action, old), sigaction) \
    X(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), signalfd) \
    X(int, sigpending, (sigset_t *set), (set), sigpending) \
    X(int, sigtimedwait, (const sigset_t *set, siginfo_t *information, const struct timespec *timeout), (set, information, timeout), raw_sigtimedwait) \
    X(int, socket, (int family, int type, int protocol), (family, type, protocol), socket) \
    X(int, socketpair, (int family, int type, int protocol, int *fds), (family, type, protocol, fds), socketpair) \
    X(int, timerfd_create, (int clock, int flags), (clock, flags), timerfd_create) \
    X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *value, struct itimerspec *old), (fd, flags, value, old), timerfd_settime) \
    X(int, unlinkat, (int directory, const char *path, int flags), (directory, path, flags), unlinkat) \
    X(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), write) \
    X(ssize_t, writev, (int fd, const struct iovec *vector, int n), (fd, vector, n), writev)

struct sys_table {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) TYPE(*NAME) PARAMETERS;
    SYS_CALLS(X)
#undef X
};

extern struct sys_table sys_table;
extern const struct sys_table sys_table_real;

/* System calls this thread has made; a channel notes the difference over a call on it. */
extern _Thread_local uint64_t sys_calls_made __attribute__((tls_model("initial-exec")));

/* A mark of the calling thread, which no other has while it lives. */
static inline const void *sys_thread_mark(void) { return &sys_calls_made; }

#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL)    \
    static inline TYPE sys_##NAME PARAMETERS {  \
        sys_calls_made++;                       \
        return sys_table.NAME ARGUMENTS;        \
    }
SYS_CALLS(X)
#undef X

/* CMSG_NXTHDR, but that musl's mixes signs, and glibc's wants a message that is not const. */
static inline struct cmsghdr *sys_next_control(const struct msghdr *message, struct cmsghdr *header) {
    char *next = (char *)header + CMSG_ALIGN(header->cmsg_len), *end = (char *)message->msg_control + message->msg_controllen;
    bool room = next < end && (size_t)(end - next) >= sizeof *header;
    return room ? (struct cmsghdr *)(void *)next : NULL;
}

/* Makes the table refuse everything that came after Linux 5.10, as such a kernel would. */
void sys_refuse_newer(void);

/* What newer kernels have and older headers, or musl's, lack. */
#define FUTEX_WAIT 0 /* include/uapi/linux/futex.h */
#define FUTEX_WAKE 1
#define FUTEX_PRIVATE 128
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* pwritev2: -EPIPE without SIGPIPE; Linux 6.18, include/uapi/linux/fs.h */
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008 /* preadv2: -EAGAIN instead of waiting; eventfds: Linux 5.8 */
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* memfd_create; Linux 6.3; -EINVAL before */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif
