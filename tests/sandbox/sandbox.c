/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What a sandboxed process must be allowed to call: after connecting, and with its pools in place, an shm channel with
 * wait=spin&watch=no needs no system call at all, and one that sleeps needs a handful. The sandboxed process answers and floods
 * with every call of the data path; the kernel kills it at any call that is not on its list. That it does is seen, too: by a call
 * of the program's own, and by those of channels that were promised less than they need. */

#include <errno.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (60 * SECOND)
#define LARGEST (1u << 20)
#define FLOOD 20000 /* messages of 64 bytes: more than the ring has room for, the larger one, too */
#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof *(ARRAY))

enum fate {
    LIVES,
    DIES_OF_ITS_OWN, /* it calls something else in the end */
    DIES_OF_OURS,    /* the channel calls what is not on the list, or cannot be */
};

/* What the peer waits for before it goes on. */
enum pace {
    AT_ONCE,
    SLOWLY, /* a spinner looks once a millisecond whether its peer lives */
    ASLEEP,
};

struct sandbox {
    const char *name, *options;
    const long *calls; /* allowed; -1: no more */
    enum pace pace;
    enum fate fate;
};

static const long none[] = { SYS_exit_group, -1 };
static const long few[] = { SYS_exit_group, SYS_futex,    SYS_ppoll,      SYS_read, SYS_write,
                            SYS_sendto,     SYS_recvfrom, SYS_membarrier, -1 };
static const long fewer[] = { SYS_exit_group, SYS_futex, SYS_ppoll, SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, -1 };

static const struct sandbox sandboxes[] = {
    { "spin", "wait=spin&watch=no", none, AT_ONCE, LIVES },
    { "spin, with fences", "wait=spin&watch=no&barrier=fence", none, AT_ONCE, LIVES },
    { "spin is held to it", "wait=spin&watch=no", none, AT_ONCE, DIES_OF_ITS_OWN },
    { "who watches is not", "wait=spin", none, SLOWLY, DIES_OF_OURS },
    { "nor is who sleeps", "wait=block", none, ASLEEP, DIES_OF_OURS },
    { "adaptive", "wait=adaptive", few, ASLEEP, LIVES },
    { "adaptive is held to it", "wait=adaptive", few, ASLEEP, DIES_OF_ITS_OWN },
    { "adaptive, with fences", "wait=adaptive&barrier=fence", fewer, ASLEEP, LIVES },
    { "block", "wait=block", few, ASLEEP, LIVES },
    { "block, with fences", "wait=block&barrier=fence", fewer, ASLEEP, LIVES },
    { "block without fences makes barriers", "wait=block", fewer, ASLEEP, DIES_OF_OURS },
};

static const size_t sizes[] = { 0, 8, 1000, 20000, LARGEST };

enum way { BY_COPY, IN_PLACE, MANY, SYNC, WAYS };

static uint8_t buffer[LARGEST];

static void check(int line, const char *what, long got, long wanted) {
    if (got == wanted)
        return;
    fprintf(stderr, "line %d, process %d: %s gave %ld, expected %ld: %s\n", line, (int)getpid(), what, got, wanted, hawser_explain());
    exit(1);
}

#define EXPECT(CALL, WANTED) check(__LINE__, #CALL, (long)(CALL), (long)(WANTED))

/* ---- The filter: include/uapi/linux/filter.h and seccomp.h ---- */

struct instruction {
    uint16_t code;
    uint8_t if_true, if_false;
    uint32_t k;
};

struct program {
    unsigned short length;
    struct instruction *instructions;
};

#define LOAD_NUMBER { 0x20, 0, 0, 0 }               /* BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr */
#define NEXT_BUT_FOR(NUMBER) { 0x15, 0, 1, NUMBER } /* BPF_JMP | BPF_JEQ | BPF_K */
#define ALLOW { 0x06, 0, 0, 0x7fff0000u }           /* BPF_RET | BPF_K: SECCOMP_RET_ALLOW */
#define KILL { 0x06, 0, 0, 0x80000000u }            /* SECCOMP_RET_KILL_PROCESS */
#define CALLS_MOST 16
#define SECCOMP_MODE 2                              /* SECCOMP_MODE_FILTER */

static void enter(const struct sandbox *sandbox) {
    struct instruction instructions[2 * CALLS_MOST + 2] = { LOAD_NUMBER };
    unsigned short n = 1;
    for (size_t i = 0; sandbox->calls[i] >= 0; i++) {
        instructions[n++] = (struct instruction)NEXT_BUT_FOR((uint32_t)sandbox->calls[i]);
        instructions[n++] = (struct instruction)ALLOW;
    }
    instructions[n++] = (struct instruction)KILL;
    struct program program = { n, instructions };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE, &program) < 0)
        syscall(SYS_exit_group, 77);
}

/* ---- The work: done once before the sandbox, which puts the pools in place, and once inside ---- */

static void echo_in_place(hawser_channel *channel) {
    hawser_message message;
    void *loan, *unwanted;
    EXPECT(hawser_take(channel, PATIENCE, &message), 0);
    EXPECT(hawser_loan(channel, 100, PATIENCE, &unwanted), 0);
    EXPECT(hawser_loan(channel, message.size, PATIENCE, &loan), 0);
    memcpy(loan, message.data, message.size);
    EXPECT(hawser_discard(channel, unwanted), 0);
    EXPECT(hawser_commit(channel, loan, message.size), 0);
    EXPECT(hawser_release(channel, &message), 0);
}

