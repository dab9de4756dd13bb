/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin for the QEMU that emulates the lab's host. It undoes one fault of QEMU's nested SVM: VMRUN that injects an
 * interrupt delivers it at once but leaves its vector in CPUState's exception_index. When the CPU's slice of time ends
 * before the nested guest exits again, QEMU delivers the vector once more, as an exception, interrupts off or not, and
 * the guest waits forever for a lock that it holds. With -icount slices end at each timer, so that this is certain.
 *
 * QEMU tells plugins of each delivery, just then: exception_index is reset here. Its offset is read from the code of a
 * function of QEMU's that sets it to -1 first of all; if the code is not so, the plugin is refused.
 *
 * QEMU's plugin interface, version 7 (QEMU 11.1), as far as it is needed here. Its header is in no package.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_info {
  const char* target_name;
  struct {
    int min, cur;
  } version;
  bool system_emulation;
};

typedef void (*discontinuity)(unsigned vcpu, int type, uint64_t from, uint64_t to, void* data);

enum { INTERRUPT = 1 << 0 };

extern void qemu_plugin_register_vcpu_discon_cb(uint64_t plugin, int types, discontinuity callback, void* data);
extern char* qemu_get_cpu(int index); /* struct CPUState */

EXPORT int qemu_plugin_version = 7;
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info* info, int argc, char** argv);

static uint32_t exception_index; /* its offset */

/* The operand of the first `movl $-1, offset(%rdi)` in the function's first bytes; 0: there is none. */
static uint32_t find_offset(const unsigned char* code) {
  for (int i = 0; code && i < 32; ++i) {
    int32_t value;

    memcpy(&value, code + i + 6, sizeof(value));
    if (code[i] == 0xc7 && code[i + 1] == 0x87 && value == -1) {
      memcpy(&exception_index, code + i + 2, sizeof(exception_index));
      return exception_index;
    }
  }
  return 0;
}

static void delivered(unsigned vcpu, int type, uint64_t from, uint64_t to, void* data) {
  int32_t none = -1;

  (void)type, (void)from, (void)to, (void)data;
  memcpy(qemu_get_cpu((int)vcpu) + exception_index, &none, sizeof(none));
}

int qemu_plugin_install(uint64_t id, const struct qemu_info* info, int argc, char** argv) {
  (void)argc, (void)argv;
  if (!info->system_emulation || strcmp(info->target_name, "x86_64") != 0) {
    fprintf(stderr, "vmrun plugin: it is for qemu-system-x86_64, not for %s\n", info->target_name);
    return -1;
  }
  if (!find_offset(dlsym(RTLD_DEFAULT, "cpu_loop_exit_noexc"))) {
    fprintf(stderr, "vmrun plugin: this QEMU's cpu_loop_exit_noexc is not as expected\n");
    return -1;
  }
  qemu_plugin_register_vcpu_discon_cb(id, INTERRUPT, delivered, NULL);
  return 0;
}
