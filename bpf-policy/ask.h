/* SPDX-License-Identifier: GPL-2.0 */
/* Asks a policy: the daemon links one into each slot that it uses, whose name
 * ends with the slot's number as a hex digit. */
#ifndef PVSCHED_ASK_H
#define PVSCHED_ASK_H

#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "maps.h"

#define PVS_TIMED_CALLS 64 /* one of so many calls of a policy is timed */

#define PVS_SLOT(n)                                                           \
	__weak __attribute__((noinline)) int pvs_policy_slot_##n(             \
		const struct pvs_policy_event *event,                         \
		struct pvs_policy_state *state, struct pvs_policy_wish *wish) \
	{                                                                     \
		return event && state && wish ? 1 : 0;                        \
	}

PVS_SLOT(0)
PVS_SLOT(1)
PVS_SLOT(2)
PVS_SLOT(3)
PVS_SLOT(4)
PVS_SLOT(5)
PVS_SLOT(6)
PVS_SLOT(7)
PVS_SLOT(8)
PVS_SLOT(9)
PVS_SLOT(a)
PVS_SLOT(b)
PVS_SLOT(c)
PVS_SLOT(d)
PVS_SLOT(e)
PVS_SLOT(f)

#define PVS_ASK(n)                                       \
	case 0x##n:                                      \
		pvs_policy_slot_##n(event, state, wish); \
		break;

/* The slot's policy on an event; one that is empty wishes the baseline. A global
 * function: the verifier follows it once. */
__attribute__((noinline)) int ask_slot(__u32 slot,
				       const struct pvs_policy_event *event,
				       struct pvs_policy_state *state,
				       struct pvs_policy_wish *wish)
{
	if (!event || !state || !wish)
		return 0;
	switch (slot) {
		PVS_ASK(0)
		PVS_ASK(1)
		PVS_ASK(2)
		PVS_ASK(3)
		PVS_ASK(4)
		PVS_ASK(5)
		PVS_ASK(6)
		PVS_ASK(7)
		PVS_ASK(8)
		PVS_ASK(9)
		PVS_ASK(a)
		PVS_ASK(b)
		PVS_ASK(c)
		PVS_ASK(d)
		PVS_ASK(e)
		PVS_ASK(f)
	}
	return 1;
}

/* The slot's policy on v's event; one call of many is timed. */
static __always_inline void ask_policy(struct pvs_vcpu *v, struct pvs_stats *s,
				       __u8 slot)
{
	__u64 begin = s->events % PVS_TIMED_CALLS ? 0 : bpf_ktime_get_ns();

	ask_slot(slot, &v->event, &v->state, &v->wish);
	if (begin) {
		s->policy_ns += bpf_ktime_get_ns() - begin;
		s->policy_calls++;
	}
}

#endif /* PVSCHED_ASK_H */
