// SPDX-License-Identifier: GPL-2.0
/*
 * pvsched's host policy.
 *
 * Scheduler and KVM events name a vCPU thread, by TID or by (process, APIC
 * id); evaluate.h takes it from there.
 *
 * A thread that is no vCPU costs one bit test.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "evaluate.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline bool maybe_known(__u32 id)
{
	return pvs_globals.filter[(id >> 6) & (PVS_FILTER_WORDS - 1)] &
	       (1ull << (id & 63));
}

/* --- scheduler ------------------------------------------------------------ */

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev,
	     struct task_struct *next)
{
	__u32 from = prev->pid, to = next->pid;

	if (maybe_known(from))
		evaluate(from, !preempt && prev->__state ? PVS_EV_SLEEP :
							   PVS_EV_PREEMPTED);
	if (maybe_known(to))
		evaluate(to, PVS_EV_SWITCH_IN);
	return 0;
}

/* The vCPU that is on this CPU has done something: exit, doorbell, wake-up of
 * another thread. */
static __always_inline int current_event(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	if (maybe_known(tid))
		evaluate(tid, PVS_EV_GUEST);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct *p)
{
	__u32 tid = p->pid, other;

	if (maybe_known(tid)) {
		other = evaluate(tid, PVS_EV_WAKING);
		if (other)
			evaluate(other, PVS_EV_FOREGROUND);
	}
	return current_event();
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *p)
{
	struct pvs_mailbox *box;
	__u32 index, tid = p->pid;
	struct pvs_presence *other;
	struct pvs_vcpu *v;

	if (!maybe_known(tid))
		return 0;
	other = bpf_map_lookup_elem(&others, &tid);
	if (other)
		unmark(other, tid);
	v = bpf_map_lookup_elem(&vcpus, &tid);
	if (!v)
		return 0;
	unmark(&v->presence, tid);
	index = v->index;
	box = bpf_map_lookup_elem(&mailboxes, &index);
	if (box)
		box->dead = 1;
	return 0;
}

/* --- exits ---------------------------------------------------------------- */

#define PVS_EXIT_SOURCE(name)           \
	SEC("tp_btf/" #name)            \
	int BPF_PROG(name)              \
	{                               \
		return current_event(); \
	}

PVS_EXIT_SOURCE(kvm_exit)
PVS_EXIT_SOURCE(kvm_entry)
PVS_EXIT_SOURCE(kvm_userspace_exit)
PVS_EXIT_SOURCE(kvm_fast_mmio)
PVS_EXIT_SOURCE(kvm_mmio)
PVS_EXIT_SOURCE(kvm_halt_poll_ns)

/* --- interrupts ----------------------------------------------------------- */

static __always_inline int inject(__u32 tgid, __u32 apic_id)
{
	struct pvs_apic_key key = { .tgid = tgid, .apic_id = apic_id };
	__u32 *tid;

	if (!maybe_known(tgid))
		return 0;
	tid = bpf_map_lookup_elem(&apics, &key);
	if (tid)
		evaluate(*tid, PVS_EV_INJECT);
	return 0;
}

static __always_inline __u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

SEC("tp_btf/kvm_apic_accept_irq")
int BPF_PROG(kvm_apic_accept_irq, __u32 apic_id)
{
	return inject(current_tgid(), apic_id);
}

/* Names no destination (it may go through the PIC): meant only where there is
 * but one vCPU. */
SEC("tp_btf/kvm_set_irq")
int BPF_PROG(kvm_set_irq, unsigned int gsi, int level)
{
	return level ? inject(current_tgid(), PVS_APIC_ONLY) : 0;
}

SEC("tp_btf/kvm_msi_set_irq")
int BPF_PROG(kvm_msi_set_irq, __u64 address)
{
	return inject(current_tgid(), (address >> 12) & 0xff);
}

/* A kick reaches a preempted vCPU that no scheduler event would name. It is
 * inlined on some kernels: two places, of which one exists. */
static __always_inline int kicked(struct kvm_vcpu *vcpu)
{
	return inject(BPF_CORE_READ(vcpu, kvm, userspace_pid),
		      BPF_CORE_READ(vcpu, vcpu_id));
}

SEC("fentry/kvm_vcpu_kick")
int BPF_PROG(kvm_vcpu_kick, struct kvm_vcpu *vcpu)
{
	return kicked(vcpu);
}

SEC("fentry/__kvm_vcpu_kick")
int BPF_PROG(__kvm_vcpu_kick, struct kvm_vcpu *vcpu)
{
	return kicked(vcpu);
}

/* --- control: run by the daemon through BPF_PROG_TEST_RUN ------------------ */

/*
 * Makes the timer of a new vCPU, or evaluates one (or all of a VM, one call
 * each) after limits, areas, tags, switches or the active object changed; or
 * takes a thread out of `others`. A classifier, because it may init a timer on
 * every kernel since 5.15, and nothing of it runs in the scheduler's context;
 * where the kernel has sched_ext pvschedd makes it a syscall program, which may
 * tell the scheduler, as may its timer. Returns 0, 1 if the TID is unknown, 2 if
 * there is no timer.
 */
SEC("tc")
int control(struct __sk_buff *skb)
{
	__u32 tid = pvs_globals.control_tid;
	struct pvs_vcpu *v = bpf_map_lookup_elem(&vcpus, &tid);
	__u32 what = pvs_globals.control_what, index;
	struct pvs_presence *other;
	struct pvs_mailbox *box;

	if (what == PVS_CONTROL_FORGET) {
		other = bpf_map_lookup_elem(&others, &tid);
		if (!other)
			return 1;
		unmark(other, tid);
		bpf_map_delete_elem(&others, &tid);
		return 0;
	}
	if (!v)
		return 1;
	index = v->index;
	box = bpf_map_lookup_elem(&mailboxes, &index);
	if (box && !box->dead)
		v->presence.tag = *(volatile __u32 *)&box->tag;
	if (what == PVS_CONTROL_INIT &&
	    bpf_timer_init(&v->timer, &vcpus, CLOCK_MONOTONIC))
		return 2;
	if (bpf_timer_set_callback(&v->timer, on_timer))
		return 2;
	evaluate(tid, PVS_EV_ADMIN);
	return 0;
}
