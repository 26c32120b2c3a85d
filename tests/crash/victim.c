/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The operations, each between two stops of its process. */

#include "crash.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof *(ARRAY))

static uint8_t buffer[MESSAGES_MOST][LARGEST];

void message_fill(uint8_t *data, size_t size, size_t index) {
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + index * 31 + size);
}

bool message_is(const uint8_t *data, size_t size, size_t index) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != (uint8_t)(i * 7 + index * 31 + size))
            return false;
    return true;
}

static void send_each(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_send(channel, buffer[i], operation->sizes[i], PATIENCE), 0);
}

static void send_at_once(hawser_channel *channel, const struct operation *operation) {
    hawser_message messages[MESSAGES_MOST] = { 0 };
    size_t sent = 0;
    for (size_t i = 0; i < operation->n; i++) {
        messages[i].data = buffer[i];
        messages[i].size = operation->sizes[i];
    }
    EXPECT(hawser_send_many(channel, messages, operation->n, PATIENCE, &sent), 0);
}

static void send_descriptors(hawser_channel *channel, const struct operation *operation) {
    int fds[] = { STDIN_FILENO, STDERR_FILENO };
    EXPECT(hawser_send_fds(channel, buffer[0], operation->sizes[0], fds, COUNT(fds), PATIENCE), 0);
}

static void lend(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++) {
        void *loan;
        EXPECT(hawser_loan(channel, operation->sizes[i], PATIENCE, &loan), 0);
        memcpy(loan, buffer[i], operation->sizes[i]);
        EXPECT(hawser_commit(channel, loan, operation->sizes[i]), 0);
    }
}

static void receive_each(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++) {
        size_t size;
        EXPECT(hawser_recv(channel, buffer[i], LARGEST, PATIENCE, &size), 0);
    }
}

static void take_each(hawser_channel *channel, const struct operation *operation) {
    hawser_message messages[MESSAGES_MOST];
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_take(channel, PATIENCE, &messages[i]), 0);
    for (size_t i = operation->n; i > 0; i--) /* the last first */
        EXPECT(hawser_release(channel, &messages[i - 1]), 0);
}

static void send_and_close(hawser_channel *channel, const struct operation *operation) {
    send_each(channel, operation);
    hawser_close(channel);
}

const struct operation operations[] = {
    { .name = "send", .warm = true, .sizes = { 8, 100 }, .n = 2, .work = send_each },
    { .name = "send_many", .warm = true, .sizes = { 8, 0, 200 }, .n = 3, .work = send_at_once },
    { .name = "send through the pool", .warm = true, .sizes = { 400 }, .n = 1, .work = send_each },
    { .name = "the first send through the pool", .points = POINTS_CALLS, .sizes = { 400 }, .n = 1, .work = send_each },
    { .name = "send in memory of its own", .points = POINTS_CALLS, .sizes = { LARGEST }, .n = 1, .work = send_each },
    { .name = "loan and commit", .warm = true, .sizes = { 100, 400 }, .n = 2, .work = lend },
    { .name = "the first loan", .points = POINTS_CALLS, .sizes = { 100 }, .n = 1, .work = lend },
    { .name = "send_fds", .points = POINTS_CALLS, .warm = true, .sizes = { 16 }, .n = 1, .work = send_descriptors },
    { .name = "recv", .warm = true, .receives = true, .sizes = { 8, 100, 400 }, .n = 3, .work = receive_each },
    { .name = "the first recv from the pool", .points = POINTS_CALLS, .receives = true, .sizes = { 400 }, .n = 1,
      .work = receive_each },
    { .name = "recv of memory of its own", .points = POINTS_CALLS, .receives = true, .sizes = { LARGEST }, .n = 1,
      .work = receive_each },
    { .name = "take and release", .warm = true, .receives = true, .sizes = { 8, 400, 100 }, .n = 3, .work = take_each },
    { .name = "take and release of memory of its own", .points = POINTS_CALLS, .receives = true, .sizes = { LARGEST }, .n = 1,
      .work = take_each },
    { .name = "send and close", .points = POINTS_CALLS, .ends = true, .sizes = { 8 }, .n = 1, .work = send_and_close },
    { .name = "connect", .points = POINTS_CALLS, .connects = true },
};

const size_t n_operations = COUNT(operations);

void victim_main(const struct operation *operation, const char *address) {
    hawser_channel *channel = NULL;
    char word;
    size_t size;
    for (size_t i = 0; i < operation->n; i++)
        message_fill(buffer[i], operation->sizes[i], i);
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0); /* a stopped one would outlive a driver that gave up */
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    if (operation->connects)
        raise(SIGSTOP);
    EXPECT(hawser_connect(address, NULL, PATIENCE, &channel), 0);
    for (int round = operation->warm ? 0 : 1; round < 2 && !operation->connects; round++) {
        EXPECT(hawser_recv(channel, &word, 1, PATIENCE, &size), 0); /* messages to be received are there then */
        if (round == 1)
            raise(SIGSTOP);
        operation->work(channel, operation);
    }
    raise(SIGSTOP);
    _exit(0);
}
