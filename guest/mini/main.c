// SPDX-License-Identifier: GPL-2.0-or-later
/* Start, main loop, commands. */
#include "mini.h"

#define MULTIBOOT_LOADED 0x2badb002
#define MULTIBOOT_CMDLINE 0x4
#define LINE_SIZE 128
#define ACPI_PM1_CONTROL 0x604 /* where SeaBIOS puts it, pc and q35 */
#define ACPI_SLEEP 0x2000

struct multiboot_info {
	u32 flags, mem_lower, mem_upper, boot_device;
	u32 cmdline;
};

static u32 rounds_left;
static bool endless, violated;
static const char *source;

void *memset(void *p, int c, size_t n)
{
	u8 *to = p;

	while (n--) {
		*to++ = (u8)c;
		barrier();
	}
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	const u8 *src = from;
	u8 *dst = to;

	while (n--) {
		*dst++ = *src++;
		barrier();
	}
	return to;
}

static bool violates(void)
{
	return params.scenario->violates;
}

static void quit(void)
{
	irq_off();
	if (pvsched.regs)
		pvsched_reset();
	out("{\"event\":\"quit\"}\n");
	if (params.debug_exit)
		outl((u16)params.debug_exit, 0);
	outw(ACPI_PM1_CONTROL, ACPI_SLEEP);
	delay_us(1000000); /* the machine goes off when QEMU gets to it */
	out("{\"event\":\"halted\"}\n");
	for (;;)
		asm volatile("cli; hlt");
}

static void print_stats(void)
{
	const struct cpu *cpu = &cpus[0];
	u64 state = 0;

	if (cpu->slot)
		state = cpu->host->state;
	out("{\"event\":\"stats\",\"present\":%s,\"generation\":%u,"
	    "\"doorbells\":%u,\"config_irqs\":%u,\"boosted_seen\":%u,"
	    "\"throttled_seen\":%u,\"came\":%u,\"went\":%u,\"work\":%u,"
	    "\"guest_errors\":%u,\"intent\":\"0x%llx\",\"state\":\"0x%llx\"}\n",
	    pvsched.present ? "true" : "false", pvsched.generation,
	    cpu->doorbells, pvsched.config_irqs, cpu->boosted,
	    cpu->throttled_critical + cpu->throttled_total, pvsched.came,
	    pvsched.went, cpu->work,
	    pvsched.regs ? reg_read(PVSCHED_REG_GUEST_ERRORS) : 0, cpu->intent,
	    state);
}

static void command(const char *line)
{
	const char *end = line, *rest;
	u32 n;

	while (*end && *end != ' ')
		end++;
	if (word_is(line, end, "")) {
		return;
	} else if (word_is(line, end, "quit")) {
		quit();
	} else if (word_is(line, end, "stats")) {
		print_stats();
	} else if (word_is(line, end, "run")) {
		n = params.samples;
		if (*end) {
			n = parse_u32(end + 1, &rest);
			if (*rest || !n || n > MAX_SAMPLES)
				goto bad;
		}
		round_begin(n);
	} else {
		goto bad;
	}
	return;
bad:
	out("{\"event\":\"error\",\"text\":\"bad command\"}\n");
}

static void round_over(void)
{
	round_finish();
	if (params.wait || endless)
		return;
	if (--rounds_left)
		return;
	out("{\"event\":\"done\"}\n");
	if (params.quit)
		quit();
}

static bool may_start(void)
{
	return (endless || rounds_left) && !params.wait &&
	       (!params.areas_wait || !pvsched.regs || pvsched.present);
}

/* Called with interrupts off too, before the halt. */
bool main_has_work(void)
{
	if (pvsched.config_pending || round.full)
		return true;
	return !round.active &&
	       (serial_pending() || pvsched.report || may_start());
}

static void work(void)
{
	char line[LINE_SIZE];

	if (pvsched.config_pending)
		pvsched_config();
	if (round.full)
		round_over();
	if (round.active)
		return;
	if (pvsched.report)
		pvsched_report();
	if (pvsched.present && !violated && violates()) {
		violated = true;
		violate_areas();
	}
	if (serial_line(line, sizeof(line)))
		command(line);
	else if (may_start())
		round_begin(params.samples);
}

static void start_driver(void)
{
	if (params.transport == PVSCHED_TRANSPORT_NONE)
		return;
	if (!pvsched_probe()) {
		if (!pvsched.found)
			out("{\"event\":\"no-device\"}\n");
		return;
	}
	if (violates())
		violate_registers();
	pvsched_negotiate();
}

static void print_ready(u32 nr_cpus)
{
	static const char *const transports[] = { "none", "bar", "gpa" };
	bool driver = pvsched.regs;

	out("{\"event\":\"ready\",\"scenario\":\"%s\",\"source\":\"%s\","
	    "\"period_us\":%u,\"tsc_khz\":%u,\"hpet_khz\":%u,\"cpus\":%u,"
	    "\"driver\":%s,\"transport\":\"%s\",\"features\":%u,"
	    "\"generation\":%u,\"slots\":%u,\"errors\":%u}\n",
	    params.scenario->name, source, clock_period_us, tsc_khz, hpet_khz,
	    nr_cpus, driver ? "true" : "false", transports[pvsched.transport],
	    pvsched.features, driver ? reg_read(PVSCHED_REG_GENERATION) : 0,
	    pvsched.nr_slots, driver ? reg_read(PVSCHED_REG_GUEST_ERRORS) : 0);
}

void kernel_main(u32 magic, const struct multiboot_info *info);

void kernel_main(u32 magic, const struct multiboot_info *info)
{
	struct cpu *cpu = &cpus[0];

	apic_init();
	serial_init();
	params_parse(magic == MULTIBOOT_LOADED &&
				     info->flags & MULTIBOOT_CMDLINE ?
			     (const char *)info->cmdline :
			     "");
	time_init();
	cpu->apic_id = apic_id();
	source = clock_init(params.source);
	rounds_left = params.rounds;
	endless = !params.rounds || !params.samples;
	start_driver();
	params.scenario->begin(cpu);
	print_ready(params.smp > 1 ? smp_start(params.smp) : 1);
	irq_on();
	for (;;) {
		if (main_has_work())
			work();
		params.scenario->step(cpu);
	}
}
