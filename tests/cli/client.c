/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A client of hawser echo. usage: cli_client ADDRESS MODE
 *   talk   messages of many sizes, several on their way at once, until all came back as they went
 *   mute   sends and never reads, until nothing more fits; then prints "stalled" and waits for its standard input's end
 *   last   sends, shuts its side down and must still get everything back, then the end */

#include <errno.h>
#include <hawser/hawser.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE INT64_C(20000000000)
#define MESSAGES 500
#define UNDER_WAY 4
#define LARGEST 20000

static int fail(const char *what, int error) {
    fprintf(stderr, "%s: %d: %s\n", what, error, hawser_explain());
    return 1;
}

/* The first few fit even the smallest queue together. */
static size_t size_of(unsigned i) { return i < 4 ? i * 100 : i % 7 == 0 ? 0 : (i * 2654435761u >> 8) % LARGEST; }

static void fill(unsigned char *buffer, unsigned i) {
    for (size_t j = 0; j < size_of(i); j++)
        buffer[j] = (unsigned char)(i + j * 31);
}

static int expect(hawser_channel *channel, unsigned i) {
    static unsigned char buffer[LARGEST], wanted[LARGEST];
    size_t size;
    int error = hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size);
    if (error < 0)
        return fail("recv", error);
    fill(wanted, i);
    if (size != size_of(i) || memcmp(buffer, wanted, size) != 0)
        return fail("another message came back", (int)i);
    return 0;
}

static int put(hawser_channel *channel, unsigned i, int64_t timeout) {
    static unsigned char buffer[LARGEST];
    fill(buffer, i);
    return hawser_send(channel, buffer, size_of(i), timeout);
}

/* Never waits but for both at once, so that the smallest queues cannot leave both ends waiting for room. */
static int talk(hawser_channel *channel) {
    unsigned sent = 0, received = 0;
    while (received < MESSAGES) {
        bool may_send = sent < MESSAGES && sent - received < UNDER_WAY;
        hawser_poll_item item = { .channel = channel, .events = HAWSER_IN | (may_send ? HAWSER_OUT : 0) };
        int ready = hawser_poll(&item, 1, PATIENCE);
        if (ready < 0)
            return fail("poll", ready);
        if ((item.ret_events & HAWSER_IN) && expect(channel, received++))
            return 1;
        int error = item.ret_events & HAWSER_OUT ? put(channel, sent, HAWSER_NOW) : -EAGAIN;
        if (error < 0 && error != -EAGAIN)
            return fail("send", error);
        sent += error == 0;
    }
    return 0;
}

static int mute(hawser_channel *channel) {
    static unsigned char buffer[LARGEST];
    char byte;
    int error;
    do
        error = hawser_send(channel, buffer, sizeof buffer, INT64_C(300000000));
    while (error == 0);
    if (error != -ETIMEDOUT)
        return fail("mute send", error);
    printf("stalled\n");
    fflush(stdout);
    return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
}

static int last(hawser_channel *channel) {
    size_t size;
    int error = 0;
    for (unsigned i = 1; i <= 3 && error == 0; i++)
        error = put(channel, i, PATIENCE);
    if (error == 0)
        error = hawser_shutdown(channel);
    if (error < 0)
        return fail("send", error);
    for (unsigned i = 1; i <= 3; i++)
        if (expect(channel, i))
            return 1;
    error = hawser_recv(channel, NULL, 0, PATIENCE, &size);
    return error == -ESHUTDOWN ? 0 : fail("end", error);
}

int main(int argc, char **argv) {
    hawser_channel *channel;
    if (argc != 3)
        return 2;
    int error = hawser_connect(argv[1], NULL, PATIENCE, &channel);
    if (error < 0)
        return fail("connect", error);
    int code = argv[2][0] == 't' ? talk(channel) : argv[2][0] == 'm' ? mute(channel) : last(channel);
    hawser_close(channel);
    return code;
}
