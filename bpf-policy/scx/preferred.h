/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPUs that a vCPU prefers (docs/design/cpu-selection.md): where one of them is
 * chosen. It queues there by that CPU's clock, as what must stay does.
 */
#ifndef PVSCHED_SCX_PREFERRED_H
#define PVSCHED_SCX_PREFERRED_H

#include "scx/queues.h"

struct preferred_choice {
	struct task_struct *p;
	struct pvs_preference *preference;
	__u32 from; /* the first that is looked at */
	__u32 urgency;
	__s32 any, gives_way, idle; /* the first that is, or -1 */
};

static long preferred_look(__u32 i, struct preferred_choice *choice)
{
	__u32 cpu = choice->from + i;
	struct pvs_scx_cpu *c;

	if (cpu >= host.cpus)
		cpu -= host.cpus;
	if (!(choice->preference->cpus[(cpu >> 6) & (PVS_TENANT_CPUS / 64 - 1)] &
	      1ull << (cpu & 63)))
		return 0;
	c = cpu_record(cpu);
	if (!c || c->gone || !pvs_may_run(choice->p, cpu))
		return 0;
	if (scx_bpf_test_and_clear_cpu_idle(cpu)) {
		choice->idle = cpu;
		return 1;
	}
	/* Neither ours nor idle; or it is p that is being put off. */
	if (!*(volatile __u32 *)&c->weight && i)
		return 0;
	if (choice->any < 0)
		choice->any = cpu;
	if (choice->gives_way < 0 && gives_way(c, choice->urgency))
		choice->gives_way = cpu;
	return 0;
}

/* A preferred CPU for p, which is v and has been on `from`: an idle one, else one
 * that gives way to its urgency, else the next; -1: it prefers none that it may
 * use. */
static __always_inline __s32 preferred_cpu(struct task_struct *p,
					   const struct vcpu *v, __u32 from,
					   bool *is_idle)
{
	struct preferred_choice choice = { .p = p, .from = from };

	choice.preference = bpf_map_lookup_elem(&preferences, &v->index);
	if (!choice.preference)
		return -1;
	choice.urgency = pvs_scx_urgency(vcpu_body(v));
	choice.any = choice.gives_way = choice.idle = -1;
	bpf_loop(host.cpus, preferred_look, &choice, 0);
	*is_idle = choice.idle >= 0;
	if (*is_idle)
		return choice.idle;
	return choice.gives_way >= 0 ? choice.gives_way : choice.any;
}

#endif /* PVSCHED_SCX_PREFERRED_H */
