/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a policy is: one function, events in, a wish out. A file of its own,
 * compiled for BPF with this header alone:
 *
 *	#include <pvsched/policy_interface.h>
 *
 *	PVS_POLICY(mine, "1.0", 1, "what it is for")
 *	{
 *		if (event->need & PVS_NEED_CRITICAL)
 *			wish->body = event->critical;
 *	}
 *
 * The framework (pvsched.bpf.c) calls it with each vCPU event, one call at a
 * time per vCPU. The wish is cut to the administrator's caps and budgets and
 * then put in force; no policy can evade that. Times are nanoseconds of
 * CLOCK_MONOTONIC. A policy has no maps and calls no helpers: all that it may
 * know is in the event, all that it remembers is in the state.
 * docs/writing-a-policy.md is the text to this header.
 */
#ifndef PVSCHED_POLICY_INTERFACE_H
#define PVSCHED_POLICY_INTERFACE_H

#ifdef __bpf__
#include "pvsched/bpf_types.h"
#endif
#include "pvsched/abi.h"
#include "pvsched/tags.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define PVS_INTERFACE_VERSION 1 /* of this file */
#define PVS_POLICY_STATE_WORDS 8
#define PVS_NEVER (~0ull)

enum pvs_event {
	PVS_EV_ADMIN,	  /* limits, areas, tags or enable changed */
	PVS_EV_SWITCH_IN, /* put on a CPU */
	PVS_EV_PREEMPTED, /* taken off a CPU, still runnable */
	PVS_EV_SLEEP,	  /* taken off a CPU, sleeps (halt) */
	PVS_EV_WAKING,	  /* wanted again */
	PVS_EV_INJECT,	  /* an interrupt is on its way to it */
	PVS_EV_GUEST, /* something happened in its context: exit, doorbell */
	PVS_EV_TIMER, /* a time that was asked for has come */
	PVS_EV_FOREGROUND, /* a foreground thread wants the CPU it is on */
};

#define PVS_EVENT(ev) (1u << (ev))
#define PVS_QUIET_EVENTS (PVS_EVENT(PVS_EV_GUEST) | PVS_EVENT(PVS_EV_INJECT))

enum pvs_run {
	PVS_RUN_SLEEPING,
	PVS_RUN_WAITING, /* runnable, not on a CPU */
	PVS_RUN_RUNNING,
};

/*
 * The guest's word, checked: the irq sequence in 32..39, these flags in 40..47.
 * 0: there is no driver. The task's boost is in pvs_policy_event.
 */
#define PVS_NEED_VALID (1ull << 40)    /* the guest has a driver */
#define PVS_NEED_IDLE (1ull << 41)     /* it is about to halt */
#define PVS_NEED_CRITICAL (1ull << 42) /* in a critical section */
#define PVS_NEED_BAD (1ull << 43)      /* the word broke the contract */
#define PVS_NEED_SEQ_SHIFT 32

/* A body: class 0..7, policy 8..15, nice 16..23, rt priority 24..31. */
static __always_inline __u32 pvs_decision(__u8 class_, __u8 policy, __s8 nice,
					  __u8 rt)
{
	return (__u32)class_ | (__u32)policy << 8 | (__u32)(__u8)nice << 16 |
	       (__u32)rt << 24;
}

static __always_inline __u8 pvs_decision_class(__u64 decision)
{
	return (__u8)decision;
}

static __always_inline __u8 pvs_decision_policy(__u64 decision)
{
	return (__u8)(decision >> 8);
}

static __always_inline __s8 pvs_decision_nice(__u64 decision)
{
	return (__s8)(__u8)(decision >> 16);
}

static __always_inline __u8 pvs_decision_rt(__u64 decision)
{
	return (__u8)(decision >> 24);
}

/* What has happened. */
struct pvs_policy_event {
	__u64 now;
	__u64 ran;    /* run time since the last call */
	__u64 need;   /* PVS_NEED_* */
	__u64 hold;   /* <boost hold>: run time that a wake-up keeps a boost */
	__u64 inject; /* <boost inject>: the same for an interrupt */
	__u32 events; /* PVS_EVENT() of each since the last call, mostly one */
	__u32 run;    /* enum pvs_run, after them */
	__u32 task;   /* boost that the guest's tasks ask for, in caps; or 0 */
	__u32 critical; /* boost of a critical section */
	__u32 tag;	/* of this vCPU: PVS_TAG_*, or one of pvschedd.conf's */
	/* How many foreground threads, of VMs and others, want a CPU of the
	 * NUMA node that it is in; it itself is one of them where it is one. */
	__u32 foreground;
};

/* What a policy remembers of one vCPU: zero at first, and again where a policy
 * with another state version takes over. Nobody else reads it. */
struct pvs_policy_state {
	__u64 word[PVS_POLICY_STATE_WORDS];
};

/* What is wanted from now on, until the next call. Preset as below. */
struct pvs_policy_wish {
	__u64 after_run; /* call again after so much run time; PVS_NEVER */
	__u64 at;	 /* and not later than at this time; PVS_NEVER */
	__u32 body;	 /* pvs_decision(); 0: the baseline */
	__u32 fallback;	 /* while the budget of CRITICAL is empty; 0 */
	/* Of PVS_QUIET_EVENTS, what changes nothing while the guest's word
	 * stays as it is; 0. Saves the call: the framework passes it over. */
	__u32 quiet;
	__u32 kick; /* 1: the guest shall ring when its need ends; 0 */
};

/* Who it is: read from the object before anything of it is loaded. */
struct pvs_policy_info {
	__u32 magic;	 /* PVS_POLICY_MAGIC */
	__u32 interface; /* PVS_INTERFACE_VERSION it was built for */
	__u32 state;	 /* version of its state's layout */
	__u32 reserved;
	char name[PVSCHED_POLICY_NAME_LEN];
	char version[16];
	char summary[80];
};

#define PVS_POLICY_MAGIC 0x6c6f7076u /* "pvol" */
#define PVS_POLICY_SECTION "pvsched_policy"

#define PVS_POLICY_ARGUMENTS                                            \
	const struct pvs_policy_event *event __attribute__((unused)),   \
		struct pvs_policy_state *state __attribute__((unused)), \
		struct pvs_policy_wish *wish __attribute__((unused))

#ifdef __bpf__
/* The daemon puts a slot's number in place of the N. */
#define PVS_POLICY(name_, version_, state_, summary_)                         \
	static const struct pvs_policy_info pvs_info                          \
		__attribute__((section(PVS_POLICY_SECTION), used)) = {        \
			PVS_POLICY_MAGIC, PVS_INTERFACE_VERSION,              \
			state_,		  0,                                  \
			#name_,		  version_,                           \
			summary_                                              \
		};                                                            \
	static __always_inline void pvs_wish(PVS_POLICY_ARGUMENTS);           \
	__attribute__((noinline)) int pvs_policy_slot_N(                      \
		const struct pvs_policy_event *event,                         \
		struct pvs_policy_state *state, struct pvs_policy_wish *wish) \
	{                                                                     \
		if (event && state && wish)                                   \
			pvs_wish(event, state, wish);                         \
		return 0;                                                     \
	}                                                                     \
	static __always_inline void pvs_wish(PVS_POLICY_ARGUMENTS)
#else
/* Natively, for unit tests: a function by the policy's name. */
#define PVS_POLICY(name_, version_, state_, summary_) \
	static inline void pvs_policy_##name_(PVS_POLICY_ARGUMENTS)
#endif

#endif /* PVSCHED_POLICY_INTERFACE_H */
