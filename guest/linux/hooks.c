// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the kernel tells of what matters here. Its tracepoints are not
 * exported to modules by name; they are found at run time, and a kernel may
 * lack any of them but sched_switch.
 *
 * Interrupt handlers do not nest on x86, and each event sets or clears a bit
 * instead of counting, so a lost half of a pair is mended by the next pair.
 * Device interrupts show as irq_handler_*, inside common_interrupt, which has
 * no event of its own in irq_vectors; the local APIC's own vectors show there.
 *
 * sched_waking is not used: it tells of a wake-up before the CPU is chosen.
 * sched_wakeup tells it under the run-queue lock of the CPU that was chosen,
 * on that CPU itself if the wake-up travels by interrupt.
 *
 * NMIs have an event for each handler's end only. A handler that is first in
 * the list and one that is last tell the begin and the end.
 */
#include <linux/interrupt.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>
#include <asm/nmi.h>

#include "compat.h"
#include "intent.h"
#include "pvsched.h"

enum hook_group {
	HOOK_SWITCH = BIT(0),
	HOOK_WAKEUP = BIT(1),
	HOOK_IRQ = BIT(2),
	HOOK_SOFTIRQ = BIT(3),
	HOOK_NMI = BIT(4),
	HOOK_PREEMPT = BIT(5),
	HOOK_USER = BIT(6),
	HOOK_ALL = 0x7f,
};

static const struct pvs_word hook_words[] = {
	{ "switch", HOOK_SWITCH },
	{ "wakeup", HOOK_WAKEUP },
	{ "irq", HOOK_IRQ },
	{ "softirq", HOOK_SOFTIRQ },
	{ "nmi", HOOK_NMI },
	{ "preempt", HOOK_PREEMPT },
	{ "user", HOOK_USER },
	{ "all", HOOK_ALL },
	{},
};

/* A softirq's thread is preempted with PREEMPT_RT: its bit would show in
 * whatever task runs instead. */
static u32 hooks_wanted =
	IS_ENABLED(CONFIG_PREEMPT_RT) ? HOOK_ALL & ~HOOK_SOFTIRQ : HOOK_ALL;

static int hooks_set(const char *val, const struct kernel_param *kp)
{
	u32 bits;
	int ret = pvs_words_parse(val, hook_words, &bits);

	if (!ret)
		hooks_wanted = bits | HOOK_SWITCH;
	return ret;
}

static int hooks_get(char *buf, const struct kernel_param *kp)
{
	return pvs_words_show(buf, hook_words, hooks_wanted);
}

static const struct kernel_param_ops hooks_ops = {
	.set = hooks_set,
	.get = hooks_get,
};
module_param_cb(hooks, &hooks_ops, NULL, 0444);
MODULE_PARM_DESC(hooks, "what to hook: switch (always), wakeup, irq, softirq, "
			"nmi, preempt, user, all");

/* The scheduler: interrupts are off, the run queue is locked. */

static void on_switch(PVS_SCHED_SWITCH_ARGS)
{
	pvs_count(PVS_STAT_SWITCHES);
	pvs_switch_to(this_cpu_ptr(&pvs_cpus), next);
}

static void on_wakeup(void *data, struct task_struct *p)
{
	if (unlikely(p->prio < DEFAULT_PRIO))
		pvs_woken(p);
}

static void on_migrate(void *data, struct task_struct *p, int dest_cpu)
{
	if (unlikely(p->prio < DEFAULT_PRIO))
		pvs_migrated(p);
}

/* Hard interrupts: interrupts are off. */

static __always_inline void irq_entered(void)
{
	pvs_critical(this_cpu_ptr(&pvs_cpus), PVS_HARDIRQ, true);
}

static __always_inline void irq_left(void)
{
	pvs_count(PVS_STAT_IRQS);
	pvs_irq_ended(this_cpu_ptr(&pvs_cpus));
}

static void on_irq_entry(void *data, int irq, struct irqaction *action)
{
	irq_entered();
}

static void on_irq_exit(void *data, int irq, struct irqaction *action, int ret)
{
	irq_left();
}

static void on_vector_entry(void *data, int vector)
{
	irq_entered();
}

static void on_vector_exit(void *data, int vector)
{
	irq_left();
}

/* The rest may be called with interrupts on. */

static __always_inline void critical_irqsave(u64 bit, bool on)
{
	unsigned long flags;

	local_irq_save(flags);
	pvs_critical(this_cpu_ptr(&pvs_cpus), bit, on);
	local_irq_restore(flags);
}

static void on_softirq_entry(void *data, unsigned int nr)
{
	pvs_count(PVS_STAT_SOFTIRQS);
	critical_irqsave(PVS_SOFTIRQ, true);
}

static void on_softirq_exit(void *data, unsigned int nr)
{
	critical_irqsave(PVS_SOFTIRQ, false);
}

static void on_preempt_disable(void *data, unsigned long ip,
			       unsigned long parent_ip)
{
	pvs_count(PVS_STAT_PREEMPT_OFFS);
	critical_irqsave(PVS_PREEMPT_OFF, true);
}

static void on_preempt_enable(void *data, unsigned long ip,
			      unsigned long parent_ip)
{
	critical_irqsave(PVS_PREEMPT_OFF, false);
}

