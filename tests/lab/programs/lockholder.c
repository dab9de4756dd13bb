/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lock holder preemption: threads that take, hold and leave one lock, and an urgent real-time thread that needs the
 * same lock at each interval. Where a host has fewer CPUs than the guest has vCPUs, it now and then preempts the
 * vCPU of the holder, and everybody waits until it runs again.
 *
 * The urgent thread has CPU 0 for itself and the holders have the others, so that it is the host's scheduler and
 * not the guest's which takes the CPU away from a holder.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"
#include "pvsched/placement.h"

enum kind { SPIN, PLACED, MUTEX, PI_MUTEX, KERNEL, NONE, KINDS };

static const char* const kind_names[KINDS] = {"spin", "placed", "mutex", "pi-mutex", "kernel", "none"};

struct options {
  enum kind kind;
  int threads, urgent_priority, holder_priority;
  double seconds;
  uint64_t hold_ns, think_ns, interval_ns;
  uint64_t hold_units, think_units;
};

struct thread {
  pthread_t id;
  const struct options* options;
  int number;
  uint64_t operations;
  struct histogram wait, hold;
};

static atomic_bool stop;
static atomic_flag spinlock = ATOMIC_FLAG_INIT;
static struct pvsched_spinlock placed;
static const struct pvsched_map* map;
static pthread_mutex_t mutex;

static void usage(FILE* out) {
  fprintf(out,
          "usage: lockholder [--lock KIND] [--threads N] [--hold-us N] [--think-us N] [--interval-us N]\n"
          "                  [--duration S] [--priority N] [--holder-priority N]\n"
          "Threads contend for a lock; an urgent thread on CPU 0 measures its waits. One line of JSON.\n"
          "  --lock KIND          spin: a spinlock of its own; placed: one that sleeps while the host has\n"
          "                       preempted the holder's CPU, which needs the driver; mutex, pi-mutex:\n"
          "                       pthread's, without and with priority inheritance; kernel: the\n"
          "                       spinlock of the process's table of files, by dup and close; none: no\n"
          "                       lock at all, just background load that is counted (default spin)\n"
          "  --threads N          holders, in turn on the CPUs, but for 0 if the urgent thread is there\n"
          "                       (default: one for each)\n"
          "  --hold-us N          CPU time with the lock (default 50); none of it for kernel\n"
          "  --think-us N         CPU time between two holds (default 50)\n"
          "  --interval-us N      of the urgent thread (default 1000); 0: no such thread\n"
          "  --duration S         seconds (default 10)\n"
          "  --priority N         SCHED_FIFO priority of the urgent thread (default 80);\n"
          "                       0 is SCHED_OTHER\n"
          "  --holder-priority N  of the holders (default 0)\n"
          "Printed: operations (holds, without the urgent thread's); for the urgent thread how late it\n"
          "began (wake) and how long it waited for the lock (wait; for kernel, the whole operation);\n"
          "for the holders wait and hold.\n");
}

