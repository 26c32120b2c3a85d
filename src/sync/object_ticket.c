/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Tickets. To hand out a descriptor of the inode itself would be a trap: whoever closes it tells all others that this process
 * died. So what travels is one end of a socket pair in which the descriptor is queued, with the other end closed; it is read
 * with MSG_PEEK, so that a ticket serves many. What it says besides lets a process that has the object already leave the
 * descriptor where it is. */

#include "sync/object_view.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define PATIENCE_NS INT64_C(2000000000)
#define TICKET_MAGIC UINT64_C(0x544b5452657377a4)

struct ticket {
    uint64_t magic;
    uint64_t device, inode, identity;
    uint32_t tag;
    uint32_t reads; /* 1: the descriptor can only be read */
    char path[sizeof(((struct name *)0)->path)];
    char padding[4];
};

_Static_assert(sizeof(struct ticket) == 152, "the same for 32-bit processes");

/* ---- Export ---- */

static int send_ticket(const int pair[2], const struct ticket *ticket, int fd) {
    _Alignas(struct cmsghdr) char control[CONTROL_FDS_SPACE(1)] = { 0 };
    struct iovec vector = { .iov_base = (void *)(uintptr_t)ticket, .iov_len = sizeof *ticket };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control };
    control_put_fds(&message, &fd, 1);
    ssize_t n;
    do
        n = sys_sendmsg(pair[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n == -EINTR);
    return n < 0 ? error_set((int)n, "put a descriptor into a ticket: %s", error_text((int)n)) : 0;
}

static int make_ticket(const struct ticket *ticket, int fd, int *ret_fd) {
    int pair[2];
    int error = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
    if (error < 0)
        return error_set(error, "make a ticket: %s", error_text(error));
    cleanup_fd kept = pair[0];
    error = send_ticket(pair, ticket, fd);
    sys_close(pair[1]);
    if (!error)
        *ret_fd = steal_fd(&kept);
    return error;
}

static int export(struct object *object, enum object_access access, int *ret_fd) {
    struct object_file *file = object->file;
    struct ticket ticket = { .magic = TICKET_MAGIC, .device = file->device, .inode = file->inode, .identity = file->identity,
                             .tag = (uint32_t)object->kind->tag, .reads = access == OBJECT_READ };
    memcpy(ticket.path, file->path, sizeof ticket.path);
    int error = access == OBJECT_READ ? object_view_read_fd(file) : 0;
    return error ? error : make_ticket(&ticket, access == OBJECT_READ ? file->read_fd : file->write_fd, ret_fd);
}

int object_export(struct object *object, enum object_access access, int *ret_fd) {
    if (object->access == OBJECT_READ && access != OBJECT_READ)
        return error_set(-EACCES, "%s that was opened to be read cannot be exported to be written", object->kind->what);
    object_process_enter();
    int error = export(object, access, ret_fd);
    object_process_leave();
    return error;
}

/* ---- Adopt ---- */

static ssize_t peek(int fd, struct msghdr *message) {
    ssize_t n;
    do
        n = sys_recvmsg(fd, message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n == -EINTR);
    return n;
}

static int no_ticket(const struct object_kind *kind) { return error_set(-EPROTO, "the descriptor is no ticket of %s", kind->what); }

static int read_ticket(int fd, const struct object_kind *kind, struct ticket *ret_ticket) {
    struct ticket ticket = { 0 };
    struct iovec vector = { .iov_base = &ticket, .iov_len = sizeof ticket };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    ssize_t n = fd < 0 ? -EBADF : peek(fd, &message);
    if (n == -EBADF)
        return error_note(-EBADF, "the ticket's descriptor is not open");
    if (n != sizeof ticket || ticket.magic != TICKET_MAGIC || ticket.tag != (uint32_t)kind->tag)
        return no_ticket(kind);
    ticket.path[sizeof ticket.path - 1] = 0;
    *ret_ticket = ticket;
    return 0;
}

