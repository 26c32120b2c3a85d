/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser inspect: what lies in shared memory, of the live links of a listener or of one segment. It only looks: it connects to
 * nobody, maps nothing and writes nothing, so a link does not notice. What it shows of a live link is some moment's. */

#include "arguments.h"
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TRIES 8 /* to find a ring that moves at rest */

static const struct usage usage = {
    .options = "R",
    .help = "usage: hawser inspect [--records] shm://NAME\n"
            "       hawser inspect FILE\n"
            "\n"
            "Shows the live links of the listener at shm://NAME, a line for each direction: who sends to whom, sizes, the\n"
            "reader's cursors, messages in flight, who sleeps. Needs the listener's user, or root. Connects to nobody.\n"
            "Or shows one segment, header and records, of a FILE: a memfd as /proc/PID/fd/N, or a copy of one.\n"
            "\n"
            "  --records      also the records in flight\n"
            "\n"
            "example:\n"
            "  hawser inspect shm://quotes\n"
            "\n"
            "exit codes: 0 done, 1 failed, 2 wrong usage\n",
};

static unsigned char window[INSPECT_WINDOW];

/* ---- Words ---- */

static const char *asleep_text(const struct inspect_segment *segment, char *text, size_t capacity) {
    snprintf(text, capacity, "%s%s%s", segment->receiver_asleep & 1 ? "receiver " : "",
             segment->sender_asleep & 1 ? "sender " : "", segment->asker_asleep & 1 ? "asker " : "");
    size_t length = strlen(text);
    if (length > 0)
        text[length - 1] = 0;
    return length > 0 ? text : "-";
}

static const char *state_text(uint32_t state) {
    static const char *const texts[] = { "open", "shut-down", "closed" };
    return texts[state <= 2 ? state : 0];
}

/* ---- Records ---- */

static void print_record(const struct inspect_record *record) {
    printf("  %12" PRIu64 " %10" PRIu64 "  %-8s %12" PRIu64 " %12" PRIu64, record->position, record->ring_offset,
           inspect_kind_name(record->kind), record->body, record->kind == INSPECT_SKIP ? 0 : record->message);
    if (record->kind == INSPECT_POOL)
        printf("  slot %u at %" PRIu64 " of pool memfd %u", record->slot, record->offset, record->index);
    if (record->kind == INSPECT_CHUNK)
        printf("  pool memfd %u", record->index);
    if (record->kind == INSPECT_RING)
        printf("  a larger ring follows");
    if (record->fds)
        printf("  %u descriptors", record->fds);
    putchar('\n');
}

static void print_record_titles(void) {
    printf("  %12s %10s  %-8s %12s %12s\n", "POSITION", "OFFSET", "KIND", "BODY", "MESSAGE");
}

/* ---- One segment ---- */

static void print_seals(int fd) {
    static const char *const names[] = { "seal", "shrink", "grow", "write", "future-write" };
    int seals = fcntl(fd, F_GET_SEALS);
    printf("%-16s", "seals");
    for (unsigned i = 0; seals > 0 && i < sizeof names / sizeof names[0]; i++)
        if (seals & 1 << i)
            printf(" %s", names[i]);
    printf("%s\n", seals < 0 ? " - (no memfd)" : seals == 0 ? " none" : "");
}

static void print_header(const struct inspect_segment *segment) {
    char asleep[64];
    printf("%-16s %u\n", "version", INSPECT_VERSION);
    printf("%-16s %" PRIu64 "\n", "size", segment->size);
    printf("%-16s %" PRIu64 "\n", "ring", segment->ring_size);
    printf("%-16s %" PRIu64 "\n", "pool quota", segment->pool_quota);
    printf("%-16s %s%s%s\n", "barrier", segment->barrier & 1 ? "registered " : "", segment->barrier & 2 ? "issues" : "",
           segment->barrier & 3 ? "" : "-");
    if (segment->larger_size != 0)
        printf("%-16s %" PRIu64 ", from position %" PRIu64 " on, inode %" PRIu64 "\n", "larger ring", segment->larger_size,
               segment->larger_from, segment->larger_inode);
    else
        printf("%-16s -\n", "larger ring");
    printf("%-16s %" PRIu64 "\n", "taken", segment->taken);
    printf("%-16s %" PRIu64 "\n", "freed", segment->freed);
    printf("%-16s %" PRIu64 "\n", "released", segment->released);
    printf("%-16s %u\n", "receiver asleep", segment->receiver_asleep);
    printf("%-16s %u\n", "sender asleep", segment->sender_asleep);
    printf("%-16s %u\n", "asker asleep", segment->asker_asleep);
    printf("%-16s %s\n", "asleep", asleep_text(segment, asleep, sizeof asleep));
    printf("%-16s %s\n", "state", state_text(segment->state));
}

