// SPDX-License-Identifier: GPL-2.0
/*
 * pvsched's scheduler: all fair tasks of the host, by sched_ext.
 *
 * Ordinary tasks share CPUs by weighted virtual time: run time divided by
 * weight, in which the weights of cgroups are (groups.h); who has least runs
 * next, for a slice. Tasks that may run on several
 * CPUs wait in one queue for each last-level cache, others in one of their
 * CPU's. Each queue has a clock, the largest virtual time that was put on a
 * CPU from it: who was away comes back at most a slice behind it. A CPU picks
 * between its two queues and the task that it has by virtual time, too; the
 * clocks are set equal while there is nothing to choose. A task that wakes goes
 * straight to an idle CPU, where the kernel finds one: same core, cache, node;
 * else it preempts what it is far enough behind. Slices end on time while
 * somebody waits (slices.h). Who has waited for long is next whatever its weight.
 *
 * A vCPU whose policy boosts it (the decision in its mailbox) goes to an idle
 * CPU of those, else it preempts what runs, else (a boosted vCPU runs there,
 * too) it is the next in its queue. What it runs boosted is not charged. One
 * that is raised while it waits, or lowered while it runs: scx_effect.h. One
 * that prefers CPUs: preferred.h.
 *
 * Real-time and deadline tasks are other classes, above this one.
 */
#define PVS_SHARED_MAPS_ONLY
#include "scx/scx_compat.h"

#include <bpf/bpf_tracing.h>

#include "maps.h"
#include "scx/anew.h"
#include "scx/picking.h"
#include "scx/placing.h"
#include "scx/preferred.h"
#include "scx/queues.h"
#include "scx/slices.h"
#include "scx/vcpu.h"

char LICENSE[] SEC("license") = "GPL";

/* --- waiting -------------------------------------------------------------- */

SEC("struct_ops/select_cpu")
__s32 BPF_PROG(pvs_select_cpu, struct task_struct *p, __s32 prev_cpu,
	       __u64 wake_flags)
{
	bool is_idle = 0, known;
	__s32 cpu = -1, other;
	struct pvs_scx_cpu *c;
	__u32 urgency;
	struct vcpu v;

	known = vcpu_of(p, &v);
	if (known)
		cpu = preferred_cpu(p, &v, prev_cpu, &is_idle);
	if (cpu >= 0 && !is_idle)
		return cpu; /* the rest is enqueue()'s */
	if (cpu < 0)
		cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle) {
		insert_idle(p, cpu);
		return cpu;
	}
	c = cpu_record(cpu);
	if (!known) {
		/* The waker is about to sleep, and nobody else waits. */
		if ((wake_flags & PVS_WAKE(SCX_WAKE_SYNC)) &&
		    cpu == (__s32)bpf_get_smp_processor_id() && alone(c, cpu))
			insert_idle(p, cpu);
		return cpu;
	}
	urgency = vcpu_queues(&v, cpu);
	if (!urgency)
		return cpu;
	if (!gives_way(c, urgency) || !pvs_may_run(p, cpu)) {
		other = victim(p, cpu, urgency);
		if (other < 0)
			return cpu;
		cpu = other;
		c = cpu_record(cpu);
	}
	take_place(p, c, SCX_DSQ_LOCAL_ON | (__u32)cpu, 0);
	return cpu;
}

