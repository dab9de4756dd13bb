// SPDX-License-Identifier: GPL-2.0-or-later
/* Classes that there are not. */
#include "pvsched/policy_interface.h"

PVS_POLICY(nonsense, "1.0", 1, "wishes what no class has") {
  wish->body = 0x7f7f7f7f;
  wish->quiet = 0xffffffff;
}
