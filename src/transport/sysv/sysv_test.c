/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What is special about sysv: its queues outlive their processes, and cannot be polled. */

#include "base/fork_test.h"
#include "base/error.h"
#include "base/sys.h"
#include "core/channel.h"
#include "core/packet.h"
#include "transport/sysv/sysv.h"

#include <dirent.h>
#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LONG_NS INT64_C(20000000000)
#define ROUNDS 300

static char runtime[] = "/tmp/hawser-sysv-XXXXXX";

static int begin(void **state) {
    (void)state;
    return mkdtemp(runtime) && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0 ? 0 : -1;
}

static int end(void **state) {
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/.sysv", runtime);
    return rmdir(path) == 0 && rmdir(runtime) == 0 ? 0 : -1; /* fails if anything was left */
}

/* How many records there are; one of their keys. */
static unsigned records(uint32_t *ret_key) {
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/.sysv", runtime);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        n++;
        *ret_key = (uint32_t)strtoul(entry->d_name, NULL, 16);
    }
    if (directory)
        closedir(directory);
    return n;
}

static bool queue_exists(uint32_t key) { return msgget((key_t)key, 0) >= 0 || msgget((key_t)(key + 1), 0) >= 0; }

static uint32_t the_key(void) {
    uint32_t key = 0;
    assert_int_equal(records(&key), 1);
    assert_true(queue_exists(key));
    return key;
}

static void assert_nothing_left(uint32_t key) {
    uint32_t other = 0;
    assert_int_equal(records(&other), 0);
    assert_false(queue_exists(key));
}

static void *echo(void *argument) {
    hawser_channel *channel = argument;
    hawser_message message;
    while (hawser_take(channel, LONG_NS, &message) == 0) {
        if (hawser_send(channel, message.data, message.size, LONG_NS) < 0)
            abort();
        hawser_release(channel, &message);
    }
    return NULL;
}

/* Tiny packets cost a wake-up each, and a slow machine must pass too: they get no message over `largest`. */
static void round_trips(const char *address, size_t largest) {
    static const size_t sizes[] = { 0, 1, 8, 2039, 2040, 2041, 16384, 100000, 3 << 20 };
    hawser_channel *a, *b;
    pthread_t thread;
    assert_int_equal(hawser_pair(address, NULL, &a, &b), 0);
    uint32_t key = the_key();
    assert_int_equal(pthread_create(&thread, NULL, echo, b), 0);
    uint8_t *out = malloc(3 << 20), *in = malloc(3 << 20);
    for (size_t i = 0; i < 3 << 20; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 24);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0] && sizes[i] <= largest; i++) {
        size_t got = 1;
        assert_int_equal(hawser_send(a, out, sizes[i], LONG_NS), 0);
        assert_int_equal(hawser_recv(a, in, 3 << 20, LONG_NS, &got), 0);
        assert_int_equal(got, sizes[i]);
        assert_memory_equal(out, in, got);
    }
    assert_int_equal(hawser_shutdown(a), 0);
    pthread_join(thread, NULL);
    hawser_close(b);
    hawser_close(a);
    free(out);
    free(in);
    assert_nothing_left(key);
}

static void test_round_trips(void **state) {
    (void)state;
    round_trips("sysv://", 3 << 20);
    round_trips("sysv://?wait=block", 3 << 20);
    round_trips("sysv://?wait=block&packet=64", 16384);
}

static void test_unused_pair_leaves_nothing(void **state) {
    hawser_channel *a, *b;
    (void)state;
    for (int used = 0; used < 4; used++) {
        assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
        uint32_t key = the_key();
        if (used & 1)
            assert_int_equal(hawser_send(a, "x", 1, 0), 0);
        if (used & 2)
            assert_int_equal(hawser_send(b, "x", 1, 0), 0);
        hawser_close(a);
        assert_true(queue_exists(key));
        hawser_close(b);
        assert_nothing_left(key);
    }
}

