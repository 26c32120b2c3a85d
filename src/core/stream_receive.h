/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* Inside the receiving half of a stream: between stream_receive.c, which reads and looks at frames, and stream_take.c,
 * which gives messages to the program. */

#include "core/stream.h"

struct frame {
    uint8_t kind;
    uint8_t head;  /* bytes before the payload */
    uint64_t size; /* of the payload; with descriptors, of the message */
    uint64_t word; /* how many descriptors */
};

/* The frame `offset` bytes behind the cursor; the size of data is checked against max_message. -EAGAIN, -EPROTO. */
int frame_read(struct stream *stream, size_t offset, struct frame *ret_frame);
/* Checks a frame of the stream's own, and that it is all there: 0, -EAGAIN, -EPROTO. */
int frame_own(struct stream *stream, size_t offset, const struct frame *frame);
/* Notes the acknowledgement in the whole ACK frame there. 0, -EPROTO. */
int frame_ack(struct stream *stream, size_t offset);

void stream_advance(struct stream *stream, size_t bytes); /* the cursor */
void stream_hand(struct stream *stream); /* read-ahead bytes of the handed message to recv's buffer */
/* stream_next() said -ESHUTDOWN; looks whether the peer has closed as well, so that the next send tells. As stream_next(). */
int stream_farewell(struct stream *stream);
void stream_close_seen(struct stream *stream, uint32_t why);
