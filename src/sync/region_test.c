/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "sync/object_test.h"

#include "base/atomic.h"
#include "base/clock.h"
#include "base/fork_test.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
#define REGION "region://frames"

static hawser_region *open_region(const char *address, size_t size) {
    hawser_region *region = NULL;
    int error = hawser_region_open(address, NULL, size, &region);
    if (error)
        fail_msg("open %s: %d, %s", address, error, hawser_explain());
    return region;
}

static void expect_refused(const char *address, size_t size, int error, const char *sentence) {
    hawser_region *region = NULL;
    int got = hawser_region_open(address, NULL, size, &region);
    if (got != error || !strstr(hawser_explain(), sentence) || region)
        fail_msg("\"%s\": %d, \"%s\"; not %d, \"%s\"", address, got, hawser_explain(), error, sentence);
}

static uint64_t generation(hawser_region *region) {
    uint64_t is = 0;
    assert_int_equal(hawser_region_generation(region, &is), 0);
    return is;
}

static struct hawser_region_status status_of(hawser_region *region) {
    struct hawser_region_status status = HAWSER_REGION_STATUS_INIT;
    assert_int_equal(hawser_region_status(region, &status), 0);
    return status;
}

/* A process that has the guard until it is told to end, or killed. */
struct holder {
    pid_t pid;
    int told, tells;
};

static struct holder hold_guard(const char *address, hawser_region *inherited, int mode) {
    int down[2], up[2];
    char byte = 0;
    assert_int_equal(pipe2(down, O_CLOEXEC) | pipe2(up, O_CLOEXEC), 0);
    struct holder holder = { fork_child(), up[0], down[1] };
    if (holder.pid == 0) {
        hawser_region *region = inherited;
        if ((region || hawser_region_open(address, NULL, 0, &region) == 0) && hawser_region_lock(region, mode, HAWSER_FOREVER) >= 0) {
            memset(hawser_region_data(region), 'c', 8);
            close(down[1]);
            if (write(up[1], "!", 1) == 1 && read(down[0], &byte, 1) == 1)
                hawser_region_unlock(region);
        }
        _exit(byte == 'e' ? 0 : 1);
    }
    close(down[0]);
    close(up[1]);
    assert_int_equal(read(holder.told, &byte, 1), 1);
    return holder;
}

static void end_holder(struct holder *holder, bool kills) {
    int status = 0;
    if (kills)
        kill(holder->pid, SIGKILL);
    else
        assert_int_equal(write(holder->tells, "e", 1), 1);
    waitpid(holder->pid, &status, 0);
    assert_int_equal(kills ? 0 : status, 0);
    close(holder->told);
    close(holder->tells);
}

static void is_made_shared_and_removed(void **state) {
    (void)state;
    expect_refused(REGION, 0, -ENOENT, "there is no region");
    hawser_region *a = open_region(REGION, 100000), *b = open_region("region://frames?size=100000", 0);
    assert_int_equal(hawser_region_size(a), 100000);
    assert_int_equal((uintptr_t)hawser_region_data(a) % 4096, 0);
    memset(hawser_region_data(a), 'x', 100000);
    assert_int_equal(((char *)hawser_region_data(b))[99999], 'x');
    expect_refused(REGION, 5, -EINVAL, "the region has 100000 bytes, not 5");
    struct hawser_region_status status = status_of(a);
    assert_true(status.size == 100000 && status.members == 1 && status.writable && status.created && !status.sealed && !status.permanent);
    hawser_region_close(a);
    assert_true(exists("frames"));
    hawser_region_close(b);
    assert_false(exists("frames"));
    assert_null(hawser_region_close(NULL));
    assert_null(hawser_region_data(NULL));
}

