// SPDX-License-Identifier: GPL-2.0
/*
 * pvsched's host policy.
 *
 * Scheduler and KVM events name a vCPU thread, by TID or by (process, APIC
 * id). Its record is looked up, the guest's intent word is read once from the
 * shared area, and pvs_step() (decide.h) decides. Only a changed decision
 * leaves the program: it is stored in the vCPU's mailbox, in the guest's host
 * slot, and one ring record wakes the actuator unless one is on its way.
 *
 * A thread that is no vCPU costs one bit test.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "maps.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline bool maybe_known(__u32 id)
{
	return pvs_globals.filter[(id >> 6) & (PVS_FILTER_WORDS - 1)] &
	       (1ull << (id & 63));
}

static __always_inline void *area_slot(void *areas, __u32 vm, __u32 slot)
{
	void *area = bpf_map_lookup_elem(areas, &vm);

	return area ? bpf_map_lookup_elem(area, &slot) : 0;
}

static __always_inline void count_delay(__u64 *hist, __u64 ns)
{
	__u32 bucket = 0;

	if (ns >> 32)
		bucket = 32, ns >>= 32;
	if (ns >> 16)
		bucket += 16, ns >>= 16;
	if (ns >> 8)
		bucket += 8, ns >>= 8;
	if (ns >> 4)
		bucket += 4, ns >>= 4;
	if (ns >> 2)
		bucket += 2, ns >>= 2;
	if (ns >> 1)
		bucket += 1;
	if (bucket >= PVS_HIST_BUCKETS)
		bucket = PVS_HIST_BUCKETS - 1;
	hist[bucket]++;
}

static __always_inline void count(struct pvs_vcpu *v, struct pvs_stats *s,
				  const struct pvs_outcome *out,
				  enum pvs_event ev, __u64 now)
{
	s->events++;
	s->run_ns += out->ran;
	if (out->ran_class < 3)
		s->boosted_ns[out->ran_class] += out->ran_boosted;
	s->critical_throttles += out->critical_throttle;
	s->total_throttles += out->total_throttle;
	if (out->changed) {
		__u32 class_ = pvs_decision_class(out->decision);

		s->decisions++;
		if (class_ < 3)
			s->boosts[class_]++;
		if (ev == PVS_EV_TIMER)
			s->cutoffs++;
	}
	switch (ev) {
	case PVS_EV_PREEMPTED:
		s->preemptions++;
		break;
	case PVS_EV_SLEEP:
		s->halts++;
		break;
	case PVS_EV_INJECT:
		s->injections++;
		break;
	case PVS_EV_WAKING:
		v->woken = now;
		break;
	case PVS_EV_SWITCH_IN:
		if (v->woken)
			count_delay(s->wake_to_run,
				    pvs_sub_floor(now, v->woken));
		v->woken = 0;
		break;
	case PVS_EV_ADMIN:
	case PVS_EV_GUEST:
	case PVS_EV_TIMER:
		break;
	}
}

static __always_inline void publish_placement(struct pvsched_host_slot *host,
					      enum pvs_event ev)
{
	__u64 flags = PVSCHED_PLACEMENT_VALID;

	if (ev == PVS_EV_SWITCH_IN)
		flags |= PVSCHED_PLACEMENT_RUNNING;
	else if (ev == PVS_EV_PREEMPTED)
		flags |= PVSCHED_PLACEMENT_PREEMPTED;
	else if (ev == PVS_EV_SLEEP)
		flags |= PVSCHED_PLACEMENT_HALTED;
	else
		return;
	*(volatile __u64 *)&host->placement =
		(__u64)bpf_get_smp_processor_id()
			<< PVSCHED_PLACEMENT_CPU_SHIFT |
		(__u64)bpf_get_numa_node_id() << PVSCHED_PLACEMENT_NODE_SHIFT |
		flags << PVSCHED_PLACEMENT_FLAGS_SHIFT;
}

/* The guest's word as a checked need. A global function: the verifier follows
 * its many paths once, not once more for each path through evaluate(). */
__attribute__((noinline)) __u64 read_intent(__u64 word,
					    const struct pvs_limits *l)
{
	return l ? pvs_read_intent(l, word) : 0;
}

