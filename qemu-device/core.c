/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvsched device logic: driver status, transports, the host's changes; see
 * core.h. R numbers are those of docs/specs/pvsched.rst.
 */
#include "core-internal.h"

#include <string.h>

void pvsched_core_init(PvschedCore *c, const PvschedCoreOps *ops, void *opaque,
                       uint32_t slots, uint64_t host_features)
{
    memset(c, 0, sizeof(*c));
    c->ops = ops;
    c->opaque = opaque;
    c->slots = slots;
    c->host_features = host_features & PVSCHED_F_ALL;
    c->transport = PVSCHED_TRANSPORT_NONE;
    c->result = PVSCHED_RESULT_NONE;
}

uint64_t pvsched_core_area_size(const PvschedCore *c)
{
    return PVSCHED_AREA_SIZE((uint64_t)c->slots);
}

uint64_t pvsched_core_area_stride(const PvschedCore *c)
{
    uint64_t stride = PVSCHED_PAGE_SIZE;

    while (stride < pvsched_core_area_size(c)) {
        stride *= 2;
    }
    return stride;
}

void pvsched_core_error(PvschedCore *c, PvschedGuestError kind)
{
    if (c->errors[kind] != UINT32_MAX) {
        c->errors[kind]++;
    }
}

uint32_t pvsched_core_errors(const PvschedCore *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < PVSCHED_ERR_COUNT; i++) {
        sum += c->errors[i];
    }
    return sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

uint32_t pvsched_core_host_status(const PvschedCore *c)
{
    return (c->areas ? PVSCHED_HOST_AREAS : 0) |
           (c->policy_version ? PVSCHED_HOST_POLICY : 0);
}

void pvsched_core_doorbell(PvschedCore *c, uint64_t rings)
{
    c->doorbells += rings;
}

/* --- transports (R6, R7) --- */

static void hide(PvschedCore *c)
{
    switch (c->shown) {
    case PVSCHED_SHOWN_NOWHERE:
        break;
    case PVSCHED_SHOWN_BAR:
        c->ops->show_bar(c->opaque, false);
        break;
    case PVSCHED_SHOWN_GPA:
        c->ops->withdraw(c->opaque);
        break;
    }
    c->shown = PVSCHED_SHOWN_NOWHERE;
}

/*
 * Zero is what the register holds before the driver wrote an address, so it
 * is not one. The gap that the stride may leave between the areas counts as
 * part of the range: the rules then need no second address.
 */
static bool gpa_usable(PvschedCore *c)
{
    uint64_t size = pvsched_core_area_stride(c) + pvsched_core_area_size(c);

    return c->gpa != 0 && c->gpa % PVSCHED_PAGE_SIZE == 0 &&
           c->gpa <= UINT64_MAX - (size - 1) &&
           c->ops->is_ram(c->opaque, c->gpa, size);
}

/* Make what the guest sees follow the chosen transport. Returns false for an
 * address that cannot be used. */
static bool settle(PvschedCore *c)
{
    hide(c);
    switch (c->transport) {
    case PVSCHED_TRANSPORT_BAR:
        if (c->areas) {
            c->ops->show_bar(c->opaque, true);
            c->shown = PVSCHED_SHOWN_BAR;
        }
        break;
    case PVSCHED_TRANSPORT_GPA:
        /* Checked with the overlay gone: it must not vouch for itself. */
        if (!gpa_usable(c)) {
            c->result = PVSCHED_RESULT_BAD_GPA;
            return false;
        }
        if (c->areas) {
            c->ops->overlay(c->opaque, c->gpa);
            c->shown = PVSCHED_SHOWN_GPA;
        }
        break;
    default: /* no transport: the result says why and stays */
        return true;
    }
    c->result = c->areas ? PVSCHED_RESULT_OK : PVSCHED_RESULT_WAITING;
    return true;
}

void pvsched_core_settle(PvschedCore *c)
{
    if (!settle(c)) {
        pvsched_core_error(c, PVSCHED_ERR_GPA);
    }
}

static void no_transport(PvschedCore *c, uint32_t result)
{
    hide(c);
    c->transport = PVSCHED_TRANSPORT_NONE;
    c->result = result;
}

static bool may_choose(const PvschedCore *c, uint64_t feature)
{
    return (c->driver_status & PVSCHED_DRIVER_FEATURES_OK) &&
           !(c->driver_status & PVSCHED_DRIVER_FAILED) &&
           (c->guest_features & feature);
}

void pvsched_core_write_transport(PvschedCore *c, uint32_t value)
{
    uint64_t feature;

    switch (value) {
    case PVSCHED_TRANSPORT_NONE:
        no_transport(c, PVSCHED_RESULT_NONE);
        return;
    case PVSCHED_TRANSPORT_BAR:
        feature = PVSCHED_F_BAR;
        break;
    case PVSCHED_TRANSPORT_GPA:
        feature = PVSCHED_F_GPA;
        break;
    default:
        no_transport(c, PVSCHED_RESULT_UNKNOWN);
        pvsched_core_error(c, PVSCHED_ERR_TRANSPORT);
        return;
    }
    if (!may_choose(c, feature)) {
        no_transport(c, PVSCHED_RESULT_NOT_NEGOTIATED);
        pvsched_core_error(c, PVSCHED_ERR_TRANSPORT);
        return;
    }
    c->transport = value;
    pvsched_core_settle(c);
}

