// SPDX-License-Identifier: GPL-2.0-or-later
/* Never comes back. */
#include "pvsched/policy_interface.h"

PVS_POLICY(endless, "1.0", 1, "loops for ever") {
  while (event->now) state->word[0]++;
}
