/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU side of the pvsched device: state shared by its files. */
#ifndef PVSCHED_H
#define PVSCHED_H

#include "compat.h"

#include "qemu/event_notifier.h"
#include "qom/object.h"

#include "core.h"

#define TYPE_PVSCHED "pvsched"
OBJECT_DECLARE_SIMPLE_TYPE(PvschedState, PVSCHED)

#define TYPE_PVSCHED_AREAS "pvsched-areas"
OBJECT_DECLARE_SIMPLE_TYPE(PvschedAreas, PVSCHED_AREAS)

/*
 * One pair of mapped areas. An object of its own, because memory views and
 * DMA hold references to a region's owner: the pages stay mapped until the
 * last of them is gone, however often areas are replaced.
 */
struct PvschedAreas {
    Object parent_obj;

    MemoryRegion guest;
    MemoryRegion host;
    void *guest_ptr;
    void *host_ptr;
    uint64_t size;
};

enum { PVSCHED_GUEST, PVSCHED_HOST, PVSCHED_NR_AREAS };

struct PvschedState {
    PCIDevice parent_obj;

    PvschedCore core;
    PvschedSaved saved; /* only while state is saved or loaded */

    uint32_t slots;
    PvschedAreas *areas;
    char *areas_names; /* as set: "GUESTFD:HOSTFD" */

    MemoryRegion regs;                        /* BAR0 */
    MemoryRegion bar;                         /* BAR2 */
    MemoryRegion window[PVSCHED_NR_AREAS];    /* hold the current areas */
    MemoryRegion bar_alias[PVSCHED_NR_AREAS]; /* windows seen in BAR2 */
    MemoryRegion gpa_alias[PVSCHED_NR_AREAS]; /* windows over guest RAM */

    EventNotifier doorbell;
    VMChangeStateEntry *vm_state;
    bool notify_pending; /* interrupt to raise once the VM runs */
    GQueue writes;       /* register writes put off, see vcpus.c */
};

/*
 * Map both descriptors; they stay the caller's. NULL and a sentence in errp
 * when one is too small or cannot be mapped.
 */
PvschedAreas *pvsched_areas_new(int guest_fd, int host_fd, uint64_t size,
                                Error **errp);

/*
 * Put areas in force, replacing others; NULL takes them back. Takes over the
 * caller's reference. May drop the big lock: false, and nothing changed, if the
 * guest ejected the device meanwhile. The caller holds a reference to s.
 */
bool pvsched_install_areas(PvschedState *s, PvschedAreas *areas);

/* A guest's write to BAR0: done now, or before its vCPU's next instruction. */
void pvsched_write_register(PvschedState *s, hwaddr addr, uint64_t value,
                            unsigned size);

/* Do what was put off; no vCPU may run. Or forget it. */
void pvsched_drain_writes(PvschedState *s);
void pvsched_drop_writes(PvschedState *s);

/*
 * Stop the vCPUs while areas that a driver uses change, when that is needed
 * and possible; what it returns goes to the release. May drop the big lock
 * before it returns.
 */
bool pvsched_hold_vcpus(PvschedState *s);
void pvsched_release_vcpus(bool held);

/* Add the doorbell's rings since the last call to the core's. */
void pvsched_count_rings(PvschedState *s);

/* Describe and register every property on the class. */
void pvsched_class_add_properties(ObjectClass *klass);

/* Is the running QEMU the version and package this file was compiled for? */
bool pvsched_check_version(Error **errp);
/* Has it the same layout? TYPE_PVSCHED_AREAS must be registered. */
bool pvsched_check_layout(Error **errp);

extern const TypeInfo pvsched_info;
extern const TypeInfo pvsched_areas_info;
extern const VMStateDescription pvsched_vmstate;

#endif /* PVSCHED_H */
