/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A decision takes effect where the scheduler is in force: it reads decisions
 * by itself when it queues or picks a vCPU; this tells it of one that changed
 * while the vCPU waits or runs. For the policy's programs.
 */
#ifndef PVSCHED_SCX_EFFECT_H
#define PVSCHED_SCX_EFFECT_H

#include "scx/scx_maps.h"

#define PVS_SCX_LOOKS 32 /* CPUs that are asked for one that gives way */

/* Whether decisions take effect through the scheduler: one load, and none where
 * the kernel has no sched_ext. */
static __always_inline bool pvs_scx_on(void)
{
	__u32 zero = 0;
	struct pvs_scx_report *report;

	if (!scx_bpf_kick_cpu)
		return 0;
	report = bpf_map_lookup_elem(&scx_report, &zero);
	return report && *(volatile __u32 *)&report->attached;
}

/* Has `cpu` look for a raised vCPU before all else, at once if what it runs is
 * less urgent than that. Returns whether it is. */
static __always_inline bool pvs_scx_preempt(struct pvs_scx_cpu *c, __u32 cpu,
					    __u32 urgency)
{
	bool gives_way = *(volatile __u32 *)&c->boosted < urgency;

	__sync_lock_test_and_set(&c->urgent, 1);
	if (gives_way)
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	return gives_way;
}

struct elsewhere {
	__u32 cpu, cpus, llc, urgency;
};

static long look_elsewhere(__u32 i, struct elsewhere *at)
{
	struct pvs_scx_cpu *o;
	__u32 other = at->cpu + 1 + i;

	if (other >= at->cpus)
		other -= at->cpus;
	o = bpf_map_lookup_elem(&scx_cpus, &other);
	if (!o)
		return 1;
	if (o->gone || o->llc != at->llc ||
	    *(volatile __u32 *)&o->boosted >= at->urgency)
		return 0;
	pvs_scx_preempt(o, other, at->urgency);
	return 1;
}

/* Another CPU of the cache that gives way to a vCPU which waits at `cpu`. One
 * that the vCPU may not use looks in vain. */
static __always_inline void pvs_scx_elsewhere(struct pvs_scx_cpu *c, __u32 cpu,
					      __u32 urgency)
{
	__u32 zero = 0, most = PVS_SCX_LOOKS;
	struct pvs_scx_report *report = bpf_map_lookup_elem(&scx_report, &zero);
	struct elsewhere at = { cpu, 0, c->llc, urgency };

	if (!report || report->cpus < 2)
		return;
	at.cpus = report->cpus;
	if (most >= at.cpus)
		most = at.cpus - 1;
	bpf_loop(most, look_elsewhere, &at, 0);
}

/*
 * The decision of vCPU `index`, which is in `run` (enum pvs_run), has changed from
 * body `from`, and its mailbox says to what, by a full barrier before this. `event`
 * is the caller's own, with what the vCPU was in before it in 8..15.
 *
 * Raised while it waits: the CPU where it was queued looks for it before all
 * others, at once unless what it runs is as urgent; then another does. Queued
 * at this very moment: `place->cpu` is stored before the mailbox is read there,
 * and read after it was written here, so one side sees the other.
 * Woken by this very event: it is queued next, and the mailbox is read then.
 * Lowered while it runs: the CPU lets it go on only if it is its turn; one that
 * is still boosted goes on if no other one has come.
 *
 * A global function: the verifier follows it once.
 */
__attribute__((noinline)) int pvs_scx_effect(__u32 index, __u32 event,
					     __u32 run, __u32 from)
{
	struct pvs_mailbox *box = bpf_map_lookup_elem(&mailboxes, &index);
	__u32 was = pvs_scx_urgency(from), is, cpu;
	struct pvs_scx_place *place;
	struct pvs_scx_cpu *c;

	if (!box)
		return 0;
	is = pvs_scx_urgency(*(volatile __u64 *)&box->decision);
	if (was == is || !pvs_scx_on())
		return 0;
	place = bpf_map_lookup_elem(&scx_places, &index);
	if (!place)
		return 0;
	cpu = *(volatile __u32 *)&place->cpu;
	c = bpf_map_lookup_elem(&scx_cpus, &cpu);
	if (!c)
		return 0;
	if (event == (PVS_EV_WAKING | PVS_RUN_SLEEPING << 8))
		return 0;
	if (is > was && run == PVS_RUN_WAITING) {
		if (!pvs_scx_preempt(c, cpu, is))
			pvs_scx_elsewhere(c, cpu, is);
	} else if (is < was && run == PVS_RUN_RUNNING) {
		if (!is || *(volatile __u32 *)&c->urgent || c->rivals)
			scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	}
	return 0;
}

#endif /* PVSCHED_SCX_EFFECT_H */
