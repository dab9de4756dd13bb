/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the measuring programs share: clocks, calibrated work, latency histograms, real-time priority. */
#ifndef LAB_MEASURE_H
#define LAB_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);

/* Sleeps to an absolute time of CLOCK_MONOTONIC; signals do not end it. */
void sleep_until(uint64_t when_ns);

/* `units` steps of arithmetic that no compiler can shorten. */
void work(uint64_t units);

/*
 * How many units are `ns` of CPU time. The cheapest of many short pieces counts, so that a calibration which is
 * preempted, by the host as well, still gives the cost of undisturbed work.
 */
uint64_t units_for(uint64_t ns);

/*
 * Latencies in ns. A bucket is 1/32 of an octave or finer: a value read back from it is at most 3.2 % too high.
 * Count, sum and maximum are exact. Not for several threads at once: add up one of each with histogram_merge().
 */
#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)
struct histogram {
  uint64_t count, sum, max;
  uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram* h, uint64_t ns);
void histogram_merge(struct histogram* into, const struct histogram* from);

/* {"count": N, "avg_us": A, "max_us": M, "histogram": [[upper edge in us, count], ...]}, empty buckets left out. */
void histogram_print(FILE* out, const struct histogram* h);

/* SCHED_FIFO for the calling thread, SCHED_OTHER for 0. Ends the program with a message if it is refused. */
void set_priority(int priority);

/* Binds the calling thread to a CPU. Ends the program with a message if it is refused. */
void bind_to_cpu(int cpu);

/* The value of an option as a number from `low` to `high`. Ends the program with status 2 if it is none. */
double number_between(const char* option, const char* text, double low, double high);

#endif
