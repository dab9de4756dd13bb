/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What core.c does for the registers that a driver writes. */
#ifndef PVSCHED_CORE_INTERNAL_H
#define PVSCHED_CORE_INTERNAL_H

#include "core.h"

void pvsched_core_write_features(PvschedCore *c, uint64_t value);
void pvsched_core_write_status(PvschedCore *c, uint32_t value);
void pvsched_core_write_transport(PvschedCore *c, uint32_t value);
void pvsched_core_write_policy_accept(PvschedCore *c, uint32_t value);

/* whole: not the first half of two 4-byte writes. */
void pvsched_core_write_gpa(PvschedCore *c, uint64_t value, bool whole);

/* Make what the guest sees follow the registers; count a bad address. */
void pvsched_core_settle(PvschedCore *c);

/* The host changed something: acceptance is void, the driver is told. */
void pvsched_core_step_generation(PvschedCore *c);

#endif /* PVSCHED_CORE_INTERNAL_H */