static void echo_many(hawser_channel *channel) {
    hawser_message messages[2];
    size_t taken, sent;
    EXPECT(hawser_take_many(channel, messages, COUNT(messages), PATIENCE, &taken), 0);
    EXPECT(hawser_send_many(channel, messages, taken, PATIENCE, &sent), 0);
    EXPECT(sent, taken);
    for (size_t i = 0; i < taken; i++)
        EXPECT(hawser_release(channel, &messages[i]), 0);
}

static void echo_copy(hawser_channel *channel, bool sync) {
    size_t size;
    EXPECT(hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size), 0);
    if (sync)
        EXPECT(hawser_send_sync(channel, buffer, size, PATIENCE), 0);
    else
        EXPECT(hawser_send(channel, buffer, size, PATIENCE), 0);
}

static void echo(hawser_channel *channel) {
    for (size_t i = 0; i < WAYS * COUNT(sizes); i++) {
        enum way way = (enum way)(i % WAYS);
        if (way == IN_PLACE)
            echo_in_place(channel);
        else if (way == MANY)
            echo_many(channel);
        else
            echo_copy(channel, way == SYNC);
    }
    for (uint64_t i = 0; i < FLOOD; i++) {
        memcpy(buffer, &i, sizeof i);
        EXPECT(hawser_send(channel, buffer, 64, PATIENCE), 0);
    }
    EXPECT(hawser_flush(channel, PATIENCE), 0);
}

static void sandboxed(const struct sandbox *sandbox, const char *address) {
    hawser_channel *channel;
    EXPECT(hawser_connect(address, NULL, PATIENCE, &channel), 0);
    echo(channel);
    enter(sandbox);
    echo(channel);
    if (sandbox->fate == DIES_OF_ITS_OWN)
        syscall(SYS_getppid);
    syscall(SYS_exit_group, 0);
}

/* Asleep in the kernel, or gone. */
static void await_pace(pid_t pid, enum pace pace) {
    char path[64], line[512];
    if (pace == SLOWLY) /* waits for nothing: so long that whoever spins looks at its peer, once a millisecond, if it does */
        nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
    if (pace != ASLEEP)
        return;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    for (;;) {
        FILE *file = fopen(path, "r");
        const char *end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        if (file)
            fclose(file);
        if (!end || end[2] == 'S' || end[2] == 'Z' || end[2] == 'X')
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL); /* no event tells that a process has fallen asleep */
    }
}

/* Sends, and waits for the answer. False: the other end is gone. */
static bool ask(hawser_channel *channel, size_t wanted, int fill) {
    size_t size;
    memset(buffer, fill, wanted);
    if (hawser_send(channel, buffer, wanted, PATIENCE) != 0 || hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size) != 0)
        return false;
    EXPECT(size, wanted);
    for (size_t at = 0; at < size; at++)
        if (buffer[at] != (uint8_t)fill)
            EXPECT(buffer[at], fill);
    return true;
}

static bool drive(hawser_channel *channel, const struct sandbox *sandbox, pid_t pid) {
    size_t size;
    for (size_t i = 0; i < WAYS * COUNT(sizes); i++) {
        await_pace(pid, sandbox->pace);
        if (!ask(channel, sizes[i / WAYS], (int)i))
            return false;
    }
    await_pace(pid, sandbox->pace); /* for room: before the sandbox, its ring has grown by then */
    for (uint64_t i = 0; i < FLOOD; i++) {
        if (hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size) != 0)
            return false;
        EXPECT(memcmp(buffer, &i, sizeof i), 0);
    }
    return true;
}

static bool has_barriers(void) { return syscall(SYS_membarrier, 0, 0, 0) > 0; } /* MEMBARRIER_CMD_QUERY */

/* 0 passed, 1 failed, 77: no seccomp here. */
static int run(const struct sandbox *sandbox) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener;
    hawser_channel *channel;
    int status;
    snprintf(address, sizeof address, "shm://sandbox-%d?pool=8M&%s", (int)getpid(), sandbox->options);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        sandboxed(sandbox, address);
    EXPECT(hawser_accept(listener, PATIENCE, &channel), 0);
    EXPECT(drive(channel, sandbox, pid), true);
    bool through = drive(channel, sandbox, pid);
    waitpid(pid, &status, 0);
    hawser_close(channel);
    hawser_listener_close(listener);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return 77;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    if (sandbox->fate == LIVES)
        return !(through && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return !(killed && (through || sandbox->fate == DIES_OF_OURS));
}

int main(void) {
    int failed = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("not under this sanitizer: it makes system calls of its own\n");
    return 77;
#endif
    EXPECT(setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 }), 0); /* deaths that are wanted */
    for (size_t i = 0; i < COUNT(sandboxes); i++) {
        if (sandboxes[i].fate == DIES_OF_OURS && sandboxes[i].calls == fewer && !has_barriers())
            continue;
        int r = run(&sandboxes[i]);
        if (r == 77) {
            printf("the kernel has no seccomp filters\n");
            return 77;
        }
        printf("%s sandbox: %s\n", r ? "not ok" : "ok", sandboxes[i].name);
        failed += r;
    }
    return failed > 0;
}
