/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One event of one vCPU: its record is looked up, the guest's intent word is
 * read once from the shared area, the VM's policy is asked and pvs_decide()
 * (decide.h) decides. Only a changed decision leaves the program: it is stored
 * in the vCPU's mailbox, in the guest's host slot, and one ring record wakes
 * the actuator unless one is on its way; or the scheduler (scx/) is told, where
 * that is in force. No lock, no wait.
 */
#ifndef PVSCHED_EVALUATE_H
#define PVSCHED_EVALUATE_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "ask.h"
#include "maps.h"
#include "presence.h"
#include "scx/scx_effect.h"

static __always_inline void *area_slot(void *areas, __u32 vm, __u32 slot)
{
	void *area = bpf_map_lookup_elem(areas, &vm);

	return area ? bpf_map_lookup_elem(area, &slot) : 0;
}

static __always_inline void count_delay(__u64 *hist, __u64 ns)
{
	__u32 bucket = 0;

	if (ns >> 32)
		bucket = 32, ns >>= 32;
	if (ns >> 16)
		bucket += 16, ns >>= 16;
	if (ns >> 8)
		bucket += 8, ns >>= 8;
	if (ns >> 4)
		bucket += 4, ns >>= 4;
	if (ns >> 2)
		bucket += 2, ns >>= 2;
	if (ns >> 1)
		bucket += 1;
	if (bucket >= PVS_HIST_BUCKETS)
		bucket = PVS_HIST_BUCKETS - 1;
	hist[bucket]++;
}

static __always_inline void count(struct pvs_vcpu *v, struct pvs_stats *s,
				  const struct pvs_outcome *out, __u32 events,
				  __u64 now)
{
	s->events++;
	s->run_ns += out->ran;
	s->boosted_ns[out->ran_class & 3] += out->ran_boosted;
	s->critical_throttles += out->critical_throttle;
	s->total_throttles += out->total_throttle;
	if (out->changed) {
		s->decisions++;
		s->boosts[out->decision & 3]++;
		if (events & PVS_EVENT(PVS_EV_TIMER))
			s->cutoffs++;
	}
	s->refused_wishes += out->refused;
	if (events & PVS_EVENT(PVS_EV_PREEMPTED))
		s->preemptions++;
	if (events & PVS_EVENT(PVS_EV_SLEEP))
		s->halts++;
	if (events & PVS_EVENT(PVS_EV_INJECT))
		s->injections++;
	if (events & PVS_EVENT(PVS_EV_WAKING))
		v->woken = now;
	if (events & PVS_EVENT(PVS_EV_SWITCH_IN)) {
		if (v->woken)
			count_delay(s->wake_to_run,
				    pvs_sub_floor(now, v->woken));
		if (v->raised)
			count_delay(s->raise_to_run,
				    pvs_sub_floor(now, v->raised));
		v->woken = 0;
		v->raised = 0;
	}
	if (out->changed) {
		v->raised = 0;
		if (v->machine.run == PVS_RUN_WAITING &&
		    pvs_boost_class(out->decision))
			v->raised = now;
	}
}

static __always_inline void store_placement(const struct pvs_vcpu *v,
					    __u64 word)
{
	__u32 vm = v->vm, slot = v->slot;
	struct pvsched_host_slot *host = area_slot(&host_areas, vm, slot);

	if (host)
		*(volatile __u64 *)&host->placement = word;
}

/* Limits or areas have changed: told anew at the vCPU's next event, or no more. */
static __always_inline void share_placement(struct pvs_vcpu *v)
{
	__u32 vm = v->vm;
	struct pvs_limits *l = bpf_map_lookup_elem(&limits, &vm);

	v->share = l && l->placement;
	v->told = 0;
	if (!v->share)
		store_placement(v, 0);
}

/*
 * The placement word (R11), told by the event's own CPU before anything may
 * leave the event to another one. A thread's switches follow one another: a
 * plain store will do. A store that crossed with the end of sharing is undone
 * by the next switch.
 */
static __always_inline void tell_placement(struct pvs_vcpu *v,
					   enum pvs_event ev)
{
	__u64 flags = PVSCHED_PLACEMENT_VALID;

	if (!v->share && !v->told)
		return;
	if (ev == PVS_EV_SWITCH_IN || (ev == PVS_EV_GUEST && !v->told))
		flags |= PVSCHED_PLACEMENT_RUNNING;
	else if (ev == PVS_EV_PREEMPTED)
		flags |= PVSCHED_PLACEMENT_PREEMPTED;
	else if (ev == PVS_EV_SLEEP)
		flags |= PVSCHED_PLACEMENT_HALTED;
	else
		return;
	v->told = v->share;
	if (!v->told) {
		store_placement(v, 0);
		return;
	}
	store_placement(v, (__u64)bpf_get_smp_processor_id()
					   << PVSCHED_PLACEMENT_CPU_SHIFT |
				   (__u64)bpf_get_numa_node_id()
					   << PVSCHED_PLACEMENT_NODE_SHIFT |
				   flags << PVSCHED_PLACEMENT_FLAGS_SHIFT);
}

