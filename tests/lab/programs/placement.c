/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs of the guest see of the host through /dev/pvsched, and what they are refused. */
#define _GNU_SOURCE
#include "pvsched/placement.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "measure.h"

static int usage(FILE* out) {
  fprintf(out,
          "usage: placement show    each CPU of the guest: CPU and node of the host, what its thread does\n"
          "       placement refuse  tries what must be refused, one line for each; 1 if something was not\n"
          "       placement watch   \"told\" or \"untold\" of slot 0, a line whenever that changes; \"remapped\" when\n"
          "                         its page had been taken away; until it is killed\n");
  return out == stdout ? 0 : 2;
}

static const char* state_of(uint64_t word) {
  const uint64_t flags = word >> PVSCHED_PLACEMENT_FLAGS_SHIFT;

  if (!(flags & PVSCHED_PLACEMENT_VALID)) {
    return "unknown";
  }
  if (flags & PVSCHED_PLACEMENT_RUNNING) {
    return "running";
  }
  return flags & PVSCHED_PLACEMENT_PREEMPTED ? "preempted" : "halted";
}

static int show(const struct pvsched_map* map) {
  for (unsigned cpu = 0; cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF); ++cpu) {
    const uint64_t word = pvsched_placement(map, cpu);

    printf("cpu%u slot %d host_cpu %u node %u %s\n", cpu, (int16_t)map->slot[cpu],
           (unsigned)(word >> PVSCHED_PLACEMENT_CPU_SHIFT) & 0xffff,
           (unsigned)(word >> PVSCHED_PLACEMENT_NODE_SHIFT) & 0xffff, state_of(word));
  }
  return 0;
}

static bool refused(const char* what, bool it_was) {
  printf("%s: %s\n", what, it_was ? strerror(errno) : "NOT REFUSED");
  return it_was;
}

static int refuse(const struct pvsched_map* map) {
  const int fd = open(PVSCHED_MAP_DEVICE, O_RDONLY | O_CLOEXEC);
  const size_t size = PVSCHED_MAP_SIZE;
  char byte = 0;
  bool good = fd >= 0;

  good &= refused("open for writing", open(PVSCHED_MAP_DEVICE, O_RDWR) < 0);
  good &= refused("read", read(fd, &byte, 1) < 0);
  good &= refused("write", write(fd, &byte, 1) < 0);
  good &= refused("map shared, writable", mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  good &= refused("map private, writable", mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) == MAP_FAILED);
  good &= refused("map executable", mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED);
  good &= refused("map more than there is", mmap(NULL, size + 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
  good &= refused("map behind it", mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, (off_t)size) == MAP_FAILED);
  good &= refused("make it writable", mprotect((void*)(uintptr_t)map, size, PROT_READ | PROT_WRITE) != 0);
  good &= refused("make it executable", mprotect((void*)(uintptr_t)map, size, PROT_READ | PROT_EXEC) != 0);
  good &= refused("make it longer", mremap((void*)(uintptr_t)map, size, size + 4096, MREMAP_MAYMOVE) == MAP_FAILED);
  const int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  good &= refused("write as a debugger", memory < 0 || pwrite(memory, &byte, 1, (off_t)(uintptr_t)map + 4096) < 0);
  return good ? 0 : 1;
}

static long faults(void) {
  struct rusage usage;

  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

static int watch(const struct pvsched_map* map) {
  /* By the slot, not by the CPU: what the page holds counts here. */
  const volatile struct pvsched_host_slot* slot = (const void*)((const char*)map + map->slots);
  uint64_t word = slot->placement;
  const char* last = "";

  for (; fflush(stdout) == 0; sleep_until(now_ns() + NS_PER_MS)) {
    const long before = faults();

    word = slot->placement;
    if (faults() != before) {
      printf("remapped\n");
    }
    if (strcmp(word ? "told" : "untold", last) != 0) {
      last = word ? "told" : "untold";
      printf("%s\n", last);
    }
  }
  return 1;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    int (*run)(const struct pvsched_map* map);
  } commands[] = {{"show", show}, {"refuse", refuse}, {"watch", watch}};

  if (argc != 2 || strcmp(argv[1], "--help") == 0) {
    return usage(argc == 2 ? stdout : stderr);
  }
  for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); ++i) {
    if (strcmp(argv[1], commands[i].name) != 0) {
      continue;
    }
    const struct pvsched_map* map = pvsched_map_open();
    if (!map) {
      perror(PVSCHED_MAP_DEVICE);
      return 1;
    }
    return commands[i].run(map);
  }
  return usage(stderr);
}
