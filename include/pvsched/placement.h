/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * Where the host has the guest's CPUs, for programs of the guest: what the
 * driver's /dev/pvsched shows, and a lock that makes use of it. Header only,
 * C99 or C++, Linux, gcc or clang (_GNU_SOURCE for sched_getcpu).
 *
 *	const struct pvsched_map *map = pvsched_map_open();
 *	static struct pvsched_spinlock lock;
 *
 *	pvsched_lock(&lock, map, PVSCHED_SPIN_FOREVER);
 *	...
 *	pvsched_unlock(&lock);
 *
 * All is advice. It is old by the time it is read, and without a map, a device,
 * areas, or a host that tells, every CPU counts as one that runs: the lock is
 * then an ordinary one.
 */
#ifndef PVSCHED_PLACEMENT_H
#define PVSCHED_PLACEMENT_H

#include "pvsched/abi.h"

#define PVSCHED_MAP_DEVICE "/dev/pvsched"
#define PVSCHED_MAP_VERSION 1
#define PVSCHED_MAP_CPUS 1024	   /* of the guest; those beyond have no slot */
#define PVSCHED_MAP_NO_SLOT 0xffff /* offline, or not known to the host */

/*
 * The mapping of the device: this page, which the driver keeps current, then
 * the host area (abi.h, R8), slot by slot. Read-only. While there are no areas
 * the slots read as zero. No load of a word ever faults; wider loads than that
 * may, in the moment in which the host takes the areas away.
 */
struct pvsched_map {
	__u32 magic;   /* PVSCHED_MAGIC */
	__u32 version; /* PVSCHED_MAP_VERSION */
	__u32 slots;   /* where the host area begins, bytes from here */
	__u32 size;    /* of the whole mapping, bytes */
	__u16 slot[PVSCHED_MAP_CPUS]; /* of each CPU of the guest */
};

#define PVSCHED_MAP_SIZE \
	(PVSCHED_PAGE_SIZE + PVSCHED_AREA_SIZE(PVSCHED_MAX_SLOTS))

PVSCHED_ASSERT(sizeof(struct pvsched_map) <= PVSCHED_PAGE_SIZE,
	       "the slots begin at a page");

#ifndef __KERNEL__

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The map, for the life of the process; NULL with errno: no device, no right to
 * it, or (EPROTO) a driver of another version. */
static inline const struct pvsched_map *pvsched_map_open(void)
{
	int fd = open(PVSCHED_MAP_DEVICE, O_RDONLY | O_CLOEXEC);
	const struct pvsched_map *map;
	void *at;

	if (fd < 0)
		return NULL;
	at = mmap(NULL, PVSCHED_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return NULL;
	map = (const struct pvsched_map *)at;
	if (map->magic == PVSCHED_MAGIC && map->version == PVSCHED_MAP_VERSION)
		return map;
	munmap(at, PVSCHED_MAP_SIZE);
	errno = EPROTO;
	return NULL;
}

/* The placement word (R11) of a CPU of the guest; 0 where the host does not
 * tell. `map` may be NULL, `cpu` may be any number. */
static inline uint64_t pvsched_placement(const struct pvsched_map *map,
					 unsigned int cpu)
{
	const struct pvsched_host_slot *slots;
	unsigned int slot;

	if (!map || cpu >= PVSCHED_MAP_CPUS)
		return 0;
	slot = __atomic_load_n(&map->slot[cpu], __ATOMIC_RELAXED);
	if (slot >= PVSCHED_MAX_SLOTS)
		return 0;
	slots = (const struct pvsched_host_slot *)((const char *)map +
						   PVSCHED_PAGE_SIZE);
	return __atomic_load_n(&slots[slot].placement, __ATOMIC_RELAXED);
}

/* Whether nothing that is on this CPU of the guest gets on: the host has taken
 * it off its own CPU, or it sleeps. 0 where the host does not tell. */
static inline int pvsched_cpu_is_off(const struct pvsched_map *map,
				     unsigned int cpu)
{
	uint64_t flags = pvsched_placement(map, cpu) >>
			 PVSCHED_PLACEMENT_FLAGS_SHIFT;

	return (flags & (PVSCHED_PLACEMENT_VALID |
			 PVSCHED_PLACEMENT_RUNNING)) == PVSCHED_PLACEMENT_VALID;
}

/*
 * A lock between threads of one process: who finds it taken spins while the
 * holder's CPU runs and sleeps while it does not, as the kernel's own locks do
 * in a guest. So no time slice is spun away that the holder needs. Zero is an
 * unlocked one. Not recursive, not fair.
 */
struct pvsched_spinlock {
	uint32_t word; /* 0, or the holder's CPU + 1 and PVSCHED_LOCK_SLEEPERS */
};

#define PVSCHED_LOCK_SLEEPERS 0x80000000u
#define PVSCHED_SPIN_FOREVER 0xffffffffu

static inline int pvsched_trylock_as(struct pvsched_spinlock *lock,
				     uint32_t word)
{
	uint32_t unlocked = 0;

	return __atomic_compare_exchange_n(&lock->word, &unlocked, word, 0,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void pvsched_lock_sleep(struct pvsched_spinlock *lock,
				      uint32_t word)
{
	uint32_t marked = word | PVSCHED_LOCK_SLEEPERS;

	if (word != marked &&
	    !__atomic_compare_exchange_n(&lock->word, &word, marked, 0,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, marked, NULL, NULL,
		0);
}

/*
 * Takes the lock. `spins` is how many turns it waits for a holder whose CPU
 * runs before it sleeps all the same: the holder may itself have lost that CPU
 * to another thread of the guest. PVSCHED_SPIN_FOREVER where each thread has a
 * CPU of its own.
 */
static inline void pvsched_lock(struct pvsched_spinlock *lock,
				const struct pvsched_map *map, uint32_t spins)
{
	int cpu = sched_getcpu();
	uint32_t mine = cpu < 0 ? 0x7fffffff : (uint32_t)cpu + 1;
	uint32_t word, spun = 0;

	while (!pvsched_trylock_as(lock, mine)) {
		word = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
		if (!word)
			continue;
		if ((spins == PVSCHED_SPIN_FOREVER || spun++ < spins) &&
		    !pvsched_cpu_is_off(map,
					(word & ~PVSCHED_LOCK_SLEEPERS) - 1)) {
#if defined(__x86_64__) || defined(__i386__)
			__builtin_ia32_pause();
#endif
			continue;
		}
		pvsched_lock_sleep(lock, word);
		mine |= PVSCHED_LOCK_SLEEPERS; /* others may sleep, too */
		spun = 0;
	}
}

static inline void pvsched_unlock(struct pvsched_spinlock *lock)
{
	uint32_t word = __atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE);

	if (word & PVSCHED_LOCK_SLEEPERS)
		syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL,
			NULL, 0);
}

#endif /* __KERNEL__ */
#endif /* PVSCHED_PLACEMENT_H */
