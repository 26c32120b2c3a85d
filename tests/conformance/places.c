/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The table of places. A new mechanism adds its lines here, and a bit to suite.h. */

#include "suite.h"

#define ALL_LADDERS(TITLE, MECHANISM, BASE)                         \
    { TITLE, MECHANISM, PLAIN, BASE, "" },                          \
    { TITLE "?wait=spin", MECHANISM, LADDER, BASE, "wait=spin" },   \
    { TITLE "?wait=block", MECHANISM, LADDER, BASE, "wait=block" }, \
    { TITLE "?threads=many", MECHANISM, MANY, BASE, "threads=many" }

const struct place places[] = {
    ALL_LADDERS("shm", SHM, "shm://n#"),
    { "shm?tight", SHM, TIGHT, "shm://n#", "ring=4K&pool=64K" },
    ALL_LADDERS("pipe", PIPE, "pipe://n#"),
    { "pipe?tight", PIPE, TIGHT, "pipe://n#", "buffer=4K" },
    ALL_LADDERS("fifo", FIFO, "fifo://*/f#"),
    { "fifo?tight", FIFO, TIGHT, "fifo://*/f#", "buffer=4K" },
    ALL_LADDERS("unix", UNIX, "unix://*/u#"),
    { "unix?tight", UNIX, TIGHT, "unix://*/u#", "buffer=4K&read_ahead=4K" },
    { "unix@", UNIX, PLAIN, "unix://@*/a#", "" },
    ALL_LADDERS("tcp", TCP, "tcp://127.0.0.1:0"),
    { "tcp?tight", TCP, TIGHT, "tcp://127.0.0.1:0", "buffer=4K&read_ahead=4K" },
    { "tcp6", TCP, PLAIN, "tcp://[::1]:0", "" },
    ALL_LADDERS("mq", MQ, "mq://n#"),
    { "mq?tight", MQ, TIGHT, "mq://n#", "depth=8&packet=128" },
    ALL_LADDERS("sysv", SYSV, "sysv://n#"),
    { "sysv?tight", SYSV, TIGHT, "sysv://n#", "packet=64" },
    { NULL, 0, 0, NULL, NULL },
};
