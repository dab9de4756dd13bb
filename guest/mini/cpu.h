/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that C has no words for. */
#ifndef MINI_CPU_H
#define MINI_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline void outb(u16 port, u8 val)
{
	asm volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}

static inline void outw(u16 port, u16 val)
{
	asm volatile("outw %0, %1" : : "a"(val), "Nd"(port));
}

static inline void outl(u16 port, u32 val)
{
	asm volatile("outl %0, %1" : : "a"(val), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 val;

	asm volatile("inb %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static inline u32 inl(u16 port)
{
	u32 val;

	asm volatile("inl %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static inline u32 mmio_read(u32 addr)
{
	return *(volatile u32 *)addr;
}

static inline void mmio_write(u32 addr, u32 val)
{
	*(volatile u32 *)addr = val;
}

static inline u64 rdtsc(void)
{
	u64 val;

	asm volatile("rdtsc" : "=A"(val) : : "memory");
	return val;
}

static inline void irq_off(void)
{
	asm volatile("cli" : : : "memory");
}

static inline void irq_on(void)
{
	asm volatile("sti" : : : "memory");
}

/* Enable interrupts and halt with no gap between the two. */
static inline void irq_on_and_halt(void)
{
	asm volatile("sti; hlt" : : : "memory");
}

static inline void barrier(void)
{
	asm volatile("" : : : "memory");
}

static inline void pause(void)
{
	asm volatile("pause" : : : "memory");
}

/*
 * One atomic 64-bit store. A locked cmpxchg8b is atomic on hardware, under TCG
 * and in KVM's instruction emulator, where a 64-bit MMX or x87 store is a
 * plain copy or not implemented. guess is what the word probably holds; a
 * wrong one only costs a second turn.
 */
static inline void store64(volatile u64 *p, u64 guess, u64 val)
{
	asm volatile("1: lock cmpxchg8b %0\n\tjnz 1b"
		     : "+m"(*p), "+A"(guess)
		     : "b"((u32)val), "c"((u32)(val >> 32))
		     : "memory", "cc");
}

/* n / d without the compiler's library; *rem may be NULL. */
static inline u64 div64(u64 n, u32 d, u32 *rem)
{
	u32 high = (u32)(n >> 32), low = (u32)n, qh, ql, r;

	qh = high / d;
	r = high % d;
	asm("divl %4" : "=a"(ql), "=d"(r) : "0"(low), "1"(r), "rm"(d) : "cc");
	if (rem)
		*rem = r;
	return ((u64)qh << 32) | ql;
}

#endif
