/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What crowds of hostile processes can do to a listener, and the listener's own calls. */

#include "core/meeting_test.h"

#include "base/fork_test.h"

#include <hawser/poll.h>

/* ---- Floods ---- */

static void floods_do_not_keep_others_out(void **state) {
    (void)state;
    enum { FLOOD = 300 };
    int fds[FLOOD];
    struct client client;
    hawser_listener *listener = listen_at("test://a?hello_timeout=100ms");
    struct hello hello = hello_made();
    for (unsigned i = 0; i < FLOOD; i++) {
        fds[i] = raw_connect();
        if (i % 3 == 0)
            send(fds[i], "garbage", 7, MSG_NOSIGNAL);
        else if (i % 3 == 1)
            send(fds[i], &hello, sizeof hello / 2, MSG_NOSIGNAL);
        accept_none(listener, HAWSER_NOW);
    }
    assert_true(listener->n_pending <= PENDING_PER_USER);
    int64_t began = clock_now();
    client_start(&client, "test://a");
    hawser_channel *channel = accept_one(listener);
    client_join(&client);
    assert_int_equal(client.error, 0);
    assert_true(clock_now() - began < 90000000); /* it did not wait for the silent ones to time out */
    uint64_t calls = sys_calls_made;
    accept_none(listener, 300000000);
    assert_true(sys_calls_made - calls < 200); /* it slept, but for the hang-ups */
    assert_int_equal(listener->n_pending, 0);
    for (unsigned i = 0; i < FLOOD; i++) {
        struct pollfd dropped = { .fd = fds[i], .events = POLLIN };
        assert_int_equal(poll(&dropped, 1, 0), 1);
        assert_true(dropped.revents & POLLHUP);
        close(fds[i]);
    }
    hawser_close(client.channel);
    hawser_close(channel);
    hawser_listener_close(listener);
}

static void silent_ones_are_dropped_in_time(void **state) {
    (void)state;
    int epoll;
    hawser_listener *listener = listen_at("test://a?hello_timeout=50ms");
    assert_int_equal(hawser_listener_fd(listener, &epoll), 0);
    struct pollfd ready = { .fd = epoll, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 0), 0);
    int fd = raw_connect();
    assert_int_equal(poll(&ready, 1, 10000), 1);
    int64_t began = clock_now();
    accept_none(listener, HAWSER_NOW);
    assert_true(listener->silent > 0 || process_apart(getpid()) <= 0); /* the next one is not waited for */
    assert_int_equal(listener->n_pending, 1);
    assert_int_equal(poll(&ready, 1, 0), 0);
    assert_int_equal(poll(&ready, 1, 10000), 1); /* the timer, for who sleeps on the descriptor alone */
    assert_true(clock_now() - began >= 40000000);
    accept_none(listener, HAWSER_NOW);
    assert_int_equal(listener->n_pending, 0);
    assert_int_equal(poll(&ready, 1, 0), 0);
    struct pollfd dropped = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&dropped, 1, 0), 1);
    close(fd);
    hawser_listener_close(listener);
}

static void without_descriptors_newcomers_are_turned_away(void **state) {
    (void)state;
    enum { NEWCOMERS = 20 };
    int fds[NEWCOMERS];
    struct rlimit limit, none;
    hawser_channel *channel;
    struct packet packet;
    hawser_listener *listener = listen_at("test://a");
    for (unsigned i = 0; i < NEWCOMERS; i++)
        fds[i] = raw_connect();
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = descriptors(); /* all numbers below are taken */
    int filler[64], fillers = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    while (fillers < 64 && (filler[fillers] = dup(0)) >= 0)
        fillers++;
    for (unsigned i = 0; i < NEWCOMERS; i++) {
        assert_int_equal(hawser_accept(listener, INT64_C(1000000000), &channel), -EMFILE);
        assert_int_equal(packet_receive(fds[i], false, &packet), 0);
        assert_int_equal(packet.note.value, EMFILE);
    }
    uint64_t calls = sys_calls_made;
    accept_none(listener, 100000000);
    assert_true(sys_calls_made - calls < 50);
    setrlimit(RLIMIT_NOFILE, &limit);
    int late = raw_connect();
    setrlimit(RLIMIT_NOFILE, &none);
    hawser_poll_item item = { .listener = listener, .events = HAWSER_IN };
    assert_int_equal(hawser_poll(&item, 1, HAWSER_NOW), -EAGAIN); /* other items are not to suffer for it */
    assert_int_equal(packet_receive(late, false, &packet), 0);
    assert_int_equal(packet.note.value, EMFILE);
    close(late);
    setrlimit(RLIMIT_NOFILE, &limit);
    while (fillers > 0)
        close(filler[--fillers]);
    for (unsigned i = 0; i < NEWCOMERS; i++)
        close(fds[i]);
    struct client client;
    client_start(&client, "test://a");
    channel = accept_one(listener);
    client_join(&client);
    hawser_close(client.channel);
    hawser_close(channel);
    hawser_listener_close(listener);
}

/* ---- The listener's own ---- */

