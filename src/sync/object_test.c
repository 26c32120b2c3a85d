/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "sync/object_test.h"

#include "base/control.h"
#include "base/error.h"
#include "base/fork_test.h"
#include "base/sys.h"
#include "sync/object_process.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static void expect_open(const char *text, enum object_access access, uint64_t size, int error, const char *sentence) {
    struct object *object = NULL;
    int got = open_as(text, access, size, &object);
    if (got != error || !strstr(hawser_explain(), sentence) || object)
        fail_msg("\"%s\": %d, \"%s\"; not %d, \"%s\"", text, got, hawser_explain(), error, sentence);
}

static void is_made_and_removed(void **state) {
    (void)state;
    expect_open(NAME, OBJECT_WRITE, 0, -ENOENT, "there is no semaphore \"");
    expect_open(NAME, OBJECT_READ, sizeof(struct words), -ENOENT, "there is no semaphore \"");
    struct object *object = open_new(NAME);
    assert_true(exists("thing") && object->created && !object->permanent && object->slot > 0 && object->slot <= OBJECT_SLOTS);
    assert_int_equal(object->size, sizeof(struct words));
    assert_int_equal(words_of(object)->value, 5);
    assert_int_equal(object_members(object, 100), 1);
    assert_null(object_close(object));
    assert_false(exists("thing"));
    assert_null(object_close(NULL));
}

static void one_object_a_process(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *first = open_new(NAME), *second = open_new(NAME);
    assert_ptr_equal(first, second);
    hold(first, 3);
    assert_null(object_close(second));
    assert_int_equal(order(&other, 'f'), 0); /* closing one of two was no leaving */
    assert_int_equal(words_of(first)->holder[3], first->slot);
    assert_int_equal(order(&other, 'm'), 2);
    assert_int_equal(object_members(first, 100), 2);
    assert_false(object_reclaim(first, first->slot));
    assert_null(object_close(first));
    assert_true(exists("thing"));
    assert_int_equal(order(&other, 'c'), 0);
    assert_false(exists("thing"));
    finish(&other);
}

static void the_dead_are_known(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    struct actor other = act(NULL, -1);
    pid_t pid = 0;
    assert_int_equal(order(&other, 'o'), 0);
    assert_int_equal(order(&other, 'h'), 0);
    uint32_t slot = words_of(object)->holder[0];
    assert_true(slot != 0 && slot != object->slot);
    assert_false(object_reclaim(object, slot));
    assert_int_equal(object_holder(object, slot, &pid), 0);
    assert_int_equal(pid, other.pid);
    assert_int_equal(object_holder(object, object->slot, &pid), 0);
    assert_int_equal(pid, getpid());
    slay(&other);
    assert_int_equal(object_holder(object, slot, &pid), -ESRCH);
    assert_true(object_reclaim(object, slot));
    assert_int_equal(words_of(object)->holder[0], 0);
    assert_int_equal(words_of(object)->reclaimed, 1);
    assert_false(object_reclaim(object, 0) || object_reclaim(object, UINT32_MAX) || object_reclaim(object, OBJECT_SLOTS + 1));
    assert_null(object_close(object));
}

static void exec_is_leaving(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork_child();
    if (child == 0) {
        if (object_enter(object) == 0) {
            hold(object, 0);
            close(ready[0]);
            dup2(ready[1], 1);
            execlp("sh", "sh", "-c", "echo; exec sleep 30", NULL);
        }
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1); /* it runs, and is another program */
    close(ready[0]);
    uint32_t slot = words_of(object)->holder[0];
    assert_int_not_equal(slot, 0);
    assert_true(object_reclaim(object, slot));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_null(object_close(object));
}

static void an_orphan_is_made_anew(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    assert_int_equal(order(&other, 'o'), 0);
    assert_int_equal(order(&other, 'V'), 0);
    int before = order(&other, 'i');
    slay(&other);
    assert_true(exists("thing"));
    struct actor next = act(NULL, -1);
    assert_int_equal(order(&next, 'r'), -ENOENT); /* what nobody alive has made cannot be read ... */
    assert_int_equal(order(&next, 'o'), 0);
    assert_int_equal(order(&next, 'v'), 5);
    (void)before;
    finish(&next);
    assert_true(exists("thing"));
    expect_open(NAME, OBJECT_WRITE, 0, -ENOENT, "there is no semaphore"); /* ... nor opened, and it goes */
    assert_false(exists("thing"));
}

