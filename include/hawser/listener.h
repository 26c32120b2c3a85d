/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_LISTENER_H
#define HAWSER_LISTENER_H

/* A listener owns a name and welcomes those who connect to it, if its policy admits them: its own user,
 * else the options' users and groups, else the admit callback. No peer can stall or stop it: hellos
 * proceed side by side, limited in number per user and in time.
 *
 * Threads: any number may accept. After fork a listener belongs to the process that made it: another's
 * hawser_accept() gets -EPERM, its hawser_listener_close() only closes descriptors. */

#include <hawser/channel.h>

HAWSER_BEGIN

typedef struct hawser_listener hawser_listener;

/* Takes the name in address. Errors: -EINVAL (the sentence points at the character), -EADDRINUSE (a live
 * listener has it), -EACCES (the directory is another user's or writable by others), -EOPNOTSUPP, -ENAMETOOLONG,
 * -EMFILE, -ENFILE, -ENOMEM, -ENOSPC, and what the system calls of the mechanism say. Any thread. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_listen(const char *address, const hawser_options *options,
                                                  hawser_listener **ret_listener);

/* Waits for one that connects. Who is refused, silent or talks garbage is dropped without a return.
 * Errors: -ETIMEDOUT, -EAGAIN (HAWSER_NOW), -ECANCELED, -EPERM, -EMFILE, -ENFILE, -ENOMEM (this link was dropped). */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_accept(hawser_listener *listener, int64_t timeout, hawser_channel **ret_channel);

/* The address others connect to, with what the kernel chose filled in ("tcp://127.0.0.1:40213"). The text
 * lives until hawser_listener_close(). Never fails; NULL only for NULL. */
HAWSER_PUBLIC const char *hawser_listener_address(const hawser_listener *listener);

/* A descriptor for epoll: readable (level-triggered) when hawser_accept() with HAWSER_NOW is worth a try.
 * The listener's own; valid until it is closed. */
HAWSER_PUBLIC HAWSER_MUST_CHECK int hawser_listener_fd(hawser_listener *listener, int *ret_fd);

/* As hawser_interrupt(), for hawser_accept(). Async-signal-safe; any thread; NULL does nothing. */
HAWSER_PUBLIC void hawser_listener_interrupt(hawser_listener *listener);

/* Gives the name back (only its own: a successor's stays) and drops unfinished hellos. Channels
 * accepted live on. Takes NULL; returns NULL. */
HAWSER_PUBLIC hawser_listener *hawser_listener_close(hawser_listener *listener);

HAWSER_END

#endif
