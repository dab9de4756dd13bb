/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the scheduler shares with its loader and with the policy: constants,
 * the topology, one record per CPU and per vCPU, how it ended. The daemon
 * includes this, too.
 */
#ifndef PVSCHED_SCX_H
#define PVSCHED_SCX_H

#include "policy.h"

#define PVS_SCX_NAME "pvsched"
#define PVS_SCX_CPUS 1024
#define PVS_SCX_LLCS 64
#define PVS_SCX_GROUPS 4096 /* cgroups whose weights are followed */
#define PVS_SCX_LEVELS 8    /* levels of them, below the root */
#define PVS_SCX_DEEPEST 24  /* more levels, at most, at which a task may be */

/* Effective weights: a task of nice 0 in the root has 100 units. */
#define PVS_SCX_UNIT 1024u
#define PVS_SCX_LEAST (PVS_SCX_UNIT / 16)
#define PVS_SCX_MOST (100000 * PVS_SCX_UNIT)

/* Constants of one load, .rodata.scx, set before loading. */
struct pvs_scx_host {
	__u64 slice_ns;
	__u64 longest_wait; /* jiffies; who has waited for longer is next */
	__u32 cpus;	    /* possible ones, at most PVS_SCX_CPUS */
	__u32 llcs;	    /* last-level caches, at least 1 */
	__u8 llc_of[PVS_SCX_CPUS]; /* of each CPU, below `llcs` */
};

#define PVS_SCX_LEAVES_TURN 1 /* it has called sched_yield() */
#define PVS_SCX_LEAVES_WAY 2  /* its turn is not over: it makes way */

/* One per CPU, a cache line each. All but `urgent`, `boosted`, `guesses` and what
 * is said of the current task is used with the CPU's run queue locked. */
struct pvs_scx_cpu {
	__u64 clock;  /* virtual time of those that may run only here */
	__u64 offset; /* added to it, comparable with the LLC's */
	__u64 began;  /* sum_exec_runtime of the current task when put on */
	__u64 vtime;  /* of it when its slice began, by the LLC's clock */
	__u64 since;  /* when that was, ns; as if it had not been interrupted */
	__u32 weight; /* effective, of the current task; 0: it is not ours */
	__u32 boosted; /* pvs_scx_urgency() of the current task */
	__u32 urgent;  /* a vCPU that waits here has been raised */
	__u8 llc;
	__u8 leaves;  /* PVS_SCX_LEAVES_*: why the current task does */
	__u8 gone;    /* it is offline */
	__u8 guesses; /* times that `waits` of the LLC was believed */
	__u32 look;   /* when it next looks for who has waited long, 2^20 ns */
	__u8 turns;   /* dispatches since it has looked at the clock for that */
	__u8 own;     /* its own queue may hold somebody */
	__u8 rescued : 1; /* who is put on next has waited long: not its turn */
	__u8 moment : 1;  /* since a turn began: one goes on out of its own */
	__u8 rivals;	  /* a boosted vCPU queued here behind another one */
};

/* One per last-level cache. */
struct pvs_scx_llc {
	__u64 clock; /* virtual time of those that may run on several CPUs */
	__u32 waits; /* somebody may wait in its queue, mostly right */
	__u32 pad[13];
};

/* One per vCPU, by the index of its mailbox. */
struct pvs_scx_place {
	__u32 cpu;     /* where it was queued or put on last */
	__u8 ahead;    /* it is queued before its virtual time, which is: */
	__u8 by_cpu;   /* that time is by its CPU's clock: it prefers CPUs */
	__u8 favoured; /* its run time is not charged: it was put on boosted */
	__u8 pad;
	__u64 vtime;
};

/* One per cgroup, by its id in the cpu controller; see groups.h. */
struct pvs_scx_group {
	__s64 wants; /* weights of what is runnable in it */
	__s64 given; /* its own, where it counts for the group above it */
	__u64 pad[6];
};

/* One in all; pvschedd has it mapped. */
struct pvs_scx_report {
	__u32 attached; /* the scheduler is in force */
	__u32 kind;	/* enum scx_exit_kind of the kernel; 0: has not ended */
	__u32 cpus;	/* as in pvs_scx_host */
	__u32 pad;
	__s64 code;
	char reason[64];
	char message[192];
};

#endif /* PVSCHED_SCX_H */
