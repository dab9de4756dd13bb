// SPDX-License-Identifier: GPL-2.0-only
/*
 * The areas: where they are mapped, when they are there, and which CPU writes
 * which slot.
 *
 * Areas come, go and are replaced under the driver (R5, R6, R14). While there
 * are none no hook is registered, so a guest whose host does not take part
 * pays nothing; a store would only be an error for the device to count.
 *
 * pvs_lock serialises everything but the hooks. cpus_read_lock() is taken
 * inside it, never around it, and never around the registration of hooks,
 * which takes it too. The hot-plug callbacks, which run under its write side,
 * take no lock: what they read is written under the read side.
 */
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>

#include "intent.h"
#include "pvsched.h"

static const struct pvs_word transport_words[] = {
	{ "bar", PVSCHED_TRANSPORT_BAR },
	{ "gpa", PVSCHED_TRANSPORT_GPA },
	{},
};

u32 pvs_transport_wanted = PVSCHED_TRANSPORT_BAR;

static int transport_set(const char *val, const struct kernel_param *kp)
{
	u32 bits;
	int ret = pvs_words_parse(val, transport_words, &bits);

	if (ret || !is_power_of_2(bits))
		return -EINVAL;
	pvs_transport_wanted = bits;
	return 0;
}

static int transport_get(char *buf, const struct kernel_param *kp)
{
	return pvs_words_show(buf, transport_words, pvs_transport_wanted);
}

static const struct kernel_param_ops transport_ops = {
	.set = transport_set,
	.get = transport_get,
};
module_param_cb(transport, &transport_ops, NULL, 0444);
MODULE_PARM_DESC(transport, "bar: areas in the device's memory (default); gpa: "
			    "over the guest's own pages");

static DEFINE_PER_CPU(u32, slot_of) = PVSCHED_NO_CPU;

/* Checks the layout (R8) against what holds it. */
static int read_layout(struct pvs_device *pvs)
{
	struct device *dev = &pvs->pdev->dev;
	u32 area_size = pvs_read(pvs, PVSCHED_REG_AREA_SIZE);
	u64 guest = lo_hi_readq(pvs->regs + PVSCHED_REG_GUEST_AREA);
	u64 host = lo_hi_readq(pvs->regs + PVSCHED_REG_HOST_AREA);
	u64 limit =
		2 * roundup_pow_of_two(PVSCHED_AREA_SIZE(PVSCHED_MAX_SLOTS));

	pvs->nr_slots = pvs_read(pvs, PVSCHED_REG_NR_SLOTS);
	if (!pvs->nr_slots || pvs->nr_slots > PVSCHED_MAX_SLOTS ||
	    pvs_read(pvs, PVSCHED_REG_SLOT_SIZE) != PVSCHED_SLOT_SIZE ||
	    area_size != PVSCHED_AREA_SIZE(pvs->nr_slots) ||
	    guest % PVSCHED_PAGE_SIZE || host % PVSCHED_PAGE_SIZE ||
	    host > limit - area_size || guest + area_size > host) {
		dev_err(dev, "the device's layout of slots is not known\n");
		return -EPROTO;
	}
	pvs->guest_area = guest;
	pvs->host_area = host;
	pvs->areas_size = host + area_size;
	return 0;
}

/*
 * BAR2 is RAM, to be mapped write-back (R1). ioremap_cache() and memremap()
 * make that uncached, and do not say so, where the firmware's MTRRs call the
 * PCI window uncached, as they do in every QEMU machine; and what the guest
 * maps uncached stays so with AMD's nested paging. vmap_pfn() takes the type
 * that it is given. It exists if some driver of the kernel's configuration
 * wants it, and wants memory that has no struct page.
 */
static void map_bar(struct pvs_device *pvs)
{
	resource_size_t start =
		pci_resource_start(pvs->pdev, PVSCHED_BAR_AREAS);
#if IS_ENABLED(CONFIG_VMAP_PFN)
	unsigned int i, nr = pvs->areas_size / PAGE_SIZE;
	unsigned long *pfns = kmalloc_array(nr, sizeof(*pfns), GFP_KERNEL);

	for (i = 0; pfns && i < nr; i++)
		pfns[i] = PHYS_PFN(start) + i;
	if (pfns && !pfn_valid(pfns[0]) && !pfn_valid(pfns[nr - 1]))
		pvs->bar_areas =
			vmap_pfn(pfns, nr, pgprot_decrypted(PAGE_KERNEL));
	kfree(pfns);
	pvs->bar_is_vmap = pvs->bar_areas;
	if (pvs->bar_is_vmap)
		return;
#endif
	pvs->bar_areas = memremap(start, pvs->areas_size, MEMREMAP_WB);
}

