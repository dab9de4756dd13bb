/* SPDX-License-Identifier: GPL-2.0 */
/* Where a task is put that need not queue in its turn: on an idle CPU, or, for a
 * boosted vCPU, in the place of what gives way to it. */
#ifndef PVSCHED_SCX_PLACING_H
#define PVSCHED_SCX_PLACING_H

#include "scx/queues.h"

/* A CPU near `cpu` that p, so urgent, may preempt, or -1. */
static __always_inline __s32 victim(struct task_struct *p, __u32 cpu,
				    bool stays, __u32 urgency)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);
	__u32 i, other = cpu;

	if (gives_way(c, urgency) && pvs_may_run(p, cpu))
		return cpu;
	for (i = 1; !stays && i < host.cpus && i < 64; i++) {
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
static __always_inline bool alone(__u32 cpu)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);

	return c && !c->own && !scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu) &&
	       !scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu));
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

/* Queues a boosted vCPU; preempts where it may. */
static __always_inline void enqueue_boosted(struct task_struct *p, __u32 cpu,
					    bool stays, __u32 urgency,
					    __u64 flags, __u64 dsq, __u64 clock)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);
	__s32 other = victim(p, cpu, stays, urgency);

	if (other >= 0) {
		pvs_insert(p, SCX_DSQ_LOCAL_ON | (__u32)other, host.slice_ns,
			   flags | PVS_ENQ(SCX_ENQ_PREEMPT) |
				   PVS_ENQ(SCX_ENQ_HEAD));
		return;
	}
	if (c && !*(volatile __u32 *)&c->weight &&
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
	if (c)
		c->rivals = 1;
	vcpu_goes_ahead(p, limited(p, clock, flags));
	pvs_insert_vtime(p, dsq, host.slice_ns, ahead_of(clock, urgency),
			 flags);
}

#endif /* PVSCHED_SCX_PLACING_H */
