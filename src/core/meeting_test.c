/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* See the header. */

#include "core/meeting_test.h"

/* ---- The mechanism ---- */

static int test_create(const struct options *options, enum link_role role, struct link **ret_link);

static int test_offer(struct link *link, struct offer *ret_offer) {
    (void)link;
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    close(pipes[1]);
    ret_offer->fds[0] = pipes[0];
    ret_offer->n_fds = 1;
    ret_offer->size = (size_t)snprintf((char *)ret_offer->data, OFFER_DATA, "role %d", link->role);
    return 0;
}

static int test_meet(struct link *link, struct offer *offer) {
    struct test_link *test = (struct test_link *)link;
    if (offer->size >= sizeof test->met || memchr(offer->data, '!', offer->size))
        return error_note(-EPROTO, "an offer with an exclamation mark");
    memcpy(test->met, offer->data, offer->size);
    test->met_fds = offer->n_fds;
    return 0;
}

static int test_note(struct link *link, const struct note *note) {
    struct test_link *test = (struct test_link *)link;
    test->own_notes++;
    return note->value == 666 ? -EPROTO : 0;
}

static void test_close(struct link *link, bool owner) {
    (void)owner;
    link_deinit(link);
    memory_free(link);
}

static int nothing(struct link *link) {
    (void)link;
    return 0;
}

static const struct transport test_transport = {
    .capabilities = HAWSER_CAN_CREDENTIALS,
    .scheme = "test",
    .listen = rendezvous_listen,
    .greet = rendezvous_greet,
    .unlisten = rendezvous_unlisten,
    .connect = rendezvous_connect,
    .pair = rendezvous_pair,
    .begin = rendezvous_begin,
    .create = test_create,
    .offer = test_offer,
    .meet = test_meet,
    .note = test_note,
    .shutdown = nothing,
    .drained = nothing,
    .close = test_close,
};

static const struct transport other_transport = {
    .scheme = "other",
    .connect = rendezvous_connect,
    .create = test_create,
    .close = test_close,
};

const struct transport *const transports[] = { &test_transport, &other_transport, NULL };

static int test_create(const struct options *options, enum link_role role, struct link **ret_link) {
    struct test_link *test = memory_new(sizeof *test);
    link_init(&test->link, &test_transport, options, role);
    *ret_link = &test->link;
    return 0;
}

/* ---- Around every test ---- */

char runtime[64], path[100];

unsigned descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 2048; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static unsigned descriptors_before;

/* A thread's waker stays in the pool when it ends: as many are put there first as tests have threads. */
static void *have_waker(void *barrier) {
    waker_self();
    pthread_barrier_wait(barrier);
    return NULL;
}

static void fill_pool(void) {
    enum { THREADS = 5 };
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, have_waker, &barrier);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
}

int set_up(void **state) {
    (void)state;
    waker_self();
    fill_pool();
    descriptors_before = descriptors();
    snprintf(runtime, sizeof runtime, "/tmp/hawser-rendezvous-test-XXXXXX");
    assert_non_null(mkdtemp(runtime));
    snprintf(path, sizeof path, "%s/a", runtime);
    setenv("HAWSER_RUNTIME_DIR", runtime, 1);
    return 0;
}

int tear_down(void **state) {
    (void)state;
    unsigned now = descriptors();
    if (now != descriptors_before) {
        print_error("%u descriptors, %u before\n", now, descriptors_before);
        return 1;
    }
    return rmdir(runtime); /* fails when a name is left over */
}

hawser_listener *listen_at(const char *address) {
    hawser_listener *listener;
    if (hawser_listen(address, NULL, &listener))
        fail_msg("%s", hawser_explain());
    return listener;
}

static void *client_run(void *argument) {
    struct client *client = argument;
    client->error = hawser_connect(client->address, NULL, client->timeout, &client->channel);
    snprintf(client->sentence, sizeof client->sentence, "%s", hawser_explain());
    return NULL;
}

void client_start(struct client *client, const char *address) {
    *client = (struct client){ .address = address, .timeout = INT64_C(10000000000) };
    assert_int_equal(pthread_create(&client->thread, NULL, client_run, client), 0);
}

void client_join(struct client *client) { pthread_join(client->thread, NULL); }

int raw_connect(void) {
    int fd;
    if (name_connect_socket(path, SOCK_SEQPACKET, clock_now() + INT64_C(5000000000), &fd))
        fail_msg("%s", hawser_explain());
    return fd;
}

struct hello hello_made(void) {
    return (struct hello){
        .magic = HELLO_MAGIC, .version_least = 1, .version_most = 1, .max_message = 1000, .scheme = "test"
    };
}

void raw_hello(int fd, const struct hello *hello, const char *offer) {
    struct note note = { .type = NOTE_HELLO };
    packet_send(fd, &note, hello, sizeof *hello, offer, strlen(offer), NULL, 0);
}

void accept_none(hawser_listener *listener, int64_t timeout) {
    hawser_channel *channel;
    int error = hawser_accept(listener, timeout, &channel);
    if (error != (timeout ? -ETIMEDOUT : -EAGAIN))
        fail_msg("%d: %s", error, hawser_explain());
}

hawser_channel *accept_one(hawser_listener *listener) {
    hawser_channel *channel;
    if (hawser_accept(listener, INT64_C(10000000000), &channel))
        fail_msg("%s", hawser_explain());
    return channel;
}

void *accept_until_interrupted(void *argument) {
    hawser_listener *listener = argument;
    hawser_channel *channel;
    while (hawser_accept(listener, HAWSER_FOREVER, &channel) != -ECANCELED)
        hawser_close(channel);
    return NULL;
}
