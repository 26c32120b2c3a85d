/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */

/* Naps: a receiver that waits for nothing else sleeps on the header word that comes next. Who publishes there wakes it, who publishes
 * elsewhere does not, and one that is woken for nothing stops to nap. */

#include "transport/shm/shm_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

struct nap {
    struct ends ends;
    struct shm_link *receiver, *sender; /* the receiver is a */
    struct sleep_set set;
    struct pollfd fds[LINK_SLEEP_MAX];
};

static void nap_open(struct nap *nap) {
    *nap = (struct nap){ .set.may_nap = true };
    nap->ends = met_pair(&nap->receiver);
    nap->sender = shm_of(nap->ends.b->link);
}

static int arm(struct nap *nap) {
    nap->set.fds = nap->fds;
    nap->set.count = 0;
    nap->set.word = NULL;
    return shm_arm(&nap->receiver->link, WANT_RECEIVE, &nap->set);
}

static uint32_t asleep(const struct nap *nap) { return load_relaxed(&shm_own(nap->receiver)->receiver_asleep); }

/* System calls that a send makes. */
static uint64_t send_one(struct nap *nap) {
    uint64_t before = sys_calls_made;
    ok(hawser_send(nap->ends.b, "message", 8, HAWSER_NOW));
    return sys_calls_made - before;
}

static void receive_one(struct nap *nap) {
    char buffer[64];
    size_t size;
    ok(hawser_recv(nap->ends.a, buffer, sizeof buffer, HAWSER_NOW, &size));
}

static void test_wakes_once(void **state) {
    (void)state;
    struct nap nap;
    nap_open(&nap);
    assert_int_equal(arm(&nap), 0);
    assert_non_null(nap.set.word);
    assert_int_equal(nap.set.count, 0);
    assert_int_equal(*nap.set.word, 0);
    assert_int_equal(asleep(&nap), shm_nap_at(nap.receiver->receiver.ring.read));
    assert_int_equal(send_one(&nap), 1); /* the wake */
    assert_int_not_equal(*nap.set.word, 0);
    assert_int_equal(send_one(&nap), 0); /* the nap is over already, or will be */
    bool rung = true;
    assert_true(nap_on_word(nap.set.word, &rung)); /* nor can it begin now */
    assert_false(rung);
    shm_disarm(&nap.receiver->link, WANT_RECEIVE);
    assert_int_equal(asleep(&nap), 0);
    assert_int_equal(arm(&nap), 1);
    shm_disarm(&nap.receiver->link, WANT_RECEIVE);
    ends_close(&nap.ends);
}

/* The look that follows a publication may come when its reader naps for the next one; that one must still wake it. */
static void test_late_look(void **state) {
    (void)state;
    struct nap nap;
    nap_open(&nap);
    uint64_t position = nap.sender->sender.ring.write;
    assert_int_equal(send_one(&nap), 0);
    receive_one(&nap);
    assert_int_equal(arm(&nap), 0);
    uint64_t before = sys_calls_made;
    wake_met_receiver(nap.sender, position);
    assert_int_equal(sys_calls_made - before, 0);
    assert_int_equal(send_one(&nap), 1);
    shm_disarm(&nap.receiver->link, WANT_RECEIVE);
    ends_close(&nap.ends);
}

/* A nap's word is not taken for the count of a sleep that was rung for. */
static void test_nap_between_sleeps(void **state) {
    (void)state;
    struct nap nap;
    nap_open(&nap);
    for (int i = 0; i < 100; i++) {
        nap.set.may_nap = i % 2;
        assert_int_equal(arm(&nap), 0);
        assert_true(nap.set.may_nap == (nap.set.word != NULL));
        assert_int_equal(send_one(&nap), 1);
        shm_disarm(&nap.receiver->link, WANT_RECEIVE);
        receive_one(&nap);
    }
    ends_close(&nap.ends);
}

