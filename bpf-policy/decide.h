/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The framework around a policy as pure arithmetic: no helper, no map, no
 * clock. It compiles into the BPF object and natively into the unit tests.
 *
 * One machine per vCPU. Each event takes it one step further:
 *
 *   pvs_account	charge the time since the last event to the budgets
 *   pvs_tell	what the policy may know of the event
 *   (the policy)	policy_interface.h: what it wishes
 *   pvs_decide	the wish, cut by caps, budgets and the enable switches
 *
 * Budgets: budget.h. The guest's word: intent.h.
 *
 * Laziness. A running vCPU is not raised: a boost costs a system call and
 * budget, and buys nothing before the vCPU is preempted. It is raised while it
 * waits or sleeps, and lowered at any event.
 */
#ifndef PVSCHED_DECIDE_H
#define PVSCHED_DECIDE_H

#include "budget.h"
#include "intent.h"

#define PVS_BARRIER() __asm__ __volatile__("" ::: "memory")

#define PVS_TIMER_MIN_NS 5000ull /* no timer is set closer than this */
#define PVS_WISH_MIN_NS 50000ull /* nor by a policy's wish->at than this */

/* All that is kept of one vCPU between events. Zero is not a valid state: use
 * pvs_machine_init(). */
struct pvs_machine {
	__u64 stamp;	      /* the account is settled up to here */
	__u64 critical_left;  /* ns */
	__u64 total_left;     /* ns */
	__u64 critical_until; /* throttled at least until; 0: not throttled */
	__u64 total_until;
	__u64 critical_over; /* ran boosted beyond the budget: to make good */
	__u64 total_over;
	__u64 rest_since; /* end of the last boosted run time */
	__u32 decision;	  /* body of the decision in force */
	__u8 run;	  /* enum pvs_run */
	__u8 late; /* class being taken back; 0: it is in force no more */
	__u8 kick; /* the policy wants the doorbell */
	__u8 pad;
};

struct pvs_outcome {
	__u64 deadline; /* step again at this time; PVS_NEVER: no need */
	__u32 decision; /* body: class, policy, nice, rt priority */
	__u8 changed;	/* differs from what was in force */
	__u8 refused;	/* the wish was none that can be granted */
	__u8 critical_throttle; /* this step found the budget empty */
	__u8 total_throttle;
	__u64 ran;	   /* run time charged by this step, ns */
	__u64 ran_boosted; /* of which boosted */
	__u8 ran_class;	   /* in this class */
};

static __always_inline void
pvs_machine_init(struct pvs_machine *m, const struct pvs_limits *l, __u64 now)
{
	m->stamp = now;
	m->critical_left = l->critical_ns;
	m->total_left = l->total_ns;
	m->critical_until = 0;
	m->total_until = 0;
	m->critical_over = 0;
	m->total_over = 0;
	m->rest_since = now;
	m->decision = 0;
	m->run = PVS_RUN_RUNNING; /* not known yet; never raised like this */
	m->late = 0;
	m->kick = 0;
	m->pad = 0;
}

/* --- the steps ------------------------------------------------------------ */

/* Charges boosted run time to the budgets. */
static __always_inline void pvs_charge(struct pvs_machine *m, __u8 class_,
				       __u64 ns)
{
	pvs_drain(&m->total_left, &m->total_over, ns);
	if (class_ == PVSCHED_CLASS_CRITICAL)
		pvs_drain(&m->critical_left, &m->critical_over, ns);
}

/*
 * Charges the time from m->stamp to now. A boost that was ended is charged
 * until it was really taken back, at `in_force_until`: else a guest that lets
 * go and claims again at once would run for the actuator's delay for nothing.
 */
static __always_inline void pvs_settle(struct pvs_machine *m,
				       const struct pvs_limits *l,
				       __u64 in_force_until, __u64 now,
				       struct pvs_outcome *out)
{
	__u8 class_ = pvs_boost_class(m->decision);
	__u64 dt = pvs_sub_floor(now, m->stamp);
	__u64 boosted = dt, from;
	int asleep;