static void print_end(const struct inspect_walk *walk, const struct inspect_segment *segment, uint64_t n) {
    printf("  %" PRIu64 " records; %s at offset %" PRIu64 "\n", n, walk->wrong ? "wrong" : walk->in_larger ? "ring" : "empty",
           walk->position & (segment->ring_size - 1));
    if (segment->larger_size != 0)
        printf("the records go on in a larger ring of %" PRIu64 " bytes, which is a memfd of its own\n", segment->larger_size);
}

/* A segment alone does not tell where its reader stands; but a record begins at offset 0 at all times. */
static int print_segment(const struct arguments *arguments, const struct inspect_source *source,
                         const struct inspect_segment *segment) {
    struct inspect_walk walk;
    struct inspect_record record;
    uint64_t n = 0;
    print_seals(source->fd);
    print_header(segment);
    printf("records from the ring's beginning to the first empty word:\n");
    inspect_walk_begin(&walk, source, segment, NULL, 0, window);
    while (inspect_walk_next(&walk, &record)) {
        if (n++ == 0)
            print_record_titles();
        print_record(&record);
    }
    print_end(&walk, segment, n);
    if (!walk.wrong)
        return EXIT_DONE;
    fflush(stdout);
    fprintf(stderr, "hawser inspect: %s: offset %" PRIu64 " of the ring: %s\n", arguments->address,
            walk.position & (segment->ring_size - 1), walk.wrong);
    return EXIT_FAILED;
}

static int inspect_file(const struct arguments *arguments) {
    struct inspect_segment segment;
    struct stat status;
    /* A FIFO or a terminal must not hold us. */
    int fd = open(arguments->address, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) < 0) {
        int code = report_errno(arguments, arguments->address);
        if (fd >= 0)
            close(fd);
        return code;
    }
    struct inspect_source source = { .fd = fd, .size = (uint64_t)status.st_size };
    const char *wrong = S_ISREG(status.st_mode) ? inspect_segment_read(&source, &segment) : "it is no file with a size";
    int code = EXIT_FAILED;
    if (wrong)
        fprintf(stderr, "hawser inspect: %s is no segment: %s\n", arguments->address, wrong);
    else
        code = print_segment(arguments, &source, &segment);
    close(fd);
    return code;
}

/* ---- The links of a listener ---- */

/* What lies between a reader's cursor and the first empty word. */
struct flight {
    uint64_t messages, bytes, ring_size; /* of the ring in use */
    const char *wrong;
    const char *hidden; /* why they go on where nobody can look */
};

/* One direction: the writer's segment and the reader's cursors, of one moment if the reader stands still for that long. */
struct direction {
    struct inspect_segment writer, reader;
    struct inspect_source larger; /* of size 0: none, or not to be had */
    struct flight flight;
    bool moves;
};

static struct flight walk_flight(const struct inspect_source *source, const struct direction *direction, bool prints) {
    const struct inspect_segment *writer = &direction->writer;
    struct inspect_walk walk;
    struct inspect_record record;
    struct flight flight = { 0 };
    inspect_walk_begin(&walk, source, writer, direction->larger.size > 0 ? &direction->larger : NULL, direction->reader.freed,
                       window);
    while (inspect_walk_next(&walk, &record)) {
        if (record.kind != INSPECT_SKIP && record.kind != INSPECT_CHUNK && record.kind != INSPECT_RING) {
            flight.messages++;
            flight.bytes += record.message;
        }
        if (prints)
            print_record(&record);
    }
    flight.ring_size = walk.in_larger ? writer->larger_size : writer->ring_size;
    flight.wrong = walk.wrong;
    return flight;
}

