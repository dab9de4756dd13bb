/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Slices end on time while somebody waits. The kernel looks at a slice at its
 * ticks only, 4 ms apart where HZ is 250; its own scheduler has a timer for that
 * (HRTICK, on by default from Linux 7.1).
 *
 * One timer per CPU, started there when something waits: it is not set anew at
 * each switch, but looks when it goes off how long the current task has run.
 * Nobody waits any more: it is not started again.
 */
#ifndef PVSCHED_SCX_SLICES_H
#define PVSCHED_SCX_SLICES_H

#include "scx/queues.h"

#define SLICE_NEARLY 8 /* the end of a slice: a part of it that is not missed */
#define SLICE_MOMENT 8 /* a part of it, out of turn */

struct slice_timer {
	struct bpf_timer timer;
	__u32 started;
	__u32 pad[11];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_SCX_CPUS);
	__type(key, __u32);
	__type(value, struct slice_timer);
} scx_slices SEC(".maps");

static __always_inline void start_slice(struct slice_timer *s, __u64 ns)
{
	*(volatile __u32 *)&s->started = 1;
	if (bpf_timer_start(&s->timer, ns, BPF_F_TIMER_CPU_PIN))
		*(volatile __u32 *)&s->started = 0;
}

/* Something waits for this CPU, which is `cpu`, or is about to. A waker on
 * another one starts nothing: timers are where they are started, and that one may
 * be idle. It is left to the ticks then, or to who next waits from here. `ran` ns
 * of the slice are over. */
static __always_inline void slice_timed(__u32 cpu, __u64 ran)
{
	struct slice_timer *s = bpf_map_lookup_elem(&scx_slices, &cpu);

	if (!s || *(volatile __u32 *)&s->started ||
	    cpu != bpf_get_smp_processor_id())
		return;
	start_slice(s, host.slice_ns - ran);
}

/* Also one that may not run here; nobody does where the scheduler has ended. */
static __always_inline bool somebody_waits(__u32 cpu)
{
	return scx_bpf_dsq_nr_queued(DSQ_CPU + cpu) > 0 ||
	       scx_bpf_dsq_nr_queued(DSQ_LLC + llc_of(cpu)) > 0 ||
	       scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu) > 0;
}

/* Not under the run queue's lock: what it misses, the tick finds. A slice that is
 * over makes the CPU choose, which starts the timer if there was a choice. */
static int slice_ends(void *map, __u32 *key, struct slice_timer *s)
{
	__u32 cpu = *key;
	struct pvs_scx_cpu *c = cpu_record(cpu);
	__u64 ran, slice = host.slice_ns, now = pvs_now();

	*(volatile __u32 *)&s->started = 0;
	if (!c || !*(volatile __u32 *)&c->weight ||
	    *(volatile __u32 *)&c->boosted ||
	    cpu != bpf_get_smp_processor_id() || !somebody_waits(cpu))
		return 0;
	ran = before(c->since, now) ? now - c->since : 0;
	if (ran + slice / SLICE_NEARLY >= slice) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return 0;
	}
	start_slice(s, slice - ran);
	return 0;
}

/* Before the scheduler is in force; again where it has been. */
static __always_inline int slice_ready(struct slice_timer *s)
{
	*(volatile __u32 *)&s->started = 0;
	bpf_timer_init(&s->timer, &scx_slices, CLOCK_MONOTONIC);
	return bpf_timer_set_callback(&s->timer, slice_ends);
}

#endif /* PVSCHED_SCX_SLICES_H */
