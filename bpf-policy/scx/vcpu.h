/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scheduler's view of vCPU threads: the decision of each is read from its
 * mailbox, where it is and how it queues is kept in its place record. A task
 * that is none costs one bit test.
 */
#ifndef PVSCHED_SCX_VCPU_H
#define PVSCHED_SCX_VCPU_H

#include "maps.h"
#include "scx/scx_compat.h"
#include "scx/scx_maps.h"

static __always_inline bool vcpu_known(struct task_struct *p)
{
	__u32 tid = p->pid;

	return pvs_globals.filter[(tid >> 6) & (PVS_FILTER_WORDS - 1)] &
	       (1ull << (tid & 63));
}

/* Indices that have been asked for, by TID: an array costs a fifth of what the
 * hash table of all vCPUs does. Right if the mailbox says so, too. */
#define VCPU_NEAR 1024

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VCPU_NEAR);
	__type(key, __u32);
	__type(value, __u32);
} scx_near SEC(".maps");

static __always_inline bool vcpu_index(struct task_struct *p, __u32 *index)
{
	__u32 tid = p->pid, key = tid % VCPU_NEAR;
	__u32 *near = bpf_map_lookup_elem(&scx_near, &key);
	struct pvs_mailbox *box;
	struct pvs_vcpu *v;

	if (!near)
		return 0;
	*index = *(volatile __u32 *)near;
	box = bpf_map_lookup_elem(&mailboxes, index);
	if (box && *(volatile __u32 *)&box->tid == tid)
		return 1;
	v = bpf_map_lookup_elem(&vcpus, &tid);
	if (!v)
		return 0;
	*index = v->index;
	*(volatile __u32 *)near = *index;
	return 1;
}

static __always_inline __u32 vcpu_body(__u32 index)
{
	struct pvs_mailbox *box = bpf_map_lookup_elem(&mailboxes, &index);

	if (!box || box->dead)
		return 0;
	return *(volatile __u64 *)&box->decision & PVS_DECISION_BODY;
}

/* The decision of vCPU `index`, which queues on `cpu`. */
static __always_inline __u32 vcpu_decision(__u32 index, __u32 cpu)
{
	struct pvs_scx_place *place = bpf_map_lookup_elem(&scx_places, &index);

	if (!place)
		return 0;
	__sync_lock_test_and_set(&place->cpu, cpu); /* a barrier */
	return vcpu_body(index);
}

/* pvs_scx_urgency() of p. */
static __always_inline __u32 vcpu_urgency(struct task_struct *p)
{
	__u32 index;

	return vcpu_index(p, &index) ? pvs_scx_urgency(vcpu_body(index)) : 0;
}

/* Where p is, if it is a vCPU of ours, and its index. */
static __always_inline struct pvs_scx_place *vcpu_place(struct task_struct *p,
							__u32 *index)
{
	return vcpu_index(p, index) ? bpf_map_lookup_elem(&scx_places, index) :
				      0;
}

/* If p queued before all others and has not run since, its own virtual time is
 * its again. */
static __always_inline void vcpu_comes_back(struct task_struct *p,
					    struct pvs_scx_place *place)
{
	if (!place->ahead)
		return;
	place->ahead = 0;
	pvs_set_vtime(p, place->vtime);
}

/* Whether the virtual time of p is by the clock of the CPU where it is, which is
 * `offset` behind the cache's, from now on. */
static __always_inline void vcpu_counts(struct task_struct *p,
					struct pvs_scx_place *place,
					bool by_cpu, __u64 offset)
{
	if (place->by_cpu == by_cpu)
		return;
	place->by_cpu = by_cpu;
	pvs_set_vtime(p, p->scx.dsq_vtime + (by_cpu ? -offset : offset));
}

static __always_inline bool vcpu_by_cpu(struct task_struct *p)
{
	__u32 index;
	struct pvs_scx_place *place = vcpu_place(p, &index);

	return place && place->by_cpu;
}

/* p queues before all others; its own virtual time is kept. */
static __always_inline void vcpu_goes_ahead(struct task_struct *p, __u64 vtime)
{
	__u32 index;
	struct pvs_scx_place *place = vcpu_place(p, &index);

	if (!place)
		return;
	place->vtime = vtime;
	place->ahead = 1;
}

/* p is put on the CPU. Returns whether its virtual time is by that one's clock. */
static __always_inline bool vcpu_runs(struct task_struct *p,
				      struct pvs_scx_cpu *c, __u32 cpu)
{
	__u32 index;
	struct pvs_scx_place *place = vcpu_place(p, &index);

	if (!place)
		return 0;
	place->cpu = cpu;
	vcpu_comes_back(p, place);
	*(volatile __u32 *)&c->boosted = pvs_scx_urgency(vcpu_body(index));
	place->favoured = c->boosted > 0;
	return place->by_cpu;
}

/* scx.weight of nice 0 to 19, which is all that a decision to yield has; 32
 * of them, so that the verifier sees the bound; volatile, or clang puts them
 * where libbpf does not find them (.rodata.cst32). */
static const volatile __u8 yield_weights[32] = {
	100, 80, 64, 51, 41, 33, 27, 21, 17, 13, 11, 8, 7, 5, 4, 4, 3, 2, 2, 1,
};

/* Whether p, which is on a CPU, is charged for its run time, and by which
 * weight: for one that yields that is less by so much. */
static __always_inline bool vcpu_is_charged(struct task_struct *p,
					    __u32 *weight)
{
	__u32 index, body, light, own = p->scx.weight;
	struct pvs_scx_place *place = vcpu_place(p, &index);

	if (!place)
		return 1;
	if (place->favoured)
		return 0;
	body = vcpu_body(index);
	if (pvs_decision_class(body) != PVSCHED_CLASS_YIELD)
		return 1;
	light = yield_weights[pvs_decision_nice(body) & 31];
	if (light && light < own)
		*weight = (__u64)*weight * light / own;
	if (*weight < PVS_SCX_LEAST)
		*weight = PVS_SCX_LEAST;
	return 1;
}

/* p, which has been on the CPU and would go on. Returns whether it has been put on
 * boosted, and is to be charged from now on: it has been lowered. */
static __always_inline bool vcpu_is_lowered(struct task_struct *p,
					    struct pvs_scx_cpu *c)
{
	struct pvs_scx_place *place = 0;
	__u32 index, urgency = 0, was = c->boosted;

	if (vcpu_known(p))
		place = vcpu_place(p, &index);
	if (place)
		urgency = pvs_scx_urgency(vcpu_body(index));
	*(volatile __u32 *)&c->boosted = urgency;
	if (urgency || !(place ? place->favoured : was))
		return 0;
	if (place)
		place->favoured = 0;
	return 1;
}

#endif /* PVSCHED_SCX_VCPU_H */
