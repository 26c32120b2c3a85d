/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Many processes and threads that open, close and die over one name. Whatever happens, all who have it open at once are in the
 * same inode, and no name is left when all have closed. */

#include "sync/object_test.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"
#include "sync/object_process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PROCESSES 8
#define OPENS 3000
#define PATIENCE_NS INT64_C(60000000000)

/* Shared by all: who is inside which inode. A member enters what it has open, looks at the others, and leaves before it closes. */
struct yard {
    uint64_t inode[PROCESSES]; /* 0: not inside */
    uint32_t stop, splits, errors, opens;
    int32_t error;
};

static struct yard *yard;

static void inside(unsigned self, const struct object *object) {
    store_seq_cst(&yard->inode[self], object->file->inode);
    for (unsigned i = 0; i < PROCESSES; i++) {
        uint64_t other = load_seq_cst(&yard->inode[i]);
        if (other && other != object->file->inode)
            add_relaxed(&yard->splits, 1);
    }
    add_relaxed(&yard->opens, 1);
    store_seq_cst(&yard->inode[self], 0);
}

static void come_and_go(unsigned self) {
    while (!load_relaxed(&yard->stop)) {
        struct object *object = NULL;
        int error = open_as(NAME, OBJECT_WRITE, sizeof(struct words), &object);
        if (error) {
            store_relaxed(&yard->error, error);
            add_relaxed(&yard->errors, 1);
            return;
        }
        inside(self, object);
        object_close(object);
    }
}

static void set_up_yard(void) {
    yard = mmap(NULL, sizeof *yard, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(yard != MAP_FAILED);
}

static void check_yard(void) {
    if (yard->splits || yard->errors || yard->opens < PROCESSES)
        fail_msg("%u splits, %u errors (%d), %u opens", yard->splits, yard->errors, yard->error, yard->opens);
    munmap(yard, sizeof *yard);
}

static pid_t visitor(unsigned self) {
    pid_t child = fork_child();
    if (child == 0) {
        come_and_go(self);
        _exit(0);
    }
    return child;
}

/* Until the visitors have opened so many times more, or one could not. */
static void await_opens(uint32_t more) {
    uint32_t before = load_relaxed(&yard->opens);
    for (int64_t end = clock_now() + PATIENCE_NS; load_relaxed(&yard->opens) - before < more && load_relaxed(&yard->errors) == 0;) {
        assert_true(clock_now() < end);
        sched_yield();
    }
}

static void processes_come_and_go(void **state) {
    (void)state;
    pid_t children[PROCESSES];
    set_up_yard();
    for (unsigned i = 0; i < PROCESSES; i++)
        children[i] = visitor(i);
    await_opens(OPENS);
    store_relaxed(&yard->stop, 1);
    for (unsigned i = 0; i < PROCESSES; i++)
        waitpid(children[i], NULL, 0);
    check_yard();
    assert_false(exists("thing"));
}

/* A process that is killed inside stays in the yard's list; so the list is cleared of it, and then it is whole again. */
static void processes_are_killed(void **state) {
    (void)state;
    pid_t children[PROCESSES];
    struct object *object = NULL;
    set_up_yard();
    for (unsigned i = 0; i < PROCESSES; i++)
        children[i] = visitor(i);
    int64_t end = clock_now() + 500000000;
    for (unsigned i = 0; clock_now() < end; i = (i + 1) % PROCESSES) {
        await_opens(20);
        kill(children[i], SIGKILL);
        store_seq_cst(&yard->inode[i], 0); /* dies at any later instant: what it enters then is of a live object still */
        waitpid(children[i], NULL, 0);
        store_seq_cst(&yard->inode[i], 0);
        children[i] = visitor(i);
    }
    store_relaxed(&yard->stop, 1);
    for (unsigned i = 0; i < PROCESSES; i++)
        waitpid(children[i], NULL, 0);
    check_yard();
    open_as(NAME, OBJECT_WRITE, 0, &object); /* if the last was killed, the name goes with the next who asks */
    object_close(object);
    assert_false(exists("thing"));
}

static void *thread_comes_and_goes(void *self) {
    come_and_go((unsigned)(uintptr_t)self);
    return NULL;
}

/* Threads share one object, and the locks; a second process must never find them gone while one has it open. */
static void threads_come_and_go(void **state) {
    (void)state;
    pthread_t threads[4];
    set_up_yard();
    pid_t other = visitor(7);
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_comes_and_goes, (void *)i), 0);
    await_opens(OPENS);
    store_relaxed(&yard->stop, 1);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    waitpid(other, NULL, 0);
    check_yard();
    assert_false(exists("thing"));
}

