/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic of one budget: an account in ns of boosted run time.
 *
 * Run time in class CRITICAL drains `critical`, run time in any boost drains
 * `total`. Sleep refills both one to one; time in which the vCPU wants the CPU,
 * or has it, unboosted, refills a whole budget in throttle_ns, so that a guest
 * that flaps gets no more than one that never lets go. Both count only from
 * PVS_RECOVERY_NS into a stretch without boosted run time on. An empty budget
 * throttles its class for at least throttle_ns and until half of it is back.
 * What ran boosted beyond its budget, because timer or actuator came late, is
 * made good: it lengthens the throttle in proportion.
 */
#ifndef PVSCHED_BUDGET_H
#define PVSCHED_BUDGET_H

#include "policy.h"

#define PVS_RECOVERY_NS 100000ull	/* 100 us without boosted run time */
#define PVS_OVER_MAX_NS 1000000000ull	/* no more is made good */
#define PVS_LONGER_MAX_NS 1000000000ull /* no throttle is longer by more */

static __always_inline __u64 pvs_sub_floor(__u64 a, __u64 b)
{
	return a > b ? a - b : 0;
}

static __always_inline __u64 pvs_min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* Credits `ns` of rest to an account. */
static __always_inline void pvs_refill(__u64 *left, __u64 budget,
				       __u64 throttle_ns, int asleep, __u64 ns)
{
	if (*left >= budget)
		return;
	if (!asleep && throttle_ns > budget) {
		/* No overflow: 10 s and 60 s, 20 bits each. */
		ns = pvs_min(ns, throttle_ns);
		ns = ns * ((budget << 20) / throttle_ns) >> 20;
	}
	*left = pvs_min(budget, *left + ns);
}

/* The part of a throttle that `ns` are of their budget. No overflow: 10 s / 64
 * times 60 s; no budget is below 10 us. */
static __always_inline __u64 pvs_throttle_part(__u64 ns, __u64 budget,
					       __u64 throttle_ns)
{
	return (ns >> 6) * throttle_ns / (budget >> 6);
}

/* How long a refill of `ns` takes. */
static __always_inline __u64 pvs_refill_time(__u64 ns, __u64 budget,
					     __u64 throttle_ns, int asleep)
{
	if (asleep || throttle_ns <= budget)
		return ns;
	return pvs_throttle_part(ns, budget, throttle_ns);
}

/* Takes `ns` from an account; what it does not hold is still owed. */
static __always_inline void pvs_drain(__u64 *left, __u64 *over, __u64 ns)
{
	*over = pvs_min(PVS_OVER_MAX_NS, *over + pvs_sub_floor(ns, *left));
	*left = pvs_sub_floor(*left, ns);
}

/* Opens, lengthens or closes one throttle; returns 1 if it was opened now. */
static __always_inline __u8 pvs_throttle(__u64 *until, __u64 left, __u64 *over,
					 __u64 budget, __u64 throttle_ns,
					 __u64 now)
{
	__u8 opened = 0;

	if (*until == 0) {
		if (left > 0 && *over == 0)
			return 0;
		*until = now + throttle_ns + 1; /* never 0 */
		opened = 1;
	}
	if (*over) {
		/* The boosted share of the time stays what both say. */
		*until +=
			pvs_min(PVS_LONGER_MAX_NS,
				pvs_throttle_part(*over, budget, throttle_ns));
		*over = 0;
	}
	if (!opened && now >= *until && left >= budget / 2)
		*until = 0;
	return opened;
}

#endif /* PVSCHED_BUDGET_H */
