// SPDX-License-Identifier: GPL-2.0-or-later
/* Has a variable, which would be a map. */
#include "pvsched/policy_interface.h"

static volatile __u64 calls;

PVS_POLICY(data, "1.0", 1, "keeps data of its own") { calls++; }
