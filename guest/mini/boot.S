/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot entry, descriptor table, interrupt stubs, start of the other CPUs. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003 /* aligned modules, memory information */
#define STACK_SIZE 16384
#define AP_STACK_SHIFT 12
#define AP_MAX 63

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.globl start
start:
	cli
	cld
	movl	$stack_top, %esp
	lgdt	gdt_pointer
	ljmp	$0x08, $1f
1:	movl	$0x10, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	movl	%ecx, %ss
	pushl	%ebx
	pushl	%eax
	call	kernel_main
2:	cli
	hlt
	jmp	2b

/*
 * KVM's instruction emulator has no iret in protected mode: turn eip, cs,
 * eflags above the eight saved registers into eflags, eip and return by those.
 */
	.macro return_from_interrupt
	movl	32(%esp), %eax
	movl	40(%esp), %edx
	movl	%eax, 40(%esp)
	movl	%edx, 36(%esp)
	popal
	leal	4(%esp), %esp
	popfl
	ret
	.endm

/*
 * The time stamp is taken by the second instruction of each handler; handlers
 * run with interrupts off and copy it before they let others in.
 */
	.macro stub name, handler
	.globl	\name
\name:
	pushal
	rdtsc
	movl	%eax, irq_tsc
	movl	%edx, irq_tsc + 4
	cld
	call	\handler
	return_from_interrupt
	.endm

	stub	stub_clock, clock_interrupt
	stub	stub_config, config_interrupt
	stub	stub_serial, serial_interrupt

	.globl	stub_spurious
stub_spurious:
	pushal
	return_from_interrupt

/* Faults: vector and instruction pointer to C, which never returns. */
	.macro fault vector, has_code
	.if	\has_code == 0
	pushl	$0
	.endif
	pushl	$\vector
	jmp	fault_common
	.endm

	.globl	fault_stubs
	.align	16
fault_stubs:
	.set	vector, 0
	.rept	32
	.align	16
	.if	vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	fault	vector, 1
	.else
	fault	vector, 0
	.endif
	.set	vector, vector + 1
	.endr

fault_common:
	call	fault_handler

/* Real-mode start of another CPU; copied below 1 MiB, position independent. */
	.globl	ap_start, ap_end
	.code16
ap_start:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_start
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x08, $ap_protected
	.align	8
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_end:
	.code32
ap_protected:
	movl	$0x10, %ecx
	movl	%ecx, %ds
	movl	%ecx, %es
	movl	%ecx, %ss
	movl	$1, %eax
	lock xaddl %eax, ap_arrived
	cmpl	$AP_MAX, %eax
	jae	1f
	leal	1(%eax), %esp
	shll	$AP_STACK_SHIFT, %esp
	addl	$ap_stacks, %esp
	incl	%eax		/* CPU index, 0 is the boot CPU */
	pushl	%eax
	call	ap_main
1:	cli
	hlt
	jmp	1b

	.data
	.align	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff
	.quad	0x00cf92000000ffff
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.bss
	.globl	irq_tsc, ap_arrived
	.align	16
irq_tsc: .skip	8
ap_arrived: .skip 4
	.align	4096
	.skip	STACK_SIZE
stack_top:
ap_stacks:
	.skip	AP_MAX << AP_STACK_SHIFT

	.section .note.GNU-stack, "", @progbits
