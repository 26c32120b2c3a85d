/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser recv: messages to standard output, straight from where they arrived. A message is given back to the
 * sender's side only once it is written, so that a full disk is not a message lost in silence. */

#include "arguments.h"

#include <errno.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64

static const struct usage usage = {
    .options = "lnrt",
    .listens = true,
    .help = "usage: hawser recv [OPTIONS] ADDRESS\n"
            "\n"
            "Listens at ADDRESS and writes the messages of the first who connects to standard output, until it closes.\n"
            "\n"
            "  --lines        a newline after each message\n"
            "  --count N      end after N messages\n"
            "  --listen       listen (as is usual)\n"
            "  --connect      connect to a listener at ADDRESS instead\n"
            "  --timeout T    how long to wait for the other side (10s); takes ns, us, ms, s; or forever\n"
            "\n"
            "example, in two terminals:\n"
            "  hawser recv --lines tcp://127.0.0.1:4000\n"
            "  ls / | hawser send --lines tcp://127.0.0.1:4000\n"
            "\n"
            "exit codes: 0 done, 1 failed (also: the other side died), 2 wrong usage, 3 timed out\n",
};

/* All of the vector, which is used up. */
static int write_all(struct iovec *vector, int n) {
    while (n > 0) {
        ssize_t written = writev(STDOUT_FILENO, vector, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        for (; n > 0 && (size_t)written >= vector->iov_len; vector++, n--)
            written -= (ssize_t)vector->iov_len;
        if (n > 0) {
            vector->iov_base = (char *)vector->iov_base + written;
            vector->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static int write_messages(const struct arguments *arguments, const hawser_message *messages, size_t n) {
    struct iovec vector[2 * BATCH];
    int parts = 0;
    for (size_t i = 0; i < n; i++) {
        vector[parts++] = (struct iovec){ (void *)messages[i].data, messages[i].size };
        if (arguments->lines)
            vector[parts++] = (struct iovec){ (void *)"\n", 1 };
    }
    return write_all(vector, parts);
}

static int receive(const struct arguments *arguments, hawser_channel *channel) {
    hawser_message messages[BATCH];
    for (uint64_t left = arguments->count; left > 0;) {
        size_t n;
        int error = hawser_take_many(channel, messages, left < BATCH ? (size_t)left : BATCH, HAWSER_FOREVER, &n);
        if (error == -ESHUTDOWN)
            return EXIT_DONE;
        if (error < 0)
            return report(arguments, error);
        if (write_messages(arguments, messages, n) < 0)
            return report_errno(arguments, "standard output");
        for (size_t i = 0; i < n; i++)
            hawser_release(channel, &messages[i]);
        left -= n;
    }
    return EXIT_DONE;
}

int verb_recv(int argc, char **argv) {
    struct arguments arguments;
    hawser_channel *channel;
    int code;
    if (arguments_parse(&usage, argc, argv, &arguments, &code))
        return code;
    code = arguments_open(&arguments, false, &channel);
    if (code != EXIT_DONE)
        return code;
    code = receive(&arguments, channel);
    hawser_close(channel);
    if (close(STDOUT_FILENO) < 0 && code == EXIT_DONE) /* where some file systems tell that there was no room */
        code = report_errno(&arguments, "standard output");
    return code;
}