static int open_permanent(struct object **ret_object) {
    static const char *const schemes[] = { "sem", NULL };
    struct address address;
    struct options options;
    unsigned scheme;
    assert_int_equal(address_parse_as(NAME, schemes, &address, &scheme), 0);
    assert_int_equal(options_resolve(NULL, &address, &options), 0);
    struct object_request request = { .kind = &test_kind, .address = &address, .options = &options, .parameters = { 5 },
                                      .size = sizeof(struct words), .permanent = true };
    return object_open(&request, ret_object);
}

static void the_permanent_stay(void **state) {
    (void)state;
    struct object *object = NULL;
    assert_int_equal(open_permanent(&object), 0);
    words_of(object)->value = 9;
    object_close(object);
    assert_true(exists("thing"));
    struct actor other = act(NULL, -1);
    assert_int_equal(order(&other, 'f'), 0);
    assert_int_equal(order(&other, 'v'), 9);
    assert_int_equal(order(&other, 'h'), 0);
    slay(&other);
    object = open_new(NAME);
    assert_true(object->permanent && !object->created);
    assert_int_equal(words_of(object)->holder[0], 0); /* what nobody held any more was given back on opening */
    assert_int_equal(words_of(object)->reclaimed, 1);
    struct actor more = act(NULL, -1);
    assert_int_equal(order(&more, 'f'), 0);           /* we keep one slot and not all */
    finish(&more);
    assert_int_equal(object_unlink(object), 0);
    assert_int_equal(object_unlink(object), 0);
    assert_false(exists("thing"));
    assert_null(object_close(object));
}

static void a_forked_child_joins(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    struct actor child = act(object, -1), idle = act(object, -1);
    hold(object, 1);
    assert_int_equal(object_members(object, 100), 1);
    assert_int_equal(order(&child, 'e'), 0);
    assert_int_equal(order(&child, 'h'), 0);
    assert_int_equal(object_members(object, 100), 2);
    uint32_t slot = words_of(object)->holder[0];
    assert_true(slot != 0 && slot != object->slot);
    assert_int_equal(order(&idle, 'c'), 0); /* of one that never used it */
    assert_int_equal(object_members(object, 100), 2);
    assert_true(exists("thing"));
    finish(&idle);
    assert_int_equal(words_of(object)->holder[1], object->slot);
    object_close(object);
    assert_true(exists("thing"));
    assert_int_equal(order(&child, 'c'), 0);
    assert_false(exists("thing"));
    finish(&child);
}

static void a_child_comes_too_late(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    struct actor child = act(object, -1);
    object_close(object);
    assert_int_equal(order(&child, 'e'), -ESTALE); /* another may have made one of that name */
    assert_int_equal(order(&child, 'e'), -ESTALE);
    object = open_new(NAME);
    assert_int_equal(order(&child, 'e'), -ESTALE);
    assert_int_equal(order(&child, 'c'), 0);
    assert_int_equal(order(&child, 'f'), 0);
    assert_int_equal(object_members(object, 100), 2);
    object_close(object);
    assert_true(exists("thing"));
    assert_int_equal(order(&child, 'c'), 0);
    finish(&child);
}

/* A sibling that joins first looks whether it is alone, and cleans up. */
static void a_child_waits_for_who_looks(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    struct actor child = act(object, -1);
    struct pollfd told = { .fd = child.socket, .events = POLLIN };
    assert_int_equal(object_lock_bytes(object->file->write_fd, F_WRLCK, 0, OBJECT_LOCK_ALL), 0);
    tell(&child, 'e');
    assert_int_equal(poll(&told, 1, 20), 0);
    object_process_settle(object->file);
    assert_int_equal(answer(&child), 0);
    assert_int_equal(object_members(object, 100), 2);
    assert_int_equal(order(&child, 'c'), 0);
    finish(&child);
    object_close(object);
}

static void a_child_opens_what_it_inherited(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    struct actor child = act(object, -1);
    assert_int_equal(order(&child, 'o'), 0);
    assert_int_equal(order(&child, 'm'), 2);
    assert_int_equal(order(&child, 'c'), 0);
    assert_int_equal(object_members(object, 100), 2); /* the inherited handle is open still */
    finish(&child);
    assert_int_equal(object_members(object, 100), 1);
    object_close(object);
}

