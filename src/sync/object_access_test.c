/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Who may open whose object. Really other users: the forked process becomes one, which only root can. */

#include "sync/object_test.h"

#include "base/error.h"
#include "base/fork_test.h"
#include "base/sys.h"
#include "sync/object_process.h"

#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { STRANGER = 65533, FRIEND = 65532, GROUP = 65531 };

static char place[160], address[200];
static struct object *mine; /* which a child inherits, and gives up first */

static int set_up_place(void **state) {
    set_up(state);
    chmod(root, 0755);
    snprintf(place, sizeof place, "%s/own", root);
    assert_int_equal(mkdir(place, 0755), 0);
    chmod(place, 0755);
    return 0;
}

static int tear_down_place(void **state) {
    if (rmdir(place) < 0)
        return -1;
    return tear_down(state);
}

static const char *at(const char *query) {
    snprintf(address, sizeof address, "sem://%s/thing%s%s", place, *query ? "?" : "", query);
    return address;
}

static int open_with(const char *text, bool others_read, enum object_access access, uint64_t size, struct object **ret_object) {
    static const char *const schemes[] = { "sem", NULL };
    struct address parsed;
    struct options options;
    unsigned scheme;
    int error = address_parse_as(text, schemes, &parsed, &scheme);
    if (!error)
        error = options_resolve(NULL, &parsed, &options);
    if (error)
        return error;
    struct object_request request = { .kind = &test_kind, .address = &parsed, .options = &options, .access = access,
                                      .size = size, .others_read = others_read };
    return object_open(&request, ret_object);
}

/* What opening gives a process of this user. */
static int open_as_user(uid_t user, gid_t group, const char *query, enum object_access access, uint64_t size, const char *sentence) {
    pid_t child = fork_child();
    int status = -1;
    if (child == 0) {
        struct object *object = NULL;
        object_close(mine);
        if (setgroups(0, NULL) < 0 || setgid(group) < 0 || setuid(user) < 0)
            _exit(200);
        int error = open_with(at(query), false, access, size, &object);
        if (object && access == OBJECT_WRITE)
            words_of(object)->value = user;
        if (error && !strstr(hawser_explain(), sentence)) {
            fprintf(stderr, "%s\n", hawser_explain());
            _exit(201);
        }
        object_close(object);
        _exit(-error);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -1000;
}

static bool no_root(void) {
    if (geteuid() == 0)
        return false;
    print_message("only root can become another user\n");
    return true;
}

static void others_are_kept_out(void **state) {
    (void)state;
    if (no_root())
        return;
    assert_int_equal(open_with(at(""), false, OBJECT_WRITE, sizeof(struct words), &mine), 0);
    assert_int_equal(open_as_user(STRANGER, STRANGER, "", OBJECT_WRITE, 0, "cannot open"), -EACCES);
    assert_int_equal(open_as_user(STRANGER, STRANGER, "", OBJECT_READ, 0, "cannot open"), -EACCES);
    mine = object_close(mine);
    assert_int_equal(open_as_user(STRANGER, STRANGER, "", OBJECT_WRITE, 64, "cannot make"), -EACCES);
}

static void users_and_groups_are_let_in(void **state) {
    (void)state;
    static const struct {
        const char *query;
        uid_t user;
        gid_t group;
        int expected;
    } cases[] = {
        { "users=65532", FRIEND, FRIEND, 0 },       { "users=65532", STRANGER, STRANGER, -EACCES },
        { "users=65530,65532", FRIEND, FRIEND, 0 }, { "groups=65531", STRANGER, GROUP, 0 },
        { "groups=65531", STRANGER, STRANGER, -EACCES }, { "users=any", STRANGER, STRANGER, 0 },
        { "users=65532&groups=65531", FRIEND, FRIEND, 0 }, { "users=65532&groups=65531", STRANGER, GROUP, 0 },
    };
    if (no_root())
        return;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(open_with(at(cases[i].query), false, OBJECT_WRITE, sizeof(struct words), &mine), 0);
        int got = open_as_user(cases[i].user, cases[i].group, "", OBJECT_WRITE, 0, "cannot open");
        if (got != cases[i].expected || (got == 0 && words_of(mine)->value != cases[i].user))
            fail_msg("%s, uid %u: %d", cases[i].query, cases[i].user, got);
        mine = object_close(mine);
    }
}

