/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Hostile raisers of an event over eventfd, and hostile tickets: what they do to what they were given must not be noticed by other
 * raisers, must not make the waiter wait or work beyond what they work themselves, and must not reach who adopts. */

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/fork_test.h"
#include "base/lock.h"
#include "core/rendezvous.h"
#include "sync/event.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define BELL "eventfd://hostile-test"

/* ---- A raiser in a thread ---- */

struct thread {
    pthread_t id;
    hawser_event *raiser;
    int error;
    uint32_t go, done;
};

static void *open_in_thread(void *argument) {
    struct thread *thread = argument;
    thread->error = hawser_event_open(BELL, NULL, 5 * SECOND, &thread->raiser);
    store_release(&thread->done, 1);
    return NULL;
}

/* Serves until it is in, or turned away. */
static int open_raiser(hawser_event *event, hawser_event **ret_raiser) {
    struct thread thread = { 0 };
    uint64_t value;
    assert_int_equal(pthread_create(&thread.id, NULL, open_in_thread, &thread), 0);
    while (!load_acquire(&thread.done))
        if (hawser_event_wait(event, MS, &value) == 0)
            fail_msg("nobody raised, and %llu came", (unsigned long long)value);
    pthread_join(thread.id, NULL);
    if (thread.error == 0)
        *ret_raiser = thread.raiser;
    return thread.error;
}

static hawser_event *raiser_of(hawser_event *event) {
    hawser_event *raiser = NULL;
    assert_int_equal(open_raiser(event, &raiser), 0);
    return raiser;
}

static hawser_event *event_at(const char *address) {
    hawser_event *event;
    assert_int_equal(hawser_event_create(address, NULL, &event), 0);
    return event;
}

/* What the honest one raises comes at once, and whole, beside whatever else does: its values are marked by their upper bits. */
static void honest_is_heard(hawser_event *event, hawser_event *honest, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        uint64_t value = 0;
        int64_t began = clock_now();
        assert_int_equal(hawser_event_raise(honest, UINT64_C(1) << 48), 0);
        while (value >> 48 == 0) {
            assert_int_equal(hawser_event_wait(event, 2 * SECOND, &value), 0);
            assert_true(clock_now() - began < SECOND);
        }
        assert_true(value >> 48 == 1);
    }
}

/* ---- What one can do to its bell ---- */

enum evil { EVIL_DRAIN, EVIL_FLOOD, EVIL_BLOCKING, EVIL_TALK };

/* In a process of its own, until it is killed or thrown out. */
static pid_t do_evil(hawser_event *raiser, enum evil evil) {
    pid_t child = fork_child();
    if (child > 0)
        return child;
    uint64_t value;
    alarm(20);
    for (;;) {
        if (evil == EVIL_BLOCKING)
            fcntl(raiser->bell, F_SETFL, O_RDWR);
        if (evil == EVIL_TALK)
            send(raiser->socket, "what is this", 12, MSG_NOSIGNAL | MSG_DONTWAIT);
        value = 1;
        if (write(raiser->bell, &value, sizeof value) < 0 && evil == EVIL_FLOOD)
            continue;
        if ((evil == EVIL_DRAIN || evil == EVIL_BLOCKING) && read(raiser->bell, &value, sizeof value) < 0)
            continue;
    }
}

