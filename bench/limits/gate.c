/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The semaphores of POSIX, in shared memory, and of System V, whose permits too come back when their holder dies (SEM_UNDO). */

#include "gate.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>

#define APART 128 /* bytes: two lines, as processors fetch them in pairs */

/* ---- POSIX ---- */

struct posix_gate {
    sem_t semaphore;
} __attribute__((aligned(APART)));

static int posix_prepare(unsigned n, unsigned permits, void **ret_state) {
    struct posix_gate *gates = mmap(NULL, GATES_MOST * sizeof *gates, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (gates == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < n; i++)
        sem_init(&gates[i].semaphore, 1, permits);
    *ret_state = gates;
    return 0;
}

static int posix_acquire(void *state, unsigned which) {
    struct posix_gate *gates = state;
    while (sem_wait(&gates[which].semaphore) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int posix_release(void *state, unsigned which) {
    struct posix_gate *gates = state;
    return sem_post(&gates[which].semaphore) < 0 ? -errno : 0;
}

static uint64_t posix_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

static void posix_discard(void *state) { munmap(state, GATES_MOST * sizeof(struct posix_gate)); }

const struct gate gate_posix = {
    .name = "sem_wait, sem_post",
    .prepare = posix_prepare,
    .acquire = posix_acquire,
    .release = posix_release,
    .calls = posix_calls,
    .discard = posix_discard,
};

/* ---- System V ---- */

struct sysv_gates {
    int id;
    uint64_t calls;
};

static int change(struct sysv_gates *gates, unsigned which, short by) {
    struct sembuf operation = { .sem_num = (unsigned short)which, .sem_op = by, .sem_flg = SEM_UNDO };
    for (;;) {
        gates->calls++;
        if (semop(gates->id, &operation, 1) == 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

static int sysv_prepare(unsigned n, unsigned permits, void **ret_state) {
    struct sysv_gates *gates = calloc(1, sizeof *gates);
    if (!gates)
        return -ENOMEM;
    gates->id = semget(IPC_PRIVATE, (int)n, 0600);
    if (gates->id < 0) {
        int error = -errno;
        free(gates);
        return error;
    }
    *ret_state = gates;
    for (unsigned i = 0; i < n; i++) {
        struct sembuf first = { .sem_num = (unsigned short)i, .sem_op = (short)permits };
        if (semop(gates->id, &first, 1) < 0)
            return -errno;
    }
    return 0;
}

static int sysv_acquire(void *state, unsigned which) { return change(state, which, -1); }

static int sysv_release(void *state, unsigned which) { return change(state, which, 1); }

static uint64_t sysv_calls(void *state) { return ((struct sysv_gates *)state)->calls; }

static void sysv_discard(void *state) {
    struct sysv_gates *gates = state;
    semctl(gates->id, 0, IPC_RMID);
    free(gates);
}

const struct gate gate_sysv = {
    .name = "semop, SEM_UNDO",
    .prepare = sysv_prepare,
    .acquire = sysv_acquire,
    .release = sysv_release,
    .calls = sysv_calls,
    .discard = sysv_discard,
};

/* ---- The relay ---- */

struct relay_line {
    uint64_t value; /* the message */
    uint32_t ready; /* it holds what it has to, to begin with */
} __attribute__((aligned(APART)));

struct relay {
    const struct gate *gate;
    void *gates;
    struct relay_line *lines; /* by the side that writes; shared */
    enum way_side side;
    unsigned gives, takes; /* which gate is released, acquired next */
};

int relay_prepare(const struct gate *gate, void **ret_state) {
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay)
        return -ENOMEM;
    relay->gate = gate;
    relay->lines = mmap(NULL, 2 * sizeof *relay->lines, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = relay->lines == MAP_FAILED ? -ENOMEM : gate->prepare(GATES_MOST, 1, &relay->gates);
    if (r < 0) {
        free(relay);
        return r;
    }
    *ret_state = relay;
    return 0;
}

/* The lead begins with 0 and 2, the other with 1: whom the lead gives 0. */
int relay_join(void *state, enum way_side side) {
    struct relay *relay = state;
    relay->side = side;
    relay->gives = side == WAY_LEAD ? 0 : 1;
    relay->takes = side == WAY_LEAD ? 1 : 0;
    int r = relay->gate->acquire(relay->gates, relay->gives);
    if (r >= 0 && side == WAY_LEAD)
        r = relay->gate->acquire(relay->gates, 2);
    if (r < 0)
        return r;
    way_store(&relay->lines[side].ready, 1);
    while (!way_load(&relay->lines[!side].ready))
        way_pause();
    return 0;
}

static unsigned after(unsigned which) { return (which + GATES_MOST - 1) % GATES_MOST; }

int relay_send(void *state, const void *data, size_t size) {
    struct relay *relay = state;
    if (size != sizeof relay->lines->value)
        return -EMSGSIZE;
    __builtin_memcpy(&relay->lines[relay->side].value, data, size);
    int r = relay->gate->release(relay->gates, relay->gives);
    relay->gives = after(relay->gives);
    return r < 0 ? r : 0;
}

int relay_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct relay *relay = state;
    const uint64_t *value = &relay->lines[!relay->side].value;
    if (capacity < sizeof *value)
        return -EMSGSIZE;
    int r = relay->gate->acquire(relay->gates, relay->takes);
    relay->takes = after(relay->takes);
    __builtin_memcpy(buffer, value, sizeof *value);
    *ret_size = sizeof *value;
    return r < 0 ? r : 0;
}

uint64_t relay_calls(void *state) {
    struct relay *relay = state;
    return relay->gate->calls(relay->gates);
}

void relay_leave(void *state) { (void)state; }

void relay_discard(void *state) {
    struct relay *relay = state;
    relay->gate->discard(relay->gates);
    munmap(relay->lines, 2 * sizeof *relay->lines);
    free(relay);
}

static int posix_relay_prepare(const struct way_setup *setup, void **ret_state) {
    (void)setup;
    return relay_prepare(&gate_posix, ret_state);
}

static int sysv_relay_prepare(const struct way_setup *setup, void **ret_state) {
    (void)setup;
    return relay_prepare(&gate_sysv, ret_state);
}

const struct way relay_posix = RELAY_WAY(posix);
const struct way relay_sysv = RELAY_WAY(sysv);
