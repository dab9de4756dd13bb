// SPDX-License-Identifier: GPL-2.0-or-later
/* The policy as a native function: no kernel and no root needed. */
#include <stdio.h>

#include "NAME_OF_POLICY.bpf.c"

static int failures;

static void check(const char *what, int holds)
{
	printf("%s: %s\n", holds ? "ok" : "FAILED", what);
	failures += !holds;
}

static __u32 wished(__u64 need, __u32 task)
{
	struct pvs_policy_event event = {
		.need = need,
		.events = PVS_EVENT(PVS_EV_PREEMPTED),
		.run = PVS_RUN_WAITING,
		.task = task,
		.critical = pvs_decision(PVSCHED_CLASS_CRITICAL,
					 PVSCHED_SCHED_FIFO, 0, 60),
	};
	struct pvs_policy_state state = { { 0 } };
	struct pvs_policy_wish wish = { .after_run = PVS_NEVER,
					.at = PVS_NEVER };

	pvs_policy_NAME_OF_POLICY(&event, &state, &wish);
	return wish.body;
}

int main(void)
{
	__u32 task = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_FIFO, 0, 9);

	check("nothing is asked for", wished(0, 0) == 0);
	check("a critical section is boosted",
	      pvs_decision_class(wished(PVS_NEED_VALID | PVS_NEED_CRITICAL,
					0)) == PVSCHED_CLASS_CRITICAL);
	check("a task is boosted as itself",
	      wished(PVS_NEED_VALID, task) == task);
	return failures != 0;
}
