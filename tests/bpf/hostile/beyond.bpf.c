// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes beyond its state. */
#include "pvsched/policy_interface.h"

PVS_POLICY(beyond, "1.0", 1, "writes out of range") { state->word[event->events] = 1; }
