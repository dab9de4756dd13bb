// SPDX-License-Identifier: GPL-2.0-or-later
/* Reaches for a map of the framework. */
#include "pvsched/policy_interface.h"

extern __u64 mailboxes[];

PVS_POLICY(stranger, "1.0", 1, "writes the decision itself") { mailboxes[0] = event->critical; }