SEC("struct_ops/enqueue")
int BPF_PROG(pvs_enqueue, struct task_struct *p, __u64 flags)
{
	bool stays = pvs_stays(p), preempts = 0, known, is_idle, kthread;
	__u32 cpu = pvs_task_cpu(p), urgency;
	struct pvs_scx_cpu *c = cpu_record(cpu), *there;
	struct pvs_scx_llc *llc = llc_record(cpu);
	__u64 dsq, vtime;
	__s32 other = -1;
	struct vcpu v;
	__s64 ahead;

	if (!c || !llc)
		return 0;
	known = vcpu_of(p, &v);
	/* It has made room for a real-time task and may go nowhere else: it goes
	 * on after that, in its turn if it is not boosted. */
	if (stays && (flags & PVS_ENQ(SCX_ENQ_REENQ))) {
		if (known && vcpu_queues(&v, cpu))
			flags |= PVS_ENQ(SCX_ENQ_HEAD);
		pvs_insert(p, SCX_DSQ_LOCAL,
			   p->scx.slice ? p->scx.slice : host.slice_ns, flags);
		return 0;
	}
	if (known) {
		vcpu_comes_back(p, v.place);
		if (v.place->by_cpu && v.place->cpu != cpu) { /* moved */
			v.place->by_cpu = 0;
			pvs_set_vtime(p, llc->clock);
		}
		if (!stays)
			other = preferred_cpu(p, &v, cpu, &is_idle);
		vcpu_counts(p, v.place, other == (__s32)cpu, c->offset);
		if (other >= 0 && other != (__s32)cpu) {
			/* Its turn there: it queues when that is over. */
			dsq = SCX_DSQ_LOCAL_ON | (__u32)other;
			urgency = vcpu_queues(&v, other);
			forgive(p, llc_record(other));
			there = cpu_record(other);
			if (gives_way(there, urgency))
				take_place(p, there, dsq, flags);
			else
				pvs_insert(p, dsq, host.slice_ns, flags);
			return 0;
		}
		stays |= other >= 0;
	}
	if (known) {
		urgency = vcpu_queues(&v, cpu);
		if (urgency) {
			enqueue_boosted(p, &v, c, llc, cpu, stays, urgency,
					flags);
			return 0;
		}
	}
	vtime = limited(p, stays ? c->clock : llc->clock, flags);
	if (flags & PVS_ENQ(SCX_ENQ_WAKEUP)) {
		kthread = stays && (p->flags & PF_KTHREAD);
		ahead = lead(c, vtime + (stays ? c->offset : 0), kthread,
			     &preempts);
		/* A CPU's own kernel thread: short, and others wait for it. One
		 * that goes on for longer queues. */
		if (kthread) {
			if (preempts) {
				make_way(c);
				flags |= PVS_ENQ(SCX_ENQ_PREEMPT);
			} else {
				slice_timed(cpu, 0);
			}
			pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, flags);
			return 0;
		}
		/* Nobody else waits, and it is due before the current task has
		 * had two more slices (one that wakes is no farther behind its
		 * clock than one): no need to choose. */
		if (stays && alone(c, cpu) &&
		    ahead + 2 * (__s64)charge(host.slice_ns, c->weight) > 0) {
			if (preempts)
				flags |= PVS_ENQ(SCX_ENQ_PREEMPT);
			else
				slice_timed(cpu, 0);
			pvs_set_vtime(p, vtime);
			pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, flags);
			return 0;
		}
	}
	slice_timed(cpu, 0);
	pvs_insert_vtime(p, queue_of(c, llc, cpu, stays), host.slice_ns, vtime,
			 flags);
	if (preempts) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return 0;
	}
	if (!stays && !pvs_cpu_selected(flags)) {
		other = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (other >= 0)
			scx_bpf_kick_cpu(other, SCX_KICK_IDLE);
	}
	return 0;
}

/* --- picking -------------------------------------------------------------- */

SEC("struct_ops/dispatch")
int BPF_PROG(pvs_dispatch, __s32 cpu, struct task_struct *prev)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	bool shared, yielded, raised;
	__u32 least;
	__s32 own;

	if (!c || !llc)
		return 0;
	yielded = c->leaves == PVS_SCX_LEAVES_TURN;
	c->leaves = 0;
	if (prev && (!(prev->scx.flags & SCX_TASK_QUEUED) || yielded))
		prev = 0;
	if (*(volatile __u32 *)&c->urgent) {
		least = prev ? vcpu_urgency(prev) : 0;
		__sync_lock_test_and_set(&c->urgent, 0);
		raised = take_raised(c, DSQ_CPU + cpu, cpu, least);
		if (!raised)
			raised = take_raised(c, DSQ_LLC + llc_of(cpu), cpu,
					     least);
		else if (scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) > 0)
			c->urgent = 1; /* that one has not been asked */
		if (raised) {
			if (!yielded)
				make_way(c);
			return 0;
		}
	}
	if (take_longest(c, cpu))
		return 0;
	if (prev && vcpu_is_lowered(prev, c)) {
		c->began = prev->se.sum_exec_runtime;
		c->weight = effective_weight(prev);
		bound_lag(prev, queues_by_cpu(prev) ? c->clock : llc->clock);
	}
	own = c->own ? scx_bpf_dsq_nr_queued(DSQ_CPU + cpu) : 0;
	c->own = own > 0;
	shared = (own > 0 || prev) && shared_waits(c, llc, cpu, !prev);
	if ((own > 0) + shared + !!prev > 1) {
		pick(c, llc, cpu, own, shared, prev);
		return 0;
	}
	if (own > 1)
		slice_timed(cpu, 0);
	c->offset = llc->clock - c->clock;
	if (prev)
		goes_on(c, llc, prev);
	else if (own > 0)
		take_own(c, cpu, own);
	else if (take_shared(llc_of(cpu)) &&
		 scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) > 0)
		slice_timed(cpu, 0);
	return 0;
}

