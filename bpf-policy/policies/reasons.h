/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reasons of the host's to boost a vCPU: it halted, so whatever wakes it is
 * urgent; an interrupt waits for it. Shared by policies that heed them; takes
 * the first two words of the state.
 */
#ifndef PVSCHED_REASONS_H
#define PVSCHED_REASONS_H

#include "pvsched/policy_interface.h"

#define PVS_REASON_HALTED 0x01u	  /* it slept: the wake-up is urgent */
#define PVS_REASON_INJECTED 0x02u /* an interrupt waits to be handled */

/*
 * A handler that has ended leaves its kernel something to do before it goes
 * back: Linux from 7.1 on arms its timer only then. A vCPU that is lowered and
 * preempted there has no timer, and what it would have woken for waits for its
 * turn. So this part of <boost inject> is left to it.
 */
#define PVS_TAIL_PART 16

/* Word 0: the reasons in 0..7, in 8..15 the irq sequence when the last
 * interrupt came. Word 1: run time since the last reason came. */
static __always_inline __u8 pvs_reasons(const struct pvs_policy_state *state)
{
	return (__u8)state->word[0];
}

static __always_inline void
pvs_reasons_update(const struct pvs_policy_event *event,
		   struct pvs_policy_state *state)
{
	__u8 seq = (__u8)(event->need >> PVS_NEED_SEQ_SHIFT);
	__u8 reasons = (__u8)state->word[0];
	__u8 irq_seq = (__u8)(state->word[0] >> 8);
	int valid = !!(event->need & PVS_NEED_VALID);
	int idle = !!(event->need & PVS_NEED_IDLE);
	__u64 ran = state->word[1] + event->ran;

	/* A guest with a driver says when it halts; its other sleeps are waits
	 * in the VMM and change nothing. */
	if ((event->events & PVS_EVENT(PVS_EV_SLEEP)) && (!valid || idle)) {
		reasons = PVS_REASON_HALTED;
		ran = 0;
	}
	if (event->events & PVS_EVENT(PVS_EV_INJECT)) {
		/* Within the hold of a wake-up both end by the same count. */
		if (!(reasons & PVS_REASON_HALTED))
			ran = 0;
		reasons |= PVS_REASON_INJECTED;
		irq_seq = seq;
	}

	/* A wake-up's reason ends when it has run for the hold: until then an
	 * ordinary task that it is for can begin too. An interrupt's ends when
	 * the guest shows that it has dealt with it, or has run long enough. */
	if (ran >= event->hold && ran > 0)
		reasons &= ~PVS_REASON_HALTED;
	if (ran >= event->inject && ran > 0)
		reasons &= ~PVS_REASON_INJECTED;
	if (valid && seq != irq_seq && !(event->need & PVS_NEED_CRITICAL)) {
		if (reasons & PVS_REASON_HALTED)
			reasons &= ~PVS_REASON_INJECTED;
		else if (ran < event->inject - event->inject / PVS_TAIL_PART)
			ran = event->inject - event->inject / PVS_TAIL_PART;
	}
	if (event->need & PVS_NEED_BAD)
		reasons = 0;
	state->word[0] = reasons | (__u64)irq_seq << 8;
	state->word[1] = ran;
}

/* When a reason ends by itself, what tells nothing new, and whether the guest
 * shall ring. */
static __always_inline void
pvs_reasons_bound(const struct pvs_policy_event *event,
		  const struct pvs_policy_state *state,
		  struct pvs_policy_wish *wish)
{
	const __u8 woken = PVS_REASON_HALTED | PVS_REASON_INJECTED;
	__u8 seq = (__u8)(event->need >> PVS_NEED_SEQ_SHIFT);
	__u8 reasons = pvs_reasons(state);
	__u64 ran = state->word[1], left = PVS_NEVER;

	if (reasons & PVS_REASON_HALTED)
		left = event->hold > ran ? event->hold - ran : 0;
	if (reasons & PVS_REASON_INJECTED) {
		__u64 inject = event->inject > ran ? event->inject - ran : 0;

		left = inject < left ? inject : left;
	}
	wish->after_run = left;

	/* Most exits: it runs on and wants what it wanted. And all that tells
	 * of one interrupt after the first, within the hold of a wake-up. */
	wish->quiet = PVS_EVENT(PVS_EV_GUEST);
	if (reasons == woken && (__u8)(state->word[0] >> 8) == seq)
		wish->quiet |= PVS_EVENT(PVS_EV_INJECT);

	/* Within that hold an early end of the need changes nothing: no exit
	 * for it. */
	wish->kick = !(reasons & PVS_REASON_HALTED);
}

/* CRITICAL for these reasons and in a critical section, else what the guest's
 * most urgent task asks for. */
static __always_inline void
pvs_reasons_wish(const struct pvs_policy_event *event,
		 struct pvs_policy_state *state, struct pvs_policy_wish *wish)
{
	pvs_reasons_update(event, state);
	if (event->need & PVS_NEED_BAD)
		return;
	wish->fallback = event->task;
	if ((event->need & PVS_NEED_CRITICAL) || pvs_reasons(state))
		wish->body = event->critical;
	else
		wish->body = event->task;
	pvs_reasons_bound(event, state, wish);
}

#endif /* PVSCHED_REASONS_H */
