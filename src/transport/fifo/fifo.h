/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Inside the fifo mechanism: fifo.c, the two ends; fifo_listen.c, the name.
 *
 * Native framing begins with a hello by the writer: a frame FRAME_HELLO of FIFO_HELLO bytes, written at once, so that it
 * arrives whole (PIPE_BUF): 4 bytes magic "hwff", 2 bytes version and 2 reserved bytes of 0, big-endian, then 8 reserved bytes. */

#include "core/stream.h"

#define FIFO_HELLO 16
#define FIFO_MAGIC 0x68776666u
#define FIFO_VERSION 1

extern const struct transport transport_fifo;

enum framing fifo_framing(const struct options *options);

/* A link over one end: the listening side's reads, the connecting side's writes. Takes fd, also when it fails. */
int fifo_link_new(const struct options *options, enum link_role role, int fd, struct link **ret_link);

/* An absolute path from the address, its directory checked. */
int fifo_path(const struct address *address, char *ret_path, size_t capacity);

int fifo_listen(struct hawser_listener *listener);
int fifo_accept(struct hawser_listener *listener, struct link **ret_link);
void fifo_unlisten(struct hawser_listener *listener);
int fifo_connect(const struct address *address, const struct options *options, int64_t deadline, struct link **ret_link);