static void init_mutex(bool inherit) {
  pthread_mutexattr_t attr;

  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setprotocol(&attr, inherit ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
  pthread_mutex_init(&mutex, &attr);
  pthread_mutexattr_destroy(&attr);
}

static void lock(enum kind kind) {
  if (kind == SPIN) {
    while (atomic_flag_test_and_set_explicit(&spinlock, memory_order_acquire)) {
      __builtin_ia32_pause();
    }
  } else if (kind == PLACED) {
    pvsched_lock(&placed, map, PVSCHED_SPIN_FOREVER);
  } else if (kind == MUTEX || kind == PI_MUTEX) {
    pthread_mutex_lock(&mutex);
  }
}

static void unlock(enum kind kind) {
  if (kind == SPIN) {
    atomic_flag_clear_explicit(&spinlock, memory_order_release);
  } else if (kind == PLACED) {
    pvsched_unlock(&placed);
  } else if (kind == MUTEX || kind == PI_MUTEX) {
    pthread_mutex_unlock(&mutex);
  }
}

/* dup and close take files_struct.file_lock, which all threads of a process share. */
static void kernel_operation(void) {
  int fd = dup(STDOUT_FILENO);

  if (fd >= 0) {
    close(fd);
  }
}

/* One hold: how long it waited for the lock and how long it had it. */
static void operation(struct thread* t) {
  enum kind kind = t->options->kind;
  uint64_t begin = now_ns();

  if (kind == KERNEL) {
    kernel_operation();
    histogram_add(&t->wait, now_ns() - begin);
    return;
  }
  lock(kind);
  uint64_t got = now_ns();
  work(t->options->hold_units);
  uint64_t end = now_ns();
  unlock(kind);
  histogram_add(&t->wait, got - begin);
  histogram_add(&t->hold, end - got);
}

static void* holder(void* arg) {
  struct thread* t = arg;
  int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
  int kept = t->options->interval_ns && cpus > 1; /* for the urgent thread */

  bind_to_cpu(kept + t->number % (cpus - kept));
  set_priority(t->options->holder_priority);
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    operation(t);
    ++t->operations;
    work(t->options->think_units);
  }
  return NULL;
}

/* `wait` is for the lock, `hold` is used for the delay with which the thread began. */
static void* urgent(void* arg) {
  struct thread* t = arg;
  const struct options* o = t->options;

  bind_to_cpu(0);
  set_priority(o->urgent_priority);
  for (uint64_t due = now_ns() + o->interval_ns; !atomic_load_explicit(&stop, memory_order_relaxed);) {
    sleep_until(due);
    uint64_t begin = now_ns();
    if (o->kind == KERNEL) {
      kernel_operation();
    } else {
      lock(o->kind);
    }
    uint64_t got = now_ns();
    if (o->kind != KERNEL) {
      unlock(o->kind);
    }
    histogram_add(&t->hold, begin - due);
    histogram_add(&t->wait, got - begin);
    ++t->operations;
    while ((due += o->interval_ns) <= got) { /* intervals that the wait has eaten are not made up for */
    }
  }
  return NULL;
}

static enum kind kind_of(const char* name) {
  for (enum kind k = SPIN; k < KINDS; ++k) {
    if (strcmp(name, kind_names[k]) == 0) {
      return k;
    }
  }
  fprintf(stderr, "--lock %s: there are spin, placed, mutex, pi-mutex, kernel, none\n", name);
  exit(2);
}

static struct options parse(int argc, char** argv) {
  enum { LOCK = 1, THREADS, HOLD, THINK, INTERVAL, DURATION, PRIORITY, HOLDER_PRIORITY, HELP };
  static const struct option names[] = {
      {"lock", required_argument, NULL, LOCK},
      {"threads", required_argument, NULL, THREADS},
      {"hold-us", required_argument, NULL, HOLD},
      {"think-us", required_argument, NULL, THINK},
      {"interval-us", required_argument, NULL, INTERVAL},
      {"duration", required_argument, NULL, DURATION},
      {"priority", required_argument, NULL, PRIORITY},
      {"holder-priority", required_argument, NULL, HOLDER_PRIORITY},
      {"help", no_argument, NULL, HELP},
      {NULL, 0, NULL, 0},
  };
  int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
  struct options o = {.kind = SPIN,
                      .urgent_priority = 80,
                      .seconds = 10,
                      .hold_ns = 50 * NS_PER_US,
                      .think_ns = 50 * NS_PER_US,
                      .interval_ns = NS_PER_MS};
  int c;