/* With F_BAR or F_GPA negotiated: memory for the areas (R6, R7). */
int pvs_areas_map(struct pvs_device *pvs)
{
	struct pci_dev *pdev = pvs->pdev;
	int ret = read_layout(pvs);

	if (ret)
		return ret;
	if (pvs->transport == PVSCHED_TRANSPORT_GPA) {
		pvs->pages = alloc_pages_exact(pvs->areas_size,
					       GFP_KERNEL | __GFP_ZERO);
		pvs->areas = pvs->pages;
		if (!pvs->areas)
			dev_err(&pdev->dev,
				"no %zu bytes in one piece for the areas\n",
				pvs->areas_size);
		return pvs->areas ? 0 : -ENOMEM;
	}
	if (pci_resource_len(pdev, PVSCHED_BAR_AREAS) < pvs->areas_size) {
		dev_err(&pdev->dev, "BAR2 is smaller than the areas\n");
		return -EPROTO;
	}
	map_bar(pvs);
	pvs->areas = pvs->bar_areas;
	if (!pvs->areas)
		dev_err(&pdev->dev, "BAR2 cannot be mapped\n");
	return pvs->areas ? 0 : -ENOMEM;
}

/* After the device's reset: until then it may lie over our pages (R7). */
void pvs_areas_unmap(struct pvs_device *pvs)
{
	if (pvs->bar_areas && pvs->bar_is_vmap)
		vunmap(pvs->bar_areas);
	else if (pvs->bar_areas)
		memunmap(pvs->bar_areas);
	if (pvs->pages)
		free_pages_exact(pvs->pages, pvs->areas_size);
	pvs->bar_areas = NULL;
	pvs->pages = NULL;
	pvs->areas = NULL;
}

int pvs_transport_set(struct pvs_device *pvs)
{
	u32 result;

	if (pvs->pages)
		lo_hi_writeq(virt_to_phys(pvs->pages),
			     pvs->regs + PVSCHED_REG_GPA);
	pvs_write(pvs, PVSCHED_REG_TRANSPORT, pvs->transport);
	result = pvs_read(pvs, PVSCHED_REG_TRANSPORT_RESULT);
	if (result == PVSCHED_RESULT_OK || result == PVSCHED_RESULT_WAITING)
		return 0;
	dev_err(&pvs->pdev->dev,
		"the device refuses the transport, result %u\n", result);
	return -EPROTO;
}

static u64 told_fields(const struct pvs_device *pvs)
{
	u32 allow = pvs_allowed();
	u64 mask = PVS_VALID | PVS_CUR_FIELDS | PVS_IRQ_SEQ;

	if (pvs->features & PVSCHED_F_CRITICAL && allow & PVS_ALLOW_CRITICAL)
		mask |= PVS_CRITICAL;
	if (pvs->features & PVSCHED_F_PENDING && allow & PVS_ALLOW_PENDING)
		mask |= PVS_PEND_FIELDS;
	if (pvs->features & PVSCHED_F_IDLE && allow & PVS_ALLOW_IDLE)
		mask |= PVS_IDLE;
	return mask;
}

/* The slot of a CPU by its APIC id; the table is current at each read (R2). */
static bool slot_has(const struct pvs_device *pvs, u32 nr, u32 id)
{
	return pvs_read(pvs, PVSCHED_REG_SLOT_TABLE + 4 * nr) == id;
}

static u32 find_slot(const struct pvs_device *pvs, unsigned int cpu)
{
	u32 id = cpu_physical_id(cpu), i;

	/* Each read is an exit, and both sides mostly number alike. */
	if (cpu < pvs->nr_slots && slot_has(pvs, cpu, id))
		return cpu;
	for (i = 0; i < pvs->nr_slots; i++) {
		if (slot_has(pvs, i, id))
			return i;
	}
	return PVSCHED_NO_CPU;
}

static void set_slot(unsigned int cpu, u32 nr)
{
	per_cpu(slot_of, cpu) = nr;
	pvs_map_slot(cpu, nr);
}

u32 pvs_cpu_slot(unsigned int cpu)
{
	return READ_ONCE(per_cpu(slot_of, cpu));
}

static void bind_this_cpu(void *data)
{
	struct pvs_device *pvs = data;
	u32 nr = this_cpu_read(slot_of);
	u8 *slot = NULL, *host = NULL;
	unsigned long flags;

	if (nr != PVSCHED_NO_CPU) {
		slot = pvs->areas + pvs->guest_area + nr * PVSCHED_SLOT_SIZE;
		host = pvs->areas + pvs->host_area + nr * PVSCHED_SLOT_SIZE;
	}
	if (!(pvs->features & PVSCHED_F_HOST_STATE))
		host = NULL;
	local_irq_save(flags);
	pvs_cpu_bind((u64 *)slot, (const u64 *)host, told_fields(pvs));
	local_irq_restore(flags);
}

static void unbind_this_cpu(void *clear)
{
	unsigned long flags;

	local_irq_save(flags);
	pvs_cpu_unbind(clear);
	local_irq_restore(flags);
}

