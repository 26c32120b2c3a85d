/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* What a sandboxed process must be allowed to call: after connecting, and with its pools in place, an shm channel with
 * wait=spin&watch=no needs no system call at all, and one that sleeps needs a handful. The sandboxed process echoes, and floods,
 * with every call of the data path; the kernel kills it at any call that is not on its list. */

#include <errno.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define PATIENCE (60 * SECOND)
#define LARGEST (1u << 20)
#define FLOOD 5000 /* messages of 64 bytes: several times the ring */
#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof *(ARRAY))

struct sandbox {
    const char *name, *options;
    long calls[16]; /* allowed; -1: no more */
    bool sleeps;    /* the peer waits until it is asleep before it goes on */
    bool misbehaves; /* calls something else: it must not survive */
};

static const struct sandbox sandboxes[] = {
    { "spin", "wait=spin&watch=no", { SYS_exit_group, -1 }, false, false },
    { "spin is held to it", "wait=spin&watch=no", { SYS_exit_group, -1 }, false, true },
    { "adaptive", "wait=adaptive",
      { SYS_exit_group, SYS_futex, SYS_ppoll, SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, SYS_membarrier, -1 }, true, false },
    { "adaptive, with fences", "wait=adaptive&barrier=fence",
      { SYS_exit_group, SYS_futex, SYS_ppoll, SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, -1 }, true, false },
    { "block", "wait=block",
      { SYS_exit_group, SYS_futex, SYS_ppoll, SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, SYS_membarrier, -1 }, true, false },
};

static const size_t sizes[] = { 0, 8, 1000, 20000, LARGEST };

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
#define SECCOMP_MODE 2                              /* SECCOMP_MODE_FILTER */

static void enter(const struct sandbox *sandbox) {
    struct instruction instructions[2 * COUNT(sandbox->calls) + 2] = { LOAD_NUMBER };
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

static void echo(hawser_channel *channel) {
    for (size_t i = 0; i < 4 * COUNT(sizes); i++) {
        hawser_message message;
        size_t size;
        void *loan;
        if (i % 2) {
            EXPECT(hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size), 0);
            EXPECT(hawser_send(channel, buffer, size, PATIENCE), 0);
            continue;
        }
        EXPECT(hawser_take(channel, PATIENCE, &message), 0);
        EXPECT(hawser_loan(channel, message.size, PATIENCE, &loan), 0);
        memcpy(loan, message.data, message.size);
        EXPECT(hawser_commit(channel, loan, message.size), 0);
        EXPECT(hawser_release(channel, &message), 0);
    }
    for (uint64_t i = 0; i < FLOOD; i++) {
        memcpy(buffer, &i, sizeof i);
        EXPECT(hawser_send(channel, buffer, 64, PATIENCE), 0);
    }
}

static void sandboxed(const struct sandbox *sandbox, const char *address) {
    hawser_channel *channel;
    EXPECT(hawser_connect(address, NULL, PATIENCE, &channel), 0);
    echo(channel);
    enter(sandbox);
    echo(channel);
    if (sandbox->misbehaves)
        syscall(SYS_getppid);
    syscall(SYS_exit_group, 0);
}

/* Asleep in the kernel, or gone. */
static void await_sleep(pid_t pid) {
    char path[64], line[512];
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

static void drive(hawser_channel *channel, const struct sandbox *sandbox, pid_t pid) {
    size_t size;
    for (size_t i = 0; i < 4 * COUNT(sizes); i++) {
        size_t wanted = sizes[i / 4];
        memset(buffer, (int)i, wanted);
        if (sandbox->sleeps)
            await_sleep(pid);
        EXPECT(hawser_send(channel, buffer, wanted, PATIENCE), 0);
        EXPECT(hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size), 0);
        EXPECT(size, wanted);
        for (size_t at = 0; at < size; at++)
            if (buffer[at] != (uint8_t)i)
                EXPECT(buffer[at], i);
    }
    if (sandbox->sleeps)
        await_sleep(pid); /* for room */
    for (uint64_t i = 0; i < FLOOD; i++) {
        EXPECT(hawser_recv(channel, buffer, sizeof buffer, PATIENCE, &size), 0);
        EXPECT(memcmp(buffer, &i, sizeof i), 0);
    }
}

/* 0 passed, 1 failed, 77: no seccomp here. */
static int run(const struct sandbox *sandbox) {
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener;
    hawser_channel *channel;
    int status;
    snprintf(address, sizeof address, "shm://sandbox-%d?pool=8M&%s", (int)getpid(), sandbox->options);
    EXPECT(hawser_listen(address, NULL, &listener), 0);
    pid_t pid = fork();
    if (pid == 0)
        sandboxed(sandbox, address);
    EXPECT(hawser_accept(listener, PATIENCE, &channel), 0);
    drive(channel, sandbox, pid);
    drive(channel, sandbox, pid);
    waitpid(pid, &status, 0);
    hawser_close(channel);
    hawser_listener_close(listener);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return 77;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    return sandbox->misbehaves ? !killed : !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    int failed = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("not under this sanitizer: it makes system calls of its own\n");
    return 77;
#endif
    for (size_t i = 0; i < COUNT(sandboxes); i++) {
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
