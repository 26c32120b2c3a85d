/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Channels in an epoll loop of one's own: many peers, who close or die when they like. The loop is the same level- and
 * edge-triggered: receive until -EAGAIN, arm, and sleep only when hawser_arm() says 0.
 *
 * usage: epoll level|edge [MECHANISM://] */

#include <errno.h>
#include <hawser/hawser.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEERS 8
#define MESSAGES 500

static unsigned long received;
static unsigned here, closed, died;

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, hawser_explain());
    return 1;
}

/* All that is there. 0: the peer goes on, and the loop may sleep; else why there is no more of it. */
static int serve(hawser_channel *channel) {
    hawser_message message;
    int r;
    do {
        while ((r = hawser_take(channel, HAWSER_NOW, &message)) == 0) {
            received++;
            hawser_release(channel, &message);
        }
        if (r != -EAGAIN)
            return r;
    } while ((r = hawser_arm(channel)) > 0); /* something came meanwhile */
    return r;
}

/* A descriptor that a forked child may hold as well is taken out by hand. */
static void part(int epoll, hawser_channel *channel, int why) {
    int fd;
    if (hawser_fd(channel, &fd) == 0)
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    hawser_close(channel);
    here--;
    closed += why == -ESHUTDOWN;
    died += why == -ECONNRESET;
}

static int welcome(int epoll, uint32_t edge, hawser_channel *channel) {
    struct epoll_event event = { .events = EPOLLIN | edge, .data.ptr = channel };
    int fd;
    if (hawser_fd(channel, &fd) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return failed("welcome");
    here++;
    int r = serve(channel); /* nothing was armed yet */
    if (r < 0)
        part(epoll, channel, r);
    return 0;
}

static int loop(int epoll, hawser_listener *listener, uint32_t edge) {
    struct epoll_event events[16], event = { .events = EPOLLIN, .data.ptr = NULL }; /* the listener's is for level-triggered use */
    int fd, error = 0;
    if (hawser_listener_fd(listener, &fd) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return failed("listener");
    while (error == 0 && closed + died < PEERS) {
        int n = epoll_wait(epoll, events, 16, -1);
        for (int i = 0; i < n && error == 0; i++) {
            hawser_channel *channel = events[i].data.ptr;
            if (channel) {
                int r = serve(channel);
                if (r < 0)
                    part(epoll, channel, r);
            } else if (hawser_accept(listener, HAWSER_NOW, &channel) == 0) {
                error = welcome(epoll, edge, channel);
            }
        }
    }
    return error;
}

/* One of them dies of it, with its messages sent. */
static int peer(const char *address, int number) {
    hawser_channel *channel;
    if (hawser_connect(address, NULL, HAWSER_FOREVER, &channel) < 0)
        return failed("connect");
    for (int i = 0; i < MESSAGES; i++)
        if (hawser_send(channel, &i, sizeof i, HAWSER_FOREVER) < 0)
            return failed("send");
    if (number == 0)
        raise(SIGKILL);
    hawser_close(channel);
    return 0;
}

int main(int argc, char **argv) {
    uint32_t edge = argc > 1 && strcmp(argv[1], "edge") == 0 ? EPOLLET : 0;
    char address[HAWSER_ADDRESS_MAX];
    hawser_listener *listener;
    snprintf(address, sizeof address, "%sepoll-%d", argc > 2 ? argv[2] : "shm://", (int)getpid());
    for (int i = 0; i < PEERS; i++)
        if (fork() == 0)
            return peer(address, i);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || hawser_listen(address, NULL, &listener) < 0)
        return failed("listen");
    int error = loop(epoll, listener, edge);
    hawser_listener_close(listener);
    close(epoll);
    while (wait(NULL) > 0) {
    }
    printf("%lu messages; %u peers closed, %u died\n", received, closed, died);
    return error || received != (unsigned long)PEERS * MESSAGES || closed != PEERS - 1;
}