  while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
    if (c == LOCK) {
      o.kind = kind_of(optarg);
    } else if (c == THREADS) {
      o.threads = (int)number_between("--threads", optarg, 1, 256);
    } else if (c == HOLD) {
      o.hold_ns = (uint64_t)(number_between("--hold-us", optarg, 0, 1e6) * NS_PER_US);
    } else if (c == THINK) {
      o.think_ns = (uint64_t)(number_between("--think-us", optarg, 0, 1e6) * NS_PER_US);
    } else if (c == INTERVAL) {
      o.interval_ns = (uint64_t)(number_between("--interval-us", optarg, 0, 1e7) * NS_PER_US);
    } else if (c == DURATION) {
      o.seconds = number_between("--duration", optarg, 0.01, 1e6);
    } else if (c == PRIORITY) {
      o.urgent_priority = (int)number_between("--priority", optarg, 0, 99);
    } else if (c == HOLDER_PRIORITY) {
      o.holder_priority = (int)number_between("--holder-priority", optarg, 0, 99);
    } else {
      usage(c == HELP ? stdout : stderr);
      exit(c == HELP ? 0 : 2);
    }
  }
  if (optind < argc) {
    usage(stderr);
    exit(2);
  }
  if (!o.threads) {
    o.threads = o.interval_ns && cpus > 1 ? cpus - 1 : cpus;
  }
  if (cpus < 2 && (o.kind == SPIN || o.kind == PLACED) && o.interval_ns) {
    fprintf(stderr, "--lock spin, placed: an urgent thread that spins on the only CPU would wait for ever\n");
    exit(2);
  }
  return o;
}

static void start(struct thread* t, const struct options* o, int number, void* (*run)(void*)) {
  t->options = o;
  t->number = number;
  int error = pthread_create(&t->id, NULL, run, t);
  if (error) {
    fprintf(stderr, "pthread_create: %s\n", strerror(error));
    exit(1);
  }
}

static void print_member(const char* name, const struct histogram* h) {
  printf("\"%s\": ", name);
  histogram_print(stdout, h);
}

int main(int argc, char** argv) {
  struct options o = parse(argc, argv);
  struct thread* threads = calloc((size_t)o.threads + 1, sizeof(*threads));
  struct thread* last = threads + o.threads;

  if (!threads || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    perror("memory");
    return 1;
  }
  if (o.kind == PLACED && !(map = pvsched_map_open())) {
    perror(PVSCHED_MAP_DEVICE);
    return 1;
  }
  init_mutex(o.kind == PI_MUTEX);
  o.hold_units = o.hold_ns ? units_for(o.hold_ns) : 0;
  o.think_units = o.think_ns ? units_for(o.think_ns) : 0;
  set_priority(o.urgent_priority); /* on CPU 0 among spinning real-time threads it must still get to the end */
  uint64_t begin = now_ns();
  for (int i = 0; i < o.threads; ++i) {
    start(&threads[i], &o, i, holder);
  }
  if (o.interval_ns) {
    start(last, &o, 0, urgent);
  }
  sleep_until(begin + (uint64_t)(o.seconds * NS_PER_S));
  atomic_store(&stop, true);
  double seconds = (double)(now_ns() - begin) / NS_PER_S;
  for (int i = 0; i <= o.threads; ++i) {
    if (i < o.threads || o.interval_ns) {
      pthread_join(threads[i].id, NULL);
    }
    if (i > 0 && i < o.threads) {
      threads[0].operations += threads[i].operations;
      histogram_merge(&threads[0].wait, &threads[i].wait);
      histogram_merge(&threads[0].hold, &threads[i].hold);
    }
  }
  printf("{\"program\": \"lockholder\", \"lock\": \"%s\", \"threads\": %d, \"seconds\": %.3f, ", kind_names[o.kind],
         o.threads, seconds);
  printf("\"operations\": %llu, \"operations_per_s\": %.1f, ", (unsigned long long)threads[0].operations,
         (double)threads[0].operations / seconds);
  printf("\"urgent\": {");
  print_member("wake", &last->hold);
  printf(", ");
  print_member("wait", &last->wait);
  printf("}, \"holders\": {");
  print_member("wait", &threads[0].wait);
  printf(", ");
  print_member("hold", &threads[0].hold);
  printf("}}\n");
  return fflush(stdout) == 0 ? 0 : 1;
}
