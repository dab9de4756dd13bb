/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU 7.2 to 11.1: every difference between them that this device meets, and
 * the only place that asks for a version. The other files are written for the
 * newest one. Each entry names the release and the commit that brought it, and
 * may go with the last older QEMU that is supported.
 *
 * It also includes the headers that moved, and osdep.h first of all.
 */
#ifndef PVSCHED_COMPAT_H
#define PVSCHED_COMPAT_H

#include "qemu/osdep.h"

#define PVSCHED_QEMU_SINCE(major, minor) \
    (QEMU_VERSION_MAJOR > (major) ||     \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#if !PVSCHED_QEMU_SINCE(7, 2)
#error "pvsched is for QEMU 7.2 and newer"
#endif

/* 11.0, 1942b61b74df, 78d45220b4e6, d1000ecae295: hw/ to hw/core/ */
#if PVSCHED_QEMU_SINCE(11, 0)
#include "hw/core/boards.h"
#include "hw/core/qdev-properties.h"
#include "hw/core/qdev.h"
#else
#include "hw/boards.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"
#endif

/* 11.0, cab15547f1fe: from include/qemu */
#if PVSCHED_QEMU_SINCE(11, 0)
#include "plugins/qemu-plugin.h"
#else
#include "qemu/qemu-plugin.h"
#endif

/* 10.1, 8be545ba5a31, dfc56946a700: exec/ to system/ */
#if PVSCHED_QEMU_SINCE(10, 1)
#include "system/address-spaces.h"
#include "system/memory.h"
#else
#include "exec/address-spaces.h"
#include "exec/memory.h"
#endif

/* 10.0, 32cad1ffb81d: sysemu/ to system/ */
#if PVSCHED_QEMU_SINCE(10, 0)
#include "system/cpus.h"
#include "system/hostmem.h"
#include "system/kvm.h"
#include "system/runstate.h"
#else
#include "sysemu/cpus.h"
#include "sysemu/hostmem.h"
#include "sysemu/kvm.h"
#include "sysemu/runstate.h"
#endif

/* 10.1, 12d1a768bdfe: class_init() may not change its data */
#if PVSCHED_QEMU_SINCE(10, 1)
typedef const void PvschedClassData;
#else
typedef void PvschedClassData;
#endif

/* 10.0, 5fcabe628b81: a property list is a constant array of known length */
#if PVSCHED_QEMU_SINCE(10, 0)
#define PVSCHED_PROPERTIES(list, ...) \
    static const Property list[] = { __VA_ARGS__ }
#else
#define PVSCHED_PROPERTIES(list, ...) \
    static Property list[] = { __VA_ARGS__, DEFINE_PROP_END_OF_LIST() }
#endif

/* 8.0, edf5ca5dbe80: out of hw/pci/pci.h */
#if PVSCHED_QEMU_SINCE(8, 0)
#include "hw/pci/pci_device.h"
#else
#include "hw/pci/pci.h"
#endif

/* 9.2, 134e0944f473 */
#if !PVSCHED_QEMU_SINCE(9, 2)
static inline void device_class_set_legacy_reset(DeviceClass *dc,
                                                 DeviceReset reset)
{
    dc->reset = reset;
}
#endif

/* 9.0, 195801d700c0 */
#if !PVSCHED_QEMU_SINCE(9, 0)
#include "qemu/main-loop.h"
#define bql_lock qemu_mutex_lock_iothread
#define bql_unlock qemu_mutex_unlock_iothread
#endif

/*
 * 8.0, f39b7d2b96e3: QEMU keeps the vCPUs out of the guest while it changes
 * KVM's memory slots. Before, a change has a moment without the RAM around it.
 */
static inline bool pvsched_slots_tear(void)
{
    return !PVSCHED_QEMU_SINCE(8, 0) && kvm_enabled();
}

#endif /* PVSCHED_COMPAT_H */