static int take_descriptor(int fd, const struct object_kind *kind, int *ret_fd) {
    _Alignas(struct cmsghdr) char control[CONTROL_FDS_SPACE(2)] = { 0 };
    struct ticket again;
    struct iovec vector = { .iov_base = &again, .iov_len = sizeof again };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    ssize_t n = peek(fd, &message);
    if (n >= 0 && control_take_fds(&message, ret_fd, 1) == 1)
        return 0;
    return message.msg_flags & MSG_CTRUNC ? error_note(-EMFILE, "no descriptor is free for what the ticket carries") : no_ticket(kind);
}

/* Who can cut a file can have all who touch it die of SIGBUS. What has no name is sealed against that by whoever makes it, and has been
 * before its size is looked at; whose a name may be only who opens it by that says. */
static int look_at(int fd, const struct object_kind *kind, int *ret_flags, struct stat *ret_status) {
    int seals = sys_fcntl(fd, F_GET_SEALS, 0), flags = sys_fcntl(fd, F_GETFL, 0), error = sys_fstat(fd, ret_status);
    if (flags < 0 || error < 0 || !S_ISREG(ret_status->st_mode))
        return no_ticket(kind);
    uid_t owner = ret_status->st_uid;
    if ((seals < 0 || !(seals & F_SEAL_SHRINK)) && owner != 0 && owner != geteuid())
        return error_set(-EACCES, "the ticket leads to a file of uid %u, who could cut it; open it by its name, with peer=%u", owner, owner);
    *ret_flags = flags;
    return 0;
}

/* What the ticket brought is an inode like any; it may even be one that this process has, should the ticket lie. */
static int add_descriptor(int fd, const struct object_kind *kind, const struct ticket *ticket, struct object_file **ret_file) {
    struct stat status;
    int flags = 0, error = look_at(fd, kind, &flags, &status);
    if (error) {
        sys_close(fd);
        return error;
    }
    struct object_file *file = object_process_find(status.st_dev, status.st_ino);
    bool writable = (flags & O_ACCMODE) == O_RDWR;
    if (file) {
        if (writable && file->write_fd < 0)
            file->write_fd = fd;
        else
            object_process_keep(file, fd);
        *ret_file = file;
        return 0;
    }
    bool named = object_names(ticket->path, status.st_dev, status.st_ino) > 0;
    file = object_process_add(fd, writable, &status, named ? ticket->path : "");
    if (!file) {
        sys_close(fd);
        return -ENOMEM;
    }
    object_process_insert(file);
    *ret_file = file;
    return 0;
}

static int find_file(int fd, const struct object_request *request, struct object_file **ret_file) {
    struct ticket ticket;
    int carried, error = read_ticket(fd, request->kind, &ticket);
    if (error)
        return error;
    struct object_file *file = object_process_find((dev_t)ticket.device, (ino_t)ticket.inode);
    if (file && file->identity == ticket.identity && (request->access == OBJECT_READ || file->write_fd >= 0)) {
        *ret_file = file;
        return 0;
    }
    error = take_descriptor(fd, request->kind, &carried);
    return error ? error : add_descriptor(carried, request->kind, &ticket, ret_file);
}

static int adopt(int fd, const struct object_request *request, struct object **ret_object) {
    struct object_file *file = NULL;
    int error = find_file(fd, request, &file);
    if (error)
        return error;
    if (request->access != OBJECT_READ && file->write_fd < 0)
        error = error_note(-EACCES, "the ticket was exported to be read only");
    if (!error)
        error = object_view_open(file, request, ret_object);
    if (error && !file->objects)
        object_process_drop(file);
    return error;
}

/* One whose members all died loses its name at the first try, and is adopted without it at the next. */
int object_adopt(int fd, const struct object_kind *kind, enum object_access access, struct object **ret_object) {
    const struct object_request request = { .kind = kind, .access = access };
    int64_t nap_ns = NAME_NAP_NS, deadline = clock_now() + PATIENCE_NS;
    for (;;) {
        object_process_enter();
        int error = adopt(fd, &request, ret_object);
        object_process_leave();
        if (error != -EAGAIN)
            return error;
        if (deadline_passed(deadline))
            return error_note(-EBUSY, "the object of the ticket changed all the time");
        name_nap(&nap_ns, deadline);
    }
}