static void others_may_only_read(void **state) {
    (void)state;
    static const char *const queries[] = { "users=65532", "users=any", "groups=65532" };
    if (no_root())
        return;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(open_with(at(queries[i]), true, OBJECT_WRITE, sizeof(struct words), &mine), 0);
        assert_int_equal(open_as_user(FRIEND, FRIEND, "", OBJECT_READ, 0, "?"), 0);
        assert_int_equal(open_as_user(FRIEND, FRIEND, "", OBJECT_WRITE, 0, "to read and write"), -EACCES);
        assert_int_equal(open_as_user(FRIEND, FRIEND, "", OBJECT_GUARDED, 0, "to read and write"), -EACCES);
        mine = object_close(mine);
    }
}

/* A name of another user's is no trap to fall into. */
static void owners_must_be_expected(void **state) {
    (void)state;
    if (no_root())
        return;
    assert_int_equal(open_with(at("users=any"), false, OBJECT_WRITE, sizeof(struct words), &mine), 0);
    assert_int_equal(chown(address + 6, 0, 0), -1); /* the query is no part of the file's name */
    at("");
    assert_int_equal(chown(address + 6, STRANGER, STRANGER), 0);
    assert_int_equal(open_as_user(FRIEND, FRIEND, "", OBJECT_WRITE, 0, "belongs to uid 65533, you are uid 65532; peer=65533"), -EACCES);
    assert_int_equal(open_as_user(FRIEND, FRIEND, "peer=65530", OBJECT_WRITE, 0, "belongs to uid 65533"), -EACCES);
    assert_int_equal(open_as_user(FRIEND, FRIEND, "peer=65533", OBJECT_WRITE, 0, "?"), 0);
    assert_int_equal(open_as_user(FRIEND, FRIEND, "peer=any", OBJECT_WRITE, 0, "?"), 0);
    assert_int_equal(open_as_user(STRANGER, STRANGER, "", OBJECT_WRITE, 0, "?"), 0);
    mine = object_close(mine);
}

