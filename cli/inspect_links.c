/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Which processes hold the sockets of a listener, and which segments they share. An idle link holds no memfd: its segments
 * are only mapped. So they are found in /proc/PID/maps by name and inode, the owner's map writable and the other end's
 * not, and read through the memory (/proc/PID/mem) of the listener's process, which maps both of a link.
 *
 * A process is free to map what it likes under these names, and to end or map anew while it is looked at: what comes of that is
 * a segment that fails its checks. */

#include "inspect.h"
#include "verbs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for one more in an array that doubles. NULL: no memory, and the array is as it was. */
static void *grow(void *array, size_t n, size_t size) {
    bool is_full = (n & (n - 1)) == 0;
    return is_full ? realloc(array, (n ? 2 * n : 1) * size) : array;
}

/* ---- Maps ---- */

static int compare_maps(const void *a, const void *b) {
    const struct inspect_map *left = a, *right = b;
    if (left->inode != right->inode)
        return left->inode < right->inode ? -1 : 1;
    return (int)right->writable - (int)left->writable;
}

/* Only whole maps of shared memory under the names that hawser gives. */
static bool parse_map(const char *line, struct inspect_map *ret_map) {
    static const char *const names[] = { [INSPECT_MAP_SEGMENT] = "/memfd:hawser (deleted)",
                                         [INSPECT_MAP_POOL] = "/memfd:hawser-pool (deleted)",
                                         [INSPECT_MAP_RING] = "/memfd:hawser-ring (deleted)" };
    uint64_t start, end, offset, inode;
    char rights[5];
    int path = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 " %n", &start, &end, rights, &offset, &inode,
               &path) != 5)
        return false;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(line + path, names[i], strlen(names[i])) == 0 && end > start && offset == 0 && rights[3] == 's') {
            *ret_map = (struct inspect_map){ .start = start, .size = end - start, .inode = inode, .kind = i,
                                             .writable = rights[1] == 'w' };
            return true;
        }
    return false;
}

/* False leaves what is known. */
static bool read_maps(struct inspect_process *process) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)process->pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    struct inspect_map map, *maps = NULL;
    size_t n = 0;
    bool is_fine = true;
    while (is_fine && fgets(line, sizeof line, file)) {
        if (!parse_map(line, &map))
            continue;
        struct inspect_map *more = grow(maps, n, sizeof *more);
        is_fine = more != NULL;
        if (more) {
            maps = more;
            maps[n++] = map;
        }
    }
    fclose(file);
    if (!is_fine) {
        free(maps);
        return false;
    }
    if (n > 0)
        qsort(maps, n, sizeof *maps, compare_maps);
    free(process->maps);
    process->maps = maps;
    process->n_maps = n;
    return true;
}

static const struct inspect_map *find_map(const struct inspect_process *process, uint64_t inode, bool writable) {
    struct inspect_map key = { .inode = inode, .writable = writable };
    if (process->n_maps == 0)
        return NULL;
    return bsearch(&key, process->maps, process->n_maps, sizeof key, compare_maps);
}

/* ---- Processes ---- */

struct holding {
    uint32_t inode;
    enum { HOLDS_LISTENING, HOLDS_OURS, HOLDS_PEERS } what;
    bool seen;
};

static int compare_holdings(const void *a, const void *b) {
    uint32_t left = ((const struct holding *)a)->inode, right = ((const struct holding *)b)->inode;
    return left < right ? -1 : left > right;
}

static struct holding *list_holdings(const struct inspect_sockets *sockets, size_t *ret_n) {
    size_t n = 0;
    struct holding *holdings = calloc(sockets->n_listening + 2 * sockets->n_meetings + 1, sizeof *holdings);
    if (!holdings)
        return NULL;
    for (size_t i = 0; i < sockets->n_listening; i++)
        holdings[n++] = (struct holding){ .inode = sockets->listening[i], .what = HOLDS_LISTENING };
    for (size_t i = 0; i < sockets->n_meetings; i++) {
        holdings[n++] = (struct holding){ .inode = sockets->meetings[i].ours, .what = HOLDS_OURS };
        holdings[n++] = (struct holding){ .inode = sockets->meetings[i].peers, .what = HOLDS_PEERS };
    }
    qsort(holdings, n, sizeof *holdings, compare_holdings);
    *ret_n = n;
    return holdings;
}

static void note_descriptor(const char *target, struct holding *holdings, size_t n, struct inspect_process *process) {
    struct holding key = { 0 };
    if (sscanf(target, "socket:[%" SCNu32 "]", &key.inode) != 1)
        return;
    struct holding *holding = bsearch(&key, holdings, n, sizeof key, compare_holdings);
    if (!holding)
        return;
    holding->seen = true;
    process->listens |= holding->what == HOLDS_LISTENING;
    process->serves |= holding->what != HOLDS_PEERS;
    process->connects |= holding->what == HOLDS_PEERS;
}

