// SPDX-License-Identifier: GPL-2.0-or-later
/* COM1: output by polling, 16 bytes for one look at the status; input by IRQ 4. */
#include <stdarg.h>
#include "mini.h"

#define COM1 0x3f8
#define UART_DATA (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_MCR (COM1 + 4)
#define UART_LSR (COM1 + 5)
#define LSR_READY 0x01
#define LSR_EMPTY 0x20
#define SERIAL_PIN 4
#define FIFO_SIZE 16
#define INPUT_SIZE 256 /* power of two */

static char input[INPUT_SIZE];
static volatile u32 input_head, input_tail, input_lines;
static u32 fifo_room;

void serial_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, 0x80);
	outb(UART_DATA, 1); /* 115200 baud */
	outb(UART_IER, 0);
	outb(UART_LCR, 0x03);
	outb(UART_FCR, 0x07);
	outb(UART_MCR, 0x0b);
	outb(UART_IER, 0x01);
	ioapic_route(SERIAL_PIN, VECTOR_SERIAL);
}

void serial_interrupt(void)
{
	intent_irq_enter(&cpus[0]);
	while (inb(UART_LSR) & LSR_READY) {
		char c = (char)inb(UART_DATA);

		if (c == '\r')
			c = '\n';
		if (input_head - input_tail == INPUT_SIZE)
			continue;
		input[input_head % INPUT_SIZE] = c;
		input_head++;
		if (c == '\n')
			input_lines++;
	}
	apic_eoi();
	intent_irq_exit(&cpus[0]);
}

bool serial_pending(void)
{
	return input_lines || input_head - input_tail == INPUT_SIZE;
}

/* Take one line; what does not fit is dropped. False: none is complete. */
bool serial_line(char *line, u32 size)
{
	u32 n = 0;
	char c;

	if (!serial_pending())
		return false;
	while (input_tail != input_head) {
		c = input[input_tail % INPUT_SIZE];
		input_tail++;
		if (c == '\n') {
			irq_off();
			input_lines--;
			irq_on();
			break;
		}
		if (n + 1 < size)
			line[n++] = c;
	}
	line[n] = '\0';
	return true;
}

static void put(char c)
{
	if (!fifo_room) {
		while (!(inb(UART_LSR) & LSR_EMPTY))
			pause();
		fifo_room = FIFO_SIZE;
	}
	outb(UART_DATA, (u8)c);
	fifo_room--;
}

static void put_number(u64 val, u32 base)
{
	char digits[24];
	u32 n = 0, digit;

	do {
		val = div64(val, base, &digit);
		digits[n++] = "0123456789abcdef"[digit];
	} while (val);
	while (n)
		put(digits[--n]);
}

/* %s %c %d %u %x and %llu %llx; 64-bit arguments are unsigned. */
void out(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	for (; *fmt; fmt++) {
		const char *s;
		u32 longs = 0;
		s32 d;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		while (*++fmt == 'l')
			longs++;
		switch (*fmt) {
		case 's':
			for (s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		case 'c':
			put((char)va_arg(args, int));
			break;
		case 'd':
			d = va_arg(args, s32);
			if (d < 0)
				put('-');
			put_number(d < 0 ? -(u32)d : (u32)d, 10);
			break;
		case 'u':
		case 'x':
			put_number(longs == 2 ? va_arg(args, u64) :
						va_arg(args, u32),
				   *fmt == 'x' ? 16 : 10);
			break;
		default:
			put(*fmt);
			break;
		}
	}
	va_end(args);
}
