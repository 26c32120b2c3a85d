/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Eight processes, of whom at most two work at a time; one dies at work, and the next to come in is told. */

#include <hawser/hawser.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 8
#define PERMITS 2

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, hawser_explain());
    return 1;
}

/* The exit status: 0, or 2: it came after one that died. */
static int work(hawser_semaphore *semaphore, int number) {
    int r = hawser_semaphore_acquire(semaphore, 1, HAWSER_FOREVER);
    if (r < 0)
        return failed("acquire");
    if (number == 0)
        raise(SIGKILL);
    if (hawser_semaphore_release(semaphore, 1) < 0)
        return failed("release");
    return r == HAWSER_OWNER_DIED ? 2 : 0;
}

int main(void) {
    hawser_semaphore *semaphore; /* shared with the children by fork; "sem://NAME" is for processes that start apart */
    int status, died = 0, told = 0;
    if (hawser_semaphore_open("sem://", NULL, PERMITS, &semaphore) < 0)
        return failed("open");
    if (hawser_semaphore_acquire(semaphore, PERMITS - 1, HAWSER_NOW) < 0) /* so that all need the permit of the one that dies */
        return failed("acquire");
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            return work(semaphore, i);
    while (wait(&status) > 0) {
        died += WIFSIGNALED(status);
        told += WIFEXITED(status) && WEXITSTATUS(status) == 2;
    }
    told += hawser_semaphore_acquire(semaphore, 1, HAWSER_NOW) == HAWSER_OWNER_DIED;
    hawser_semaphore_close(semaphore);
    printf("%d died, %d told\n", died, told);
    return died != 1 || told != 1;
}