static void read_descriptors(struct holding *holdings, size_t n, struct inspect_process *process) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)process->pid);
    DIR *directory = opendir(path);
    if (!directory)
        return; /* another user's, or it ended */
    for (struct dirent *entry; (entry = readdir(directory));) {
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = 0;
        note_descriptor(target, holdings, n, process);
    }
    closedir(directory);
}

/* A process names itself: what could harm a terminal is left out. */
static void read_name(struct inspect_process *process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)process->pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(process->name, sizeof process->name, file))
        process->name[0] = 0;
    fclose(file);
    process->name[strcspn(process->name, "\n")] = 0;
    for (char *c = process->name; *c; c++)
        if (*c <= ' ' || *c > '~')
            *c = '?';
}

static bool add_process(struct inspect_links *links, pid_t pid, struct holding *holdings, size_t n) {
    struct inspect_process process = { .pid = pid, .memory = -1 };
    read_descriptors(holdings, n, &process);
    if (!process.serves && !process.connects)
        return true;
    read_name(&process);
    struct inspect_process *more = grow(links->processes, links->n_processes, sizeof *more);
    bool is_fine = more && read_maps(&process);
    if (more)
        links->processes = more;
    if (is_fine)
        links->processes[links->n_processes++] = process;
    else
        free(process.maps);
    return more != NULL; /* maps that cannot be read are those of a process that just ended */
}

static int find_processes(struct inspect_links *links, struct holding *holdings, size_t n) {
    DIR *directory = opendir("/proc");
    bool is_fine = directory != NULL;
    for (struct dirent *entry; is_fine && (entry = readdir(directory));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (pid > 0 && !*end)
            is_fine = add_process(links, (pid_t)pid, holdings, n);
    }
    if (!is_fine)
        fprintf(stderr, "hawser inspect: cannot look through the processes of /proc: %s\n", strerror(errno));
    if (directory)
        closedir(directory);
    return is_fine ? EXIT_DONE : EXIT_FAILED;
}

/* ---- Links ---- */

/* Each segment of `from` that `to` maps too. The caller frees it. */
static uint64_t *shared_inodes(const struct inspect_process *from, const struct inspect_process *to, size_t *ret_n) {
    size_t n = 0;
    uint64_t *inodes = calloc(from->n_maps + 1, sizeof *inodes);
    if (!inodes)
        return NULL;
    for (size_t i = 0; i < from->n_maps; i++)
        if (from->maps[i].writable && from->maps[i].kind == INSPECT_MAP_SEGMENT && find_map(to, from->maps[i].inode, false))
            inodes[n++] = from->maps[i].inode;
    *ret_n = n;
    return inodes;
}

static uint64_t shared_pool(const struct inspect_process *from, const struct inspect_process *to) {
    uint64_t size = 0;
    for (size_t i = 0; i < from->n_maps; i++)
        if (from->maps[i].writable && from->maps[i].kind == INSPECT_MAP_POOL && find_map(to, from->maps[i].inode, false))
            size += from->maps[i].size;
    return size;
}

static struct inspect_source source_of(const struct inspect_process *server, uint64_t inode, bool writable) {
    const struct inspect_map *map = find_map(server, inode, writable);
    return (struct inspect_source){ .fd = server->memory, .base = map->start, .size = map->size };
}

/* Both ends in one process share the list: its segments come in twos. */
static bool add_links(struct inspect_links *links, struct inspect_process *server, struct inspect_process *client) {
    size_t n_ours = 0, n_theirs = 0;
    bool is_self = server == client;
    uint64_t *ours = shared_inodes(server, client, &n_ours), *theirs = shared_inodes(client, server, &n_theirs);
    bool is_fine = ours && theirs;
    size_t n = is_self ? n_ours / 2 : n_ours < n_theirs ? n_ours : n_theirs;
    for (size_t i = 0; is_fine && i < n; i++) {
        struct inspect_link link = { .guessed = n > 1 };
        uint64_t inodes[2] = { ours[is_self ? 2 * i : i], theirs[is_self ? 2 * i + 1 : i] };
        link.sides[0] = (struct inspect_side){ server, source_of(server, inodes[0], true), 0 };
        link.sides[1] = (struct inspect_side){ client, source_of(server, inodes[1], false), 0 };
        if (n == 1) { /* whose pool it is among several links cannot be told */
            link.sides[0].pool = shared_pool(server, client);
            link.sides[1].pool = shared_pool(client, server);
        }
        struct inspect_link *more = grow(links->links, links->n_links, sizeof *more);
        is_fine = more != NULL;
        if (more) {
            links->links = more;
            links->links[links->n_links++] = link;
        }
    }
    free(ours);
    free(theirs);
    return is_fine;
}

