/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scheduler's queues: one for each last-level cache, one for each CPU, both
 * by virtual time; and the clock of each.
 */
#ifndef PVSCHED_SCX_QUEUES_H
#define PVSCHED_SCX_QUEUES_H

#include "scx/groups.h"
#include "scx/scx_compat.h"
#include "scx/vcpu.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_SCX_LLCS);
	__type(key, __u32);
	__type(value, struct pvs_scx_llc);
} scx_llcs SEC(".maps");

const volatile struct pvs_scx_host host SEC(".rodata.scx");

#define DSQ_CPU 0x10000ull /* + CPU */
#define DSQ_LLC 0x20000ull /* + index of the cache */

/* Behind its clock by more than this: before all others. No ordinary task is
 * allowed that far. */
#define AHEAD_NS (1ull << 40)
#define AHEAD_SHIFT 28 /* more than clocks move while somebody waits */

#define BEHIND_SLICES 10
/* Of a slice: so long has a task the CPU before one that wakes may preempt it,
 * and so much must it then be ahead. */
#define WAKE_PART 4
#define OWED_NS 200000000ull

/* Looks for who has waited long, in 2^20 ns: between two, and after one that
 * has found somebody; and dispatches between two readings of the time. */
#define LOOK_SHIFT 20
#define LOOK_EACH 1000
#define LOOK_AGAIN 10
#define LOOK_TURNS 16
#define GUESSES 16 /* `waits` is believed so often before the queue is asked */

static __always_inline bool before(__u64 a, __u64 b)
{
	return (__s64)(a - b) < 0;
}

/* The virtual time by which a boosted vCPU comes before all others at `clock`,
 * the more urgent first. */
static __always_inline __u64 ahead_of(__u64 clock, __u32 urgency)
{
	return clock - 2 * AHEAD_NS - ((__u64)urgency << AHEAD_SHIFT);
}

static __always_inline __u32 llc_of(__u32 cpu)
{
	return host.llc_of[cpu & (PVS_SCX_CPUS - 1)];
}

static __always_inline struct pvs_scx_cpu *cpu_record(__u32 cpu)
{
	return bpf_map_lookup_elem(&scx_cpus, &cpu);
}

/* Whether it runs a task of ours that is less urgent. */
static __always_inline bool gives_way(struct pvs_scx_cpu *c, __u32 urgency)
{
	return c && !c->gone && *(volatile __u32 *)&c->weight &&
	       *(volatile __u32 *)&c->boosted < urgency;
}

static __always_inline struct pvs_scx_llc *llc_record(__u32 cpu)
{
	__u32 llc = llc_of(cpu);

	return bpf_map_lookup_elem(&scx_llcs, &llc);
}

/* Whether somebody waits in the cache's queue. To ask the queue costs as much as the
 * rest of a wake-up. The hint is wrong where one queued while the queue was found
 * empty: it will do where that one is passed over for some turns. */
static __always_inline bool shared_waits(struct pvs_scx_cpu *c,
					 struct pvs_scx_llc *llc, __u32 cpu,
					 bool hint)
{
	__u32 waits = *(volatile __u32 *)&llc->waits, is;

	if (hint && !waits && ++c->guesses % GUESSES)
		return 0;
	is = scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) > 0;
	if (waits != is)
		*(volatile __u32 *)&llc->waits = is;
	return is;
}

/* The queue for one that waits for `cpu`, or for any of its cache. */
static __always_inline __u64 queue_of(struct pvs_scx_cpu *c,
				      struct pvs_scx_llc *llc, __u32 cpu,
				      bool stays)
{
	if (stays) {
		c->own = 1;
		return DSQ_CPU + cpu;
	}
	*(volatile __u32 *)&llc->waits = 1;
	return DSQ_LLC + llc_of(cpu);
}

/* Virtual time of run time, by effective weight. */
static __always_inline __u64 charge(__u64 ns, __u32 weight)
{
	const __u32 normal = 100 * PVS_SCX_UNIT;

	return weight == normal || !weight ? ns : ns * normal / weight;
}

/*
 * The virtual time with which p may queue at `clock`. One that wakes comes at
 * most a slice behind it, one that goes on (others were picked before their
 * turn where it may not run) some slices. What it owes is bounded for one that
 * comes from a queue whose clock is far ahead.
 */
static __always_inline __u64 limited(struct task_struct *p, __u64 clock,
				     __u64 flags)
{
	__u64 vtime = p->scx.dsq_vtime, behind = host.slice_ns, most;

	if (!(flags & PVS_ENQ(SCX_ENQ_WAKEUP)))
		behind *= BEHIND_SLICES;
	if (before(vtime, clock - behind))
		return clock - behind;
	if (before(clock + OWED_NS, vtime)) {
		most = clock + charge(OWED_NS, effective_weight(p));
		if (before(most, vtime))
			return most;
	}
	return vtime;
}

/* p is behind `clock` by no more than one that wakes is. */
static __always_inline void bound_lag(struct task_struct *p, __u64 clock)
{
	if (before(p->scx.dsq_vtime, clock - host.slice_ns))
		pvs_set_vtime(p, clock - host.slice_ns);
}

/* By how much the task that is on the CPU, if it is ours, is ahead of one that
 * wakes with `vtime`, by the LLC's clock; negative: behind. Says whether it is
 * to be preempted: one that has just begun is not, or two that wake each other
 * would switch at each message, unless it is `at_once`. */
static __always_inline __s64 lead(struct pvs_scx_cpu *c, __u64 vtime,
				  bool at_once, bool *preempts)
{
	__u64 now = pvs_now(), ran = 0, part = host.slice_ns / WAKE_PART;
	__s64 ahead;

	if (before(c->since, now))
		ran = now - c->since;
	ahead = c->vtime + charge(ran, c->weight) - vtime;
	*preempts = c->weight && (at_once || ran > part) &&
		    ahead > (__s64)part && !*(volatile __u32 *)&c->boosted;
	return ahead;
}

#endif /* PVSCHED_SCX_QUEUES_H */