static void addresses_are_checked(void **state) {
    (void)state;
    expect_refused("region://frames?size=0K", 0, -ENOENT, "there is no region");
    expect_refused("region://frames?size=1X", 0, -EINVAL, "expected a size like 64K at character 22");
    expect_refused("region://frames?share=none", 5, -EINVAL, "expected read or write");
    expect_refused("region://frames?permanent=1", 5, -EINVAL, "expected yes or no");
    expect_refused("region://frames?size=4K", 5, -EINVAL, "the size is 5, and 4096 in the address");
    expect_refused("region://frames?nosuch=4K", 5, -EINVAL, "unknown option");
    expect_refused("sem://frames", 5, -EINVAL, "expected region://NAME");
    expect_refused("region://", 0, -EINVAL, "say how large it is");
    expect_refused("region://?permanent=yes", 5, -EINVAL, "neither permanent");
    expect_refused("region://../frames", 5, -EINVAL, "must not begin with a dot");
    expect_refused(REGION, SIZE_MAX, -ENOMEM, "more than this process can address");
    assert_int_equal(hawser_region_open(NULL, NULL, 5, NULL), -EINVAL);
    assert_int_equal(hawser_region_lock(NULL, HAWSER_SHARED, 0), -EINVAL);
    assert_int_equal(hawser_region_unlock(NULL), -EINVAL);
    hawser_region *region = open_region("region://", 5);
    assert_int_equal(hawser_region_lock(region, 3, 0), -EINVAL);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, -2), -EINVAL);
    assert_int_equal(hawser_region_export(region, 2, &(int){ 0 }), -EINVAL);
    hawser_region_close(region);
}

static void the_guard_excludes(void **state) {
    (void)state;
    hawser_region *region = open_region(REGION, 4096);
    assert_int_equal(hawser_region_unlock(region), -EPERM);
    assert_int_equal(generation(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), 0);
    assert_int_equal(generation(region), 1);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), -EDEADLK);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), -EDEADLK);
    assert_int_equal(status_of(region).holders, 64);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(generation(region), 2);
    assert_int_equal(hawser_region_unlock(region), -EPERM);
    struct holder shared = hold_guard(REGION, NULL, HAWSER_SHARED);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), 0);
    assert_int_equal(status_of(region).holders, 2);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), -EAGAIN);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, 5 * MS), -ETIMEDOUT);
    end_holder(&shared, false);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, 1000 * MS), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    struct holder exclusive = hold_guard(REGION, NULL, HAWSER_EXCLUSIVE);
    assert_int_equal(generation(region) & 1, 1);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), -EAGAIN);
    end_holder(&exclusive, false);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, 1000 * MS), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    hawser_region_close(region);
}

static void the_next_is_told_of_a_death(void **state) {
    (void)state;
    hawser_region *region = open_region(REGION, 4096);
    struct holder holder = hold_guard(REGION, NULL, HAWSER_EXCLUSIVE);
    kill(holder.pid, SIGKILL);
    int64_t before = clock_now();
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, 5000 * MS), HAWSER_OWNER_DIED);
    assert_true(clock_now() - before < 2000 * MS); /* 100 ms where nothing else runs */
    end_holder(&holder, true);
    assert_true(status_of(region).torn && (generation(region) & 1));
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), HAWSER_OWNER_DIED); /* nobody mended it */
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), HAWSER_OWNER_DIED);
    assert_int_equal(generation(region) & 1, 1);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(generation(region) & 1, 0);
    struct holder shared = hold_guard(REGION, NULL, HAWSER_SHARED); /* who only reads tears nothing */
    end_holder(&shared, true);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, 5000 * MS), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    hawser_region_close(region);
}

static void a_permanent_one_remembers_the_death(void **state) {
    (void)state;
    hawser_region *region = open_region("region://frames?permanent=yes&size=4K", 0);
    hawser_region_close(region);
    assert_true(exists("frames"));
    struct holder holder = hold_guard(REGION, NULL, HAWSER_EXCLUSIVE);
    end_holder(&holder, true);
    region = open_region(REGION, 0);
    assert_memory_equal(hawser_region_data(region), "cccccccc", 8);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), HAWSER_OWNER_DIED);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_true(status_of(region).permanent && !status_of(region).created);
    hawser_region_close(region);
    assert_int_equal(hawser_region_remove(REGION, NULL), 0);
    assert_int_equal(hawser_region_remove(REGION, NULL), -ENOENT);
    assert_false(exists("frames"));
}

static void a_removed_one_lives_on(void **state) {
    (void)state;
    hawser_region *old = open_region(REGION, 4096);
    assert_int_equal(hawser_region_remove(REGION, NULL), 0);
    hawser_region *new = open_region(REGION, 4096);
    *(char *)hawser_region_data(old) = 'o';
    assert_int_equal(*(char *)hawser_region_data(new), 0);
    hawser_region_close(old);
    assert_true(exists("frames"));
    hawser_region_close(new);
}

static bool writes(hawser_region *region) {
    int status = 0;
    pid_t child = fork_child();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)hawser_region_data(region) = 'w';
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status == 0;
}

