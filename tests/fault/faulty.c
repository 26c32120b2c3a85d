/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The faulty system-call table, made of the same list as the real one, and the allocator that fails. A call that is made to
 * fail does nothing at all, but for those of which the kernel says otherwise. */

#include "fault.h"

#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum call {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) CALL_##NAME,
    SYS_CALLS(X)
#undef X
    CALL_allocation,
    CALLS
};

_Static_assert(CALLS <= CALLS_MAX, "a longer list of calls");

static const char *const names[] = {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) #NAME,
    SYS_CALLS(X)
#undef X
    "allocation",
};

/* What each can plausibly return; a call that is not here: ENOMEM. What a call can never say (EINTR of a socket(), say) would
 * only test code that nobody needs. Looked up by name: the table of calls grows and shrinks. */
static const struct {
    const char *name;
    int errors[ERRORS_MAX];
} faults[] = {
    { "accept4", { EMFILE, ENFILE, ECONNABORTED, EINTR, EAGAIN, ENOMEM } },
    { "bind", { EADDRINUSE, EACCES, ENOMEM } },
    { "close", { EINTR } },
    { "connect", { EINTR, EAGAIN, ECONNREFUSED, EACCES } },
    { "epoll_create1", { EMFILE, ENOMEM } },
    { "epoll_ctl", { ENOMEM, ENOSPC } },
    { "epoll_pwait2", { EINTR, ENOSYS } },
    { "epoll_wait", { EINTR } },
    { "eventfd", { EMFILE, ENOMEM } },
    { "fallocate", { ENOSPC, EINTR } },
    { "fchmod", { EPERM } },
    { "fchmodat", { EPERM } },
    { "fcntl", { EMFILE, ENOMEM } },
    { "flock", { EINTR, ENOLCK } },
    { "fstatat", { EACCES } },
    { "ftruncate", { ENOSPC, EINTR } },
    { "futex", { EINTR, EAGAIN } },
    { "getpeername", { ENOBUFS } },
    { "getsockname", { ENOBUFS } },
    { "getrandom", { EINTR, ENOSYS } },
    { "ioctl", { ENOMEM, ENOTTY } },
    { "timerfd_create", { EMFILE, ENOMEM } },
    { "listen", { EADDRINUSE } },
    { "membarrier", { EPERM, ENOSYS } },
    { "memfd_create", { EMFILE, ENOMEM } },
    { "mkdir", { ENOSPC, EACCES } },
    { "mkfifo", { ENOSPC, EEXIST } },
    { "mq_open", { EMFILE, ENOSPC, ENOMEM } },
    { "mq_timedreceive", { EINTR, EAGAIN } },
    { "mq_timedsend", { EINTR, EAGAIN } },
    { "msgctl", { EPERM } },
    { "msgget", { ENOSPC, ENOMEM } },
    { "msgrcv", { EINTR, ENOMSG } },
    { "msgsnd", { EINTR, EAGAIN, ENOMEM } },
    { "openat", { EMFILE, EINTR, ENOMEM } },
    { "pidfd_open", { EMFILE, ENOSYS } },
    { "pipe2", { EMFILE, ENFILE } },
    { "ppoll", { EINTR, ENOMEM } },
    { "pthread_sigmask", { 0 } },
    { "pwritev2", { EINTR, EAGAIN, ENOMEM, EOPNOTSUPP, EPIPE, SHORT } },
    { "read", { EINTR, EAGAIN, ENOMEM, ECONNRESET, SHORT } },
    { "readv", { EINTR, EAGAIN, ENOMEM, ECONNRESET, SHORT } },
    { "recv", { EINTR, EAGAIN, ENOMEM, ECONNRESET, SHORT } },
    { "recvmsg", { EINTR, EAGAIN, ENOMEM, ECONNRESET, SHORT } },
    { "renameat", { ENOSPC, EACCES } },
    { "send", { EINTR, EAGAIN, ENOMEM, ECONNRESET, EPIPE, SHORT } },
    { "sendmsg", { EINTR, EAGAIN, ENOMEM, ECONNRESET, EPIPE, SHORT } },
    { "shutdown", { ENOTCONN } },
    { "sigpending", { 0 } },
    { "sigtimedwait", { EINTR, EAGAIN } },
    { "socket", { EMFILE, ENFILE, ENOBUFS } },
    { "socketpair", { EMFILE, ENOMEM } },
    { "unlinkat", { EACCES } },
    { "write", { EINTR, EAGAIN, ENOMEM, EPIPE, SHORT } },
    { "writev", { EINTR, EAGAIN, ENOMEM, EPIPE, SHORT } },
};
static const int otherwise[ERRORS_MAX] = { ENOMEM };

