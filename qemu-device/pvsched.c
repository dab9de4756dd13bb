/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pvsched PCI device: memory regions, interrupt, doorbell and migration
 * around core.c. The contract is include/pvsched/abi.h.
 */
#include "pvsched.h"

#include "hw/core/cpu.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"

/* Above RAM and everything a machine maps over RAM by itself. */
#define OVERLAY_PRIORITY 1000

#define PCIE_CAP_OFFSET 0xa0

/* --- what the core asks for --- */

static void op_show_bar(void *opaque, bool show)
{
    PvschedState *s = opaque;

    memory_region_transaction_begin();
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        memory_region_set_enabled(&s->bar_alias[i], show);
    }
    memory_region_transaction_commit();
}

/* Machine RAM and DIMMs belong to memory backends; video memory, option ROMs,
 * other devices' BARs and our own areas do not. */
static bool section_is_ram(const MemoryRegionSection *section)
{
    MemoryRegion *mr = section->mr;

    return memory_region_is_ram(mr) && !section->readonly &&
           !memory_region_is_rom(mr) && !memory_region_is_romd(mr) &&
           !memory_region_is_ram_device(mr) && memory_region_owner(mr) &&
           object_dynamic_cast(memory_region_owner(mr), TYPE_MEMORY_BACKEND);
}

static bool op_is_ram(void *opaque, uint64_t gpa, uint64_t size)
{
    while (size) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), gpa, size);
        uint64_t found;
        bool ram;

        if (!section.mr) {
            return false;
        }
        found = int128_get64(section.size);
        ram = section.offset_within_address_space == gpa &&
              section_is_ram(&section);
        memory_region_unref(section.mr);
        if (!ram) {
            return false;
        }
        gpa += found;
        size -= found;
    }
    return true;
}

static void op_overlay(void *opaque, uint64_t gpa)
{
    PvschedState *s = opaque;

    memory_region_transaction_begin();
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        memory_region_add_subregion_overlap(
            get_system_memory(), gpa + i * pvsched_core_area_stride(&s->core),
            &s->gpa_alias[i], OVERLAY_PRIORITY);
    }
    memory_region_transaction_commit();
}

static void op_withdraw(void *opaque)
{
    PvschedState *s = opaque;

    memory_region_transaction_begin();
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        memory_region_del_subregion(get_system_memory(), &s->gpa_alias[i]);
    }
    memory_region_transaction_commit();
}

static void op_zero_guest_area(void *opaque)
{
    PvschedState *s = opaque;

    memset(s->areas->guest_ptr, 0, s->areas->size);
}

static void op_notify(void *opaque)
{
    PvschedState *s = opaque;

    /* On a migration's destination the interrupt controllers may not have
     * their state yet; a running VM has. */
    if (runstate_is_running()) {
        msix_notify(PCI_DEVICE(s), 0);
    } else {
        s->notify_pending = true;
    }
}

static uint32_t op_slot_cpu(void *opaque, unsigned slot)
{
    CPUState *cpu = qemu_get_cpu(slot);

    return cpu ? CPU_GET_CLASS(cpu)->get_arch_id(cpu) : PVSCHED_NO_CPU;
}

static const PvschedCoreOps core_ops = {
    .show_bar = op_show_bar,
    .is_ram = op_is_ram,
    .overlay = op_overlay,
    .withdraw = op_withdraw,
    .zero_guest_area = op_zero_guest_area,
    .notify = op_notify,
    .slot_cpu = op_slot_cpu,
};

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    PvschedState *s = opaque;

    if (!running) {
        pvsched_drain_writes(s);
    } else if (s->notify_pending) {
        s->notify_pending = false;
        msix_notify(PCI_DEVICE(s), 0);
    }
}

/* --- BARs --- */

static uint64_t regs_read(void *opaque, hwaddr addr, unsigned size)
{
    PvschedState *s = opaque;

    return pvsched_core_read(&s->core, addr, size);
}

static void regs_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PvschedState *s = opaque;

    pvsched_write_register(s, addr, value, size);
}

/* Where BAR2 shows no area it reads as zero. */
static uint64_t bar_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void bar_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PvschedState *s = opaque;

    pvsched_core_error(&s->core, PVSCHED_ERR_AREA);
}

/* Every width and alignment reaches the core, which counts the bad ones. */
#define ANY_ACCESS                                                    \
    {                                                                 \
        .min_access_size = 1, .max_access_size = 8, .unaligned = true \
    }

static const MemoryRegionOps regs_ops = {
    .read = regs_read,
    .write = regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = ANY_ACCESS,
    .impl = ANY_ACCESS,
};

static const MemoryRegionOps bar_ops = {
    .read = bar_read,
    .write = bar_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = ANY_ACCESS,
    .impl = ANY_ACCESS,
};

static void init_regions(PvschedState *s)
{
    static const char *const names[PVSCHED_NR_AREAS] = { "guest", "host" };
    uint64_t size = pvsched_core_area_size(&s->core);
    uint64_t stride = pvsched_core_area_stride(&s->core);
    Object *owner = OBJECT(s);

    memory_region_init_io(&s->regs, owner, &regs_ops, s, "pvsched-regs",
                          PVSCHED_REGS_SIZE);
    memory_region_init_io(&s->bar, owner, &bar_ops, s, "pvsched-areas",
                          PVSCHED_NR_AREAS * stride);
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        g_autofree char *window = g_strdup_printf("pvsched-%s", names[i]);
        g_autofree char *bar = g_strdup_printf("pvsched-%s-bar", names[i]);
        g_autofree char *gpa = g_strdup_printf("pvsched-%s-gpa", names[i]);

        memory_region_init(&s->window[i], owner, window, size);
        memory_region_init_alias(&s->bar_alias[i], owner, bar, &s->window[i], 0,
                                 size);
        memory_region_init_alias(&s->gpa_alias[i], owner, gpa, &s->window[i], 0,
                                 size);
        memory_region_set_enabled(&s->bar_alias[i], false);
        memory_region_add_subregion(&s->bar, i * stride, &s->bar_alias[i]);
    }
}