static void evil_is_not_noticed_by(const char *address, enum evil evil) {
    hawser_event *event = event_at(address), *honest = raiser_of(event), *raiser = raiser_of(event);
    uint64_t value;
    pid_t child = do_evil(raiser, evil);
    honest_is_heard(event, honest, 30);
    for (unsigned i = 0; i < 1000; i++) { /* whatever is there or not: it never waits */
        int64_t began = clock_now();
        int error = hawser_event_wait(event, HAWSER_NOW, &value);
        assert_true(error == 0 || error == -EAGAIN);
        assert_true(clock_now() - began < SECOND);
    }
    assert_int_equal(hawser_event_raise(honest, 1), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    hawser_event_close(raiser);
    hawser_event_close(honest);
    hawser_event_close(event);
}

static void evil_is_not_noticed(enum evil evil) {
    evil_is_not_noticed_by(BELL "?wait=block", evil);
    evil_is_not_noticed_by(BELL "?wait=spin", evil);
}

static void one_that_drains(void **state) {
    (void)state;
    evil_is_not_noticed(EVIL_DRAIN);
}

static void one_that_floods(void **state) {
    (void)state;
    evil_is_not_noticed(EVIL_FLOOD);
}

/* Makes its bell blocking, and empties it between the waiter's look and its read. */
static void one_that_makes_reads_block(void **state) {
    (void)state;
    hawser_event *event = event_at(BELL "?wait=spin"), *raiser = raiser_of(event);
    uint64_t value;
    assert_int_equal(hawser_event_raise(raiser, 1), 0);
    assert_int_equal(hawser_event_wait(event, SECOND, &value), 0); /* from now on its bell is read on suspicion */
    assert_int_equal(fcntl(raiser->bell, F_SETFL, O_RDWR), 0);
    assert_true(bell_read(event->crowd.raisers[0].bell) == 0);
    assert_int_equal(hawser_event_wait(event, 20 * MS, &value), -ETIMEDOUT);
    hawser_event_close(raiser);
    hawser_event_close(event);
    evil_is_not_noticed(EVIL_BLOCKING);
}

static void one_that_talks_is_out(void **state) {
    (void)state;
    hawser_event *event = event_at(BELL), *honest = raiser_of(event), *raiser = raiser_of(event);
    uint64_t value;
    assert_int_equal(send(raiser->socket, "x", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(hawser_event_raise(raiser, 5), 0);
    assert_int_equal(hawser_event_wait(event, SECOND, &value), 0); /* what it had raised counts */
    assert_true(value == 5);
    assert_int_equal(hawser_event_wait(event, HAWSER_NOW, &value), -EAGAIN);
    assert_int_equal(event->crowd.n, 1);
    int64_t began = clock_now();
    int error;
    while ((error = hawser_event_raise(raiser, 1)) == 0)
        assert_true(clock_now() - began < SECOND);
    assert_int_equal(error, -EPIPE);
    honest_is_heard(event, honest, 3);
    pid_t child = do_evil(honest, EVIL_TALK); /* and while one is being read */
    while (event->crowd.n > 0)
        error = hawser_event_wait(event, MS, &value);
    assert_true(error == 0 || error == -ETIMEDOUT);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    hawser_event_close(raiser);
    hawser_event_close(honest);
    hawser_event_close(event);
}

/* A full bell of one is no hindrance to another; nothing of either is lost. */
static void one_that_fills(void **state) {
    (void)state;
    hawser_event *event = event_at(BELL), *honest = raiser_of(event), *raiser = raiser_of(event);
    uint64_t value, most = HAWSER_EVENT_MOST, sum_low = 0, times = 0;
    assert_int_equal(write(raiser->bell, &most, sizeof most), sizeof most);
    assert_int_equal(hawser_event_raise(honest, 7), 0);
    struct pollfd item = { .events = POLLIN };
    assert_int_equal(hawser_event_fd(event, &item.fd), 0);
    while (poll(&item, 1, 0) == 1 && hawser_event_wait(event, HAWSER_NOW, &value) == 0) { /* one wait each time it polls */
        sum_low += value; /* modulo 2^64 */
        times++;
    }
    assert_true(times >= 2); /* together they are over 64 bits */
    assert_true(sum_low == most + 7);
    hawser_event_close(raiser);
    hawser_event_close(honest);
    hawser_event_close(event);
}

/* That a bell is often read in vain counts against its raiser only until there is something in it. */
static void a_raise_is_forgiven_all(void **state) {
    (void)state;
    hawser_event *event = event_at(BELL), *raiser = raiser_of(event);
    event->crowd.raisers[0].vain = 60;
    uint64_t one = 1, value;
    assert_int_equal(write(raiser->bell, &one, sizeof one), sizeof one);
    assert_int_equal(hawser_event_wait(event, SECOND, &value), 0);
    assert_int_equal(event->crowd.raisers[0].vain, 0);
    assert_int_equal(event->crowd.n, 1);
    hawser_event_close(raiser);
    hawser_event_close(event);
}

/* ---- What many can do to the door ---- */

static int raw_connect(void) {
    char path[128];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    assert_int_equal(runtime_directory(path, sizeof path), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.70s/hostile-test", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void ones_that_stall_at_the_door(void **state) {
    (void)state;
    enum { SILENT = 60 };
    int fds[SILENT];
    uint64_t value;
    hawser_event *event = event_at(BELL "?hello_timeout=10s&wait=block"), *honest = raiser_of(event);
    for (unsigned i = 0; i < SILENT; i++) {
        fds[i] = raw_connect();
        if (i % 3 == 0)
            send(fds[i], "garbage", 7, MSG_NOSIGNAL);
        honest_is_heard(event, honest, 1);
    }
    uint64_t calls = sys_calls_made;
    assert_int_equal(hawser_event_wait(event, 200 * MS, &value), -ETIMEDOUT);
    assert_true(sys_calls_made - calls < 500); /* it sleeps */
    int64_t began = clock_now();
    hawser_event *late = raiser_of(event);
    assert_true(clock_now() - began < SECOND);
    honest_is_heard(event, late, 3);
    for (unsigned i = 0; i < SILENT; i++)
        close(fds[i]);
    hawser_event_close(late);
    hawser_event_close(honest);
    hawser_event_close(event);
}

static void one_user_has_so_many(void **state) {
    (void)state;
    struct rlimit limit;
    static hawser_event *raisers[EVENT_RAISERS_PER_USER], *more;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 4 * EVENT_RAISERS_PER_USER + 64) {
        limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_max < 8 * EVENT_RAISERS_PER_USER || setrlimit(RLIMIT_NOFILE, &limit) < 0)
            skip();
    }
    hawser_event *event = event_at(BELL);
    for (unsigned i = 0; i < EVENT_RAISERS_PER_USER; i++)
        raisers[i] = raiser_of(event);
    struct thread thread = { 0 };
    uint64_t value;
    assert_int_equal(pthread_create(&thread.id, NULL, open_in_thread, &thread), 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(hawser_event_wait(event, MS, &value), -ETIMEDOUT);
    assert_false(load_acquire(&thread.done)); /* it tries again, as one may go */
    hawser_event_close(raisers[0]);
    while (!load_acquire(&thread.done))
        assert_int_equal(hawser_event_wait(event, MS, &value), -ETIMEDOUT);
    pthread_join(thread.id, NULL);
    assert_int_equal(thread.error, 0);
    more = thread.raiser;
    for (unsigned i = 1; i < EVENT_RAISERS_PER_USER; i++)
        assert_int_equal(hawser_event_raise(raisers[i], i), 0);
    assert_int_equal(hawser_event_raise(more, UINT64_C(1) << 40), 0);
    uint64_t sum = 0;
    while (hawser_event_wait(event, HAWSER_NOW, &value) == 0)
        sum += value;
    assert_true(sum == (UINT64_C(1) << 40) + EVENT_RAISERS_PER_USER * (EVENT_RAISERS_PER_USER - 1) / 2);
    for (unsigned i = 1; i < EVENT_RAISERS_PER_USER; i++)
        hawser_event_close(raisers[i]);
    hawser_event_close(more);
    hawser_event_close(event);
}

/* ---- Hostile tickets ---- */

struct lie {
    const char *title;
    struct hello hello;
    uint32_t offer[2];
    uint32_t offer_size;
    int fds[2];
    unsigned n_fds;
    int error;
};

static int adopt_lie(const struct lie *lie, hawser_event **ret_event) {
    static const int on = 1;
    int fds[2];
    struct note note = { .type = NOTE_HELLO };
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    assert_int_equal(packet_send(fds[0], &note, &lie->hello, sizeof lie->hello, lie->offer, lie->offer_size, lie->fds, lie->n_fds), 0);
    int error = hawser_event_adopt(fds[1], NULL, ret_event);
    close(fds[0]);
    close(fds[1]);
    return error;
}

static unsigned descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

#define HELLO(SCHEME) \
    { .magic = HELLO_MAGIC, .version_least = 1, .version_most = 1, .max_message = 1, .scheme = SCHEME, .word_size = 8, .offer_size = 8 }

static void tickets_that_lie(void **state) {
    (void)state;
    int ends[2], bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), file = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const struct lie lies[] = {
        { "the truth", HELLO("eventfd"), { 1, 0 }, 8, { bell }, 1, 0 },
        { "a pipe", HELLO("eventfd"), { 1, 0 }, 8, { ends[1] }, 1, -EPROTO },
        { "a device", HELLO("eventfd"), { 1, 0 }, 8, { file }, 1, -EPROTO },
        { "nothing", HELLO("eventfd"), { 1, 0 }, 8, { 0 }, 0, -EPROTO },
        { "two", HELLO("eventfd"), { 1, 0 }, 8, { bell, bell }, 2, -EPROTO },
        { "another version", HELLO("eventfd"), { 2, 0 }, 8, { bell }, 1, -EPROTO },
        { "a short offer", { HELLO_MAGIC, 1, 1, 0, 1, "eventfd", 8, 4 }, { 1, 0 }, 4, { bell }, 1, -EPROTO },
        { "a wrong size", { HELLO_MAGIC, 1, 1, 0, 1, "eventfd", 8, 9 }, { 1, 0 }, 8, { bell }, 1, -EPROTO },
        { "no magic", { 7, 1, 1, 0, 1, "eventfd", 8, 8 }, { 1, 0 }, 8, { bell }, 1, -EPROTO },
        { "a channel's", HELLO("shm"), { 1, 0 }, 8, { bell }, 1, -EPROTO },
        { "an ordinary signal", HELLO("signal"), { 1, SIGTERM }, 8, { 0 }, 0, -EPROTO },
        { "no signal", HELLO("signal"), { 1, 65 }, 8, { 0 }, 0, -EPROTO },
        { "signal -1", HELLO("signal"), { 1, UINT32_MAX }, 8, { 0 }, 0, -EPROTO },
    };
    unsigned before = descriptors();
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        hawser_event *event = NULL;
        int error = adopt_lie(&lies[i], &event);
        if (error != lies[i].error)
            fail_msg("%s: %d (%s), not %d", lies[i].title, error, hawser_explain(), lies[i].error);
        hawser_event_close(event);
        assert_int_equal(descriptors(), before);
    }
    close(bell);
    close(file);
    close(ends[0]);
    close(ends[1]);
}

/* Its hello is one process's, its socket was made by another, which would be hit: here that is us. */
static void a_ticket_for_another_process(void **state) {
    (void)state;
    static const int on = 1;
    int fds[2], status;
    hawser_event *event;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    pid_t child = fork_child();
    if (child == 0) {
        struct note note = { .type = NOTE_HELLO };
        struct hello hello = HELLO("signal");
        uint32_t offer[2] = { 1, (uint32_t)SIGRTMIN + 5 };
        _exit(packet_send(fds[0], &note, &hello, sizeof hello, offer, sizeof offer, NULL, 0) != 0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(hawser_event_adopt(fds[1], NULL, &event), -EPROTO);
    close(fds[0]);
    close(fds[1]);
}

/* Who gives tickets and never waits, as its handler hears all, gives any number one after the other. */
static void tickets_of_the_gone_make_room(void **state) {
    (void)state;
    static const char *const addresses[] = { "eventfd://", "signal://?signal=SIGRTMIN+3" };
    struct rlimit limit, before;
    int ticket;
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < 3 * EVENT_RAISERS_MAX || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        skip();
    for (unsigned i = 0; i < 2; i++) {
        hawser_event *event = event_at(addresses[i]), *raiser;
        assert_int_equal(hawser_event_export(event, &ticket), 0);
        assert_int_equal(hawser_event_adopt(ticket, NULL, &raiser), 0);
        assert_int_equal(hawser_event_raise(raiser, 7), 0); /* nothing of theirs is lost */
        hawser_event_close(raiser);
        for (unsigned n = 0; n < EVENT_RAISERS_MAX + 5; n++) {
            close(ticket);
            assert_int_equal(hawser_event_export(event, &ticket), 0);
        }
        uint64_t value;
        assert_int_equal(hawser_event_wait(event, HAWSER_NOW, &value), 0);
        assert_true(value == 7);
        close(ticket);
        hawser_event_close(event);
    }
    setrlimit(RLIMIT_NOFILE, &before);
}

int main(void) {
    alarm(100); /* who waits though it must not */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_drains),
        cmocka_unit_test(one_that_floods),
        cmocka_unit_test(one_that_makes_reads_block),
        cmocka_unit_test(one_that_talks_is_out),
        cmocka_unit_test(one_that_fills),
        cmocka_unit_test(a_raise_is_forgiven_all),
        cmocka_unit_test(ones_that_stall_at_the_door),
        cmocka_unit_test(one_user_has_so_many),
        cmocka_unit_test(tickets_that_lie),
        cmocka_unit_test(a_ticket_for_another_process),
        cmocka_unit_test(tickets_of_the_gone_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
