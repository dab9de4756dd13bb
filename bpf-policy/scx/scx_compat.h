/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sched_ext as the scheduler sees it, from Linux 6.12 to 7.3 and later: types
 * by CO-RE, kernel functions by weak symbols, values of enums from the running
 * kernel. All that differs between versions is here and nowhere else.
 *
 * Functions are declared by the names that libbpf 1.1 finds: it takes a name
 * as it stands, so neither a "___" of ours nor one of the kernel's will do.
 *
 *   since  what                                                 can go
 *   6.13   scx_bpf_dispatch*, scx_bpf_consume became            2027, with 6.12
 *          scx_bpf_dsq_insert*, scx_bpf_dsq_move*
 *   6.14   enqueue() gets no task that must not migrate         2027, with 6.12
 *   6.14   SCX_ENQ_CPU_SELECTED, scx_bpf_now                    2027, with 6.12
 *   6.19   slice and vtime are set by functions                 2028, with 6.18
 *   6.19   values of SCX_ENQ_* follow the scheduler's own       never: by CO-RE
 *   6.23?  scx_bpf_dsq_insert_vtime with five arguments may end
 */
#ifndef PVSCHED_SCX_COMPAT_H
#define PVSCHED_SCX_COMPAT_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define PF_KTHREAD 0x00200000

/* Never read. */
struct cpumask {
	__u64 bits;
};

/* The iterator over a queue, on the stack. */
struct bpf_iter_scx_dsq {
	__u64 opaque[6];
} __attribute__((aligned(8)));

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

enum scx_exit_kind { SCX_EXIT_NONE };

struct scx_cpu_release_args;

struct scx_exit_info {
	enum scx_exit_kind kind;
	__s64 exit_code;
	const char *reason;
	char *msg;
};

#pragma clang attribute pop

/* Only members that every version has: libbpf 1.1 refuses others. */
struct sched_ext_ops {
	__s32 (*select_cpu)(struct task_struct *p, __s32 prev_cpu, __u64 flags);
	void (*enqueue)(struct task_struct *p, __u64 flags);
	void (*dispatch)(__s32 cpu, struct task_struct *prev);
	void (*runnable)(struct task_struct *p, __u64 flags);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*quiescent)(struct task_struct *p, __u64 flags);
	bool (*yield)(struct task_struct *from, struct task_struct *to);
	void (*enable)(struct task_struct *p);
	void (*cpu_release)(__s32 cpu, struct scx_cpu_release_args *args);
	void (*cpu_online)(__s32 cpu);
	void (*cpu_offline)(__s32 cpu);
	__s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	__u64 flags;
	__u32 timeout_ms;
	char name[128];
};

/* --- values --------------------------------------------------------------- */

/* Names only: the values are the running kernel's. */
enum scx_enq_flags {
	SCX_ENQ_WAKEUP = 1,
	SCX_ENQ_HEAD,
	SCX_ENQ_CPU_SELECTED,
	SCX_ENQ_PREEMPT,
	SCX_ENQ_REENQ,
};

enum scx_wake_flags {
	SCX_WAKE_SYNC = 1,
};

#define PVS_ENQ(name) bpf_core_enum_value(enum scx_enq_flags, name)
#define PVS_WAKE(name) bpf_core_enum_value(enum scx_wake_flags, name)

/* The same since 6.12. */
#define SCX_DSQ_LOCAL (1ull << 63 | 2)
#define SCX_DSQ_LOCAL_ON (1ull << 63 | 1ull << 62)
#define SCX_TASK_QUEUED 1
#define SCX_OPS_ENQ_EXITING (1ull << 2)

/* --- functions ------------------------------------------------------------ */

#define PVS_KFUNC __ksym __weak
#define pvs_exists(function) ((void *)(function) != 0)

extern __s32 scx_bpf_create_dsq(__u64 dsq, __s32 node) PVS_KFUNC;
extern __s32 scx_bpf_dsq_nr_queued(__u64 dsq) PVS_KFUNC;
extern __s32 scx_bpf_select_cpu_dfl(struct task_struct *p, __s32 prev_cpu,
				    __u64 wake_flags, bool *is_idle) PVS_KFUNC;
extern __s32 scx_bpf_pick_idle_cpu(const struct cpumask *allowed,
				   __u64 flags) PVS_KFUNC;
extern bool scx_bpf_test_and_clear_cpu_idle(__s32 cpu) PVS_KFUNC;
extern const struct cpumask *scx_bpf_get_online_cpumask(void) PVS_KFUNC;
extern void scx_bpf_put_cpumask(const struct cpumask *cpumask) PVS_KFUNC;
extern bool bpf_cpumask_test_cpu(__u32 cpu,
				 const struct cpumask *cpumask) PVS_KFUNC;
extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, __u64 dsq,
				__u64 flags) PVS_KFUNC;
extern struct task_struct *
bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) PVS_KFUNC;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) PVS_KFUNC;

/* 6.13 and later */
extern void scx_bpf_dsq_insert(struct task_struct *p, __u64 dsq, __u64 slice,
			       __u64 flags) PVS_KFUNC;
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, __u64 dsq,
				     __u64 slice, __u64 vtime,
				     __u64 flags) PVS_KFUNC;
extern bool scx_bpf_dsq_move_to_local(__u64 dsq) PVS_KFUNC;
extern bool scx_bpf_dsq_move(struct bpf_iter_scx_dsq *it, struct task_struct *p,
			     __u64 dsq, __u64 flags) PVS_KFUNC;
/* 6.12 */
extern void scx_bpf_dispatch(struct task_struct *p, __u64 dsq, __u64 slice,
			     __u64 flags) PVS_KFUNC;
