// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All that a driver must not do, one after another, each with what the device
 * said to it. Registers first, while nothing is negotiated; the areas once
 * they are there.
 */
#include "mini.h"

#define GARBAGE_TURNS 16

static u32 errors_before, errors_total, violations;

static void begin(void)
{
	errors_before = reg_read(PVSCHED_REG_GUEST_ERRORS);
}

static void finish(const char *what)
{
	u32 errors = reg_read(PVSCHED_REG_GUEST_ERRORS) - errors_before;

	errors_total += errors;
	violations++;
	out("{\"event\":\"violation\",\"what\":\"%s\",\"errors\":%u,"
	    "\"status\":%u,\"result\":%u}\n",
	    what, errors, reg_read(PVSCHED_REG_DRIVER_STATUS),
	    reg_read(PVSCHED_REG_TRANSPORT_RESULT));
}

static void features_ok(u32 features)
{
	pvsched_reset();
	reg_write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ACKNOWLEDGE);
	reg_write(PVSCHED_REG_DRIVER_STATUS,
		  PVSCHED_DRIVER_ACKNOWLEDGE | PVSCHED_DRIVER_DRIVER);
	reg_write(PVSCHED_REG_GUEST_FEATURES, features);
	reg_write(PVSCHED_REG_DRIVER_STATUS,
		  PVSCHED_DRIVER_ACKNOWLEDGE | PVSCHED_DRIVER_DRIVER |
			  PVSCHED_DRIVER_FEATURES_OK);
}

static void bad_status(void)
{
	begin();
	pvsched_reset();
	reg_write(PVSCHED_REG_GUEST_FEATURES + 4, 0x80000000u);
	reg_write(PVSCHED_REG_GUEST_FEATURES, ~0u);
	finish("features-not-offered");

	begin();
	features_ok(~0u);
	finish("features-ok-not-offered");

	begin();
	pvsched_reset();
	reg_write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_FEATURES_OK);
	finish("features-ok-too-early");

	begin();
	pvsched_reset();
	reg_write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_OK);
	finish("driver-ok-too-early");

	begin();
	pvsched_reset();
	reg_write(PVSCHED_REG_DRIVER_STATUS, 0xffffff00u);
	finish("status-unknown-bits");

	features_ok((u32)PVSCHED_F_BAR);
	begin();
	reg_write(PVSCHED_REG_GUEST_FEATURES, (u32)PVSCHED_F_ALL);
	finish("features-after-ok");

	begin();
	reg_write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ACKNOWLEDGE);
	finish("status-bits-removed");
}

static void bad_widths(void)
{
	u32 i;

	begin();
	for (i = 0; i < 8; i++)
		(void)*(volatile u8 *)(pvsched.regs + i);
	finish("read-1-byte");
	begin();
	for (i = 0; i < 8; i += 2)
		(void)*(volatile u16 *)(pvsched.regs + i);
	finish("read-2-bytes");
	begin();
	for (i = 0; i < 4; i++)
		*(volatile u8 *)(pvsched.regs + PVSCHED_REG_TRANSPORT + i) = 1;
	finish("write-1-byte");
	begin();
	for (i = 0; i < 4; i += 2)
		*(volatile u16 *)(pvsched.regs + PVSCHED_REG_GPA + i) = 1;
	finish("write-2-bytes");
	begin();
	*(volatile u32 *)(pvsched.regs + PVSCHED_REG_GPA + 2) = 1;
	(void)*(volatile u32 *)(pvsched.regs + PVSCHED_REG_GPA + 1);
	finish("misaligned");
}

static void bad_registers(void)
{
	static const u16 read_only[] = {
		PVSCHED_REG_MAGIC,
		PVSCHED_REG_VERSION,
		PVSCHED_REG_HOST_FEATURES,
		PVSCHED_REG_HOST_STATUS,
		PVSCHED_REG_GENERATION,
		PVSCHED_REG_NR_SLOTS,
		PVSCHED_REG_SLOT_SIZE,
		PVSCHED_REG_AREA_SIZE,
		PVSCHED_REG_GUEST_AREA,
		PVSCHED_REG_HOST_AREA,
		PVSCHED_REG_TRANSPORT_RESULT,
		PVSCHED_REG_POLICY_VERSION,
		PVSCHED_REG_GUEST_ERRORS,
		PVSCHED_REG_POLICY_NAME,
		PVSCHED_REG_SLOT_TABLE,
	};
	u32 i;

	begin();
	for (i = 0; i < ARRAY_SIZE(read_only); i++)
		reg_write(read_only[i], ~0u);
	finish("write-read-only");
	begin();
	reg_write(0x0c0, ~0u);
	reg_write(0x3fc, ~0u);
	reg_write(PVSCHED_REGS_SIZE - 4, ~0u);
	finish("write-unknown");
	begin();
	(void)reg_read(PVSCHED_REGS_SIZE - 4);
	(void)reg_read(PVSCHED_REG_DOORBELL);
	finish("read-unknown");
	begin();
	reg_write(PVSCHED_REG_POLICY_ACCEPT, 0xdeadbeefu);
	finish("accept-unknown-policy");
}

