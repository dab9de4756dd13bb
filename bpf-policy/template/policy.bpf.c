// SPDX-License-Identifier: GPL-2.0-or-later
/* NAME_OF_POLICY: say here what it is for. The interface, with all that an event tells
 * and a wish can ask for: pvsched/policy_interface.h. */
#include <pvsched/policy_interface.h>

PVS_POLICY(NAME_OF_POLICY, "0.1", 1, "boosts in the guest's critical sections")
{
	if (event->need & PVS_NEED_CRITICAL)
		wish->body = event->critical;
	else
		wish->body = event->task;
	wish->quiet = PVS_QUIET_EVENTS;
	wish->kick = 1;
}
