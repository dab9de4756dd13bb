// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The intent word of a CPU. It is kept in memory and stored, whole, only when
 * it changes. Each function is called on the CPU itself, with interrupts off
 * where that CPU takes any.
 */
#include "mini.h"

#define CUR_POLICY 0x0full
#define CUR_FIELDS 0x0000000000ffff0full
#define PEND_FIELDS 0x000000ffff0000f0ull
#define IRQ_SEQ (0xffull << PVSCHED_INTENT_IRQ_SEQ_SHIFT)
#define FLAG(f) ((u64)(f) << PVSCHED_INTENT_FLAGS_SHIFT)
#define CRITICAL(bits) ((u64)(bits) << PVSCHED_INTENT_CRITICAL_SHIFT)
#define HARDIRQ CRITICAL(PVSCHED_CRITICAL_HARDIRQ)

static inline void set_intent(struct cpu *cpu, u64 intent)
{
	u64 before = cpu->intent;

	if (intent == before)
		return;
	cpu->intent = intent;
	if (cpu->slot)
		store64(cpu->slot, before, intent);
}

/* The boot CPU does this for all; another CPU may change its word meanwhile. */
void intent_publish(struct cpu *cpu)
{
	volatile u64 *intent = &cpu->intent;
	u64 val;

	if (!cpu->slot)
		return;
	do {
		val = *intent;
		store64(cpu->slot, 0, val);
	} while (val != *intent);
}

void intent_irq_enter(struct cpu *cpu)
{
	u64 intent = cpu->intent & ~FLAG(PVSCHED_INTENT_IDLE);

	if (intent != cpu->intent)
		cpu->from_idle = true;
	if (pvsched.features & PVSCHED_F_CRITICAL)
		intent |= HARDIRQ;
	set_intent(cpu, intent);
}

/*
 * An interrupt that returns to idle rings nothing: the halt that follows is
 * seen by the host on its own.
 */
void intent_irq_exit(struct cpu *cpu)
{
	u64 intent = cpu->intent & ~HARDIRQ;
	bool from_idle = cpu->from_idle;

	intent = (intent & ~IRQ_SEQ) |
		 ((intent + (1ull << PVSCHED_INTENT_IRQ_SEQ_SHIFT)) & IRQ_SEQ);
	cpu->from_idle = false;
	set_intent(cpu, intent);
	if (!from_idle)
		intent_need_ended(cpu);
}

void intent_idle_enter(struct cpu *cpu)
{
	if (pvsched.features & PVSCHED_F_IDLE)
		set_intent(cpu, cpu->intent | FLAG(PVSCHED_INTENT_IDLE));
}

void intent_set_critical(struct cpu *cpu, u32 bits, bool on)
{
	if (!(pvsched.features & PVSCHED_F_CRITICAL))
		return;
	set_intent(cpu, on ? cpu->intent | CRITICAL(bits) :
			     cpu->intent & ~CRITICAL(bits));
}

static u64 current_fields(u32 policy, s32 nice, u32 rt)
{
	return (u64)policy << PVSCHED_INTENT_CUR_POLICY_SHIFT |
	       (u64)(u8)nice << PVSCHED_INTENT_CUR_NICE_SHIFT |
	       (u64)rt << PVSCHED_INTENT_CUR_RT_SHIFT;
}

void intent_set_current(struct cpu *cpu, u32 policy, s32 nice, u32 rt)
{
	set_intent(cpu, (cpu->intent & ~CUR_FIELDS) |
				FLAG(PVSCHED_INTENT_VALID) |
				current_fields(policy, nice, rt));
}

void intent_set_pending(struct cpu *cpu, u32 policy, s32 nice, u32 rt)
{
	if (!(pvsched.features & PVSCHED_F_PENDING))
		return;
	set_intent(cpu,
		   (cpu->intent & ~PEND_FIELDS) | FLAG(PVSCHED_INTENT_PENDING) |
			   (u64)policy << PVSCHED_INTENT_PEND_POLICY_SHIFT |
			   (u64)(u8)nice << PVSCHED_INTENT_PEND_NICE_SHIFT |
			   (u64)rt << PVSCHED_INTENT_PEND_RT_SHIFT);
}

/* The pending task runs: one store makes it current and nothing pending. */
void intent_clear_pending(struct cpu *cpu, u32 policy, s32 nice, u32 rt)
{
	u64 intent = cpu->intent &
		     ~(PEND_FIELDS | CUR_FIELDS | FLAG(PVSCHED_INTENT_PENDING));

	set_intent(cpu, intent | current_fields(policy, nice, rt));
}

static bool has_need(u64 intent)
{
	u32 policy = (u32)(intent & CUR_POLICY);

	return intent & (CRITICAL(PVSCHED_CRITICAL_ALL) |
			 FLAG(PVSCHED_INTENT_PENDING)) ||
	       policy == PVSCHED_SCHED_FIFO || policy == PVSCHED_SCHED_RR ||
	       policy == PVSCHED_SCHED_DEADLINE;
}

/* Ask to be unboosted, but only if there is no need left and a boost to end. */
void intent_need_ended(struct cpu *cpu)
{
	const volatile u32 *state;
	u32 low, high, flags;

	if (!cpu->slot || !(pvsched.features & PVSCHED_F_HOST_STATE))
		return;
	state = (const volatile u32 *)&cpu->host->state;
	low = state[0];
	high = state[1]; /* other word: only its VALID bit decides anything */
	flags = high >> (PVSCHED_STATE_FLAGS_SHIFT - 32) & 0xff;
	if (!(flags & PVSCHED_STATE_VALID))
		return;
	if (flags & PVSCHED_STATE_CRITICAL_THROTTLED)
		cpu->throttled_critical++;
	if (flags & PVSCHED_STATE_TOTAL_THROTTLED)
		cpu->throttled_total++;
	if ((low & 0xff) == PVSCHED_CLASS_BASELINE)
		return;
	cpu->boosted++;
	if (has_need(cpu->intent) || !params.doorbell ||
	    params.scenario->silent || !(pvsched.features & PVSCHED_F_DOORBELL))
		return;
	reg_write(PVSCHED_REG_DOORBELL, 1);
	cpu->doorbells++;
}
