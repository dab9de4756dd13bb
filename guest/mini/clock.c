// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interrupt whose latency is measured.
 *
 * hpet: one-shot of timer 0. Before each shot the HPET's counter is read
 * between two reads of the TSC, so the expected TSC of the expiry is known to
 * half of that window; a shot whose window is too wide, or that was not
 * written before it expired, is not counted.
 * pit: the same, with channel 0 and the window around the starting write.
 * rtc: periodic; only deviations from the best tick of a round are known.
 */
#include "mini.h"

#define HPET_CONFIG 0x010
#define HPET_TIMER0 0x100
#define HPET_COMPARATOR0 0x108
#define HPET_ENABLE 0x01
#define HPET_LEGACY 0x02 /* timer 0 is IRQ 0, which is pin 2 */
#define HPET_TN_ENABLE 0x004
#define HPET_TN_32BIT 0x100

#define PIT_CHANNEL0 0x40
#define PIT_MODE 0x43
#define PIT_HZ 1193182u

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_HZ 32768u

#define TIMER_PIN 2
#define RTC_PIN 8
#define ANCHOR_TRIES 4
#define SHOT_TRIES 100
#define WINDOW_LIMIT_US 40
#define MARGIN_US 50 /* a shot must be written this long before it expires */

enum source { SOURCE_HPET, SOURCE_PIT, SOURCE_RTC };

static enum source source;
static u32 rng, rtc_rate;
static u64 rtc_period, rtc_last;
static s64 rtc_offset;
static struct {
	u64 expect;
	u32 bound;
	bool sure, armed;
} shot;

u32 clock_period_us;

u32 random_u32(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng;
}

/* Evenly spread over half to one and a half of the period. */
static u32 next_period_us(void)
{
	u32 spread = random_u32() & 0xffff;

	return clock_period_us / 2 +
	       (u32)(((u64)clock_period_us * spread) >> 16);
}

/* The widest window that is counted; more where reads are slow anyway. */
static u64 window_limit(void)
{
	u64 limit = us_to_tsc(WINDOW_LIMIT_US);

	return limit > 4 * time_window ? limit : 4 * time_window;
}

/*
 * A comparator that the counter has passed matches after the wrap only, in the
 * HPET and in QEMU 9.1 and newer (before, it fired at once): was it in time?
 */
static bool hpet_shoot(void)
{
	u32 ticks = (u32)div64((u64)next_period_us() * hpet_khz, 1000, NULL);
	u64 limit = window_limit(), best = ~0ull, middle = 0, wait;
	u32 i, counter = 0;

	for (i = 0; i < ANCHOR_TRIES && best > limit; i++) {
		u64 before = rdtsc();
		u32 count = hpet_read(HPET_COUNTER);
		u64 window = rdtsc() - before;

		if (window < best) {
			best = window;
			middle = before + window / 2;
			counter = count;
		}
	}
	wait = div64((u64)ticks * tsc_khz, hpet_khz, NULL);
	shot.expect = middle + wait;
	shot.bound = (u32)(best / 2);
	hpet_write(HPET_COMPARATOR0, counter + ticks);
	shot.sure = best <= limit &&
		    rdtsc() + us_to_tsc(MARGIN_US) < shot.expect;
	return (s32)(counter + ticks - hpet_read(HPET_COUNTER)) > 0;
}

static void hpet_arm(void)
{
	u32 tries = SHOT_TRIES;

	while (!hpet_shoot() && --tries)
		;
	shot.armed = true;
}

static void pit_arm(void)
{
	u32 count = (u32)div64((u64)next_period_us() * PIT_HZ, 1000000, NULL);
	u64 before, window;

	outb(PIT_MODE, 0x30); /* channel 0, both bytes, mode 0 */
	outb(PIT_CHANNEL0, (u8)count);
	before = rdtsc();
	outb(PIT_CHANNEL0, (u8)(count >> 8));
	window = rdtsc() - before;
	shot.expect = before + window / 2 +
		      div64((u64)count * tsc_khz * 1000, PIT_HZ, NULL);
	shot.bound = (u32)(window / 2);
	shot.sure = window <= window_limit();
	shot.armed = true;
}