static void try_gpa(const char *what, u32 low, u32 high)
{
	begin();
	reg_write(PVSCHED_REG_GPA, low);
	reg_write(PVSCHED_REG_GPA + 4, high);
	reg_write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA);
	finish(what);
	reg_write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_NONE);
}

static void bad_transports(void)
{
	pvsched_reset();
	begin();
	reg_write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
	finish("transport-not-negotiated");

	features_ok((u32)PVSCHED_F_BAR);
	begin();
	reg_write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA);
	finish("transport-feature-missing");

	features_ok((u32)(PVSCHED_F_BAR | PVSCHED_F_GPA));
	begin();
	reg_write(PVSCHED_REG_TRANSPORT, 0x7fffffffu);
	finish("transport-unknown");
	try_gpa("gpa-misaligned", 0x200004, 0);
	try_gpa("gpa-wraps", 0xfffff000u, 0xffffffffu);
	try_gpa("gpa-no-ram", 0, 0x00000f00u);
	try_gpa("gpa-device", pvsched.regs, 0);
	try_gpa("gpa-own-bar", pvsched.pci.bar[PVSCHED_BAR_AREAS], 0);
	try_gpa("gpa-rom", 0xfffff000u, 0);
}

void violate_registers(void)
{
	bad_status();
	bad_widths();
	bad_registers();
	bad_transports();
	pvsched_reset();
	out("{\"event\":\"violated\",\"part\":\"registers\",\"count\":%u,"
	    "\"errors\":%u}\n",
	    violations, errors_total);
}

static volatile u32 *area_word(u32 area, u32 slot, u32 word)
{
	return (volatile u32 *)(pvsched.areas + reg_read(area) +
				slot * PVSCHED_SLOT_SIZE + 4 * word);
}

/* Nobody answers for a bad word but the policy, which counts it. */
void violate_areas(void)
{
	static const u64 words[] = {
		~0ull,
		0x8000000000000004ull, /* policy 4 does not exist */
		0x8000000000000001ull, /* FIFO without a priority */
		0x8000000000ff0001ull, /* rt 255 */
		0x8000000000007f00ull, /* nice 127 */
		0xff00000000000000ull, /* unknown flags */
		0x80f0000000000000ull, /* unknown critical bits */
		0x0000000000320001ull, /* FIFO 50, but not valid */
		0x82000000ff0000f0ull, /* pending nonsense */
	};
	u32 slots = pvsched.nr_slots, i, j, turn, kept = 0;
	struct cpu *cpu = &cpus[0];

	begin();
	for (i = 0; i < slots; i++) {
		for (j = 0; j < PVSCHED_SLOT_SIZE / 4; j++) {
			volatile u32 *word =
				area_word(PVSCHED_REG_HOST_AREA, i, j);

			*word = 0xa5a5a5a5u;
			if (*word == 0xa5a5a5a5u)
				kept++;
		}
	}
	finish(kept ? "host-area-written" : "host-area-write-ignored");

	begin();
	for (turn = 0; turn < ARRAY_SIZE(words) && cpu->slot; turn++) {
		store64(cpu->slot, 0, words[turn]);
		delay_us(2000);
	}
	finish("bad-intents");

	begin();
	for (turn = 0; turn < GARBAGE_TURNS; turn++) {
		for (i = 0; i < slots; i++) {
			for (j = 0; j < PVSCHED_SLOT_SIZE / 4; j++)
				*area_word(PVSCHED_REG_GUEST_AREA, i, j) =
					random_u32();
		}
		delay_us(1000);
	}
	for (i = 0; i < slots; i++) {
		for (j = 0; j < PVSCHED_SLOT_SIZE / 4; j++)
			*area_word(PVSCHED_REG_GUEST_AREA, i, j) = 0;
	}
	finish("garbage-in-all-slots");
	irq_off();
	intent_publish(cpu);
	irq_on();
	out("{\"event\":\"violated\",\"part\":\"areas\",\"count\":%u,"
	    "\"errors\":%u}\n",
	    violations, errors_total);
}
