/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Cells between processes: who may write and who may read, what dies and what stays. */

#include "sync/cell.h"

#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <hawser/hawser.h>

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define OTHER_USER 1234

static char runtime[64];

static int make_runtime(void **state) {
    (void)state;
    snprintf(runtime, sizeof runtime, "/tmp/hawser-cell-XXXXXX");
    return mkdtemp(runtime) && setenv("HAWSER_RUNTIME_DIR", runtime, 1) == 0 ? 0 : -1;
}

static unsigned names(void) {
    unsigned n = 0;
    DIR *directory = opendir(runtime);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

/* Each test leaves nothing. */
static int nothing_left(void **state) {
    (void)state;
    return names() == 0 ? 0 : -1;
}

static int remove_runtime(void **state) {
    (void)state;
    return rmdir(runtime);
}

static hawser_cell *create(const char *address, uint64_t size) {
    hawser_cell *cell = NULL;
    int r = hawser_cell_create(address, NULL, size, &cell);
    if (r < 0)
        fail_msg("%s: %s", address, hawser_explain());
    return cell;
}

static hawser_cell *open_cell(const char *address) {
    hawser_cell *cell = NULL;
    if (hawser_cell_open(address, NULL, HAWSER_NOW, &cell) < 0)
        fail_msg("%s: %s", address, hawser_explain());
    return cell;
}

static void set_number(hawser_cell *cell, uint64_t number) {
    assert_int_equal(hawser_cell_set(cell, &number, sizeof number), 0);
}

static uint64_t get_number(hawser_cell *cell) {
    uint64_t number = 0;
    size_t size = 0;
    assert_int_equal(hawser_cell_get(cell, &number, sizeof number, &size, NULL), 0);
    assert_int_equal(size, sizeof number);
    return number;
}

static void assert_child(pid_t child, int status_wanted) {
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), status_wanted);
}

#define ASSERT_SAYS(CALL, ERROR, WORDS)                                         \
    do {                                                                        \
        assert_int_equal((CALL), (ERROR));                                      \
        if (!strstr(hawser_explain(), (WORDS)))                                 \
            fail_msg("\"%s\" lacks \"%s\"", hawser_explain(), (WORDS));         \
    } while (0)

static void values(void **state) {
    (void)state;
    hawser_cell *writer = create("cell://a", 100), *reader = open_cell("cell://a?size=100");
    char value[100] = "one", copy[100];
    size_t size = 7;
    uint64_t version = 7;
    assert_int_equal(hawser_cell_size(reader), 100);
    ASSERT_SAYS(hawser_cell_get(reader, copy, sizeof copy, &size, &version), -ENODATA, "no value was set yet");
    assert_int_equal(size, 7);
    assert_int_equal(hawser_cell_set(writer, value, 3), 0);
    assert_int_equal(hawser_cell_get(reader, copy, sizeof copy, &size, &version), 0);
    assert_int_equal(size, 3);
    assert_int_equal(version, 1);
    assert_memory_equal(copy, "one", 3);
    assert_int_equal(hawser_cell_set(writer, NULL, 0), 0); /* empty values are values */
    assert_int_equal(hawser_cell_get(reader, NULL, 0, &size, &version), 0);
    assert_int_equal(size, 0);
    assert_int_equal(version, 2);
    ASSERT_SAYS(hawser_cell_set(writer, value, 101), -EMSGSIZE, "101 bytes, the cell room for 100");
    assert_int_equal(hawser_cell_set(writer, value, 100), 0);
    ASSERT_SAYS(hawser_cell_get(reader, copy, 99, &size, &version), -EMSGSIZE, "the value has 100 bytes, the buffer 99");
    assert_int_equal(size, 100);
    assert_int_equal(version, 2);
    ASSERT_SAYS(hawser_cell_set(reader, value, 1), -EPERM, "opened to be read");
    assert_int_equal(hawser_cell_set(NULL, value, 1), -EINVAL);
    assert_int_equal(hawser_cell_set(writer, NULL, 1), -EINVAL);
    assert_int_equal(hawser_cell_get(writer, copy, sizeof copy, NULL, NULL), 0);
    assert_null(hawser_cell_close(reader));
    assert_null(hawser_cell_close(writer));
    assert_null(hawser_cell_close(NULL));
}

