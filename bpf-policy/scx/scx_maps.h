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

/* One per CPU; see slices.h. */
struct pvs_scx_slice {
	struct bpf_timer timer;
	__u32 started;
	__u32 pad[11];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_SCX_CPUS);
	__type(key, __u32);
	__type(value, struct pvs_scx_slice);
} scx_slices SEC(".maps");

/* Has this CPU look in `ns`, not later, whether its current task's slice is over.
 * Returns whether it will. */
static __always_inline bool pvs_scx_time(struct pvs_scx_slice *s, __u64 ns)
{
	*(volatile __u32 *)&s->started = 1;
	if (!bpf_timer_start(&s->timer, ns, BPF_F_TIMER_CPU_PIN))
		return 1;
	*(volatile __u32 *)&s->started = 0;
	return 0;
}

#define SCX_KICK_IDLE 1
#define SCX_KICK_PREEMPT 2

extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym __weak;
extern __u64 scx_bpf_now(void) __ksym __weak; /* 6.14 and later */

/* Nanoseconds, of one CPU's clock. */
static __always_inline __u64 pvs_now(void)
{
	return scx_bpf_now ? scx_bpf_now() : bpf_ktime_get_ns();
}

/* Larger is more urgent; 0: not boosted. */
static __always_inline __u32 pvs_scx_urgency(__u32 body)
{
	return pvs_boost_class(body) == PVSCHED_CLASS_BASELINE ?
		       0 :
		       pvs_urgency(body);
}

#endif /* PVSCHED_SCX_MAPS_H */