static void bind_all(struct pvs_device *pvs)
{
	unsigned int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		set_slot(cpu, find_slot(pvs, cpu));
	pvs->bound = true;
	on_each_cpu(bind_this_cpu, pvs, 1);
	cpus_read_unlock();
	pvs_map_show(pvs);
}

/* "clear" says that the areas are still there: take the intents back. */
void pvs_unbind(struct pvs_device *pvs, bool clear)
{
	unsigned int cpu;

	cpus_read_lock();
	if (pvs->bound)
		on_each_cpu(unbind_this_cpu, clear ? pvs : NULL, 1);
	pvs->bound = false;
	for_each_possible_cpu(cpu)
		set_slot(cpu, PVSCHED_NO_CPU);
	cpus_read_unlock();
	pvs_map_hide();
	if (pvs->hooked)
		pvs_hooks_off();
	pvs->hooked = false;
}

/* The filter changed: the current tasks are told anew. */
void pvs_rebind(void)
{
	mutex_lock(&pvs_lock);
	if (pvs_the_device && pvs_the_device->bound)
		bind_all(pvs_the_device);
	mutex_unlock(&pvs_lock);
}

/* A word of a CPU's slot in an area, or 0. */
static u64 slot_word(unsigned int cpu, bool host, size_t offset)
{
	const struct pvs_device *pvs;
	u32 nr = pvs_cpu_slot(cpu);
	u64 word = 0;

	mutex_lock(&pvs_lock);
	pvs = pvs_the_device;
	if (pvs && pvs->bound && nr != PVSCHED_NO_CPU)
		word = READ_ONCE(
			*(u64 *)(pvs->areas + nr * PVSCHED_SLOT_SIZE +
				 (host ? pvs->host_area : pvs->guest_area) +
				 offset));
	mutex_unlock(&pvs_lock);
	return word;
}

u64 pvs_cpu_intent(unsigned int cpu)
{
	return slot_word(cpu, false,
			 offsetof(struct pvsched_guest_slot, intent));
}

u64 pvs_cpu_state(unsigned int cpu)
{
	return slot_word(cpu, true, offsetof(struct pvsched_host_slot, state));
}

u64 pvs_cpu_placement(unsigned int cpu)
{
	return slot_word(cpu, true,
			 offsetof(struct pvsched_host_slot, placement));
}

static void accept_policy(struct pvs_device *pvs)
{
	u32 version = pvs_read(pvs, PVSCHED_REG_POLICY_VERSION), word;
	unsigned int i;

	for (i = 0; i < PVSCHED_POLICY_NAME_LEN; i += sizeof(word)) {
		word = pvs_read(pvs, PVSCHED_REG_POLICY_NAME + i);
		memcpy(pvs->policy + i, &word, sizeof(word));
	}
	pvs->policy_version = version;
	pvs_write(pvs, PVSCHED_REG_POLICY_ACCEPT, version);
}

/* Takes in what the host changed (R5). Called with pvs_lock. */
void pvs_refresh(struct pvs_device *pvs)
{
	struct device *dev = &pvs->pdev->dev;

	do {
		pvs->generation = pvs_read(pvs, PVSCHED_REG_GENERATION);
		pvs->host_status = pvs_read(pvs, PVSCHED_REG_HOST_STATUS);
		pvs->result = pvs_read(pvs, PVSCHED_REG_TRANSPORT_RESULT);
		accept_policy(pvs);
		if (pvs->result != PVSCHED_RESULT_OK) {
			pvs_unbind(pvs, false);
			continue;
		}
		if (!pvs->hooked) {
			pvs_intent_init();
			pvs->hooked = true;
			if (pvs_hooks_on(dev)) {
				pvs_unbind(pvs, false);
				continue;
			}
		}
		bind_all(pvs);
	} while (pvs->generation != pvs_read(pvs, PVSCHED_REG_GENERATION));
}

static int cpu_comes(unsigned int cpu)
{
	struct pvs_device *pvs = READ_ONCE(pvs_the_device);

	if (!pvs || !pvs->bound)
		return 0;
	set_slot(cpu, find_slot(pvs, cpu));
	bind_this_cpu(pvs);
	return 0;
}

static int cpu_goes(unsigned int cpu)
{
	struct pvs_device *pvs = READ_ONCE(pvs_the_device);

	if (pvs && pvs->bound)
		unbind_this_cpu(pvs);
	set_slot(cpu, PVSCHED_NO_CPU);
	return 0;
}

static enum cpuhp_state hotplug_state;

int pvs_area_init(void)
{
	int ret;

	pvs_intent_init();
	ret = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "pvsched:online",
					cpu_comes, cpu_goes);
	hotplug_state = ret;
	return ret < 0 ? ret : 0;
}

void pvs_area_exit(void)
{
	cpuhp_remove_state_nocalls(hotplug_state);
}