static void readers_are_members(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME), *reader = NULL;
    assert_int_equal(order(&other, 'r'), 0);
    assert_int_equal(order(&other, 'v'), 5);
    assert_int_equal(open_as(NAME, OBJECT_READ, 0, &reader), 0);
    assert_ptr_not_equal(reader, object);
    assert_int_equal(object_members(object, 100), 2);
    assert_int_equal(object_close(reader) == NULL, 1);
    assert_int_equal(object_members(object, 100), 2);
    object_close(object);
    assert_true(exists("thing")); /* the reader has it still */
    assert_int_equal(order(&other, 'c'), 0);
    assert_false(exists("thing"));
    finish(&other);
}

static void a_reader_becomes_a_writer(void **state) {
    (void)state;
    struct object *object = NULL, *reader = NULL;
    struct actor other = act(NULL, -1);
    assert_int_equal(order(&other, 'o'), 0);
    assert_int_equal(open_as(NAME, OBJECT_READ, 0, &reader), 0);
    assert_int_equal(order(&other, 'c'), 0);
    assert_int_equal(open_as(NAME, OBJECT_WRITE, 0, &object), 0); /* alone, but no orphan */
    words_of(object)->value = 77;
    assert_int_equal(words_of(reader)->value, 77);
    assert_int_equal(order(&other, 'f'), 0);
    assert_int_equal(order(&other, 'v'), 77);
    object_close(object);
    assert_int_equal(order(&other, 'm'), 2);
    object_close(reader);
    assert_int_equal(order(&other, 'm'), 1);
    assert_int_equal(order(&other, 'c'), 0);
    finish(&other);
}

static void a_guarded_map_is_written_in_part(void **state) {
    (void)state;
    struct object *object = open_new(NAME), *guarded = NULL;
    void *part = NULL;
    int status = 0;
    assert_int_equal(open_as(NAME, OBJECT_GUARDED, 0, &guarded), 0);
    assert_int_equal(object_map_writable(guarded, 0, sizeof(struct words), &part), 0);
    ((struct words *)part)->value = 3;
    assert_int_equal(words_of(object)->value, 3);
    munmap(part, sizeof(struct words));
    assert_int_equal(object_map_writable(guarded, 4096, 4096, &part), -EACCES);
    pid_t child = fork_child();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        words_of(guarded)->value = 4;
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(words_of(object)->value, 3);
    assert_int_not_equal(status, 0);
    object_close(guarded);
    object_close(object);
}

static void put_file(const char *name, const void *bytes, size_t size) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", runtime, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void remove_file(const char *name) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", runtime, name);
    assert_int_equal(unlink(path), 0);
}

static void other_things_are_refused(void **state) {
    (void)state;
    char path[160], page[5000] = "plain text";
    mkdir(runtime, 0700);
    snprintf(path, sizeof path, "%s/thing", runtime);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_open(NAME, OBJECT_WRITE, 64, -EINVAL, "is a FIFO, not a semaphore");
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    expect_open(NAME, OBJECT_READ, 0, -EINVAL, "is a symbolic link, not a semaphore");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_open(NAME, OBJECT_WRITE, 64, -EINVAL, "is a directory");
    rmdir(path);
    put_file("thing", page, 0);
    expect_open(NAME, OBJECT_WRITE, 64, -EPROTO, "it has 0 bytes");
    put_file("thing", page, 100);
    expect_open(NAME, OBJECT_READ, 0, -EPROTO, "it has 100 bytes");
    put_file("thing", page, sizeof page);
    expect_open(NAME, OBJECT_WRITE, 64, -EPROTO, "it does not begin as one does");
    remove_file("thing");
    expect_open("sem://a/b", OBJECT_WRITE, 64, -EINVAL, "\"/\" is not allowed");
    expect_open("shm://a", OBJECT_WRITE, 64, -EINVAL, "expected sem://NAME");
    expect_open("sem://", OBJECT_WRITE, 0, -EINVAL, "needs a size");
}

