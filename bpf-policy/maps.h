/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Maps and globals of the policy object. libvirt-hook/bpf/policy.cpp is their
 * only other user; the layouts that both touch stand in policy.h or here.
 */
#ifndef PVSCHED_MAPS_H
#define PVSCHED_MAPS_H

#ifndef __bpf__
#include <linux/bpf.h>
#endif

#include "decide.h"

#define PVS_FILTER_WORDS 1024	  /* one bit for each id modulo 65536 */
#define PVS_NODES 64		  /* NUMA nodes told apart, by id modulo this */
#define PVS_TENANT_CPUS 1024	  /* CPUs with an entry in `tenants` */
#define PVS_MAX_OTHERS 4096	  /* threads in `others` */
#define PVS_APIC_ONLY 0xffffffffu /* key of a VM's only vCPU */

/* Key of `apics`: a vCPU as interrupts name it. */
struct pvs_apic_key {
	__u32 tgid;
	__u32 apic_id;
};

/* A thread that a tag is on; all zero: none is, or was. See presence.h. */
struct pvs_presence {
	__u32 tag;
	__u32 counted; /* 1 + the node whose count it is in; 0: in none */
	__u32 cpu;     /* where it last ran while tagged */
	__u32 node;
};

/*
 * Host-only record of one vCPU. Whoever sets `busy` evaluates it; who finds it
 * set leaves a bit in `missed` for the one that is at it.
 */
struct pvs_vcpu {
	struct bpf_timer timer;
	__u32 index; /* of mailbox and statistics */
	__u32 vm;
	__u32 slot;
	__u32 busy;
	__u32 missed; /* PVS_EVENT()s that nobody has looked at */
	__u8 run;     /* enum pvs_run, by the last scheduler event */
	__u8 share;   /* the guest may know where it is; ADMIN's to set */
	__u8 told;    /* and has been told; else its slot holds 0 */
	__u8 pad;
	__u64 seen;	    /* the guest's word at the last step; 0: no area */
	__u32 quiet;	    /* what would change nothing with that word */
	__u32 policy_state; /* under which `state` was written */
	struct pvs_presence presence;
	/* Below: the holder's. */
	struct pvs_machine machine;
	struct pvs_outcome outcome;
	struct pvs_policy_event event;
	struct pvs_policy_wish wish;
	struct pvs_policy_state state;
	__u64 seq;	 /* of the last decision */
	__u64 published; /* state word in the host area */
	__u64 armed;	 /* when the timer fires; 0: not set */
	__u64 woken;	 /* when it was last woken; 0: has run since */
	__u64 raised;	 /* when it was boosted as it waited; 0: has run */
};

/*
 * Constants of one loaded object, .rodata.pvsched, set before loading. Objects
 * share all maps; the one that pvs_globals.active names evaluates.
 */
struct pvs_self {
	__u32 generation;
	/* For each slot, of the state of the policy in it: where a vCPU's state
	 * was written under another, that is cleared. */
	__u32 states[PVS_POLICY_SLOTS];
};

/* CPUs that a vCPU prefers while they are not busy, one bit each. */
struct pvs_preference {
	__u64 cpus[PVS_TENANT_CPUS / 64];
};

/* What control() is to do with a thread. */
enum pvs_control {
	PVS_CONTROL_EVALUATE,
	PVS_CONTROL_INIT,   /* a new vCPU: make its timer, and evaluate it */
	PVS_CONTROL_FORGET, /* one of `others`: take it out */
};

/* The object's .bss, mapped by the daemon. */
struct pvs_globals {
	__u64 filter[PVS_FILTER_WORDS]; /* ids that may be known, by bit */
	__u32 enabled;			/* the global switch */
	__u32 control_tid;		/* what the daemon asks of control() */
	__u32 control_what;		/* enum pvs_control */
	__u32 active; /* generation of the object that evaluates */
	struct {
		__u32 wanting; /* foreground threads that want a CPU */
		__u32 pad[15]; /* a cache line for each */
	} nodes[PVS_NODES];
};

#ifdef __bpf__

/* The scheduler (scx/) has these too; the rest is the policy's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PVS_MAX_VCPUS);
	__type(key, __u32); /* TID */
	__type(value, struct pvs_vcpu);
} vcpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_MAX_VCPUS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pvs_mailbox);
} mailboxes SEC(".maps");

/* By the vCPU's index; none: it prefers nothing now. The daemon keeps it current,
 * with what affinity allows not cut off: the scheduler reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PVS_MAX_VCPUS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct pvs_preference);
} preferences SEC(".maps");

struct pvs_globals pvs_globals;

#ifndef PVS_SHARED_MAPS_ONLY

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * PVS_MAX_VCPUS);
	__type(key, struct pvs_apic_key);
	__type(value, __u32); /* TID */
} apics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_MAX_VMS);
	__type(key, __u32);
	__type(value, struct pvs_limits);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_MAX_VCPUS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pvs_stats);
} stats SEC(".maps");

/* Foreground threads that are no vCPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PVS_MAX_OTHERS);
	__type(key, __u32); /* TID */
	__type(value, struct pvs_presence);
} others SEC(".maps");

/* The background vCPU on each CPU, by TID; 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVS_TENANT_CPUS);
	__type(key, __u32);
	__type(value, __u32);
} tenants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PVS_MAX_VCPUS * 16);
} ring SEC(".maps");

struct guest_area {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_PAGE_SIZE / PVSCHED_SLOT_SIZE);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct pvsched_guest_slot));
};

struct host_area {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_PAGE_SIZE / PVSCHED_SLOT_SIZE);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct pvsched_host_slot));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PVS_MAX_VMS);
	__type(key, __u32);
	__array(values, struct guest_area);
} guest_areas SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PVS_MAX_VMS);
	__type(key, __u32);
	__array(values, struct host_area);
} host_areas SEC(".maps");

const volatile struct pvs_self pvs_self SEC(".rodata.pvsched");

#endif /* PVS_SHARED_MAPS_ONLY */
#endif /* __bpf__ */
#endif /* PVSCHED_MAPS_H */
