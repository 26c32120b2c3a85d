/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* hawser sem --list: first all names, then each is opened: nothing of hawser's may be opened while it lists. */

#include "arguments.h"
#include "sem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDERS_SHOWN 8

struct list {
    char (*addresses)[HAWSER_ADDRESS_MAX];
    size_t n, capacity;
};

static int add(void *context, const struct hawser_name *name) {
    struct list *list = context;
    if (name->kind != HAWSER_NAME_SEMAPHORE || name->members == 0)
        return 0;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity * 2 + 16;
        void *larger = realloc(list->addresses, capacity * sizeof *list->addresses);
        if (!larger)
            return -ENOMEM;
        list->addresses = larger;
        list->capacity = capacity;
    }
    snprintf(list->addresses[list->n++], HAWSER_ADDRESS_MAX, "%s", name->address);
    return 0;
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void print_holders(hawser_semaphore *semaphore) {
    struct hawser_semaphore_holder holders[HOLDERS_SHOWN];
    size_t n;
    if (hawser_semaphore_holders(semaphore, holders, HOLDERS_SHOWN, &n) < 0)
        return;
    for (size_t i = 0; i < n && i < HOLDERS_SHOWN; i++)
        printf(" %d:%u", (int)holders[i].pid, holders[i].permits);
    if (n > HOLDERS_SHOWN)
        printf(" and %zu more", n - HOLDERS_SHOWN);
}

static void print_semaphore(const char *address) {
    struct hawser_semaphore_status status = HAWSER_SEMAPHORE_STATUS_INIT;
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_semaphore *semaphore;
    options.peer = "any"; /* it is only looked at */
    int error = hawser_semaphore_open(address, &options, 0, &semaphore);
    if (error == -ENOENT)
        return; /* it went meanwhile */
    if (error < 0) {
        report_failure("sem", error);
        return;
    }
    if (hawser_semaphore_status(semaphore, &status) == 0) {
        printf("%-32s %8u %8u %8u ", address, status.permits, status.available, status.waiting);
        print_holders(semaphore);
        printf("\n");
    }
    hawser_semaphore_close(semaphore);
}

int sem_list(void) {
    struct list list = { 0 };
    int error = hawser_names_list(NULL, add, &list);
    if (error < 0) {
        free(list.addresses);
        return report_failure("sem", error);
    }
    if (list.n > 0) /* with none there is no array, which qsort() must have */
        qsort(list.addresses, list.n, sizeof *list.addresses, by_text);
    printf("%-32s %8s %8s %8s  %s\n", "SEMAPHORE", "PERMITS", "FREE", "WAITING", "HOLDERS");
    for (size_t i = 0; i < list.n; i++)
        print_semaphore(list.addresses[i]);
    free(list.addresses);
    return EXIT_DONE;
}