static void who_reads_cannot_write(void **state) {
    (void)state;
    expect_refused("region://frames?access=read", 4096, -ENOENT, "there is no region");
    hawser_region *region = open_region(REGION, 4096), *reader = open_region("region://frames?access=read", 0);
    *(char *)hawser_region_data(region) = 'r';
    assert_int_equal(*(char *)hawser_region_data(reader), 'r');
    assert_false(writes(reader));
    assert_true(writes(region));
    assert_int_equal(hawser_region_lock(reader, HAWSER_SHARED, HAWSER_NOW), 0); /* it has the guard all the same */
    assert_int_equal(hawser_region_unlock(reader), 0);
    assert_int_equal(status_of(reader).writable, 0);
    int ticket;
    assert_int_equal(hawser_region_export(reader, HAWSER_REGION_WRITE, &ticket), -EACCES);
    hawser_region_close(region);
    hawser_region_close(reader);
}

/* What opening gives a process of another user. */
static int open_as_another(hawser_region *inherited, const char *address, bool locks) {
    pid_t child = fork_child();
    int status = 0;
    if (child == 0) {
        hawser_region *region = NULL;
        hawser_region_close(inherited);
        if (setgroups(0, NULL) < 0 || setgid(65533) < 0 || setuid(65533) < 0)
            _exit(100);
        int error = hawser_region_open(address, NULL, 0, &region);
        if (!error && locks)
            error = hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW);
        hawser_region_close(region);
        _exit(-error);
    }
    waitpid(child, &status, 0);
    return -WEXITSTATUS(status);
}

static void others_share_as_they_may(void **state) {
    (void)state;
    char place[160], address[200], reading[220];
    hawser_region *region = NULL;
    if (geteuid() != 0)
        return;
    chmod(root, 0755);
    snprintf(place, sizeof place, "region://%s/shared", root);
    snprintf(address, sizeof address, "%s?users=65533&share=read", place);
    snprintf(reading, sizeof reading, "%s?access=read", place);
    region = open_region(address, 4096);
    assert_int_equal(open_as_another(region, place, false), -EACCES);
    assert_int_equal(open_as_another(region, reading, false), 0);
    assert_int_equal(open_as_another(region, reading, true), -EACCES); /* no guard for who cannot write */
    hawser_region_close(region);
    snprintf(address, sizeof address, "%s?users=65533", place);
    region = open_region(address, 4096);
    assert_int_equal(open_as_another(region, place, true), 0);
    assert_int_equal(open_as_another(region, reading, true), 0);
    hawser_region_close(region);
}

/* Those that may write and those that may only read are one member of the guard, and hold it each for itself. */
static void handles_of_both_kinds_hold_apart(void **state) {
    (void)state;
    hawser_region *region = open_region(REGION, 4096), *reader = open_region("region://frames?access=read", 0);
    assert_int_equal(hawser_region_lock(reader, HAWSER_SHARED, HAWSER_NOW), 0);
    assert_int_equal(hawser_region_unlock(region), -EPERM);
    hawser_region_close(reader);
    assert_int_equal(status_of(region).holders, 0);
    reader = open_region("region://frames?access=read", 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), 0);
    assert_int_equal(hawser_region_unlock(reader), -EPERM);
    hawser_region_close(reader);
    assert_int_equal(status_of(region).holders, 64);
    assert_int_equal(hawser_region_unlock(region), 0);
    hawser_region_close(region);
}

static void a_child_has_a_guard_of_its_own(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096);
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), 0);
    struct holder child = hold_guard(NULL, region, HAWSER_SHARED);
    assert_int_equal(status_of(region).holders, 2);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), -EAGAIN);
    end_holder(&child, false);
    child = hold_guard(NULL, region, HAWSER_EXCLUSIVE);
    assert_memory_equal(hawser_region_data(region), "cccccccc", 8);
    end_holder(&child, true);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, 5000 * MS), HAWSER_OWNER_DIED);
    assert_int_equal(hawser_region_unlock(region), 0);
    hawser_region_close(region);
}

static void closing_gives_the_guard_back(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096), *again = NULL;
    int ticket, status = 0;
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_WRITE, &ticket), 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_region_close(region);
        if (hawser_region_adopt(ticket, NULL, &again) || hawser_region_lock(again, HAWSER_SHARED, HAWSER_NOW))
            _exit(1);
        hawser_region_close(again);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    close(ticket);
    hawser_region_close(region);
}

/* The eight bytes at an offset of the file, while nobody has it open. */
static void write_file(off_t offset, uint64_t value) {
    char path[160];
    snprintf(path, sizeof path, "%s/frames", runtime);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, &value, sizeof value, offset), sizeof value);
    close(fd);
}

