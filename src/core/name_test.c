/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "core/name.h"

#include "base/fork_test.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "core/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct transport test_transport = { .scheme = "test" };
const struct transport *const transports[] = { &test_transport, NULL };

static char root[64], runtime[80];

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/hawser-name-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(runtime, sizeof runtime, "%s/run", root);
    setenv("HAWSER_RUNTIME_DIR", runtime, 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    rmdir(runtime); /* which fails, and so do we, when a name is left over */
    return rmdir(root);
}

static int resolve(const char *text, char *path, size_t capacity) {
    struct address address;
    assert_int_equal(address_parse(text, &address), 0);
    return name_resolve(&address, path, capacity);
}

static void expect_refused(const char *text, int error, const char *sentence) {
    char path[108] = "untouched";
    int got = resolve(text, path, sizeof path);
    if (got != error || !strstr(hawser_explain(), sentence))
        fail_msg("\"%s\": %d, \"%s\"; not %d, \"%s\"", text, got, hawser_explain(), error, sentence);
    assert_string_equal(path, "untouched");
}

static void makes_the_runtime_directory(void **state) {
    (void)state;
    char path[108], expected[108];
    struct stat status;
    assert_int_equal(resolve("test://quotes", path, sizeof path), 0);
    snprintf(expected, sizeof expected, "%s/quotes", runtime);
    assert_string_equal(path, expected);
    assert_int_equal(stat(runtime, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
}

static void names_cannot_escape(void **state) {
    (void)state;
    expect_refused("test://", -EINVAL, "expected a name at character 8 (its end)");
    expect_refused("test://a/b", -EINVAL,
                   "not allowed in a name; an absolute path begins with one at character 9 (\"/b\")");
    expect_refused("test://../x", -EINVAL, "at character 8");
    expect_refused("test://..", -EINVAL, "must not begin with a dot at character 8");
    expect_refused("test://.hidden", -EINVAL, "must not begin with a dot");
    expect_refused("test:///", -EINVAL, "expected a name at character 9");
    expect_refused("test:///tmp/../x", -EINVAL, "not allowed in a name at character 13 (\"../x\")");
    expect_refused("test:///tmp/./x", -EINVAL, "at character 13");
    expect_refused("test:///tmp//x", -EINVAL, "expected a name at character 13");
    expect_refused("test:///tmp/x/", -EINVAL, "expected a name at character 15");
    expect_refused("test:///tmp/x", -EACCES, "can be written by others");
    char text[160] = "test://";
    memset(text + 7, 'x', 120);
    expect_refused(text, -ENAMETOOLONG, "over-long");
}

static void runtime_directories_are_checked(void **state) {
    (void)state;
    char path[108];
    assert_int_equal(mkdir(runtime, 0700), 0);
    assert_int_equal(chmod(runtime, 0770), 0);
    expect_refused("test://a", -EACCES, "can be written by others; chmod it to 0700");
    assert_int_equal(chmod(runtime, 0755), 0);
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(runtime, 1001, 1001), 0);
        expect_refused("test://a", -EACCES, "belongs to uid 1001, you are uid 0");
    }
    assert_int_equal(rmdir(runtime), 0);
    assert_int_equal(symlink("/usr", runtime), 0);
    expect_refused("test://a", -EACCES, "is no directory");
    assert_int_equal(unlink(runtime), 0);
    setenv("HAWSER_RUNTIME_DIR", "relative", 1);
    expect_refused("test://a", -EINVAL, "is no absolute path");
    setenv("HAWSER_RUNTIME_DIR", runtime, 1);
}

static int take(const char *base, struct name *name, int *fd) {
    char text[128], path[108];
    snprintf(text, sizeof text, "test://%s", base);
    assert_int_equal(resolve(text, path, sizeof path), 0);
    return name_take_socket(path, SOCK_SEQPACKET, 0600, name, fd);
}