/* A process that ended, or closed the link, while it was looked at: no fault of its memory. */
static bool is_readable(const struct inspect_source *source) {
    char byte;
    return pread(source->fd, &byte, 1, (off_t)source->base) == 1;
}

/* The messages in flight, out of both rings if there is a larger one. */
static void look_through(const struct inspect_link *link, unsigned side, struct direction *direction) {
    const char *wrong = NULL;
    bool is_hidden = false;
    direction->larger = (struct inspect_source){ 0 };
    if (direction->writer.larger_size != 0)
        wrong = inspect_links_larger(link, side, &direction->writer, &direction->larger, &is_hidden);
    struct flight flight = walk_flight(&link->sides[side].source, direction, false);
    if (direction->larger.size > 0 && flight.wrong && !is_readable(&direction->larger)) {
        wrong = "its sender ended meanwhile";
        is_hidden = true;
        flight.wrong = NULL;
    }
    flight.hidden = is_hidden ? wrong : NULL;
    if (!flight.wrong && !is_hidden)
        flight.wrong = wrong;
    direction->flight = flight;
}

static const char *look_once(const struct inspect_link *link, unsigned side, struct direction *direction) {
    const struct inspect_source *from = &link->sides[side].source, *to = &link->sides[!side].source;
    struct inspect_segment after;
    const char *wrong = inspect_segment_read(to, &direction->reader);
    if (!wrong)
        wrong = inspect_segment_read(from, &direction->writer);
    if (wrong)
        return wrong;
    look_through(link, side, direction);
    wrong = inspect_segment_read(to, &after);
    direction->moves = !wrong && after.freed != direction->reader.freed;
    return wrong;
}

/* What is wrong is looked at again, too: a ring that grows just now may look so. */
static const char *look(const struct inspect_link *link, unsigned side, struct direction *ret_direction) {
    struct direction direction = { 0 };
    const char *wrong = NULL;
    for (unsigned i = 0; i < TRIES; i++) {
        wrong = look_once(link, side, &direction);
        if (!wrong && !direction.moves && !direction.flight.wrong)
            break;
    }
    *ret_direction = direction;
    return wrong;
}

static void print_side(const struct inspect_process *process) {
    char text[40];
    snprintf(text, sizeof text, "%d %s", (int)process->pid, process->name);
    printf(" %-23s", text);
}

static void print_columns(const struct direction *direction, uint64_t pool) {
    const struct flight *flight = &direction->flight;
    char asleep[64];
    printf("%8" PRIu64 "K %7" PRIu64 "K %7" PRIu64 "K", direction->writer.size >> 10, flight->ring_size >> 10, pool >> 10);
    printf(" %12" PRIu64 " %12" PRIu64 " %9" PRIu64, direction->reader.freed, direction->reader.taken, direction->reader.released);
    printf(" %8" PRIu64 "%s %11" PRIu64, flight->messages, direction->moves ? "~" : flight->hidden ? "+" : " ", flight->bytes);
    printf("  %-9s %s\n", state_text(direction->writer.state), asleep_text(&direction->writer, asleep, sizeof asleep));
}

static bool print_direction(size_t number, const struct inspect_link *link, unsigned side, bool records) {
    const struct inspect_side *from = &link->sides[side], *to = &link->sides[!side];
    struct direction direction;
    printf("%3zu%s", number, link->guessed ? "~" : " ");
    print_side(from->process);
    print_side(to->process);
    const char *wrong = look(link, side, &direction);
    if (wrong) {
        bool is_over = !is_readable(&from->source) || !is_readable(&to->source);
        printf("  %s%s\n", is_over ? "ended meanwhile" : "no segment: ", is_over ? "" : wrong);
        return is_over;
    }
    print_columns(&direction, from->pool);
    if (records && direction.flight.messages > 0) {
        print_record_titles();
        walk_flight(&from->source, &direction, true);
    }
    if (direction.flight.hidden)
        printf("      after these: %s\n", direction.flight.hidden);
    if (direction.flight.wrong && !direction.moves)
        printf("      after these: %s\n", direction.flight.wrong);
    return !direction.flight.wrong || direction.moves;
}

