/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Who meets whom, who is refused, and what a peer can send. */

#include "core/meeting_test.h"

#include "base/fork_test.h"

/* ---- Meeting ---- */

static void two_ends_meet(void **state) {
    (void)state;
    struct client client;
    hawser_listener *listener = listen_at("test://a?max_message=5000");
    assert_string_equal(hawser_listener_address(listener), "test://a");
    client_start(&client, "test://a?max_message=3000");
    hawser_channel *channel = accept_one(listener);
    client_join(&client);
    assert_int_equal(client.error, 0);
    struct test_link *near = (struct test_link *)channel->link, *far = (struct test_link *)client.channel->link;
    assert_string_equal(near->met, "role 0");
    assert_string_equal(far->met, "role 1");
    assert_int_equal(near->met_fds + far->met_fds, 2);
    assert_int_equal(near->link.max_message, 3000);
    assert_int_equal(far->link.max_message, 3000);
    assert_true(near->link.peer.known && near->link.peer.pid == getpid() && near->link.peer.uid == getuid());
    assert_true(far->link.peer.pidfd >= 0 && far->link.peer.pid == getpid());
    assert_int_equal(peer_note(&far->link.peer, NOTE_ACK, 41), 0);
    assert_int_equal(peer_note(&far->link.peer, NOTE_OWN, 1), 0);
    assert_int_equal(peer_ring(&far->link.peer), 0);
    assert_int_equal(peer_look(&near->link), 0);
    assert_int_equal(near->link.peer.acked, 41);
    assert_int_equal(near->own_notes, 1);
    far->link.peer.acked = 0;
    hawser_close(client.channel);
    assert_int_equal(peer_look(&near->link), 1);
    assert_int_equal(peer_note(&near->link.peer, NOTE_ACK, 1), -EPIPE);
    hawser_close(channel);
    hawser_listener_close(listener);
}

static void last_notes_are_read_before_the_end(void **state) {
    (void)state;
    struct client client;
    hawser_listener *listener = listen_at("test://a");
    client_start(&client, "test://a");
    hawser_channel *channel = accept_one(listener);
    client_join(&client);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(peer_note(&client.channel->link->peer, NOTE_ACK, i), 0);
    peer_note(&channel->link->peer, NOTE_ACK, 1); /* unread when it closes: the kernel then says ECONNRESET */
    hawser_close(client.channel);
    assert_int_equal(peer_look(channel->link), 1);
    assert_int_equal(channel->link->peer.acked, 100);
    assert_int_equal(link_broken(channel->link), 0);
    hawser_close(channel);
    hawser_listener_close(listener);
}

