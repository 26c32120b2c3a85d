/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Who may use an event, and what happens when somebody goes: deaths, forks, threads, names, tickets, wrong arguments. */

#include "events.h"

#include <dirent.h>
#include <pthread.h>

static void raise_and_die(hawser_event *raiser, uint64_t value) {
    EXPECT(hawser_event_raise(raiser, value), 0);
    raise(SIGKILL);
}

static void raisers_die(void) {
    hawser_event *event = create();
    uint64_t value;
    for (uint64_t i = 1; i <= 5; i++) {
        int status;
        pid_t child = raise_in_child(event, raise_and_die, i);
        CHECK(wait_one(event) == i);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        EXPECT(hawser_event_wait(event, MS, &value), -ETIMEDOUT); /* its end is nobody else's */
    }
    pid_t child = raise_in_child(event, raise_value, 9);
    CHECK(wait_one(event) == 9);
    reap(child);
    hawser_event_close(event);
}

/* The raiser is this process, the waiter a child, so that it can be killed. */
static void waiter_ends(bool killed) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_event *event = create();
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        char byte = 0;
        struct iovec vector = { &byte, 1 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        if (place->is & TICKET) {
            int ticket = ticket_of(event);
            message.msg_control = &control;
            message.msg_controllen = sizeof control;
            control.header.cmsg_level = SOL_SOCKET;
            control.header.cmsg_type = SCM_RIGHTS;
            control.header.cmsg_len = CMSG_LEN(sizeof ticket);
            memcpy(CMSG_DATA(&control.header), &ticket, sizeof ticket);
        }
        CHECK(sendmsg(pair[1], &message, 0) == 1);
        wait_one(event);
        announce(0);
        await(1, 1);
        if (killed)
            raise(SIGKILL);
        hawser_event_close(event);
        announce(2);
        pause();
    }
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    char byte = 0;
    int ticket = -1;
    struct iovec vector = { &byte, 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    CHECK(recvmsg(pair[0], &message, 0) == 1);
    if (place->is & TICKET)
        memcpy(&ticket, CMSG_DATA(&control.header), sizeof ticket);
    hawser_event *raiser = raiser_of(NULL, ticket);
    EXPECT(hawser_event_raise(raiser, 1), 0);
    await(0, 1);
    announce(1);
    if (killed)
        CHECK(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0); /* dead, but not buried */
    else
        await(2, 1);
    int64_t began = now_ns();
    int error;
    while ((error = hawser_event_raise(raiser, 1)) == 0)
        CHECK(now_ns() - began < 100 * MS || place->is & SIGNAL);
    EXPECT(error, -EPIPE);
    EXPECT(hawser_event_raise(raiser, 1), -EPIPE);
    if (place->is & TICKET) {
        hawser_event *late;
        EXPECT(hawser_event_adopt(ticket, NULL, &late), -EPIPE);
        close(ticket);
    }
    hawser_event_close(raiser);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void the_waiter_dies(void) { waiter_ends(true); }
static void the_waiter_closes(void) { waiter_ends(false); }

static void fork_and_raise(hawser_event *raiser, uint64_t value) {
    EXPECT(hawser_event_raise(raiser, value), 0);
    pid_t child = fork_child();
    if (child == 0) {
        EXPECT(hawser_event_raise(raiser, value), 0);
        hawser_event_close(raiser);
        _exit(0);
    }
    reap(child);
    EXPECT(hawser_event_raise(raiser, value), 0);
}

static void forks_of_raisers_raise(void) {
    hawser_event *event = create();
    pid_t child = raise_in_child(event, fork_and_raise, 100);
    wait_sum(event, 300);
    reap(child);
    hawser_event_close(event);
}

static void forks_of_the_waiter(void) {
    hawser_event *event = create();
    bool everybodys = !(place->is & (NAME | SIGNAL));
    pid_t child = fork_child();
    if (child == 0) {
        uint64_t value;
        int fd;
        EXPECT(hawser_event_raise(event, 3), 0);
        if (everybodys) {
            EXPECT(hawser_event_wait(event, 10 * SECOND, &value), 0);
            CHECK(value == 3);
            EXPECT(hawser_event_wait(event, MS, &value), -ETIMEDOUT);
            EXPECT(hawser_event_raise(event, 4), 0);
        } else {
            EXPECT(hawser_event_wait(event, HAWSER_NOW, &value), -EPERM);
            EXPECT(hawser_event_fd(event, &fd), -EPERM);
        }
        EXPECT(hawser_event_export(event, &fd), -EPERM);
        hawser_event_close(event);
        _exit(0);
    }
    reap(child);
    CHECK(wait_one(event) == (everybodys ? 4 : 3));
    child = raise_in_child(event, raise_value, 6); /* and the name is still there */
    CHECK(wait_one(event) == 6);
    reap(child);
    hawser_event_close(event);
}

static void raise_until_told(hawser_event *event, pid_t waiter) {
    int64_t began = now_ns();
    int error = 0;
    while (getppid() == waiter)
        sched_yield();
    while (error == 0 && now_ns() - began < SECOND)
        error = hawser_event_raise(event, 1);
    __atomic_store_n(&shared[0], error == -EPIPE ? 1 : 2, __ATOMIC_RELEASE);
    _exit(0);
}

/* Nobody has waited for the waiter's end, so that signals still reach what is left of it. */
static void forks_of_a_dead_waiter_are_told(void) {
    pid_t waiter = fork_child();
    if (waiter == 0) {
        hawser_event *event = create();
        pid_t self = getpid();
        if (fork() == 0)
            raise_until_told(event, self);
        raise(SIGKILL);
    }
    CHECK(waitid(P_PID, (id_t)waiter, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
    await(0, 1);
    CHECK(shared[0] == 1);
    waitpid(waiter, NULL, 0);
}

static void raise_often(hawser_event *raiser, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        int error;
        while ((error = hawser_event_raise(raiser, 1)) == -EAGAIN && place->is & SIGNAL)
            sched_yield();
        EXPECT(error, 0);
    }
}

static void many_raise(void) {
    enum { RAISERS = 12, TIMES = 300 };
    hawser_event *event = create();
    pid_t children[RAISERS];
    for (unsigned i = 0; i < RAISERS; i++)
        children[i] = raise_in_child(event, raise_often, TIMES);
    wait_sum(event, RAISERS * TIMES);
    for (unsigned i = 0; i < RAISERS; i++)
        reap(children[i]);
    hawser_event_close(event);
}

static void *raise_in_thread(void *raiser) {
    raise_often(raiser, 500);
    return NULL;
}

static void raise_in_threads(hawser_event *raiser, uint64_t n) {
    pthread_t threads[4];
    for (uint64_t i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, raise_in_thread, raiser) == 0);
    for (uint64_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void threads_raise(void) {
    hawser_event *event = create();
    pid_t child = raise_in_child(event, raise_in_threads, 4);
    wait_sum(event, 2000);
    reap(child);
    hawser_event_close(event);
}

static void names_are_taken_and_given_back(void) {
    hawser_event *event, *second;
    EXPECT(hawser_event_open(place->address, NULL, HAWSER_NOW, &event), -EAGAIN);
    EXPECT(hawser_event_open(place->address, NULL, 20 * MS, &event), -ETIMEDOUT);
    event = create();
    EXPECT(hawser_event_create(place->address, NULL, &second), -EADDRINUSE);
    hawser_event_close(event);
    EXPECT(hawser_event_open(place->address, NULL, HAWSER_NOW, &event), -EAGAIN);
    int status;
    pid_t child = fork_child();
    if (child == 0) {
        create();
        raise(SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    event = create();
    child = raise_in_child(event, raise_value, 8);
    CHECK(wait_one(event) == 8);
    reap(child);
    hawser_event_close(event);
    struct dirent *entry;
    DIR *directory = opendir(getenv("HAWSER_RUNTIME_DIR"));
    while ((entry = readdir(directory)))
        CHECK(entry->d_name[0] == '.');
    closedir(directory);
}

static unsigned descriptors(void) {
    unsigned n = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static void nothing_leaks(void) {
    hawser_event_close(create()); /* what is made once */
    unsigned before = descriptors();
    for (unsigned i = 0; i < 10; i++) {
        hawser_event *event = create();
        int fd;
        if (i % 2)
            EXPECT(hawser_event_fd(event, &fd), place->is & FUTEX ? -EOPNOTSUPP : 0);
        pid_t child = raise_in_child(event, raise_value, 1);
        wait_one(event);
        reap(child);
        hawser_event_close(event);
    }
    CHECK(descriptors() == before);
}

static void the_wrong_is_refused(void) {
    hawser_event *event = create(), *other;
    uint64_t value;
    int fd;
    EXPECT(hawser_event_create(NULL, NULL, &other), -EINVAL);
    EXPECT(hawser_event_create(place->address, NULL, NULL), -EINVAL);
    EXPECT(hawser_event_create("shm://a", NULL, &other), -EINVAL);
    CHECK(strstr(hawser_explain(), "the mechanisms are event"));
    EXPECT(hawser_event_create("event://a?nothing=1", NULL, &other), -EINVAL);
    EXPECT(hawser_event_create("event://a?signal=SIGRTMIN", NULL, &other), -EINVAL);
    EXPECT(hawser_event_create("signal://a", NULL, &other), -EINVAL);
    CHECK(strstr(hawser_explain(), "signal=SIGRTMIN+3"));
    EXPECT(hawser_event_create("signal://a?signal=SIGTERM", NULL, &other), -EINVAL);
    EXPECT(hawser_event_create("event://../a", NULL, &other), -EINVAL);
    EXPECT(hawser_event_open("event://", NULL, HAWSER_NOW, &other), -EINVAL);
    EXPECT(hawser_event_open("event://a", NULL, -2, &other), -EINVAL);
    EXPECT(hawser_event_raise(NULL, 1), -EINVAL);
    EXPECT(hawser_event_wait(NULL, 0, &value), -EINVAL);
    EXPECT(hawser_event_adopt(-1, NULL, &other), -EBADF);
    EXPECT(hawser_event_adopt(0, NULL, &other), -EPROTO);
    if (!(place->is & SIGNAL))
        EXPECT(hawser_event_handler(event, NULL, NULL), -EOPNOTSUPP);
    if (place->is & NAME)
        EXPECT(hawser_event_open(place->is & FUTEX ? "eventfd://bell" : "futex://bell", NULL, HAWSER_NOW, &other),
               place->is & FUTEX ? -EAGAIN : -EINVAL);
    if (place->is & NAME && !(place->is & FUTEX)) { /* a name of one kind is none of the other */
        const char *wrong = place->is & SIGNAL ? "eventfd://bell" : "signal://bell";
        pid_t child = fork_child();
        if (child == 0) {
            EXPECT(hawser_event_open(wrong, NULL, 10 * SECOND, &other), -EPROTO);
            announce(0);
            _exit(0);
        }
        serve_until(event, 0, 1);
        reap(child);
    }
    pid_t child = raise_in_child(event, raise_when_told, 1);
    if (!(place->is & FORK)) {
        serve_until(event, 0, place->is & NAME && !(place->is & FUTEX) ? 2 : 1);
    }
    announce(1);
    wait_one(event);
    reap(child);
    EXPECT(hawser_event_fd(event, NULL), -EINVAL);
    EXPECT(hawser_event_export(event, NULL), -EINVAL);
    (void)fd;
    hawser_event_close(event);
}

/* Who opened an event does not wait for it. */
static void raiser_waits(hawser_event *raiser, uint64_t unused) {
    (void)unused;
    uint64_t value;
    int fd;
    EXPECT(hawser_event_wait(raiser, HAWSER_NOW, &value), -EPERM);
    EXPECT(hawser_event_fd(raiser, &fd), -EPERM);
    EXPECT(hawser_event_export(raiser, &fd), -EPERM);
    EXPECT(hawser_event_raise(raiser, 1), 0);
}

static void raisers_do_not_wait(void) {
    hawser_event *event = create();
    pid_t child = raise_in_child(event, raiser_waits, 0);
    wait_one(event);
    reap(child);
    hawser_event_close(event);
}

static void raise_two(hawser_event *raiser, uint64_t value) {
    EXPECT(hawser_event_raise(raiser, value), 0);
    announce(0);
    await(0, 2);
}

/* One ticket serves many; each is told of the end. */
static void one_ticket_serves_many(void) {
    hawser_event *event = create();
    int ticket = ticket_of(event);
    for (unsigned i = 0; i < 2; i++)
        if (fork_child() == 0) {
            hawser_event *raiser = raiser_of(event, ticket);
            raise_two(raiser, 4);
            hawser_event_close(raiser);
            _exit(0);
        }
    wait_sum(event, 8);
    close(ticket);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    hawser_event_close(event);
}

const struct promise end_promises[] = {
    { "raisers die", raisers_die, 0 },
    { "the waiter dies", the_waiter_dies, FORK },
    { "the waiter closes", the_waiter_closes, FORK },
    { "forks of raisers raise", forks_of_raisers_raise, 0 },
    { "forks of the waiter", forks_of_the_waiter, 0 },
    { "forks of a dead waiter are told", forks_of_a_dead_waiter_are_told, EVENTFD | FUTEX | NAME | TICKET },
    { "many raise", many_raise, 0 },
    { "threads raise", threads_raise, 0 },
    { "names are taken and given back", names_are_taken_and_given_back, FORK | TICKET },
    { "nothing leaks", nothing_leaks, 0 },
    { "the wrong is refused", the_wrong_is_refused, 0 },
    { "raisers do not wait", raisers_do_not_wait, FORK },
    { "one ticket serves many", one_ticket_serves_many, FORK | NAME },
    { NULL, NULL, 0 },
};
