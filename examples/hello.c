#include <hawser/hawser.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    hawser_channel *here, *there;
    hawser_message message;
    if (hawser_pair(argc > 1 ? argv[1] : "shm://", NULL, &here, &there) < 0)
        return fprintf(stderr, "%s\n", hawser_explain()), 1;
    int child = fork() == 0;
    int error = child ? hawser_send(there, "ahoy", 4, HAWSER_FOREVER) : hawser_take(here, HAWSER_FOREVER, &message);
    if (!child && error == 0)
        printf("%.*s\n", (int)message.size, (const char *)message.data);
    hawser_close(there);
    hawser_close(here);
}