static void test_not_beside_others(void **state) {
    (void)state;
    struct nap nap, other;
    nap_open(&nap);
    other = nap;
    other.set.may_nap = false;
    assert_int_equal(arm(&other), 0);
    assert_null(other.set.word);
    assert_int_equal(arm(&nap), 0);
    assert_null(nap.set.word);
    assert_int_equal(nap.set.count, other.set.count);
    shm_disarm(&nap.receiver->link, WANT_RECEIVE);
    assert_int_equal(asleep(&nap) & SHM_NAPS, SHM_SLEEPS); /* the other sleeps on */
    assert_int_equal(send_one(&nap), 1);
    shm_disarm(&nap.receiver->link, WANT_RECEIVE);
    ends_close(&nap.ends);
}

static void test_woken_for_nothing(void **state) {
    (void)state;
    struct nap nap;
    nap_open(&nap);
    int naps = 0;
    for (int r = 0; r == 0 && naps < 1000; naps++) {
        r = arm(&nap);
        assert_int_equal(r, 0);
        shm_disarm(&nap.receiver->link, WANT_RECEIVE);
        if (!nap.set.word)
            break;
        shm_woken(&nap.receiver->link, -1, 0);
    }
    assert_in_range(naps, 10, 999);
    assert_true(nap.set.brief); /* nor does the bell wake it */
    ends_close(&nap.ends);
}

static void *close_soon(void *ends) {
    struct hawser_statistics statistics = HAWSER_STATISTICS_INIT;
    do {
        ok(hawser_statistics(((struct ends *)ends)->a, &statistics));
    } while (statistics.sleeps < 3);
    hawser_close(((struct ends *)ends)->b);
    return NULL;
}

/* Deaf to all but messages, for some ms at most: the end is heard all the same. */
static void test_end(void **state) {
    (void)state;
    struct ends ends = pair_of("shm://?wait=block");
    pthread_t thread;
    char buffer[64];
    size_t size;
    ok(hawser_send(ends.b, "x", 1, HAWSER_NOW));
    ok(hawser_recv(ends.a, buffer, sizeof buffer, HAWSER_NOW, &size));
    assert_int_equal(hawser_recv(ends.a, buffer, sizeof buffer, SECOND / 20, &size), -ETIMEDOUT);
    pthread_create(&thread, NULL, close_soon, &ends);
    assert_int_equal(hawser_recv(ends.a, buffer, sizeof buffer, 20 * SECOND, &size), -ESHUTDOWN);
    pthread_join(thread, NULL);
    hawser_close(ends.a);
}

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* Nothing comes: below 1% of a CPU. */
static void test_idle(void **state) {
    (void)state;
    static const char *const addresses[] = { "shm://", "shm://?wait=block" };
    for (size_t i = 0; i < 2; i++) {
        struct ends ends = pair_of(addresses[i]);
        char buffer[64];
        size_t size;
        ok(hawser_send(ends.b, "x", 1, HAWSER_NOW));
        ok(hawser_recv(ends.a, buffer, sizeof buffer, HAWSER_NOW, &size));
        int64_t before = cpu_ns();
        assert_int_equal(hawser_recv(ends.a, buffer, sizeof buffer, SECOND / 2, &size), -ETIMEDOUT);
        assert_true(cpu_ns() - before <= SECOND / 2 / 100);
        ends_close(&ends);
    }
}

static void on_alarm(int signal) { (void)signal; }

/* A signal ends a nap, so that signals in quick succession do not keep anyone from hearing of a death. */
static void test_signals(void **state) {
    (void)state;
    uint32_t word = 0;
    bool rung = true;
    struct sigaction handler = { .sa_handler = on_alarm }, old;
    const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
    sigaction(SIGALRM, &handler, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    assert_false(nap_on_word(&word, &rung));
    assert_false(rung);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wakes_once),        cmocka_unit_test(test_late_look),         cmocka_unit_test(test_nap_between_sleeps),
        cmocka_unit_test(test_not_beside_others), cmocka_unit_test(test_woken_for_nothing), cmocka_unit_test(test_end),
        cmocka_unit_test(test_idle),              cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
