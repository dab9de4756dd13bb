// SPDX-License-Identifier: GPL-2.0
/*
 * pvsched's scheduler: all fair tasks of the host, by sched_ext.
 *
 * Ordinary tasks share CPUs by weighted virtual time: run time divided by
 * weight; who has least runs next, for a slice. Tasks that may run on several
 * CPUs wait in one queue for each last-level cache, others in one of their
 * CPU's. Each queue has a clock, the largest virtual time that was put on a
 * CPU from it: who was away comes back at most a slice behind it. A CPU picks
 * between its two queues and the task that it has by virtual time, too; the
 * clocks are set equal while there is nothing to choose. A task that wakes goes
 * straight to an idle CPU, where the kernel finds one: same core, cache, node;
 * else it preempts what it is far enough behind.
 *
 * A vCPU whose policy boosts it (the decision in its mailbox) goes to an idle
 * CPU of those, else it preempts what runs, else (a boosted vCPU runs there,
 * too) it is the next in its queue. It is charged like any other. One that is
 * raised while it waits, or lowered while it runs: scx_effect.h.
 *
 * Real-time and deadline tasks are other classes, above this one.
 */
#define PVS_SHARED_MAPS_ONLY
#include "scx/scx_compat.h"

#include <bpf/bpf_tracing.h>

#include "maps.h"
#include "scx/queues.h"
#include "scx/vcpu.h"

char LICENSE[] SEC("license") = "GPL";

/* --- waiting -------------------------------------------------------------- */

/* A CPU near `cpu` that p, so urgent, may preempt, or -1. */
static __always_inline __s32 victim(struct task_struct *p, __u32 cpu,
				    bool stays, __u32 urgency)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);
	__u32 i, other = cpu;

	if (c && !c->taken && *(volatile __u32 *)&c->boosted < urgency)
		return cpu;
	for (i = 1; !stays && i < host.cpus && i < 64; i++) {
		if (++other >= host.cpus)
			other = 0;
		c = cpu_record(other);
		if (c && !c->taken && llc_of(other) == llc_of(cpu) &&
		    *(volatile __u32 *)&c->boosted < urgency &&
		    pvs_may_run(p, other))
			return other;
	}
	return -1;
}

SEC("struct_ops/select_cpu")
__s32 BPF_PROG(pvs_select_cpu, struct task_struct *p, __s32 prev_cpu,
	       __u64 wake_flags)
{
	struct pvs_scx_llc *llc;
	bool is_idle = 0;
	__s32 cpu, other;
	__u32 urgency;

	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle) {
		/* Nobody else wants that CPU: what it owes is forgotten, so
		 * that its time does not drive the clock. */
		llc = llc_record(cpu);
		if (llc && before(llc->clock, p->scx.dsq_vtime) &&
		    p->nr_cpus_allowed > 1)
			pvs_set_vtime(p, llc->clock);
		pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, 0);
		return cpu;
	}
	if (!vcpu_known(p)) {
		/* The waker is about to sleep, and nobody else waits. */
		if ((wake_flags & PVS_WAKE(SCX_WAKE_SYNC)) &&
		    cpu == (__s32)bpf_get_smp_processor_id() &&
		    !scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) &&
		    !scx_bpf_dsq_nr_queued(DSQ_CPU + cpu) &&
		    !scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | (__u32)cpu))
			pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, 0);
		return cpu;
	}
	urgency = pvs_scx_urgency(vcpu_decision(p, cpu));
	if (!urgency)
		return cpu;
	other = victim(p, cpu, 0, urgency);
	if (other < 0)
		return cpu;
	pvs_insert(p, SCX_DSQ_LOCAL_ON | (__u32)other, host.slice_ns,
		   PVS_ENQ(SCX_ENQ_PREEMPT) | PVS_ENQ(SCX_ENQ_HEAD));
	return other;
}

