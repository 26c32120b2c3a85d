/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser echo: one loop over the listener and all peers. No call in it waits but hawser_poll(). A message that
 * cannot go back at once stays taken, which takes room from its sender: so a peer that does not read stops itself,
 * and nobody else. A peer that said goodbye is closed once what is queued for it has left. */

#include "arguments.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST 64 /* messages of one peer before the next has its turn */

static const struct usage usage = {
    .options = "",
    .listens = true,
    .help = "usage: hawser echo ADDRESS\n"
            "\n"
            "Listens at ADDRESS and sends every message back to where it came from, for any number of peers at once,\n"
            "until SIGINT or SIGTERM.\n"
            "\n"
            "example:\n"
            "  hawser echo unix://@mirror\n"
            "\n"
            "exit codes: 0 done (by a signal), 1 failed, 2 wrong usage\n",
};

struct peer {
    hawser_message held; /* taken, and still to be sent back; none where is_holding is false */
    bool is_holding;
    bool is_leaving; /* it sent its last message */
};

/* items[0] is the listener; peers[i] belongs to items[i]. */
struct echo {
    hawser_poll_item *items;
    struct peer *peers;
    size_t n, capacity;
};

static hawser_listener *volatile interrupted_listener; /* NULL before and after it is there */
static volatile sig_atomic_t is_ending;

static void on_signal(int number) {
    (void)number;
    is_ending = 1;
    hawser_listener_interrupt(interrupted_listener);
}

static bool grow(struct echo *echo) {
    if (echo->n < echo->capacity)
        return true;
    size_t capacity = echo->capacity ? 2 * echo->capacity : 16;
    hawser_poll_item *items = realloc(echo->items, capacity * sizeof *items);
    if (items)
        echo->items = items;
    struct peer *peers = items ? realloc(echo->peers, capacity * sizeof *peers) : NULL;
    if (!peers)
        return false;
    echo->peers = peers;
    echo->capacity = capacity;
    return true;
}

static void part_with(struct echo *echo, size_t i) {
    hawser_close(echo->items[i].channel);
    echo->n--;
    echo->items[i] = echo->items[echo->n];
    echo->peers[i] = echo->peers[echo->n];
    echo->items[0].events = HAWSER_IN; /* there is room again for one more */
}

/* Accepts all who wait. Without room for more (memory, descriptors) the listener rests until a peer leaves. */
static int welcome(struct echo *echo) {
    for (;;) {
        hawser_channel *channel;
        int error = grow(echo) ? hawser_accept(echo->items[0].listener, HAWSER_NOW, &channel) : -ENOMEM;
        if (error == -EAGAIN)
            return 0;
        if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
            echo->items[0].events = echo->n > 1 ? 0 : HAWSER_IN;
        if (error < 0)
            return echo->n > 1 && error != -ECANCELED ? 0 : error;
        echo->items[echo->n] = (hawser_poll_item){ .channel = channel, .events = HAWSER_IN };
        echo->peers[echo->n] = (struct peer){ .is_holding = false };
        echo->n++;
    }
}

/* Sends the held message back; 0, -EAGAIN while there is no room, or why the peer must go. */
static int give_back(struct peer *peer, hawser_channel *channel) {
    int error = hawser_send(channel, peer->held.data, peer->held.size, HAWSER_NOW);
    if (error < 0)
        return error;
    peer->is_holding = false;
    return hawser_release(channel, &peer->held);
}

static int take_one(struct peer *peer, hawser_channel *channel) {
    int error = hawser_take(channel, HAWSER_NOW, &peer->held);
    peer->is_holding = error == 0;
    peer->is_leaving = error == -ESHUTDOWN;
    return error;
}

/* Whether the peer stays. */
static bool serve(struct echo *echo, size_t i) {
    struct peer *peer = &echo->peers[i];
    hawser_poll_item *item = &echo->items[i];
    if (peer->is_leaving)
        return false; /* it was polled for room: everything has left */
    for (int burst = 0; burst < BURST; burst++) {
        int error = peer->is_holding ? 0 : take_one(peer, item->channel);
        if (error == 0)
            error = give_back(peer, item->channel);
        if (error == -EAGAIN || peer->is_leaving)
            break;
        if (error < 0)
            return false;
    }
    item->events = peer->is_holding || peer->is_leaving ? HAWSER_OUT : HAWSER_IN;
    return true;
}

/* Until a signal (0) or until the listener fails. */
static int run(struct echo *echo) {
    while (!is_ending) {
        int error = hawser_poll(echo->items, echo->n, HAWSER_FOREVER);
        if (error < 0)
            return error == -ECANCELED ? 0 : error;
        for (size_t i = echo->n - 1; i > 0; i--) /* downwards, as the last takes the place of one that goes */
            if (echo->items[i].ret_events && !serve(echo, i))
                part_with(echo, i);
        error = echo->items[0].ret_events ? welcome(echo) : 0;
        if (error < 0)
            return error == -ECANCELED ? 0 : error;
    }
    return 0;
}

/* The handler is there before the listener, so that no signal finds a name taken and nobody to give it back. */
static void watch_signals(void) {
    struct sigaction action = { .sa_handler = on_signal };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int echo_all(const struct arguments *arguments, hawser_listener *listener) {
    struct echo echo = { .items = NULL };
    if (!grow(&echo))
        return report_errno(arguments, "memory");
    echo.items[0] = (hawser_poll_item){ .listener = listener, .events = HAWSER_IN };
    echo.peers[0] = (struct peer){ .is_holding = false };
    echo.n = 1;
    int error = run(&echo);
    int code = error < 0 ? report(arguments, error) : EXIT_DONE;
    while (echo.n > 1)
        part_with(&echo, echo.n - 1);
    free(echo.items);
    free(echo.peers);
    return code;
}

int verb_echo(int argc, char **argv) {
    struct arguments arguments;
    hawser_listener *listener;
    int code;
    if (arguments_parse(&usage, argc, argv, &arguments, &code))
        return code;
    int capabilities = hawser_capabilities(arguments.address);
    if (capabilities < 0)
        return report(&arguments, capabilities);
    if (!(capabilities & HAWSER_CAN_TWO_WAY)) {
        fprintf(stderr, "hawser echo: %s goes one way: nothing can be sent back\n", arguments.address);
        return EXIT_USAGE;
    }
    /* What a peer does not read must not hold up the end of all: what matters has left before a close. */
    hawser_options options = { .struct_size = sizeof options, .linger_ns = 100000000 };
    watch_signals();
    int error = hawser_listen(arguments.address, &options, &listener);
    if (error < 0)
        return report(&arguments, error);
    interrupted_listener = listener;
    report_listening(&arguments, listener);
    code = echo_all(&arguments, listener);
    interrupted_listener = NULL;
    hawser_listener_close(listener);
    return code;
}
