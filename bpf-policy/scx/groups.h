/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Weights of cgroups (cpu.weight, cpu.shares), flattened. A group's weight is
 * shared by what is runnable in it: tasks by theirs, groups below it by theirs.
 * So a task's virtual time runs by its own weight times, for each group above
 * it, the group's weight as part of all that wants it there.
 *
 * A group's record holds the sum of these wants. Tasks come and go by
 * runnable() and quiescent(); a group that had none and has some is one more
 * for the group above it, and so on. What a group has been given there is
 * exchanged whole, so sums stay exact whoever comes and goes meanwhile; a
 * weight that an administrator changes is taken over when it is next read.
 * What is in a group below PVS_SCX_LEVELS counts as in the one of that level.
 *
 * No callback tells of groups: kernels without EXT_GROUP_SCHED have none, and
 * libbpf 1.1 cannot leave members out.
 */
#ifndef PVSCHED_SCX_GROUPS_H
#define PVSCHED_SCX_GROUPS_H

#include "scx/scx.h"
#include "scx/scx_compat.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_SCX_GROUPS);
	__type(key, __u32); /* id of the group in the cpu controller */
	__type(value, struct pvs_scx_group);
} scx_groups SEC(".maps");

/* What counts as a group: not the root, nor an autogroup, whose id is 0. One
 * with a larger id than there are records is passed over, too. */
static __always_inline struct pvs_scx_group *group_record(struct task_group *tg)
{
	__u32 id = tg->css.id;

	return id ? bpf_map_lookup_elem(&scx_groups, &id) : 0;
}

/* As cpu.weight has it: 100 is the default. */
static __always_inline __s64 group_weight(struct task_group *tg)
{
	__s64 weight = (tg->shares * 100 + (1 << 19)) >> 20;

	return weight > 0 ? weight : 1;
}

/* Gives the group above what this one counts for there now. Returns by how much
 * that has changed. */
static __always_inline __s64 group_settle(struct pvs_scx_group *g, __s64 weight)
{
	__s64 change = 0, give;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		give = *(volatile __s64 *)&g->wants > 0 ? weight : 0;
		if (*(volatile __s64 *)&g->given == give)
			break;
		change += give - __sync_lock_test_and_set(&g->given, give);
	}
	return change;
}

/* The group that p counts in: its own, or the one above that of the lowest level
 * which is followed; 0: none, or its root is out of sight. */
static __always_inline struct task_group *group_of(struct task_struct *p)
{
	struct task_group *tg = pvs_task_group(p), *above = tg;
	int level;

	/* The root, which is none. */
	if (tg && !tg->parent)
		return tg;
	for (level = 0; level < PVS_SCX_LEVELS && above; level++)
		above = above->parent;
	for (level = 0; level < PVS_SCX_DEEPEST && above; level++) {
		above = above->parent;
		if (above)
			tg = tg->parent;
	}
	return above && above->parent ? 0 : tg;
}

/* p's weight joins its group, or leaves it. */
static __always_inline void group_counts(struct task_struct *p, __s64 change)
{
	struct task_group *tg = group_of(p), *up;
	struct pvs_scx_group *g;
	int level;

	for (level = 0; level < PVS_SCX_LEVELS && tg && change; level++) {
		up = tg->parent;
		if (!up)
			break;
		g = group_record(tg);
		if (g) {
			__sync_fetch_and_add(&g->wants, change);
			change = group_settle(g, group_weight(tg));
		}
		tg = up;
	}
}

/* p's weight among all tasks, in PVS_SCX_UNIT. */
static __always_inline __u32 effective_weight(struct task_struct *p)
{
	struct task_group *tg = group_of(p), *up;
	__u64 weight = (__u64)p->scx.weight * PVS_SCX_UNIT;
	struct pvs_scx_group *g;
	__s64 wants, own, change = 0;
	int level;

	if (!tg && pvs_task_group(p))
		return PVS_SCX_LEAST; /* or deep groups were a way out */
	for (level = 0; level < PVS_SCX_LEVELS && tg; level++) {
		up = tg->parent;
		if (!up)
			break;
		g = group_record(tg);
		if (g) {
			if (change)
				__sync_fetch_and_add(&g->wants, change);
			own = group_weight(tg);
			change = g->given != own ? group_settle(g, own) : 0;
			wants = *(volatile __s64 *)&g->wants;
			if (wants > 0 && wants != own)
				weight = weight * own / wants;
		}
		tg = up;
	}
	if (weight < PVS_SCX_LEAST)
		return PVS_SCX_LEAST;
	return weight > PVS_SCX_MOST ? PVS_SCX_MOST : weight;
}

#endif /* PVSCHED_SCX_GROUPS_H */
