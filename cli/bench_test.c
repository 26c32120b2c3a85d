/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* The bench itself: its numbers, its JSON, and that a way which loses, alters, doubles, dies or hangs is found out. */

#include "bench_loop.h"
#include "bench_numbers.h"
#include "peers.h"
#include "stream.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BREAK_AT 6 /* the message that a broken way spoils: before the least that a sample sends */
#define SIZE 64

static struct session session;

static int open_session(void **state) {
    (void)state;
    return session_open(&session, false);
}

static int close_session(void **state) {
    (void)state;
    session_close(&session);
    return access(session.directory, F_OK) == 0; /* nothing is left */
}

static void test_quantiles(void **state) {
    (void)state;
    struct histogram *histogram = calloc(1, sizeof *histogram);
    assert_non_null(histogram);
    assert_true(isnan(histogram_quantile(histogram, 0.5)));
    for (int64_t ns = 1; ns <= 1000; ns++)
        histogram_add(histogram, ns);
    assert_true(histogram_quantile(histogram, 0.5) == 500);
    assert_true(histogram_quantile(histogram, 0.99) == 990);
    assert_true(histogram_quantile(histogram, 0.999) == 999);
    assert_true(histogram_quantile(histogram, 1) == 1000);
    histogram_add(histogram, -5); /* a clock's cost can exceed what it timed */
    assert_true(histogram_quantile(histogram, 0) == 0);
    free(histogram);
}

static void test_large_durations(void **state) {
    (void)state;
    for (double ns = 1024; ns < 1e12; ns *= 1.37) {
        struct histogram *histogram = calloc(1, sizeof *histogram);
        histogram_add(histogram, (int64_t)ns);
        double found = histogram_quantile(histogram, 0.5);
        assert_true(fabs(found - ns) / ns < 1.0 / 512);
        free(histogram);
    }
    struct histogram *histogram = calloc(1, sizeof *histogram);
    histogram_add(histogram, INT64_MAX); /* lands in the last bucket, not behind it */
    assert_true(histogram_quantile(histogram, 0.5) > 1e12);
    free(histogram);
}

static void test_median(void **state) {
    (void)state;
    assert_true(median((double[]){ 3, 1, 2 }, 3) == 2);
    assert_true(median((double[]){ 4, 1, 2, 3 }, 4) == 2.5);
    assert_true(isnan(median((double[]){ 1, NAN, 2 }, 3)));
    assert_true(isnan(median(NULL, 0)));
}

static void expect_size(const char *text, int wanted, size_t value_or_offset) {
    size_t size = 77, offset = 77;
    assert_int_equal(size_parse(text, strlen(text), &size, &offset), wanted);
    assert_int_equal(wanted == 0 ? size : offset, value_or_offset);
    assert_int_equal(wanted == 0 ? offset : size, 77); /* untouched */
}

static void test_sizes(void **state) {
    (void)state;
    expect_size("0", 0, 0);
    expect_size("8", 0, 8);
    expect_size("64K", 0, 65536);
    expect_size("1M", 0, 1048576);
    expect_size("2G", 0, (size_t)2 << 30);
    expect_size("", -EINVAL, 0);
    expect_size("K", -EINVAL, 0);
    expect_size("8x", -EINVAL, 1);
    expect_size("-8", -EINVAL, 0);
    expect_size("64Kb", -EINVAL, 3);
    expect_size("99999999999999999999", -EINVAL, 19);
    expect_size("18446744073709551615", -EINVAL, 20);
}

static void expect_time(const char *text, int wanted, int64_t ns, size_t at) {
    int64_t value = 77;
    size_t offset = 77;
    assert_int_equal(time_parse(text, &value, &offset), wanted);
    assert_int_equal(value, wanted == 0 ? ns : 77);
    assert_int_equal(offset, wanted == 0 ? 77 : at);
}

static void test_times(void **state) {
    (void)state;
    expect_time("1s", 0, 1000000000, 0);
    expect_time("1.5ms", 0, 1500000, 0);
    expect_time("20us", 0, 20000, 0);
    expect_time("7ns", 0, 7, 0);
    expect_time("7", -EINVAL, 0, 1);
    expect_time("", -EINVAL, 0, 0);
    expect_time("nans", -EINVAL, 0, 0);
    expect_time("-1s", -EINVAL, 0, 0);
    expect_time("0s", -EINVAL, 0, 1);
    expect_time("10min", -EINVAL, 0, 2);
}