static void one_listener_a_name(void **state) {
    (void)state;
    struct name first, second;
    struct stat status;
    int fd, other = -7, client;
    assert_int_equal(take("a", &first, &fd), 0);
    assert_int_equal(stat(first.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(take("a", &second, &other), -EADDRINUSE);
    assert_int_equal(other, -7);
    assert_int_equal(name_connect_socket(first.path, SOCK_SEQPACKET, DEADLINE_PAST, &client), 0);
    close(client);
    assert_int_equal(name_connect_socket(first.path, SOCK_STREAM, DEADLINE_PAST, &client), -EPROTO);
    name_release(&first);
    close(fd);
    assert_int_equal(name_connect_socket(first.path, SOCK_SEQPACKET, DEADLINE_PAST, &client), -EAGAIN);
    assert_int_equal(access(first.path, F_OK), -1);
}

static void a_dead_ones_name_is_taken_over(void **state) {
    (void)state;
    struct name first, second;
    char left[140];
    int fd;
    assert_int_equal(take("a", &first, &fd), 0);
    close(fd); /* as when killed: the name stays */
    snprintf(left, sizeof left, "%s/" NAME_TEMPORARY, runtime);
    close(open(left, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* killed in the middle of taking */
    assert_int_equal(take("a", &second, &fd), 0);
    name_release(&first); /* only its own: the successor's stays */
    assert_int_equal(access(second.path, F_OK), 0);
    assert_int_equal(access(left, F_OK), -1);
    name_release(&second);
    close(fd);
    assert_int_equal(access(second.path, F_OK), -1);
}

static void names_are_given_back_without_descriptors(void **state) {
    (void)state;
    struct rlimit limit, none;
    struct name name;
    int fd;
    assert_int_equal(take("a", &name, &fd), 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    name_release(&name);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(access(name.path, F_OK), -1);
    close(fd);
}

static void files_are_left_alone(void **state) {
    (void)state;
    struct name name;
    char path[140];
    int fd;
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(take("a", &name, &fd), -EADDRINUSE);
    assert_non_null(strstr(hawser_explain(), "is no socket"));
    assert_int_equal(unlink(path), 0);
}

/* A racer: waits for the start, tries once, tells what it got and holds on until told to end. */
static void race(int start, int result, int stop) {
    struct name name;
    char byte;
    int fd;
    (void)!read(start, &byte, 1);
    byte = (char)-take("a", &name, &fd);
    (void)!write(result, &byte, 1);
    (void)!read(stop, &byte, 1);
    _exit(0);
}

static void race_in(mode_t mode) {
    enum { RACERS = 8, ROUNDS = 20 };
    char path[108];
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    assert_int_equal(chmod(runtime, mode), 0);
    for (unsigned round = 0; round < ROUNDS; round++) { /* each but the first finds the name of the dead one before */
        int start[2], result[2], stop[2];
        unsigned winners = 0;
        assert_true(pipe(start) == 0 && pipe(result) == 0 && pipe(stop) == 0);
        for (unsigned i = 0; i < RACERS; i++)
            if (fork_child() == 0) {
                close(start[1]);
                close(stop[1]);
                race(start[0], result[1], stop[0]);
            }
        close(start[1]);
        for (unsigned i = 0; i < RACERS; i++) {
            char error;
            assert_int_equal(read(result[0], &error, 1), 1);
            assert_true(error == 0 || error == EADDRINUSE);
            winners += error == 0;
        }
        close(stop[1]);
        while (wait(NULL) > 0)
            ;
        int left[] = { start[0], result[0], result[1], stop[0] };
        for (unsigned i = 0; i < 4; i++)
            close(left[i]);
        assert_int_equal(winners, 1);
    }
    assert_int_equal(unlink(path), 0);
}

static void racers_have_one_winner(void **state) {
    (void)state;
    race_in(0700);
    race_in(0755); /* by another lock */
}

static int tried[2]; /* a pipe: a byte for each connect that found nobody */

static int telling_connect(int fd, const struct sockaddr *address, socklen_t length) {
    int r = sys_table_real.connect(fd, address, length);
    if (r < 0)
        assert_int_equal(write(tried[1], "x", 1), 1);
    return r;
}

static void waits_for_a_listener(void **state) {
    (void)state;
    char path[108], byte;
    int fd;
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    int64_t began = clock_now();
    assert_int_equal(name_connect_socket(path, SOCK_SEQPACKET, began + 30000000, &fd), -ETIMEDOUT);
    assert_true(clock_now() - began >= 30000000);
    assert_int_equal(pipe2(tried, O_CLOEXEC), 0);
    pid_t child = fork_child();
    if (child == 0) {
        struct name name;
        int listener = -1;
        if (read(tried[0], &byte, 1) != 1) /* the parent has found nobody once */
            _exit(1);
        int error = take("a", &name, &listener);
        struct pollfd pollfd = { .fd = listener, .events = POLLIN };
        poll(&pollfd, 1, 10000);
        name_release(&name);
        _exit(-error);
    }
    sys_table.connect = telling_connect;
    int error = name_connect_socket(path, SOCK_SEQPACKET, clock_now() + INT64_C(10000000000), &fd);
    sys_table.connect = sys_table_real.connect;
    assert_int_equal(error, 0);
    close(fd);
    close(tried[0]);
    close(tried[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_held_lock_is_not_waited_for_without_end(void **state) {
    (void)state;
    struct name name;
    char path[108];
    int fd;
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    int directory = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(directory, LOCK_EX), 0);
    assert_int_equal(take("a", &name, &fd), -EBUSY);
    close(directory);
    assert_int_equal(take("a", &name, &fd), 0);
    name_release(&name);
    close(fd);
}

/* A child of another user: locks the directory, tells, and holds on until *ret_hold is closed. */
static pid_t lock_as_user(uid_t uid, int *ret_hold) {
    int told[2], hold[2];
    char byte;
    assert_true(pipe(told) == 0 && pipe(hold) == 0);
    pid_t child = fork_child();
    if (child == 0) {
        close(hold[1]);
        int directory = setgid(uid) || setuid(uid) ? -1 : open(runtime, O_RDONLY | O_DIRECTORY);
        if (directory < 0 || flock(directory, LOCK_EX) || write(told[1], "x", 1) != 1)
            _exit(1);
        _exit((int)read(hold[0], &byte, 1));
    }
    close(told[1]);
    close(hold[0]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    *ret_hold = hold[1];
    return child;
}

static void who_may_read_a_directory_keeps_nobody_out(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    struct name name, second;
    char path[108];
    int fd, hold;
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    assert_int_equal(chmod(runtime, 0755), 0);
    pid_t child = lock_as_user(1001, &hold);
    snprintf(path, sizeof path, "%s/" NAME_LOCK, runtime);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* of one that was killed */
    assert_int_equal(take("a", &name, &fd), 0);
    assert_int_equal(take("a", &second, &fd), -EADDRINUSE);
    int64_t began = clock_now();
    name_release(&name);
    assert_true(clock_now() - began < INT64_C(1000000000));
    close(fd);
    assert_int_equal(access(path, F_OK), -1);
    close(hold);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* Really another uid: a child that gives its rights up. Exits with the error. */
static int as_user(uid_t uid, const char *path, int (*what)(const char *path)) {
    int status;
    pid_t child = fork_child();
    if (child == 0) {
        if (setgid(uid) || setuid(uid))
            _exit(99);
        _exit(-what(path));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static int try_to_connect(const char *path) {
    int fd, error = name_connect_socket(path, SOCK_SEQPACKET, DEADLINE_PAST, &fd);
    return error == -EACCES && !strstr(hawser_explain(), "listener allows uid 0, you are uid 1001") ? -98 : error;
}

static int try_to_take(const char *path) {
    struct name name;
    int fd;
    return name_take_socket(path, SOCK_SEQPACKET, 0600, &name, &fd);
}

static void other_users_meet_modes(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    struct name name;
    char path[108];
    int fd;
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(resolve("test://a", path, sizeof path), 0);
    assert_int_equal(chmod(runtime, 0755), 0);
    assert_int_equal(name_take_socket(path, SOCK_SEQPACKET, 0600, &name, &fd), 0);
    assert_int_equal(as_user(1001, path, try_to_connect), -EACCES);
    name_release(&name);
    close(fd);
    mode_t old = umask(077);
    assert_int_equal(name_take_socket(path, SOCK_SEQPACKET, 0666, &name, &fd), 0);
    umask(old);
    assert_int_equal(as_user(1001, path, try_to_connect), 0);
    name_release(&name);
    close(fd);
    assert_true(as_user(1001, path, try_to_take) < 0);
    assert_int_equal(chown(runtime, 1001, 1001), 0); /* nor do we, as root, take names in a user's directory */
    assert_int_equal(name_take_socket(path, SOCK_SEQPACKET, 0600, &name, &fd), -EACCES);
}

#define T(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(makes_the_runtime_directory),
        T(names_cannot_escape),
        T(runtime_directories_are_checked),
        T(one_listener_a_name),
        T(a_dead_ones_name_is_taken_over),
        T(names_are_given_back_without_descriptors),
        T(files_are_left_alone),
        T(racers_have_one_winner),
        T(waits_for_a_listener),
        T(a_held_lock_is_not_waited_for_without_end),
        T(other_users_meet_modes),
        T(who_may_read_a_directory_keeps_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
