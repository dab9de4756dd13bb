/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's intent word, checked and turned into what it asks for, and the
 * decision word that answers it. Pure, as decide.h. Everything the guest
 * writes is hostile and is checked here and nowhere else.
 */
#ifndef PVSCHED_INTENT_H
#define PVSCHED_INTENT_H

#include "policy.h"
#include "pvsched/policy_interface.h"

static __always_inline __u8 pvs_field(__u64 word, int shift)
{
	return (__u8)(word >> shift);
}

/* One task as the guest describes it: is it within the contract? */
static __always_inline int pvs_task_ok(__u8 policy, __s8 nice, __u8 rt)
{
	int rt_policy = policy == PVSCHED_SCHED_FIFO ||
			policy == PVSCHED_SCHED_RR;
	int known = rt_policy || policy == PVSCHED_SCHED_OTHER ||
		    policy == PVSCHED_SCHED_BATCH ||
		    policy == PVSCHED_SCHED_IDLE ||
		    policy == PVSCHED_SCHED_DEADLINE;

	if (!known || nice < PVSCHED_NICE_MIN || nice > PVSCHED_NICE_MAX)
		return 0;
	if (rt_policy)
		return rt >= PVSCHED_RT_MIN && rt <= PVSCHED_RT_MAX;
	return rt == 0;
}

/* Is the word within the contract (R9)? A word without VALID always is: it
 * says nothing. */
static __always_inline int pvs_intent_ok(__u64 w)
{
	__u8 flags = pvs_field(w, PVSCHED_INTENT_FLAGS_SHIFT);
	__u8 policies = pvs_field(w, PVSCHED_INTENT_CUR_POLICY_SHIFT);

	if (!(flags & PVSCHED_INTENT_VALID))
		return 1;
	if (flags & ~PVSCHED_INTENT_FLAGS_ALL)
		return 0;
	if (pvs_field(w, PVSCHED_INTENT_CRITICAL_SHIFT) & ~PVSCHED_CRITICAL_ALL)
		return 0;
	if (!pvs_task_ok(policies & 0xf,
			 (__s8)pvs_field(w, PVSCHED_INTENT_CUR_NICE_SHIFT),
			 pvs_field(w, PVSCHED_INTENT_CUR_RT_SHIFT)))
		return 0;
	if (!(flags & PVSCHED_INTENT_PENDING))
		return 1;
	return pvs_task_ok(policies >> PVSCHED_INTENT_PEND_POLICY_SHIFT,
			   (__s8)pvs_field(w, PVSCHED_INTENT_PEND_NICE_SHIFT),
			   pvs_field(w, PVSCHED_INTENT_PEND_RT_SHIFT));
}

/* The boost one guest task asks for, cut to the administrator's caps; 0: none. */
static __always_inline __u32 pvs_task_boost(const struct pvs_limits *l,
					    __u8 policy, __s8 nice, __u8 rt)
{
	if (policy == PVSCHED_SCHED_DEADLINE) {
		policy = l->rt_policy;
		rt = PVSCHED_RT_MAX;
	}
	if (policy == PVSCHED_SCHED_FIFO || policy == PVSCHED_SCHED_RR) {
		if (l->rt_max == 0)
			return 0;
		return pvs_decision(PVSCHED_CLASS_TASK, policy, 0,
				    rt < l->rt_max ? rt : l->rt_max);
	}
	if (policy != PVSCHED_SCHED_OTHER || nice >= 0 || l->nice_min >= 0)
		return 0;
	return pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_OTHER,
			    nice > l->nice_min ? nice : l->nice_min, 0);
}

/* Larger is more urgent: real-time above fair, then by priority. */
static __always_inline int pvs_rank(__u32 body)
{
	__u8 rt = pvs_decision_rt(body);

	return rt ? 100 + rt : -pvs_decision_nice(body);
}

/* The class if it is a boost, else BASELINE. */
static __always_inline __u8 pvs_boost_class(__u64 body)
{
	__u8 class_ = pvs_decision_class(body);

	return class_ == PVSCHED_CLASS_YIELD ? PVSCHED_CLASS_BASELINE : class_;
}

/* Larger is more urgent, over all classes. */
static __always_inline int pvs_urgency(__u32 body)
{
	return pvs_boost_class(body) * 1000 + pvs_rank(body);
}

/*
 * The guest's word as PVS_NEED_* with the boost of its most urgent task in
 * 0..31 (0: none). One word, so that the BPF verifier takes it for any value
 * and need not follow how it came about.
 */
static __always_inline __u64 pvs_read_intent(const struct pvs_limits *l,
					     __u64 w)
{
	__u8 flags = pvs_field(w, PVSCHED_INTENT_FLAGS_SHIFT);
	__u8 policies = pvs_field(w, PVSCHED_INTENT_CUR_POLICY_SHIFT);
	__u32 task, pending = 0;
	__u64 need;

	if (!pvs_intent_ok(w))
		return PVS_NEED_BAD;
	if (!(flags & PVSCHED_INTENT_VALID))
		return 0;
	task = pvs_task_boost(l, policies & 0xf,
			      (__s8)pvs_field(w, PVSCHED_INTENT_CUR_NICE_SHIFT),
			      pvs_field(w, PVSCHED_INTENT_CUR_RT_SHIFT));
	if (flags & PVSCHED_INTENT_PENDING)
		pending = pvs_task_boost(
			l, policies >> PVSCHED_INTENT_PEND_POLICY_SHIFT,
			(__s8)pvs_field(w, PVSCHED_INTENT_PEND_NICE_SHIFT),
			pvs_field(w, PVSCHED_INTENT_PEND_RT_SHIFT));
	if (pending && (!task || pvs_rank(pending) > pvs_rank(task)))
		task = pending;

	need = PVS_NEED_VALID | task;
	need |= (__u64)pvs_field(w, PVSCHED_INTENT_IRQ_SEQ_SHIFT)
		<< PVS_NEED_SEQ_SHIFT;
	if (flags & PVSCHED_INTENT_IDLE)
		need |= PVS_NEED_IDLE;
	if (pvs_field(w, PVSCHED_INTENT_CRITICAL_SHIFT))
		need |= PVS_NEED_CRITICAL;
	return need;
}

#endif /* PVSCHED_INTENT_H */
