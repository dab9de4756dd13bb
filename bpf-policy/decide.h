/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy as pure arithmetic: no helper, no map, no clock. It compiles into
 * the BPF object and natively into the unit tests.
 *
 * pvs_read_intent() turns the guest's word, read once, into a checked need.
 * One machine per vCPU; each event takes it one pvs_step() further:
 *
 *   settle   charge the time since the last event to the budgets
 *   observe  note what the event says: running, waiting, sleeping, reasons
 *   grant    need and reasons, cut by budgets and the enable switches
 *
 * Budgets cut it: budget.h.
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
#define PVS_NEVER (~0ull)

enum pvs_event {
	PVS_EV_ADMIN,	  /* limits, areas or enable changed */
	PVS_EV_SWITCH_IN, /* put on a CPU */
	PVS_EV_PREEMPTED, /* taken off a CPU, still runnable */
	PVS_EV_SLEEP,	  /* taken off a CPU, sleeps (halt) */
	PVS_EV_WAKING,	  /* wanted again */
	PVS_EV_INJECT,	  /* an interrupt is on its way to it */
	PVS_EV_GUEST, /* something happened in its context: exit, doorbell */
	PVS_EV_TIMER, /* the deadline has come */
};

enum pvs_run {
	PVS_RUN_SLEEPING,
	PVS_RUN_WAITING, /* runnable, not on a CPU */
	PVS_RUN_RUNNING,
};

#define PVS_REASON_HALTED 0x01u	  /* it slept: the wake-up is urgent */
#define PVS_REASON_INJECTED 0x02u /* an interrupt waits to be handled */

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
	__u64 reason_ran; /* run time since the last reason came */
	__u32 decision;	  /* body of the decision in force */
	__u8 run;	  /* enum pvs_run */
	__u8 reasons;	  /* PVS_REASON_* */
	__u8 irq_seq;	  /* the intent's, when the last interrupt came */
	__u8 late; /* class being taken back; 0: it is in force no more */
};

struct pvs_outcome {
	__u64 deadline; /* step again at this time; PVS_NEVER: no need */
	__u32 decision; /* body: class, policy, nice, rt priority */
	__u8 changed;	/* differs from what was in force */
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
	m->reason_ran = 0;
	m->decision = 0;
	m->run = PVS_RUN_RUNNING; /* not known yet; never raised like this */
	m->reasons = 0;
	m->irq_seq = 0;
	m->late = 0;
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
	__u8 class_ = pvs_decision_class(m->decision);
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
		m->reason_ran += dt;
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

/* Notes what the event says of the vCPU. */
static __always_inline void pvs_observe(struct pvs_machine *m,
					const struct pvs_limits *l, __u64 need,
					enum pvs_event ev)
{
	__u8 seq = (__u8)(need >> PVS_NEED_SEQ_SHIFT);
	int valid = !!(need & PVS_NEED_VALID);
	int idle = !!(need & PVS_NEED_IDLE);

	switch (ev) {
	case PVS_EV_SWITCH_IN:
		m->run = PVS_RUN_RUNNING;
		break;
	case PVS_EV_PREEMPTED:
		m->run = PVS_RUN_WAITING;
		break;
	case PVS_EV_SLEEP:
		m->run = PVS_RUN_SLEEPING;
		/* A guest with a driver says when it halts; its other sleeps
		 * are waits in the VMM and change nothing. */
		if (valid && !idle)
			break;
		m->reasons = PVS_REASON_HALTED;
		m->reason_ran = 0;
		break;
	case PVS_EV_WAKING:
		if (m->run == PVS_RUN_SLEEPING)
			m->run = PVS_RUN_WAITING;
		break;
	case PVS_EV_INJECT:
		/* Within the hold of a wake-up both end by the same count. */
		if (!(m->reasons & PVS_REASON_HALTED))
			m->reason_ran = 0;
		m->reasons |= PVS_REASON_INJECTED;
		m->irq_seq = seq;
		break;
	case PVS_EV_ADMIN:
	case PVS_EV_GUEST:
	case PVS_EV_TIMER:
		break;
	}

	PVS_BARRIER();

	/* A wake-up's reason ends when it has run for the hold: until then an
	 * ordinary task that it is for can begin too. An interrupt's ends when
	 * the guest shows that it has dealt with it, or has run long enough. */
	if ((m->reasons & PVS_REASON_HALTED) && m->reason_ran >= l->hold_ns &&
	    m->reason_ran > 0)
		m->reasons &= ~PVS_REASON_HALTED;
	if (m->reasons & PVS_REASON_INJECTED) {
		if (m->reason_ran >= l->inject_ns && m->reason_ran > 0)
			m->reasons &= ~PVS_REASON_INJECTED;
		else if (valid && seq != m->irq_seq &&
			 !(need & PVS_NEED_CRITICAL))
			m->reasons &= ~PVS_REASON_INJECTED;
	}
}

/* What need and reasons ask for, as far as budgets and switches let it. */
static __always_inline void pvs_grant(struct pvs_machine *m,
				      const struct pvs_limits *l, __u64 need,
				      int on, __u64 now,
				      struct pvs_outcome *out)
{
	__u32 task = (__u32)need;
	int critical = (need & PVS_NEED_CRITICAL) || m->reasons;
	__u8 rt = pvs_decision_rt(task);

