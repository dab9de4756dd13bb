/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hot path: a CPU's intent word (R9), composed from parts and stored only
 * when it changed.
 *
 * Who writes what
 *	local	this CPU, with interrupts off. An NMI handler sets and clears
 *		its own bit before it returns, so whatever it interrupts finds
 *		the parts as they were.
 *	pend	whoever holds this CPU's run-queue lock: the waker, the
 *		migrating CPU, and this CPU as it switches. So setting and
 *		clearing it never race.
 *	slot	this CPU, by a plain 64-bit store of the whole word; and a CPU
 *		that set or cleared pend, by a compare-and-exchange of the
 *		pending fields alone. A remote CPU never stores another's parts.
 *	last	this CPU: what it stored. A remote CPU sets it to 0 after its
 *		exchange, which is no word a bound CPU composes.
 *
 * Why no bit sticks
 *	This CPU writes last, then slot; the remote CPU writes slot, then last.
 *	If last ends up as this CPU's word, the remote's 0 came before it, hence
 *	the remote's exchange came before this CPU's store, and the slot holds
 *	the word in last. If last ends up 0, the next hook stores. So last != 0
 *	means, once all stores are done, that the slot holds last.
 *	A local store may overwrite an exchange that it did not see. It looks at
 *	pend again after the store, which leaves a window as long as the store
 *	buffer; the next hook on this CPU (the reschedule interrupt that comes
 *	with a pending task, at the latest the switch to it) stores the rest,
 *	since last is 0 by then. Until then the host sees the interrupt instead.
 *	A pending task is forgotten at the next switch of its CPU, whatever is
 *	switched to, and when it is migrated: so it never outlives its reason.
 *
 * A CPU without a slot, or while there are no areas, stores to its own sink:
 * the path has no branch for it.
 */
#ifndef PVS_INTENT_H
#define PVS_INTENT_H

#include <linux/cache.h>
#include <linux/jump_label.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>

#include "pvsched/abi.h"

#define PVS_FLAG(flag) ((u64)(flag) << PVSCHED_INTENT_FLAGS_SHIFT)
#define PVS_CRIT(bits) ((u64)(bits) << PVSCHED_INTENT_CRITICAL_SHIFT)

#define PVS_VALID PVS_FLAG(PVSCHED_INTENT_VALID)
#define PVS_IDLE PVS_FLAG(PVSCHED_INTENT_IDLE)
#define PVS_PENDING PVS_FLAG(PVSCHED_INTENT_PENDING)
#define PVS_HARDIRQ PVS_CRIT(PVSCHED_CRITICAL_HARDIRQ)
#define PVS_SOFTIRQ PVS_CRIT(PVSCHED_CRITICAL_SOFTIRQ)
#define PVS_NMI PVS_CRIT(PVSCHED_CRITICAL_NMI)
#define PVS_PREEMPT_OFF PVS_CRIT(PVSCHED_CRITICAL_PREEMPT_OFF)
#define PVS_CRITICAL PVS_CRIT(PVSCHED_CRITICAL_ALL)

#define PVS_CUR_FIELDS                               \
	(0xfull << PVSCHED_INTENT_CUR_POLICY_SHIFT | \
	 0xffull << PVSCHED_INTENT_CUR_NICE_SHIFT |  \
	 0xffull << PVSCHED_INTENT_CUR_RT_SHIFT)
#define PVS_PEND_FIELDS                               \
	(0xfull << PVSCHED_INTENT_PEND_POLICY_SHIFT | \
	 0xffull << PVSCHED_INTENT_PEND_NICE_SHIFT |  \
	 0xffull << PVSCHED_INTENT_PEND_RT_SHIFT | PVS_PENDING)
#define PVS_IRQ_SEQ (0xffull << PVSCHED_INTENT_IRQ_SEQ_SHIFT)
#define PVS_IRQ_ONE (1ull << PVSCHED_INTENT_IRQ_SEQ_SHIFT)

/* SCHED_OTHER, nice 0: what nearly all switches are to. */
#define PVS_ORDINARY PVS_VALID