/* --- running -------------------------------------------------------------- */

SEC("struct_ops/runnable")
int BPF_PROG(pvs_runnable, struct task_struct *p, __u64 flags)
{
	group_counts(p, p->scx.weight);
	return 0;
}

SEC("struct_ops/quiescent")
int BPF_PROG(pvs_quiescent, struct task_struct *p, __u64 flags)
{
	group_counts(p, -(__s64)p->scx.weight);
	return 0;
}

SEC("struct_ops/running")
int BPF_PROG(pvs_running, struct task_struct *p)
{
	__u32 cpu = pvs_task_cpu(p);
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	bool stays = p->nr_cpus_allowed == 1;
	__u64 vtime, *clock, ran = 0;
	bool rescued;
	struct vcpu v;

	if (!c || !llc)
		return 0;
	*(volatile __u32 *)&c->boosted = 0;
	c->leaves = 0;
	c->began = p->se.sum_exec_runtime;
	if (p->scx.slice > host.slice_ns) /* the kernel's, which did not ask */
		pvs_set_slice(p, host.slice_ns);
	else if (p->scx.slice) /* less: it was interrupted */
		ran = host.slice_ns - p->scx.slice;
	if (!ran)
		c->moment = 0;
	c->since = pvs_now() - ran;
	if (vcpu_of(p, &v))
		stays |= vcpu_runs(p, &v, c, cpu);
	clock = stays ? &c->clock : &llc->clock;
	if (before(p->scx.dsq_vtime, *clock - BEHIND_SLICES * host.slice_ns))
		bound_lag(p, *clock);
	vtime = p->scx.dsq_vtime;
	/* Of one that is boosted it does not count, but says that it is ours. */
	c->weight = c->boosted ? 100 * PVS_SCX_UNIT : effective_weight(p);
	c->vtime = vtime + (stays ? c->offset : 0);
	if (ran)
		c->vtime -= charge(ran, c->weight);
	rescued = c->rescued;
	c->rescued = 0;
	if (!c->boosted) {
		c->rivals = 0;
		if (c->own || ran)
			slice_timed(cpu, ran);
	}
	/* It comes from the CPU's local queue, which is served unasked, and will
	 * queue behind the vCPU now; then the next there does. One that comes
	 * back to the local queue would change places with another without end. */
	if (*(volatile __u32 *)&c->urgent && !c->boosted && !rescued &&
	    !pvs_not_asked_for(p))
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	/* Of these it need not be the turn, or that has begun before. */
	if (c->boosted || rescued || ran ||
	    (stays && (p->flags & PF_KTHREAD)) || pvs_not_asked_for(p))
		return 0;
	advance(clock, vtime);
	return 0;
}

SEC("struct_ops/stopping")
int BPF_PROG(pvs_stopping, struct task_struct *p, bool runnable)
{
	__u32 cpu = pvs_task_cpu(p), boosted;
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct vcpu v;
	bool known;

	if (!c)
		return 0;
	boosted = c->boosted;
	*(volatile __u32 *)&c->boosted = 0;
	known = vcpu_of(p, &v);
	pvs_set_vtime(p, vtime_now(c, p, known ? &v : 0));
	if (known)
		vcpu_counts(p, v.place, 0, c->offset);
	if (runnable && !boosted && !p->scx.slice) {
		if (c->leaves == PVS_SCX_LEAVES_WAY)
			keep_turn(c, p, cpu);
		let_read(c, p);
	}
	c->leaves = 0;
	c->began = p->se.sum_exec_runtime;
	*(volatile __u32 *)&c->weight = 0;
	return 0;
}

SEC("struct_ops/yield")
bool BPF_PROG(pvs_yield, struct task_struct *from, struct task_struct *to)
{
	struct pvs_scx_cpu *c = cpu_record(pvs_task_cpu(from));

	if (c)
		c->leaves = PVS_SCX_LEAVES_TURN;
	pvs_set_slice(from, 0);
	return 0;
}

/* --- coming and going ----------------------------------------------------- */