static bool open_memory(struct inspect_process *process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)process->pid);
    if (process->memory < 0)
        process->memory = open(path, O_RDONLY | O_CLOEXEC);
    return process->memory >= 0;
}

static int refused(const struct inspect_process *process) {
    fprintf(stderr, "hawser inspect: may not read the memory of process %d: %s; be its user (which "
                    "/proc/sys/kernel/yama/ptrace_scope may forbid) or root\n",
            (int)process->pid, strerror(errno));
    return EXIT_FAILED;
}

static int pair_up(struct inspect_links *links) {
    for (size_t s = 0; s < links->n_processes; s++) {
        struct inspect_process *server = &links->processes[s];
        if (!server->serves)
            continue;
        if (!open_memory(server))
            return refused(server);
        for (size_t c = 0; c < links->n_processes; c++)
            if (links->processes[c].connects && !add_links(links, server, &links->processes[c])) {
                fprintf(stderr, "hawser inspect: no memory\n");
                return EXIT_FAILED;
            }
    }
    return EXIT_DONE;
}

/* ---- Larger rings ---- */

#define MISSES 4 /* of a process, after which its maps are not read anew for words that may lie */

/* Only what the sender itself maps writable under that name, whatever the word says. It may have made it a moment ago. */
static const struct inspect_map *find_larger(struct inspect_process *sender, uint64_t inode) {
    for (unsigned again = 0;; again++) {
        const struct inspect_map *map = find_map(sender, inode, true);
        if (map && map->kind == INSPECT_MAP_RING)
            return map;
        if (again || sender->misses >= MISSES || !read_maps(sender))
            break;
    }
    sender->misses++;
    return NULL;
}

/* The listener's process maps it too once it came to its record. Until then a peer's is read in the peer, whose own fault
 * handler (userfaultfd, on old kernels) could then keep the reader waiting, though not from being interrupted. */
const char *inspect_links_larger(const struct inspect_link *link, unsigned side, const struct inspect_segment *segment,
                                 struct inspect_source *ret_source, bool *ret_hidden) {
    struct inspect_process *from = link->sides[side].process, *server = link->sides[0].process;
    const struct inspect_map *map = find_larger(from, segment->larger_inode), *ours = NULL;
    *ret_hidden = !map && from->n_maps == 0;
    if (!map)
        return *ret_hidden ? "its sender ended meanwhile" : "its larger ring is none that its process maps";
    if (map->size < segment->larger_size)
        return "its larger ring is smaller than its header says";
    if (from != server)
        ours = find_map(server, map->inode, false);
    if (ours && ours->kind == INSPECT_MAP_RING && ours->size >= segment->larger_size) {
        map = ours;
        from = server;
    }
    if (!open_memory(from)) {
        *ret_hidden = true;
        return "the listener has not come to its larger ring, and the sender's memory may not be read";
    }
    *ret_source = (struct inspect_source){ .fd = from->memory, .base = map->start, .size = map->size };
    return NULL;
}

/* Is a process there that listens? Else all that can be known is that somebody does. */
static int check_listener(const char *address, const struct inspect_links *links) {
    for (size_t i = 0; i < links->n_processes; i++)
        if (links->processes[i].listens)
            return EXIT_DONE;
    fprintf(stderr, "hawser inspect: may not look into the process that listens at %s: it is another user's, or in another pid "
                    "namespace; be that user or root\n",
            address);
    return EXIT_FAILED;
}

int inspect_links_find(const char *address, const struct inspect_sockets *sockets, struct inspect_links *ret_links) {
    struct inspect_links links = { 0 };
    size_t n = 0;
    struct holding *holdings = list_holdings(sockets, &n);
    int code = holdings ? find_processes(&links, holdings, n) : EXIT_FAILED;
    for (size_t i = 0; i < n; i++)
        links.n_hidden += !holdings[i].seen && holdings[i].what == HOLDS_PEERS;
    free(holdings);
    if (code == EXIT_DONE)
        code = check_listener(address, &links);
    if (code == EXIT_DONE)
        code = pair_up(&links);
    if (code == EXIT_DONE)
        *ret_links = links;
    else
        inspect_links_free(&links);
    return code;
}

void inspect_links_free(struct inspect_links *links) {
    for (size_t i = 0; i < links->n_processes; i++) {
        free(links->processes[i].maps);
        if (links->processes[i].memory >= 0)
            close(links->processes[i].memory);
    }
    free(links->processes);
    free(links->links);
    *links = (struct inspect_links){ 0 };
}