static void in_place(void **state) {
    (void)state;
    static const uint64_t sizes[] = { 8, 24, 1000 };
    for (size_t i = 0; i < 3; i++) {
        hawser_cell *writer = create("cell://a", sizes[i]), *reader = open_cell("cell://a");
        hawser_cell_view view;
        void *data, *again;
        assert_int_equal(hawser_cell_look(reader, &view), -ENODATA);
        assert_int_equal(hawser_cell_publish(writer, 1), -EINVAL);
        assert_int_equal(hawser_cell_begin(reader, &data), -EPERM);
        assert_int_equal(hawser_cell_begin(writer, &data), 0);
        assert_int_equal((uintptr_t)data % 8, 0);
        memset(data, 'x', sizes[i]);
        assert_int_equal(hawser_cell_begin(writer, &again), 0);
        assert_ptr_equal(data, again);
        assert_int_equal(hawser_cell_publish(writer, sizes[i] + 1), -EMSGSIZE);
        assert_int_equal(hawser_cell_publish(writer, sizes[i]), 0);
        assert_int_equal(hawser_cell_publish(writer, sizes[i]), -EINVAL);
        assert_int_equal(hawser_cell_look(reader, &view), 0);
        assert_int_equal(view.version, 1);
        assert_int_equal(view.size, sizes[i]);
        assert_memory_equal(view.data, data, sizes[i]);
        assert_int_equal((uintptr_t)view.data % 8, 0);
        assert_int_equal(hawser_cell_intact(reader, &view), 1);
        for (int n = 0; n < 40; n++)
            set_number(writer, 1);
        assert_int_equal(hawser_cell_intact(reader, &view), 0);
        hawser_cell_close(writer);
        hawser_cell_close(reader);
    }
}

/* Protection of the map that holds an address: "r--s", or "" */
static const char *protection_of(const void *at, char *ret_text) {
    char line[512];
    unsigned long from, to;
    FILE *maps = fopen("/proc/self/maps", "r");
    *ret_text = 0;
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &from, &to, ret_text) == 3 && (uintptr_t)at >= from && (uintptr_t)at < to)
            break;
    fclose(maps);
    return ret_text;
}

static void readers_map_read_only(void **state) {
    (void)state;
    char text[5];
    hawser_cell *writer = create("cell://a", 100), *reader = open_cell("cell://a"), *adopted;
    hawser_cell_view view;
    int fd;
    set_number(writer, 1);
    assert_int_equal(hawser_cell_look(reader, &view), 0);
    assert_string_equal(protection_of(view.data, text), "r--s");
    assert_int_equal(hawser_cell_look(writer, &view), 0);
    assert_string_equal(protection_of(view.data, text), "rw-s");
    assert_int_equal(hawser_cell_export(writer, &fd), 0);
    assert_int_equal(hawser_cell_adopt(fd, NULL, &adopted), 0);
    close(fd);
    assert_int_equal(hawser_cell_look(adopted, &view), 0);
    assert_string_equal(protection_of(view.data, text), "r--s");
    hawser_cell_close(adopted);
    hawser_cell_close(reader);
    hawser_cell_close(writer);
}

static void one_writer(void **state) {
    (void)state;
    hawser_cell *writer = create("cell://a", 8), *second = NULL;
    ASSERT_SAYS(hawser_cell_create("cell://a", NULL, 8, &second), -EBUSY, "this process writes it already");
    pid_t child = fork_child();
    if (child == 0) {
        char words[32];
        snprintf(words, sizeof words, "process %d writes it", (int)getppid());
        int r = hawser_cell_create("cell://a", NULL, 8, &second);
        int said = strstr(hawser_explain(), words) != NULL;
        int set = hawser_cell_set(writer, "12345678", 8); /* the parent's handle */
        _exit(r == -EBUSY && said && set == -EPERM && hawser_cell_get(writer, NULL, 0, NULL, NULL) == -ENODATA ? 0 : 1);
    }
    assert_child(child, 0);
    set_number(writer, 5);
    hawser_cell *reader = open_cell("cell://a");
    hawser_cell_close(writer);
    second = create("cell://a", 0);
    assert_int_equal(get_number(second), 5);
    set_number(second, 6);
    assert_int_equal(get_number(reader), 6);
    hawser_cell_close(second);
    hawser_cell_close(reader);
}