static void lies_in_the_header_are_refused(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME);
    uint64_t *header = (uint64_t *)(void *)((char *)object->body - OBJECT_HEADER);
    header[3] = 1 << 20; /* the size */
    assert_int_equal(order(&other, 'f'), -EPROTO);
    header[3] = UINT64_MAX;
    assert_int_equal(order(&other, 'f'), -EPROTO);
    header[3] = 0;
    assert_int_equal(order(&other, 'f'), -EPROTO);
    header[3] = sizeof(struct words);
    header[1] += 1; /* the version */
    assert_int_equal(order(&other, 'f'), -EPROTO);
    header[1] -= 1;
    header[2] += 1; /* the body's version */
    assert_int_equal(order(&other, 'f'), -EPROTO);
    header[2] -= 1;
    header[1] += UINT64_C(1) << 32; /* the kind */
    assert_int_equal(order(&other, 'f'), -EINVAL);
    header[1] -= UINT64_C(1) << 32;
    assert_int_equal(order(&other, 'f'), 0);
    finish(&other);
    assert_int_equal(object_members(object, 9), 1);
    object_close(object);
}

static int open_kind(const char *text, const struct object_kind *kind, uint64_t parameter, bool fresh) {
    static const char *const schemes[] = { "sem", NULL };
    struct address address;
    struct options options;
    struct object *object = NULL;
    unsigned scheme;
    assert_int_equal(address_parse_as(text, schemes, &address, &scheme), 0);
    assert_int_equal(options_resolve(NULL, &address, &options), 0);
    struct object_request request = { .kind = kind, .address = &address, .options = &options, .size = 4096,
                                      .parameters = { parameter }, .fresh = fresh };
    int error = object_open(&request, &object);
    object_close(object);
    return error;
}

static void kinds_and_parameters_must_fit(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME);
    assert_int_equal(open_kind(NAME, &other_kind, 5, false), -EINVAL);
    assert_non_null(strstr(hawser_explain(), "is a semaphore, not a region"));
    assert_int_equal(open_kind(NAME, &test_kind, 6, false), -EDOM);
    assert_int_equal(open_kind(NAME, &test_kind, 5, true), -EEXIST);
    assert_int_equal(open_kind(NAME, &test_kind, 5, false), 0);
    assert_int_equal(order(&other, 'f'), 0);
    object_close(object);
    assert_int_equal(open_kind(NAME, &test_kind, 6, false), -EDOM); /* the refused one leaves as a member does */
    assert_int_equal(open_kind(NAME, &other_kind, 5, false), -EINVAL);
    finish(&other);
    assert_true(exists("thing"));
    assert_int_equal(open_kind(NAME, &other_kind, 5, false), 0); /* an orphan's kind does not matter */
    assert_false(exists("thing"));
    assert_int_equal(open_kind(NAME, &test_kind, 6, true), 0);
}

static void tickets_serve_many(void **state) {
    (void)state;
    struct object *object = open_new("sem://"), *again = NULL;
    int ticket, reading;
    assert_int_equal(object_export(object, OBJECT_WRITE, &ticket), 0);
    assert_int_equal(object_export(object, OBJECT_READ, &reading), 0);
    struct actor one = act(object, ticket), two = act(object, ticket), three = act(object, reading);
    assert_int_equal(order(&one, 'c') + order(&two, 'c') + order(&three, 'c'), 0); /* what they inherited */
    assert_int_equal(order(&one, 'a'), 0);
    assert_int_equal(order(&two, 'a'), 0);
    assert_int_equal(order(&two, 'V'), 0);
    assert_int_equal(order(&one, 'v'), 7);
    assert_int_equal(order(&three, 'a'), -EACCES);
    assert_int_equal(object_members(object, 100), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(object_adopt(ticket, &test_kind, OBJECT_WRITE, &again), 0);
        assert_ptr_equal(again, object);
        object_close(again);
        assert_int_equal(object_adopt(reading, &test_kind, OBJECT_READ, &again), 0);
        object_close(again);
    }
    close(ticket); /* which tells nobody anything */
    close(reading);
    assert_int_equal(order(&one, 'm'), 3);
    object_close(object);
    assert_int_equal(order(&one, 'm'), 2);
    finish(&one);
    finish(&two);
    finish(&three);
}