/* One cache line: all that a hook touches when nothing changes. */
struct pvs_cpu {
	u64 *slot;	       /* the intent in the guest area, or &sink */
	const u64 *state;      /* the state word in the host area, or zero */
	u64 local;	       /* current task, critical bits, irq seq, idle */
	u64 pend;	       /* the pending task's fields, or 0 */
	u64 last;	       /* the word stored last, 0: not known */
	u64 mask;	       /* the fields that are told */
	const void *pend_task; /* who is pending: compared, never followed */
	u64 sink;
} ____cacheline_aligned;

DECLARE_PER_CPU_ALIGNED(struct pvs_cpu, pvs_cpus);

enum pvs_stat {
	PVS_STAT_STORES,    /* words stored */
	PVS_STAT_UNCHANGED, /* hooks that had nothing to store */
	PVS_STAT_REMOTE,    /* pending tasks told from another CPU */
	PVS_STAT_DOORBELLS,
	PVS_STAT_SWITCHES, /* hook calls from here on */
	PVS_STAT_WAKEUPS,  /* of tasks that may be urgent */
	PVS_STAT_IRQS,
	PVS_STAT_SOFTIRQS,
	PVS_STAT_NMIS,
	PVS_STAT_PREEMPT_OFFS,
	PVS_STAT_USER_ENTRIES,
	PVS_NR_STATS
};

struct pvs_stats {
	u64 count[PVS_NR_STATS];
};

DECLARE_PER_CPU(struct pvs_stats, pvs_stats);
DECLARE_STATIC_KEY_FALSE(pvs_stats_on);

static __always_inline void pvs_count(enum pvs_stat stat)
{
	if (static_branch_unlikely(&pvs_stats_on))
		this_cpu_inc(pvs_stats.count[stat]);
}

/* IDLE excludes PENDING, and a CPU in a handler is not about to halt (R9). */
static __always_inline u64 pvs_compose(const struct pvs_cpu *c)
{
	u64 word = (READ_ONCE(c->local) | READ_ONCE(c->pend)) &
		   READ_ONCE(c->mask);

	if (word & (PVS_CRITICAL | PVS_PENDING))
		word &= ~PVS_IDLE;
	return word;
}

void pvs_store(struct pvs_cpu *c, u64 word);

/* On the CPU itself, interrupts off. */
static __always_inline void pvs_publish(struct pvs_cpu *c)
{
	u64 word = pvs_compose(c);

	if (likely(word == READ_ONCE(c->last)))
		pvs_count(PVS_STAT_UNCHANGED);
	else
		pvs_store(c, word);
}

u64 pvs_current_fields(const struct task_struct *p);

static __always_inline u64 pvs_fields(const struct task_struct *p)
{
	if (p->prio != DEFAULT_PRIO || p->policy || is_idle_task(p))
		return pvs_current_fields(p);
	return PVS_ORDINARY;
}

static __always_inline void pvs_switch_to(struct pvs_cpu *c,
					  const struct task_struct *next)
{
	c->local = (c->local & ~(PVS_CUR_FIELDS | PVS_IDLE)) | pvs_fields(next);
	if (unlikely(c->pend)) {
		WRITE_ONCE(c->pend, 0);
		c->pend_task = NULL;
	}
	pvs_publish(c);
}

static __always_inline void pvs_critical(struct pvs_cpu *c, u64 bit, bool on)
{
	c->local = on ? c->local | bit : c->local & ~bit;
	pvs_publish(c);
}

/*
 * R9: the sequence is stepped when the handler ends. The current task is looked
 * at, too: no event tells that it changed its own policy or priority, so that
 * shows from the next interrupt on, at the latest from the tick.
 */
static __always_inline void pvs_irq_ended(struct pvs_cpu *c)
{
	u64 local = c->local;
	u64 seq = (local + PVS_IRQ_ONE) & PVS_IRQ_SEQ;

	local &= ~(PVS_HARDIRQ | PVS_IRQ_SEQ | PVS_CUR_FIELDS | PVS_IDLE);
	c->local = local | seq | pvs_fields(current);
	pvs_publish(c);
}

void pvs_woken(const struct task_struct *p);
void pvs_migrated(const struct task_struct *p);

/* Called on the CPU itself, interrupts off. */
void pvs_cpu_bind(u64 *slot, const u64 *state, u64 mask);
void pvs_cpu_unbind(bool clear);

void pvs_intent_init(void);
/* Where to ring (R12), or NULL. */
void pvs_doorbell_set(void __iomem *doorbell);

#endif /* PVS_INTENT_H */