/* Queues a boosted vCPU; preempts where it may. */
static __always_inline void enqueue_boosted(struct task_struct *p, __u32 cpu,
					    bool stays, __u32 urgency,
					    __u64 flags, __u64 dsq, __u64 clock)
{
	__s32 other = victim(p, cpu, stays, urgency);

	if (other >= 0) {
		pvs_insert(p, SCX_DSQ_LOCAL_ON | (__u32)other, host.slice_ns,
			   flags | PVS_ENQ(SCX_ENQ_PREEMPT) |
				   PVS_ENQ(SCX_ENQ_HEAD));
		return;
	}
	vcpu_goes_ahead(p, limited(p, clock, flags));
	pvs_insert_vtime(p, dsq, host.slice_ns, clock - 2 * AHEAD_NS - urgency,
			 flags);
}

SEC("struct_ops/enqueue")
int BPF_PROG(pvs_enqueue, struct task_struct *p, __u64 flags)
{
	__u32 cpu = scx_bpf_task_cpu(p), urgency;
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	bool stays = pvs_stays(p);
	__u64 dsq, clock, vtime;
	__s32 idle;

	if (!c || !llc)
		return 0;
	dsq = stays ? DSQ_CPU + cpu : DSQ_LLC + llc_of(cpu);
	clock = stays ? c->clock : llc->clock;
	if (vcpu_known(p)) {
		urgency = pvs_scx_urgency(vcpu_decision(p, cpu));
		if (urgency) {
			enqueue_boosted(p, cpu, stays, urgency, flags, dsq,
					clock);
			return 0;
		}
	}
	/* A CPU's own kernel thread: short, and others wait for it. One that
	 * goes on for longer queues. */
	if (stays && (p->flags & PF_KTHREAD) &&
	    (flags & PVS_ENQ(SCX_ENQ_WAKEUP))) {
		pvs_insert(p, SCX_DSQ_LOCAL, host.slice_ns, flags);
		return 0;
	}
	vtime = limited(p, clock, flags);
	pvs_insert_vtime(p, dsq, host.slice_ns, vtime, flags);
	if ((flags & PVS_ENQ(SCX_ENQ_WAKEUP)) &&
	    overtakes(c, vtime + (stays ? c->offset : 0))) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return 0;
	}
	if (!stays && !pvs_cpu_selected(flags)) {
		idle = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (idle >= 0)
			scx_bpf_kick_cpu(idle, SCX_KICK_IDLE);
	}
	return 0;
}

/* --- picking -------------------------------------------------------------- */

SEC("struct_ops/dispatch")
int BPF_PROG(pvs_dispatch, __s32 cpu, struct task_struct *prev)
{
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	bool own, shared;
	__u32 yielded;

	if (!c || !llc)
		return 0;
	if (*(volatile __u32 *)&c->urgent) {
		__sync_lock_test_and_set(&c->urgent, 0);
		if (take_raised(c, DSQ_CPU + cpu, cpu) ||
		    take_raised(c, DSQ_LLC + llc_of(cpu), cpu))
			return 0;
	}
	yielded = c->yielded;
	c->yielded = 0;
	if (prev && (!(prev->scx.flags & SCX_TASK_QUEUED) || yielded))
		prev = 0;
	own = scx_bpf_dsq_nr_queued(DSQ_CPU + cpu) > 0;
	shared = scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) > 0;
	if (own + shared + !!prev > 1) {
		pick(c, llc, cpu, prev);
		return 0;
	}
	c->offset = llc->clock - c->clock;
	if (prev)
		goes_on(c, llc, prev);
	else if (own)
		pvs_move_to_local(DSQ_CPU + cpu);
	else
		take_shared(llc_of(cpu));
	return 0;
}

/* --- running -------------------------------------------------------------- */

