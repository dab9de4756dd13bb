/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event sources, by program type and kernel name. A kernel may lack any of
 * them but the first three, without which there is no policy. probe.bpf.c
 * makes an empty program of each, pvsched.bpf.c the real one.
 */
#ifndef PVSCHED_SOURCES_H
#define PVSCHED_SOURCES_H

#define PVS_REQUIRED_SOURCES 3

#define PVS_SOURCES(X)                 \
	X(tp_btf, sched_switch)        \
	X(tp_btf, sched_waking)        \
	X(tp_btf, sched_process_exit)  \
	X(tp_btf, kvm_exit)            \
	X(tp_btf, kvm_entry)           \
	X(tp_btf, kvm_userspace_exit)  \
	X(tp_btf, kvm_mmio)            \
	X(tp_btf, kvm_fast_mmio)       \
	X(tp_btf, kvm_halt_poll_ns)    \
	X(tp_btf, kvm_apic_accept_irq) \
	X(tp_btf, kvm_set_irq)         \
	X(tp_btf, kvm_msi_set_irq)     \
	X(fentry, kvm_vcpu_kick)       \
	X(fentry, __kvm_vcpu_kick)

#endif /* PVSCHED_SOURCES_H */