static void test_texts(void **state) {
    (void)state;
    char text[NUMBER_TEXT];
    assert_string_equal(size_text(1000, text), "1000 B");
    assert_string_equal(size_text(65536, text), "64 KiB");
    assert_string_equal(duration_text(1234, text), "1.23 us");
    assert_string_equal(duration_text(NAN, text), "-");
    assert_string_equal(rate_text(2.5e6, text), "2.50 M");
}

static void test_stamps(void **state) {
    (void)state;
    unsigned char data[SIZE] = { 0 };
    for (size_t size = 0; size <= SIZE; size++) {
        stamp_put(data, size, 0x1234567890abcdef);
        assert_true(stamp_check(data, size, 0x1234567890abcdef));
        if (size > 0)
            assert_false(stamp_check(data, size, 0x1234567890abcdee));
    }
    data[SIZE - 1] ^= 1; /* cut short, or mixed with another */
    assert_false(stamp_check(data, SIZE, 0x1234567890abcdef));
}

/* Ways that carry messages over a pipe, and do one thing wrong. */

static unsigned count;

static int send_altered(void *state, const void *data, size_t size) {
    unsigned char copy[SIZE];
    memcpy(copy, data, size);
    if (++count == BREAK_AT)
        copy[size - 1] ^= 1;
    return bare_pipe.send(state, copy, size);
}

static int send_lossy(void *state, const void *data, size_t size) {
    return ++count == BREAK_AT ? 0 : bare_pipe.send(state, data, size);
}

static int send_doubled(void *state, const void *data, size_t size) {
    int r = bare_pipe.send(state, data, size);
    return r == 0 && ++count == BREAK_AT ? bare_pipe.send(state, data, size) : r;
}

static int recv_short(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    int r = bare_pipe.recv(state, buffer, capacity, ret_size);
    *ret_size -= r == 0 && ++count == BREAK_AT;
    return r;
}

static int recv_killed(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    if (++count == BREAK_AT)
        raise(SIGKILL);
    return bare_pipe.recv(state, buffer, capacity, ret_size);
}

static int recv_hanging(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    while (count + 1 == BREAK_AT)
        pause();
    count++;
    return bare_pipe.recv(state, buffer, capacity, ret_size);
}

static struct sample_request request_for(const struct way *way, enum pattern pattern) {
    return (struct sample_request){
        .way = way, .pattern = pattern, .wait = WAY_BLOCK, .size = SIZE, .time_ns = 5000000, .grace_ns = 20000000000,
        .cpus = session.cpus, .directory = session.directory,
    };
}

