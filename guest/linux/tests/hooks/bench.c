// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a hook of the driver costs: its own sources, compiled natively against
 * the stand-ins in kernel/, called in a loop.
 *
 *	bench [ROUNDS]	nanoseconds and instructions of each hook
 *	bench --check	only whether each stores as often as it should
 *
 * Nanoseconds are of warm caches and predicted branches, with the loop around
 * the call; the empty function has the same loop. A round measures all hooks
 * in turn. Instructions and stores are counted by single steps.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <linux/percpu.h>
#include <linux/tracepoint.h>
#include <asm/nmi.h>

#include "intent.h"
#include "pvsched.h"

#define CALLS 100000
#define MAX_ROUNDS 1000
#define TRAP_FLAG 0x100
/* No word of the driver, and one that an exchange takes for bound. */
#define POISON (~0ull)

/* The kernel's side. */

__thread unsigned long this_cpu_off;
__thread unsigned int cpu_number;
__thread struct task_struct *current_task;
unsigned long __per_cpu_offset[NR_CPUS];

DEFINE_PER_CPU(struct pvs_stats, pvs_stats);
DEFINE_STATIC_KEY_FALSE(pvs_stats_on);

extern char __start_percpu[], __stop_percpu[];

static struct tracepoint points[] = {
	{ .name = "sched_switch" },	  { .name = "sched_wakeup" },
	{ .name = "sched_migrate_task" }, { .name = "irq_handler_entry" },
	{ .name = "irq_handler_exit" },	  { .name = "softirq_entry" },
	{ .name = "softirq_exit" },	  { .name = "preempt_disable" },
	{ .name = "preempt_enable" },	  { .name = "user_enter" },
	{ .name = "nmi_first" },	  { .name = "nmi_last" },
	{ .name = "pvs_store" },	  { .name = "empty" },
};

static struct tracepoint *point(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(points); i++) {
		if (!strcmp(points[i].name, name))
			return &points[i];
	}
	abort();
}

void for_each_kernel_tracepoint(void (*found)(struct tracepoint *, void *),
				void *priv)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(points); i++)
		found(&points[i], priv);
}

int tracepoint_probe_register(struct tracepoint *tp, void *probe, void *data)
{
	(void)data;
	tp->probe = probe;
	return 0;
}

int tracepoint_probe_unregister(struct tracepoint *tp, void *probe, void *data)
{
	(void)probe, (void)data;
	tp->probe = NULL;
	return 0;
}

int register_nmi_handler(unsigned int type,
			 int (*handler)(unsigned int, struct pt_regs *),
			 unsigned long flags, const char *name)
{
	(void)type, (void)name;
	point(flags & NMI_FLAG_FIRST ? "nmi_first" : "nmi_last")->probe =
		(void *)handler;
	return 0;
}

void pvs_rebind(void)
{
}

/* The guest: two CPUs with a slot each, and a host that boosted neither. */

static struct pvsched_guest_slot slots[NR_CPUS] __attribute__((aligned(64)));
static const u64 state = (u64)PVSCHED_STATE_VALID << PVSCHED_STATE_FLAGS_SHIFT;

static struct task_struct ordinary = { .prio = DEFAULT_PRIO };
static struct task_struct urgent = { .prio = 49, .policy = SCHED_FIFO };
static struct task_struct urgent_there = { .cpu = 1,
					   .prio = 49,
					   .policy = SCHED_FIFO };

static void run_on(unsigned int cpu)
{
	cpu_number = cpu;
	this_cpu_off = __per_cpu_offset[cpu];
	current_task = &ordinary;
}

static void reset(void)
{
	unsigned int cpu;

	pvs_intent_init();
	for (cpu = NR_CPUS; cpu--;) {
		run_on(cpu);
		pvs_cpu_bind(&slots[cpu].intent, &state,
			     PVS_VALID | PVS_CUR_FIELDS | PVS_IRQ_SEQ |
				     PVS_CRITICAL | PVS_PEND_FIELDS | PVS_IDLE);
	}
}

/* A call that can be repeated: what to write before it, then its arguments. */

typedef long probe_fn(void *data, long, long, long, long);

struct step {
	const char *hook;
	const char *said;
	unsigned int stores;
	const char *probe;
	void *arg[5];
	struct {
		u64 *where;
		u64 value;
	} before[2];
	/* found */
	probe_fn *fn;
	unsigned int instructions;
	double ns[MAX_ROUNDS];
};

static u64 nowhere;

static __attribute__((noinline)) void repeat(const struct step *s,
					     unsigned int times)
{
	probe_fn *fn = s->fn;
	u64 *const where[] = { s->before[0].where ?: &nowhere,
			       s->before[1].where ?: &nowhere };
	const u64 value[] = { s->before[0].value, s->before[1].value };
	long arg[5];

	memcpy(arg, s->arg, sizeof(arg));
	while (times--) {
		WRITE_ONCE(*where[0], value[0]);
		WRITE_ONCE(*where[1], value[1]);
		fn((void *)arg[0], arg[1], arg[2], arg[3], arg[4]);
	}
}

static __attribute__((naked)) void empty(void)
{
	asm("ret");
}

static volatile unsigned int traps, stores;

static void on_trap(int signal)
{
	unsigned int cpu;

	(void)signal;
	traps++;
	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		if (READ_ONCE(slots[cpu].intent) == POISON)
			continue;
		stores++;
		WRITE_ONCE(slots[cpu].intent, POISON);
	}
}

/* After a first call, which may change something, and a poisoned slot. */
static void count(const struct step *s)
{
	reset();
	repeat(s, 1);
	slots[0].intent = slots[1].intent = POISON;
	traps = stores = 0;
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() |
				       TRAP_FLAG);
	repeat(s, 1);
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() &
				       ~TRAP_FLAG);
}

