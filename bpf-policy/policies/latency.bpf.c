// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The default. CRITICAL while the guest is in a critical section, while an
 * interrupt for it waits to be handled and from a halt until it has run for
 * the hold; else what its most urgent task asks for.
 */
#include "pvsched/policy_interface.h"
#include "reasons.h"

PVS_POLICY(latency, "1.0", 1,
	   "critical sections, interrupts, wake-ups, urgent tasks")
{
	pvs_reasons_wish(event, state, wish);
}