static void print_listener(const struct arguments *arguments, const struct inspect_links *links) {
    printf("%s: listener", arguments->address);
    for (size_t i = 0; i < links->n_processes; i++)
        if (links->processes[i].listens)
            printf(" %d %s", (int)links->processes[i].pid, links->processes[i].name);
    printf(", %zu link%s\n", links->n_links, links->n_links == 1 ? "" : "s");
}

static int print_links(const struct arguments *arguments, const struct inspect_links *links) {
    bool is_fine = true, is_guessed = false;
    print_listener(arguments, links);
    if (links->n_links > 0)
        printf("LINK %-23s %-23s %8s %8s %8s %12s %12s %9s %9s %11s  %-9s %s\n", "FROM", "TO", "SEGMENT", "RING", "POOL", "FREED",
               "TAKEN", "RELEASED", "IN-FLIGHT", "BYTES", "STATE", "ASLEEP");
    for (size_t i = 0; i < links->n_links; i++) {
        is_guessed |= links->links[i].guessed;
        for (unsigned side = 0; side < 2; side++)
            is_fine &= print_direction(i + 1, &links->links[i], side, arguments->records);
    }
    if (is_guessed)
        printf("~ after a number: these two processes share several links; which two directions belong together is a guess\n");
    if (links->n_hidden > 0)
        printf("%zu more: the peer's process may not be looked into, or is in another pid namespace\n", links->n_hidden);
    if (is_fine)
        return EXIT_DONE;
    fflush(stdout);
    fprintf(stderr, "hawser inspect: %s: a link's memory is not as the format has it, as shown\n", arguments->address);
    return EXIT_FAILED;
}

/* Where hawser(3) says that the names of shm live. */
static bool path_of(const char *address, char *path, size_t capacity) {
    const char *place = strstr(address, "://") + 3, *own = getenv("HAWSER_RUNTIME_DIR"), *session = getenv("XDG_RUNTIME_DIR");
    int length = (int)strcspn(place, "?"), n;
    if (place[0] == '/')
        n = snprintf(path, capacity, "%.*s", length, place);
    else if (own && own[0])
        n = snprintf(path, capacity, "%s/%.*s", own, length, place);
    else if (session && session[0])
        n = snprintf(path, capacity, "%s/hawser/%.*s", session, length, place);
    else if (geteuid() == 0)
        n = snprintf(path, capacity, "/run/hawser/%.*s", length, place);
    else
        n = snprintf(path, capacity, "/tmp/hawser-%u/%.*s", geteuid(), length, place);
    return n > 0 && (size_t)n < capacity;
}

/* A place that no listener can have. */
static bool address_is_odd(const char *place) {
    size_t length = strcspn(place, "?");
    return length == 0 || place[0] == '.' || (place[0] != '/' && memchr(place, '/', length));
}

static int inspect_address(const struct arguments *arguments) {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct inspect_sockets sockets;
    struct inspect_links links;
    int capabilities = hawser_capabilities(arguments->address);
    if (capabilities < 0)
        return report(arguments, capabilities);
    if (strncmp(arguments->address, "shm://", 6) != 0) {
        fprintf(stderr, "hawser inspect: %s: only shm:// has memory to look at\n", arguments->address);
        return EXIT_USAGE;
    }
    if (address_is_odd(arguments->address + strlen("shm://"))) {
        fprintf(stderr, "hawser inspect: %s: a name holds no slash and begins with no dot; a path begins with a slash\n",
                arguments->address);
        return EXIT_USAGE;
    }
    if (!path_of(arguments->address, path, sizeof path)) {
        fprintf(stderr, "hawser inspect: %s: the path of the name is over-long\n", arguments->address);
        return EXIT_USAGE;
    }
    int code = inspect_sockets_find(path, &sockets);
    if (code)
        return code;
    code = inspect_links_find(arguments->address, &sockets, &links);
    inspect_sockets_free(&sockets);
    if (code)
        return code;
    code = print_links(arguments, &links);
    inspect_links_free(&links);
    return code;
}

int verb_inspect(int argc, char **argv) {
    struct arguments arguments;
    int code;
    if (arguments_parse(&usage, argc, argv, &arguments, &code))
        return code;
    code = strstr(arguments.address, "://") ? inspect_address(&arguments) : inspect_file(&arguments);
    if (fflush(stdout) != 0 || ferror(stdout))
        return report_errno(&arguments, "standard output");
    return code;
}