struct tally *tally;
static struct plan plan = { .call = -1 };
static int armed; /* atomic */

unsigned calls_known(void) { return CALLS; }
const char *call_name(int call) { return names[call]; }

const int *call_errors(int call) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (strcmp(faults[i].name, names[call]) == 0)
            return faults[i].errors;
    return otherwise;
}

/* Counts the call; 0, or what it is to fail with. */
static int fault_at(enum call call) {
    if (!__atomic_load_n(&armed, __ATOMIC_SEQ_CST))
        return 0;
    uint64_t nth = __atomic_fetch_add(&tally->calls[call], 1, __ATOMIC_SEQ_CST);
    return plan.call == (int)call && plan.nth == nth ? plan.error : 0;
}

static bool ends(int error) { return error == ECONNRESET || error == EPIPE; }

static int ended; /* atomic */

static void injected(int error) {
    __atomic_fetch_add(&tally->injected, 1, __ATOMIC_SEQ_CST);
    if (ends(error))
        __atomic_store_n(&ended, 1, __ATOMIC_SEQ_CST);
}

bool faulty_ended(void) { return __atomic_load_n(&ended, __ATOMIC_SEQ_CST); }

/* A close that complains has closed; a connect that was interrupted goes on. */
static bool does_its_work(enum call call, int error) {
    return call == CALL_close || call == CALL_munmap || (call == CALL_connect && error == EINTR);
}

