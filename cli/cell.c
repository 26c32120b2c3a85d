/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser cell set, get, watch, remove. One value set by the shell stays when the command has ended, so its cell is permanent; a cell
 * that a command keeps feeding goes with it. */

#include "arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE_DEFAULT 4096
#define SIZE_GROWS 65536
#define SLICE_NS INT64_C(100000000) /* between two looks at whether a signal came */

static const char help[] =
    "usage: hawser cell set [--size N] [--lines] NAME [VALUE]\n"
    "       hawser cell get [--lines] [--timeout T] NAME\n"
    "       hawser cell watch [--lines] [--count N] [--timeout T] NAME\n"
    "       hawser cell remove NAME\n"
    "\n"
    "The latest value of one writer, for any number of readers. NAME is a name or an address (cell://NAME).\n"
    "\n"
    "set       sets VALUE, or all of standard input; the cell stays until it is removed.\n"
    "          With --lines each line of standard input in turn; the cell goes when input ends and nobody has it open.\n"
    "get       writes the newest value to standard output.\n"
    "watch     writes the newest value, and each time it changes the then newest, until a signal.\n"
    "remove    removes the name; who has the cell open keeps it.\n"
    "\n"
    "  --size N       of a new cell: most bytes of a value (4096, or as many as VALUE has)\n"
    "  --lines        get, watch: a newline after each value\n"
    "  --count N      watch: end after N values\n"
    "  --timeout T    get, watch: how long to wait for the cell and its first value (10s); takes ns, us, ms, s; or forever\n"
    "\n"
    "example:\n"
    "  hawser cell set temperature 21.5\n"
    "  hawser cell get --lines temperature\n"
    "\n"
    "exit codes: 0 done (watch, set --lines: also by a signal), 1 failed (also: another process writes it), 2 wrong usage,\n"
    "3 timed out\n";

static volatile sig_atomic_t is_ending;

static void on_signal(int number) {
    (void)number;
    is_ending = 1;
}