static void damaged_ones_are_refused(void **state) {
    (void)state;
    hawser_region_close(open_region("region://frames?permanent=yes&size=4K", 0));
    write_file(40, 4097); /* the first parameter: bytes of data */
    expect_refused(REGION, 0, -EPROTO, "its header tells of 4097 bytes of data");
    expect_refused("region://frames?access=read", 0, -EPROTO, "its header tells of 4097 bytes of data");
    write_file(40, UINT64_MAX);
    expect_refused(REGION, 0, -EPROTO, "the region is damaged");
    write_file(40, 4096);
    write_file(48, 0); /* the second: where they begin */
    expect_refused(REGION, 0, -EPROTO, "the region is damaged");
    write_file(48, 4096);
    expect_refused(REGION, 0, -EPROTO, "the region is damaged");
    write_file(24, 4096); /* the body's size: no room for the guard */
    expect_refused(REGION, 0, -EPROTO, "the region is damaged");
    write_file(24, 0);
    expect_refused(REGION, 0, -EPROTO, "is damaged");
    char path[160];
    snprintf(path, sizeof path, "%s/frames", runtime);
    assert_int_equal(unlink(path), 0);
}

static void closing_is_no_unlocking(void **state) {
    (void)state;
    hawser_region *region = open_region(REGION, 4096);
    int status = 0;
    pid_t child = fork_child();
    if (child == 0) {
        if (hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW))
            _exit(1);
        hawser_region_close(region);
        raise(SIGSTOP); /* it lives, and has nothing any more */
        _exit(0);
    }
    waitpid(child, &status, WUNTRACED);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), HAWSER_OWNER_DIED);
    assert_int_equal(hawser_region_unlock(region), 0);
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    hawser_region_close(region);
}

static void tickets_give_what_they_say(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096);
    int reading, writing, status = 0;
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_READ, &reading), 0);
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_WRITE, &writing), 0);
    pid_t child = fork_child();
    if (child == 0) {
        hawser_region *reader = NULL, *writer = NULL;
        hawser_region_close(region);
        if (hawser_region_adopt(reading, NULL, &reader) || writes(reader) || hawser_region_lock(reader, HAWSER_SHARED, 0) != -EACCES)
            _exit(1);
        if (hawser_region_adopt(writing, NULL, &writer) || !writes(writer) || hawser_region_lock(writer, HAWSER_SHARED, 0))
            _exit(2);
        hawser_region_close(reader);
        hawser_region_close(writer);
        _exit(hawser_region_adopt(0, NULL, &reader) == -EPROTO ? 0 : 3);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(*(char *)hawser_region_data(region), 'w');
    close(reading);
    close(writing);
    hawser_region_close(region);
}

/* Opens every descriptor of memory that this process has once more, to be written; how many that gives. */
static int doors_to_write(void) {
    int doors = 0;
    for (int fd = 3; fd < 64; fd++) {
        char path[32];
        struct stat status;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        bool memory = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 0;
        doors += memory && open(path, O_RDWR | O_CLOEXEC) >= 0;
    }
    return doors;
}

static void a_ticket_to_read_opens_no_door(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096), *reader = NULL;
    int ticket, status = 0;
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_READ, &ticket), 0);
    pid_t child = geteuid() == 0 ? fork_child() : -1;
    if (child == 0) {
        hawser_region_close(region);
        if (setgroups(0, NULL) < 0 || setgid(65533) < 0 || setuid(65533) < 0)
            _exit(100);
        _exit(hawser_region_adopt(ticket, NULL, &reader) ? 101 : doors_to_write());
    }
    if (child > 0)
        waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    close(ticket);
    hawser_region_close(region);
}

