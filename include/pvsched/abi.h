/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * pvsched guest/host contract: PCI identity, BAR0 registers, area slots, the
 * intent, state and placement words.
 *
 * This header is the only definition. The guest driver, the QEMU device, the
 * BPF programs, the daemon and the tests include it; docs/specs/pvsched.rst is
 * its text and numbers its requirements (R1, R2, ...).
 *
 * Plain C99 with fixed-width types, little endian. It compiles in the kernel,
 * in QEMU, in BPF and in C++: define PVSCHED_ABI_TYPES before including it
 * where __u8 .. __u64 already exist.
 */
#ifndef PVSCHED_ABI_H
#define PVSCHED_ABI_H

#if !defined(PVSCHED_ABI_TYPES)
#if defined(__KERNEL__) || defined(__linux__)
#include <linux/types.h>
#else
#include <stdint.h>
typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int8_t __s8;
typedef int64_t __s64;
#endif
#endif

#ifdef __cplusplus
#define PVSCHED_ASSERT(cond, text) static_assert(cond, text)
#else
#define PVSCHED_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* The tables below are aligned by hand. */
/* clang-format off */

/* --- PCI identity (R1) --------------------------------------------------- */

#define PVSCHED_PCI_VENDOR 0x1af4
#define PVSCHED_PCI_DEVICE 0x10f5 /* the range kept for experiments */
#define PVSCHED_PCI_CLASS 0x0880  /* system peripheral, other */
#define PVSCHED_PCI_REVISION 0x01

#define PVSCHED_BAR_REGS 0	/* registers, PVSCHED_REGS_SIZE bytes */
#define PVSCHED_BAR_MSIX 1	/* MSI-X table and PBA, one vector */
#define PVSCHED_BAR_AREAS 2	/* guest area, then host area */

#define PVSCHED_REGS_SIZE 0x1000
#define PVSCHED_MAX_SLOTS 512
#define PVSCHED_PAGE_SIZE 4096

/* --- BAR0 registers (R2): 4- and 8-byte naturally aligned accesses -------- */

#define PVSCHED_REG_MAGIC 0x000		/* u32 RO */
#define PVSCHED_REG_VERSION 0x004	/* u32 RO major << 16 | minor */
#define PVSCHED_REG_HOST_FEATURES 0x008 /* u64 RO PVSCHED_F_* */
#define PVSCHED_REG_GUEST_FEATURES 0x010 /* u64 RW until FEATURES_OK */
#define PVSCHED_REG_DRIVER_STATUS 0x018 /* u32 RW PVSCHED_DRIVER_* */
#define PVSCHED_REG_HOST_STATUS 0x01c	/* u32 RO PVSCHED_HOST_* */
#define PVSCHED_REG_GENERATION 0x020	/* u32 RO, + 1 at each host change */
#define PVSCHED_REG_NR_SLOTS 0x024	/* u32 RO */
#define PVSCHED_REG_SLOT_SIZE 0x028	/* u32 RO bytes */
#define PVSCHED_REG_AREA_SIZE 0x02c	/* u32 RO bytes, of each area */
#define PVSCHED_REG_GUEST_AREA 0x030	/* u64 RO offset in BAR2 or from GPA */
#define PVSCHED_REG_HOST_AREA 0x038	/* u64 RO offset in BAR2 or from GPA; with
					 * GPA the guest provides HOST_AREA +
					 * AREA_SIZE bytes of RAM in one piece */
#define PVSCHED_REG_TRANSPORT 0x040	/* u32 RW PVSCHED_TRANSPORT_* */
#define PVSCHED_REG_TRANSPORT_RESULT 0x044 /* u32 RO PVSCHED_RESULT_* */
#define PVSCHED_REG_GPA 0x048		/* u64 RW guest-physical address, never 0 */
#define PVSCHED_REG_POLICY_VERSION 0x050 /* u32 RO, 0: none attached */
#define PVSCHED_REG_POLICY_ACCEPT 0x054 /* u32 RW, the version accepted */
#define PVSCHED_REG_GUEST_ERRORS 0x058	/* u32 RO, saturating */
#define PVSCHED_REG_POLICY_NAME 0x060	/* 32 bytes RO, NUL padded */
#define PVSCHED_REG_DOORBELL 0x080	/* u32 WO, value ignored (ioeventfd) */
#define PVSCHED_REG_SLOT_TABLE 0x400	/* u32[MAX_SLOTS] RO: slot -> CPU id */

