/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tagged threads: how many foreground ones want a CPU, and which background
 * vCPU is on a CPU that a foreground one is about to want. A thread without a
 * tag costs one test.
 *
 * A foreground thread is counted in the NUMA node where it last ran, from its
 * wake-up until it sleeps. `counted` says where, and is changed by exchange
 * only: whoever takes a value out takes it off the node's count, so events that
 * cross leave the sum right.
 */
#ifndef PVSCHED_PRESENCE_H
#define PVSCHED_PRESENCE_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"

static __always_inline void count_in(struct pvs_presence *p, __u32 node)
{
	__u32 was = __sync_lock_test_and_set(&p->counted, node);

	if (was)
		__sync_fetch_and_add(
			&pvs_globals.nodes[(was - 1) & (PVS_NODES - 1)].wanting,
			-1);
	if (node)
		__sync_fetch_and_add(
			&pvs_globals.nodes[(node - 1) & (PVS_NODES - 1)].wanting,
			1);
}

/* How many foreground threads want a CPU of its node. */
static __always_inline __u32 foreground_beside(const struct pvs_presence *p)
{
	return *(volatile __u32 *)&pvs_globals.nodes[p->node & (PVS_NODES - 1)]
			.wanting;
}

/* The CPU's entry of a background vCPU at its switches; for a foreground one
 * that wakes, the TID found there. */
static __always_inline __u32 tenancy(const struct pvs_presence *p, __u32 tid,
				     __u32 ev)
{
	__u32 cpu = p->cpu;
	__u32 *tenant = bpf_map_lookup_elem(&tenants, &cpu);

	if (!tenant)
		return 0;
	if (p->tag == PVS_TAG_BACKGROUND && ev == PVS_EV_SWITCH_IN)
		*tenant = tid;
	else if (*tenant == tid &&
		 (p->tag != PVS_TAG_BACKGROUND || ev == PVS_EV_PREEMPTED ||
		  ev == PVS_EV_SLEEP))
		*tenant = 0;
	return p->tag == PVS_TAG_FOREGROUND && ev == PVS_EV_WAKING ? *tenant :
								     0;
}

/*
 * One event of a tagged thread, or of one whose tag was taken away. Returns the
 * TID of a background vCPU that is in its way and should be looked at, or 0.
 * A global function: one more call for the verifier, not one more path.
 */
__attribute__((noinline)) __u32 mark(struct pvs_presence *p, __u32 tid,
				     __u32 ev, __u32 wants)
{
	__u32 node = 0;

	if (!p)
		return 0;
	if (ev == PVS_EV_SWITCH_IN) {
		p->cpu = bpf_get_smp_processor_id();
		p->node = bpf_get_numa_node_id();
	}
	if (wants && p->tag == PVS_TAG_FOREGROUND)
		node = (p->node & (PVS_NODES - 1)) + 1;
	if (node != *(volatile __u32 *)&p->counted) {
		count_in(p, node);
		/* The tag may have been taken away meanwhile, and nobody looks
		 * at this thread again. */
		if (node && *(volatile __u32 *)&p->tag != PVS_TAG_FOREGROUND)
			count_in(p, 0);
	}
	return ev <= PVS_EV_WAKING ? tenancy(p, tid, ev) : 0;
}

/* A thread that is no vCPU, by its TID. */
static __always_inline __u32 mark_other(__u32 tid, __u32 ev)
{
	struct pvs_presence *p = bpf_map_lookup_elem(&others, &tid);

	return p ? mark(p, tid, ev, ev != PVS_EV_SLEEP) : 0;
}

/* It wants nothing any more. */
static __always_inline void unmark(struct pvs_presence *p, __u32 tid)
{
	p->tag = PVS_TAG_NONE;
	mark(p, tid, PVS_EV_ADMIN, 0);
}

#endif /* PVSCHED_PRESENCE_H */
