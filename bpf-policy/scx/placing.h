/* SPDX-License-Identifier: GPL-2.0 */
/* Where a task is put that need not queue in its turn: on an idle CPU, or, for a
 * boosted vCPU, in the place of what gives way to it. */
#ifndef PVSCHED_SCX_PLACING_H
#define PVSCHED_SCX_PLACING_H

#include "scx/queues.h"
#include "scx/slices.h"

/* A CPU near `cpu` that p, so urgent, may preempt, or -1. */
static __always_inline __s32 victim(struct task_struct *p, __u32 cpu,
				    __u32 urgency)
{
	struct pvs_scx_cpu *c;
	__u32 i, other = cpu;

	for (i = 1; i < host.cpus && i < 64; i++) {
		if (++other >= host.cpus)
			other = 0;
		c = cpu_record(other);
		if (gives_way(c, urgency) && llc_of(other) == llc_of(cpu) &&
		    pvs_may_run(p, other))
			return other;
	}
	return -1;
}

/* Whether nobody waits for a CPU but those that other caches have. */
static __always_inline bool alone(struct pvs_scx_cpu *c, __u32 cpu)
{
	struct pvs_scx_llc *llc = llc_record(cpu);

	return c && llc && !c->own && !shared_waits(c, llc, cpu, 1) &&
	       !scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu);
}

/* What p, which is put on a CPU of that cache out of its turn, owes is forgotten,
 * so that its time does not drive the clock. */
static __always_inline void forgive(struct task_struct *p,
				    struct pvs_scx_llc *llc)
{
	if (llc && p->nr_cpus_allowed > 1 &&
	    before(llc->clock, p->scx.dsq_vtime))
		pvs_set_vtime(p, llc->clock);
}

/* p goes to an idle CPU: nobody else wants that. */
static __always_inline void insert_idle(struct task_struct *p, __u32 cpu)
{
	forgive(p, llc_record(cpu));
	pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, 0);
}

/* The current task makes way, but for one that has given up its turn. */
static __always_inline void make_way(struct pvs_scx_cpu *c)
{
	if (c && c->leaves != PVS_SCX_LEAVES_TURN)
		c->leaves = PVS_SCX_LEAVES_WAY;
}

/* p, a boosted vCPU, is put in the place of what a CPU runs; `dsq` is its local
 * queue. */
static __always_inline void
take_place(struct task_struct *p, struct pvs_scx_cpu *c, __u64 dsq, __u64 flags)
{
	make_way(c);
	pvs_insert(p, dsq, host.slice_ns,
		   flags | PVS_ENQ(SCX_ENQ_PREEMPT) | PVS_ENQ(SCX_ENQ_HEAD));
}

/*
 * p, which makes way for a boosted vCPU or a kernel thread, keeps what is left of
 * its slice, if it may go nowhere else. The kernel then leaves it in the CPU's local
 * queue, as it does with what a real-time task interrupts: it goes on after the
 * other. That is cheaper than to queue and to be picked anew. Not with more than
 * that other one in the local queue, whom it would overtake.
 */
static __always_inline void keep_turn(struct pvs_scx_cpu *c,
				      struct task_struct *p, __u32 cpu)
{
	__u64 now = pvs_now(), slice = host.slice_ns, ran = 0;

	if (!pvs_stays(p) || scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu) > 1)
		return;
	if (before(c->since, now))
		ran = now - c->since;
	if (ran + slice / SLICE_NEARLY < slice)
		pvs_set_slice(p, slice - ran);
}

/*
 * What is preempted within an RCU read-side section goes on for a moment after what
 * preempts it, in the same way. All that waits for a grace period waits for it, as long
 * as a light task waits for its turn: memory to be freed, above all, which a CPU then
 * frees for milliseconds in the place of whatever it runs. Only if somebody has had a
 * turn since the last moment here.
 */
static __always_inline void let_read(struct pvs_scx_cpu *c,
				     struct task_struct *p)
{
	if (p->scx.slice || c->moment || !pvs_reads(p))
		return;
	c->moment = 1;
	pvs_set_slice(p, host.slice_ns / SLICE_MOMENT);
}

/* Queues a boosted vCPU, which is v; preempts where it may. */
static __always_inline void
enqueue_boosted(struct task_struct *p, const struct vcpu *v,
		struct pvs_scx_cpu *c, struct pvs_scx_llc *llc, __u32 cpu,
		bool stays, __u32 urgency, __u64 flags)
{
	__u64 clock = stays ? c->clock : llc->clock;
	__s32 other;

	if (gives_way(c, urgency) && (stays || pvs_may_run(p, cpu))) {
		take_place(p, c, SCX_DSQ_LOCAL, flags);
		return;
	}
	other = stays ? -1 : victim(p, cpu, urgency);
	if (other >= 0) {
		take_place(p, cpu_record(other),
			   SCX_DSQ_LOCAL_ON | (__u32)other, flags);
		return;
	}
	if (!*(volatile __u32 *)&c->weight &&
	    flags & (PVS_ENQ(SCX_ENQ_WAKEUP) | PVS_ENQ(SCX_ENQ_REENQ))) {
		/* A real-time task has the CPU: what that has interrupted would
		 * go on after it. */
		if (stays) {
			pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns,
				   flags | PVS_ENQ(SCX_ENQ_HEAD));
			return;
		}
		*(volatile __u32 *)&c->urgent = 1;
	}
	c->rivals = 1;
	/* What has made way would be the next. (Of one that is put off itself, the
	 * next is still there.) */
	if (scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu) >
	    !*(volatile __u32 *)&c->weight)
		*(volatile __u32 *)&c->urgent = 1;
	v->place->vtime = limited(p, clock, flags);
	v->place->ahead = 1;
	pvs_insert_vtime(p, queue_of(c, llc, cpu, stays), host.slice_ns,
			 ahead_of(clock, urgency), flags);
}

#endif /* PVSCHED_SCX_PLACING_H */
