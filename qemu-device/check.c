/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin that brings a device depends on QEMU's internal layout. This file
 * says whether the running QEMU is the one that the build saw, and uses
 * nothing whose layout could differ before it knows.
 */
#include "pvsched.h"

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

bool pvsched_check_version(Error **errp)
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

/*
 * QEMU 10.0 removed object_type_get_instance_size(), so sizes are read from
 * QEMU's private record of a type, which begins with words: the place is that
 * where the record of a type of our own has the size that we gave it.
 */
#define RECORD_WORDS 8

static const size_t *type_record(const char *type)
{
    ObjectClass *klass = object_class_by_name(type);

    return klass ? (const size_t *)klass->type : NULL;
}

static int size_word(void)
{
    const size_t *record = type_record(TYPE_PVSCHED_AREAS);
    int found = -1;

    for (int i = 0; record && i < RECORD_WORDS; i++) {
        if (record[i] == sizeof(PvschedAreas)) {
            found = found < 0 ? i : RECORD_WORDS;
        }
    }
    return found < RECORD_WORDS ? found : -1;
}

bool pvsched_check_layout(Error **errp)
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
    int word = size_word();

    if (word < 0) {
        error_setg(errp, "pvsched: this QEMU does not tell its types' sizes");
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        const size_t *record = type_record(types[i].type);
        size_t size = record ? record[word] : 0;

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
