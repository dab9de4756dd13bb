// SPDX-License-Identifier: GPL-2.0
/*
 * Plays the policy for scx_run: raises a vCPU when it is preempted, lowers it
 * at the next soft interrupt on its CPU when it is back there.
 */
#include "kernel.h"
#define PVS_SHARED_MAPS_ONLY /* here: the order counts */
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "maps.h"
#include "scx/scx_effect.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline void decide(__u32 tid, __u8 run, __u8 class_) {
  struct pvs_vcpu* v = bpf_map_lookup_elem(&vcpus, &tid);
  struct pvs_mailbox* box;
  __u32 index, body, from;

  if (!v) return;
  index = v->index;
  box = bpf_map_lookup_elem(&mailboxes, &index);
  if (!box) return;
  body = class_ ? pvs_decision(class_, PVSCHED_SCHED_FIFO, 0, 60) : 0;
  from = box->decision;
  if (from == body) return;
  __sync_lock_test_and_set(&box->decision, body);
  pvs_scx_effect(index, PVS_EV_PREEMPTED, run, from);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(scx_raise, bool preempt, struct task_struct* prev, struct task_struct* next) {
  if (preempt || prev->__state == 0) decide(prev->pid, PVS_RUN_WAITING, PVSCHED_CLASS_CRITICAL);
  return 0;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(scx_lower) {
  decide(bpf_get_current_pid_tgid(), PVS_RUN_RUNNING, PVSCHED_CLASS_BASELINE);
  return 0;
}