	if (!on || !l->enabled)
		return;
	if (critical && !m->critical_until && !m->total_until)
		out->decision =
			pvs_decision(PVSCHED_CLASS_CRITICAL, l->rt_policy, 0,
				     rt > l->rt_critical ? rt : l->rt_critical);
	else if (task && !m->total_until)
		out->decision = task;

	/* Asked for and throttled while it does not run: look again when the
	 * throttle ends. */
	if (m->run == PVS_RUN_RUNNING)
		return;
	if (m->total_until && (critical || task))
		out->deadline = pvs_throttle_end(
			m, l, m->total_until, m->total_left, l->total_ns, now);
	else if (m->critical_until && critical)
		out->deadline = pvs_throttle_end(m, l, m->critical_until,
						 m->critical_left,
						 l->critical_ns, now);
}

/* When a boost that runs must be looked at again. */
static __always_inline void pvs_bound(const struct pvs_machine *m,
				      const struct pvs_limits *l, __u64 now,
				      struct pvs_outcome *out)
{
	__u8 class_ = pvs_decision_class(out->decision);
	__u64 room = m->total_left;

	if (m->run != PVS_RUN_RUNNING || class_ == PVSCHED_CLASS_BASELINE)
		return;
	if (class_ == PVSCHED_CLASS_CRITICAL)
		room = pvs_min(room, m->critical_left);
	if (m->reasons & PVS_REASON_HALTED)
		room = pvs_min(room, pvs_sub_floor(l->hold_ns, m->reason_ran));
	if (m->reasons & PVS_REASON_INJECTED)
		room = pvs_min(room,
			       pvs_sub_floor(l->inject_ns, m->reason_ran));
	out->deadline = now + room;
}

/*
 * Whether an event leaves all as it is, where the guest's word `word` is the
 * one of the last step. What time changes by itself is the timer's.
 */
static __always_inline int pvs_is_old_news(const struct pvs_machine *m,
					   __u64 word, enum pvs_event ev)
{
	const __u8 woken = PVS_REASON_HALTED | PVS_REASON_INJECTED;
	__u8 seq = (__u8)(word >> PVSCHED_INTENT_IRQ_SEQ_SHIFT);

	/* Most exits: it runs on and wants what it wanted. And all that tells
	 * of one interrupt after the first, within the hold of a wake-up. */
	return ev == PVS_EV_GUEST || (ev == PVS_EV_INJECT &&
				      m->reasons == woken && m->irq_seq == seq);
}

/*
 * One event. `need` is what pvs_read_intent() made of the guest's word, 0 where
 * it has no area; `on` is the global switch; `in_force_until` is when a boost
 * was last in force on the thread, `now` if it still is; `now` is not before
 * m->stamp. The machine takes the new state, `out` says what is to be done.
 *
 * The barriers are for the BPF verifier: what went through memory is any value
 * to it, so the phases' paths add up instead of multiplying.
 */
static __always_inline void pvs_step(struct pvs_machine *m,
				     const struct pvs_limits *l, __u64 need,
				     enum pvs_event ev, int on,
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
	PVS_BARRIER();
	pvs_observe(m, l, need, ev);
	if (need & PVS_NEED_BAD)
		m->reasons = 0; /* a bad word selects the baseline */
	PVS_BARRIER();
	pvs_grant(m, l, need, on, now, out);
	PVS_BARRIER();
	/* Lazy: what runs is lowered, never raised. */
	if (m->run == PVS_RUN_RUNNING &&
	    pvs_urgency(out->decision) > pvs_urgency(m->decision))
		out->decision = m->decision;
	PVS_BARRIER();
	pvs_bound(m, l, now, out);
	PVS_BARRIER();
	if (out->deadline < now + PVS_TIMER_MIN_NS)
		out->deadline = now + PVS_TIMER_MIN_NS;
	out->changed = out->decision != m->decision;
	if (out->changed && pvs_decision_class(m->decision))
		m->late = pvs_decision_class(m->decision);
	m->decision = out->decision;
}

/* The state word (R10) for the guest. */
static __always_inline __u64 pvs_state_word(const struct pvs_machine *m)
{
	__u64 flags = PVSCHED_STATE_VALID;

	if (m->critical_until)
		flags |= PVSCHED_STATE_CRITICAL_THROTTLED;
	if (m->total_until)
		flags |= PVSCHED_STATE_TOTAL_THROTTLED;
	/* Within the hold of a wake-up an early end of the need changes nothing:
	 * no exit for that. */
	if (pvs_decision_class(m->decision) &&
	    !(m->reasons & PVS_REASON_HALTED))
		flags |= PVSCHED_STATE_KICK_WANTED;
	return (__u64)m->decision | flags << PVSCHED_STATE_FLAGS_SHIFT;
}

#endif /* PVSCHED_DECIDE_H */
