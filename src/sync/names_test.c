/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "sync/object_test.h"

#include "base/fork_test.h"
#include "base/sys.h"
#include "sync/object_file.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* What a walk told, as "kind members address-or-base" lines, sorted by nothing: looked up by strstr. */
struct told {
    char text[1000];
    unsigned n;
    uint64_t size;
};

static int note(void *context, const struct hawser_name *name) {
    struct told *told = context;
    const char *base = strrchr(name->path, '/') + 1;
    snprintf(told->text + strlen(told->text), sizeof told->text - strlen(told->text), "%u %u%s %s\n", name->kind, name->members,
             name->permanent ? "p" : "", name->address[0] ? name->address : base);
    told->n++;
    told->size = name->size;
    return 0;
}

static struct told list(const char *directory) {
    struct told told = { 0 };
    assert_int_equal(hawser_names_list(directory, note, &told), 0);
    return told;
}

static struct told collect(uint32_t flags, size_t expected) {
    struct told told = { 0 };
    size_t removed = 99;
    assert_int_equal(hawser_gc(NULL, flags, note, &told, &removed), 0);
    if (removed != expected)
        fail_msg("%zu went, not %zu:\n%s", removed, expected, told.text);
    return told;
}

static void expect(const struct told *told, unsigned n, const char *line) {
    if (told->n != n || (line && !strstr(told->text, line)))
        fail_msg("expected %u names and \"%s\":\n%s", n, line ? line : "", told->text);
}

static void the_living_are_told(void **state) {
    (void)state;
    struct actor other = act(NULL, -1), reader = act(NULL, -1);
    assert_int_equal(order(&other, 'o'), 0);
    struct told told = list(NULL);
    expect(&told, 1, "1 1 sem://thing\n");
    assert_int_equal(told.size, sizeof(struct words));
    struct object *object = open_new(NAME);
    assert_int_equal(order(&reader, 'r'), 0);
    told = list(NULL);
    expect(&told, 1, "1 3 sem://thing\n");
    assert_int_equal(order(&other, 'm'), 3); /* it was looked at without a trace */
    told = collect(0, 0);
    expect(&told, 0, NULL);
    assert_int_equal(object_members(object, 9), 3);
    told = list(runtime);
    expect(&told, 1, "1 3 sem://thing\n");
    assert_int_equal(hawser_names_list(root, note, &told), 0);
    expect(&told, 1, NULL);
    finish(&other);
    finish(&reader);
    object_close(object);
}

/* A name that no address can hold is none, and would do to a terminal what it likes. */
static void control_characters_are_not_told(void **state) {
    (void)state;
    char path[160], trap[160];
    struct object *object = open_new(NAME);
    snprintf(path, sizeof path, "%s/thing", runtime);
    snprintf(trap, sizeof trap, "%s/\033[2J", runtime);
    assert_int_equal(link(path, trap), 0);
    struct told told = list(NULL);
    expect(&told, 1, "sem://thing\n");
    assert_int_equal(unlink(trap), 0);
    object_close(object);
}

static void the_dead_are_swept(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    assert_int_equal(order(&other, 'o'), 0);
    slay(&other);
    struct told told = list(NULL);
    expect(&told, 1, "1 0 sem://thing\n");
    told = collect(HAWSER_GC_LOOK, 1);
    expect(&told, 1, "1 0 sem://thing\n");
    assert_true(exists("thing"));
    told = collect(0, 1);
    expect(&told, 1, "1 0 sem://thing\n");
    assert_false(exists("thing"));
    told = collect(0, 0);
    expect(&told, 0, NULL);
}

/* Makes something and dies of it. */
static void die_with(const char *address) {
    pid_t child = fork_child();
    if (child == 0) {
        hawser_listener *listener = NULL;
        hawser_channel *a = NULL, *b = NULL;
        if (strncmp(address, "sysv", 4) == 0 ? hawser_pair(address, NULL, &a, &b) : hawser_listen(address, NULL, &listener))
            _exit(1);
        if (b && hawser_send(b, "x", 1, 0) < 0)
            _exit(2);
        raise(SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void dead_listeners_are_swept(void **state) {
    (void)state;
    char fifo[160];
    hawser_listener *alive = NULL, *alive_fifo = NULL;
    die_with("shm://dead");
    snprintf(fifo, sizeof fifo, "fifo://%s/dead-fifo", runtime);
    die_with(fifo);
    assert_int_equal(hawser_listen("shm://alive", NULL, &alive), 0);
    snprintf(fifo, sizeof fifo, "fifo://%s/alive-fifo", runtime);
    assert_int_equal(hawser_listen(fifo, NULL, &alive_fifo), 0);
    struct told told = list(NULL);
    expect(&told, 4, "5 0 dead\n");
    expect(&told, 4, "5 1 alive\n");
    expect(&told, 4, "6 0 dead-fifo\n");
    expect(&told, 4, "6 1 alive-fifo\n");
    told = list(root); /* elsewhere nobody knows whose they are */
    expect(&told, 0, NULL);
    told = collect(HAWSER_GC_LOOK, 2);
    told = collect(0, 2);
    assert_true(exists("alive") && exists("alive-fifo") && !exists("dead") && !exists("dead-fifo"));
    hawser_listener_close(alive);
    hawser_listener_close(alive_fifo);
}

static void system_v_queues_are_swept(void **state) {
    (void)state;
    char records[160];
    die_with("sysv://");
    struct told told = collect(HAWSER_GC_LOOK, 1);
    expect(&told, 1, "7 0 ");
    told = collect(0, 1);
    told = collect(0, 0);
    expect(&told, 0, NULL);
    snprintf(records, sizeof records, "%s/.sysv", runtime);
    rmdir(records);
}

static void put(const char *name, size_t size) {
    char path[200], bytes[200] = "something else";
    snprintf(path, sizeof path, "%s/%s", runtime, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void other_files_stay(void **state) {
    (void)state;
    char path[160];
    mkdir(runtime, 0700);
    put("mine", 100);
    put("empty", 0);
    put(OBJECT_TEMPORARY "0000aaaa", 10); /* of one that was killed while it made something */
    snprintf(path, sizeof path, "%s/link", runtime);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    struct told told = collect(0, 1);
    expect(&told, 1, "8 0 " OBJECT_TEMPORARY "0000aaaa\n");
    assert_true(exists("mine") && exists("empty") && exists("link"));
    unlink(path);
    snprintf(path, sizeof path, "%s/mine", runtime);
    unlink(path);
    snprintf(path, sizeof path, "%s/empty", runtime);
    unlink(path);
}

static void arguments_are_checked(void **state) {
    (void)state;
    size_t removed = 7;
    char path[160];
    assert_int_equal(hawser_names_list(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(hawser_gc(NULL, 2, NULL, NULL, &removed), -EINVAL);
    snprintf(path, sizeof path, "%s/none", root);
    assert_int_equal(hawser_gc(path, 0, NULL, NULL, &removed), -ENOENT);
    assert_int_equal(removed, 7);
}

static int stop(void *context, const struct hawser_name *name) {
    (void)context, (void)name;
    return 33;
}

static void a_walk_can_be_ended(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    assert_int_equal(hawser_names_list(NULL, stop, NULL), 33);
    object_close(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_living_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_characters_are_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_dead_are_swept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dead_listeners_are_swept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(system_v_queues_are_swept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_files_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(arguments_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_walk_can_be_ended, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