/* Back to user space there is no critical section of the kernel, whatever an
 * event before it failed to tell. Fires on CPUs with nohz_full only. */
static void on_user_enter(void *data, int dummy)
{
	pvs_count(PVS_STAT_USER_ENTRIES);
	critical_irqsave(PVS_CRITICAL, false);
}

static int nmi_first(unsigned int type, struct pt_regs *regs)
{
	pvs_count(PVS_STAT_NMIS);
	pvs_critical(this_cpu_ptr(&pvs_cpus), PVS_NMI, true);
	return NMI_DONE;
}

static int nmi_last(unsigned int type, struct pt_regs *regs)
{
	pvs_critical(this_cpu_ptr(&pvs_cpus), PVS_NMI, false);
	return NMI_DONE;
}

struct hook {
	const char *name;
	void *probe;
	u32 group;
	struct tracepoint *tp;
	bool on;
};

#define VECTOR(name, group)                            \
	{ #name "_exit", on_vector_exit, group },      \
	{                                              \
#name "_entry", on_vector_entry, group \
	}

/* Each end comes before its begin: registered alone it does no harm. */
static struct hook hooks[] = {
	{ "sched_switch", on_switch, HOOK_SWITCH },
	{ "sched_wakeup", on_wakeup, HOOK_WAKEUP },
	{ "sched_wakeup_new", on_wakeup, HOOK_WAKEUP },
	{ "sched_migrate_task", on_migrate, HOOK_WAKEUP },
	{ "irq_handler_exit", on_irq_exit, HOOK_IRQ },
	{ "irq_handler_entry", on_irq_entry, HOOK_IRQ },
	VECTOR(local_timer, HOOK_IRQ),
	VECTOR(reschedule, HOOK_IRQ),
	VECTOR(call_function, HOOK_IRQ),
	VECTOR(call_function_single, HOOK_IRQ),
	VECTOR(irq_work, HOOK_IRQ),
	VECTOR(x86_platform_ipi, HOOK_IRQ),
	VECTOR(thermal_apic, HOOK_IRQ),
	{ "softirq_exit", on_softirq_exit, HOOK_SOFTIRQ },
	{ "softirq_entry", on_softirq_entry, HOOK_SOFTIRQ },
	{ "preempt_enable", on_preempt_enable, HOOK_PREEMPT },
	{ "preempt_disable", on_preempt_disable, HOOK_PREEMPT },
	{ "user_enter", on_user_enter, HOOK_USER },
};

static bool nmi_on;

static void match(struct tracepoint *tp, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (!strcmp(hooks[i].name, tp->name))
			hooks[i].tp = tp;
	}
}

/* Tracepoints of the kernel proper, which stay for good. */
int pvs_hooks_find(struct device *dev)
{
	for_each_kernel_tracepoint(match, NULL);
	if (hooks[0].tp)
		return 0;
	dev_err(dev, "this kernel has no tracepoint sched_switch\n");
	return -ENODEV;
}

static int nmi_register(void)
{
	int ret = register_nmi_handler(NMI_LOCAL, nmi_last, 0, "pvsched-last");

	if (ret)
		return ret;
	ret = register_nmi_handler(NMI_LOCAL, nmi_first, NMI_FLAG_FIRST,
				   "pvsched-first");
	if (ret)
		unregister_nmi_handler(NMI_LOCAL, "pvsched-last");
	return ret;
}

/* Only sched_switch has to be there; what else fails is said and done without. */
int pvs_hooks_on(struct device *dev)
{
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		struct hook *h = &hooks[i];

		if (!h->tp || !(h->group & hooks_wanted))
			continue;
		ret = tracepoint_probe_register(h->tp, h->probe, NULL);
		h->on = !ret;
		if (!ret)
			continue;
		dev_err(dev, "tracepoint %s cannot be hooked: %pe\n", h->name,
			ERR_PTR(ret));
		if (h->group == HOOK_SWITCH)
			return ret;
	}
	if (hooks_wanted & HOOK_NMI) {
		ret = nmi_register();
		nmi_on = !ret;
		if (ret)
			dev_err(dev, "NMIs cannot be hooked: %pe\n",
				ERR_PTR(ret));
	}
	return 0;
}

/* Once it returns, no hook runs. */
void pvs_hooks_off(void)
{
	unsigned int i;

	if (nmi_on) {
		unregister_nmi_handler(NMI_LOCAL, "pvsched-first");
		unregister_nmi_handler(NMI_LOCAL, "pvsched-last");
		nmi_on = false;
	}
	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (!hooks[i].on)
			continue;
		tracepoint_probe_unregister(hooks[i].tp, hooks[i].probe, NULL);
		hooks[i].on = false;
	}
	tracepoint_synchronize_unregister();
}

/* The names of what is hooked now, in one line. */
ssize_t pvs_hooks_show(char *buf)
{
	ssize_t len = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (hooks[i].on)
			len += sysfs_emit_at(buf, len, "%s%s", len ? " " : "",
					     hooks[i].name);
	}
	if (nmi_on)
		len += sysfs_emit_at(buf, len, "%snmi", len ? " " : "");
	return len + sysfs_emit_at(buf, len, "\n");
}
