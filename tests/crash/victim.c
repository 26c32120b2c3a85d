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

static uint8_t buffer[MESSAGES_MOST][SIXTH];

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
        EXPECT(hawser_send(channel, buffer[i], size_of(operation, i), PATIENCE), 0);
}

static void send_at_once(hawser_channel *channel, const struct operation *operation) {
    hawser_message messages[MESSAGES_MOST] = { 0 };
    size_t sent = 0;
    for (size_t i = 0; i < operation->n; i++) {
        messages[i].data = buffer[i];
        messages[i].size = size_of(operation, i);
    }
    for (size_t all = 0; all < operation->n; all += sent) /* a batch ends where there is no room for more */
        EXPECT(hawser_send_many(channel, messages + all, operation->n - all, PATIENCE, &sent), 0);
}

static void send_and_wait(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_send_sync(channel, buffer[i], size_of(operation, i), PATIENCE), 0);
}

static void send_descriptors(hawser_channel *channel, const struct operation *operation) {
    int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_send_fds(channel, buffer[i], size_of(operation, i), fds, operation->fds, PATIENCE), 0);
}

static void lend(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++) {
        void *loan;
        EXPECT(hawser_loan(channel, size_of(operation, i), PATIENCE, &loan), 0);
        memcpy(loan, buffer[i], size_of(operation, i));
        EXPECT(hawser_commit(channel, loan, size_of(operation, i)), 0);
    }
}

/* All lent at once, the last committed first; before that one that is given back. */
static void lend_together(hawser_channel *channel, const struct operation *operation) {
    void *loans[MESSAGES_MOST], *unwanted;
    for (size_t i = operation->n; i > 0; i--)
        EXPECT(hawser_loan(channel, size_of(operation, i - 1), PATIENCE, &loans[i - 1]), 0);
    EXPECT(hawser_loan(channel, 64, PATIENCE, &unwanted), 0);
    memset(unwanted, 0xff, 64);
    EXPECT(hawser_discard(channel, unwanted), 0);
    for (size_t i = 0; i < operation->n; i++) {
        memcpy(loans[i], buffer[i], size_of(operation, i));
        EXPECT(hawser_commit(channel, loans[i], size_of(operation, i)), 0);
    }
}

static void receive_each(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++) {
        size_t size;
        EXPECT(hawser_recv(channel, buffer[i], sizeof buffer[i], PATIENCE, &size), 0);
    }
}

static void receive_descriptors(hawser_channel *channel, const struct operation *operation) {
    for (size_t i = 0; i < operation->n; i++) {
        int fds[4];
        size_t size, n;
        EXPECT(hawser_recv_fds(channel, buffer[i], sizeof buffer[i], fds, COUNT(fds), PATIENCE, &size, &n), 0);
        EXPECT(n, operation->fds);
        while (n > 0)
            close(fds[--n]);
    }
}

static void take_each(hawser_channel *channel, const struct operation *operation) {
    hawser_message messages[MESSAGES_MOST];
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_take(channel, PATIENCE, &messages[i]), 0);
    for (size_t i = operation->n; i > 0; i--) /* the last first */
        EXPECT(hawser_release(channel, &messages[i - 1]), 0);
}

static void take_at_once(hawser_channel *channel, const struct operation *operation) {
    hawser_message messages[MESSAGES_MOST];
    size_t all = 0, taken;
    for (; all < operation->n; all += taken) /* in the round that counts they are there, and it is one */
        EXPECT(hawser_take_many(channel, messages + all, operation->n - all, PATIENCE, &taken), 0);
    for (size_t i = 0; i < operation->n; i++)
        EXPECT(hawser_release(channel, &messages[i]), 0);
}

static void send_and_close(hawser_channel *channel, const struct operation *operation) {
    send_each(channel, operation);
    hawser_close(channel);
}

/* With one message held, and the others not taken. */
static void take_and_close(hawser_channel *channel, const struct operation *operation) {
    hawser_message message;
    (void)operation;
    EXPECT(hawser_take(channel, PATIENCE, &message), 0);
    hawser_close(channel);
}

