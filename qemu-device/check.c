/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin that brings a device depends on QEMU's internal layout. This file
 * says whether the running QEMU is the one that the build saw, and uses
 * nothing whose layout could differ before it knows.
 */
#include "pvsched.h"

#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/pci/pci_bus.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-control.h"

/* Set by meson.build; a test builds a copy with another version or size. */
#if !defined(PVSCHED_QEMU_VERSION) || !defined(PVSCHED_QEMU_PACKAGE)
#error "the build defines the QEMU version and package"
#endif

/* What pvschedctl doctor looks for in the file, without loading it. */
const char pvsched_qemu_mark[] __attribute__((used)) =
    "pvsched-for-qemu=" PVSCHED_QEMU_VERSION " (" PVSCHED_QEMU_PACKAGE ")";
#ifndef PVSCHED_SIZE_SKEW
#define PVSCHED_SIZE_SKEW 0
#endif

/*
 * The binary package adds "+bN" to the source version when it was rebuilt
 * from the same source.
 */
static bool same_package(const char *running)
{
    const char *found = strstr(running, PVSCHED_QEMU_PACKAGE);
    const char *rest = found ? found + strlen(PVSCHED_QEMU_PACKAGE) : NULL;

    return rest &&
           (*rest == '\0' || *rest == ')' || g_str_has_prefix(rest, "+b"));
}

static bool check_version(Error **errp)
{
    g_autoptr(VersionInfo) info = qmp_query_version(NULL);
    g_autofree char *version =
        g_strdup_printf("%" PRId64 ".%" PRId64 ".%" PRId64, info->qemu->major,
                        info->qemu->minor, info->qemu->micro);

    if (g_str_equal(version, PVSCHED_QEMU_VERSION) &&
        same_package(info->package)) {
        return true;
    }
    error_setg(errp,
               "pvsched: built for QEMU %s (%s), this is QEMU %s (%s): "
               "rebuild the plugin for it",
               PVSCHED_QEMU_VERSION, PVSCHED_QEMU_PACKAGE, version,
               info->package);
    return false;
}

static bool check_sizes(Error **errp)
{
    static const struct {
        const char *type;
        size_t size;
    } types[] = {
        { TYPE_OBJECT, sizeof(Object) },
        { TYPE_DEVICE, sizeof(DeviceState) },
        { TYPE_PCI_BUS, sizeof(PCIBus) },
        { TYPE_MEMORY_REGION, sizeof(MemoryRegion) },
        { TYPE_PCI_DEVICE, sizeof(PCIDevice) + PVSCHED_SIZE_SKEW },
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        size_t size = object_class_by_name(types[i].type)
                          ? object_type_get_instance_size(types[i].type)
                          : 0;

        if (size != types[i].size) {
            error_setg(errp,
                       "pvsched: a %s has %zu bytes in this QEMU and %zu "
                       "in the one the plugin was built for",
                       types[i].type, size, types[i].size);
            return false;
        }
    }
    return true;
}

bool pvsched_check_qemu(Error **errp)
{
    return check_version(errp) && check_sizes(errp);
}
