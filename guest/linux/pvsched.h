/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pvsched guest driver: what its files share. R1..R17 are the requirements of
 * docs/specs/pvsched.rst; the numbers and names are in pvsched/abi.h.
 *
 *   pci.c     the PCI function: probe, remove, suspend, reset
 *   area.c    transport, areas, generation: which CPU writes where, from when on
 *   hooks.c   tracepoints and NMIs, found at run time
 *   intent.c  the intent word: composed, stored, rung for
 *   filter.c  which needs are told: parameters
 *   sysfs.c   attributes; stats.c  debugfs
 *   mapping.c the host area for programs: /dev/pvsched
 */
#ifndef PVS_PVSCHED_H
#define PVS_PVSCHED_H

#include <linux/cpumask.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/percpu.h>
#include <linux/types.h>

#include "pvsched/abi.h"

/* The one device that is driven. */
struct pvs_device {
	struct pci_dev *pdev;
	void __iomem *regs;
	void *bar_areas;   /* BAR2, write-back, or NULL */
	bool bar_is_vmap;  /* by vmap_pfn(), else by memremap() */
	void *pages;	   /* the guest's own pages, or NULL */
	size_t areas_size; /* bytes that both areas span */
	u8 *areas;	   /* the one of these two that is in use */

	/* Under pvs_lock. */
	bool running;  /* DRIVER_OK was accepted */
	bool hooked;   /* tracepoints are registered */
	u64 features;  /* negotiated, R3 */
	u32 transport; /* PVSCHED_TRANSPORT_* */
	u32 nr_slots;
	u32 guest_area;
	u32 host_area;
	u32 generation;
	u32 host_status;
	u32 result; /* PVSCHED_RESULT_* */
	u32 policy_version;
	char policy[PVSCHED_POLICY_NAME_LEN + 1];

	/* Also under cpus_read_lock(): the hot-plug callbacks read it. */
	bool bound; /* CPUs write to their slots */
};

static inline u32 pvs_read(const struct pvs_device *pvs, unsigned int reg)
{
	return readl(pvs->regs + reg);
}

static inline void pvs_write(struct pvs_device *pvs, unsigned int reg, u32 val)
{
	writel(val, pvs->regs + reg);
}

/* area.c */
extern u32 pvs_transport_wanted;
int pvs_areas_map(struct pvs_device *pvs);
void pvs_areas_unmap(struct pvs_device *pvs);
int pvs_transport_set(struct pvs_device *pvs);
void pvs_refresh(struct pvs_device *pvs);
void pvs_unbind(struct pvs_device *pvs, bool clear);
void pvs_rebind(void);
u32 pvs_cpu_slot(unsigned int cpu);
u64 pvs_cpu_intent(unsigned int cpu);
u64 pvs_cpu_state(unsigned int cpu);
u64 pvs_cpu_placement(unsigned int cpu);
int pvs_area_init(void);
void pvs_area_exit(void);

/* pci.c */
extern struct mutex pvs_lock;
extern struct pvs_device *pvs_the_device; /* changed under pvs_lock */

/* hooks.c */
int pvs_hooks_find(struct device *dev);
int pvs_hooks_on(struct device *dev);
void pvs_hooks_off(void);
ssize_t pvs_hooks_show(char *buf);

/* filter.c */
struct task_struct;

/* Kinds of need, the parameter "allow". */
#define PVS_ALLOW_RT BIT(0)
#define PVS_ALLOW_NICE BIT(1)
#define PVS_ALLOW_CRITICAL BIT(2)
#define PVS_ALLOW_PENDING BIT(3)
#define PVS_ALLOW_IDLE BIT(4)

u32 pvs_allowed(void);
bool pvs_task_is_told(const struct task_struct *p);

/* sysfs.c */
extern const struct attribute_group *pvs_groups[];
int pvs_cpus_add(struct pvs_device *pvs);
void pvs_cpus_remove(void);

/* mapping.c */
void pvs_map_show(const struct pvs_device *pvs);
void pvs_map_hide(void);
void pvs_map_slot(unsigned int cpu, u32 slot);
int pvs_map_init(void);
void pvs_map_exit(void);

/* stats.c */
void pvs_stats_init(void);
void pvs_stats_exit(void);

/* A list of words that stand for bits, as parameters have them. */
struct pvs_word {
	const char *name;
	u32 bits;
};

int pvs_words_parse(const char *val, const struct pvs_word *words, u32 *bits);
int pvs_words_show(char *buf, const struct pvs_word *words, u32 bits);

#endif /* PVS_PVSCHED_H */