static void expect_failure(const struct way *way, enum pattern pattern, int error, const char *word) {
    struct sample_request request = request_for(way, pattern);
    struct sample sample;
    char sentence[SENTENCE_MAX] = "";
    int signal_number = 0;
    if (error == -ETIMEDOUT)
        request.grace_ns = 100000000;
    assert_int_equal(sample_run(&request, &sample, &signal_number, sentence), error);
    assert_non_null(strstr(sentence, word));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static void test_broken_ways(void **state) {
    (void)state;
    struct way way = bare_pipe;
    for (enum pattern pattern = PATTERN_ROUND_TRIP; pattern <= PATTERN_ONE_WAY; pattern++) {
        way.send = send_altered;
        expect_failure(&way, pattern, -EBADMSG, "altered");
        way.send = send_doubled;
        expect_failure(&way, pattern, -EBADMSG, "altered");
        way.send = bare_pipe.send;
        way.recv = recv_short;
        expect_failure(&way, pattern, -EBADMSG, "altered");
        way.recv = recv_killed;
        expect_failure(&way, pattern, -ECHILD, "died of signal 9");
        way.recv = recv_hanging;
        expect_failure(&way, pattern, -ETIMEDOUT, "hangs");
        way.recv = bare_pipe.recv;
    }
    way.send = send_lossy;
    expect_failure(&way, PATTERN_ONE_WAY, -EBADMSG, "lost");
    expect_failure(&way, PATTERN_ROUND_TRIP, -ETIMEDOUT, "hangs");
}

static void test_interrupted(void **state) {
    (void)state;
    struct way way = bare_pipe;
    way.recv = recv_hanging;
    struct sample_request request = request_for(&way, PATTERN_ROUND_TRIP);
    struct sample sample;
    char sentence[SENTENCE_MAX];
    int signal_number = 0;
    raise(SIGTERM); /* blocked by the session: waits for the supervisor */
    assert_int_equal(sample_run(&request, &sample, &signal_number, sentence), -ECANCELED);
    assert_int_equal(signal_number, SIGTERM);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Every bare way, every wait it knows, both patterns, sizes that split and empty ones. */
static void test_all_bare_ways(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 5, 8, 1000, 70000 };
    for (const struct way *const *way = bare_ways; *way; way++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (enum pattern pattern = PATTERN_ROUND_TRIP; pattern <= PATTERN_ONE_WAY; pattern++) {
                struct sample_request request = request_for(*way, pattern);
                struct sample sample;
                char sentence[SENTENCE_MAX] = "";
                int signal_number = 0;
                request.size = sizes[i];
                request.time_ns = 1000000;
                request.wait = (*way)->can & WAY_CAN_BLOCK ? WAY_BLOCK : WAY_SPIN;
                if (!((*way)->can & (pattern == PATTERN_ROUND_TRIP ? WAY_CAN_ROUND_TRIP : WAY_CAN_ONE_WAY)) ||
                    (((*way)->can & WAY_NOTIFIES) && sizes[i] != 8))
                    continue;
                if (request.wait == WAY_SPIN && session.cpus.together && !((*way)->can & WAY_ALONE))
                    continue; /* nothing gets anywhere */
                if (sample_run(&request, &sample, &signal_number, sentence) < 0)
                    fail_msg("%s, %zu bytes: %s", (*way)->name, sizes[i], sentence);
                assert_true(sample.messages_per_s > 0);
                assert_true(pattern != PATTERN_ROUND_TRIP || sample.p50_ns > 0);
            }
}

/* Every peer that was built, there and back and one way, sizes that its protocols treat differently. */
static void test_peers(void **state) {
    (void)state;
    static const size_t sizes[] = { 8, 1000, 70000 };
    const struct peer *peers = peers_load();
    for (size_t i = 0; i < PEERS * sizeof sizes / sizeof *sizes * 2; i++) {
        const struct peer *peer = &peers[i % PEERS];
        struct sample_request request = request_for(peer->way, i / PEERS % 2 ? PATTERN_ROUND_TRIP : PATTERN_ONE_WAY);
        struct sample sample;
        char sentence[SENTENCE_MAX] = "";
        int signal_number = 0;
        if (!peer->way) {
            assert_true(strstr(peer->problem, peer->package) || strstr(peer->problem, "cannot be loaded"));
            continue;
        }
        request.size = sizes[i / PEERS / 2];
        request.wait = peer->way->can & WAY_CAN_SPIN ? WAY_SPIN : WAY_BLOCK;
        if (request.wait == WAY_SPIN && session.cpus.together)
            continue;
        int r = sample_run(&request, &sample, &signal_number, sentence);
        if (r < 0 && r != -EPERM) /* no namespace for RouDi in here */
            fail_msg("%s, %zu bytes: %s", peer->name, request.size, sentence);
        assert_true(r < 0 || sample.messages_per_s > 0);
    }
}

static int recv_never(void *state, void *buffer, size_t capacity, size_t *ret_size) {
    (void)state, (void)buffer, (void)capacity, (void)ret_size;
    while (pause() < 0)
        ;
    return 0;
}

/* Names of this process's samples ("bench-PID-...") in a directory, and the lock of a RouDi. */
static unsigned leftovers(const char *path) {
    char mine[32];
    unsigned n = 0;
    snprintf(mine, sizeof mine, "bench-%d-", (int)getpid());
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        n += strstr(entry->d_name, mine) || strstr(entry->d_name, "roudi") || strstr(entry->d_name, "iceoryx");
    if (directory)
        closedir(directory);
    return n;
}

/* A peer that hangs is killed, with whatever it had started, and leaves nothing in the system. */
static void test_hanging_peers(void **state) {
    (void)state;
    unsigned before = leftovers("/tmp") + leftovers("/dev/shm");
    const struct peer *peers = peers_load();
    for (size_t i = 0; i < PEERS; i++) {
        if (!peers[i].way || session.cpus.together)
            continue;
        struct way way = *peers[i].way;
        struct sample_request request = request_for(&way, PATTERN_ROUND_TRIP);
        struct sample sample;
        char sentence[SENTENCE_MAX] = "";
        int signal_number = 0;
        way.recv = recv_never;
        request.wait = way.can & WAY_CAN_SPIN ? WAY_SPIN : WAY_BLOCK;
        request.grace_ns = 700000000;
        int r = sample_run(&request, &sample, &signal_number, sentence);
        if (r != -ETIMEDOUT && r != -EPERM)
            fail_msg("%s: %d, %s", way.name, r, sentence);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
    assert_int_equal(leftovers("/tmp") + leftovers("/dev/shm"), before);
}

static void test_row(void **state) {
    (void)state;
    struct row row = { .mechanism = "pipe", .ours = &bare_pipe, .bare = &bare_unix, .size = 8, .pattern = PATTERN_ROUND_TRIP };
    session.samples = 2;
    session.time_ns = 2000000;
    session.samples_all = session.samples_left = row_samples(&session, &row);
    assert_int_equal(session.samples_all, 4);
    assert_int_equal(row_measure(&session, &row), 0);
    assert_int_equal(session.samples_left, 0);
    assert_true(row.figures.p50_ns > 0 && row.bare_figures.p50_ns > 0 && row.figures.calls > 0);
    assert_true(row.kept >= 1 && row.kept <= 2);
}

/* Python's parser is stricter than most; where there is none, only our own look at the text remains. */
static void test_json(void **state) {
    (void)state;
    struct row rows[3] = {
        { .mechanism = "shm", .pattern = PATTERN_ROUND_TRIP, .wait = WAY_SPIN, .size = 8, .spread = INFINITY },
        { .mechanism = "pipe", .failure = "it broke \"badly\"" },
        { .mechanism = "mq", .pattern = PATTERN_ONE_WAY, .wait = WAY_ADAPTIVE, .size = 64, .bare = &bare_mq },
    };
    rows[0].figures.p50_ns = 98.25;
    rows[0].figures.p99_ns = NAN;
    char path[128], command[256], text[4096] = "";
    snprintf(path, sizeof path, "%s/rows.json", session.directory);
    FILE *file = fopen(path, "w+");
    assert_non_null(file);
    assert_int_equal(json_print(file, rows, 3), 0);
    rewind(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "\"mechanism\": \"shm\", \"pattern\": \"rtt\", \"wait\": \"spin\", \"size\": 8, \"p50_ns\": 98.25, "
                                 "\"p99_ns\": null, "));
    assert_non_null(strstr(text, "\"raw_p50_ns\": null, \"raw_messages_per_s\": null, \"distance_ns\": 0, \"spread\": null }"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "broke"));
    snprintf(command, sizeof command, "! command -v python3 >/dev/null || python3 -m json.tool %s >/dev/null", path);
    assert_int_equal(system(command), 0);
}

/* A bare loop with another buffer than hawser's would measure the buffer. */
static void test_unix_buffer(void **state) {
    (void)state;
    struct way_setup setup = { .directory = session.directory, .name = "buffer", .size = SIZE };
    int fds[2], asked = 212992, wanted = 0, found = 0; /* docs/wire.md, Buffer */
    socklen_t length = sizeof asked;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &asked, length), 0);
    assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &wanted, &length), 0);
    void *bare;
    assert_int_equal(bare_unix.prepare(&setup, &bare), 0);
    for (int side = 0; side < 2; side++) {
        assert_int_equal(getsockopt(((struct stream *)bare)->out[side], SOL_SOCKET, SO_SNDBUF, &found, &length), 0);
        assert_int_equal(found, wanted);
    }
    bare_unix.discard(bare);
    close(fds[0]);
    close(fds[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unix_buffer),
        cmocka_unit_test(test_quantiles), cmocka_unit_test(test_large_durations), cmocka_unit_test(test_median),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_times), cmocka_unit_test(test_texts), cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_broken_ways), cmocka_unit_test(test_interrupted), cmocka_unit_test(test_all_bare_ways),
        cmocka_unit_test(test_peers), cmocka_unit_test(test_hanging_peers), cmocka_unit_test(test_row), cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, open_session, close_session);
}
