/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An audio application without the audio: how often is a buffer not full when the device needs it?
 *
 * Double buffered: at the start of a period the device takes one buffer and tells the application, which has until
 * the end of the period to fill the other. Filling takes a fixed amount of work, a share of the period. A buffer
 * that is not full at the end of the period is a glitch; the device stops and is started anew, as ALSA and JACK do
 * after an xrun, so that one long stall is one glitch. What it lasted is counted too, in periods lost.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "measure.h"

struct options {
  double buffer_ms, load, seconds;
  int priority;
  uint64_t units; /* 0: to be calibrated */
};

struct result {
  uint64_t periods, glitches, lost;
  struct histogram wake, full;
};

static void usage(FILE* out) {
  fprintf(out,
          "usage: glitch [--buffer-ms N] [--load SHARE] [--duration S] [--priority N] [--units N]\n"
          "Counts how often a periodic task is late with filling a buffer. One line of JSON.\n"
          "  --buffer-ms N  period of the device, from 0.1 to 1000 ms (default 2)\n"
          "  --load SHARE   CPU time to fill a buffer, as a share of the period, from 0 to 0.95\n"
          "                 (default 0.2); calibrated at the start\n"
          "  --units N      work for one buffer as an earlier run printed it, instead of --load\n"
          "  --duration S   seconds (default 10)\n"
          "  --priority N   SCHED_FIFO priority from 1 to 99; 0 is SCHED_OTHER (default 80)\n"
          "Printed: periods, glitches, lost_periods, and the time from the start of the period until\n"
          "the task ran (wake) and until the buffer was full (full).\n");
}

static struct options parse(int argc, char** argv) {
  static const struct option names[] = {
      {"buffer-ms", required_argument, NULL, 'b'},
      {"load", required_argument, NULL, 'l'},
      {"units", required_argument, NULL, 'u'},
      {"duration", required_argument, NULL, 'd'},
      {"priority", required_argument, NULL, 'p'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  struct options o = {.buffer_ms = 2, .load = 0.2, .seconds = 10, .priority = 80};
  int c;

  while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
    if (c == 'b') {
      o.buffer_ms = number_between("--buffer-ms", optarg, 0.1, 1000);
    } else if (c == 'l') {
      o.load = number_between("--load", optarg, 0, 0.95);
    } else if (c == 'u') {
      o.units = (uint64_t)number_between("--units", optarg, 1, 1e15);
    } else if (c == 'd') {
      o.seconds = number_between("--duration", optarg, 0.01, 1e6);
    } else if (c == 'p') {
      o.priority = (int)number_between("--priority", optarg, 0, 99);
    } else {
      usage(c == 'h' ? stdout : stderr);
      exit(c == 'h' ? 0 : 2);
    }
  }
  if (optind < argc) {
    usage(stderr);
    exit(2);
  }
  return o;
}

static void play(const struct options* o, uint64_t period, struct result* r) {
  uint64_t due = now_ns() + period; /* start of the next period */
  uint64_t end = due + (uint64_t)(o->seconds * NS_PER_S);

  while (due < end) {
    sleep_until(due);
    uint64_t woken = now_ns();
    work(o->units);
    uint64_t full = now_ns();
    histogram_add(&r->wake, woken - due);
    histogram_add(&r->full, full - due);
    ++r->periods;
    if (full <= due + period) {
      due += period;
    } else {
      ++r->glitches;
      r->lost += (full - due) / period;
      due = full + period; /* the device is started anew */
    }
  }
}

int main(int argc, char** argv) {
  static struct result r;
  struct options o = parse(argc, argv);
  uint64_t period = (uint64_t)(o.buffer_ms * NS_PER_MS);

  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    perror("mlockall");
    return 1;
  }
  set_priority(o.priority);
  if (!o.units) {
    o.units = units_for((uint64_t)((double)period * o.load));
  }
  play(&o, period, &r);
  printf("{\"program\": \"glitch\", \"buffer_ms\": %g, \"priority\": %d, \"units\": %llu, \"seconds\": %g, ",
         o.buffer_ms, o.priority, (unsigned long long)o.units, o.seconds);
  printf("\"periods\": %llu, \"glitches\": %llu, \"lost_periods\": %llu, \"wake\": ", (unsigned long long)r.periods,
         (unsigned long long)r.glitches, (unsigned long long)r.lost);
  histogram_print(stdout, &r.wake);
  printf(", \"full\": ");
  histogram_print(stdout, &r.full);
  printf("}\n");
  return fflush(stdout) == 0 ? 0 : 1;
}
