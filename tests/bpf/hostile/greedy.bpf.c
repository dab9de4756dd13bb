// SPDX-License-Identifier: GPL-2.0-or-later
/* Never the baseline. */
#include "pvsched/policy_interface.h"

PVS_POLICY(greedy, "1.0", 1, "wants everything always") {
  wish->body = event->critical;
  wish->fallback = event->critical;
  wish->at = event->now;
}
