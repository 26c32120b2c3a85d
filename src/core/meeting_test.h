/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* What the tests of the rendezvous and of the listener share: a mechanism that carries no data, a runtime directory of
 * each test's own, and clients, well-behaved and raw. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/channel.h"
#include "core/rendezvous.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct test_link {
    struct link link;
    char met[OFFER_DATA];
    unsigned met_fds, own_notes;
};

/* A client in a thread: what it got, and said. */
struct client {
    pthread_t thread;
    const char *address;
    int64_t timeout;
    int error;
    char sentence[512];
    hawser_channel *channel;
};

extern char runtime[64], path[100]; /* the runtime directory; the name "a" in it */

/* Around each test: nothing may be left over, neither descriptors nor names. */
int set_up(void **state);
int tear_down(void **state);
hawser_listener *listen_at(const char *address);
void client_start(struct client *client, const char *address);
void client_join(struct client *client);
int raw_connect(void);
struct hello hello_made(void);
void raw_hello(int fd, const struct hello *hello, const char *offer);
void accept_none(hawser_listener *listener, int64_t timeout);
hawser_channel *accept_one(hawser_listener *listener);
void *accept_until_interrupted(void *argument);
unsigned descriptors(void);

#define T(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)
