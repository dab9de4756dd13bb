/* SPDX-License-Identifier: GPL-2.0 */
/* How a CPU picks between its two queues and the task that it has. */
#ifndef PVSCHED_SCX_PICKING_H
#define PVSCHED_SCX_PICKING_H

#include "scx/queues.h"
#include "scx/slices.h"
#include "scx/vcpu.h"

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

/* Moves the first boosted vCPU of a queue that is as urgent as `least` to `cpu`;
 * notes that there is another boosted one. */
static __always_inline bool take_raised(struct pvs_scx_cpu *c, __u64 dsq,
					__u32 cpu, __u32 least)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	__u32 urgency;
	bool moved = 0;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			urgency = vcpu_urgency(p);
			if (!urgency || !pvs_may_run(p, cpu))
				continue;
			if (moved || urgency < least) {
				c->urgent = 1;
				if (moved)
					break;
				continue;
			}
			moved = pvs_move(&it, p, SCX_DSQ_LOCAL_ON | cpu,
					 PVS_ENQ(SCX_ENQ_HEAD));
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return moved;
}

/* Moves the first task of a queue that has waited for so long that it is next,
 * whatever its weight, to `cpu`. */
static __always_inline bool take_waiting(__u64 dsq, __u32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool moved = 0;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		while (!moved && (p = bpf_iter_scx_dsq_next(&it))) {
			if (pvs_waited(p) > host.longest_wait &&
			    pvs_may_run(p, cpu))
				moved = pvs_move(&it, p, SCX_DSQ_LOCAL_ON | cpu,
						 0);
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return moved;
}

/* The same for all that a CPU serves, now and then. */
static __always_inline bool take_longest(struct pvs_scx_cpu *c, __u32 cpu)
{
	__u32 now;

	if (++c->turns & (LOOK_TURNS - 1))
		return 0;
	now = pvs_now() >> LOOK_SHIFT;
	if ((__s32)(now - c->look) < 0)
		return 0;
	c->look = now + LOOK_EACH;
	if (!take_waiting(DSQ_CPU + cpu, cpu) &&
	    !take_waiting(DSQ_LLC + llc_of(cpu), cpu))
		return 0;
	c->look = now + LOOK_AGAIN;
	c->rescued = 1;
	return 1;
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

/* Whether p queues by the clock of a CPU: it must stay there, or is to. */
static __always_inline bool queues_by_cpu(struct task_struct *p)
{
	return pvs_stays(p) || vcpu_by_cpu(p);
}

/*
 * Virtual time of p, which is on the CPU and is `v` if it is a vCPU, with what it
 * has run. What a vCPU has run boosted is not in it: that is bounded by the policy's
 * budgets, and one that had to make good for it would wait for long as soon as it is
 * lowered.
 */
static __always_inline __u64 vtime_now(struct pvs_scx_cpu *c,
				       struct task_struct *p,
				       const struct vcpu *v)
{
	__u64 ran = p->se.sum_exec_runtime - c->began;
	__u32 weight = c->weight;

	if (v) {
		if (v->place->favoured)
			return p->scx.dsq_vtime;
		weight = vcpu_weight(p, v, weight);
	}
	return p->scx.dsq_vtime + charge(ran, weight);
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
	bool stays = queues_by_cpu(prev);

	pvs_set_vtime(prev, stays ? c->clock : llc->clock);
	c->weight = effective_weight(prev);
	c->began = prev->se.sum_exec_runtime;
	c->vtime = llc->clock;
	c->since = pvs_now();
	pvs_set_slice(prev, host.slice_ns);
}

/* Moves the first of the CPU's own queue, which may hold `queued`, to it. */
static __always_inline bool take_own(struct pvs_scx_cpu *c, __u32 cpu,
				     __s32 queued)
{
	if (!pvs_move_to_local(DSQ_CPU + cpu))
		return 0;
	c->own = queued > 1;
	return 1;
}

/* There is something to choose between: the CPU's queue, which holds `queued`, the
 * shared one, if somebody waits there, and the task that is on the CPU and would go
 * on. All by the time of the LLC's clock. */
static __always_inline void pick(struct pvs_scx_cpu *c, struct pvs_scx_llc *llc,
				 __u32 cpu, __s32 queued, bool waits,
				 struct task_struct *prev)
{
	__u64 own = 0, shared = 0, mine, going = 0;
	__u64 least = llc->clock - host.slice_ns;
	bool has_own, has_shared, stays = 0, known;
	struct vcpu v;

	has_own = queued > 0 && first_in(DSQ_CPU + cpu, cpu, &own);
	has_shared = waits && first_in(DSQ_LLC + llc_of(cpu), cpu, &shared);
	if (prev) {
		known = vcpu_of(prev, &v);
		stays = pvs_stays(prev) || (known && v.place->by_cpu);
		going = vtime_now(c, prev, known ? &v : 0);
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
	if (has_own || has_shared)
		slice_timed(cpu, 0);
	mine = c->boosted ? ahead_of(least, c->boosted) :
			    going + (stays ? c->offset : 0);
	if (prev && !(has_own && before(own, mine)) &&
	    !(has_shared && before(shared, mine))) {
		if (!has_own && !has_shared) {
			goes_on(c, llc, prev);
			return;
		}
		if (!c->boosted)
			advance(stays ? &c->clock : &llc->clock, going);
		pvs_set_vtime(prev, going);
		c->began = prev->se.sum_exec_runtime;
		c->vtime = going + (stays ? c->offset : 0);
		c->since = pvs_now();
		pvs_set_slice(prev, host.slice_ns);
		return;
	}
	if (has_own && !(has_shared && before(shared, own)) &&
	    take_own(c, cpu, queued))
		return;
	if (!take_shared(llc_of(cpu)))
		pvs_move_to_local(DSQ_CPU + cpu);
}

#endif /* PVSCHED_SCX_PICKING_H */
