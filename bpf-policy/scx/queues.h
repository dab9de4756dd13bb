/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scheduler's queues: one for each last-level cache, one for each CPU, both
 * by virtual time; the clock of each, and how a CPU picks.
 */
#ifndef PVSCHED_SCX_QUEUES_H
#define PVSCHED_SCX_QUEUES_H

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

#define BEHIND_SLICES 10
#define WAKE_PART 3 /* of a slice must a task be behind to preempt */
#define OWED_NS 200000000ull

static __always_inline bool before(__u64 a, __u64 b)
{
	return (__s64)(a - b) < 0;
}

static __always_inline __u32 llc_of(__u32 cpu)
{
	return host.llc_of[cpu & (PVS_SCX_CPUS - 1)];
}

static __always_inline struct pvs_scx_cpu *cpu_record(__u32 cpu)
{
	return bpf_map_lookup_elem(&scx_cpus, &cpu);
}

static __always_inline struct pvs_scx_llc *llc_record(__u32 cpu)
{
	__u32 llc = llc_of(cpu);

	return bpf_map_lookup_elem(&scx_llcs, &llc);
}

static __always_inline __u64 charge(__u64 ns, __u32 weight)
{
	return weight == 100 || !weight ? ns : ns * 100 / weight;
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
		most = clock + charge(OWED_NS, p->scx.weight);
		if (before(most, vtime))
			return most;
	}
	return vtime;
}

/* Whether a task that wakes with `vtime` (by the LLC's clock) is so far behind
 * the one that is on the CPU that it need not wait for the end of its slice. */
static __always_inline bool overtakes(struct pvs_scx_cpu *c, __u64 vtime)
{
	__u64 now = pvs_now(), ran;

	if (!c->weight || *(volatile __u32 *)&c->boosted)
		return 0;
	ran = before(c->since, now) ? now - c->since : 0;
	return before(vtime + host.slice_ns / WAKE_PART,
		      c->vtime + charge(ran, c->weight));
}

/* --- picking -------------------------------------------------------------- */

/* Virtual time of the first task of a queue that may run on `cpu`. */
static __always_inline bool first_in(__u64 dsq, __u32 cpu, __u64 *vtime)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool found = 0;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (!pvs_may_run(p, cpu))
				continue;
			*vtime = p->scx.dsq_vtime;
			found = 1;
			break;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return found;
}

/* Moves the first boosted vCPU of a queue to `cpu`; notes that there is another
 * one. */
static __always_inline bool take_raised(struct pvs_scx_cpu *c, __u64 dsq,
					__u32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool moved = 0;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (!vcpu_known(p) || !vcpu_boosted(p) ||
			    !pvs_may_run(p, cpu))
				continue;
			if (moved) {
				c->urgent = 1;
				break;
			}
			moved = pvs_move(&it, p, SCX_DSQ_LOCAL_ON | cpu,
					 PVS_ENQ(SCX_ENQ_HEAD));
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return moved;
}

/* From the shared queue, or from another cache's. */
static __always_inline bool take_shared(__u32 llc)
{
	__u32 i;

	if (pvs_move_to_local(DSQ_LLC + llc))
		return 1;
	for (i = 1; i < host.llcs && i < PVS_SCX_LLCS; i++) {
		if (++llc >= host.llcs)
			llc = 0;
		if (pvs_move_to_local(DSQ_LLC + llc))
			return 1;
	}
	return 0;
}

static __always_inline void advance(__u64 *clock, __u64 vtime)
{
	if (before(*clock, vtime))
		*clock = vtime;
}

/* Nobody else wants the CPU: what prev, which has it, owes is forgotten. */
static __always_inline void goes_on(struct pvs_scx_cpu *c,
				    struct pvs_scx_llc *llc,
				    struct task_struct *prev)
{
	bool stays = pvs_stays(prev);

	pvs_set_vtime(prev, stays ? c->clock : llc->clock);
	c->began = prev->se.sum_exec_runtime;
	c->vtime = llc->clock;
	c->since = pvs_now();
	pvs_set_slice(prev, host.slice_ns);
}

/* There is something to choose between: the two queues and the task that is
 * on the CPU and would go on. All by the time of the LLC's clock. */
static __always_inline void pick(struct pvs_scx_cpu *c, struct pvs_scx_llc *llc,
				 __u32 cpu, struct task_struct *prev)
{
	__u64 own, shared, mine, going = 0;
	__u64 least = llc->clock - host.slice_ns;
	bool has_own, has_shared, stays = 0;

	has_own = first_in(DSQ_CPU + cpu, cpu, &own);
	has_shared = first_in(DSQ_LLC + llc_of(cpu), cpu, &shared);
	if (prev) {
		stays = pvs_stays(prev);
		going = prev->scx.dsq_vtime +
			charge(prev->se.sum_exec_runtime - c->began,
			       prev->scx.weight);
	}
	if (!(has_own || (prev && stays)) || !(has_shared || (prev && !stays)))
		c->offset = llc->clock - c->clock;
	if (has_own) {
		own += c->offset;
		if (before(own, least) && !before(own, least - AHEAD_NS)) {
			c->offset += least - own;
			own = least;
		}
	}
	mine = c->boosted ? least - AHEAD_NS : going + (stays ? c->offset : 0);
	if (prev && !(has_own && before(own, mine)) &&
	    !(has_shared && before(shared, mine))) {
		if (!has_own && !has_shared)
			goes_on(c, llc, prev);
		else if (!c->boosted)
			advance(stays ? &c->clock : &llc->clock, going);
		pvs_set_slice(prev, host.slice_ns);
		return;
	}
	if (has_own && !(has_shared && before(shared, own)) &&
	    pvs_move_to_local(DSQ_CPU + cpu))
		return;
	if (take_shared(llc_of(cpu)))
		return;
	pvs_move_to_local(DSQ_CPU + cpu);
}

#endif /* PVSCHED_SCX_QUEUES_H */
