/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the mini guest know of each other. */
#ifndef MINI_MINI_H
#define MINI_MINI_H

#include "cpu.h"

typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef int8_t __s8;
typedef s64 __s64;
#define PVSCHED_ABI_TYPES
#include "pvsched/abi.h"

#define MAX_CPUS 64
#define MAX_SAMPLES 16384
#define ENDLESS_ROUND 250 /* samples of one round when samples=0 */

/* --- boot.S -------------------------------------------------------------- */
extern volatile u64 irq_tsc;
extern volatile u32 ap_arrived;
extern const u8 fault_stubs[], ap_start[], ap_end[];
void stub_clock(void);
void stub_config(void);
void stub_serial(void);
void stub_spurious(void);

/* --- params.c ------------------------------------------------------------ */
struct scenario;

struct params {
	const struct scenario *scenario;
	const char *source;
	u32 transport; /* PVSCHED_TRANSPORT_* */
	u32 features;  /* features to accept at most */
	u32 period_us, samples, rounds, work_us, prio, flap_us, smp, seed;
	u32 debug_exit; /* port of isa-debug-exit, 0: none */
	bool doorbell, wait, print_each, areas_wait, quit;
};

extern struct params params;
void params_parse(const char *cmdline);
bool word_is(const char *word, const char *end, const char *text);
u32 parse_u32(const char *s, const char **end);

/* --- serial.c ------------------------------------------------------------ */
void serial_init(void);
void serial_interrupt(void);
bool serial_line(char *line, u32 size);
bool serial_pending(void);
void out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- apic.c -------------------------------------------------------------- */
#define VECTOR_CLOCK 0x40
#define VECTOR_CONFIG 0x41
#define VECTOR_SERIAL 0x42
#define VECTOR_SPURIOUS 0xff

void apic_init(void);
void apic_init_cpu(void);
u32 apic_id(void);
void apic_eoi(void);
void apic_ipi_all_others(u32 command);
void ioapic_route(u32 pin, u8 vector);
void fault_handler(u32 vector, u32 code, u32 eip);

/* --- time.c, clock.c ----------------------------------------------------- */
extern u32 tsc_khz, hpet_khz; /* hpet_khz 0: no HPET */
extern u64 time_window;

void time_init(void);
u32 hpet_read(u32 reg);
void hpet_write(u32 reg, u32 val);
u64 us_to_tsc(u32 us);
u64 tsc_to_ns(u64 ticks);
void delay_us(u32 us);

#define HPET_COUNTER 0x0f0

extern u32 clock_period_us; /* what the source really does on average */
const char *clock_init(const char *wanted);
void clock_start(void);
void clock_stop(void);
void clock_interrupt(void);

/* --- round.c ------------------------------------------------------------- */
struct round {
	u32 number, want, n;
	u32 unsure, spurious; /* shots not counted, interrupts too early */
	u32 bound;	      /* largest error of an expected time, ticks */
	u32 started, ended;   /* task scenario: how often */
	u64 begin, work_begin;
	u32 doorbells, config_irqs, boosted, throttled_critical,
		throttled_total;
	volatile bool active, full;
};

extern struct round round;
void round_begin(u32 samples);
void round_finish(void);
void round_sample(s64 ticks);
void round_task_start(u64 expiry, u64 now);
void round_task_end(u64 expiry, u64 now);

/* --- pci.c --------------------------------------------------------------- */
struct pci_device {
	u32 address; /* configuration address of register 0 */
	u32 bar[6];  /* memory base, 0: none or out of reach */
	u32 size[6];
};

bool pci_find(u16 vendor, u16 device, struct pci_device *dev);
bool pci_enable(struct pci_device *dev);
bool pci_enable_msix(struct pci_device *dev, u8 vector);

/* --- pvsched.c, intent.c ------------------------------------------------- */
struct cpu {
	u64 intent;	    /* as it should stand in the slot */
	volatile u64 *slot; /* NULL while there are no areas */
	volatile struct pvsched_host_slot *host;
	u32 apic_id, slot_nr;
	bool from_idle, task_runs;
	u32 doorbells, boosted, throttled_critical, throttled_total;
	volatile u32 work;
};

struct pvsched {
	struct pci_device pci;
	u32 regs;  /* address of BAR0, 0: no device in use */
	u32 areas; /* address of BAR2 or of the guest's own pages */
	u32 transport, result, generation, nr_slots, features;
	u32 host_status, policy_version;
	u32 config_irqs, came, went;
	char policy[PVSCHED_POLICY_NAME_LEN + 1];
	bool found, present, report;
	volatile bool config_pending;
};

extern struct pvsched pvsched;
extern struct cpu cpus[MAX_CPUS];

bool pvsched_probe(void);
bool pvsched_negotiate(void);
void pvsched_reset(void);
void pvsched_config(void);
void pvsched_report(void);
void pvsched_bind_cpu(struct cpu *cpu);
void config_interrupt(void);

static inline u32 reg_read(u32 reg)
{
	return mmio_read(pvsched.regs + reg);
}

static inline void reg_write(u32 reg, u32 val)
{
	mmio_write(pvsched.regs + reg, val);
}

void intent_publish(struct cpu *cpu);
void intent_irq_enter(struct cpu *cpu);
void intent_irq_exit(struct cpu *cpu);
void intent_idle_enter(struct cpu *cpu);
void intent_set_critical(struct cpu *cpu, u32 bits, bool on);
void intent_set_current(struct cpu *cpu, u32 policy, s32 nice, u32 rt);
void intent_set_pending(struct cpu *cpu, u32 policy, s32 nice, u32 rt);
void intent_clear_pending(struct cpu *cpu, u32 policy, s32 nice, u32 rt);
void intent_need_ended(struct cpu *cpu);

/* --- scenario.c, violate.c, smp.c ---------------------------------------- */
struct scenario {
	const char *name;
	void (*begin)(struct cpu *cpu); /* once, on each CPU; may be NULL */
	void (*step)(struct cpu *cpu);	/* about a millisecond, or one halt */
	void (*wake)(struct cpu *cpu, u64 expiry); /* end of clock handler */
	bool silent; /* never rings the doorbell */
	bool no_driver;
	bool violates;
};

const struct scenario *scenario_find(const char *name, const char *end);
bool main_has_work(void);

void violate_registers(void);
void violate_areas(void);
u32 random_u32(void);

u32 smp_start(u32 wanted);
void ap_main(u32 index);

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

#endif