static int adopt_as_friend(int ticket) {
    pid_t child = fork_child();
    int status = -1;
    if (child == 0) {
        struct object *object = NULL;
        object_close(mine);
        if (setgroups(0, NULL) < 0 || setgid(FRIEND) < 0 || setuid(FRIEND) < 0)
            _exit(200);
        _exit(-object_adopt(ticket, &test_kind, OBJECT_READ, &object));
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -1000;
}

/* A file that another user could cut is taken by its name, which says whose it is; memory that nobody can cut by its ticket too. */
static void tickets_of_others(void **state) {
    (void)state;
    int ticket;
    if (no_root())
        return;
    assert_int_equal(open_with(at("users=any"), false, OBJECT_WRITE, sizeof(struct words), &mine), 0);
    assert_int_equal(object_export(mine, OBJECT_READ, &ticket), 0);
    assert_int_equal(adopt_as_friend(ticket), 0);
    at("");
    assert_int_equal(chown(address + 6, STRANGER, STRANGER), 0);
    assert_int_equal(adopt_as_friend(ticket), -EACCES);
    close(ticket);
    mine = object_close(mine);
    assert_int_equal(seteuid(STRANGER), 0);
    assert_int_equal(open_with("sem://", false, OBJECT_WRITE, sizeof(struct words), &mine), 0);
    assert_int_equal(object_export(mine, OBJECT_READ, &ticket), 0);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(adopt_as_friend(ticket), 0);
    close(ticket);
    mine = object_close(mine);
}

/* The kernel's word is worth nothing for what was cut before it was given. */
static void cut_and_then_sealed(void **state) {
    (void)state;
    struct object_file file = { .write_fd = -1, .bytes = 8192 };
    struct object object = { .file = &file };
    file.read_fd = sys_memfd_create("cut", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(sys_ftruncate(file.read_fd, 4096), 0);
    assert_false(object_sealed(&object));
    assert_int_equal(sys_fcntl(file.read_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_false(object_sealed(&object));
    file.bytes = 4096;
    assert_true(object_sealed(&object));
    close(file.read_fd);
}

/* Who may not write the directory cannot remove what the dead left in it, and is told so. */
static void an_orphan_that_cannot_be_removed(void **state) {
    (void)state;
    if (no_root())
        return;
    struct object *object = NULL;
    pid_t child = fork_child();
    if (child == 0) {
        open_with(at("users=any"), false, OBJECT_WRITE, sizeof(struct words), &object);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_int_equal(open_as_user(FRIEND, FRIEND, "", OBJECT_WRITE, 64, "was left by processes that died, and cannot be removed"), -EACCES);
    at("");
    assert_true(exists(address + 6));
    assert_int_equal(open_with(at("users=any"), false, OBJECT_WRITE, sizeof(struct words), &object), 0);
    assert_true(object->created);
    object_close(object);
}

static int no_lists(int fd, const char *name, const void *value, size_t size, int flags) {
    (void)fd, (void)name, (void)value, (void)size, (void)flags;
    return -EOPNOTSUPP;
}

static void file_systems_without_lists(void **state) {
    (void)state;
    struct object *object = NULL;
    sys_table.fsetxattr = no_lists;
    assert_int_equal(open_with(at("users=65532"), false, OBJECT_WRITE, 64, &object), -EOPNOTSUPP);
    assert_non_null(strstr(hawser_explain(), "file system with access lists"));
    assert_int_equal(open_with(at("users=any"), false, OBJECT_WRITE, 64, &object), 0);
    sys_table = sys_table_real;
    object_close(object);
    at("");
    assert_false(exists(address + 6));
}

static int no_unnamed(int directory, const char *path, int flags, mode_t mode) {
    return (flags & O_TMPFILE) == O_TMPFILE ? -EOPNOTSUPP : sys_table_real.openat(directory, path, flags, mode);
}

static void file_systems_without_unnamed_files(void **state) {
    (void)state;
    struct object *object = NULL, *again = NULL;
    sys_table.openat = no_unnamed;
    assert_int_equal(open_with(at(""), false, OBJECT_WRITE, 64, &object), 0);
    assert_int_equal(open_with(at(""), false, OBJECT_WRITE, 64, &again), 0);
    sys_table = sys_table_real;
    at("");
    assert_true(exists(address + 6) && again == object);
    object_close(object);
    object_close(again); /* and no other name stays: the directory can be removed */
}

static unsigned steps;

/* A timer's signal every few milliseconds, which is more than a large file takes. */
static int hasty_fallocate(int fd, int mode, off_t at, off_t size) {
    if (size <= 1 << 20)
        return sys_table_real.fallocate(fd, mode, at, size);
    return steps++ < 100 ? -EINTR : -ENOSPC;
}

static void large_ones_are_made_amid_signals(void **state) {
    (void)state;
    struct object *object = NULL;
    sys_table.fallocate = hasty_fallocate;
    int error = open_with("sem://", false, OBJECT_WRITE, 8 << 20, &object);
    sys_table = sys_table_real;
    assert_int_equal(error, 0);
    assert_int_equal(steps, 0);
    object_close(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_are_kept_out, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(users_and_groups_are_let_in, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(others_may_only_read, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(owners_must_be_expected, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(tickets_of_others, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(cut_and_then_sealed, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(an_orphan_that_cannot_be_removed, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(file_systems_without_lists, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(file_systems_without_unnamed_files, set_up_place, tear_down_place),
        cmocka_unit_test_setup_teardown(large_ones_are_made_amid_signals, set_up_place, tear_down_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