static void malformed_notes_break_their_link(void **state) {
    (void)state;
    static const struct note bad[] = { { .type = 0 },
                                       { .type = 9 },
                                       { .type = NOTE_HELLO },
                                       { .type = NOTE_REFUSE },
                                       { .type = NOTE_OWN, .value = 666 } };
    hawser_listener *listener = listen_at("test://a");
    for (unsigned i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        struct client client;
        client_start(&client, "test://a");
        hawser_channel *channel = accept_one(listener);
        client_join(&client);
        if (i == sizeof bad / sizeof bad[0])
            assert_int_equal(send(client.channel->link->peer.socket, "half", 4, 0), 4);
        else
            packet_send(client.channel->link->peer.socket, &bad[i], NULL, 0, NULL, 0, NULL, 0);
        peer_look(channel->link);
        assert_int_equal(link_broken(channel->link), -EPROTO);
        assert_non_null(strstr(hawser_explain(), "the peer broke the protocol: "));
        peer_ring(&client.channel->link->peer);
        assert_int_equal(peer_look(channel->link), 0); /* what comes after is thrown away, so that nobody spins on it */
        char byte;
        assert_int_equal(recv(channel->link->peer.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
        hawser_close(client.channel);
        hawser_close(channel);
    }
    hawser_listener_close(listener);
}

static void a_hello_waits_for_descriptors(void **state) {
    (void)state;
    hawser_channel *a, *b;
    struct rlimit limit, none;
    assert_int_equal(hawser_pair("test://", NULL, &a, &b), 0);
    struct test_link *near = (struct test_link *)a->link;
    assert_int_equal(rendezvous_begin(b->link), 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    peer_drain(a->link);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(near->met_fds, 0);
    assert_int_equal(near->link.peer.starved, 1);
    peer_drain(a->link);
    assert_int_equal(near->met_fds, 1);
    assert_int_equal(near->link.peer.starved, 0);
    hawser_close(a);
    hawser_close(b);
}

static void descriptors_of_notes_are_dropped(void **state) {
    (void)state;
    struct client client;
    hawser_listener *listener = listen_at("test://a");
    client_start(&client, "test://a");
    hawser_channel *channel = accept_one(listener);
    client_join(&client);
    int fd = client.channel->link->peer.socket, fds[100];
    unsigned before = descriptors();
    struct note note = { .type = NOTE_OWN };
    struct iovec vector = { &note, sizeof note };
    char control[CMSG_SPACE(sizeof fds)] = { 0 };
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    for (unsigned i = 0; i < 100; i++)
        fds[i] = fd;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(header), fds, sizeof fds);
    assert_int_equal(sendmsg(fd, &message, 0), sizeof note);
    peer_look(channel->link);
    assert_int_equal(((struct test_link *)channel->link)->own_notes, 1);
    assert_int_equal(descriptors(), before);
    hawser_close(client.channel);
    hawser_close(channel);
    hawser_listener_close(listener);
}

/* A packet of no bytes looks like a hang-up, but may bring descriptors all the same. */
static void descriptors_of_empty_packets_are_closed(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    unsigned before = descriptors();
    int fd = raw_connect();
    int gift[2] = { fd, fd };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof gift)];
    } control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof gift) } };
    struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof control };
    memcpy(CMSG_DATA(&control.header), gift, sizeof gift);
    assert_int_equal(sendmsg(fd, &message, 0), 0);
    accept_none(listener, HAWSER_NOW);
    assert_int_equal(listener->n_pending, 0);
    close(fd);
    assert_int_equal(descriptors(), before);
    hawser_listener_close(listener);
}

static void pairs_meet_at_first_use(void **state) {
    (void)state;
    hawser_channel *a, *b;
    assert_int_equal(hawser_pair("test://", NULL, &a, &b), 0);
    struct test_link *near = (struct test_link *)a->link, *far = (struct test_link *)b->link;
    assert_int_equal(rendezvous_begin(&near->link), 0);
    assert_int_equal(near->link.peer.known, 0);
    pid_t child = fork_child();
    if (child == 0) {
        rendezvous_begin(&far->link);
        peer_drain(&far->link);
        _exit(far->link.peer.known && far->link.peer.pid == getppid() ? 0 : 1);
    }
    struct pollfd ready = { .fd = near->link.peer.socket, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 10000), 1);
    peer_drain(&near->link);
    assert_int_equal(near->link.peer.known, 1);
    assert_int_equal(near->link.peer.pid, child);
    assert_string_equal(near->met, "role 2");
    /* Our own copy of the other end keeps the socket up: the pidfd tells. */
    struct pollfd fds[2];
    struct sleep_set set = { .fds = fds };
    peer_sleep(&near->link.peer, &set);
    assert_int_equal(set.count, 2);
    assert_int_equal(poll(fds, 2, 10000), 1);
    assert_true(peer_woken(&near->link, fds[1].fd, fds[1].revents));
    assert_int_equal(near->link.peer.gone, 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    hawser_close(a);
    hawser_close(b);
}

/* ---- Refusing ---- */

