// SPDX-License-Identifier: GPL-2.0-or-later
/* What the guest does; one step is about a millisecond or one halt. */
#include "mini.h"

#define BATCH_TURNS 500
#define TURNS_PER_EXIT 48

/*
 * The delay port that PC kernels write for an I/O pause, as a guest that does
 * I/O: where KVM emulates instruction by instruction, only an exit to user
 * space makes it look for interrupts, or for another task of the host, before
 * the end of its batch, up to 1 ms later.
 */
static void io_pause(void)
{
	outb(0x80, 0);
}

static void compute(struct cpu *cpu, u32 turns)
{
	u32 x = cpu->work + 1;

	while (turns--) {
		x = x * 1664525u + 1013904223u;
		if (turns % TURNS_PER_EXIT == 0)
			io_pause();
	}
	/* volatile use of the result keeps the loop */
	asm volatile("" : : "r"(x));
	cpu->work++;
}

static void begin_batch(struct cpu *cpu)
{
	intent_set_current(cpu, PVSCHED_SCHED_OTHER, 0, 0);
}

static void step_busy(struct cpu *cpu)
{
	compute(cpu, BATCH_TURNS);
}

static void step_idle(struct cpu *cpu)
{
	irq_off();
	if (cpu == &cpus[0] && main_has_work()) {
		irq_on();
		return;
	}
	intent_idle_enter(cpu);
	irq_on_and_halt();
}

/* Critical from the first moment on, never at an end. */
static void begin_rogue(struct cpu *cpu)
{
	begin_batch(cpu);
	intent_set_critical(cpu, PVSCHED_CRITICAL_PREEMPT_OFF, true);
}

static void flap(struct cpu *cpu, bool on)
{
	irq_off();
	intent_set_critical(cpu, PVSCHED_CRITICAL_PREEMPT_OFF, on);
	if (!on)
		intent_need_ended(cpu);
	if (cpu == &cpus[0])
		irq_on();
	cpu->work++;
}

static void step_flap(struct cpu *cpu)
{
	u64 now = rdtsc(), length = us_to_tsc(params.flap_us);
	u64 end = now + us_to_tsc(1000), next = now;
	bool on = false;

	do {
		if (now >= next) {
			on = !on;
			flap(cpu, on);
			io_pause();
			next += length;
			if (next < now)
				next = now + length;
		}
		now = rdtsc();
	} while (now < end || on);
}

/*
 * End of the clock handler: wake the real-time task. It runs on top of what
 * was interrupted, with interrupts on; a wake while it runs makes it run once
 * more.
 */
static void wake_task(struct cpu *cpu, u64 expiry)
{
	static bool again;
	u64 end;

	intent_set_pending(cpu, PVSCHED_SCHED_FIFO, 0, params.prio);
	intent_irq_exit(cpu);
	if (cpu->task_runs) {
		again = true;
		return;
	}
	cpu->task_runs = true;
	do {
		again = false;
		intent_clear_pending(cpu, PVSCHED_SCHED_FIFO, 0, params.prio);
		irq_on();
		end = rdtsc();
		round_task_start(expiry, end);
		end += us_to_tsc(params.work_us);
		while (rdtsc() < end)
			;
		round_task_end(expiry, rdtsc());
		irq_off();
	} while (again);
	cpu->task_runs = false;
	begin_batch(cpu);
	intent_need_ended(cpu);
}

static const struct scenario scenarios[] = {
	{ .name = "busy", .begin = begin_batch, .step = step_busy },
	{ .name = "idle", .begin = begin_batch, .step = step_idle },
	{ .name = "task",
	  .begin = begin_batch,
	  .step = step_busy,
	  .wake = wake_task },
	{ .name = "rogue",
	  .begin = begin_rogue,
	  .step = step_busy,
	  .silent = true },
	{ .name = "flap", .begin = begin_batch, .step = step_flap },
	{ .name = "violate",
	  .begin = begin_batch,
	  .step = step_busy,
	  .violates = true },
	{ .name = "agentless",
	  .begin = begin_batch,
	  .step = step_busy,
	  .no_driver = true },
	{ .name = "ping", .begin = begin_batch, .step = step_idle },
};

/* By name; without one, the default. */
const struct scenario *scenario_find(const char *name, const char *end)
{
	u32 i;

	if (!end)
		return &scenarios[0];
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (word_is(name, end, scenarios[i].name))
			return &scenarios[i];
	}
	return NULL;
}
