/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry of `-plugin pvsched.so`: check the running QEMU, register the types. */
#include "pvsched.h"

#include "qapi/error.h"
#include "qemu/error-report.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info, int argc,
                                           char **argv)
{
    Error *err = NULL;

    if (argc > 0) {
        error_report("pvsched: unknown plugin option '%s'", argv[0]);
        return -1;
    }
    if (!pvsched_check_version(&err)) {
        error_report_err(err);
        return -1;
    }
    if (object_class_by_name(TYPE_PVSCHED)) {
        error_report("pvsched: the plugin is given twice");
        return -1;
    }
    type_register_static(&pvsched_areas_info);
    if (!pvsched_check_layout(&err)) {
        error_report_err(err);
        return -1;
    }
    type_register_static(&pvsched_info);
    return 0;
}
