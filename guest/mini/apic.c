// SPDX-License-Identifier: GPL-2.0-or-later
/* Interrupt descriptors, local APIC, IOAPIC; the old PICs are masked. */
#include "mini.h"

#define LAPIC 0xfee00000u
#define LAPIC_ID 0x020
#define LAPIC_TPR 0x080
#define LAPIC_EOI 0x0b0
#define LAPIC_SVR 0x0f0
#define LAPIC_ICR 0x300
#define LAPIC_LINT0 0x350
#define LAPIC_MASKED 0x10000
#define ICR_BUSY 0x1000
#define ICR_ALL_OTHERS 0xc0000

#define IOAPIC 0xfec00000u
#define IOAPIC_WINDOW 0x10
#define IOAPIC_PINS 24
#define IOAPIC_ENTRY(pin) (0x10 + 2 * (pin))

struct gate {
	u16 offset_low, selector, type, offset_high;
};

static struct gate idt[256] __attribute__((aligned(8)));

static void set_gate(u32 vector, const void *handler)
{
	u32 addr = (u32)handler;

	idt[vector] =
		(struct gate){ (u16)addr, 0x08, 0x8e00, (u16)(addr >> 16) };
}

static void load_idt(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (u32)idt };

	asm volatile("lidt %0" : : "m"(pointer));
}

static void ioapic_write(u32 reg, u32 val)
{
	mmio_write(IOAPIC, reg);
	mmio_write(IOAPIC + IOAPIC_WINDOW, val);
}

void apic_init_cpu(void)
{
	load_idt();
	mmio_write(LAPIC + LAPIC_TPR, 0);
	mmio_write(LAPIC + LAPIC_LINT0, LAPIC_MASKED);
	mmio_write(LAPIC + LAPIC_SVR, 0x100 | VECTOR_SPURIOUS);
}

void apic_init(void)
{
	u32 i;

	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	for (i = 0; i < 32; i++)
		set_gate(i, fault_stubs + 16 * i);
	for (i = 32; i < 256; i++)
		set_gate(i, stub_spurious);
	set_gate(VECTOR_CLOCK, stub_clock);
	set_gate(VECTOR_CONFIG, stub_config);
	set_gate(VECTOR_SERIAL, stub_serial);
	for (i = 0; i < IOAPIC_PINS; i++)
		ioapic_write(IOAPIC_ENTRY(i), LAPIC_MASKED);
	apic_init_cpu();
}

u32 apic_id(void)
{
	return mmio_read(LAPIC + LAPIC_ID) >> 24;
}

void apic_eoi(void)
{
	mmio_write(LAPIC + LAPIC_EOI, 0);
}

/* command: delivery mode, level and vector as in the command register. */
void apic_ipi_all_others(u32 command)
{
	mmio_write(LAPIC + LAPIC_ICR, ICR_ALL_OTHERS | command);
	while (mmio_read(LAPIC + LAPIC_ICR) & ICR_BUSY)
		pause();
}

/* Edge, active high, to the calling CPU. */
void ioapic_route(u32 pin, u8 vector)
{
	ioapic_write(IOAPIC_ENTRY(pin) + 1, apic_id() << 24);
	ioapic_write(IOAPIC_ENTRY(pin), vector);
}

void fault_handler(u32 vector, u32 code, u32 eip)
{
	out("{\"event\":\"fault\",\"vector\":%u,\"code\":%u,\"eip\":%u}\n",
	    vector, code, eip);
	for (;;)
		asm volatile("cli; hlt");
}
