/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "measure.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CALIBRATION_UNITS = 20000, CALIBRATION_PIECES = 400 };

static uint64_t clock_ns(clockid_t id) {
  struct timespec t;

  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

void sleep_until(uint64_t when_ns) {
  struct timespec t = {.tv_sec = (time_t)(when_ns / NS_PER_S), .tv_nsec = (long)(when_ns % NS_PER_S)};

  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

void work(uint64_t units) {
  uint64_t x = 1;

  for (uint64_t i = 0; i < units; ++i) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    __asm__ volatile("" : "+r"(x));
  }
}

uint64_t units_for(uint64_t ns) {
  uint64_t best = UINT64_MAX;

  for (int i = 0; i < CALIBRATION_PIECES; ++i) {
    uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    work(CALIBRATION_UNITS);
    uint64_t spent = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
    if (spent > 0 && spent < best) {
      best = spent;
    }
  }
  uint64_t units = (uint64_t)((double)ns * CALIBRATION_UNITS / (double)best);
  return units ? units : 1;
}

/* Values below 2^SUB_BITS have a bucket each; above, an octave has 2^SUB_BITS of them. */
static unsigned bucket_of(uint64_t ns) {
  if (ns < 1u << HISTOGRAM_SUB_BITS) {
    return (unsigned)ns;
  }
  unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
  return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift) - (1u << HISTOGRAM_SUB_BITS);
}

/* The largest value that falls into a bucket. */
static uint64_t upper_edge(unsigned bucket) {
  if (bucket < 1u << HISTOGRAM_SUB_BITS) {
    return bucket;
  }
  unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
  uint64_t mantissa = (bucket & ((1u << HISTOGRAM_SUB_BITS) - 1)) + (1u << HISTOGRAM_SUB_BITS);
  return (mantissa << shift) + ((1ull << shift) - 1);
}

void histogram_add(struct histogram* h, uint64_t ns) {
  ++h->count;
  h->sum += ns;
  if (ns > h->max) {
    h->max = ns;
  }
  ++h->bucket[bucket_of(ns)];
}

void histogram_merge(struct histogram* into, const struct histogram* from) {
  into->count += from->count;
  into->sum += from->sum;
  if (from->max > into->max) {
    into->max = from->max;
  }
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; ++i) {
    into->bucket[i] += from->bucket[i];
  }
}

void histogram_print(FILE* out, const struct histogram* h) {
  const char* comma = "";

  fprintf(out, "{\"count\": %llu, \"avg_us\": %.3f, \"max_us\": %.3f, \"histogram\": [", (unsigned long long)h->count,
          h->count ? (double)h->sum / (double)h->count / 1e3 : 0.0, (double)h->max / 1e3);
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; ++i) {
    if (h->bucket[i]) {
      uint64_t edge = upper_edge(i);
      fprintf(out, "%s[%.3f, %llu]", comma, (double)(edge < h->max ? edge : h->max) / 1e3,
              (unsigned long long)h->bucket[i]);
      comma = ", ";
    }
  }
  fprintf(out, "]}");
}

void set_priority(int priority) {
  struct sched_param param = {.sched_priority = priority};

  if (sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param) != 0) {
    fprintf(stderr, "SCHED_FIFO %d: %s\n", priority, strerror(errno));
    exit(1);
  }
}

void bind_to_cpu(int cpu) {
  cpu_set_t set;

  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    fprintf(stderr, "CPU %d: %s\n", cpu, strerror(errno));
    exit(1);
  }
}

double number_between(const char* option, const char* text, double low, double high) {
  char* end;

  errno = 0;
  double value = strtod(text, &end);
  if (errno || end == text || *end || !isfinite(value) || value < low || value > high) {
    fprintf(stderr, "%s %s: a number from %g to %g is needed\n", option, text, low, high);
    exit(2);
  }
  return value;
}