/* Whoever said hello was dead, and buried, before it was heard, and its child holds the socket. */
static void the_dead_are_known_though_they_died_early(void **state) {
    (void)state;
    hawser_channel *a, *b;
    int hold[2];
    char byte;
    assert_int_equal(hawser_pair("test://", NULL, &a, &b), 0);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    pid_t child = fork_child();
    if (child == 0) {
        close(hold[1]);
        if (rendezvous_begin(b->link) || fork() == 0)
            _exit((int)read(hold[0], &byte, 1));
        raise(SIGKILL);
    }
    close(hold[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    hawser_close(b);
    peer_look(a->link); /* the hello */
    assert_int_equal(a->link->peer.known, 1);
    assert_int_equal(peer_look(a->link), 1);
    close(hold[1]);
    hawser_close(a);
}

static void hellos_are_checked(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    for (unsigned i = 0; i < 9; i++) {
        struct hello hello = hello_made();
        const char *offer = "";
        if (i == 0)
            hello.magic = __builtin_bswap32(HELLO_MAGIC);
        else if (i == 1)
            hello.magic = 0x6c6c6568;
        else if (i == 2)
            hello.version_least = hello.version_most = 2;
        else if (i == 3)
            hello.version_least = hello.version_most = 0;
        else if (i == 4)
            hello.max_message = 0;
        else if (i == 5)
            hello.max_message = UINT64_C(1) << 63;
        else if (i == 6)
            hello.offer_size = 1;
        else if (i == 7)
            memset(hello.scheme, 0xff, sizeof hello.scheme);
        else
            offer = "!";
        hello.offer_size += (uint32_t)strlen(offer);
        int fd = raw_connect();
        raw_hello(fd, &hello, offer);
        accept_none(listener, HAWSER_NOW);
        struct packet packet;
        char sentence[OFFER_DATA];
        assert_int_equal(packet_receive(fd, false, &packet), 0);
        assert_int_equal(packet.note.type, NOTE_REFUSE);
        assert_int_equal(packet.note.value, EPROTO);
        rendezvous_sentence(&packet, sentence, sizeof sentence);
        assert_true(strlen(sentence) > 10);
        assert_int_equal(packet_receive(fd, false, &packet), -EPIPE);
        close(fd);
    }
    hawser_listener_close(listener);
}

static void unknown_features_are_ignored(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    struct hello hello = hello_made();
    hello.features = UINT64_MAX;
    hello.version_most = 7;
    hello.version_least = 0;
    int fd = raw_connect();
    raw_hello(fd, &hello, "");
    hawser_channel *channel = accept_one(listener);
    assert_int_equal(channel->link->max_message, 1000);
    hawser_close(channel);
    close(fd);
    hawser_listener_close(listener);
}

static void another_mechanism_is_refused(void **state) {
    (void)state;
    hawser_listener *listener = listen_at("test://a");
    struct hello hello = hello_made();
    memcpy(hello.scheme, "other\0\0", 8);
    int fd = raw_connect();
    raw_hello(fd, &hello, "");
    accept_none(listener, HAWSER_NOW);
    struct packet packet;
    char sentence[OFFER_DATA];
    assert_int_equal(packet_receive(fd, false, &packet), 0);
    rendezvous_sentence(&packet, sentence, sizeof sentence);
    assert_string_equal(sentence, "one end came by test://, the other by other://");
    close(fd);
    hawser_listener_close(listener);
}

/* A listener that is none: answers the first hello with these bytes. */
static void connect_to_impostor(const void *answer, size_t size, int error, const char *sentence) {
    struct client client;
    struct name name;
    struct packet packet;
    int fd;
    assert_int_equal(name_take_socket(path, SOCK_SEQPACKET, 0600, &name, &fd), 0);
    client_start(&client, "test://a");
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 10000), 1);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    ready.fd = peer;
    assert_int_equal(poll(&ready, 1, 10000), 1);
    assert_int_equal(packet_receive(peer, false, &packet), 0);
    packet_close(&packet);
    assert_int_equal(send(peer, answer, size, 0), size);
    client_join(&client);
    if (client.error != error || !strstr(client.sentence, sentence))
        fail_msg("%d: %s", client.error, client.sentence);
    name_release(&name);
    close(peer);
    close(fd);
}