/* The guest's word as a checked need. A global function: the verifier follows
 * its many paths once, not once more for each path through evaluate(). */
__attribute__((noinline)) __u64 read_intent(__u64 word,
					    const struct pvs_limits *l)
{
	return l ? pvs_read_intent(l, word) : 0;
}

/* --- one step -------------------------------------------------------------- */

/* Whom a step has left to be told of a changed decision. */
enum told {
	TOLD_NOBODY,
	TOLD_ACTUATOR,
	TOLD_SCHEDULER,
};

/* Decision and state word, as the step has left them. */
static __always_inline enum told
publish(struct pvs_vcpu *v, struct pvs_mailbox *box, struct pvs_stats *s,
	struct pvsched_host_slot *host, __u32 events, __u64 now)
{
	__u64 state = pvs_state_word(&v->machine), decision;

	if (host &&
	    (state != v->published || (events & PVS_EVENT(PVS_EV_ADMIN)))) {
		v->published = state;
		*(volatile __u64 *)&host->state = state;
	}
	if (!v->outcome.changed)
		return TOLD_NOBODY;
	box->decided_at = now;
	decision = ++v->seq << PVS_DECISION_SEQ_SHIFT | v->outcome.decision;
	__sync_lock_test_and_set(&box->decision, decision);
	if (!pvs_scx_on())
		return __sync_lock_test_and_set(&box->in_flight, 1) ?
			       TOLD_NOBODY :
			       TOLD_ACTUATOR;
	box->applied_at = bpf_ktime_get_ns();
	*(volatile __u64 *)&box->applied = decision;
	count_delay(s->event_to_applied, pvs_sub_floor(box->applied_at, now));
	return TOLD_SCHEDULER;
}

/* The vCPU's timer at the outcome's deadline, or earlier where it is set. */
static __always_inline void arm(struct pvs_vcpu *v, __u64 now)
{
	__u64 deadline = v->outcome.deadline;

	if (deadline == PVS_NEVER || (v->armed > now && deadline >= v->armed))
		return;
	v->armed = deadline;
	if (bpf_timer_start(&v->timer, pvs_sub_floor(deadline, now), 0)) {
		v->armed = 0; /* the next event tries again */
		v->quiet = 0;
	}
}

/* The step of the holder. Returns whether the scheduler is to be told. */
static __always_inline bool step(struct pvs_vcpu *v, __u32 events)
{
	__u32 vm = v->vm, slot = v->slot, index = v->index;
	struct pvs_limits *l = bpf_map_lookup_elem(&limits, &vm);
	struct pvs_mailbox *box = bpf_map_lookup_elem(&mailboxes, &index);
	struct pvs_stats *s = bpf_map_lookup_elem(&stats, &index);
	struct pvsched_guest_slot *guest;
	struct pvsched_host_slot *host;
	struct pvs_record record;
	__u64 now, word, need = 0, until;
	__u32 policy_state;
	enum told told;
	int on;

	if (!l || !box || !s || box->dead)
		return 0;
	guest = area_slot(&guest_areas, vm, slot);
	host = area_slot(&host_areas, vm, slot);
	on = *(volatile __u32 *)&pvs_globals.enabled;
	word = guest ? *(volatile __u64 *)&guest->intent : 0;
	if (guest)
		need = read_intent(word, l);
	now = bpf_ktime_get_ns();
	if (now < v->machine.stamp)
		now = v->machine.stamp; /* the clocks of two CPUs crossed */
	until = box->applied_at;
	if (pvs_boost_class(*(volatile __u64 *)&box->applied))
		until = now; /* still in force */
	if (events & PVS_EVENT(PVS_EV_TIMER))
		v->armed = 0;
	policy_state = pvs_self.states[l->policy & (PVS_POLICY_SLOTS - 1)];
	if (v->policy_state != policy_state) {
		__builtin_memset(&v->state, 0, sizeof(v->state));
		v->policy_state = policy_state;
	}

	pvs_account(&v->machine, l, *(volatile __u8 *)&v->run, until, now,
		    &v->outcome);
	v->event.tag = v->presence.tag;
	v->event.foreground = foreground_beside(&v->presence);
	pvs_tell(&v->machine, l, need, events, now, &v->outcome, &v->event,
		 &v->wish);
	ask_policy(v, s, l->policy);
	PVS_BARRIER();
	pvs_decide(&v->machine, l, &v->wish, on, now, &v->outcome);
	PVS_BARRIER();

	v->seen = word;
	v->quiet = l->debug < 2 ? v->wish.quiet & PVS_QUIET_EVENTS : 0;
	count(v, s, &v->outcome, events, now);
	if (need & PVS_NEED_BAD)
		s->bad_intents++;
	told = publish(v, box, s, host, events, now);
	if (told == TOLD_ACTUATOR) {
		record.index = index;
		if (bpf_ringbuf_output(&ring, &record, sizeof(record),
				       BPF_RB_FORCE_WAKEUP))
			box->in_flight = 0; /* the actuator looks by itself */
	}
	arm(v, now);
	if (l->debug && (v->outcome.changed || l->debug > 1)) {
		bpf_printk("pvsched: vm %u vcpu %u events %x", vm, slot,
			   events);
		bpf_printk("pvsched: need %llx state %llx", need,
			   pvs_state_word(&v->machine));
	}
	return told == TOLD_SCHEDULER;
}

