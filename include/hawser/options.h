/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#ifndef HAWSER_OPTIONS_H
#define HAWSER_OPTIONS_H

/* Options: what a listener, connection or pair may be told beyond its address. Whatever an option can
 * say the address's query can say too ("shm://quotes?wait=spin&linger=2s"); the query wins. A member
 * left at 0 or NULL means the default. An option of another mechanism is checked but has no effect. */

#include <hawser/base.h>
#include <sys/types.h>

HAWSER_BEGIN

enum hawser_wait {
    HAWSER_WAIT_DEFAULT = 0,
    HAWSER_WAIT_ADAPTIVE = 1, /* the default: spin for about what a wake costs, where that pays, then sleep */
    HAWSER_WAIT_SPIN = 2,     /* never sleep (but with a single CPU allowed, where spinning cannot help) */
    HAWSER_WAIT_BLOCK = 3,    /* sleep at once */
};

enum hawser_threads {
    HAWSER_THREADS_DEFAULT = 0,
    HAWSER_THREADS_TWO = 1,  /* the default: one thread may send while another receives */
    HAWSER_THREADS_MANY = 2, /* any number of threads may do both */
};

enum hawser_wire {
    HAWSER_WIRE_DEFAULT = 0, /* a listener speaks what it hears; a connecting end tries native, then SP */
    HAWSER_WIRE_NATIVE = 1,
    HAWSER_WIRE_SP = 2, /* plain SP PAIR version 0, as nng, nanomsg and mangos speak it */
};

enum hawser_framing {
    HAWSER_FRAMING_DEFAULT = 0, /* messages behind headers */
    HAWSER_FRAMING_LINE = 1,    /* fifo only: a message is a line, its newline not part of it; with one in it: -EINVAL */
    HAWSER_FRAMING_NONE = 2,    /* fifo only: a message is whatever one read returned; an empty one: -EINVAL */
};

enum hawser_switch { HAWSER_SWITCH_DEFAULT = 0, HAWSER_YES = 1, HAWSER_NO = 2 };

struct hawser_peer;

/* Set up by HAWSER_OPTIONS_INIT; read only during the call it is given to (the texts too), but for
 * admit_context, which must live as long as the listener. Query names stand in brackets. */
typedef struct hawser_options {
    size_t struct_size;    /* sizeof(hawser_options); set by HAWSER_OPTIONS_INIT */
    uint64_t max_message;  /* [max_message] largest message in bytes, 1 to 2^56-1; default 64 MiB */
    uint64_t read_ahead;   /* [read_ahead] bytes a waiting sender may read ahead, 4 KiB to 1 GiB; default 1 MiB */
    uint64_t ring;         /* [ring] shm: most bytes of the ring, a power of two, 4 KiB to 1 GiB; default 1 MiB. It begins with 64 KiB, and
                            * has all of it once a reader does not keep up, or with watch=no from the first */
    uint64_t pool;         /* [pool] shm: most bytes of payload in flight outside the ring; default 64 MiB */
    uint64_t buffer;       /* [buffer] pipe, fifo, unix, tcp: bytes of kernel buffer to ask for; default the kernel's, unix 208K */
    uint32_t depth;        /* [depth] mq: packets a queue holds; default 10 */
    uint32_t packet;       /* [packet] mq, sysv: bytes of a packet; default 512 for mq, msgmnb / 8 for sysv */
    int64_t linger_ns;     /* [linger] how long close drains, ns; default 1 s; HAWSER_OPTION_NONE: not at all */
    int64_t hello_ns;      /* [hello_timeout] how long a listener waits for a hello, ns; default 2 s */
    uint32_t wait;         /* [wait=adaptive|spin|block] enum hawser_wait */
    uint32_t threads;      /* [threads=two|many] enum hawser_threads */
    uint32_t wire;         /* [wire=native|sp] enum hawser_wire; unix, tcp */
    uint32_t framing;      /* [framing=line|none] enum hawser_framing; fifo */
    uint32_t watch;        /* [watch=yes|no] enum hawser_switch: no forgoes the spinner's look, once a ms, at the peer */
    uint32_t stable;       /* [stable=yes|no] enum hawser_switch: yes makes every taken message stable; default no */
    /* Over tcp, and the first two and admit over fifo, the kernel cannot tell who is there: all but "any" is -EOPNOTSUPP. */
    const char *users;     /* [users=alice,1001] a listener admits these users too: names or ids; "any" all */
    const char *groups;    /* [groups=video,44] a listener admits members (by primary group) of these too */
    const char *peer;      /* [peer=alice|1001|any] connecting end: whom the listener must run as; default own user or root */
    /* Asked about whom neither the own user nor the lists admit: nonzero admits. Called in a thread that
     * is inside hawser_accept() or hawser_poll() on the listener; must not call hawser on that listener. */
    int (*admit)(void *context, const struct hawser_peer *peer);
    void *admit_context;
    uint64_t reserved[8]; /* 0 */
} hawser_options;

#define HAWSER_OPTIONS_INIT { .struct_size = sizeof(hawser_options) }
#define HAWSER_OPTION_NONE ((int64_t)-1) /* linger_ns: none at all */

HAWSER_END

#endif