/* A child holds the lock as long as it lives, but it is no end. */
static void test_forked_child_keeps_nothing(void **state) {
    hawser_channel *a, *b;
    (void)state;
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    uint32_t key = the_key();
    assert_int_equal(hawser_send(a, "x", 1, 0), 0);
    assert_int_equal(hawser_send(b, "x", 1, 0), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        alarm(60); /* should the test fail before it kills us */
        pause();
    }
    hawser_close(a);
    assert_true(queue_exists(key));
    hawser_close(b);
    assert_nothing_left(key);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_messages_survive_their_sender(void **state) {
    hawser_channel *a, *b;
    int number;
    size_t size;
    (void)state;
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    uint32_t key = the_key();
    for (number = 0; number < 50; number++)
        assert_int_equal(hawser_send(a, &number, sizeof number, 0), 0);
    hawser_close(a);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(hawser_recv(b, &number, sizeof number, 0, &size), 0);
        assert_int_equal(number, i);
    }
    assert_int_equal(hawser_recv(b, &number, sizeof number, 0, &size), -ESHUTDOWN);
    assert_int_equal(hawser_send(b, "x", 1, 0), -EPIPE);
    hawser_close(b);
    assert_nothing_left(key);
}

static hawser_listener *listen_at(const char *address) {
    hawser_listener *listener;
    assert_int_equal(hawser_listen(address, NULL, &listener), 0);
    return listener;
}

static hawser_channel *connect_or_die(const char *address) {
    hawser_channel *channel;
    if (hawser_connect(address, NULL, LONG_NS, &channel) < 0) {
        fprintf(stderr, "%s\n", hawser_explain());
        _exit(1);
    }
    return channel;
}

/* Sends numbers for ever. */
static void send_until_killed(void) {
    hawser_channel *channel = connect_or_die("sysv://kill?wait=block");
    for (uint64_t number = 0;; number++)
        if (hawser_send(channel, &number, sizeof number, HAWSER_FOREVER) < 0)
            _exit(2);
}

static void test_killed_sender(void **state) {
    hawser_listener *listener = listen_at("sysv://kill");
    hawser_channel *channel;
    uint64_t number = 0, expected = 0;
    size_t size;
    (void)state;
    pid_t pid = fork_child();
    if (pid == 0)
        send_until_killed();
    assert_int_equal(hawser_accept(listener, LONG_NS, &channel), 0);
    uint32_t key = the_key();
    int r;
    while ((r = hawser_recv(channel, &number, sizeof number, LONG_NS, &size)) == 0) {
        assert_int_equal(size, sizeof number);
        assert_int_equal(number, expected);
        if (++expected == 5000)
            kill(pid, SIGKILL);
    }
    assert_int_equal(r, -ECONNRESET);
    assert_true(expected >= 5000);
    assert_int_equal(hawser_send(channel, "x", 1, 0), -EPIPE);
    waitpid(pid, NULL, 0);
    hawser_close(channel);
    hawser_listener_close(listener);
    assert_nothing_left(key);
}

static void serve_until_killed(int told) {
    hawser_listener *listener = listen_at("sysv://both");
    hawser_channel *channel;
    if (write(told, "l", 1) != 1 || hawser_accept(listener, LONG_NS, &channel) < 0 || hawser_send(channel, "x", 1, 0) < 0 ||
        write(told, "a", 1) != 1)
        _exit(1);
    alarm(60); /* should the test fail before it kills us */
    pause();
}