struct answer {
    struct note note;
    union {
        struct hello hello;
        char text[64];
    } u;
};

static void the_connecting_end_checks_too(void **state) {
    (void)state;
    struct answer answer = { .note = { .type = NOTE_HELLO }, .u.hello = hello_made() };
    size_t size = sizeof answer.note + sizeof answer.u.hello;
    answer.u.hello.version_least = answer.u.hello.version_most = 3;
    connect_to_impostor(&answer, size, -EPROTO,
                        "connect test://a: one end speaks version 1 of the protocol, the other 3 to 3");
    connect_to_impostor("garbage", 7, -EPROTO, "connect test://a: listener is no hawser listener: a note of 7 bytes");
    answer.note.type = NOTE_RING;
    connect_to_impostor(&answer, size, -EPROTO, "expected a hello, got a note of type 3");
    answer = (struct answer){ .note = { .type = NOTE_REFUSE, .value = EACCES }, .u.text = "you \033[31mhere?" };
    connect_to_impostor(&answer, sizeof answer.note + 14, -EACCES,
                        "connect test://a: permission denied: you ?[31mhere?");
    answer.note.value = 12345678;
    connect_to_impostor(&answer, sizeof answer.note + 14, -EPROTO, "listener refused");
}

static void a_refusal_is_heard_though_the_hello_was_not_read(void **state) {
    (void)state;
    struct client client;
    struct name name;
    int fd;
    assert_int_equal(name_take_socket(path, SOCK_SEQPACKET, 0600, &name, &fd), 0);
    client_start(&client, "test://a");
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, 10000), 1);
    ready.fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(poll(&ready, 1, 10000), 1); /* the hello is there; closing on it makes the kernel say ECONNRESET */
    error_note(-EACCES, "not you");
    rendezvous_refuse(ready.fd, -EACCES);
    close(ready.fd);
    client_join(&client);
    assert_int_equal(client.error, -EACCES);
    assert_string_equal(client.sentence, "connect test://a: permission denied: not you");
    name_release(&name);
    close(fd);
}

static void connecting_waits_and_gives_up(void **state) {
    (void)state;
    hawser_channel *channel = NULL;
    assert_int_equal(hawser_connect("test://a", NULL, HAWSER_NOW, &channel), -EAGAIN);
    assert_int_equal(hawser_connect("test://a", NULL, 30000000, &channel), -ETIMEDOUT);
    hawser_listener *listener = listen_at("test://a");
    int64_t began = clock_now();
    assert_int_equal(hawser_connect("test://a", NULL, 30000000, &channel), -ETIMEDOUT); /* nobody accepts */
    assert_true(clock_now() - began >= 30000000);
    assert_null(channel);
    hawser_listener_close(listener);
}

/* ---- Users ---- */

static int as_user(uid_t uid, const char *address, const char *sentence) {
    hawser_channel *channel;
    int status;
    pid_t child = fork_child();
    if (child == 0) {
        setenv("HAWSER_RUNTIME_DIR", "/nonexistent", 1);
        if (setgid(uid) || setuid(uid))
            _exit(99);
        int error = hawser_connect(address, NULL, INT64_C(5000000000), &channel);
        bool said = !error || strstr(hawser_explain(), sentence);
        if (!said)
            print_error("%s\n", hawser_explain());
        _exit(said ? -error : 98);
    }
    assert_true(child > 0);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? -WEXITSTATUS(status) : -97;
}

