/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Prints what the mechanism of each address given can do, in the columns of the README's table. */

#include <hawser/hawser.h>
#include <stdio.h>

int main(int argc, char **argv) {
    static const int columns[] = { HAWSER_CAN_TWO_WAY,     HAWSER_CAN_SYNC,        HAWSER_CAN_ZERO_COPY,
                                   HAWSER_CAN_DESCRIPTORS, HAWSER_CAN_CREDENTIALS, HAWSER_CAN_REMOTE };
    for (int i = 1; i < argc; i++) {
        int can = hawser_capabilities(argv[i]);
        if (can < 0)
            return fprintf(stderr, "%s\n", hawser_explain()), 1;
        for (size_t j = 0; j < sizeof columns / sizeof columns[0]; j++)
            printf("%s%s", j > 0 ? "," : "", can & columns[j] ? "yes" : "");
        printf("\n");
    }
    return 0;
}