static void test_next_open_removes_what_the_dead_left(void **state) {
    hawser_channel *a, *b;
    int told[2];
    char byte;
    (void)state;
    assert_int_equal(pipe(told), 0);
    pid_t server = fork_child();
    if (server == 0)
        serve_until_killed(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    pid_t client = fork_child();
    if (client == 0) {
        connect_or_die("sysv://both");
        if (write(told[1], "c", 1) != 1)
            _exit(1);
        alarm(60); /* should the test fail before it kills us */
        pause();
    }
    assert_int_equal(read(told[0], &byte, 1), 1);
    assert_int_equal(read(told[0], &byte, 1), 1);
    kill(client, SIGKILL);
    kill(server, SIGKILL);
    waitpid(client, NULL, 0);
    waitpid(server, NULL, 0);
    uint32_t key = the_key();
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    assert_false(queue_exists(key));
    uint32_t fresh = the_key();
    hawser_close(a);
    hawser_close(b);
    assert_nothing_left(fresh);
    hawser_listener_close(listen_at("sysv://both")); /* takes over the dead listener's name, and gives it up */
    close(told[0]);
    close(told[1]);
}

static void test_both_close_at_once(void **state) {
    hawser_listener *listener = listen_at("sysv://close");
    hawser_channel *channel;
    (void)state;
    pid_t pid = fork_child();
    for (int i = 0; pid == 0 && i < ROUNDS; i++) {
        uint8_t byte;
        size_t size;
        channel = connect_or_die("sysv://close?wait=spin");
        if (hawser_recv(channel, &byte, 1, LONG_NS, &size) < 0)
            _exit(1);
        hawser_close(channel);
    }
    if (pid == 0)
        _exit(0);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(hawser_accept(listener, LONG_NS, &channel), 0);
        assert_int_equal(hawser_send_sync(channel, "x", 1, LONG_NS), 0);
        hawser_close(channel);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    hawser_listener_close(listener);
    uint32_t key = 0;
    assert_int_equal(records(&key), 0);
}

/* Each wait is a sleep here, so each message needs its ring. */
static void test_sleepers_are_rung(void **state) {
    hawser_listener *listener = listen_at("sysv://ring?wait=block");
    hawser_channel *channel;
    hawser_message message;
    (void)state;
    pid_t pid = fork_child();
    if (pid == 0) {
        channel = connect_or_die("sysv://ring?wait=block");
        echo(channel);
        hawser_close(channel);
        _exit(0);
    }
    assert_int_equal(hawser_accept(listener, LONG_NS, &channel), 0);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(hawser_send(channel, &i, sizeof i, LONG_NS), 0);
        assert_int_equal(hawser_take(channel, LONG_NS, &message), 0);
        assert_memory_equal(message.data, &i, sizeof i);
        assert_int_equal(hawser_release(channel, &message), 0);
    }
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    assert_int_equal(hawser_statistics(channel, &statistics), 0);
    assert_true(statistics.sleeps > 0);
    assert_in_range(statistics.wakes, 1, 2002);
    hawser_close(channel);
    waitpid(pid, NULL, 0);
    hawser_listener_close(listener);
}

static void *flood(void *argument) {
    for (uint32_t i = 0; i < 20000; i++)
        if (hawser_send(argument, &i, sizeof i, LONG_NS) < 0)
            abort();
    return NULL;
}

static void *drain(void *argument) {
    uint32_t number;
    size_t size;
    for (uint32_t i = 0; i < 20000; i++)
        if (hawser_recv(argument, &number, sizeof number, LONG_NS, &size) < 0 || number != i)
            abort();
    return NULL;
}

/* Both halves of both ends sleep on one socket each: no ring may be lost to the other half. */
static void test_both_halves_sleep(void **state) {
    hawser_channel *ends[2];
    pthread_t threads[4];
    (void)state;
    assert_int_equal(hawser_pair("sysv://?wait=block&packet=32", NULL, &ends[0], &ends[1]), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i & 1 ? drain : flood, ends[i / 2]), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    hawser_close(ends[0]);
    hawser_close(ends[1]);
}

static void test_export(void **state) {
    hawser_channel *a, *b, *adopted;
    int fd;
    size_t size;
    char byte = 0;
    (void)state;
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    uint32_t key = the_key();
    assert_int_equal(hawser_export(b, &fd), 0);
    hawser_close(b);
    assert_true(queue_exists(key));
    assert_int_equal(hawser_send(a, "x", 1, 0), 0);
    assert_int_equal(hawser_adopt(fd, NULL, &adopted), 0);
    assert_int_equal(hawser_recv(adopted, &byte, 1, LONG_NS, &size), 0);
    assert_int_equal(byte, 'x');
    assert_int_equal(hawser_send(adopted, "y", 1, 0), 0);
    assert_int_equal(hawser_recv(a, &byte, 1, LONG_NS, &size), 0);
    assert_int_equal(byte, 'y');
    hawser_close(a);
    hawser_close(adopted);
    assert_nothing_left(key);
}