static void a_ticket_outlives_its_maker(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    int ticket, pair[2];
    assert_int_equal(object_export(object, OBJECT_WRITE, &ticket), 0);
    words_of(object)->value = 8;
    hold(object, 2);
    object_close(object);
    assert_int_equal(object_adopt(ticket, &test_kind, OBJECT_WRITE, &object), 0); /* unnamed now */
    assert_int_equal(words_of(object)->value, 8);
    assert_int_equal(words_of(object)->holder[2], 0);
    assert_false(exists("thing"));
    object_close(object);
    assert_int_equal(object_adopt(ticket, &other_kind, OBJECT_WRITE, &object), -EPROTO);
    close(ticket);
    assert_int_equal(object_adopt(ticket, &test_kind, OBJECT_WRITE, &object), -EBADF);
    assert_int_equal(object_adopt(-1, &test_kind, OBJECT_WRITE, &object), -EBADF);
    assert_int_equal(pipe(pair), 0);
    assert_int_equal(object_adopt(pair[0], &test_kind, OBJECT_WRITE, &object), -EPROTO);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(object_adopt(pair[0], &test_kind, OBJECT_WRITE, &object), -EPROTO);
    close(pair[0]);
    close(pair[1]);
}

static void a_named_ticket_keeps_the_name(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    int ticket;
    assert_int_equal(object_export(object, OBJECT_WRITE, &ticket), 0);
    struct actor adopter = act(object, ticket), opener = act(object, -1);
    assert_int_equal(order(&adopter, 'c') + order(&opener, 'c'), 0); /* what they inherited */
    assert_int_equal(order(&adopter, 'a'), 0);
    object_close(object);
    assert_int_equal(order(&opener, 'f'), 0);
    assert_int_equal(order(&opener, 'i'), order(&adopter, 'i'));
    assert_int_equal(order(&opener, 'c'), 0);
    assert_int_equal(order(&adopter, 'c'), 0); /* the last one knows the name to remove */
    assert_false(exists("thing"));
    finish(&adopter);
    finish(&opener);
    close(ticket);
}

static void a_ticket_of_the_dead_is_adopted(void **state) {
    (void)state;
    struct object *object = NULL;
    int pair[2], ticket = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t child = fork_child();
    if (child == 0) { /* sends a ticket of what it holds, and dies */
        _Alignas(struct cmsghdr) char control[CONTROL_FDS_SPACE(1)] = { 0 };
        struct iovec vector = { "t", 1 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control };
        object = open_new(NAME);
        hold(object, 4);
        if (object_export(object, OBJECT_WRITE, &ticket) == 0) {
            control_put_fds(&message, &ticket, 1);
            sendmsg(pair[1], &message, 0);
        }
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    _Alignas(struct cmsghdr) char control[CONTROL_FDS_SPACE(1)] = { 0 };
    char byte;
    struct iovec vector = { &byte, 1 };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    assert_int_equal(recvmsg(pair[0], &message, 0), 1);
    assert_int_equal(control_take_fds(&message, &ticket, 1), 1);
    assert_true(exists("thing"));
    assert_int_equal(object_adopt(ticket, &test_kind, OBJECT_WRITE, &object), 0);
    assert_false(exists("thing")); /* it was an orphan of that name, and lives on without one */
    assert_int_equal(words_of(object)->holder[4], 0);
    assert_int_equal(words_of(object)->reclaimed, 1);
    object_close(object);
    close(ticket);
    close(pair[0]);
    close(pair[1]);
}

static void files_go_missing_beneath_it(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME);
    remove_file("thing");
    assert_int_equal(order(&other, 'o'), 0); /* another one of that name */
    object_close(object);
    assert_true(exists("thing")); /* which is not ours to remove */
    assert_int_equal(order(&other, 'c'), 0);
    assert_false(exists("thing"));
    finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_made_and_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_object_a_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_dead_are_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exec_is_leaving, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_orphan_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_permanent_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forked_child_joins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_comes_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_waits_for_who_looks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_opens_what_it_inherited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_are_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_becomes_a_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_guarded_map_is_written_in_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_things_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lies_in_the_header_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kinds_and_parameters_must_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tickets_serve_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ticket_outlives_its_maker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_named_ticket_keeps_the_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ticket_of_the_dead_is_adopted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_go_missing_beneath_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
