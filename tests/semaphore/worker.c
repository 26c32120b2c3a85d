/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Orders and answers are packets of a socket pair, so a worker that dies is an end of file for the test, and the other way round. */

#include "worker.h"

#include "base/sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *file, int line, const char *what, long got, long wanted) {
    fprintf(stderr, "%s:%d: process %d: %s gave %ld, expected %ld: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line,
            (int)getpid(), what, got, wanted, hawser_explain());
    _exit(1);
}

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 * MS + time.tv_nsec;
}

/* For how long this process was ready to run, and others did: the machine may be busy. */
static int64_t delayed(void) {
    long long ran_ns, waited_ns = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file && fscanf(file, "%lld %lld", &ran_ns, &waited_ns) != 2)
        waited_ns = 0;
    if (file)
        fclose(file);
    return waited_ns;
}

/* ---- The worker ---- */

static bool receive_order(int socket, struct order *order, int *fd) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = { order, sizeof *order };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    *fd = -1;
    if (recvmsg(socket, &message, 0) != sizeof *order)
        return false;
    if (message.msg_controllen > 0)
        memcpy(fd, CMSG_DATA(&control.header), sizeof *fd);
    return true;
}

static void *unlock(void *semaphore) { return (void *)(intptr_t)hawser_unlock(semaphore); }

static int unlock_elsewhere(hawser_semaphore *semaphore) {
    pthread_t thread;
    void *result;
    EXPECT(pthread_create(&thread, NULL, unlock, semaphore), 0);
    EXPECT(pthread_join(thread, &result), 0);
    return (int)(intptr_t)result;
}

static int obey(const struct order *order, int fd, hawser_semaphore **semaphore) {
    switch (order->verb) {
    case OPEN: return hawser_semaphore_open(order->address, NULL, order->n, semaphore);
    case ADOPT: return hawser_semaphore_adopt(fd, NULL, semaphore);
    case ACQUIRE: return hawser_semaphore_acquire(*semaphore, order->n, order->timeout);
    case RELEASE: return hawser_semaphore_release(*semaphore, order->n);
    case LOCK: return hawser_lock(*semaphore, order->timeout);
    case UNLOCK: return hawser_unlock(*semaphore);
    case THREAD_UNLOCK: return unlock_elsewhere(*semaphore);
    case CLOSE: *semaphore = hawser_semaphore_close(*semaphore); return 0;
    default: _exit(0);
    }
}

static void work(int socket, hawser_semaphore *semaphore) {
    struct order order;
    int fd;
    while (receive_order(socket, &order, &fd)) {
        int64_t before = delayed();
        struct answer answer = { .calls = sys_calls_made };
        answer.result = obey(&order, fd, &semaphore);
        answer.calls = sys_calls_made - answer.calls;
        answer.at_ns = now() - (delayed() - before);
        if (fd >= 0)
            close(fd);
        if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(0);
}

/* ---- The test's side ---- */

struct worker worker_start(hawser_semaphore *semaphore) {
    struct worker worker;
    int sockets[2];
    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    pid_t parent = getpid();
    worker.pid = fork();
    if (worker.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(sockets[0]);
        work(sockets[1], semaphore);
    }
    close(sockets[1]);
    worker.socket = sockets[0];
    return worker;
}

void worker_tell(const struct worker *worker, struct order order, int fd) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    struct iovec vector = { &order, sizeof order };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
    }
    EXPECT(sendmsg(worker->socket, &message, MSG_NOSIGNAL), sizeof order);
}

struct answer worker_answer(const struct worker *worker) {
    struct answer answer;
    EXPECT(recv(worker->socket, &answer, sizeof answer, 0), sizeof answer);
    return answer;
}

int worker_do(const struct worker *worker, struct order order) {
    worker_tell(worker, order, -1);
    return worker_answer(worker).result;
}

static int await_end(struct worker *worker) {
    int status;
    EXPECT(waitpid(worker->pid, &status, 0), worker->pid);
    close(worker->socket);
    worker->pid = 0;
    return status;
}

void worker_kill(struct worker *worker) {
    kill(worker->pid, SIGKILL);
    await_end(worker);
}

void worker_end(struct worker *worker) {
    worker_tell(worker, (struct order){ .verb = END }, -1);
    EXPECT(await_end(worker), 0);
}