extern void scx_bpf_dispatch_vtime(struct task_struct *p, __u64 dsq,
				   __u64 slice, __u64 vtime,
				   __u64 flags) PVS_KFUNC;
extern bool scx_bpf_consume(__u64 dsq) PVS_KFUNC;
extern bool scx_bpf_dispatch_from_dsq(struct bpf_iter_scx_dsq *it,
				      struct task_struct *p, __u64 dsq,
				      __u64 flags) PVS_KFUNC;
extern __u32 scx_bpf_reenqueue_local(void) PVS_KFUNC;
/* 6.14 and later */
extern __u64 scx_bpf_now(void) PVS_KFUNC;
/* 6.19 and later */
extern bool scx_bpf_task_set_slice(struct task_struct *p,
				   __u64 slice) PVS_KFUNC;
extern bool scx_bpf_task_set_dsq_vtime(struct task_struct *p,
				       __u64 vtime) PVS_KFUNC;

static __always_inline void pvs_insert(struct task_struct *p, __u64 dsq,
				       __u64 slice, __u64 flags)
{
	if (pvs_exists(scx_bpf_dsq_insert))
		scx_bpf_dsq_insert(p, dsq, slice, flags);
	else
		scx_bpf_dispatch(p, dsq, slice, flags);
}

static __always_inline void pvs_insert_vtime(struct task_struct *p, __u64 dsq,
					     __u64 slice, __u64 vtime,
					     __u64 flags)
{
	if (pvs_exists(scx_bpf_dsq_insert_vtime))
		scx_bpf_dsq_insert_vtime(p, dsq, slice, vtime, flags);
	else
		scx_bpf_dispatch_vtime(p, dsq, slice, vtime, flags);
}

static __always_inline bool pvs_move_to_local(__u64 dsq)
{
	if (pvs_exists(scx_bpf_dsq_move_to_local))
		return scx_bpf_dsq_move_to_local(dsq);
	return scx_bpf_consume(dsq);
}

static __always_inline bool pvs_move(struct bpf_iter_scx_dsq *it,
				     struct task_struct *p, __u64 dsq,
				     __u64 flags)
{
	if (pvs_exists(scx_bpf_dsq_move))
		return scx_bpf_dsq_move(it, p, dsq, flags);
	return scx_bpf_dispatch_from_dsq(it, p, dsq, flags);
}

/* Nanoseconds, of one CPU's clock. */
static __always_inline __u64 pvs_now(void)
{
	return pvs_exists(scx_bpf_now) ? scx_bpf_now() : bpf_ktime_get_ns();
}

static __always_inline void pvs_set_slice(struct task_struct *p, __u64 slice)
{
	if (pvs_exists(scx_bpf_task_set_slice))
		scx_bpf_task_set_slice(p, slice);
	else
		p->scx.slice = slice;
}

static __always_inline void pvs_set_vtime(struct task_struct *p, __u64 vtime)
{
	if (p->scx.dsq_vtime == vtime)
		return;
	if (pvs_exists(scx_bpf_task_set_dsq_vtime))
		scx_bpf_task_set_dsq_vtime(p, vtime);
	else
		p->scx.dsq_vtime = vtime;
}

/*
 * Whether p must stay where it is. A BPF program itself keeps the task that it
 * interrupts from migrating, on most versions: a current task's count of one is
 * taken for that. If it was the task's own, other CPUs pass it over in the
 * shared queue.
 */
static __always_inline bool pvs_stays(struct task_struct *p)
{
	if (p->nr_cpus_allowed == 1)
		return 1;
	if (!bpf_core_field_exists(p->migration_disabled))
		return 0;
	if (p->migration_disabled == 1)
		return (__u32)p->pid != (__u32)bpf_get_current_pid_tgid();
	return p->migration_disabled;
}

/* Whether the kernel may have queued p without asking: since 6.14 it does so with
 * one that must not migrate. */
static __always_inline bool pvs_not_asked_for(struct task_struct *p)
{
	return bpf_core_field_exists(p->migration_disabled) &&
	       p->migration_disabled;
}

/* The type is asked for so that clang describes it in full: libbpf compares. */
static __always_inline bool pvs_may_run(struct task_struct *p, __u32 cpu)
{
	return bpf_core_type_exists(struct cpumask) &&
	       bpf_cpumask_test_cpu(cpu, p->cpus_ptr);
}

/* Whether p, which leaves the CPU, is within an RCU read-side section. The BPF program
 * that asks is within one of its own, which counts as p's. */
static __always_inline bool pvs_reads(struct task_struct *p)
{
	return bpf_core_field_exists(p->rcu_read_lock_nesting) &&
	       p->rcu_read_lock_nesting > 1;
}

static __always_inline __u32 pvs_task_cpu(struct task_struct *p)
{
	return p->thread_info.cpu;
}

/* The group of p's that has a weight; 0 in kernels without. */
static __always_inline struct task_group *pvs_task_group(struct task_struct *p)
{
	if (!bpf_core_field_exists(p->sched_task_group) ||
	    !bpf_core_field_exists(struct task_group, shares))
		return 0;
	return p->sched_task_group;
}

/* For how long p has waited, in jiffies, as the kernel's watchdog counts. */
static __always_inline __u64 pvs_waited(struct task_struct *p)
{
	return bpf_jiffies64() - p->scx.runnable_at;
}

/* Whether select_cpu() has been asked for this enqueue(). */
static __always_inline bool pvs_cpu_selected(__u64 flags)
{
	if (!bpf_core_enum_value_exists(enum scx_enq_flags,
					SCX_ENQ_CPU_SELECTED))
		return flags & PVS_ENQ(SCX_ENQ_WAKEUP);
	return flags & PVS_ENQ(SCX_ENQ_CPU_SELECTED);
}

#endif /* PVSCHED_SCX_COMPAT_H */