/* An exported end that somebody made up names the queues of another channel of ours, with a record that is not theirs. */
static void test_adopting_anothers_queues(void **state) {
    hawser_channel *a, *b, *c, *d, *adopted;
    struct packet packet;
    int fd, carriers[2];
    (void)state;
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    assert_int_equal(hawser_pair("sysv://", NULL, &c, &d), 0);
    assert_int_equal(hawser_export(d, &fd), 0);
    assert_int_equal(packet_receive(fd, true, &packet), 0);
    const struct sysv_link *victim = sysv_of(b->link);
    uint32_t named[] = { victim->record.key, (uint32_t)victim->in, (uint32_t)victim->out };
    memcpy(packet.data + 8 + 4, named, sizeof named); /* behind the scheme and the magic */
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, carriers), 0);
    assert_int_equal(packet_send(carriers[0], &packet.note, packet.data, packet.size, NULL, 0, packet.fds, packet.n_fds), 0);
    assert_int_equal(hawser_adopt(carriers[1], NULL, &adopted), -EPROTO);
    packet_close(&packet);
    close(carriers[0]);
    close(carriers[1]);
    close(fd);
    hawser_close(a);
    hawser_close(b);
    hawser_close(c);
    hawser_close(d);
    uint32_t key;
    assert_int_equal(records(&key), 0);
}

static void test_queue_removed_under_us(void **state) {
    hawser_channel *a, *b;
    size_t size;
    char byte;
    (void)state;
    assert_int_equal(hawser_pair("sysv://", NULL, &a, &b), 0);
    uint32_t key = the_key();
    assert_int_equal(hawser_send(a, "x", 1, 0), 0);
    assert_int_equal(msgctl(msgget((key_t)key, 0), IPC_RMID, NULL), 0);
    assert_int_equal(msgctl(msgget((key_t)(key + 1), 0), IPC_RMID, NULL), 0);
    assert_int_equal(hawser_send(a, "x", 1, 0), -EPIPE);
    assert_int_equal(hawser_recv(b, &byte, 1, LONG_NS, &size), -ECONNRESET);
    hawser_close(a);
    hawser_close(b);
    assert_nothing_left(key);
}

static unsigned refusals;

static int refuse_msgsnd(int queue, const void *message, size_t size, int flags) {
    return refusals > 0 && refusals-- ? -EAGAIN : sys_table_real.msgsnd(queue, message, size, flags);
}

/* What does not fit into an empty queue waits for nobody: a refusal for nothing is tried again, a queue that was made too small
 * for any packet is the peer's breach. */
static void test_no_room_in_an_empty_queue(void **state) {
    hawser_channel *a, *b;
    struct msqid_ds status;
    size_t size;
    char byte;
    (void)state;
    assert_int_equal(hawser_pair("sysv://?packet=64", NULL, &a, &b), 0);
    int queue = sysv_of(a->link)->out;
    for (unsigned i = 0; i < 2; i++) { /* with the other end unused, and used */
        refusals = 6;
        sys_table.msgsnd = refuse_msgsnd;
        assert_int_equal(hawser_send(a, "x", 1, LONG_NS / 4), 0);
        sys_table = sys_table_real;
        assert_int_equal(hawser_recv(b, &byte, 1, LONG_NS, &size), 0);
    }
    assert_int_equal(msgctl(queue, IPC_STAT, &status), 0);
    status.msg_qbytes = 4;
    assert_int_equal(msgctl(queue, IPC_SET, &status), 0);
    hawser_poll_item item = { .channel = a, .events = HAWSER_OUT };
    assert_int_equal(hawser_poll(&item, 1, LONG_NS / 4), 1);
    assert_int_equal(hawser_send(a, "x", 1, LONG_NS / 4), -EPROTO);
    hawser_close(a);
    hawser_close(b);
}

static void assert_refused(struct link *link, const struct offer *good, unsigned offset, uint32_t word, const char *why) {
    struct offer bad = *good;
    memcpy(bad.data + offset, &word, sizeof word);
    for (unsigned i = 0; i < bad.n_fds; i++)
        bad.fds[i] = dup(good->fds[i]);
    assert_int_equal(link->transport->meet(link, &bad), -EPROTO);
    assert_non_null(strstr(error_sentence(), why));
    offer_close(&bad);
}

