/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* UCX over POSIX shared memory alone, active messages, which were as fast here as tag matching at worst and 10% faster
 * at best. Its protocols are its own choice by size (short, copied, rendezvous). What arrives while somebody waits for it goes
 * straight into the waiting buffer; what arrives beside it, by the same look at the memory, is kept until asked for. */

#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#define ID 1
#define ADDRESS_MAX 4096
#define KEPT 256 /* messages; one look brings 16 at most */

struct arrival {
    size_t size;
    void *remote; /* a rendezvous: its data is still to be fetched */
};

struct end {
    int handover[2];
    size_t room; /* bytes for each message kept */
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h endpoint;
    void *wanted; /* where the next message goes; NULL: nobody waits */
    struct arrival got;
    struct arrival kept[KEPT];
    char *copies; /* of the kept ones */
    unsigned head, tail;
    bool overrun;
};

static const char *reason; /* UCX's own words for its last error */

static int failed(ucs_status_t status) {
    reason = ucs_status_string(status);
    return -EIO;
}

static int end_prepare(const struct way_setup *setup, void **ret_state) {
    struct end *end = calloc(1, sizeof *end);
    if (!end)
        return -ENOMEM;
    end->room = setup->size;
    end->copies = malloc(KEPT * (end->room + 1));
    if (!end->copies) {
        free(end);
        return -ENOMEM;
    }
    memcpy(end->handover, setup->handover, sizeof end->handover);
    *ret_state = end;
    return 0;
}

static ucs_status_t on_message(void *state, const void *header, size_t header_size, void *data, size_t size,
                               const ucp_am_recv_param_t *how) {
    struct end *end = state;
    (void)header, (void)header_size;
    bool remote = how->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV;
    unsigned slot = end->head % KEPT;
    if (!end->wanted && (end->head - end->tail == KEPT || size > end->room)) {
        end->overrun = true;
        return UCS_OK;
    }
    if (!remote && size <= end->room)
        memcpy(end->wanted ? end->wanted : end->copies + slot * end->room, data, size);
    if (!end->wanted)
        end->head++;
    *(end->wanted ? &end->got : &end->kept[slot]) = (struct arrival){ .size = size, .remote = remote ? data : NULL };
    end->wanted = NULL;
    return remote ? UCS_INPROGRESS : UCS_OK;
}

static ucs_status_t open_worker(struct end *end) {
    ucp_config_t *config = NULL;
    const ucp_params_t wishes = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM };
    const ucp_worker_params_t how = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SINGLE,
    };
    const ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = ID, .cb = on_message, .arg = end,
    };
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return status;
    status = ucp_config_modify(config, "TLS", "posix,self");
    if (status == UCS_OK)
        status = ucp_init(&wishes, config, &end->context);
    ucp_config_release(config);
    if (status == UCS_OK)
        status = ucp_worker_create(end->context, &how, &end->worker);
    return status == UCS_OK ? ucp_worker_set_am_recv_handler(end->worker, &handler) : status;
}

static int tell_address(struct end *end, int fd) {
    struct {
        size_t length;
        char bytes[ADDRESS_MAX];
    } mine = { 0 };
    ucp_address_t *address = NULL;
    ucs_status_t status = ucp_worker_get_address(end->worker, &address, &mine.length);
    if (status != UCS_OK)
        return failed(status);
    bool fits = mine.length <= sizeof mine.bytes;
    if (fits)
        memcpy(mine.bytes, address, mine.length);
    ucp_worker_release_address(end->worker, address);
    return fits && write(fd, &mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : -EIO;
}

static int end_join(void *state, enum way_side side) {
    struct end *end = state;
    struct {
        size_t length;
        char bytes[ADDRESS_MAX];
    } theirs;
    ucs_status_t status = open_worker(end);
    if (status != UCS_OK)
        return failed(status);
    int r = tell_address(end, end->handover[side]);
    if (r < 0)
        return r;
    if (recv(end->handover[side], &theirs, sizeof theirs, MSG_WAITALL) != (ssize_t)sizeof theirs)
        return -EIO;
    const ucp_ep_params_t to = { .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = (void *)theirs.bytes };
    status = ucp_ep_create(end->worker, &to, &end->endpoint);
    return status == UCS_OK ? 0 : failed(status);
}

static int complete(struct end *end, ucs_status_ptr_t request) {
    ucs_status_t status;
    if (request == NULL)
        return 0;
    if (UCS_PTR_IS_ERR(request))
        return failed(UCS_PTR_STATUS(request));
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
        ucp_worker_progress(end->worker);
    ucp_request_free(request);
    return status == UCS_OK ? 0 : failed(status);
}

static const ucp_request_param_t plain = { .op_attr_mask = 0 };

static int end_send(void *state, const void *data, size_t size) {
    struct end *end = state;
    return complete(end, ucp_am_send_nbx(end->endpoint, ID, NULL, 0, data, size, &plain));
}

static int end_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct end *end = state;
    struct arrival got;
    if (end->head != end->tail) {
        unsigned slot = end->tail++ % KEPT;
        got = end->kept[slot];
        if (!got.remote)
            memcpy(buffer, end->copies + slot * end->room, got.size < capacity ? got.size : capacity);
    } else {
        end->wanted = buffer;
        while (end->wanted)
            ucp_worker_progress(end->worker);
        got = end->got;
    }
    if (end->overrun || got.size > capacity)
        return -EMSGSIZE;
    *ret_size = got.size;
    return got.remote ? complete(end, ucp_am_recv_data_nbx(end->worker, got.remote, buffer, got.size, &plain)) : 0;
}

static uint64_t end_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

static void end_discard(void *state) {
    struct end *end = state;
    free(end->copies);
    free(end);
}

static void end_leave(void *state) {
    struct end *end = state;
    if (end->worker)
        ucp_worker_destroy(end->worker);
    if (end->context)
        ucp_cleanup(end->context);
    end_discard(end);
}

static const char *end_explain(void) { return reason; }

static const struct way ucx = {
    .name = "ucx",
    .can = WAY_CAN_SPIN | WAY_CAN_ROUND_TRIP | WAY_CAN_ONE_WAY,
    .prepare = end_prepare,
    .join = end_join,
    .send = end_send,
    .recv = end_recv,
    .calls = end_calls,
    .leave = end_leave,
    .discard = end_discard,
    .explain = end_explain,
};

__attribute__((visibility("default"))) const struct way *const PEER_WAYS[] = { &ucx, NULL };