static void a_sealed_one_cannot_change(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096), *named = open_region(REGION, 4096), *adopted = NULL;
    int ticket, status = 0;
    char *data = hawser_region_data(region);
    memset(data, 's', 4096);
    assert_int_equal(hawser_region_seal(named), -EOPNOTSUPP);
    struct holder child = hold_guard(NULL, region, HAWSER_SHARED);
    assert_int_equal(hawser_region_seal(region), -EBUSY);
    end_holder(&child, false);
    memset(data, 't', 4096); /* it was not sealed after all */
    assert_int_equal(hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_NOW), 0);
    assert_int_equal(hawser_region_unlock(region), 0);
    assert_int_equal(hawser_region_seal(region), 0);
    assert_int_equal(hawser_region_seal(region), 0);
    assert_ptr_equal(hawser_region_data(region), data);
    assert_true(status_of(region).sealed && !status_of(region).writable);
    assert_false(writes(region));
    assert_int_equal(hawser_region_lock(region, HAWSER_SHARED, HAWSER_NOW), -EACCES);
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_WRITE, &ticket), -EACCES);
    assert_int_equal(hawser_region_export(region, HAWSER_REGION_READ, &ticket), 0);
    pid_t other = fork_child();
    if (other == 0) {
        hawser_region_close(region);
        if (hawser_region_adopt(ticket, NULL, &adopted) || *(char *)hawser_region_data(adopted) != 't')
            _exit(1);
        _exit(status_of(adopted).sealed && !writes(adopted) ? 0 : 2);
    }
    waitpid(other, &status, 0);
    assert_int_equal(status, 0);
    close(ticket);
    hawser_region_close(region);
    hawser_region_close(named);
}

/* Who may only read looks at the generation: what it copied between two looks at the same even one is whole. */
static void generations_keep_readers_right(void **state) {
    (void)state;
    enum { WORDS_WRITTEN = 64 };
    hawser_region *region = open_region("region://", WORDS_WRITTEN * sizeof(uint64_t));
    volatile uint64_t *data = hawser_region_data(region);
    pid_t writer = fork_child();
    if (writer == 0) {
        for (uint64_t n = 1;; n++) {
            if (hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_FOREVER) < 0)
                _exit(1);
            for (unsigned i = 0; i < WORDS_WRITTEN; i++)
                data[i] = n;
            hawser_region_unlock(region);
        }
    }
    unsigned whole = 0, torn = 0;
    for (int64_t end = clock_now() + 300 * MS; clock_now() < end;) {
        uint64_t copy[WORDS_WRITTEN], before = generation(region);
        for (unsigned i = 0; i < WORDS_WRITTEN; i++)
            copy[i] = data[i];
        if ((before & 1) || generation(region) != before)
            continue;
        whole++;
        for (unsigned i = 1; i < WORDS_WRITTEN; i++)
            torn += copy[i] != copy[0];
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    assert_int_equal(torn, 0);
    assert_true(whole > 0);
    hawser_region_close(region);
}

/* Processes and threads, by the guard alone; some are killed. Two words always differ by nothing when somebody has it, unless who
 * had it last died, which is told. */
static void nobody_sees_half(void **state) {
    (void)state;
    hawser_region *region = open_region("region://", 4096);
    uint64_t *pair = hawser_region_data(region), told = 0, rounds = 0;
    for (int64_t end = clock_now() + 400 * MS; clock_now() < end || rounds <= 20; rounds++) {
        uint64_t written = pair[1];
        pid_t child = fork_child();
        if (child == 0)
            for (;;) {
                int got = hawser_region_lock(region, HAWSER_EXCLUSIVE, HAWSER_FOREVER);
                if (got < 0 || (got == 0 && pair[0] != pair[1]))
                    _exit(1);
                pair[0] = pair[1] = pair[0] > pair[1] ? pair[0] : pair[1];
                pair[0]++;
                pair[1]++;
                hawser_region_unlock(region);
            }
        for (uint64_t enough = written + 1 + rounds % 7 * 100; load_relaxed(&pair[1]) < enough;) /* it is at work: somewhere in its loop */
            sys_sched_yield();
        kill(child, SIGKILL);
        int status = 0, got = hawser_region_lock(region, HAWSER_SHARED, 5000 * MS);
        assert_true(got >= 0);
        if (got == 0)
            assert_int_equal(pair[0], pair[1]);
        told += got == HAWSER_OWNER_DIED;
        hawser_region_unlock(region);
        if (got && hawser_region_lock(region, HAWSER_EXCLUSIVE, 5000 * MS) >= 0) {
            pair[0] = pair[1];
            hawser_region_unlock(region);
        }
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
    }
    assert_true(told <= rounds);
    hawser_region_close(region);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_made_shared_and_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_guard_excludes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_is_told_of_a_death, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_permanent_one_remembers_the_death, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_one_lives_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_reads_cannot_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_share_as_they_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(handles_of_both_kinds_hold_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_has_a_guard_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_gives_the_guard_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_ones_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_is_no_unlocking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tickets_give_what_they_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ticket_to_read_opens_no_door, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sealed_one_cannot_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(generations_keep_readers_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_sees_half, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