SEC("struct_ops/running")
int BPF_PROG(pvs_running, struct task_struct *p)
{
	__u32 cpu = scx_bpf_task_cpu(p);
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);
	__u64 vtime;
	bool stays;

	if (!c || !llc)
		return 0;
	c->taken = 0;
	c->began = p->se.sum_exec_runtime;
	c->since = pvs_now();
	if (vcpu_known(p))
		vcpu_runs(p, c, cpu);
	vtime = p->scx.dsq_vtime;
	stays = p->nr_cpus_allowed == 1;
	c->vtime = vtime + (stays ? c->offset : 0);
	c->weight = p->scx.weight;
	/* Of these it need not be the turn. */
	if (c->boosted || (stays && (p->flags & PF_KTHREAD)))
		return 0;
	advance(stays ? &c->clock : &llc->clock, vtime);
	return 0;
}

SEC("struct_ops/stopping")
int BPF_PROG(pvs_stopping, struct task_struct *p, bool runnable)
{
	struct pvs_scx_cpu *c = cpu_record(scx_bpf_task_cpu(p));
	__u32 weight = p->scx.weight;
	__u64 ran;

	if (!c)
		return 0;
	ran = p->se.sum_exec_runtime - c->began;
	c->began = p->se.sum_exec_runtime;
	c->weight = 0;
	if (vcpu_known(p))
		weight = vcpu_stops(p, c, weight);
	pvs_set_vtime(p, p->scx.dsq_vtime + charge(ran, weight));
	return 0;
}

SEC("struct_ops/yield")
bool BPF_PROG(pvs_yield, struct task_struct *from, struct task_struct *to)
{
	struct pvs_scx_cpu *c = cpu_record(scx_bpf_task_cpu(from));

	if (c)
		c->yielded = 1;
	pvs_set_slice(from, 0);
	return 0;
}

/* --- coming and going ----------------------------------------------------- */

SEC("struct_ops/enable")
int BPF_PROG(pvs_enable, struct task_struct *p)
{
	__u32 cpu = scx_bpf_task_cpu(p);
	struct pvs_scx_cpu *c = cpu_record(cpu);
	struct pvs_scx_llc *llc = llc_record(cpu);

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
	struct pvs_scx_cpu *c = cpu_record(cpu);

	if (c)
		c->taken = 1;
	scx_bpf_reenqueue_local();
	return 0;
}

/* Without these the kernel ends the scheduler when a CPU comes or goes. What
 * waits at one that has gone is taken by others, or moved by the kernel. */
SEC("struct_ops/cpu_online")
int BPF_PROG(pvs_cpu_online, __s32 cpu)
{
	return 0;
}

SEC("struct_ops/cpu_offline")
int BPF_PROG(pvs_cpu_offline, __s32 cpu)
{
	return 0;
}

/* What an earlier attachment has left. */
static int fresh_cpu(void *map, __u32 *cpu, struct pvs_scx_cpu *c, void *none)
{
	__builtin_memset(c, 0, sizeof(*c));
	c->llc = llc_of(*cpu);
	return *cpu + 1 >= host.cpus;
}

static int fresh_place(void *map, __u32 *index, struct pvs_scx_place *place,
		       void *none)
{
	place->ahead = 0;
	return 0;
}

SEC("struct_ops/init")
__s32 BPF_PROG(pvs_init)
{
	struct pvs_scx_report *report;
	__u32 i, zero = 0;
	__s32 err;

	bpf_for_each_map_elem(&scx_cpus, fresh_cpu, 0, 0);
	bpf_for_each_map_elem(&scx_places, fresh_place, 0, 0);
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
	.running = (void *)pvs_running,
	.stopping = (void *)pvs_stopping,
	.yield = (void *)pvs_yield,
	.enable = (void *)pvs_enable,
	.cpu_release = (void *)pvs_cpu_release,
	.cpu_online = (void *)pvs_cpu_online,
	.cpu_offline = (void *)pvs_cpu_offline,
	.init = (void *)pvs_init,
	.exit = (void *)pvs_exit,
	.timeout_ms = 10000,
	.name = PVS_SCX_NAME,
};
