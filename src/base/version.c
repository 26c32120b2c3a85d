/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

#include <hawser/base.h>

#define TEXT_OF(X) #X
#define TEXT(X) TEXT_OF(X)

HAWSER_PUBLIC const char *hawser_version(void) {
    return TEXT(HAWSER_VERSION_MAJOR) "." TEXT(HAWSER_VERSION_MINOR) "." TEXT(HAWSER_VERSION_PATCH);
}
