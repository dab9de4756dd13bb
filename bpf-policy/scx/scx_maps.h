/* SPDX-License-Identifier: GPL-2.0 */
/* The maps through which the scheduler and the policy's programs act together:
 * the policy's object has them, the scheduler's shares them. */
#ifndef PVSCHED_SCX_MAPS_H
#define PVSCHED_SCX_MAPS_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "intent.h"
#include "scx/scx.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_SCX_CPUS);
	__type(key, __u32);
	__type(value, struct pvs_scx_cpu);
} scx_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_MAX_VCPUS);
	__type(key, __u32);
	__type(value, struct pvs_scx_place);
} scx_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pvs_scx_report);
} scx_report SEC(".maps");

#define SCX_KICK_IDLE 1
#define SCX_KICK_PREEMPT 2

extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym __weak;

/* Larger is more urgent; 0: not boosted. */
static __always_inline __u32 pvs_scx_urgency(__u32 body)
{
	return pvs_boost_class(body) == PVSCHED_CLASS_BASELINE ?
		       0 :
		       pvs_urgency(body);
}

#endif /* PVSCHED_SCX_MAPS_H */