#define PVSCHED_MAGIC 0x43535650u /* "PVSC" */
#define PVSCHED_VERSION_MAJOR 1
#define PVSCHED_VERSION_MINOR 0
#define PVSCHED_VERSION \
	((PVSCHED_VERSION_MAJOR << 16) | PVSCHED_VERSION_MINOR)
#define PVSCHED_POLICY_NAME_LEN 32
#define PVSCHED_NO_CPU 0xffffffffu /* slot table: no CPU in this slot */

/* Features (R3): each side sets only bits it knows and the other offered. */
#define PVSCHED_F_BAR (1ull << 0)	/* areas through BAR2 */
#define PVSCHED_F_GPA (1ull << 1)	/* areas over the guest's own pages */
#define PVSCHED_F_DOORBELL (1ull << 2)	/* deboost doorbell */
#define PVSCHED_F_CRITICAL (1ull << 3)	/* critical-section bits */
#define PVSCHED_F_PENDING (1ull << 4)	/* pending task in the intent */
#define PVSCHED_F_IDLE (1ull << 5)	/* idle flag in the intent */
#define PVSCHED_F_HOST_STATE (1ull << 6) /* state word published */
#define PVSCHED_F_PLACEMENT (1ull << 7) /* placement word published */
#define PVSCHED_F_ALL 0xffull

/* Driver status (R4), as virtio does it: bits are only added; 0 resets. */
#define PVSCHED_DRIVER_ACKNOWLEDGE 0x01u
#define PVSCHED_DRIVER_DRIVER 0x02u
#define PVSCHED_DRIVER_OK 0x04u
#define PVSCHED_DRIVER_FEATURES_OK 0x08u
#define PVSCHED_DRIVER_FAILED 0x80u	/* hides the areas until reset */
#define PVSCHED_DRIVER_ALL 0x8fu

/* Host status (R5). */
#define PVSCHED_HOST_AREAS 0x01u	/* areas present */
#define PVSCHED_HOST_POLICY 0x02u	/* policy attached */

/* Transports and their results (R6, R7). */
#define PVSCHED_TRANSPORT_NONE 0u
#define PVSCHED_TRANSPORT_BAR 1u
#define PVSCHED_TRANSPORT_GPA 2u

#define PVSCHED_RESULT_NONE 0u		/* no transport chosen */
#define PVSCHED_RESULT_OK 1u		/* areas are mapped */
#define PVSCHED_RESULT_WAITING 2u	/* accepted; mapped once areas come */
#define PVSCHED_RESULT_NOT_NEGOTIATED 3u /* feature or FEATURES_OK missing */
#define PVSCHED_RESULT_BAD_GPA 4u	/* misaligned, wraps or is not RAM */
#define PVSCHED_RESULT_UNKNOWN 5u	/* no such transport */

/* --- Areas (R8): one 64-byte slot per vCPU, slot = QEMU CPU index --------- */

#define PVSCHED_SLOT_SIZE 64

struct pvsched_guest_slot {
	__u64 intent; /* one store or compare-and-exchange per change */
	__u64 reserved[7];
};

struct pvsched_host_slot {
	__u64 state;	 /* one atomic store per change */
	__u64 placement; /* one atomic store per change */
	__u64 reserved[6];
};

PVSCHED_ASSERT(sizeof(struct pvsched_guest_slot) == PVSCHED_SLOT_SIZE,
	       "guest slot is one cache line");
PVSCHED_ASSERT(sizeof(struct pvsched_host_slot) == PVSCHED_SLOT_SIZE,
	       "host slot is one cache line");

/* Bytes of one area for n slots: whole pages (R8). */
#define PVSCHED_AREA_SIZE(n)                                     \
	((((n) * PVSCHED_SLOT_SIZE) + PVSCHED_PAGE_SIZE - 1) &   \
	 ~(__u64)(PVSCHED_PAGE_SIZE - 1))

