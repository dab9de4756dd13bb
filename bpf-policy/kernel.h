/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few kernel types that the programs read, by CO-RE: libbpf moves each
 * access to where the running kernel has the field. No generated vmlinux.h.
 */
#ifndef PVSCHED_KERNEL_H
#define PVSCHED_KERNEL_H

#include "pvsched/bpf_types.h"

typedef _Bool bool;

/* enum bpf_map_type, BPF_F_*: UAPI values, stable. */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_ARRAY_OF_MAPS 12
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_F_NO_PREALLOC (1u << 0)
#define BPF_F_MMAPABLE (1u << 10)
#define BPF_F_INNER_MAP (1u << 12)
#define BPF_RB_FORCE_WAKEUP (1ull << 1)
#define BPF_F_TIMER_CPU_PIN (1ull << 1)
#define CLOCK_MONOTONIC 1

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct __sk_buff;

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct thread_info {
	unsigned int cpu;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

/* sched_ext's part of a task: the scheduler's only. */
struct sched_ext_entity {
	__u32 flags;
	__u32 weight;
	unsigned long runnable_at;
	__u64 slice;
	__u64 dsq_vtime;
};

struct cgroup_subsys_state {
	int id;
};

struct task_group {
	struct cgroup_subsys_state css;
	unsigned long shares;
	struct task_group *parent;
};

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	unsigned int __state; /* 5.14 and later */
	unsigned int flags;
	int nr_cpus_allowed;
	unsigned short migration_disabled;
	int rcu_read_lock_nesting; /* with PREEMPT_RCU */
	const struct cpumask *cpus_ptr;
	struct sched_entity se;
	struct sched_ext_entity scx;
	struct task_group *sched_task_group; /* with CGROUP_SCHED */
};

/* kvm: read by the kick programs only. */
struct kvm {
	int userspace_pid;
};

struct kvm_vcpu {
	struct kvm *kvm;
	int vcpu_id; /* the APIC id on x86 */
};

#pragma clang attribute pop

#endif /* PVSCHED_KERNEL_H */
