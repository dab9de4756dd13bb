/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Types shared by the BPF programs, the daemon and the tests: limits, the
 * mailbox between policy and actuator, statistics. Times are nanoseconds of
 * CLOCK_MONOTONIC. The guest never sees these: its contract is abi.h.
 */
#ifndef PVSCHED_POLICY_H
#define PVSCHED_POLICY_H

#include "pvsched/abi.h"

#define PVS_MAX_VMS 256
#define PVS_MAX_VCPUS 4096
#define PVS_POLICY_SLOTS 16
#define PVS_HIST_BUCKETS 40 /* bucket i counts delays in [2^i, 2^(i+1)) ns */

/* Limits of one VM, set by the administrator. */
struct pvs_limits {
	__u64 critical_ns; /* budget of boosted run time with CRITICAL */
	__u64 total_ns;	   /* budget of boosted run time with any boost */
	__u64 throttle_ns; /* least time without boost once a budget is empty */
	__u64 hold_ns;	   /* run time for which a wake-up stays boosted */
	__u64 inject_ns;   /* run time an injected interrupt may stay boosted */
	__u8 enabled;	   /* 0: baseline always */
	__u8 rt_policy;	   /* PVSCHED_SCHED_FIFO or PVSCHED_SCHED_RR */
	__u8 rt_max;	   /* cap of a task's real-time priority, 0: none */
	__u8 rt_critical;  /* real-time priority while critical */
	__s8 nice_min;	/* cap of a task's nice; 0: fair tasks do not boost */
	__u8 debug;	/* 0 quiet, 1 decisions, 2 every event */
	__u8 policy;	/* slot of its policy, below PVS_POLICY_SLOTS */
	__u8 placement; /* 1: the guest is told where its vCPUs are */
};

/* Defaults, ranges: one place for the daemon, the schema check and the docs. */
#define PVS_CRITICAL_NS_DEFAULT 2000000ull
#define PVS_TOTAL_NS_DEFAULT 500000000ull
#define PVS_THROTTLE_NS_DEFAULT 50000000ull
#define PVS_HOLD_NS_DEFAULT 200000ull
#define PVS_INJECT_NS_DEFAULT 500000ull
#define PVS_RT_MAX_DEFAULT 50
#define PVS_RT_CRITICAL_DEFAULT 60
#define PVS_NICE_MIN_DEFAULT 0

#define PVS_BUDGET_NS_MIN 10000ull	   /* 10 us */
#define PVS_BUDGET_NS_MAX 10000000000ull   /* 10 s */
#define PVS_THROTTLE_NS_MAX 60000000000ull /* 60 s */
#define PVS_HOLD_NS_MAX 10000000ull	   /* 10 ms, hold and inject */
#define PVS_RT_PRIORITY_MAX 98		   /* 99 is the actuator's */
#define PVS_DEBUG_MAX 2
#define PVS_IOTHREAD_ID_MAX 65535

/*
 * Decision word: class 0..7, policy 8..15, nice 16..23, rt 24..31 as in the
 * state word's low half; the high half is a sequence number, so that two equal
 * decisions differ.
 */
#define PVS_DECISION_BODY 0xffffffffull
#define PVS_DECISION_SEQ_SHIFT 32

/*
 * One per registered vCPU in the mmapable array `mailboxes`: the policy writes
 * decision, decided_at and dead, the actuator applied and applied_at (the
 * policy where the scheduler carries decisions out), the daemon tag.
 * in_flight: the policy exchanges 1 in and sends a ring record only if it was
 * 0; the actuator exchanges 0 in before it loads the decision.
 */
struct pvs_mailbox {
	__u64 decision;
	__u64 decided_at;
	__u64 applied;
	__u64 applied_at;
	__u32 in_flight;
	__u32 dead; /* the thread has exited: touch it no more */
	__u32 tag;  /* PVS_TAG_*: effective of its vCPU */
	__u32 tid;  /* of its vCPU, while that is under the policy */
	__u64 reserved[2];
};

/* Ring record: the latest decision is read from the mailbox. */
struct pvs_record {
	__u32 index;
};

/* Per-vCPU statistics, in the mmapable array `stats`. */
struct pvs_stats {
	__u64 events;		  /* evaluations */
	__u64 decisions;	  /* changes of the decision */
	__u64 boosts[4];	  /* entries into each class */
	__u64 boosted_ns[4];	  /* run time in each class */
	__u64 run_ns;		  /* run time in all */
	__u64 critical_throttles; /* times the critical budget ran out */
	__u64 total_throttles;	  /* times the total budget ran out */
	__u64 bad_intents;	  /* intent words that broke the contract */
	__u64 injections;	  /* interrupts seen for this vCPU */
	__u64 preemptions;	  /* switched out while runnable */
	__u64 halts;		  /* switched out to sleep */
	__u64 cutoffs;		  /* timer ended or started a boost */
	__u64 refused_wishes;	  /* bodies that no class has */
	__u64 policy_calls;	  /* of the policy that were timed, */
	__u64 policy_ns;	  /* and what they took */
	/* written by the actuator setattr */
	__u64 applies;	   /* sched_setattr calls that succeeded */
	__u64 apply_fails; /* that failed */
	__u64 foreign;	   /* somebody else's attributes found, left alone */
	__u64 wake_to_run[PVS_HIST_BUCKETS];
	__u64 raise_to_run[PVS_HIST_BUCKETS]; /* boosted while it waited */
	/* written by whoever carries decisions out */
	__u64 event_to_applied[PVS_HIST_BUCKETS];
};

#endif /* PVSCHED_POLICY_H */
