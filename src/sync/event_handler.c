/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Interrupts: the event's signal gets a handler of ours, which runs the program's function in the thread that asked for it. The kernel gives
 * a process's signal to any thread that does not block it; one that is not the handler's passes it on, queued, to that which is.
 *
 * A signal's number leads to its handler by `handlers`, written by the handler's thread alone (or, at the end, by who closes the event) and
 * read by all that are interrupted. Only the handler's thread looks into the event: it cannot be closed meanwhile. What a forked child
 * inherits there is its parent's, which `self` tells, and nothing to it.
 *
 * All real-time signals are blocked while a handler runs, so no two nest. Masking is blocking the signal in the handler's thread; in a handler,
 * whosever, the kernel puts back, at its end, the mask from before it: there the mask that will be put back is changed. */

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "sync/event.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

static struct handler {
    struct hawser_event *event; /* atomic; NULL: none */
    const void *thread;
    pid_t tid;
    uint32_t self;
} handlers[SIGNAL_LAST + 1];

static _Thread_local ucontext_t *interrupted; /* what this thread goes back to; NULL: it is in no handler */

/* For another thread. Its place in the queue was freed just now, but others may have taken it: then once more. */
static void pass_on(const struct handler *handler, const struct hawser_event *event, siginfo_t *information) {
    while (load_relaxed(&handler->event) == event &&
           sys_rt_tgsigqueueinfo(getpid(), handler->tid, information->si_signo, information) == -EAGAIN)
        sys_sched_yield();
}

static void run(struct hawser_event *event, const siginfo_t *information, ucontext_t *context) {
    uint64_t value = 1; /* kill(2) carries none */
    if (signal_value(information, &value) && value == 0)
        value = 1;
    interrupted = context;
    event->function(event->context, value);
    interrupted = NULL;
}

/* [handled] */
static void interrupt(int number, siginfo_t *information, void *context) {
    int saved = errno;
    const char *sentence = error_sentence();
    const struct handler *handler = &handlers[number];
    struct hawser_event *event = load_acquire(&handler->event); /* pairs with handle and event_handler_end */
    if (event && handler->self == process_self()) {
        if (handler->thread == sys_thread_mark())
            run(event, information, context);
        else
            pass_on(handler, event, information);
    }
    error_note(0, sentence);
    errno = saved;
}

static bool is_handled(int number) {
    const struct handler *handler = &handlers[number];
    return load_relaxed(&handler->event) && handler->self == process_self();
}

static void real_time(sigset_t *ret_set) {
    sigemptyset(ret_set);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        sigaddset(ret_set, signal);
}

/* Until it is there, none of ours runs. */
static int handle(struct hawser_event *event) {
    struct sigaction action = { .sa_sigaction = interrupt, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    struct handler *handler = &handlers[event->signal];
    real_time(&action.sa_mask);
    store_release(&handler->event, NULL); /* a parent's; pairs with interrupt */
    handler->thread = event->handler_thread;
    handler->tid = sys_gettid();
    handler->self = event->self;
    store_release(&handler->event, event); /* pairs with interrupt */
    int error = sys_sigaction(event->signal, &action, &event->disposition);
    if (error >= 0)
        return 0;
    store_release(&handler->event, NULL); /* pairs with interrupt */
    return error_set(error, "cannot handle a signal: %s", error_text(error));
}

void event_handler_end(struct hawser_event *event) {
    if (!event->function)
        return;
    if (event->handler_thread == sys_thread_mark())
        sys_pthread_sigmask(SIG_BLOCK, &event->set, NULL); /* from here on raises wait */
    sys_sigaction(event->signal, &event->disposition, NULL);
    store_release(&handlers[event->signal].event, NULL); /* pairs with interrupt */
    event->function = NULL;
    event->handler_thread = NULL;
    event->masks = 0;
    crowd_own(&event->crowd, event->signalfd, true); /* waiting sees them again */
}

/* ---- Public ---- */

static int enter(const struct hawser_event *event) {
    if (!event)
        return error_note(-EINVAL, "the event is NULL");
    if (event->variant != &event_signal)
        return error_note(-EOPNOTSUPP, "only an event over signal interrupts: signal://NAME?signal=SIGRTMIN+3");
    if (!event->waiter || event->self != process_self())
        return error_note(-EPERM, "only the process that made the event, before fork, handles it");
    if (event->function && event->handler_thread != sys_thread_mark())
        return error_note(-EPERM, "the event's handler belongs to another thread");
    return 0;
}

HAWSER_PUBLIC int hawser_event_handler(hawser_event *event, hawser_event_function *function, void *context) {
    int error = enter(event);
    if (error)
        return error;
    if (interrupted)
        return error_note(-EINVAL, "a handler cannot be changed in a handler");
    event_handler_end(event);
    if (!function)
        return 0;
    if (is_handled(event->signal))
        return error_set(-EBUSY, "signal %d is the handler's of another event", event->signal);
    crowd_own(&event->crowd, event->signalfd, false); /* masked ones would keep who sleeps awake */
    event->function = function;
    event->context = context;
    event->handler_thread = sys_thread_mark();
    error = handle(event);
    if (!error) {
        sys_pthread_sigmask(SIG_UNBLOCK, &event->set, NULL);
        return 0;
    }
    event->function = NULL;
    crowd_own(&event->crowd, event->signalfd, true);
    return error;
}

/* In a handler the mask is its own, until its end. Out of one, handlers of other events, which may do the same, wait meanwhile. */
static int mask_by(struct hawser_event *event, int by) {
    sigset_t all, own = { 0 }, *mask = interrupted ? &interrupted->uc_sigmask : &own;
    real_time(&all);
    int error = interrupted ? 0 : sys_pthread_sigmask(SIG_BLOCK, &all, &own);
    if (error < 0)
        return error_note(error, "cannot change the thread's signal mask");
    event->masks += by;
    if (event->masks > 0)
        sigaddset(mask, event->signal);
    else
        sigdelset(mask, event->signal);
    error = interrupted ? 0 : sys_pthread_sigmask(SIG_SETMASK, &own, NULL);
    return error < 0 ? error_note(error, "cannot change the thread's signal mask back") : 0;
}

static int enter_masking(const struct hawser_event *event) {
    int error = enter(event);
    if (!error && !event->function)
        return error_note(-EINVAL, "the event has no handler");
    return error;
}

HAWSER_PUBLIC int hawser_event_mask(hawser_event *event) {
    int error = enter_masking(event);
    return error ? error : mask_by(event, 1);
}

HAWSER_PUBLIC int hawser_event_unmask(hawser_event *event) {
    int error = enter_masking(event);
    if (!error && event->masks == 0)
        error = error_note(-EINVAL, "the event is not masked");
    return error ? error : mask_by(event, -1);
}
