// SPDX-License-Identifier: GPL-2.0-or-later
/* Never boosted: it gets what others leave. */
#include "pvsched/policy_interface.h"

PVS_POLICY(batch, "1.0", 1, "never boosted, gives way to all others")
{
	wish->body = pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER,
				  PVSCHED_NICE_MAX, 0);
	wish->quiet = PVS_QUIET_EVENTS;
}
