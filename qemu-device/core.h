/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvsched device logic: registers, driver status protocol, transports, policy
 * acceptance, error counters. No QEMU types, no I/O, no allocation; what must
 * happen in the machine goes through PvschedCoreOps.
 *
 * Everything that arrives through pvsched_core_read(), pvsched_core_write()
 * and pvsched_core_load() is hostile. The caller serialises all calls.
 */
#ifndef PVSCHED_CORE_H
#define PVSCHED_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "pvsched/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a guest can do wrong; each kind has a saturating counter. */
typedef enum PvschedGuestError {
    PVSCHED_ERR_WIDTH,     /* access not 4 or 8 bytes, or not aligned */
    PVSCHED_ERR_UNKNOWN,   /* write where no register is */
    PVSCHED_ERR_READ_ONLY, /* write to a read-only register */
    PVSCHED_ERR_STATUS,    /* driver status protocol broken */
    PVSCHED_ERR_FEATURES,  /* features not offered, or changed too late */
    PVSCHED_ERR_TRANSPORT, /* transport unknown or not negotiated */
    PVSCHED_ERR_GPA,       /* address misaligned, wraps, or is not RAM */
    PVSCHED_ERR_POLICY,    /* acceptance of a version that is not current */
    PVSCHED_ERR_AREA,      /* write to BAR2 where no area is shown */
    PVSCHED_ERR_COUNT
} PvschedGuestError;

typedef enum PvschedShown {
    PVSCHED_SHOWN_NOWHERE,
    PVSCHED_SHOWN_BAR,
    PVSCHED_SHOWN_GPA,
} PvschedShown;

typedef struct PvschedCoreOps {
    /* Show the areas in BAR2, or show zeroes there again. */
    void (*show_bar)(void *opaque, bool show);
    /* Is every byte of [gpa, gpa + size) ordinary, writable RAM now? */
    bool (*is_ram)(void *opaque, uint64_t gpa, uint64_t size);
    /* Lay both areas over guest RAM at gpa; the core has checked the range. */
    void (*overlay)(void *opaque, uint64_t gpa);
    /* Take the overlay away: the guest's own pages are back. */
    void (*withdraw)(void *opaque);
    /* Clear the guest area; called only while areas are present. */
    void (*zero_guest_area)(void *opaque);
    /* Raise the configuration interrupt. */
    void (*notify)(void *opaque);
    /* Architecture CPU id of a slot, or PVSCHED_NO_CPU. */
    uint32_t (*slot_cpu)(void *opaque, unsigned slot);
} PvschedCoreOps;

typedef struct PvschedCore {
    const PvschedCoreOps *ops;
    void *opaque;

    /* fixed at creation */
    uint64_t host_features;
    uint32_t slots;

    /* the driver's; cleared by reset */
    uint64_t guest_features;
    uint64_t gpa;
    uint32_t driver_status;
    uint32_t transport;
    uint32_t result;
    uint32_t policy_accept;
    PvschedShown shown;

    /* the host's */
    bool areas;
    uint32_t generation;
    uint32_t policy_version;
    char policy_name[PVSCHED_POLICY_NAME_LEN];

    /* for the administrator; live as long as the device */
    uint64_t doorbells;
    uint32_t errors[PVSCHED_ERR_COUNT];
} PvschedCore;

#define PVSCHED_SAVED_VERSION 1
#define PVSCHED_SAVED_ERRORS 16 /* room for later kinds */

/* What migrates. Areas and policy belong to the host and do not. */
typedef struct PvschedSaved {
    uint64_t host_features;
    uint64_t guest_features;
    uint64_t gpa;
    uint64_t doorbells;
    uint32_t slots;
    uint32_t driver_status;
    uint32_t transport;
    uint32_t result;
    uint32_t generation;
    uint32_t errors[PVSCHED_SAVED_ERRORS];
} PvschedSaved;

/* slots: 1..PVSCHED_MAX_SLOTS, checked by the caller. */
void pvsched_core_init(PvschedCore *c, const PvschedCoreOps *ops, void *opaque,
                       uint32_t slots, uint64_t host_features);

/* BAR0. Any address, any size; never fails, faults are counted. */
uint64_t pvsched_core_read(PvschedCore *c, uint64_t addr, unsigned size);
void pvsched_core_write(PvschedCore *c, uint64_t addr, uint64_t value,
                        unsigned size);

/*
 * Would this write change which RAM the guest sees at some address? Then the
 * caller may want to stop the vCPUs first. True at times without need.
 */
bool pvsched_core_moves_ram(const PvschedCore *c, uint64_t addr, uint64_t value,
                            unsigned size);

/* Driver reset: the driver wrote status 0, or the machine was reset. */
void pvsched_core_reset(PvschedCore *c);

/*
 * The areas came (true, also when they replaced others) or are about to go
 * (false). Steps the generation unless there is nothing to take away.
 */
void pvsched_core_set_areas(PvschedCore *c, bool present);

/*
 * Attach a policy, or detach with an empty name and version 0. Returns false
 * and changes nothing for a bad name or a version that does not fit it.
 */
bool pvsched_core_set_policy(PvschedCore *c, const char *name,
                             uint32_t version);

void pvsched_core_doorbell(PvschedCore *c, uint64_t rings);
void pvsched_core_error(PvschedCore *c, PvschedGuestError kind);

/* Saturating sum of all kinds: the GUEST_ERRORS register. */
uint32_t pvsched_core_errors(const PvschedCore *c);
uint32_t pvsched_core_host_status(const PvschedCore *c);

/* Bytes of one area, and the distance from the guest to the host area. */
uint64_t pvsched_core_area_size(const PvschedCore *c);
uint64_t pvsched_core_area_stride(const PvschedCore *c);

void pvsched_core_save(const PvschedCore *c, PvschedSaved *saved);
/*
 * Take a saved state over, step the generation and notify. Returns NULL, or
 * a sentence that says what is wrong with it, and then changes nothing.
 */
const char *pvsched_core_load(PvschedCore *c, const PvschedSaved *saved);

const char *pvsched_transport_name(uint32_t transport);
const char *pvsched_result_name(uint32_t result);

#ifdef __cplusplus
}
#endif

#endif /* PVSCHED_CORE_H */
