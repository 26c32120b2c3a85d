/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Interrupts: the event's signal gets a handler of ours, which runs the program's function in the thread that asked for it. The kernel gives
 * a process's signal to any thread that does not block it; one that is not the handler's passes it on, queued, to that which is.
 *
 * A signal's number leads to its event by `handled`, written by the handler's thread alone (or, at the end, by who closes the event) and
 * read by handlers. All real-time signals are blocked while one runs, so no two nest. Masking is blocking the signal in that thread; in
 * the handler itself the kernel puts back, at its end, the mask from before it: there the mask that will be put back is changed. */

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "sync/event.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

static struct hawser_event *handled[SIGNAL_LAST + 1]; /* atomic, each */

/* Of another thread's: true when it was passed on. */
static bool pass_on(struct hawser_event *event, siginfo_t *information) {
    return sys_rt_tgsigqueueinfo(getpid(), event->handler_tid, event->signal, information) >= 0;
}

static void run(struct hawser_event *event, const siginfo_t *information) {
    uint64_t value = 1; /* kill(2) carries none */
    if (signal_value(information, &value) && value == 0)
        value = 1;
    event->handling = true;
    event->function(event->context, value);
    event->handling = false;
}

/* [handled] */
static void interrupt(int number, siginfo_t *information, void *context) {
    ucontext_t *interrupted = context;
    int saved = errno;
    const char *sentence = error_sentence();
    struct hawser_event *event = load_acquire(&handled[number]); /* pairs with handle and event_handler_end */
    if (event && event->self != process_self())
        event = NULL; /* a forked child has inherited it */
    bool here = event && event->handler_thread == sys_thread_mark();
    if (event && (here || !pass_on(event, information)))
        run(event, information);
    if (here && event->masks > 0)
        sigaddset(&interrupted->uc_sigmask, number);
    error_note(0, sentence);
    errno = saved;
}

/* Until it is there, none of ours runs. */
static int handle(struct hawser_event *event) {
    struct sigaction action = { .sa_sigaction = interrupt, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    sigemptyset(&action.sa_mask);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        sigaddset(&action.sa_mask, signal);
    store_release(&handled[event->signal], event); /* pairs with interrupt */
    int error = sys_sigaction(event->signal, &action, &event->disposition);
    if (error >= 0)
        return 0;
    store_release(&handled[event->signal], NULL); /* pairs with interrupt */
    return error_set(error, "cannot handle a signal: %s", error_text(error));
}

void event_handler_end(struct hawser_event *event) {
    if (!event->function)
        return;
    if (event->handler_thread == sys_thread_mark())
        sys_pthread_sigmask(SIG_BLOCK, &event->set, NULL); /* from here on raises wait */
    sys_sigaction(event->signal, &event->disposition, NULL);
    store_release(&handled[event->signal], NULL); /* pairs with interrupt */
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
    if (event->handling)
        return error_note(-EINVAL, "a handler cannot be changed by itself");
    event_handler_end(event);
    if (!function)
        return 0;
    if (load_relaxed(&handled[event->signal]))
        return error_set(-EBUSY, "signal %d is the handler's of another event", event->signal);
    crowd_own(&event->crowd, event->signalfd, false); /* masked ones would keep who sleeps awake */
    event->function = function;
    event->context = context;
    event->handler_thread = sys_thread_mark();
    event->handler_tid = sys_gettid();
    error = handle(event);
    if (!error) {
        sys_pthread_sigmask(SIG_UNBLOCK, &event->set, NULL);
        return 0;
    }
    event->function = NULL;
    crowd_own(&event->crowd, event->signalfd, true);
    return error;
}

/* In the handler the mask is its own, until its end. */
static int set_mask(struct hawser_event *event, int how) {
    int error = event->handling ? 0 : sys_pthread_sigmask(how, &event->set, NULL);
    return error < 0 ? error_note(error, "cannot change the thread's signal mask") : 0;
}

static int enter_masking(const struct hawser_event *event) {
    int error = enter(event);
    if (!error && !event->function)
        return error_note(-EINVAL, "the event has no handler");
    return error;
}

HAWSER_PUBLIC int hawser_event_mask(hawser_event *event) {
    int error = enter_masking(event);
    if (!error && event->masks == 0)
        error = set_mask(event, SIG_BLOCK);
    if (!error)
        event->masks++;
    return error;
}

HAWSER_PUBLIC int hawser_event_unmask(hawser_event *event) {
    int error = enter_masking(event);
    if (error)
        return error;
    if (event->masks == 0)
        return error_note(-EINVAL, "the event is not masked");
    event->masks--;
    return event->masks == 0 ? set_mask(event, SIG_UNBLOCK) : 0;
}
