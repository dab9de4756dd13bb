// SPDX-License-Identifier: GPL-2.0-or-later
/* CRITICAL for wake-ups and interrupts, whatever the guest says: for guests
 * whose driver is not to be heeded. */
#include "pvsched/policy_interface.h"
#include "reasons.h"

PVS_POLICY(agentless, "1.0", 1, "wake-ups and interrupts, as without a driver")
{
	struct pvs_policy_event seen = *event;

	seen.need = 0;
	seen.task = 0;
	pvs_reasons_update(&seen, state);
	if (pvs_reasons(state))
		wish->body = event->critical;
	pvs_reasons_bound(&seen, state, wish);
	wish->kick = 0;
}
