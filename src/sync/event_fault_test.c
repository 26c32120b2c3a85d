/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Every system call and allocation behind events and signals fails in turn. Whatever comes of it is an error with a sentence, and never
 * -EINTR, or success; what a raise said is raised arrives where every wait went well; no descriptor stays open, no name is left, and
 * the next use is as if nothing had been. */

#include "base/clock.h"
#include "base/error.h"
#include "base/fault_test.h"
#include "base/memory.h"
#include "base/sys.h"
#include "core/name.h"

#include <errno.h>
#include <hawser/hawser.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static uint32_t calls, failing; /* the number of the call that fails; 0: none */

/* What has no such failure: who closes has closed all the same, and an eventfd that is readable can be read. */
static bool fault_harmless(const char *name) {
    static const char *const names[] = { "close", "munmap", "gettid", "sched_yield", "sched_getaffinity" };
    static const char *const interruptible[] = { "accept4", "connect", "epoll_pwait2", "epoll_wait", "flock", "futex", "openat", "ppoll",
                                                 "preadv2", "read", "recv", "recvmsg", "send", "sendmsg", "sigtimedwait", "write" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    if (failure != -EINTR)
        return strcmp(name, "preadv2") == 0;
    for (size_t i = 0; i < sizeof interruptible / sizeof interruptible[0]; i++)
        if (strcmp(name, interruptible[i]) == 0)
            return false;
    return true;
}

static unsigned descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Holds an answer to the rules; returns it. */
static int judge(int error) {
    if (error == -EINTR || (error < 0 && !hawser_explain()[0]))
        fail_msg("call %u, %s, fails with %d: %d (\"%s\")", failing, failed ? failed : "", failure, error, hawser_explain());
    return error;
}

/* ---- What is done ---- */

static uint64_t raised; /* by calls that said so */

static void raise_it(hawser_event *event, uint64_t value) {
    if (judge(hawser_event_raise(event, value)) == 0)
        raised += value;
}

/* All that waits; -1: a wait failed. */
static int64_t take_all(hawser_event *event) {
    uint64_t value;
    int64_t sum = 0;
    int error;
    while ((error = judge(hawser_event_wait(event, HAWSER_NOW, &value))) == 0)
        sum += (int64_t)value;
    return error == -EAGAIN ? sum : -1;
}

static int use_unnamed(const char *address) {
    hawser_event *event, *raiser;
    int fd, ticket;
    int error = judge(hawser_event_create(address, NULL, &event));
    if (error)
        return error;
    raised = 0;
    raise_it(event, 1);
    error = judge(hawser_event_fd(event, &fd));
    error = error == -EOPNOTSUPP ? 0 : error;
    if (!error && (error = judge(hawser_event_export(event, &ticket))) == 0) {
        error = judge(hawser_event_adopt(ticket, NULL, &raiser));
        if (!error) {
            raise_it(raiser, 2);
            hawser_event_close(raiser);
        }
        close(ticket);
    }
    int64_t got = take_all(event), rest = take_all(event);
    if (got >= 0 && rest >= 0 && got + rest < (int64_t)raised)
        fail_msg("call %u, %s, fails with %d: %lld came, raised was %llu", failing, failed, failure, (long long)got,
                 (unsigned long long)raised);
    hawser_event_close(event);
    return error ? error : got < 0 || rest < 0;
}

static void count(void *context, uint64_t value) {
    (void)context;
    raised -= value;
}

static int use_handler(const char *address) {
    hawser_event *event;
    int error = judge(hawser_event_create(address, NULL, &event));
    if (error)
        return error;
    error = judge(hawser_event_handler(event, count, NULL));
    raised = 0;
    if (!error) {
        error = judge(hawser_event_mask(event));
        raise_it(event, 1);
        raise_it(event, 2);
        if (!error)
            error = judge(hawser_event_unmask(event));
        if (!error)
            error = judge(hawser_event_handler(event, NULL, NULL));
    }
    hawser_event_close(event);
    return error;
}

struct opener {
    const char *address;
    int error;
    uint32_t done;
};

static void *open_and_raise(void *argument) {
    struct opener *opener = argument;
    hawser_event *raiser;
    opener->error = judge(hawser_event_open(opener->address, NULL, 100 * MS, &raiser));
    if (opener->error == 0) {
        opener->error = judge(hawser_event_raise(raiser, 3));
        hawser_event_close(raiser);
    }
    __atomic_store_n(&opener->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int use_named(const char *address) {
    struct opener opener = { .address = address };
    hawser_event *event;
    pthread_t thread;
    uint64_t value, got = 0;
    int error = judge(hawser_event_create(address, NULL, &event)), wrong = 0;
    if (error)
        return error;
    assert_int_equal(pthread_create(&thread, NULL, open_and_raise, &opener), 0);
    for (bool last = false; !last;) {
        last = __atomic_load_n(&opener.done, __ATOMIC_ACQUIRE); /* once more after that */
        while ((error = judge(hawser_event_wait(event, MS, &value))) == 0)
            got += value;
        wrong |= error != -ETIMEDOUT;
    }
    pthread_join(thread, NULL);
    if (!wrong && opener.error == 0 && got != 3)
        fail_msg("call %u, %s, fails with %d: %llu came, not 3", failing, failed ? failed : "", failure, (unsigned long long)got);
    hawser_event_close(event);
    return opener.error ? opener.error : wrong;
}

static int use_signals(const char *unused) {
    (void)unused;
    struct hawser_signal_info info = HAWSER_SIGNAL_INFO_INIT;
    hawser_signal_receiver *receiver;
    hawser_signal_target *target = NULL;
    int signal = SIGRTMIN + 2, fd;
    int error = judge(hawser_signal_open(&signal, 1, NULL, &receiver));
    if (error)
        return error;
    error = judge(hawser_signal_fd(receiver, &fd));
    if (!error)
        error = judge(hawser_signal_target_pid(getpid(), &target));
    if (!error)
        error = judge(hawser_signal_send(target, signal, 1));
    if (!error)
        error = judge(hawser_signal_wait(receiver, MS, &info));
    hawser_signal_target_close(target);
    hawser_signal_close(receiver);
    return error;
}

/* ---- Faults ---- */

typedef int use(const char *address);

static int use_faulty(use *what, const char *address, unsigned nth) {
    fault_begin(nth);
    int error = what(address);
    fault_end();
    return error;
}

static bool name_is_left(void) {
    char path[200];
    struct stat status;
    if (runtime_directory(path, sizeof path - 10) < 0)
        return true;
    strcat(path, "/fault");
    return lstat(path, &status) == 0;
}

static void unblocked(void) {
    sigset_t mine;
    sigemptyset(&mine);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        sigaddset(&mine, signal);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
}

static void fail_each(use *what, const char *address, int with) {
    int64_t nap_ns = NAME_NAP_NS;
    name_nap(&nap_ns, DEADLINE_NEVER); /* the thread's waker is made once, and stays */
    if (real_resize)
        memory_resize_hook = real_resize;
    sys_table = sys_table_real; /* a case before may have failed in the midst of a fault */
    failing = 0;
    failed = NULL;
    assert_int_equal(what(address), 0);
    assert_int_equal(what(address), 0); /* other threads' wakers are pooled */
    unsigned before = descriptors(), n = 1;
    failure = with;
    for (;; n++) {
        error_note(0, "");
        use_faulty(what, address, n);
        if (!failed)
            break;
        if (descriptors() > before)
            fail_msg("%s: call %u, %s, fails with %d: %u descriptors, not %u", address, n, failed, with, descriptors(), before);
        unblocked(); /* where unblocking was what failed */
        failing = 0;
        if (what(address) != 0)
            fail_msg("%s: after call %u, %s, failed with %d: %s", address, n, failed, with, hawser_explain());
        if (name_is_left())
            fail_msg("%s: call %u, %s, fails with %d: a name is left", address, n, failed, with);
    }
    assert_true(n > (with == -EINTR ? 1 : 4));
}

#define SIGNAL "signal=SIGRTMIN+3"

static void unnamed_events(void **state) {
    (void)state;
    static const int errors[] = { -ENOMEM, -EMFILE, -EINTR };
    for (unsigned i = 0; i < 3; i++) {
        fail_each(use_unnamed, "eventfd://", errors[i]);
        fail_each(use_unnamed, "eventfd://?wait=block", errors[i]);
        fail_each(use_unnamed, "futex://", errors[i]);
        fail_each(use_unnamed, "signal://?" SIGNAL, errors[i]);
    }
}

static void named_events(void **state) {
    (void)state;
    static const int errors[] = { -ENOMEM, -EMFILE, -EINTR };
    for (unsigned i = 0; i < 3; i++) {
        fail_each(use_named, "eventfd://fault?wait=block", errors[i]);
        fail_each(use_named, "futex://fault?wait=block", errors[i]);
        fail_each(use_named, "signal://fault?wait=block&" SIGNAL, errors[i]);
    }
}

static void handlers_and_signals(void **state) {
    (void)state;
    static const int errors[] = { -ENOMEM, -EMFILE, -EINTR };
    for (unsigned i = 0; i < 3; i++) {
        fail_each(use_handler, "signal://?" SIGNAL, errors[i]);
        fail_each(use_signals, "", errors[i]);
    }
}

int main(void) {
    alarm(100);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unnamed_events),
        cmocka_unit_test(named_events),
        cmocka_unit_test(handlers_and_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
