// SPDX-License-Identifier: GPL-2.0-or-later
/* Brings a program of its own. */
#include "pvsched/policy_interface.h"

PVS_POLICY(program, "1.0", 1, "attaches itself") {}

__attribute__((section("tp_btf/sched_switch"), used)) int own(void* ctx) { return 0; }