/* A thread opens and closes all the time, so that many a child is forked in the middle of it. */
static void children_are_forked_meanwhile(void **state) {
    (void)state;
    pthread_t thread;
    set_up_yard();
    assert_int_equal(pthread_create(&thread, NULL, thread_comes_and_goes, NULL), 0);
    for (unsigned i = 0; i < 100; i++) {
        pid_t child = fork_child();
        if (child == 0) {
            struct object *object = NULL;
            alarm(5);
            int error = open_as(NAME, OBJECT_WRITE, sizeof(struct words), &object);
            object_close(object);
            _exit(error ? 1 : 0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (status != 0)
            fail_msg("child %u ended with %d", i, status);
    }
    store_relaxed(&yard->stop, 1);
    pthread_join(thread, NULL);
    yard->opens += PROCESSES;
    check_yard();
    struct object *object = NULL;
    open_as(NAME, OBJECT_WRITE, 0, &object); /* a child that inherited a half-open one may have been the last */
    object_close(object);
}

static void hundreds_are_members(void **state) {
    (void)state;
    enum { MANY = 200 };
    struct actor actors[MANY];
    for (unsigned i = 0; i < MANY; i++)
        actors[i] = act(NULL, -1);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(order(&actors[i], 'o'), 0);
    struct object *object = open_new(NAME);
    assert_int_equal(object_members(object, 1000), MANY + 1);
    assert_int_equal(object_members(object, 10), 10);
    for (unsigned i = 0; i < MANY; i++)
        slay(&actors[i]);
    assert_int_equal(object_members(object, 1000), 1);
    object_close(object);
}

/* ---- One interleaving each, brought about in the middle of a system call ---- */

static struct actor *hooked; /* told to close, once */

static int open_and_let_close(int directory, const char *path, int flags, mode_t mode) {
    int fd = sys_table_real.openat(directory, path, flags, mode);
    if (hooked && fd >= 0 && strstr(path, "/thing") && flags & O_RDWR) {
        struct actor *actor = hooked;
        hooked = NULL;
        order(actor, 'c');
    }
    return fd;
}

static void the_last_leaves_while_one_opens(void **state) {
    (void)state;
    struct actor last = act(NULL, -1), late = act(NULL, -1);
    assert_int_equal(order(&last, 'o'), 0);
    hooked = &last;
    sys_table.openat = open_and_let_close;
    struct object *object = open_new(NAME);
    sys_table = sys_table_real;
    assert_null(hooked);
    assert_true(exists("thing")); /* we are not in a file without a name */
    assert_int_equal(order(&late, 'f'), 0);
    assert_int_equal(order(&late, 'i'), (int)(object->file->inode & 0x7fffffff));
    finish(&last);
    finish(&late);
    object_close(object);
}

static int open_and_unlink(int directory, const char *path, int flags, mode_t mode) {
    int fd = sys_table_real.openat(directory, path, flags, mode);
    if (fd >= 0 && strstr(path, "/thing") && flags & O_RDWR) {
        sys_table.openat = sys_table_real.openat;
        unlink(path);
    }
    return fd;
}

static void the_name_goes_while_one_opens(void **state) {
    (void)state;
    struct actor first = act(NULL, -1);
    assert_int_equal(order(&first, 'o'), 0);
    sys_table.openat = open_and_unlink;
    struct object *object = open_new(NAME);
    sys_table = sys_table_real;
    assert_true(exists("thing") && object->created); /* the first lives on in the one that has no name any more */
    assert_int_equal(order(&first, 'm'), 1);
    finish(&first);
    object_close(object);
}

static int lock_and_let_close(int fd, int operation, long argument) {
    int r = sys_table_real.fcntl(fd, operation, argument);
    const struct flock *lock = (const struct flock *)argument;
    if (hooked && operation == F_SETLK && r < 0 && lock->l_len == OBJECT_LOCK_ALL) {
        struct actor *actor = hooked;
        hooked = NULL;
        order(actor, 'c');
    }
    return r;
}

static void two_leave_at_once(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME);
    assert_int_equal(order(&other, 'f'), 0);
    hooked = &other;
    sys_table.fcntl = lock_and_let_close;
    object_close(object); /* it is not alone; and by the time it knows, it is */
    sys_table = sys_table_real;
    assert_null(hooked);
    assert_false(exists("thing"));
    finish(&other);
}

#define BRIEF_MS 100 /* nothing tells that somebody waits for a lock */

static struct actor remover, maker;
static bool removed;

/* Between our look at the name and its end: another removes it too, and whoever needs one makes a new one. */
static int remove_and_make(int directory, const char *path, int flags) {
    struct pollfd item = { .fd = remover.socket, .events = POLLIN };
    sys_table.unlinkat = sys_table_real.unlinkat;
    tell(&remover, 'u');
    removed = poll(&item, 1, BRIEF_MS) > 0;
    if (removed)
        order(&maker, 'o');
    return sys_table_real.unlinkat(directory, path, flags);
}

static void two_remove_and_one_makes(void **state) {
    (void)state;
    struct object *object = open_new(NAME);
    remover = act(NULL, -1), maker = act(NULL, -1);
    assert_int_equal(order(&remover, 'f'), 0);
    sys_table.unlinkat = remove_and_make;
    assert_int_equal(object_unlink(object), 0);
    sys_table = sys_table_real;
    assert_int_equal(answer(&remover), 0);
    if (!removed)
        assert_int_equal(order(&maker, 'o'), 0);
    assert_true(exists("thing"));
    assert_int_equal(order(&maker, 'c'), 0);
    finish(&remover);
    finish(&maker);
    object_close(object);
}

static char second_path[160], thing_path[160];

static int open_another_file(int directory, const char *path, int flags, mode_t mode) {
    if (strcmp(path, second_path) == 0) {
        unlink(second_path);
        assert_int_equal(link(thing_path, second_path), 0);
        sys_table.openat = sys_table_real.openat;
    }
    return sys_table_real.openat(directory, path, flags, mode);
}

static void a_known_inode_is_opened_unawares(void **state) {
    (void)state;
    struct actor other = act(NULL, -1);
    struct object *object = open_new(NAME), *again = NULL;
    snprintf(second_path, sizeof second_path, "%s/second", runtime);
    snprintf(thing_path, sizeof thing_path, "%s/thing", runtime);
    close(open(second_path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(order(&other, 'f'), 0);
    sys_table.openat = open_another_file;
    assert_int_equal(open_as("sem://second", OBJECT_WRITE, 0, &again), 0);
    sys_table = sys_table_real;
    assert_ptr_equal(again, object);
    assert_int_equal(order(&other, 'm'), 2); /* no descriptor of it was closed */
    object_close(again);
    assert_int_equal(order(&other, 'm'), 2);
    unlink(second_path);
    object_close(object);
    assert_int_equal(order(&other, 'm'), 1);
    assert_int_equal(order(&other, 'c'), 0);
    finish(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(processes_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(processes_are_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(children_are_forked_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_leaves_while_one_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_name_goes_while_one_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_leave_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_remove_and_one_makes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_known_inode_is_opened_unawares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hundreds_are_members, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
