/* The latest of many readings, in another process: readings that were overtaken are not missed. */
#include <hawser/hawser.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct reading {
    uint64_t number;
    double degrees;
};

#define LAST 100000

static int follow(hawser_cell *cell) {
    struct reading reading = { 0 };
    uint64_t version = 0, seen = 0;
    int r = 0;
    while (r == 0 && reading.number < LAST) {
        r = hawser_cell_wait(cell, version, HAWSER_FOREVER, NULL);
        if (r == 0)
            r = hawser_cell_get(cell, &reading, sizeof reading, NULL, &version);
        seen++;
    }
    printf("saw %llu of %d readings, the last one is %g degrees\n", (unsigned long long)seen, LAST, reading.degrees);
    return r;
}

int main(void) {
    hawser_cell *cell;
    int r = hawser_cell_create("cell://", NULL, sizeof(struct reading), &cell), status = 0;
    if (r < 0)
        return fprintf(stderr, "%s\n", hawser_explain()), 1;
    if (fork() == 0)
        _exit(follow(cell) < 0 || fflush(stdout) != 0);
    for (uint64_t i = 1; i <= LAST && r == 0; i++)
        r = hawser_cell_set(cell, &(struct reading){ i, 20 + (double)i / LAST }, sizeof(struct reading));
    wait(&status);
    hawser_cell_close(cell);
    return r < 0 || status != 0;
}