#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL)                            \
    static TYPE faulty_##NAME PARAMETERS {                                    \
        int error = fault_at(CALL_##NAME);                                    \
        if (error == 0)                                                       \
            return sys_table_real.NAME ARGUMENTS;                             \
        injected(error);                                                      \
        if (does_its_work(CALL_##NAME, error))                                \
            (void)!sys_table_real.NAME ARGUMENTS;                             \
        return (TYPE)-error;                                                  \
    }
SYS_CALLS(X)
#undef X

/* ---- moving bytes: what depends on what kind of descriptor it is ---- */

static bool is_socket(int fd) {
    struct stat status;
    return sys_table_real.fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* A packet or a count is never cut short. */
static bool is_stream(int fd) {
    struct stat status;
    int type = 0;
    socklen_t length = sizeof type;
    if (sys_table_real.fstat(fd, &status) < 0)
        return false;
    if (S_ISFIFO(status.st_mode))
        return true;
    return S_ISSOCK(status.st_mode) && sys_table_real.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* The error to return, 0 for none, SHORT; one that cannot be on this descriptor is none. */
static int byte_fault(enum call call, int fd) {
    int error = fault_at(call);
    /* On a socket of packets the end would come with a hang-up. */
    if (error == 0 || ((error == SHORT || ends(error)) && !is_stream(fd)) || ((error == ECONNRESET || error == ENOMEM) && !is_socket(fd)))
        return 0;
    injected(error);
    return error;
}

#define CUT(SIZE) ((SIZE) > 1 ? 1 : (SIZE))

static ssize_t short_read(int fd, void *buffer, size_t size) {
    int error = byte_fault(CALL_read, fd);
    return error > 0 ? -error : sys_table_real.read(fd, buffer, error == SHORT ? CUT(size) : size);
}

static ssize_t short_write(int fd, const void *data, size_t size) {
    int error = byte_fault(CALL_write, fd);
    return error > 0 ? -error : sys_table_real.write(fd, data, error == SHORT ? CUT(size) : size);
}

static ssize_t short_recv(int fd, void *buffer, size_t size, int flags) {
    int error = byte_fault(CALL_recv, fd);
    return error > 0 ? -error : sys_table_real.recv(fd, buffer, error == SHORT ? CUT(size) : size, flags);
}

static ssize_t short_send(int fd, const void *data, size_t size, int flags) {
    int error = byte_fault(CALL_send, fd);
    return error > 0 ? -error : sys_table_real.send(fd, data, error == SHORT ? CUT(size) : size, flags);
}

/* The vector's first byte alone. */
static struct iovec first_byte(const struct iovec *vector, int n) {
    int i = 0;
    while (i < n - 1 && vector[i].iov_len == 0)
        i++;
    return (struct iovec){ .iov_base = vector[i].iov_base, .iov_len = CUT(vector[i].iov_len) };
}

static ssize_t short_readv(int fd, const struct iovec *vector, int n) {
    int error = byte_fault(CALL_readv, fd);
    struct iovec byte = first_byte(vector, n);
    return error > 0 ? -error : error == SHORT ? sys_table_real.readv(fd, &byte, 1) : sys_table_real.readv(fd, vector, n);
}

static ssize_t short_writev(int fd, const struct iovec *vector, int n) {
    int error = byte_fault(CALL_writev, fd);
    struct iovec byte = first_byte(vector, n);
    return error > 0 ? -error : error == SHORT ? sys_table_real.writev(fd, &byte, 1) : sys_table_real.writev(fd, vector, n);
}

static ssize_t short_pwritev2(int fd, const struct iovec *vector, int n, off_t offset, int flags) {
    int error = byte_fault(CALL_pwritev2, fd);
    struct iovec byte = first_byte(vector, n);
    if (error > 0)
        return -error;
    return error == SHORT ? sys_table_real.pwritev2(fd, &byte, 1, offset, flags)
                          : sys_table_real.pwritev2(fd, vector, n, offset, flags);
}

static struct msghdr cut_to_byte(const struct msghdr *message, struct iovec *byte) {
    struct msghdr cut = *message;
    *byte = first_byte(message->msg_iov, (int)message->msg_iovlen);
    cut.msg_iov = byte;
    cut.msg_iovlen = 1;
    return cut;
}

static ssize_t short_recvmsg(int fd, struct msghdr *message, int flags) {
    int error = byte_fault(CALL_recvmsg, fd);
    if (error != SHORT)
        return error > 0 ? -error : sys_table_real.recvmsg(fd, message, flags);
    struct iovec byte;
    struct msghdr cut = cut_to_byte(message, &byte);
    ssize_t got = sys_table_real.recvmsg(fd, &cut, flags);
    message->msg_controllen = cut.msg_controllen;
    message->msg_namelen = cut.msg_namelen;
    message->msg_flags = cut.msg_flags;
    return got;
}

static ssize_t short_sendmsg(int fd, const struct msghdr *message, int flags) {
    int error = byte_fault(CALL_sendmsg, fd);
    if (error != SHORT)
        return error > 0 ? -error : sys_table_real.sendmsg(fd, message, flags);
    struct iovec byte;
    struct msghdr cut = cut_to_byte(message, &byte);
    return sys_table_real.sendmsg(fd, &cut, flags);
}

/* ---- memory ---- */

static void *faulty_resize(void *old, size_t size) {
    if (fault_at(CALL_allocation) == 0)
        return realloc(old, size);
    injected(ENOMEM);
    return NULL;
}

void faulty_install(void) {
#define X(TYPE, NAME, PARAMETERS, ARGUMENTS, REAL) sys_table.NAME = faulty_##NAME;
    SYS_CALLS(X)
#undef X
    sys_table.read = short_read;
    sys_table.write = short_write;
    sys_table.recv = short_recv;
    sys_table.send = short_send;
    sys_table.readv = short_readv;
    sys_table.writev = short_writev;
    sys_table.pwritev2 = short_pwritev2;
    sys_table.recvmsg = short_recvmsg;
    sys_table.sendmsg = short_sendmsg;
    memory_resize_hook = faulty_resize;
}

void faulty_arm(const struct plan *wanted) {
    plan = wanted ? *wanted : (struct plan){ .call = -1 };
    for (int i = 0; i < CALLS; i++)
        tally->calls[i] = 0;
    __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST);
}

void faulty_disarm(void) { __atomic_store_n(&armed, 0, __ATOMIC_SEQ_CST); }