/* Whether an event leaves all as it is. What time changes is the timer's. */
static __always_inline int old_news(struct pvs_vcpu *v, enum pvs_event ev)
{
	__u32 vm = v->vm, slot = v->slot;
	struct pvsched_guest_slot *guest;

	if (!(v->quiet & PVS_EVENT(ev)))
		return 0;
	guest = area_slot(&guest_areas, vm, slot);
	return v->seen == (guest ? *(volatile __u64 *)&guest->intent : 0);
}

extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;
extern int bpf_timer_cancel_async(struct bpf_timer *timer) __ksym __weak;

/* A program can be preempted, on tracepoints from Linux 7 on: what then happens to
 * the vCPU whose record it holds would wait until it goes on. (The last of the
 * functions has come with 7.0; the others are older, but the verifier does not
 * know global functions between them before 6.15.) */
static __always_inline void preemptible(bool on)
{
	if (!bpf_timer_cancel_async || !bpf_preempt_disable)
		return;
	if (on)
		bpf_preempt_enable();
	else
		bpf_preempt_disable();
}

/*
 * One event of the vCPU thread `tid`, which may be none of ours. One CPU at a
 * time evaluates a vCPU, and none waits: who comes meanwhile leaves its event
 * behind, and the one that is at it has the timer look at that at once. The
 * scheduler is told last: it may put the vCPU in this program's place at once,
 * when that can be preempted again. Returns the TID of another vCPU that the
 * event concerns (presence.h), or 0.
 */
__attribute__((noinline)) int evaluate(__u32 tid, __u32 ev)
{
	struct pvs_vcpu *v = bpf_map_lookup_elem(&vcpus, &tid);
	__u32 events = PVS_EVENT(ev), other = 0, was, index, run;
	__u8 before;
	bool tell;

	if (pvs_self.generation != *(volatile __u32 *)&pvs_globals.active)
		return 0;
	if (!v)
		return mark_other(tid, ev);
	before = v->run;
	if (ev >= PVS_EV_SWITCH_IN && ev <= PVS_EV_WAKING)
		v->run = pvs_run_after(v->run, ev);
	if (v->presence.tag || v->presence.counted)
		other = mark(&v->presence, tid, ev, v->run != PVS_RUN_SLEEPING);
	if (ev == PVS_EV_ADMIN)
		share_placement(v);
	else
		tell_placement(v, ev);
	if (old_news(v, ev))
		return other;
	preemptible(0);
	if (__sync_lock_test_and_set(&v->busy, 1)) {
		__sync_fetch_and_or(&v->missed, events);
		if (__sync_lock_test_and_set(&v->busy, 1)) {
			preemptible(1);
			return other;
		}
		events = 0;
	}
	if (*(volatile __u32 *)&v->missed)
		events |= __sync_lock_test_and_set(&v->missed, 0);
	was = v->machine.decision;
	tell = step(v, events);
	index = v->index;
	run = v->machine.run;
	__sync_lock_test_and_set(&v->busy, 0); /* a full barrier */
	if (*(volatile __u32 *)&v->missed &&
	    !__sync_lock_test_and_set(&v->busy, 1)) {
		v->armed = 0;
		bpf_timer_start(&v->timer, PVS_TIMER_MIN_NS, 0);
		__sync_lock_test_and_set(&v->busy, 0);
	}
	if (tell)
		pvs_scx_effect(index, ev | before << 8, run, was);
	preemptible(1);
	return other;
}

static int on_timer(void *map, __u32 *tid, struct pvs_vcpu *v)
{
	evaluate(*tid, PVS_EV_TIMER);
	return 0;
}

#endif /* PVSCHED_EVALUATE_H */