const struct operation operations[] = {
    { .name = "send", .warm = 1, .sizes = { 8, 100 }, .n = 2, .work = send_each },
    { .name = "send around the ring's end", .warm = 6, .sizes = { 200, 200, 200 }, .n = 3, .work = send_each },
    { .name = "send_many", .warm = 1, .sizes = { 8, 0, 200 }, .n = 3, .work = send_at_once },
    { .name = "send_many around the ring's end", .warm = 12, .sizes = { 8, 200, 100 }, .n = 3, .work = send_at_once },
    { .name = "send through the pool", .warm = 1, .sizes = { 400 }, .n = 1, .work = send_each },
    { .name = "the first send through the pool", .sizes = { 400 }, .n = 1, .work = send_each },
    { .name = "send in memory of its own", .warm = 1, .sizes = { LARGEST }, .n = 1, .work = send_each },
    { .name = "send that waits for room", .waits = true, .options = OPTIONS_SLEEPING, .sizes = { 200, 200, 200, 200 }, .n = 22,
      .work = send_each },
    { .name = "send that makes the ring grow", .options = OPTIONS_GROWING, .sizes = { SIXTH, SIXTH, SIXTH, SIXTH }, .n = 6,
      .work = send_each },
    { .name = "send_many that makes the ring grow", .points = POINTS_CALLS, .options = OPTIONS_GROWING,
      .sizes = { SIXTH, SIXTH, SIXTH, SIXTH }, .n = 6, .work = send_at_once },
    { .name = "send_sync", .warm = 1, .waits = true, .options = OPTIONS_SLEEPING, .sizes = { 8 }, .n = 1, .work = send_and_wait },
    { .name = "loan and commit", .warm = 1, .sizes = { 100, 400 }, .n = 2, .work = lend },
    { .name = "several loans", .warm = 1, .sizes = { 100, 400, 64 }, .n = 3, .work = lend_together },
    { .name = "the first loan", .sizes = { 100 }, .n = 1, .work = lend },
    { .name = "loan and commit of memory of its own", .warm = 1, .sizes = { LARGEST }, .n = 1, .work = lend },
    { .name = "send_fds", .points = POINTS_CALLS, .warm = 1, .fds = 2, .sizes = { 16 }, .n = 1, .work = send_descriptors },
    { .name = "send_fds through the pool", .points = POINTS_CALLS, .warm = 1, .fds = 3, .sizes = { 400 }, .n = 1,
      .work = send_descriptors },
    { .name = "send_fds with memory of its own", .points = POINTS_CALLS, .warm = 1, .fds = 1, .sizes = { LARGEST }, .n = 1,
      .work = send_descriptors },
    { .name = "recv", .warm = 1, .receives = true, .sizes = { 8, 100, 400 }, .n = 3, .work = receive_each },
    { .name = "the first recv from the pool", .receives = true, .sizes = { 400 }, .n = 1, .work = receive_each },
    { .name = "recv of memory of its own", .warm = 1, .points = POINTS_CALLS, .receives = true, .sizes = { LARGEST }, .n = 1,
      .work = receive_each },
    { .name = "recv that waits", .warm = 1, .points = POINTS_CALLS, .receives = true, .waits = true, .options = OPTIONS_SLEEPING,
      .sizes = { 8 }, .n = 1, .work = receive_each },
    { .name = "recv_fds", .warm = 1, .points = POINTS_CALLS, .receives = true, .fds = 2, .sizes = { 16, 400 }, .n = 2,
      .work = receive_descriptors },
    { .name = "take and release", .warm = 1, .receives = true, .sizes = { 8, 400, 100 }, .n = 3, .work = take_each },
    { .name = "take and release around the ring's end", .warm = 9, .receives = true, .sizes = { 200, 200 }, .n = 2,
      .work = take_each },
    { .name = "take and release while the ring grows", .options = OPTIONS_GROWING, .receives = true,
      .sizes = { SIXTH, SIXTH, SIXTH, SIXTH }, .n = 6, .work = take_each },
    { .name = "take_many and release", .warm = 1, .receives = true, .sizes = { 8, 400, 0 }, .n = 3, .work = take_at_once },
    { .name = "take and release of memory of its own", .warm = 1, .receives = true, .sizes = { LARGEST }, .n = 1,
      .work = take_each },
    { .name = "send and close", .points = POINTS_CALLS, .ends = true, .sizes = { 8 }, .n = 1, .work = send_and_close },
    { .name = "take and close", .points = POINTS_CALLS, .ends = true, .receives = true, .sizes = { 8, 400 }, .n = 2,
      .work = take_and_close },
    { .name = "connect", .points = POINTS_CALLS, .connects = true },
};

const size_t n_operations = COUNT(operations);

void victim_main(const struct operation *operation, const char *address) {
    hawser_channel *channel = NULL;
    char word;
    size_t size;
    for (size_t i = 0; i < operation->n; i++)
        message_fill(buffer[i], size_of(operation, i), i);
    EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL), 0); /* a stopped one would outlive a driver that gave up */
    EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    if (operation->connects)
        raise(SIGSTOP);
    EXPECT(hawser_connect(address, NULL, PATIENCE, &channel), 0);
    for (unsigned round = 0; round <= operation->warm && !operation->connects; round++) {
        EXPECT(hawser_recv(channel, &word, 1, PATIENCE, &size), 0); /* messages to be received are there then */
        if (round == operation->warm)
            raise(SIGSTOP);
        operation->work(channel, operation);
    }
    raise(SIGSTOP);
    _exit(0);
}
