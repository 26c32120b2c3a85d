/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* A user's program, in the C that C++ accepts too: one message through a pair. */

#include <hawser/hawser.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    hawser_options options = HAWSER_OPTIONS_INIT;
    hawser_channel *here, *there;
    char text[8];
    size_t size;
    if (hawser_pair("shm://", &options, &here, &there) < 0 || hawser_send(here, "ahoy", 5, HAWSER_FOREVER) < 0 ||
        hawser_recv(there, text, sizeof text, HAWSER_FOREVER, &size) < 0) {
        fprintf(stderr, "%s\n", hawser_explain());
        return 1;
    }
    here = hawser_close(here);
    there = hawser_close(there);
    return size == 5 && strcmp(text, "ahoy") == 0 ? 0 : 1;
}
