/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The table of mechanisms: the one place that names them all. */

#include "core/transport.h"

extern const struct transport transport_fifo;
extern const struct transport transport_mq;
extern const struct transport transport_pipe;
extern const struct transport transport_shm;
extern const struct transport transport_sysv;
extern const struct transport transport_tcp;
extern const struct transport transport_unix;

const struct transport *const transports[] = {
    &transport_fifo, &transport_mq, &transport_pipe, &transport_shm, &transport_sysv, &transport_tcp,
    &transport_unix, NULL,
};
