// SPDX-License-Identifier: GPL-2.0-or-later
/* Ends, but late. */
#include "pvsched/policy_interface.h"

PVS_POLICY(slow, "1.0", 1, "takes its time") {
  __u64 sum = 0;

  for (int i = 0; i < 150000; i++) {
    sum += event->now;
    __asm__ __volatile__("" : "+r"(sum));
  }
  state->word[0] = sum;
}
