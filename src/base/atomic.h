/* SPDX-License-Identifier: MIT
 * Copyright (c) 2026 The hawser authors */
#pragma once

/* The only file that names raw atomics, so that a checker can take their place. Every acquire, release
 * and fence in the library says in a comment what it pairs with. P points to a plain integer or pointer. */

#include <stdbool.h>
#include <stdint.h>

#define load_relaxed(P) __atomic_load_n((P), __ATOMIC_RELAXED)
#define load_acquire(P) __atomic_load_n((P), __ATOMIC_ACQUIRE)
#define load_seq_cst(P) __atomic_load_n((P), __ATOMIC_SEQ_CST)
#define store_relaxed(P, V) __atomic_store_n((P), (V), __ATOMIC_RELAXED)
#define store_release(P, V) __atomic_store_n((P), (V), __ATOMIC_RELEASE)
#define store_seq_cst(P, V) __atomic_store_n((P), (V), __ATOMIC_SEQ_CST)
#define exchange_seq_cst(P, V) __atomic_exchange_n((P), (V), __ATOMIC_SEQ_CST)
#define exchange_acquire(P, V) __atomic_exchange_n((P), (V), __ATOMIC_ACQUIRE)
#define exchange_release(P, V) __atomic_exchange_n((P), (V), __ATOMIC_RELEASE)
#define add_relaxed(P, V) __atomic_fetch_add((P), (V), __ATOMIC_RELAXED)
#define add_seq_cst(P, V) __atomic_fetch_add((P), (V), __ATOMIC_SEQ_CST)
#define compare_exchange(P, OLD, NEW) \
    __atomic_compare_exchange_n((P), (OLD), (NEW), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define fence_compiler() __atomic_signal_fence(__ATOMIC_SEQ_CST)

static inline void fence_seq_cst(void) {
#ifdef __SANITIZE_THREAD__ /* which knows no fences, and gcc warns of each */
    static uint32_t word;
    add_seq_cst(&word, 0);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Orders loads before it with all that comes after, and stores after it with all that comes before: for what is read and written
 * in between by plain copies. Only the compiler must be told on machines that keep that order anyway. */
static inline void fence_acquire(void) {
#ifdef __SANITIZE_THREAD__
    fence_seq_cst();
#else
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
}

static inline void fence_release(void) {
#ifdef __SANITIZE_THREAD__
    fence_seq_cst();
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* Adds to a counter that has one writer and many readers: no locked instruction. */
#define count_add(P, N) store_relaxed((P), load_relaxed(P) + (N))

/* Two words beside each other, 16-byte aligned, in one access: at once on processors with AVX (Intel SDM volume 3A, 9.1.1 "Guaranteed
 * Atomic Operations"; AMD64 APM volume 2, 7.3.2 "Access Atomicity"). As acquire and release, as any load and store there. */
struct word_pair {
    uint64_t first, second;
};

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) /* which cannot see into them */
typedef uint64_t word_vector __attribute__((vector_size(16), may_alias));

static inline bool pairs_are_atomic(void) {
    return __builtin_cpu_supports("avx") && (__builtin_cpu_is("intel") || __builtin_cpu_is("amd"));
}

static inline struct word_pair load_pair(const void *from) {
    word_vector pair;
    __asm__ volatile("movdqa %1, %0" : "=x"(pair) : "m"(*(const word_vector *)from) : "memory");
    return (struct word_pair){ pair[0], pair[1] };
}

static inline void store_pair(void *to, struct word_pair words) {
    word_vector pair = { words.first, words.second };
    __asm__ volatile("movdqa %1, %0" : "=m"(*(word_vector *)to) : "x"(pair) : "memory");
}
#else
static inline bool pairs_are_atomic(void) { return false; }
static inline struct word_pair load_pair(const void *from) { return *(const struct word_pair *)from; } /* never called */
static inline void store_pair(void *to, struct word_pair words) { *(struct word_pair *)to = words; }
#endif

/* Makes the line ours before it is written to. */
static inline void prefetch_for_write(const void *address) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)address)); /* the builtin means this only with -mprfchw */
#else
    __builtin_prefetch(address, 1);
#endif
}

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    fence_compiler();
#endif
}
