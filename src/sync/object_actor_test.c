/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include "sync/object_test.h"

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

char root[64], runtime[80];

int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/hawser-object-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(runtime, sizeof runtime, "%s/run", root);
    setenv("HAWSER_RUNTIME_DIR", runtime, 1);
    return 0;
}

int tear_down(void **state) {
    (void)state;
    rmdir(runtime);
    return rmdir(root);
}

struct words *words_of(const struct object *object) { return object->body; }

static int born(struct object *object, const struct object_request *request) {
    words_of(object)->value = (uint32_t)request->parameters[0];
    return 0;
}

static int checked(struct object *object, const struct object_request *request) {
    return request->size && request->parameters[0] != object->parameters[0] ? -EDOM : 0;
}

static void reclaimed(struct object *object, uint32_t slot) {
    struct words *words = words_of(object);
    if (object->access != OBJECT_WRITE)
        return;
    for (unsigned i = 0; i < WORDS; i++)
        if (words->holder[i] == slot || (slot == OBJECT_EVERY && words->holder[i])) {
            words->holder[i] = 0;
            words->reclaimed++;
        }
}

static void left(struct object *object) {
    struct words *words = words_of(object);
    for (unsigned i = 0; i < WORDS && object->access == OBJECT_WRITE; i++)
        if (words->holder[i] == object->slot)
            words->holder[i] = 0;
}

static void forked(struct object *object) { *(uint32_t *)object->state = 42; }

const struct object_kind test_kind = { .tag = OBJECT_SEMAPHORE, .version = 1, .scheme = "sem", .what = "a semaphore",
                                       .state_size = 8, .birth = born, .check = checked, .reclaim = reclaimed, .leave = left,
                                       .forked = forked };
const struct object_kind other_kind = { .tag = OBJECT_REGION, .version = 3, .scheme = "sem", .what = "a region" };

int open_as(const char *text, enum object_access access, uint64_t size, struct object **ret_object) {
    static const char *const schemes[] = { "sem", NULL };
    struct address address;
    struct options options;
    unsigned scheme;
    int error = address_parse_as(text, schemes, &address, &scheme);
    if (!error)
        error = options_resolve(NULL, &address, &options);
    if (error)
        return error;
    struct object_request request = { .kind = &test_kind, .address = &address, .options = &options, .access = access,
                                      .size = size, .parameters = { 5 } };
    return object_open(&request, ret_object);
}

struct object *open_new(const char *text) {
    struct object *object = NULL;
    int error = open_as(text, OBJECT_WRITE, sizeof(struct words), &object);
    if (error)
        fprintf(stderr, "open %s: %d, %s\n", text, error, hawser_explain());
    assert_int_equal(error, 0);
    return object;
}

void hold(struct object *object, unsigned word) { words_of(object)->holder[word] = object->slot; }

bool exists(const char *name) {
    char path[160];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", runtime, name);
    return lstat(name[0] == '/' ? name : path, &status) == 0;
}

/* ---- Actors ---- */

static int inode_of(const struct object *object) { return (int)(object->file->inode & 0x7fffffff); }

static int obey(char command, struct object **object, int ticket) {
    int error = 0;
    switch (command) {
    case 'o':
        return open_as(NAME, OBJECT_WRITE, sizeof(struct words), object);
    case 'f':
        return open_as(NAME, OBJECT_WRITE, 0, object);
    case 'r':
        return open_as(NAME, OBJECT_READ, 0, object);
    case 'h':
        hold(*object, 0);
        return 0;
    case 'c':
        *object = object_close(*object);
        return 0;
    case 'u':
        return object_unlink(*object);
    case 'e':
        return object_enter(*object);
    case 'm':
        return (int)object_members(*object, 100);
    case 'i':
        return inode_of(*object);
    case 'v':
        return (int)words_of(*object)->value;
    case 'V':
        words_of(*object)->value = 7;
        return 0;
    case 'a':
        return object_adopt(ticket, &test_kind, OBJECT_WRITE, object);
    default:
        return error;
    }
}

struct actor act(struct object *inherited, int ticket) {
    int pair[2];
    char command;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct actor actor = { fork_child(), pair[0] };
    assert_true(actor.pid >= 0);
    if (actor.pid == 0) {
        close(pair[0]);
        while (read(pair[1], &command, 1) == 1 && command != 'q') {
            int said = obey(command, &inherited, ticket);
            if (write(pair[1], &said, sizeof said) != sizeof said)
                break;
        }
        _exit(0);
    }
    close(pair[1]);
    return actor;
}

void tell(const struct actor *actor, char command) { assert_int_equal(write(actor->socket, &command, 1), 1); }

int answer(const struct actor *actor) {
    int said = -1;
    assert_int_equal(read(actor->socket, &said, sizeof said), sizeof said);
    return said;
}

int order(const struct actor *actor, char command) {
    tell(actor, command);
    return answer(actor);
}

void finish(struct actor *actor) {
    int status = -1;
    tell(actor, 'q'); /* closing would not do: later actors have a copy */
    close(actor->socket);
    assert_int_equal(waitpid(actor->pid, &status, 0), actor->pid);
    assert_int_equal(status, 0);
}

void slay(struct actor *actor) {
    kill(actor->pid, SIGKILL);
    waitpid(actor->pid, NULL, 0);
    close(actor->socket);
}
