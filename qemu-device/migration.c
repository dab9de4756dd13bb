/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a migration carries: the driver's side. Areas and policy are the
 * host's; the destination's host provides them anew. */
#include "pvsched.h"

#include "hw/pci/msix.h"
#include "migration/vmstate.h"
#include "qemu/error-report.h"

static int pvsched_pre_save(void *opaque)
{
    PvschedState *s = opaque;

    pvsched_count_rings(s);
    pvsched_core_save(&s->core, &s->saved);
    return 0;
}

static int pvsched_post_load(void *opaque, int version_id)
{
    PvschedState *s = opaque;
    const char *wrong;

    pvsched_count_rings(s); /* those are none of the saved state's */
    wrong = pvsched_core_load(&s->core, &s->saved);
    if (wrong) {
        error_report("pvsched: %s", wrong);
        return -EINVAL;
    }
    return 0;
}

/* clang-format off */
static const VMStateDescription vmstate_saved = {
    .name = "pvsched/core",
    .version_id = PVSCHED_SAVED_VERSION,
    .minimum_version_id = PVSCHED_SAVED_VERSION,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64(host_features, PvschedSaved),
        VMSTATE_UINT64(guest_features, PvschedSaved),
        VMSTATE_UINT64(gpa, PvschedSaved),
        VMSTATE_UINT64(doorbells, PvschedSaved),
        VMSTATE_UINT32(slots, PvschedSaved),
        VMSTATE_UINT32(driver_status, PvschedSaved),
        VMSTATE_UINT32(transport, PvschedSaved),
        VMSTATE_UINT32(result, PvschedSaved),
        VMSTATE_UINT32(generation, PvschedSaved),
        VMSTATE_UINT32_ARRAY(errors, PvschedSaved, PVSCHED_SAVED_ERRORS),
        VMSTATE_END_OF_LIST()
    }
};

const VMStateDescription pvsched_vmstate = {
    .name = TYPE_PVSCHED,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pvsched_pre_save,
    .post_load = pvsched_post_load,
    .fields = (VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, PvschedState),
        VMSTATE_MSIX(parent_obj, PvschedState),
        VMSTATE_STRUCT(saved, PvschedState, PVSCHED_SAVED_VERSION,
                       vmstate_saved, PvschedSaved),
        VMSTATE_END_OF_LIST()
    }
};
/* clang-format on */