/* A subregion holds a reference to its owner, the device itself here. */
static void fini_regions(PvschedState *s)
{
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        memory_region_del_subregion(&s->bar, &s->bar_alias[i]);
    }
}

/* --- doorbell --- */

/* Nobody waits for the rings: to wake a thread for each would cost the guest's
 * vCPU more than the exit. The eventfd counts them until they are asked for. */
void pvsched_count_rings(PvschedState *s)
{
    uint64_t rings;

    if (!DEVICE(s)->realized) {
        return; /* no eventfd */
    }
    /* Not event_notifier_test_and_clear(), which forgets how many. */
    if (read(event_notifier_get_fd(&s->doorbell), &rings, sizeof(rings)) ==
        sizeof(rings)) {
        pvsched_core_doorbell(&s->core, rings);
    }
}

static bool doorbell_init(PvschedState *s, Error **errp)
{
    int ret = event_notifier_init(&s->doorbell, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "pvsched: no doorbell");
        return false;
    }
    memory_region_add_eventfd(&s->regs, PVSCHED_REG_DOORBELL, 4, false, 0,
                              &s->doorbell);
    return true;
}

static void doorbell_fini(PvschedState *s)
{
    memory_region_del_eventfd(&s->regs, PVSCHED_REG_DOORBELL, 4, false, 0,
                              &s->doorbell);
    event_notifier_cleanup(&s->doorbell);
}

/* --- life --- */

static void pvsched_realize(PCIDevice *pci_dev, Error **errp)
{
    PvschedState *s = PVSCHED(pci_dev);

    if (s->slots == 0) {
        unsigned cpus = MACHINE(qdev_get_machine())->smp.max_cpus;

        s->slots = MIN(cpus, PVSCHED_MAX_SLOTS);
    }
    if (s->slots > PVSCHED_MAX_SLOTS) {
        error_setg(errp, "pvsched: slots=%u is not in 1..%d", s->slots,
                   PVSCHED_MAX_SLOTS);
        return;
    }
    pvsched_core_init(&s->core, &core_ops, s, s->slots, PVSCHED_F_ALL);
    init_regions(s);

    if (msix_init_exclusive_bar(pci_dev, 1, PVSCHED_BAR_MSIX, errp) < 0) {
        fini_regions(s);
        return;
    }
    msix_vector_use(pci_dev, 0);
    if (!doorbell_init(s, errp)) {
        msix_uninit_exclusive_bar(pci_dev);
        fini_regions(s);
        return;
    }
    pci_register_bar(pci_dev, PVSCHED_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->regs);
    pci_register_bar(pci_dev, PVSCHED_BAR_AREAS,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                         PCI_BASE_ADDRESS_MEM_TYPE_64 |
                         PCI_BASE_ADDRESS_MEM_PREFETCH,
                     &s->bar);
    if (pci_bus_is_express(pci_get_bus(pci_dev))) {
        pcie_endpoint_cap_init(pci_dev, PCIE_CAP_OFFSET);
    }
    s->vm_state = qemu_add_vm_change_state_handler(vm_state_changed, s);
}

static void pvsched_exit(PCIDevice *pci_dev)
{
    PvschedState *s = PVSCHED(pci_dev);

    pvsched_drop_writes(s);
    pvsched_core_reset(&s->core);
    pvsched_install_areas(s, NULL);
    g_clear_pointer(&s->areas_names, g_free);
    qemu_del_vm_change_state_handler(s->vm_state);
    doorbell_fini(s);
    msix_uninit_exclusive_bar(pci_dev);
    fini_regions(s);
}

static void pvsched_reset(DeviceState *dev)
{
    PvschedState *s = PVSCHED(dev);

    pvsched_drop_writes(s);
    pvsched_core_reset(&s->core);
    s->notify_pending = false;
}

/* --- type --- */

PVSCHED_PROPERTIES(slot_properties,
                   DEFINE_PROP_UINT32("slots", PvschedState, slots, 0));

static void pvsched_instance_init(Object *obj)
{
    /* As hybrid devices do: room for the extended configuration space. */
    PCI_DEVICE(obj)->cap_present |= QEMU_PCI_CAP_EXPRESS;
    g_queue_init(&PVSCHED(obj)->writes);
}

static void pvsched_class_init(ObjectClass *klass, PvschedClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = pvsched_realize;
    k->exit = pvsched_exit;
    k->vendor_id = PVSCHED_PCI_VENDOR;
    k->device_id = PVSCHED_PCI_DEVICE;
    k->class_id = PVSCHED_PCI_CLASS;
    k->revision = PVSCHED_PCI_REVISION;
    dc->desc = "paravirtual scheduling: guest and host areas for eBPF";
    dc->vmsd = &pvsched_vmstate;
    device_class_set_legacy_reset(dc, pvsched_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, slot_properties);
    pvsched_class_add_properties(klass);
}

const TypeInfo pvsched_info = {
    .name = TYPE_PVSCHED,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(PvschedState),
    .instance_init = pvsched_instance_init,
    .class_init = pvsched_class_init,
    .interfaces = (InterfaceInfo[]){ { INTERFACE_PCIE_DEVICE },
                                     { INTERFACE_CONVENTIONAL_PCI_DEVICE },
                                     {} },
};
