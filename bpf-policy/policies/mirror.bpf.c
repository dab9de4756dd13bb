// SPDX-License-Identifier: GPL-2.0-or-later
/* The vCPU thread gets what the guest's most urgent task has, cut to the
 * administrator's caps, and nothing else. */
#include "pvsched/policy_interface.h"

PVS_POLICY(mirror, "1.0", 1, "the guest's tasks one to one, within the caps")
{
	wish->body = event->task;
	wish->quiet = PVS_QUIET_EVENTS;
	wish->kick = 1;
}