/* A writer that is killed in the middle of a value is succeeded; the last whole value stays, and versions go on. */
static void succession(void **state) {
    (void)state;
    hawser_cell *reader, *writer;
    uint64_t version;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork_child();
    if (child == 0) {
        void *data;
        if (hawser_cell_create("cell://a", NULL, 8, &writer) < 0 || hawser_cell_set(writer, "whole---", 8) < 0 ||
            hawser_cell_begin(writer, &data) < 0)
            _exit(1);
        memcpy(data, "torn", 4);
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    reader = open_cell("cell://a");
    struct hawser_cell_status status = HAWSER_CELL_STATUS_INIT;
    assert_int_equal(hawser_cell_status(reader, &status), 0);
    assert_int_equal(status.writer, child);
    assert_int_equal(status.processes, 2);
    assert_int_equal(hawser_cell_create("cell://a", NULL, 8, &writer), -EBUSY);
    kill(child, SIGKILL);
    assert_child(child, -SIGKILL);
    char value[8];
    assert_int_equal(hawser_cell_get(reader, value, 8, NULL, &version), 0);
    assert_memory_equal(value, "whole---", 8);
    assert_int_equal(hawser_cell_status(reader, &status), 0);
    assert_int_equal(status.writer, 0);
    writer = create("cell://a", 8);
    assert_int_equal(hawser_cell_set(writer, "next----", 8), 0);
    assert_int_equal(hawser_cell_get(reader, value, 8, NULL, &version), 0);
    assert_memory_equal(value, "next----", 8);
    assert_int_equal(version, 2);
    hawser_cell_close(writer);
    hawser_cell_close(reader);
    close(ready[0]);
    close(ready[1]);
}

/* A reader that gets the slot of a dead writer is not taken for the writer. */
static void reader_in_a_dead_writers_slot(void **state) {
    (void)state;
    pid_t child = fork_child();
    if (child == 0) {
        hawser_cell *writer;
        int r = hawser_cell_create("cell://a?permanent=yes", NULL, 8, &writer);
        kill(getpid(), r == 0 ? SIGKILL : SIGTERM);
    }
    assert_child(child, -SIGKILL);
    hawser_cell *reader = open_cell("cell://a"), *writer;
    child = fork_child();
    if (child == 0)
        _exit(hawser_cell_create("cell://a", NULL, 8, &writer) == 0 ? 0 : 1);
    assert_child(child, 0);
    writer = create("cell://a", 8);
    hawser_cell_close(writer);
    hawser_cell_close(reader);
    assert_int_equal(hawser_cell_remove("cell://a", NULL), 0);
}

/* Until a reader has said that it sleeps; or, of one that never does, until it is there. */
static void await_reader(hawser_cell *writer, bool says_so) {
    struct hawser_cell_status status = HAWSER_CELL_STATUS_INIT;
    while (says_so ? load_relaxed(writer->waiting) == 0 : hawser_cell_status(writer, &status) == 0 && status.processes < 2)
        sys_sched_yield();
}

/* Set by a child, to the time of that. */
static pid_t set_later(const char *address, bool says_so) {
    hawser_cell *cell;
    pid_t child = fork_child();
    if (child != 0)
        return child;
    if (hawser_cell_create(address, NULL, 8, &cell) < 0)
        _exit(1);
    await_reader(cell, says_so);
    int64_t now = clock_now();
    _exit(hawser_cell_set(cell, &now, sizeof now) == 0 ? 0 : 1);
}

static void waiting(void **state) {
    (void)state;
    static const char *const addresses[] = { "cell://a", "cell://a?wait=spin", "cell://a?wait=block" };
    for (size_t i = 0; i < 3; i++) {
        hawser_cell *reader;
        uint64_t version = 0;
        pid_t child = set_later("cell://a", !strstr(addresses[i], "spin"));
        assert_int_equal(hawser_cell_open(addresses[i], NULL, 10 * SECOND, &reader), 0);
        assert_int_equal(hawser_cell_wait(reader, 0, 10 * SECOND, &version), 0);
        assert_int_equal(version, 1);
        assert_true(clock_now() - (int64_t)get_number(reader) < SECOND / 2);
        assert_int_equal(hawser_cell_wait(reader, 0, HAWSER_NOW, NULL), 0);
        assert_int_equal(hawser_cell_wait(reader, 1, HAWSER_NOW, NULL), -EAGAIN);
        int64_t began = clock_now();
        assert_int_equal(hawser_cell_wait(reader, 1, SECOND / 50, &version), -ETIMEDOUT);
        assert_true(clock_now() - began >= SECOND / 50);
        assert_int_equal(hawser_cell_wait(reader, 1, -2, NULL), -EINVAL);
        assert_child(child, 0);
        hawser_cell_close(reader);
    }
}

/* No system call for nobody, one for any number of sleepers. */
static void calls_of_a_set(void **state) {
    (void)state;
    hawser_cell *writer = create("cell://a", 8), *reader = open_cell("cell://a");
    set_number(writer, 0);
    uint64_t before = sys_calls_made;
    for (uint64_t i = 0; i < 100; i++)
        set_number(writer, i);
    assert_int_equal(sys_calls_made, before);
    *reader->waiting = 1;
    set_number(writer, 100);
    assert_int_equal(sys_calls_made, before + 1);
    assert_int_equal(*writer->waiting, 0);
    assert_int_equal(get_number(reader), 100);
    assert_int_equal(sys_calls_made, before + 1);
    hawser_cell_close(reader);
    hawser_cell_close(writer);
}

/* Without a name: inherited, and for those who can only read. */
static void unnamed(void **state) {
    (void)state;
    hawser_cell *writer = create("cell://?size=8", 0), *reader;
    int fd;
    assert_int_equal(hawser_cell_export(writer, &fd), 0);
    for (int way = 0; way < 2; way++) {
        uint64_t version = 0, first = 2 * (unsigned)way;
        pid_t child = fork_child();
        if (child == 0) {
            if (way == 1 && hawser_cell_adopt(fd, NULL, &reader) < 0)
                _exit(1);
            reader = way == 1 ? reader : writer;
            int r = hawser_cell_wait(reader, first, 10 * SECOND, &version);
            _exit(r == 0 && version == first + 1 && get_number(reader) == 42 ? 0 : 1);
        }
        await_reader(writer, way == 0);
        set_number(writer, 42);
        assert_child(child, 0);
        set_number(writer, 0);
    }
    close(fd);
    hawser_cell_close(writer);
    ASSERT_SAYS(hawser_cell_open("cell://", NULL, HAWSER_NOW, &reader), -EINVAL, "without a name");
    ASSERT_SAYS(hawser_cell_create("cell://", NULL, 0, &reader), -EINVAL, "needs a size");
    assert_int_equal(hawser_cell_adopt(0, NULL, &reader), -EPROTO);
    assert_int_equal(hawser_cell_adopt(-1, NULL, &reader), -EBADF);
}

static void wrong_names_and_sizes(void **state) {
    (void)state;
    hawser_cell *cell, *writer = create("cell://a", 16);
    ASSERT_SAYS(hawser_cell_open("cell://a?size=8", NULL, HAWSER_NOW, &cell), -EINVAL, "up to 16 bytes, not 8");
    hawser_cell_close(writer);
    ASSERT_SAYS(hawser_cell_open("cell://a", NULL, HAWSER_NOW, &cell), -EAGAIN, "there is no such cell");
    ASSERT_SAYS(hawser_cell_open("cell://a", NULL, 5000000, &cell), -ETIMEDOUT, "nobody made such a cell");
    assert_int_equal(hawser_cell_create("cell://a", NULL, 0, &cell), -ENOENT);
    assert_int_equal(hawser_cell_remove("cell://a", NULL), -ENOENT);
    ASSERT_SAYS(hawser_cell_create("shm://a", NULL, 8, &cell), -EINVAL, "cell://");
    ASSERT_SAYS(hawser_cell_create("cell://a/b", NULL, 8, &cell), -EINVAL, "not allowed in a name");
    ASSERT_SAYS(hawser_cell_create("cell://a?size=0x", NULL, 8, &cell), -EINVAL, "expected a size");
    ASSERT_SAYS(hawser_cell_create("cell://a?size=16", NULL, 8, &cell), -EINVAL, "the size is 8, and 16 in the address");
    ASSERT_SAYS(hawser_cell_create("cell://a?size=2G", NULL, 8, &cell), -EINVAL, "1 to");
    ASSERT_SAYS(hawser_cell_create("cell://a?nosuch=1", NULL, 8, &cell), -EINVAL, "unknown option");
    assert_int_equal(hawser_cell_create("cell://a", NULL, HAWSER_CELL_SIZE_MAX + 1, &cell), -EINVAL);
    assert_int_equal(hawser_cell_create(NULL, NULL, 8, &cell), -EINVAL);
    assert_int_equal(hawser_cell_create("cell://a", NULL, 8, NULL), -EINVAL);
    char path[128];
    snprintf(path, sizeof path, "%s/a", runtime);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("no cell\n", file);
    fclose(file);
    assert_true(hawser_cell_open("cell://a", NULL, HAWSER_NOW, &cell) < 0);
    unlink(path);
}

static void permanent(void **state) {
    (void)state;
    hawser_cell *cell = create("cell://a?permanent=yes", 8);
    set_number(cell, 3);
    hawser_cell_close(cell);
    cell = open_cell("cell://a");
    assert_int_equal(get_number(cell), 3);
    assert_int_equal(hawser_cell_remove("cell://a", NULL), 0);
    assert_int_equal(names(), 0);
    assert_int_equal(get_number(cell), 3);
    hawser_cell_close(cell);
}

/* What a process of another user can do; 0: as it should be. Forked before there is a cell, which it would inherit. */
static int be_another_user(const char *address, bool admitted, int begin, int opened) {
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_cell *cell;
    uint64_t version, value;
    char byte;
    options.peer = "root";
    if (read(begin, &byte, 1) != 1 || setgroups(0, NULL) || setgid(OTHER_USER) || setuid(OTHER_USER))
        return 1;
    int r = hawser_cell_open(address, &options, HAWSER_NOW, &cell);
    if (!admitted)
        return r == -EACCES ? 0 : 2;
    if (r < 0 || hawser_cell_get(cell, &value, sizeof value, NULL, &version) < 0 || value != 9)
        return 3;
    if (write(opened, "", 1) != 1 || hawser_cell_wait(cell, version, 10 * SECOND, NULL) < 0) /* woken by nobody: it looks */
        return 4;
    hawser_cell_close(cell);
    return hawser_cell_create(address, &options, 8, &cell) == -EACCES ? 0 : 5;
}

static void try_another_user(const char *place, const char *query, bool admitted) {
    char address[128], named[128], byte;
    int begin[2], opened[2];
    hawser_cell *writer;
    snprintf(named, sizeof named, "cell://%s/a", place);
    snprintf(address, sizeof address, "%s%s", named, query);
    assert_int_equal(pipe(begin), 0);
    assert_int_equal(pipe(opened), 0);
    pid_t child = fork_child();
    if (child == 0) {
        close(begin[1]);
        _exit(be_another_user(named, admitted, begin[0], opened[1]));
    }
    close(opened[1]);
    int r = hawser_cell_create(address, NULL, 8, &writer);
    if (r == 0) {
        set_number(writer, 9);
        assert_int_equal(write(begin[1], "", 1), 1);
        assert_int_equal(read(opened[0], &byte, 1), admitted); /* its end, where it was not */
        set_number(writer, 10);
        assert_child(child, 0);
        hawser_cell_close(writer);
    } else { /* this file system has no access lists */
        assert_int_equal(r, -EOPNOTSUPP);
        kill(child, SIGKILL);
        assert_child(child, -SIGKILL);
    }
    close(begin[0]);
    close(begin[1]);
    close(opened[0]);
}

static void other_users(void **state) {
    (void)state;
    char place[40];
    if (geteuid() != 0)
        skip();
    snprintf(place, sizeof place, "/tmp/hawser-cells-XXXXXX");
    assert_non_null(mkdtemp(place));
    assert_int_equal(chmod(place, 0755), 0);
    try_another_user(place, "", false);
    try_another_user(place, "?users=1234", true);
    try_another_user(place, "?groups=1234", true);
    try_another_user(place, "?users=any", true);
    assert_int_equal(rmdir(place), 0);
}

int main(void) {
#define T(NAME) cmocka_unit_test_setup_teardown(NAME, NULL, nothing_left)
    const struct CMUnitTest tests[] = {
        T(values),
        T(in_place),
        T(readers_map_read_only),
        T(one_writer),
        T(succession),
        T(reader_in_a_dead_writers_slot),
        T(waiting),
        T(calls_of_a_set),
        T(unnamed),
        T(wrong_names_and_sizes),
        T(permanent),
        T(other_users),
    };
    return cmocka_run_group_tests(tests, make_runtime, remove_runtime);
}