/* So that the cell is closed, and its name removed if nobody else has it. */
static void end_by_signals(void) {
    const struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* The next part of a wait that a signal is to end; *timeout is what then remains. */
static int64_t slice_of(int64_t *timeout) {
    int64_t slice = *timeout == HAWSER_FOREVER || *timeout > SLICE_NS ? SLICE_NS : *timeout;
    *timeout -= *timeout == HAWSER_FOREVER ? 0 : slice;
    return slice;
}

/* ---- set ---- */

struct input {
    char *data;
    size_t size, capacity;
};

/* All of a file, which may be anything. */
static int read_all(FILE *file, struct input *input) {
    for (;;) {
        if (input->size == input->capacity) {
            size_t capacity = input->capacity ? 2 * input->capacity : SIZE_GROWS;
            char *larger = realloc(input->data, capacity);
            if (!larger)
                return -1;
            input->data = larger;
            input->capacity = capacity;
        }
        size_t n = fread(input->data + input->size, 1, input->capacity - input->size, file);
        if (n == 0)
            return ferror(file) ? -1 : 0;
        input->size += n;
    }
}

static int create(const struct arguments *arguments, bool permanent, size_t least, hawser_cell **ret_cell) {
    char address[HAWSER_ADDRESS_MAX];
    int code = arguments_address(arguments->verb, arguments->address, "cell", permanent ? "permanent=yes" : "", address);
    if (code != EXIT_DONE)
        return code;
    int error = arguments->size > 0 ? -ENOENT : hawser_cell_create(address, NULL, 0, ret_cell);
    if (error != -ENOENT) /* it is there, and has a size */
        return error < 0 ? report(arguments, error) : EXIT_DONE;
    if (arguments->size > 0 && least > arguments->size) {
        fprintf(stderr, "hawser %s: the value has %zu bytes, and --size says %" PRIu64 "\n", arguments->verb, least, arguments->size);
        return EXIT_USAGE;
    }
    uint64_t size = arguments->size > 0 ? arguments->size : least > SIZE_DEFAULT ? least : SIZE_DEFAULT;
    error = hawser_cell_create(address, NULL, size, ret_cell);
    return error < 0 ? report(arguments, error) : EXIT_DONE;
}

static int remove_name(const struct arguments *arguments) {
    char address[HAWSER_ADDRESS_MAX];
    int code = arguments_address(arguments->verb, arguments->address, "cell", "", address);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_cell_remove(address, NULL);
    return error < 0 ? report(arguments, error) : EXIT_DONE;
}

/* A cell that was made for a value which it then did not take. */
static void remove_if_empty(hawser_cell *cell, const struct arguments *arguments) {
    struct hawser_cell_status status = HAWSER_CELL_STATUS_INIT;
    if (hawser_cell_status(cell, &status) == 0 && status.version == 0)
        remove_name(arguments);
}

static int set_one(const struct arguments *arguments, const char *value, size_t size) {
    hawser_cell *cell;
    int code = create(arguments, true, size, &cell);
    if (code != EXIT_DONE)
        return code;
    int error = hawser_cell_set(cell, value, size);
    if (error < 0) {
        code = report(arguments, error);
        remove_if_empty(cell, arguments);
    }
    hawser_cell_close(cell);
    return code;
}

static int set_lines(const struct arguments *arguments) {
    hawser_cell *cell;
    struct input line = { 0 };
    ssize_t n;
    int code = create(arguments, false, 0, &cell), error = 0;
    if (code != EXIT_DONE)
        return code;
    end_by_signals();
    while (error == 0 && !is_ending && (n = getline(&line.data, &line.capacity, stdin)) >= 0)
        error = hawser_cell_set(cell, line.data, (size_t)n - (n > 0 && line.data[n - 1] == '\n'));
    if (error < 0)
        code = report(arguments, error);
    else if (!is_ending && ferror(stdin))
        code = report_errno(arguments, "standard input");
    free(line.data);
    hawser_cell_close(cell);
    return code;
}

static int run_set(const struct arguments *arguments) {
    if (arguments->file)
        return set_one(arguments, arguments->file, strlen(arguments->file));
    if (arguments->lines)
        return set_lines(arguments);
    struct input input = { 0 };
    int code = read_all(stdin, &input) < 0 ? report_errno(arguments, "standard input") : set_one(arguments, input.data, input.size);
    free(input.data);
    return code;
}

/* ---- get, watch ---- */

/* A cell, and room for its values. */
struct reader {
    const struct arguments *arguments;
    hawser_cell *cell;
    char *value;
    uint64_t version;
};

/* -ECANCELED: a signal came first. */
static int open_until(const char *address, int64_t timeout, hawser_cell **ret_cell) {
    int error;
    do
        error = hawser_cell_open(address, NULL, slice_of(&timeout), ret_cell);
    while (error == -ETIMEDOUT && timeout != 0 && !is_ending);
    return error == -ETIMEDOUT && is_ending ? -ECANCELED : error;
}

static int reader_open(struct reader *reader) {
    char address[HAWSER_ADDRESS_MAX];
    int code = arguments_address(reader->arguments->verb, reader->arguments->address, "cell", "", address);
    if (code != EXIT_DONE)
        return code;
    int error = open_until(address, reader->arguments->timeout, &reader->cell);
    if (error < 0)
        return error == -ECANCELED ? EXIT_DONE : report(reader->arguments, error);
    reader->value = malloc(hawser_cell_size(reader->cell) + 1);
    return reader->value ? EXIT_DONE : report_errno(reader->arguments, "memory for a value");
}

static void reader_close(struct reader *reader) {
    hawser_cell_close(reader->cell);
    free(reader->value);
}

/* Waits for another value than the last one written, which a signal ends too: -ECANCELED. */
static int await(struct reader *reader, int64_t timeout) {
    int error;
    do
        error = hawser_cell_wait(reader->cell, reader->version, slice_of(&timeout), NULL);
    while (error == -ETIMEDOUT && timeout != 0 && !is_ending);
    return is_ending ? -ECANCELED : error;
}

static int write_value(struct reader *reader) {
    size_t size;
    int error = hawser_cell_get(reader->cell, reader->value, hawser_cell_size(reader->cell), &size, &reader->version);
    if (error < 0)
        return report(reader->arguments, error);
    if (reader->arguments->lines)
        reader->value[size++] = '\n';
    if (fwrite(reader->value, 1, size, stdout) != size || fflush(stdout) != 0)
        return report_errno(reader->arguments, "standard output");
    return EXIT_DONE;
}

/* Only the first value is waited for with a timeout. */
static int report_unset(const struct reader *reader) {
    fprintf(stderr, "hawser %s: %s: the cell is there, but no value was set within the timeout\n", reader->arguments->verb,
            reader->arguments->address);
    return EXIT_TIMED_OUT;
}

static int write_values(struct reader *reader, uint64_t count) {
    int64_t timeout = reader->arguments->timeout;
    int code = EXIT_DONE;
    for (uint64_t i = 0; i < count && code == EXIT_DONE; i++, timeout = HAWSER_FOREVER) {
        int error = await(reader, timeout);
        if (error == -ECANCELED)
            break;
        code = error == -ETIMEDOUT ? report_unset(reader) : error < 0 ? report(reader->arguments, error) : write_value(reader);
    }
    return code;
}

static int run_reader(const struct arguments *arguments, uint64_t count) {
    struct reader reader = { .arguments = arguments };
    int code = reader_open(&reader);
    if (code == EXIT_DONE && reader.cell)
        code = write_values(&reader, count);
    reader_close(&reader);
    return code;
}

static int run_get(const struct arguments *arguments) { return run_reader(arguments, 1); }

static int run_watch(const struct arguments *arguments) {
    end_by_signals();
    return run_reader(arguments, arguments->count);
}

/* ---- which ---- */

static const struct part {
    const char *name, *whole;
    struct usage usage;
    int (*run)(const struct arguments *arguments);
} parts[] = {
    { "set", "cell set", { .options = "sl", .help = help, .has_file = true }, run_set },
    { "get", "cell get", { .options = "lt", .help = help }, run_get },
    { "watch", "cell watch", { .options = "lnt", .help = help }, run_watch },
    { "remove", "cell remove", { .options = "", .help = help }, remove_name },
};

int verb_cell(int argc, char **argv) {
    struct arguments arguments;
    char whole[16];
    int code;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(argv[1], parts[i].name) != 0)
            continue;
        argv[1] = strcpy(whole, parts[i].whole); /* what sentences call it */
        return arguments_parse(&parts[i].usage, argc - 1, argv + 1, &arguments, &code) ? code : parts[i].run(&arguments);
    }
    fprintf(stderr, "hawser cell: %s%s; it is set, get, watch or remove; see hawser cell --help\n",
            argc > 1 ? "there is no " : "what to do is missing", argc > 1 ? argv[1] : "");
    return EXIT_USAGE;
}
