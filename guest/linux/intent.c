// SPDX-License-Identifier: GPL-2.0-only
/*
 * The intent word, off the hot path: encoding a task, storing, pending tasks,
 * the doorbell. intent.h says who may write what.
 */
#include <linux/io.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>

#include "compat.h"
#include "intent.h"
#include "pvsched.h"

DEFINE_PER_CPU_ALIGNED(struct pvs_cpu, pvs_cpus);

static const u64 no_state; /* a host that decided nothing */
static void __iomem *doorbell;

static_assert(sizeof(struct pvs_cpu) == 64, "a CPU's parts are one cache line");

/* No critical bit, nothing pending, no more than the baseline (R12). */
static bool needs_nothing(u64 word)
{
	const u64 needs = PVS_CRITICAL | PVS_PENDING |
			  0xffull << PVSCHED_INTENT_CUR_RT_SHIFT |
			  0x80ull << PVSCHED_INTENT_CUR_NICE_SHIFT;
	u64 policy = word >> PVSCHED_INTENT_CUR_POLICY_SHIFT & 0xf;

	return !(word & needs) && policy != PVSCHED_SCHED_DEADLINE;
}

/*
 * A CPU that is about to halt rings nothing: the host sees the halt. Neither
 * does one that had no need before, nor one that may wait for an exit that
 * happens anyway (R12).
 */
static void ring(const struct pvs_cpu *c, u64 before, u64 word)
{
	const u64 wanted =
		(u64)(PVSCHED_STATE_VALID | PVSCHED_STATE_KICK_WANTED)
		<< PVSCHED_STATE_FLAGS_SHIFT;
	u64 state;

	if (word & PVS_IDLE || !needs_nothing(word))
		return;
	if (before && !(before & PVS_IDLE) && needs_nothing(before))
		return;
	state = READ_ONCE(*c->state);
	if ((state & wanted) != wanted || (state >> PVSCHED_STATE_CLASS_SHIFT &
					   0xff) == PVSCHED_CLASS_BASELINE)
		return;
	if (!doorbell)
		return;
	writel(1, doorbell);
	pvs_count(PVS_STAT_DOORBELLS);
}

void pvs_store(struct pvs_cpu *c, u64 word)
{
	u64 before = READ_ONCE(c->last);

	for (;;) {
		u64 now;

		WRITE_ONCE(c->last, word);
		WRITE_ONCE(*c->slot, word);
		now = pvs_compose(c);
		if (likely(now == word))
			break;
		word = now;
	}
	pvs_count(PVS_STAT_STORES);
	ring(c, before, word);
}

struct need {
	u8 policy;
	s8 nice;
	u8 rt;
};

/*
 * The effective need: a task that inherited a priority through a lock counts
 * as what it is until it lets the lock go. SCHED_FIFO's and SCHED_RR's rt are
 * 1..99 by construction, nice is -20..19. Inline, so that the three bytes stay
 * in registers: stored one by one and read back as a word they stall the load.
 */
static __always_inline struct need read_task(const struct task_struct *p)
{
	struct need need = { .policy = PVSCHED_SCHED_OTHER };
	int prio = READ_ONCE(p->prio);

	if (!pvs_task_is_told(p))
		return need;
	if (prio < 0) {
		need.policy = PVSCHED_SCHED_DEADLINE;
	} else if (prio < MAX_RT_PRIO) {
		need.policy = p->policy == SCHED_RR ? PVSCHED_SCHED_RR :
						      PVSCHED_SCHED_FIFO;
		need.rt = clamp_t(int, MAX_RT_PRIO - 1 - prio, PVSCHED_RT_MIN,
				  PVSCHED_RT_MAX);
	} else {
		if (p->policy == SCHED_BATCH || p->policy == SCHED_IDLE)
			need.policy = p->policy;
		need.nice = clamp_t(int, PRIO_TO_NICE(prio), PVSCHED_NICE_MIN,
				    PVSCHED_NICE_MAX);
	}
	return need;
}

u64 pvs_current_fields(const struct task_struct *p)
{
	struct need need;

	if (is_idle_task(p))
		return PVS_ORDINARY | PVS_IDLE;
	need = read_task(p);
	return PVS_VALID | (u64)need.policy << PVSCHED_INTENT_CUR_POLICY_SHIFT |
	       (u64)(u8)need.nice << PVSCHED_INTENT_CUR_NICE_SHIFT |
	       (u64)need.rt << PVSCHED_INTENT_CUR_RT_SHIFT;
}

static u64 pending_fields(struct need need)
{
	return PVS_PENDING |
	       (u64)need.policy << PVSCHED_INTENT_PEND_POLICY_SHIFT |
	       (u64)(u8)need.nice << PVSCHED_INTENT_PEND_NICE_SHIFT |
	       (u64)need.rt << PVSCHED_INTENT_PEND_RT_SHIFT;
}

/* Smaller is more urgent, on the scheduler's own scale. */
static int urgency(struct need need)
{
	if (need.policy == PVSCHED_SCHED_DEADLINE)
		return -1;
	if (need.rt)
		return MAX_RT_PRIO - 1 - need.rt;
	return NICE_TO_PRIO(need.nice);
}