SEC("struct_ops/enable")
int BPF_PROG(pvs_enable, struct task_struct *p)
{
	__u32 cpu = pvs_task_cpu(p);
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	struct vcpu v;

	if (vcpu_of(p, &v)) {
		v.place->ahead = 0;
		v.place->by_cpu = 0;
	}
	if (c && llc)
		pvs_set_vtime(p,
			      p->nr_cpus_allowed == 1 ? c->clock : llc->clock);
	return 0;
}

/* A real-time or deadline task takes the CPU: what was to run here next looks
 * for another. */
SEC("struct_ops/cpu_release")
int BPF_PROG(pvs_cpu_release, __s32 cpu, struct scx_cpu_release_args *args)
{
	scx_bpf_reenqueue_local();
	return 0;
}

/* What waits in a queue for a CPU that goes is handed to the kernel, which finds
 * it another. */
static __always_inline void hand_over(__u64 dsq, __s32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0))
		while ((p = bpf_iter_scx_dsq_next(&it)))
			if ((__s32)pvs_task_cpu(p) == cpu)
				pvs_move(&it, p, SCX_DSQ_LOCAL_ON | (__u32)cpu,
					 0);
	bpf_iter_scx_dsq_destroy(&it);
}

/* Without these the kernel ends the scheduler when a CPU comes or goes. */
SEC("struct_ops/cpu_online")
int BPF_PROG(pvs_cpu_online, __s32 cpu)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);

	if (c) {
		c->gone = 0;
		*(volatile __u32 *)&c->urgent = 0;
	}
	return 0;
}

SEC("struct_ops/cpu_offline")
int BPF_PROG(pvs_cpu_offline, __s32 cpu)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);

	if (c)
		c->gone = 1;
	hand_over(DSQ_CPU + cpu, cpu);
	hand_over(DSQ_LLC + llc_of(cpu), cpu);
	return 0;
}

SEC("struct_ops/init")
__s32 BPF_PROG(pvs_init)
{
	const struct cpumask *online;
	struct pvs_scx_report *report;
	struct pvs_scx_cpu *c;
	__u32 i, zero = 0;
	int err;

	err = begin_anew();
	if (err)
		return err;
	online = scx_bpf_get_online_cpumask();
	for (i = 0; i < host.cpus && i < PVS_SCX_CPUS; i++) {
		c = cpu_record(i);
		if (c)
			c->gone = !bpf_cpumask_test_cpu(i, online);
	}
	scx_bpf_put_cpumask(online);
	for (i = 0; i < host.cpus && i < PVS_SCX_CPUS; i++) {
		err = scx_bpf_create_dsq(DSQ_CPU + i, -1);
		if (err)
			return err;
	}
	for (i = 0; i < host.llcs && i < PVS_SCX_LLCS; i++) {
		err = scx_bpf_create_dsq(DSQ_LLC + i, -1);
		if (err)
			return err;
	}
	report = bpf_map_lookup_elem(&scx_report, &zero);
	if (report) {
		report->cpus = host.cpus;
		*(volatile __u32 *)&report->attached = 1;
	}
	return 0;
}

SEC("struct_ops/exit")
int BPF_PROG(pvs_exit, struct scx_exit_info *info)
{
	__u32 zero = 0;
	struct pvs_scx_report *report = bpf_map_lookup_elem(&scx_report, &zero);

	if (!report)
		return 0;
	report->attached = 0;
	report->code = info->exit_code;
	bpf_probe_read_kernel_str(report->reason, sizeof(report->reason),
				  info->reason);
	bpf_probe_read_kernel_str(report->message, sizeof(report->message),
				  info->msg);
	*(volatile __u32 *)&report->kind = info->kind;
	return 0;
}

SEC(".struct_ops")
struct sched_ext_ops pvsched = {
	.select_cpu = (void *)pvs_select_cpu,
	.enqueue = (void *)pvs_enqueue,
	.dispatch = (void *)pvs_dispatch,
	.runnable = (void *)pvs_runnable,
	.running = (void *)pvs_running,
	.stopping = (void *)pvs_stopping,
	.quiescent = (void *)pvs_quiescent,
	.yield = (void *)pvs_yield,
	.enable = (void *)pvs_enable,
	.cpu_release = (void *)pvs_cpu_release,
	.cpu_online = (void *)pvs_cpu_online,
	.cpu_offline = (void *)pvs_cpu_offline,
	.init = (void *)pvs_init,
	.exit = (void *)pvs_exit,
	/* Else the kernel puts them in the CPU's local queue by itself. */
	.flags = SCX_OPS_ENQ_EXITING,
	.timeout_ms = 10000,
	.name = PVS_SCX_NAME,
};
