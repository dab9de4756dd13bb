/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of the kernel's headers as the driver's hot path needs, in user
 * space. The headers that it includes are links to this file; linux/types.h
 * and linux/version.h are the system's.
 *
 * What a hook's machine code consists of has the kernel's shape: per-CPU
 * variables and current are relative to a segment register, a static key that
 * is off is a no-op, READ_ONCE() and the exchange are what they are there.
 * What differs: local_irq_save() reads the flags, but nothing here can switch
 * interrupts off and on. What only registers or configures does nothing, or is
 * in bench.c.
 */
#ifndef STANDIN_KERNEL_H
#define STANDIN_KERNEL_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include <linux/types.h>

typedef __u8 u8;
typedef __s8 s8;
typedef __u32 u32;
typedef __u64 u64;

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __iomem
#define __rcu
#define ____cacheline_aligned __attribute__((aligned(64)))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() asm volatile("" ::: "memory")
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, val) (*(volatile typeof(x) *)&(x) = (val))
#define try_cmpxchg(ptr, old, val)                                          \
	__atomic_compare_exchange_n(ptr, old, val, false, __ATOMIC_SEQ_CST, \
				    __ATOMIC_RELAXED)

#define BIT(n) (1u << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define is_power_of_2(n) ((n) && !((n) & ((n)-1)))
#define clamp_t(type, val, lo, hi)               \
	((type)(val) < (type)(lo) ? (type)(lo) : \
	 (type)(val) > (type)(hi) ? (type)(hi) : \
				    (type)(val))
#define IS_ENABLED(option) 0

/* linux/percpu.h: each CPU has a copy of the section, as in the kernel. */
#define NR_CPUS 2
#define this_cpu_variable \
	extern __thread __attribute__((tls_model("local-exec")))

this_cpu_variable unsigned long this_cpu_off;
this_cpu_variable unsigned int cpu_number;
extern unsigned long __per_cpu_offset[NR_CPUS];

#define DECLARE_PER_CPU(type, name) extern type name
#define DECLARE_PER_CPU_ALIGNED(type, name) extern type name
#define DEFINE_PER_CPU(type, name) \
	__attribute__((section("percpu"), aligned(64))) type name
#define DEFINE_PER_CPU_ALIGNED(type, name) DEFINE_PER_CPU(type, name)
#define shifted(ptr, offset) ((typeof(ptr))((unsigned long)(ptr) + (offset)))
#define per_cpu_ptr(ptr, cpu) shifted(ptr, __per_cpu_offset[cpu])
#define per_cpu(var, cpu) (*per_cpu_ptr(&(var), cpu))
#define this_cpu_ptr(ptr) shifted(ptr, this_cpu_off)
#define this_cpu_inc(var) ((*this_cpu_ptr(&(var)))++)
#define smp_processor_id() cpu_number
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++)

/* linux/jump_label.h: off for good. */
struct static_key_false {
	int unused;
};

#define DECLARE_STATIC_KEY_FALSE(name) extern struct static_key_false name
#define DEFINE_STATIC_KEY_FALSE(name) struct static_key_false name
#define static_branch_unlikely(key) static_branch_off()

static __always_inline bool static_branch_off(void)
{
	asm goto(".byte 0x0f, 0x1f, 0x44, 0x00, 0x00" : : : : on);
	return false;
on:
	return true;
}

/* linux/irqflags.h */
#define X86_EFLAGS_IF 0x200
#define local_irq_save(flags)                                             \
	do {                                                              \
		asm volatile("pushf; pop %0" : "=r"(flags) : : "memory"); \
		barrier(); /* cli */                                      \
	} while (0)
#define local_irq_restore(flags)                              \
	do {                                                  \
		if ((flags)&X86_EFLAGS_IF)                    \
			asm volatile("# sti" : : : "memory"); \
	} while (0)

/* linux/sched.h, linux/sched/prio.h */
#define SCHED_NORMAL 0
#define SCHED_FIFO 1
#define SCHED_RR 2
#define SCHED_BATCH 3
#define SCHED_IDLE 5
#define MAX_RT_PRIO 100
#define MAX_PRIO 140
#define MIN_NICE (-20)
#define MAX_NICE 19
#define DEFAULT_PRIO 120
#define NICE_TO_PRIO(nice) ((nice) + DEFAULT_PRIO)
#define PRIO_TO_NICE(prio) ((prio)-DEFAULT_PRIO)
#define PF_IDLE 0x2
#define TASK_COMM_LEN 16

struct task_struct {
	unsigned int flags;
	unsigned int cpu;
	int prio;
	unsigned int policy;
	char comm[TASK_COMM_LEN];
};

this_cpu_variable struct task_struct *current_task;
#define current current_task
#define is_idle_task(p) (!!((p)->flags & PF_IDLE))
#define task_cpu(p) READ_ONCE((p)->cpu)
#define in_serving_softirq() false

/* linux/rcupdate.h */
#define rcu_read_lock() barrier()
#define rcu_read_unlock() barrier()
#define rcu_dereference(p) READ_ONCE(p)
#define rcu_dereference_sched(p) READ_ONCE(p)
#define rcu_dereference_protected(p, held) (p)
#define rcu_assign_pointer(p, v) WRITE_ONCE(p, v)
#define synchronize_rcu() barrier()

/* linux/io.h */
#define readl(addr) (*(const volatile u32 *)(addr))
#define writel(val, addr) (*(volatile u32 *)(addr) = (val))

/* linux/tracepoint.h, asm/nmi.h: bench.c keeps what is registered. */
struct tracepoint {
	const char *name;
	void *probe;
};

struct pt_regs;

enum { NMI_LOCAL };
enum { NMI_DONE, NMI_HANDLED };
#define NMI_FLAG_FIRST 1

void for_each_kernel_tracepoint(void (*found)(struct tracepoint *, void *),
				void *priv);
int tracepoint_probe_register(struct tracepoint *tp, void *probe, void *data);
int tracepoint_probe_unregister(struct tracepoint *tp, void *probe, void *data);
#define tracepoint_synchronize_unregister() barrier()
int register_nmi_handler(unsigned int type,
			 int (*handler)(unsigned int, struct pt_regs *),
			 unsigned long flags, const char *name);
#define unregister_nmi_handler(type, name) barrier()

/* linux/moduleparam.h: nobody sets a parameter here. */
struct kernel_param;
struct kernel_param_ops {
	int (*set)(const char *val, const struct kernel_param *kp);
	int (*get)(char *buf, const struct kernel_param *kp);
};

#define module_param_cb(name, ops, arg, perm)                    \
	static const struct kernel_param_ops *const param_##name \
		__attribute__((used)) = ops
#define MODULE_PARM_DESC(name, text) static_assert(sizeof(text), "a text")
#define sysfs_emit(buf, ...) ((void)(buf), 0)
#define sysfs_emit_at(buf, at, ...) ((void)(buf), 0)

static inline int kstrtoint(const char *val, unsigned int base, int *out)
{
	(void)val, (void)base, (void)out;
	return -EINVAL;
}

/* linux/pci.h, linux/mutex.h, linux/interrupt.h: by name only. */
struct attribute_group;
struct device;
struct irqaction;
struct pci_dev;
#define dev_err(dev, ...) ((void)(dev))

#endif /* STANDIN_KERNEL_H */
