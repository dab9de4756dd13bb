/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What drifted between the kernels that this driver serves, in one place, with
 * the release that changed it and when the shim can go. Built on 6.1, 6.12 and
 * 7.3; nothing else in the driver asks for a version.
 */
#ifndef PVS_COMPAT_H
#define PVS_COMPAT_H

#include <linux/version.h>

/*
 * sched_switch told prev_state as its last argument from 5.18 (May 2022) on
 * (between 5.18-rc1 and -rc4 as its second). Can go with support for 5.15 LTS.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#define PVS_SCHED_SWITCH_ARGS                               \
	void *data, bool preempt, struct task_struct *prev, \
		struct task_struct *next, unsigned int prev_state
#else
#define PVS_SCHED_SWITCH_ARGS                               \
	void *data, bool preempt, struct task_struct *prev, \
		struct task_struct *next
#endif

/*
 * vm_flags are changed by functions from 6.3 (April 2023) on. Can go with
 * support for 6.1 LTS.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define vm_flags_mod(vma, set, clear) \
	((vma)->vm_flags = ((vma)->vm_flags | (set)) & ~(clear))
#endif

#endif /* PVS_COMPAT_H */