static u8 rtc_read(u8 reg)
{
	outb(RTC_INDEX, reg);
	return inb(RTC_DATA);
}

static void rtc_write(u8 reg, u8 val)
{
	outb(RTC_INDEX, reg);
	outb(RTC_DATA, val);
}

static void rtc_init(void)
{
	u32 us = 1000000 * 4 / RTC_HZ; /* rate 3: 8192 Hz */

	rtc_rate = 3;
	while (rtc_rate < 15 && us * 3 / 2 < params.period_us) {
		rtc_rate++;
		us = (u32)div64(1000000ull << (rtc_rate - 1), RTC_HZ, NULL);
	}
	clock_period_us = us;
	rtc_period =
		div64(((u64)tsc_khz * 1000) << (rtc_rate - 1), RTC_HZ, NULL);
}

/* Periodic ticks: offset of this one from the first, whole periods off. */
static void rtc_tick(u64 now)
{
	u32 ticks;
	s64 step;

	(void)rtc_read(0x0c);
	if (!round.active || round.full)
		return;
	if (!rtc_last) {
		rtc_last = now;
		rtc_offset = 0;
	}
	step = (s64)(now - rtc_last);
	ticks = (u32)div64((u64)step + rtc_period / 2, (u32)rtc_period, NULL);
	rtc_offset += step - (s64)((u64)ticks * rtc_period);
	rtc_last = now;
	round_sample(rtc_offset);
}

static void arm(void)
{
	if (source == SOURCE_HPET)
		hpet_arm();
	else if (source == SOURCE_PIT)
		pit_arm();
}

/* Choose the source; the name of the one in use is returned. */
const char *clock_init(const char *wanted)
{
	rng = params.seed;
	clock_period_us = params.period_us;
	source = wanted[0] == 'h' ? SOURCE_HPET :
		 wanted[0] == 'p' ? SOURCE_PIT :
				    SOURCE_RTC;
	if (source == SOURCE_HPET && !hpet_khz)
		source = SOURCE_PIT;
	switch (source) {
	case SOURCE_HPET:
		hpet_write(HPET_TIMER0, HPET_TN_ENABLE | HPET_TN_32BIT);
		hpet_write(HPET_CONFIG, HPET_ENABLE | HPET_LEGACY);
		ioapic_route(TIMER_PIN, VECTOR_CLOCK);
		return "hpet";
	case SOURCE_PIT:
		/* mode 0 without a count: SeaBIOS left it ticking */
		outb(PIT_MODE, 0x30);
		ioapic_route(TIMER_PIN, VECTOR_CLOCK);
		return "pit";
	case SOURCE_RTC:
		rtc_init();
		ioapic_route(RTC_PIN, VECTOR_CLOCK);
		return "rtc";
	}
	return "none";
}

void clock_start(void)
{
	irq_off();
	if (source == SOURCE_RTC) {
		rtc_last = 0;
		rtc_write(0x0a, (u8)(0x20 | rtc_rate));
		rtc_write(0x0b, rtc_read(0x0b) | 0x40);
		(void)rtc_read(0x0c);
	} else {
		arm();
	}
	irq_on();
}

void clock_stop(void)
{
	if (source == SOURCE_RTC)
		rtc_write(0x0b, rtc_read(0x0b) & ~0x40);
}

void clock_interrupt(void)
{
	u64 now = irq_tsc, expiry = now;
	struct cpu *cpu = &cpus[0];
	bool woken = false;

	intent_irq_enter(cpu);
	if (source == SOURCE_RTC) {
		rtc_tick(now);
		woken = round.active;
	} else if (shot.armed && now + shot.bound < shot.expect) {
		round.spurious++; /* the HPET's 32-bit counter wrapped */
	} else if (shot.armed) {
		expiry = shot.expect;
		shot.armed = false;
		woken = true;
		if (shot.sure) {
			if (shot.bound > round.bound)
				round.bound = shot.bound;
			round_sample((s64)(now - expiry));
		} else {
			round.unsure++;
		}
		if (!round.full)
			arm();
	}
	apic_eoi();
	if (woken && params.scenario->wake)
		params.scenario->wake(cpu, expiry);
	else
		intent_irq_exit(cpu);
}