	if (class_ == PVSCHED_CLASS_BASELINE) {
		class_ = m->late;
		boosted = pvs_min(dt, pvs_sub_floor(in_force_until, m->stamp));
		if (class_ == PVSCHED_CLASS_BASELINE)
			boosted = 0;
		if (in_force_until < now)
			m->late = PVSCHED_CLASS_BASELINE;
	}
	out->ran_class = class_;
	if (m->run == PVS_RUN_RUNNING) {
		out->ran = dt;
		out->ran_boosted = boosted;
	}
	PVS_BARRIER();
	if (out->ran_boosted) {
		pvs_charge(m, class_, boosted);
		m->rest_since = m->stamp + boosted;
	}
	PVS_BARRIER();
	if (out->ran_boosted < dt) {
		from = m->rest_since + PVS_RECOVERY_NS;
		if (from < m->stamp)
			from = m->stamp;
		dt = pvs_sub_floor(now, from);
		asleep = m->run == PVS_RUN_SLEEPING;
		pvs_refill(&m->critical_left, l->critical_ns, l->throttle_ns,
			   asleep, dt);
		pvs_refill(&m->total_left, l->total_ns, l->throttle_ns, asleep,
			   dt);
	}
	/* A lowered limit holds at once. */
	m->critical_left = pvs_min(m->critical_left, l->critical_ns);
	m->total_left = pvs_min(m->total_left, l->total_ns);
	if (now > m->stamp)
		m->stamp = now;
}

/* When a throttled class may be granted again, if nothing is granted before. */
static __always_inline __u64 pvs_throttle_end(const struct pvs_machine *m,
					      const struct pvs_limits *l,
					      __u64 until, __u64 left,
					      __u64 budget, __u64 now)
{
	__u64 refilled = m->rest_since + PVS_RECOVERY_NS;

	if (refilled < now)
		refilled = now;
	refilled += pvs_refill_time(pvs_sub_floor(budget / 2, left), budget,
				    l->throttle_ns, m->run == PVS_RUN_SLEEPING);
	return refilled > until ? refilled : until;
}

/* Where an event leaves a vCPU that was in `run`. */
static __always_inline __u8 pvs_run_after(__u8 run, enum pvs_event ev)
{
	switch (ev) {
	case PVS_EV_SWITCH_IN:
		return PVS_RUN_RUNNING;
	case PVS_EV_PREEMPTED:
		return PVS_RUN_WAITING;
	case PVS_EV_SLEEP:
		return PVS_RUN_SLEEPING;
	case PVS_EV_WAKING:
		return run == PVS_RUN_RUNNING ? PVS_RUN_RUNNING :
						PVS_RUN_WAITING;
	default:
		return run;
	}
}

/*
 * Settles the accounts up to `now`, which is not before m->stamp, and moves
 * the machine to `run`. `in_force_until` is when a boost was last in force on
 * the thread, `now` if it still is.
 *
 * The barriers, here and below, are for the BPF verifier: what went through
 * memory is any value to it, so the phases' paths add up instead of
 * multiplying.
 */
static __always_inline void pvs_account(struct pvs_machine *m,
					const struct pvs_limits *l, __u8 run,
					__u64 in_force_until, __u64 now,
					struct pvs_outcome *out)
{
	out->deadline = PVS_NEVER;
	out->decision = 0;
	out->ran = 0;
	out->ran_boosted = 0;
	pvs_settle(m, l, in_force_until, now, out);
	PVS_BARRIER();
	out->critical_throttle = pvs_throttle(&m->critical_until,
					      m->critical_left,
					      &m->critical_over, l->critical_ns,
					      l->throttle_ns, now);
	PVS_BARRIER();
	out->total_throttle = pvs_throttle(&m->total_until, m->total_left,
					   &m->total_over, l->total_ns,
					   l->throttle_ns, now);
	m->run = run;
	PVS_BARRIER();
}

/* Fills in the event but for its tags, and presets the wish. `need` is what pvs_read_intent()
 * made of the guest's word, 0 where it has no area. */
static __always_inline void
pvs_tell(const struct pvs_machine *m, const struct pvs_limits *l, __u64 need,
	 __u32 events, __u64 now, const struct pvs_outcome *out,
	 struct pvs_policy_event *event, struct pvs_policy_wish *wish)
{
	__u32 task = (__u32)need;
	__u8 rt = pvs_decision_rt(task);

	event->now = now;
	event->ran = out->ran;
	event->need = need & ~0xffffffffull;
	event->hold = l->hold_ns;
	event->inject = l->inject_ns;
	event->events = events;
	event->run = m->run;
	event->task = task;
	event->critical =
		pvs_decision(PVSCHED_CLASS_CRITICAL, l->rt_policy, 0,
			     rt > l->rt_critical ? rt : l->rt_critical);
	wish->after_run = PVS_NEVER;
	wish->at = PVS_NEVER;
	wish->body = 0;
	wish->fallback = 0;
	wish->quiet = 0;
	wish->kick = 0;
	PVS_BARRIER();
}

/* A wish within the administrator's caps; 0 if it asks for nothing that there
 * is. */