/* Another program's queue, or one of this user's with a key that is not said, is never believed to be the peer's. */
static void test_hostile_hellos(void **state) {
    static const struct options options = { .max_message = 1 << 20 };
    const struct transport *transport = transport_find("sysv", 4);
    struct link *ours, *theirs;
    struct offer good = { 0 }, first = { 0 };
    (void)state;
    assert_int_equal(transport->create(&options, LINK_LISTEN, &theirs), 0);
    assert_int_equal(transport->create(&options, LINK_CONNECT, &ours), 0);
    peer_know(&ours->peer, getpid(), geteuid(), getegid());
    peer_know(&theirs->peer, getpid(), geteuid(), getegid());
    assert_int_equal(transport->offer(ours, &first), 0);
    assert_int_equal(transport->meet(theirs, &first), 0);
    assert_int_equal(transport->offer(theirs, &good), 0);
    uint32_t key = the_key();
    int foreign = msgget(IPC_PRIVATE, 0600);
    assert_refused(ours, &good, 0, 1, "none of sysv");
    assert_refused(ours, &good, 4, key + 2, "not to be found");
    assert_refused(ours, &good, 4, key + 1, "none of hawser's");
    assert_refused(ours, &good, 8, (uint32_t)foreign, "not to be found");
    assert_refused(ours, &good, 12, (uint32_t)-1, "not to be found");
    assert_refused(ours, &good, 16, 0, "impossible");
    assert_refused(ours, &good, 16, UINT32_MAX, "impossible");
    good.size--;
    assert_refused(ours, &good, 0, 0, "a hello of");
    good.size++;
    good.n_fds--;
    assert_refused(ours, &good, 0, 0, "1 descriptors");
    good.n_fds++;
    assert_int_equal(transport->meet(ours, &good), 0);
    assert_int_equal(transport->meet(ours, &first), -EPROTO);
    offer_close(&good);
    offer_close(&first);
    assert_int_equal(msgctl(foreign, IPC_RMID, NULL), 0); /* it was left alone */
    transport->close(ours, true);
    transport->close(theirs, true);
    assert_nothing_left(key);
}

static void other_user(const char *address) {
    char own[] = "/tmp/hawser-other-XXXXXX", path[64], byte;
    size_t size;
    if (setgid(4321) < 0 || setuid(4321) < 0 || !mkdtemp(own) || setenv("HAWSER_RUNTIME_DIR", own, 1) < 0)
        _exit(3);
    hawser_channel *channel = connect_or_die(address);
    if (hawser_send(channel, "x", 1, LONG_NS) < 0 || hawser_recv(channel, &byte, 1, LONG_NS, &size) < 0)
        _exit(4);
    int r = hawser_recv(channel, &byte, 1, LONG_NS, &size); /* the other closes first: the last to go is no owner */
    hawser_close(channel);
    snprintf(path, sizeof path, "%s/.sysv", own);
    rmdir(path);
    rmdir(own);
    _exit(r == -ESHUTDOWN ? 0 : 5);
}

static void test_other_user(void **state) {
    char directory[] = "/tmp/hawser-meet-XXXXXX", address[96], byte;
    hawser_channel *channel;
    size_t size;
    int status;
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(directory));
    assert_int_equal(chmod(directory, 0755), 0);
    snprintf(address, sizeof address, "sysv://%s/meet?users=4321", directory);
    hawser_listener *listener = listen_at(address);
    snprintf(address, sizeof address, "sysv://%s/meet", directory);
    pid_t pid = fork_child();
    if (pid == 0)
        other_user(address);
    assert_int_equal(hawser_accept(listener, LONG_NS, &channel), 0);
    uint32_t key = the_key();
    assert_int_equal(hawser_recv(channel, &byte, 1, LONG_NS, &size), 0);
    assert_int_equal(hawser_send(channel, "y", 1, LONG_NS), 0);
    hawser_close(channel);
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_false(queue_exists(key)); /* the other user, if it was the last, could remove them, but not the record */
    hawser_listener_close(listener);
    assert_in_range(record_collect(), 0, 1);
    assert_nothing_left(key);
    rmdir(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_unused_pair_leaves_nothing),
        cmocka_unit_test(test_forked_child_keeps_nothing),
        cmocka_unit_test(test_messages_survive_their_sender),
        cmocka_unit_test(test_killed_sender),
        cmocka_unit_test(test_next_open_removes_what_the_dead_left),
        cmocka_unit_test(test_both_close_at_once),
        cmocka_unit_test(test_sleepers_are_rung),
        cmocka_unit_test(test_both_halves_sleep),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_adopting_anothers_queues),
        cmocka_unit_test(test_queue_removed_under_us),
        cmocka_unit_test(test_no_room_in_an_empty_queue),
        cmocka_unit_test(test_hostile_hellos),
        cmocka_unit_test(test_other_user),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
