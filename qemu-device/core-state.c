/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What migrates, and the names of states. A saved state is as hostile as a
 * guest: it is checked whole before any of it is used. */
#include "core-internal.h"

#include <string.h>

_Static_assert(PVSCHED_ERR_COUNT <= PVSCHED_SAVED_ERRORS,
               "the saved state has room for every error kind");

void pvsched_core_save(const PvschedCore *c, PvschedSaved *saved)
{
    memset(saved, 0, sizeof(*saved));
    saved->host_features = c->host_features;
    saved->guest_features = c->guest_features;
    saved->gpa = c->gpa;
    saved->doorbells = c->doorbells;
    saved->slots = c->slots;
    saved->driver_status = c->driver_status;
    saved->transport = c->transport;
    saved->result = c->result;
    saved->generation = c->generation;
    memcpy(saved->errors, c->errors, sizeof(c->errors));
}

static bool status_consistent(const PvschedSaved *saved)
{
    uint32_t status = saved->driver_status;
    bool features_ok = status & PVSCHED_DRIVER_FEATURES_OK;

    if (status & ~PVSCHED_DRIVER_ALL) {
        return false;
    }
    if (features_ok && (!(status & PVSCHED_DRIVER_ACKNOWLEDGE) ||
                        !(status & PVSCHED_DRIVER_DRIVER))) {
        return false;
    }
    return features_ok || !(status & PVSCHED_DRIVER_OK);
}

static bool transport_consistent(const PvschedSaved *saved)
{
    uint64_t feature;

    switch (saved->transport) {
    case PVSCHED_TRANSPORT_NONE:
        return saved->result == PVSCHED_RESULT_NONE ||
               saved->result == PVSCHED_RESULT_NOT_NEGOTIATED ||
               saved->result == PVSCHED_RESULT_UNKNOWN;
    case PVSCHED_TRANSPORT_BAR:
        feature = PVSCHED_F_BAR;
        break;
    case PVSCHED_TRANSPORT_GPA:
        feature = PVSCHED_F_GPA;
        break;
    default:
        return false;
    }
    return (saved->driver_status & PVSCHED_DRIVER_FEATURES_OK) &&
           !(saved->driver_status & PVSCHED_DRIVER_FAILED) &&
           (saved->guest_features & feature) &&
           (saved->result == PVSCHED_RESULT_OK ||
            saved->result == PVSCHED_RESULT_WAITING ||
            saved->result == PVSCHED_RESULT_BAD_GPA);
}

const char *pvsched_core_load(PvschedCore *c, const PvschedSaved *saved)
{
    if (saved->slots != c->slots) {
        return "the number of slots differs between source and destination";
    }
    if (saved->host_features & ~c->host_features) {
        return "the source offered features that the destination lacks";
    }
    if ((saved->driver_status & PVSCHED_DRIVER_FEATURES_OK) &&
        (saved->guest_features & ~saved->host_features)) {
        return "the saved driver uses features that were not offered";
    }
    if (!status_consistent(saved)) {
        return "the saved driver status is not one that a driver can reach";
    }
    if (!transport_consistent(saved)) {
        return "the saved transport does not fit the saved driver status";
    }

    c->host_features = saved->host_features;
    c->guest_features = saved->guest_features;
    c->gpa = saved->gpa;
    c->doorbells = saved->doorbells;
    c->driver_status = saved->driver_status;
    c->transport = saved->transport;
    c->result = saved->result;
    c->generation = saved->generation;
    memcpy(c->errors, saved->errors, sizeof(c->errors));
    pvsched_core_settle(c);
    pvsched_core_step_generation(c);
    return NULL;
}

const char *pvsched_transport_name(uint32_t transport)
{
    static const char *const names[] = {
        [PVSCHED_TRANSPORT_NONE] = "none",
        [PVSCHED_TRANSPORT_BAR] = "bar",
        [PVSCHED_TRANSPORT_GPA] = "gpa",
    };

    return transport < sizeof(names) / sizeof(names[0]) ? names[transport]
                                                        : "unknown";
}

const char *pvsched_result_name(uint32_t result)
{
    static const char *const names[] = {
        [PVSCHED_RESULT_NONE] = "none",
        [PVSCHED_RESULT_OK] = "ok",
        [PVSCHED_RESULT_WAITING] = "waiting",
        [PVSCHED_RESULT_NOT_NEGOTIATED] = "not-negotiated",
        [PVSCHED_RESULT_BAD_GPA] = "bad-gpa",
        [PVSCHED_RESULT_UNKNOWN] = "unknown-transport",
    };

    return result < sizeof(names) / sizeof(names[0]) ? names[result]
                                                     : "unknown";
}
