/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* UCX over POSIX shared memory alone, tag matching, straight from and into the caller's buffer. Its protocols are its
 * own choice by size (short, copied, rendezvous). */

#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#define TAG 1
#define ADDRESS_MAX 4096

struct end {
    int handover[2];
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h endpoint;
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
    memcpy(end->handover, setup->handover, sizeof end->handover);
    *ret_state = end;
    return 0;
}

static ucs_status_t open_worker(struct end *end) {
    ucp_config_t *config = NULL;
    const ucp_params_t wishes = { .field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG };
    const ucp_worker_params_t how = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SINGLE,
    };
    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return status;
    status = ucp_config_modify(config, "TLS", "posix,self");
    if (status == UCS_OK)
        status = ucp_init(&wishes, config, &end->context);
    ucp_config_release(config);
    return status == UCS_OK ? ucp_worker_create(end->context, &how, &end->worker) : status;
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

static int end_send(void *state, const void *data, size_t size) {
    struct end *end = state;
    const ucp_request_param_t none = { .op_attr_mask = 0 };
    ucs_status_ptr_t request = ucp_tag_send_nbx(end->endpoint, data, size, TAG, &none);
    if (request == NULL)
        return 0;
    if (UCS_PTR_IS_ERR(request))
        return failed(UCS_PTR_STATUS(request));
    ucs_status_t status;
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
        ucp_worker_progress(end->worker);
    ucp_request_free(request);
    return status == UCS_OK ? 0 : failed(status);
}

static int end_recv(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    struct end *end = state;
    ucp_tag_recv_info_t info = { 0 };
    const ucp_request_param_t at_once = { .op_attr_mask = UCP_OP_ATTR_FIELD_RECV_INFO | UCP_OP_ATTR_FLAG_NO_IMM_CMPL, .recv_info.tag_info = &info };
    ucs_status_ptr_t request = ucp_tag_recv_nbx(end->worker, buffer, capacity, TAG, (ucp_tag_t)-1, &at_once);
    if (UCS_PTR_IS_ERR(request))
        return failed(UCS_PTR_STATUS(request));
    ucs_status_t status = UCS_OK;
    if (request) {
        while ((status = ucp_tag_recv_request_test(request, &info)) == UCS_INPROGRESS)
            ucp_worker_progress(end->worker);
        ucp_request_free(request);
    }
    if (status != UCS_OK)
        return failed(status);
    *ret_size = info.length;
    return 0;
}

static uint64_t end_calls(void *state) {
    (void)state;
    return WAY_CALLS_UNKNOWN;
}

static void end_leave(void *state) {
    struct end *end = state;
    if (end->worker)
        ucp_worker_destroy(end->worker);
    if (end->context)
        ucp_cleanup(end->context);
    free(end);
}

static void end_discard(void *state) { free(state); }

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