/* One event of the vCPU thread `tid`, which may be none of ours. */
__attribute__((noinline)) int evaluate(__u32 tid, __u32 ev)
{
	struct pvs_vcpu *v = bpf_map_lookup_elem(&vcpus, &tid);
	struct pvsched_guest_slot *guest;
	struct pvsched_host_slot *host;
	struct pvs_outcome *out;
	struct pvs_mailbox *box;
	struct pvs_limits *l;
	struct pvs_stats *s;
	struct pvs_record record;
	__u64 now, word, need = 0, state, arm = 0, until;
	__u32 vm, index, slot, busy = 1;
	int on, changed;

	if (!v)
		return 0;
	vm = v->vm;
	slot = v->slot;
	index = v->index;
	guest = area_slot(&guest_areas, vm, slot);
	word = guest ? *(volatile __u64 *)&guest->intent : 0;
	if (v->quiet && word == v->seen &&
	    pvs_is_old_news(&v->machine, word, ev))
		return 0;
	l = bpf_map_lookup_elem(&limits, &vm);
	box = bpf_map_lookup_elem(&mailboxes, &index);
	s = bpf_map_lookup_elem(&stats, &index);
	if (!l || !box || !s || box->dead)
		return 0;
	host = area_slot(&host_areas, vm, slot);
	on = *(volatile __u32 *)&pvs_globals.enabled;
	if (guest)
		need = read_intent(word, l);
	now = bpf_ktime_get_ns();
	until = box->applied_at;
	if (pvs_decision_class(*(volatile __u64 *)&box->applied))
		until = now; /* still in force */

	bpf_spin_lock(&v->lock);
	if (ev == PVS_EV_TIMER)
		v->armed = 0;
	if (now < v->machine.stamp)
		now = v->machine.stamp; /* events of two CPUs crossed */
	out = &v->outcome;
	pvs_step(&v->machine, l, need, ev, on, until, now, out);
	PVS_BARRIER();
	v->seen = word;
	v->quiet = l->debug < 2;
	count(v, s, out, ev, now);
	if (need & PVS_NEED_BAD)
		s->bad_intents++;
	changed = out->changed;
	if (changed) {
		box->decided_at = now;
		*(volatile __u64 *)&box->decision =
			++v->seq << PVS_DECISION_SEQ_SHIFT | out->decision;
	}
	state = pvs_state_word(&v->machine);
	if (host && (state != v->published || ev == PVS_EV_ADMIN)) {
		v->published = state;
		*(volatile __u64 *)&host->state = state;
	}
	if (out->deadline != PVS_NEVER &&
	    (v->armed <= now || out->deadline < v->armed)) {
		v->armed = out->deadline;
		arm = pvs_sub_floor(out->deadline, now);
	}
	bpf_spin_unlock(&v->lock);

	if (host)
		publish_placement(host, ev);
	if (changed)
		busy = __sync_lock_test_and_set(&box->in_flight, 1);
	if (!busy) {
		record.index = index;
		if (bpf_ringbuf_output(&ring, &record, sizeof(record),
				       BPF_RB_FORCE_WAKEUP))
			box->in_flight = 0; /* the actuator looks by itself */
	}
	if (arm && bpf_timer_start(&v->timer, arm, 0)) {
		bpf_spin_lock(&v->lock);
		v->armed = 0; /* the next event tries again */
		v->quiet = 0;
		bpf_spin_unlock(&v->lock);
	}
	if (l->debug && (changed || l->debug > 1)) {
		bpf_printk("pvsched: vm %u vcpu %u event %u", vm, slot, ev);
		bpf_printk("pvsched: need %llx state %llx", need, state);
	}
	return 0;
}

static int on_timer(void *map, __u32 *tid, struct pvs_vcpu *v)
{
	evaluate(*tid, PVS_EV_TIMER);
	return 0;
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
	__u32 tid = p->pid;

	if (maybe_known(tid))
		evaluate(tid, PVS_EV_WAKING);
	return current_event();
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *p)
{
	struct pvs_mailbox *box;
	__u32 index, tid = p->pid;
	struct pvs_vcpu *v;

	v = maybe_known(tid) ? bpf_map_lookup_elem(&vcpus, &tid) : 0;
	if (!v)
		return 0;
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
 * each) after limits, areas or switches changed. A classifier, because it may
 * take the lock and init a timer on every kernel since 5.15, and nothing of it
 * runs in the scheduler's context. Returns 0, 1 if the TID is unknown, 2 if
 * there is no timer.
 */
SEC("tc")
int control(struct __sk_buff *skb)
{
	__u32 tid = pvs_globals.control_tid;
	struct pvs_vcpu *v = bpf_map_lookup_elem(&vcpus, &tid);

	if (!v)
		return 1;
	if (pvs_globals.control_init) {
		struct pvs_limits *l;
		__u64 now = bpf_ktime_get_ns();
		__u32 vm = v->vm;

		l = bpf_map_lookup_elem(&limits, &vm);
		if (!l)
			return 1;
		bpf_spin_lock(&v->lock);
		pvs_machine_init(&v->machine, l, now);
		v->seq = 0;
		v->published = 0;
		v->armed = 0;
		v->woken = 0;
		v->quiet = 0;
		bpf_spin_unlock(&v->lock);
		if (bpf_timer_init(&v->timer, &vcpus, CLOCK_MONOTONIC) ||
		    bpf_timer_set_callback(&v->timer, on_timer))
			return 2;
	}
	evaluate(tid, PVS_EV_ADMIN);
	return 0;
}