static __always_inline __u32 pvs_cap(const struct pvs_limits *l, __u32 body)
{
	__u8 rt = pvs_decision_rt(body), most = l->rt_critical;
	__s8 nice = pvs_decision_nice(body);

	switch (pvs_decision_class(body)) {
	case PVSCHED_CLASS_TASK:
		return pvs_task_boost(l, pvs_decision_policy(body), nice, rt);
	case PVSCHED_CLASS_CRITICAL:
		if (most < l->rt_max)
			most = l->rt_max;
		return pvs_decision(PVSCHED_CLASS_CRITICAL, l->rt_policy, 0,
				    rt < most ? rt : most);
	case PVSCHED_CLASS_YIELD:
		if (nice < 1 || nice > PVSCHED_NICE_MAX)
			return 0;
		return pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER,
				    nice, 0);
	}
	return 0;
}

/* What of the wish budgets and switches let be. */
static __always_inline void pvs_grant(struct pvs_machine *m,
				      const struct pvs_limits *l,
				      const struct pvs_policy_wish *wish,
				      int on, __u64 now,
				      struct pvs_outcome *out)
{
	__u32 body = pvs_cap(l, wish->body);
	__u32 fallback;
	int critical;

	out->refused = wish->body && !body;
	if (!on || !l->enabled)
		return;
	critical = pvs_decision_class(body) == PVSCHED_CLASS_CRITICAL;
	PVS_BARRIER();
	fallback = pvs_cap(l, wish->fallback);
	if (pvs_decision_class(fallback) == PVSCHED_CLASS_CRITICAL)
		fallback = 0;
	if (!pvs_boost_class(body) ||
	    (!m->total_until && !(critical && m->critical_until)))
		out->decision = body;
	else if (!m->total_until)
		out->decision = fallback;

	/* Asked for and throttled while it does not run: look again when the
	 * throttle ends. */
	if (m->run == PVS_RUN_RUNNING || !pvs_boost_class(body))
		return;
	if (m->total_until)
		out->deadline = pvs_throttle_end(
			m, l, m->total_until, m->total_left, l->total_ns, now);
	else if (m->critical_until && critical)
		out->deadline = pvs_throttle_end(m, l, m->critical_until,
						 m->critical_left,
						 l->critical_ns, now);
}

/* When it must be looked at again: a boost that runs, or by the wish. */
static __always_inline void pvs_bound(const struct pvs_machine *m,
				      const struct pvs_policy_wish *wish,
				      __u64 now, struct pvs_outcome *out)
{
	__u8 class_ = pvs_boost_class(out->decision);
	__u64 room = m->total_left;

	if (m->run == PVS_RUN_RUNNING && class_ != PVSCHED_CLASS_BASELINE) {
		if (class_ == PVSCHED_CLASS_CRITICAL)
			room = pvs_min(room, m->critical_left);
		out->deadline = now + pvs_min(room, wish->after_run);
	}
	if (out->deadline < now + PVS_TIMER_MIN_NS)
		out->deadline = now + PVS_TIMER_MIN_NS;
	if (out->deadline > wish->at)
		out->deadline = wish->at > now + PVS_WISH_MIN_NS ?
					wish->at :
					now + PVS_WISH_MIN_NS;
}

/* The wish becomes the machine's decision; `on` is the global switch. `out`
 * says what is to be done. */
static __always_inline void pvs_decide(struct pvs_machine *m,
				       const struct pvs_limits *l,
				       const struct pvs_policy_wish *wish,
				       int on, __u64 now,
				       struct pvs_outcome *out)
{
	pvs_grant(m, l, wish, on, now, out);
	PVS_BARRIER();
	/* Lazy: what runs is lowered, never raised. */
	if (m->run == PVS_RUN_RUNNING &&
	    pvs_urgency(out->decision) > pvs_urgency(m->decision))
		out->decision = m->decision;
	PVS_BARRIER();
	pvs_bound(m, wish, now, out);
	PVS_BARRIER();
	out->changed = out->decision != m->decision;
	if (out->changed && pvs_boost_class(m->decision))
		m->late = pvs_boost_class(m->decision);
	m->decision = out->decision;
	m->kick = !!wish->kick;
}

/* The state word (R10) for the guest. */
static __always_inline __u64 pvs_state_word(const struct pvs_machine *m)
{
	__u64 flags = PVSCHED_STATE_VALID;

	if (m->critical_until)
		flags |= PVSCHED_STATE_CRITICAL_THROTTLED;
	if (m->total_until)
		flags |= PVSCHED_STATE_TOTAL_THROTTLED;
	if (m->kick && pvs_boost_class(m->decision))
		flags |= PVSCHED_STATE_KICK_WANTED;
	return (__u64)m->decision | flags << PVSCHED_STATE_FLAGS_SHIFT;
}

#endif /* PVSCHED_DECIDE_H */