/* Of this thread: what else runs on the machine is not a hook's cost. */
static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double measure(const struct step *s)
{
	double begin;

	reset();
	repeat(s, CALLS / 100);
	begin = cpu_ns();
	repeat(s, CALLS);
	return (cpu_ns() - begin) / CALLS;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define HERE (&pvs_cpus) /* CPU 0: its copy is the section itself */
#define ARGS(...) .arg = { NULL, __VA_ARGS__ }
/* As if the word stored last had been another one. */
#define CHANGED .stores = 1, .before = { { &HERE->last, 0 } }
#define CHANGED_FROM(part, val) \
	.stores = 1,            \
	.before = { { &HERE->last, 0 }, { (u64 *)&HERE->part, (u64)(val) } }
#define STEP(name, what, ...)                                          \
	{                                                              \
		.hook = name, .said = what, .probe = name, __VA_ARGS__ \
	}

static struct step steps[] = {
	STEP("empty", "unchanged"),
	STEP("sched_switch", "unchanged", ARGS(NULL, &ordinary, &ordinary)),
	STEP("sched_switch", "changed", ARGS(NULL, &ordinary, &urgent),
	     CHANGED),
	STEP("sched_wakeup", "unchanged", ARGS(&ordinary)),
	STEP("sched_wakeup", "changed", ARGS(&urgent), CHANGED_FROM(pend, 0)),
	STEP("sched_wakeup", "changed", ARGS(&urgent_there), .stores = 1,
	     .hook = "sched_wakeup_remote"),
	STEP("sched_migrate_task", "unchanged", ARGS(&ordinary)),
	STEP("sched_migrate_task", "changed", ARGS(&urgent),
	     CHANGED_FROM(pend_task, &urgent)),
	STEP("irq_handler_entry", "unchanged"),
	STEP("irq_handler_entry", "changed", CHANGED),
	STEP("irq_handler_exit", "changed", CHANGED),
	STEP("softirq_entry", "unchanged"),
	STEP("softirq_entry", "changed", CHANGED),
	STEP("softirq_exit", "unchanged"),
	STEP("softirq_exit", "changed", CHANGED),
	STEP("nmi_first", "unchanged"),
	STEP("nmi_first", "changed", CHANGED),
	STEP("nmi_last", "unchanged"),
	STEP("nmi_last", "changed", CHANGED),
	STEP("preempt_disable", "unchanged"),
	STEP("preempt_disable", "changed", CHANGED),
	STEP("preempt_enable", "unchanged"),
	STEP("preempt_enable", "changed", CHANGED),
	STEP("user_enter", "unchanged"),
	STEP("user_enter", "changed", CHANGED),
	STEP("pvs_store", "changed", .arg = { HERE, (void *)PVS_ORDINARY },
	     .stores = 1),
};

static void prepare(void)
{
	size_t size = __stop_percpu - __start_percpu;
	char *copy = aligned_alloc(64, (size + 63) & ~63ul);
	struct sigaction action = { .sa_handler = on_trap };
	unsigned int i;

	if (!copy)
		abort();
	__per_cpu_offset[1] = copy - __start_percpu;
	sigaction(SIGTRAP, &action, NULL);
	if (pvs_hooks_find(NULL) || pvs_hooks_on(NULL))
		abort();
	point("pvs_store")->probe = (void *)pvs_store;
	point("empty")->probe = (void *)empty;
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		steps[i].fn = (probe_fn *)point(steps[i].probe)->probe;
		if (!strcmp(steps[i].hook, "sched_wakeup_remote"))
			steps[i].before[0].where =
				&per_cpu_ptr(&pvs_cpus, 1)->pend;
	}
}

/* Returns how many hooks do not store as often as they should. */
static unsigned int count_all(void)
{
	unsigned int i, around, failed = 0;

	count(&steps[0]);
	around = traps - 1; /* the empty function's own instruction */
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct step *s = &steps[i];

		count(s);
		s->instructions = traps - around;
		if (stores == s->stores)
			continue;
		failed++;
		fprintf(stderr, "%s, %s: %u stores instead of %u\n", s->hook,
			s->said, stores, s->stores);
	}
	return failed;
}

int main(int argc, char **argv)
{
	bool check = argc > 1 && !strcmp(argv[1], "--check");
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 101;
	unsigned int i, round, failed;

	prepare();
	count(&steps[0]);
	if (!traps) {
		printf("this machine delivers no single steps\n");
		return 77;
	}
	failed = count_all();
	if (check) {
		printf("%zu passed, %u failed, 0 skipped\n",
		       ARRAY_SIZE(steps) - failed, failed);
		return !!failed;
	}
	if (failed || !rounds || rounds > MAX_ROUNDS)
		return 1;
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < ARRAY_SIZE(steps); i++)
			steps[i].ns[round] = measure(&steps[i]);
	}
	printf("# Native code of the driver's sources in user space: no "
	       "tracepoint, no cli and sti.\n"
	       "# %u rounds of %u calls; ns of CPU time with the loop around "
	       "the call\n"
	       "# %-20s %-10s %6s %12s %9s %9s\n",
	       rounds, CALLS, "hook", "need", "stores", "instructions",
	       "ns median", "ns worst");
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct step *s = &steps[i];

		qsort(s->ns, rounds, sizeof(s->ns[0]), ascending);
		printf("%-22s %-10s %6u %12u %9.2f %9.2f\n", s->hook, s->said,
		       s->stores, s->instructions, s->ns[rounds / 2],
		       s->ns[rounds - 1]);
	}
	return 0;
}
