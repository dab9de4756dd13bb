// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * By tag. A background vCPU is never boosted, and gives way while a foreground
 * thread of its NUMA node wants a CPU and PVS_TAGGED_LINGER_NS longer, so that
 * a foreground task that sleeps between its periods does not have it changed
 * back and forth. All others are served as by `latency`.
 *
 * State: words 0 and 1 as in reasons.h, 2 until when it gives way.
 */
#include "pvsched/policy_interface.h"
#include "reasons.h"

#define PVS_TAGGED_LINGER_NS 10000000ull /* 10 ms */

static __always_inline void give_way(const struct pvs_policy_event *event,
				     struct pvs_policy_state *state,
				     struct pvs_policy_wish *wish)
{
	state->word[0] = 0; /* no reason of another tag's time is left over */
	if (event->foreground)
		state->word[2] = event->now + PVS_TAGGED_LINGER_NS;
	wish->quiet = PVS_QUIET_EVENTS;
	if (event->now >= state->word[2])
		return;
	wish->body = pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER,
				  PVSCHED_NICE_MAX, 0);
	wish->at = state->word[2];
}

PVS_POLICY(tagged, "1.0", 1, "background gives way to foreground")
{
	if (event->tag == PVS_TAG_BACKGROUND)
		give_way(event, state, wish);
	else
		pvs_reasons_wish(event, state, wish);
}
