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

/* A vCPU's records. */
struct vcpu {
	__u32 index;
	struct pvs_mailbox *box;
	struct pvs_scx_place *place;
};

/* Whether p is a vCPU of ours, and its records. */
static __always_inline bool vcpu_of(struct task_struct *p, struct vcpu *v)
{
	__u32 tid = p->pid, key = tid % VCPU_NEAR, *near;
	struct pvs_vcpu *record;

	if (!vcpu_known(p))
		return 0;
	near = bpf_map_lookup_elem(&scx_near, &key);
	if (!near)
		return 0;
	v->index = *(volatile __u32 *)near;
	v->box = bpf_map_lookup_elem(&mailboxes, &v->index);
	if (!v->box || *(volatile __u32 *)&v->box->tid != tid) {
		record = bpf_map_lookup_elem(&vcpus, &tid);
		if (!record)
			return 0;
		v->index = record->index;
		*(volatile __u32 *)near = v->index;
		v->box = bpf_map_lookup_elem(&mailboxes, &v->index);
	}
	v->place = bpf_map_lookup_elem(&scx_places, &v->index);
	return v->box && v->place;
}

static __always_inline __u32 vcpu_body(const struct vcpu *v)
{
	if (v->box->dead)
		return 0;
	return *(volatile __u64 *)&v->box->decision & PVS_DECISION_BODY;
}

/* pvs_scx_urgency() of one that queues on `cpu`. */
static __always_inline __u32 vcpu_queues(const struct vcpu *v, __u32 cpu)
{
	__sync_lock_test_and_set(&v->place->cpu, cpu); /* a barrier */
	return pvs_scx_urgency(vcpu_body(v));
}

/* pvs_scx_urgency() of p. */
static __always_inline __u32 vcpu_urgency(struct task_struct *p)
{
	struct vcpu v;

	return vcpu_of(p, &v) ? pvs_scx_urgency(vcpu_body(&v)) : 0;
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
	struct vcpu v;

	return vcpu_of(p, &v) && v.place->by_cpu;
}

/* p is put on the CPU. Returns whether its virtual time is by that one's clock. */
static __always_inline bool vcpu_runs(struct task_struct *p,
				      const struct vcpu *v,
				      struct pvs_scx_cpu *c, __u32 cpu)
{
	__u32 urgency = pvs_scx_urgency(vcpu_body(v));

	v->place->cpu = cpu;
	vcpu_comes_back(p, v->place);
	*(volatile __u32 *)&c->boosted = urgency;
	v->place->favoured = urgency > 0;
	return v->place->by_cpu;
}

/* scx.weight of nice 0 to 19, which is all that a decision to yield has; 32
 * of them, so that the verifier sees the bound; volatile, or clang puts them
 * where libbpf does not find them (.rodata.cst32). */
static const volatile __u8 yield_weights[32] = {
	100, 80, 64, 51, 41, 33, 27, 21, 17, 13, 11, 8, 7, 5, 4, 4, 3, 2, 2, 1,
};

/* The weight of v, which is on a CPU, by its own: for one that yields less by so
 * much. */
static __always_inline __u32 vcpu_weight(struct task_struct *p,
					 const struct vcpu *v, __u32 weight)
{
	__u32 body = vcpu_body(v), light, own = p->scx.weight;

	if (pvs_decision_class(body) != PVSCHED_CLASS_YIELD)
		return weight;
	light = yield_weights[pvs_decision_nice(body) & 31];
	if (light && light < own)
		weight = (__u64)weight * light / own;
	return weight < PVS_SCX_LEAST ? PVS_SCX_LEAST : weight;
}

/* p, which has been on the CPU and would go on. Returns whether it has been put on
 * boosted, and is to be charged from now on: it has been lowered. */
static __always_inline bool vcpu_is_lowered(struct task_struct *p,
					    struct pvs_scx_cpu *c)
{
	__u32 urgency = 0, was = c->boosted;
	bool known, favoured;
	struct vcpu v;

	known = vcpu_of(p, &v);
	if (known)
		urgency = pvs_scx_urgency(vcpu_body(&v));
	*(volatile __u32 *)&c->boosted = urgency;
	favoured = known ? v.place->favoured : was;
	if (urgency || !favoured)
		return 0;
	if (known)
		v.place->favoured = 0;
	return 1;
}

#endif /* PVSCHED_SCX_VCPU_H */
