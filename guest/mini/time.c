// SPDX-License-Identifier: GPL-2.0-or-later
/* TSC rate, from the HPET or else from channel 2 of the PIT. */
#include "mini.h"

#define HPET 0xfed00000u
#define HPET_ID 0x000
#define HPET_PERIOD 0x004 /* femtoseconds */
#define HPET_CONFIG 0x010
#define HPET_VENDOR 0x8086
#define CALIBRATE_MS 50
#define READ_TRIES 8

#define PIT_CHANNEL2 0x42
#define PIT_MODE 0x43
#define PIT_GATE 0x61
#define PIT_OUT 0x20
#define PIT_HZ 1193182u
#define PIT_START 0xffffu

u32 tsc_khz, hpet_khz;
u64 time_window = ~0ull; /* of the quickest read of a counter, ticks */

u32 hpet_read(u32 reg)
{
	return mmio_read(HPET + reg);
}

void hpet_write(u32 reg, u32 val)
{
	mmio_write(HPET + reg, val);
}

static u32 read_hpet(void)
{
	return hpet_read(HPET_COUNTER);
}

/* Ticks of channel 2 since its start; the latch freezes the value. */
static u32 read_pit(void)
{
	u32 low;

	outb(PIT_MODE, 0x80);
	low = inb(PIT_CHANNEL2);
	return PIT_START - (low | (u32)inb(PIT_CHANNEL2) << 8);
}

/* A counter and the TSC at one moment: the best of some tries. */
static u64 anchor(u32 (*read)(void), u32 *counter)
{
	u64 best = ~0ull, tsc = 0;
	u32 i;

	*counter = 0;
	for (i = 0; i < READ_TRIES; i++) {
		u64 before = rdtsc();
		u32 count = read();
		u64 window = rdtsc() - before;

		if (window < best) {
			best = window;
			tsc = before + window / 2;
			*counter = count;
		}
	}
	if (best < time_window)
		time_window = best;
	return tsc;
}

static void calibrate(u32 (*read)(void), u32 hz, u32 ms)
{
	u32 first, last;
	u64 begin, end;

	begin = anchor(read, &first);
	while (read() - first < hz / 1000 * ms)
		pause();
	end = anchor(read, &last);
	tsc_khz = (u32)div64((end - begin) * (hz / 100), (last - first) * 10,
			     NULL);
}

/* The counter ends after 55 ms: begin anew when the vCPU lost that long. */
static void calibrate_by_pit(void)
{
	do {
		outb(PIT_GATE, (inb(PIT_GATE) & 0xfc) | 1);
		outb(PIT_MODE, 0xb0); /* channel 2, both bytes, mode 0 */
		outb(PIT_CHANNEL2, PIT_START & 0xff);
		outb(PIT_CHANNEL2, PIT_START >> 8);
		calibrate(read_pit, PIT_HZ, CALIBRATE_MS / 2);
	} while (inb(PIT_GATE) & PIT_OUT);
}

void time_init(void)
{
	u32 period = hpet_read(HPET_PERIOD);

	if (hpet_read(HPET_ID) >> 16 == HPET_VENDOR && period) {
		hpet_khz = (u32)div64(1000000000000ull, period, NULL);
		hpet_write(HPET_CONFIG, hpet_read(HPET_CONFIG) | 1);
		calibrate(read_hpet, hpet_khz * 1000, CALIBRATE_MS);
	} else {
		calibrate_by_pit();
	}
}

u64 us_to_tsc(u32 us)
{
	return div64((u64)us * tsc_khz, 1000, NULL);
}

u64 tsc_to_ns(u64 ticks)
{
	return div64(ticks * 1000000, tsc_khz, NULL);
}

void delay_us(u32 us)
{
	u64 end = rdtsc() + us_to_tsc(us);

	while (rdtsc() < end)
		pause();
}
