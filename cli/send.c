/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser send: a file's blocks or lines, each a message. Done only when the other side took them all. */

#include "arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE_DEFAULT (64 << 10)

static const struct usage usage = {
    .options = "slrt",
    .has_file = true,
    .help = "usage: hawser send [OPTIONS] ADDRESS [FILE]\n"
            "\n"
            "Connects to ADDRESS and sends FILE, or standard input, as messages. Exits 0 when the other side took them\n"
            "all (fifo, and peers that speak plain SP: when all left for it).\n"
            "\n"
            "  --size N       bytes of a message (64K); the last may be shorter; takes K, M, G\n"
            "  --lines        a message is a line, without its newline\n"
            "  --listen       listen at ADDRESS instead, and send to the first who connects\n"
            "  --connect      connect (as is usual)\n"
            "  --timeout T    how long to wait for the other side (10s); takes ns, us, ms, s; or forever\n"
            "\n"
            "example, in two terminals:\n"
            "  hawser recv shm://t | tar t\n"
            "  tar c /usr/include | hawser send shm://t\n"
            "\n"
            "exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out\n",
};

/* Fills the buffer but at the file's end: what a message holds must not depend on the writer's timing. */
static ssize_t read_block(int fd, char *buffer, size_t size) {
    size_t filled = 0;
    while (filled < size) {
        ssize_t n = read(fd, buffer + filled, size - filled);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        filled += (size_t)n;
    }
    return (ssize_t)filled;
}

static const char *name_of(const struct arguments *arguments) {
    return arguments->file ? arguments->file : "standard input";
}

/* Each block is read straight into the memory it is sent from. */
static int send_blocks(const struct arguments *arguments, hawser_channel *channel, int fd) {
    size_t size = arguments->size ? (size_t)arguments->size : SIZE_DEFAULT;
    for (;;) {
        void *block;
        int error = hawser_loan(channel, size, HAWSER_FOREVER, &block);
        if (error < 0)
            return report(arguments, error);
        ssize_t n = read_block(fd, block, size);
        if (n <= 0) {
            int code = n < 0 ? report_errno(arguments, name_of(arguments)) : EXIT_DONE;
            hawser_discard(channel, block);
            return code;
        }
        error = hawser_commit(channel, block, (size_t)n);
        if (error < 0)
            return report(arguments, error);
    }
}

static int send_lines(const struct arguments *arguments, hawser_channel *channel, FILE *file) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int code = EXIT_DONE;
    while (code == EXIT_DONE && (errno = 0, n = getline(&line, &capacity, file)) >= 0) {
        size_t size = (size_t)n - (n > 0 && line[n - 1] == '\n');
        int error = hawser_send(channel, line, size, HAWSER_FOREVER);
        if (error < 0)
            code = report(arguments, error);
    }
    if (code == EXIT_DONE && !feof(file))
        code = report_errno(arguments, name_of(arguments));
    free(line);
    return code;
}

/* Until the other side's program took everything; where the mechanism cannot tell, until all has left. */
static int settle(const struct arguments *arguments, hawser_channel *channel) {
    hawser_poll_item item = { .channel = channel, .events = HAWSER_OUT };
    int error = hawser_capabilities(arguments->address) & HAWSER_CAN_SYNC ? hawser_flush(channel, HAWSER_FOREVER)
                                                                          : -EOPNOTSUPP;
    if (error == -EOPNOTSUPP)
        error = hawser_poll(&item, 1, HAWSER_FOREVER);
    return error < 0 ? report(arguments, error) : EXIT_DONE;
}

static int send_file(const struct arguments *arguments, FILE *file) {
    hawser_channel *channel;
    int code = arguments_open(arguments, true, &channel);
    if (code != EXIT_DONE)
        return code;
    code = arguments->lines ? send_lines(arguments, channel, file) : send_blocks(arguments, channel, fileno(file));
    if (code == EXIT_DONE)
        code = settle(arguments, channel);
    hawser_close(channel);
    return code;
}

int verb_send(int argc, char **argv) {
    struct arguments arguments;
    int code;
    if (arguments_parse(&usage, argc, argv, &arguments, &code))
        return code;
    FILE *file = arguments.file ? fopen(arguments.file, "re") : stdin;
    if (!file)
        return report_errno(&arguments, arguments.file);
    code = send_file(&arguments, file);
    fclose(file);
    return code;
}