static void listeners_check_their_arguments(void **state) {
    (void)state;
    hawser_listener *listener = NULL;
    hawser_channel *channel;
    int fd;
    assert_int_equal(hawser_listen("test://../a", NULL, &listener), -EINVAL);
    assert_int_equal(hawser_listen("other://a", NULL, &listener), -EOPNOTSUPP);
    assert_int_equal(hawser_listen("test://a", NULL, NULL), -EINVAL);
    assert_null(listener);
    assert_int_equal(hawser_accept(NULL, 0, &channel), -EINVAL);
    assert_int_equal(hawser_listener_fd(NULL, &fd), -EINVAL);
    assert_null(hawser_listener_address(NULL));
    assert_null(hawser_listener_close(NULL));
    hawser_listener_interrupt(NULL);
    listener = listen_at("test://a");
    assert_int_equal(hawser_accept(listener, -2, &channel), -EINVAL);
    hawser_listener *second = NULL;
    assert_int_equal(hawser_listen("test://a", NULL, &second), -EADDRINUSE);
    assert_non_null(strstr(hawser_explain(), "listen test://a: "));
    assert_null(second);
    accept_none(listener, HAWSER_NOW); /* the probe's connection */
    hawser_listener_close(listener);
}

static void a_forked_child_leaves_the_listener_alone(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    pid_t child = fork_child();
    if (child == 0) {
        hawser_channel *channel;
        int error = hawser_accept(listener, HAWSER_NOW, &channel);
        hawser_listener_interrupt(listener);
        hawser_listener_close(listener);
        _exit(-error);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(WEXITSTATUS(status), EPERM);
    accept_none(listener, HAWSER_NOW);
    struct client client;
    client_start(&client, "test://a");
    hawser_close(accept_one(listener));
    client_join(&client);
    assert_int_equal(client.error, 0);
    hawser_close(client.channel);
    hawser_listener_close(listener);
}

/* A descriptor that a child still holds stays in epoll though it was closed here. */
static void a_forked_childs_hellos_do_not_keep_the_listener_awake(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    struct hello hello = hello_made();
    int epoll;
    assert_int_equal(hawser_listener_fd(listener, &epoll), 0);
    hello.magic = 0;
    int fd = raw_connect(), another = raw_connect();
    accept_none(listener, HAWSER_NOW);
    accept_none(listener, HAWSER_NOW);
    assert_int_equal(listener->n_pending, 2);
    pid_t child = fork_child();
    if (child == 0)
        for (;;)
            pause();
    raw_hello(fd, &hello, "");
    raw_hello(another, &hello, "");
    accept_none(listener, HAWSER_NOW);
    assert_int_equal(listener->n_pending, 0);
    shutdown(fd, SHUT_RDWR);
    shutdown(another, SHUT_RDWR);
    struct pollfd ready = { .fd = epoll, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(fd);
    close(another);
    hawser_listener_close(listener);
}

static void interrupts_reach_one_of_many_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    hawser_channel *channel;
    hawser_listener *listener = listen_at("test://a");
    hawser_listener_interrupt(listener); /* nobody waits: the next call */
    assert_int_equal(hawser_accept(listener, HAWSER_FOREVER, &channel), -ECANCELED);
    accept_none(listener, HAWSER_NOW);
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, accept_until_interrupted, listener);
    for (unsigned i = 0; i < 4; i++) {
        hawser_listener_interrupt(listener);
        while (load_seq_cst(&listener->interrupted)) /* one call each: two at once count as one */
            sched_yield();
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    hawser_listener_close(listener);
}

static hawser_listener *to_interrupt;

static int interrupting_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask) {
    sys_table.ppoll = sys_table_real.ppoll;
    hawser_listener_interrupt(to_interrupt); /* just before the step looks, and clears the wake */
    return sys_table_real.ppoll(fds, n, timeout, mask);
}

static void interrupts_are_not_lost_in_a_step(void **state) {
    (void)state;
    hawser_channel *channel;
    to_interrupt = listen_at("test://a");
    sys_table.ppoll = interrupting_ppoll;
    int64_t began = clock_now();
    assert_int_equal(hawser_accept(to_interrupt, INT64_C(2000000000), &channel), -ECANCELED);
    assert_true(clock_now() - began < 1000000000);
    hawser_listener_close(to_interrupt);
}

static void what_poll_found_is_kept(void **state) {
    (void)state;
    int epoll;
    struct client client;
    hawser_listener *listener = listen_at("test://a");
    assert_int_equal(hawser_listener_fd(listener, &epoll), 0);
    assert_int_equal(listener_ready(listener), 0);
    client_start(&client, "test://a");
    int64_t patience = clock_now() + INT64_C(10000000000);
    while (listener_ready(listener) == 0 && clock_now() < patience)
        sched_yield();
    client_join(&client);
    assert_int_equal(listener_ready(listener), 1);
    struct pollfd ready = { .fd = epoll, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 0), 1);
    hawser_close(client.channel);
    hawser_listener_close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(floods_do_not_keep_others_out),
        T(silent_ones_are_dropped_in_time),
        T(without_descriptors_newcomers_are_turned_away),
        T(listeners_check_their_arguments),
        T(a_forked_child_leaves_the_listener_alone),
        T(a_forked_childs_hellos_do_not_keep_the_listener_awake),
        T(interrupts_reach_one_of_many_threads),
        T(interrupts_are_not_lost_in_a_step),
        T(what_poll_found_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
