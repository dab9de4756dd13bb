// SPDX-License-Identifier: GPL-2.0-or-later
/* The other CPUs: INIT, SIPI, then the scenario's loop without interrupts. */
#include "mini.h"

#define TRAMPOLINE 0x8000u
#define IPI_INIT 0x4500
#define IPI_STARTUP 0x4600
#define ARRIVE_MS 2000

static volatile u32 cpus_wanted, cpus_ready = 1;

/* Start up to wanted CPUs, the boot CPU counted; how many there are now. */
u32 smp_start(u32 wanted)
{
	u32 ms;

	cpus_wanted = wanted;
	memcpy((void *)TRAMPOLINE, ap_start, (size_t)(ap_end - ap_start));
	apic_ipi_all_others(IPI_INIT);
	delay_us(10000);
	apic_ipi_all_others(IPI_STARTUP | TRAMPOLINE >> 12);
	delay_us(200);
	if (!ap_arrived)
		apic_ipi_all_others(IPI_STARTUP | TRAMPOLINE >> 12);
	for (ms = 0; ms < ARRIVE_MS && cpus_ready < wanted; ms++)
		delay_us(1000);
	return cpus_ready;
}

void ap_main(u32 index)
{
	struct cpu *cpu = &cpus[index];

	if (index >= cpus_wanted)
		return;
	apic_init_cpu();
	cpu->apic_id = apic_id();
	params.scenario->begin(cpu);
	__atomic_add_fetch(&cpus_ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		/* halts for good: nothing is sent to this CPU */
		params.scenario->step(cpu);
	}
}
