/* SPDX-License-Identifier: GPL-2.0 */
/* The scheduler's records as they are before it comes into force: what an earlier
 * time of it has left in them is gone. */
#ifndef PVSCHED_SCX_ANEW_H
#define PVSCHED_SCX_ANEW_H

#include "scx/groups.h"
#include "scx/queues.h"
#include "scx/slices.h"

static int fresh_cpu(void *map, __u32 *cpu, struct pvs_scx_cpu *c, void *none)
{
	__builtin_memset(c, 0, sizeof(*c));
	c->look = pvs_now() >> LOOK_SHIFT;
	c->llc = llc_of(*cpu);
	return *cpu + 1 >= host.cpus;
}

static int fresh_slice(void *map, __u32 *cpu, struct slice_timer *s, void *err)
{
	*(int *)err = slice_ready(s);
	return *(int *)err || *cpu + 1 >= host.cpus;
}

static int fresh_place(void *map, __u32 *index, struct pvs_scx_place *place,
		       void *none)
{
	place->ahead = 0;
	place->by_cpu = 0;
	return 0;
}

static int fresh_group(void *map, __u32 *id, struct pvs_scx_group *g,
		       void *none)
{
	g->wants = 0;
	g->given = 0;
	return 0;
}

/* 0, or the error of a timer. */
static __always_inline int begin_anew(void)
{
	int err = 0;

	bpf_for_each_map_elem(&scx_cpus, fresh_cpu, 0, 0);
	bpf_for_each_map_elem(&scx_slices, fresh_slice, &err, 0);
	bpf_for_each_map_elem(&scx_places, fresh_place, 0, 0);
	bpf_for_each_map_elem(&scx_groups, fresh_group, 0, 0);
	return err;
}

#endif /* PVSCHED_SCX_ANEW_H */