void pvsched_core_write_gpa(PvschedCore *c, uint64_t value, bool whole)
{
    c->gpa = value;
    /* A new address under a chosen transport moves the areas. */
    if (whole && c->transport == PVSCHED_TRANSPORT_GPA) {
        pvsched_core_settle(c);
    }
}

/* --- driver status (R4) --- */

void pvsched_core_reset(PvschedCore *c)
{
    no_transport(c, PVSCHED_RESULT_NONE);
    if (c->areas) {
        c->ops->zero_guest_area(c->opaque);
    }
    c->driver_status = 0;
    c->guest_features = 0;
    c->gpa = 0;
    c->policy_accept = 0;
}

void pvsched_core_write_status(PvschedCore *c, uint32_t value)
{
    const uint32_t begun = PVSCHED_DRIVER_ACKNOWLEDGE | PVSCHED_DRIVER_DRIVER;
    uint32_t status = c->driver_status;
    uint32_t added = value & ~status;

    if (value == 0) {
        pvsched_core_reset(c);
        return;
    }
    /* Bits are only added, and only known ones. */
    if ((status & ~value) || (value & ~PVSCHED_DRIVER_ALL)) {
        pvsched_core_error(c, PVSCHED_ERR_STATUS);
        return;
    }
    status |= added & (begun | PVSCHED_DRIVER_FAILED);
    if (added & PVSCHED_DRIVER_FEATURES_OK) {
        if ((status & begun) != begun || (status & PVSCHED_DRIVER_FAILED)) {
            pvsched_core_error(c, PVSCHED_ERR_STATUS);
        } else if (c->guest_features & ~c->host_features) {
            pvsched_core_error(c, PVSCHED_ERR_FEATURES);
        } else {
            status |= PVSCHED_DRIVER_FEATURES_OK;
        }
    }
    if (added & PVSCHED_DRIVER_OK) {
        if (!(status & PVSCHED_DRIVER_FEATURES_OK) ||
            (status & PVSCHED_DRIVER_FAILED)) {
            pvsched_core_error(c, PVSCHED_ERR_STATUS);
        } else {
            status |= PVSCHED_DRIVER_OK;
        }
    }
    c->driver_status = status;
    /* A driver that gave up may free its pages next. */
    if (added & PVSCHED_DRIVER_FAILED) {
        no_transport(c, PVSCHED_RESULT_NONE);
    }
}

void pvsched_core_write_features(PvschedCore *c, uint64_t value)
{
    if (c->driver_status & PVSCHED_DRIVER_FEATURES_OK) {
        pvsched_core_error(c, PVSCHED_ERR_FEATURES);
        return;
    }
    c->guest_features = value;
}

/* --- the host's changes (R5) --- */

void pvsched_core_step_generation(PvschedCore *c)
{
    c->generation++;
    c->policy_accept = 0;
    if ((c->driver_status & PVSCHED_DRIVER_OK) &&
        !(c->driver_status & PVSCHED_DRIVER_FAILED)) {
        c->ops->notify(c->opaque);
    }
}

void pvsched_core_set_areas(PvschedCore *c, bool present)
{
    bool had = c->areas;

    if (!present && !had) {
        return;
    }
    c->areas = present;
    if (present && had) {
        /* Replaced in place; the mapping, and the check behind it, stay. */
    } else if (present || c->result == PVSCHED_RESULT_OK) {
        pvsched_core_settle(c);
    }
    pvsched_core_step_generation(c);
}

static bool name_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' || ch == '.';
}

bool pvsched_core_set_policy(PvschedCore *c, const char *name, uint32_t version)
{
    char padded[PVSCHED_POLICY_NAME_LEN] = { 0 };
    size_t len = strlen(name);

    if (len >= sizeof(padded) || (len == 0) != (version == 0)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!name_char(name[i])) {
            return false;
        }
        padded[i] = name[i];
    }
    if (version == c->policy_version &&
        memcmp(padded, c->policy_name, sizeof(padded)) == 0) {
        return true;
    }
    memcpy(c->policy_name, padded, sizeof(padded));
    c->policy_version = version;
    pvsched_core_step_generation(c);
    return true;
}

void pvsched_core_write_policy_accept(PvschedCore *c, uint32_t value)
{
    if (value != c->policy_version) {
        c->policy_accept = 0;
        if (value != 0) { /* zero takes an acceptance back */
            pvsched_core_error(c, PVSCHED_ERR_POLICY);
        }
        return;
    }
    c->policy_accept = value;
}