/*
 * Intent word (R9), written by the guest:
 *
 *   63      56 55      48 47      40 39      32 31      24 23      16 15  8 7   4 3   0
 *   +---------+----------+----------+----------+----------+----------+-----+-----+-----+
 *   | flags   | critical | irq seq  | pend rt  | pend nice| cur rt   |nice | pend| cur |
 *   +---------+----------+----------+----------+----------+----------+-----+-----+-----+
 *
 * cur, pend: SCHED_* policy number of the current and of the pending task
 * (woken, not yet running). nice: -20..19, two's complement. rt: 1..99 with
 * SCHED_FIFO and SCHED_RR, else 0. irq seq: hard interrupts handled, modulo
 * 256, stepped when the handler ends.
 */
#define PVSCHED_INTENT_CUR_POLICY_SHIFT 0
#define PVSCHED_INTENT_PEND_POLICY_SHIFT 4
#define PVSCHED_INTENT_CUR_NICE_SHIFT 8
#define PVSCHED_INTENT_CUR_RT_SHIFT 16
#define PVSCHED_INTENT_PEND_NICE_SHIFT 24
#define PVSCHED_INTENT_PEND_RT_SHIFT 32
#define PVSCHED_INTENT_IRQ_SEQ_SHIFT 40
#define PVSCHED_INTENT_CRITICAL_SHIFT 48
#define PVSCHED_INTENT_FLAGS_SHIFT 56

#define PVSCHED_CRITICAL_NMI 0x01u
#define PVSCHED_CRITICAL_HARDIRQ 0x02u
#define PVSCHED_CRITICAL_SOFTIRQ 0x04u
#define PVSCHED_CRITICAL_PREEMPT_OFF 0x08u
#define PVSCHED_CRITICAL_ALL 0x0fu

#define PVSCHED_INTENT_IDLE 0x01u    /* nothing to run, about to halt */
#define PVSCHED_INTENT_PENDING 0x02u /* the pending fields are meant */
#define PVSCHED_INTENT_VALID 0x80u   /* the word is meant at all */
#define PVSCHED_INTENT_FLAGS_ALL 0x83u

#define PVSCHED_SCHED_OTHER 0u
#define PVSCHED_SCHED_FIFO 1u
#define PVSCHED_SCHED_RR 2u
#define PVSCHED_SCHED_BATCH 3u
#define PVSCHED_SCHED_IDLE 5u
#define PVSCHED_SCHED_DEADLINE 6u

#define PVSCHED_NICE_MIN (-20)
#define PVSCHED_NICE_MAX 19
#define PVSCHED_RT_MIN 1u
#define PVSCHED_RT_MAX 99u

/*
 * State word (R10), written by the host: class 0..7, policy 8..15, nice 16..23,
 * rt priority 24..31, flags 32..39, zero 40..63. It says what was decided;
 * the guest rings the doorbell when class is not BASELINE and it has no need.
 */
#define PVSCHED_STATE_CLASS_SHIFT 0
#define PVSCHED_STATE_POLICY_SHIFT 8
#define PVSCHED_STATE_NICE_SHIFT 16
#define PVSCHED_STATE_RT_SHIFT 24
#define PVSCHED_STATE_FLAGS_SHIFT 32

#define PVSCHED_CLASS_BASELINE 0u
#define PVSCHED_CLASS_TASK 1u
#define PVSCHED_CLASS_CRITICAL 2u
#define PVSCHED_CLASS_YIELD 3u /* below its baseline, for the sake of others */

#define PVSCHED_STATE_CRITICAL_THROTTLED 0x01u
#define PVSCHED_STATE_TOTAL_THROTTLED 0x02u
#define PVSCHED_STATE_KICK_WANTED 0x04u /* ring the doorbell when done */
#define PVSCHED_STATE_VALID 0x80u

/* Placement word (R11), written by the host: CPU 0..15, node 16..31, flags. */
#define PVSCHED_PLACEMENT_CPU_SHIFT 0
#define PVSCHED_PLACEMENT_NODE_SHIFT 16
#define PVSCHED_PLACEMENT_FLAGS_SHIFT 32

#define PVSCHED_PLACEMENT_RUNNING 0x01u
#define PVSCHED_PLACEMENT_PREEMPTED 0x02u
#define PVSCHED_PLACEMENT_HALTED 0x04u
#define PVSCHED_PLACEMENT_VALID 0x80u

/* clang-format on */

#endif /* PVSCHED_ABI_H */