static void users_are_refused_and_admitted(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    static const struct {
        const char *query, *client_query;
        int error;
        const char *sentence;
    } cases[] = {
        { "", "", -EACCES, "permission denied: listener allows uid 0, you are uid 1001" },
        { "?users=1002", "", -EACCES, "permission denied: listener allows uid 0, uid 1002, you are uid 1001" },
        { "?groups=1002", "", -EACCES, "listener allows uid 0, gid 1002, you are uid 1001, gid 1001" },
        { "?users=1001", "", 0, "" },
        { "?groups=1001", "", 0, "" },
        { "?users=any", "", 0, "" },
        { "?users=any", "?peer=1002", -EACCES, "permission denied: listener runs as uid 0, you expect uid 1002" },
        { "?users=any", "?peer=root", 0, "" },
    };
    chmod(runtime, 0755);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char address[160], client[160];
        pthread_t thread;
        snprintf(address, sizeof address, "test://%s/a%s", runtime, cases[i].query);
        snprintf(client, sizeof client, "test://%s/a%s", runtime, cases[i].client_query);
        hawser_listener *listener = listen_at(address);
        pthread_create(&thread, NULL, accept_until_interrupted, listener);
        int error = as_user(1001, client, cases[i].sentence);
        hawser_listener_interrupt(listener);
        pthread_join(thread, NULL);
        hawser_listener_close(listener);
        if (error != cases[i].error)
            fail_msg("case %u: %d", i, error);
    }
}

static int admit_odd(void *context, const struct hawser_peer *peer) {
    *(uid_t *)context = peer->uid;
    return peer->uid % 2;
}

static void the_callback_admits(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    uid_t seen = 0;
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_listener *listener;
    pthread_t thread;
    char address[160];
    options.admit = admit_odd;
    options.admit_context = &seen;
    chmod(runtime, 0755);
    snprintf(address, sizeof address, "test://%s/a", runtime);
    assert_int_equal(hawser_listen(address, &options, &listener), 0);
    pthread_create(&thread, NULL, accept_until_interrupted, listener);
    assert_int_equal(as_user(1001, address, ""), 0);
    assert_int_equal(as_user(1002, address, "listener allows uid 0, you are uid 1002"), -EACCES);
    hawser_listener_interrupt(listener);
    pthread_join(thread, NULL);
    assert_int_equal(seen, 1002);
    hawser_listener_close(listener);
}

static void squatted_names_are_not_trusted(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    hawser_channel *channel;
    char address[160];
    int told[2];
    assert_int_equal(chown(runtime, 1001, 1001), 0);
    snprintf(address, sizeof address, "test://%s/a", runtime);
    assert_int_equal(pipe(told), 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_listener *listener;
        char byte = 0;
        if (setgid(1001) || setuid(1001) || hawser_listen(address, NULL, &listener))
            _exit(1);
        close(told[0]);
        (void)!write(told[1], &byte, 1);
        _exit(hawser_accept(listener, INT64_C(10000000000), &channel) ? 2 : 3); /* the parent kills it before */
    }
    close(told[1]);
    char byte;
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    assert_int_equal(hawser_connect(address, NULL, INT64_C(5000000000), &channel), -EACCES);
    assert_non_null(
        strstr(hawser_explain(),
               "permission denied: listener runs as uid 1001, you are uid 0 and expect your own user or root"));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(two_ends_meet),
        T(last_notes_are_read_before_the_end),
        T(malformed_notes_break_their_link),
        T(a_hello_waits_for_descriptors),
        T(descriptors_of_notes_are_dropped),
        T(descriptors_of_empty_packets_are_closed),
        T(pairs_meet_at_first_use),
        T(the_dead_are_known_though_they_died_early),
        T(hellos_are_checked),
        T(unknown_features_are_ignored),
        T(another_mechanism_is_refused),
        T(the_connecting_end_checks_too),
        T(a_refusal_is_heard_though_the_hello_was_not_read),
        T(connecting_waits_and_gives_up),
        T(users_are_refused_and_admitted),
        T(the_callback_admits),
        T(squatted_names_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