static int current_urgency(u64 word)
{
	struct need need = {
		.policy = word >> PVSCHED_INTENT_CUR_POLICY_SHIFT & 0xf,
		.nice = (s8)(u8)(word >> PVSCHED_INTENT_CUR_NICE_SHIFT),
		.rt = (u8)(word >> PVSCHED_INTENT_CUR_RT_SHIFT),
	};

	return word & PVS_IDLE ? MAX_PRIO : urgency(need);
}

static int pending_urgency(u64 word)
{
	struct need need = {
		.policy = word >> PVSCHED_INTENT_PEND_POLICY_SHIFT & 0xf,
		.nice = (s8)(u8)(word >> PVSCHED_INTENT_PEND_NICE_SHIFT),
		.rt = (u8)(word >> PVSCHED_INTENT_PEND_RT_SHIFT),
	};

	return word & PVS_PENDING ? urgency(need) : MAX_PRIO;
}

/*
 * Another CPU's word: exchange the pending fields and nothing else. A word
 * without VALID is not bound or being cleared, and stays as it is.
 */
static void publish_remote(struct pvs_cpu *c)
{
	u64 *slot = READ_ONCE(c->slot);
	u64 old = READ_ONCE(*slot), word;

	do {
		if (!(old & PVS_VALID))
			return;
		word = (old & ~PVS_PEND_FIELDS) |
		       (READ_ONCE(c->pend) & READ_ONCE(c->mask));
		if (word & PVS_PENDING)
			word &= ~PVS_IDLE;
	} while (!try_cmpxchg(slot, &old, word));
	WRITE_ONCE(c->last, 0);
	pvs_count(PVS_STAT_REMOTE);
}

/* The run-queue lock of the CPU is held, interrupts are off. */
static void set_pending(unsigned int cpu, u64 fields, const void *task)
{
	struct pvs_cpu *c = per_cpu_ptr(&pvs_cpus, cpu);

	WRITE_ONCE(c->pend_task, task);
	WRITE_ONCE(c->pend, fields);
	if (cpu == smp_processor_id())
		pvs_publish(c);
	else
		publish_remote(c);
}

/*
 * A task that asks for more than the baseline is woken. Its run queue is
 * locked, so the current task there cannot change meanwhile.
 */
void pvs_woken(const struct task_struct *p)
{
	unsigned int cpu = task_cpu(p);
	const struct pvs_cpu *c = per_cpu_ptr(&pvs_cpus, cpu);
	struct need need;

	pvs_count(PVS_STAT_WAKEUPS);
	if (!(READ_ONCE(c->mask) & PVS_PENDING))
		return;
	need = read_task(p);
	if (urgency(need) >= DEFAULT_PRIO ||
	    urgency(need) >= current_urgency(READ_ONCE(c->local)) ||
	    urgency(need) >= pending_urgency(READ_ONCE(c->pend)))
		return;
	set_pending(cpu, pending_fields(need), p);
}

/* A task leaves its CPU. If it was pending there, that run queue is locked. */
void pvs_migrated(const struct task_struct *p)
{
	unsigned int cpu = task_cpu(p);

	if (READ_ONCE(per_cpu(pvs_cpus.pend_task, cpu)) == p)
		set_pending(cpu, 0, NULL);
}

/*
 * Says anew what this CPU is in, from what can be seen: the task that was
 * interrupted, and a softirq around it. A hard interrupt is not seen here; the
 * handlers' hooks set and clear bits, they do not count, so they take over at
 * the next one.
 */
void pvs_cpu_bind(u64 *slot, const u64 *state, u64 mask)
{
	struct pvs_cpu *c = this_cpu_ptr(&pvs_cpus);

	WRITE_ONCE(c->mask, mask);
	c->local = (c->local & PVS_IRQ_SEQ) | pvs_current_fields(current);
	if (in_serving_softirq())
		c->local |= PVS_SOFTIRQ;
	c->state = state ?: &no_state;
	WRITE_ONCE(c->last, 0);
	WRITE_ONCE(c->slot, slot ?: &c->sink);
	pvs_publish(c);
}

/* The pointer goes before the word is cleared: see publish_remote(). */
void pvs_cpu_unbind(bool clear)
{
	struct pvs_cpu *c = this_cpu_ptr(&pvs_cpus);
	u64 *slot = c->slot;

	WRITE_ONCE(c->slot, &c->sink);
	c->state = &no_state;
	barrier(); /* an NMI from here on goes to the sink */
	if (clear)
		WRITE_ONCE(*slot, 0);
}

void pvs_doorbell_set(void __iomem *where)
{
	doorbell = where;
}

/* With no hook registered: nothing else looks at these. */
void pvs_intent_init(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct pvs_cpu *c = per_cpu_ptr(&pvs_cpus, cpu);

		*c = (struct pvs_cpu){ .slot = &c->sink, .state = &no_state };
	}
}
