// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver: discovery, negotiation as virtio does it, transport, and the
 * areas, which may come, go and come again. The interrupt handler only notes
 * that something changed; the main loop reads the registers, with the
 * generation before and after, so that what it takes belongs together.
 */
#include "mini.h"

#define OWN_PAGES_SIZE (2 * 32768) /* both areas of PVSCHED_MAX_SLOTS slots */

struct pvsched pvsched;
struct cpu cpus[MAX_CPUS];

static u8 own_pages[OWN_PAGES_SIZE] __attribute__((aligned(4096)));

static u32 wanted_features(void)
{
	u64 wanted = PVSCHED_F_ALL & ~(PVSCHED_F_BAR | PVSCHED_F_GPA);

	wanted |= params.transport == PVSCHED_TRANSPORT_GPA ? PVSCHED_F_GPA :
							      PVSCHED_F_BAR;
	return (u32)wanted & params.features;
}

static void set_status(u32 bit)
{
	reg_write(PVSCHED_REG_DRIVER_STATUS,
		  reg_read(PVSCHED_REG_DRIVER_STATUS) | bit);
}

static bool fail(const char *why)
{
	out("{\"event\":\"error\",\"text\":\"%s\"}\n", why);
	if (pvsched.regs)
		set_status(PVSCHED_DRIVER_FAILED);
	pvsched.regs = 0;
	return false;
}

/* Find the device and make its registers readable. */
bool pvsched_probe(void)
{
	struct pci_device *pci = &pvsched.pci;

	if (!pci_find(PVSCHED_PCI_VENDOR, PVSCHED_PCI_DEVICE, pci))
		return false;
	pvsched.found = true;
	if (!pci_enable(pci))
		return fail("no room for a BAR");
	pvsched.regs = pci->bar[PVSCHED_BAR_REGS];
	if (!pvsched.regs)
		return fail("no register BAR");
	if (reg_read(PVSCHED_REG_MAGIC) != PVSCHED_MAGIC)
		return fail("bad magic");
	if (reg_read(PVSCHED_REG_VERSION) >> 16 != PVSCHED_VERSION_MAJOR)
		return fail("unknown ABI version");
	return true;
}

void pvsched_reset(void)
{
	reg_write(PVSCHED_REG_DRIVER_STATUS, 0);
}

static void set_transport(void)
{
	if (params.transport == PVSCHED_TRANSPORT_GPA) {
		reg_write(PVSCHED_REG_GPA, (u32)own_pages);
		reg_write(PVSCHED_REG_GPA + 4, 0);
		pvsched.areas = (u32)own_pages;
	} else {
		pvsched.areas = pvsched.pci.bar[PVSCHED_BAR_AREAS];
	}
	reg_write(PVSCHED_REG_TRANSPORT, params.transport);
	pvsched.transport = params.transport;
}

bool pvsched_negotiate(void)
{
	u32 features;

	pvsched_reset();
	set_status(PVSCHED_DRIVER_ACKNOWLEDGE);
	set_status(PVSCHED_DRIVER_DRIVER);
	features = reg_read(PVSCHED_REG_HOST_FEATURES) & wanted_features();
	reg_write(PVSCHED_REG_GUEST_FEATURES, features);
	reg_write(PVSCHED_REG_GUEST_FEATURES + 4, 0);
	set_status(PVSCHED_DRIVER_FEATURES_OK);
	if (!(reg_read(PVSCHED_REG_DRIVER_STATUS) & PVSCHED_DRIVER_FEATURES_OK))
		return fail("features refused");
	pvsched.features = features;
	pvsched.nr_slots = reg_read(PVSCHED_REG_NR_SLOTS);
	if (reg_read(PVSCHED_REG_SLOT_SIZE) != PVSCHED_SLOT_SIZE ||
	    pvsched.nr_slots > PVSCHED_MAX_SLOTS)
		return fail("unknown slot layout");
	if (!pci_enable_msix(&pvsched.pci, VECTOR_CONFIG))
		return fail("no MSI-X");
	set_transport();
	if (reg_read(PVSCHED_REG_TRANSPORT_RESULT) > PVSCHED_RESULT_WAITING)
		return fail("transport refused");
	set_status(PVSCHED_DRIVER_OK);
	pvsched.config_pending = true;
	return true;
}

static u32 find_slot(u32 id)
{
	u32 i;

	for (i = 0; i < pvsched.nr_slots; i++) {
		if (reg_read(PVSCHED_REG_SLOT_TABLE + 4 * i) == id)
			return i;
	}
	return PVSCHED_NO_CPU;
}

/* Where this CPU's words are, from now on; and say there how it stands. */
void pvsched_bind_cpu(struct cpu *cpu)
{
	u32 guest, host, nr;

	if (!pvsched.present)
		return;
	nr = find_slot(cpu->apic_id);
	guest = pvsched.areas + reg_read(PVSCHED_REG_GUEST_AREA);
	host = pvsched.areas + reg_read(PVSCHED_REG_HOST_AREA);
	cpu->slot_nr = nr;
	if (nr == PVSCHED_NO_CPU)
		return;
	cpu->host = (void *)(host + nr * PVSCHED_SLOT_SIZE);
	barrier();
	cpu->slot = (void *)(guest + nr * PVSCHED_SLOT_SIZE);
	irq_off();
	intent_publish(cpu);
	irq_on();
}

static void unbind_all(void)
{
	u32 i;

	for (i = 0; i < MAX_CPUS; i++)
		cpus[i].slot = NULL;
}

static void read_policy(void)
{
	u32 i, word, version = reg_read(PVSCHED_REG_POLICY_VERSION);

	for (i = 0; i < PVSCHED_POLICY_NAME_LEN; i += 4) {
		word = reg_read(PVSCHED_REG_POLICY_NAME + i);
		memcpy(pvsched.policy + i, &word, 4);
	}
	for (i = 0; pvsched.policy[i]; i++) {
		if (pvsched.policy[i] < ' ' || pvsched.policy[i] == '"' ||
		    pvsched.policy[i] == '\\' || pvsched.policy[i] > '~')
			pvsched.policy[i] = '?';
	}
	if (version && version != reg_read(PVSCHED_REG_POLICY_ACCEPT))
		reg_write(PVSCHED_REG_POLICY_ACCEPT, version);
	pvsched.policy_version = version;
}

static bool areas_fit(void)
{
	u32 size = reg_read(PVSCHED_REG_AREA_SIZE), room;
	u32 guest = reg_read(PVSCHED_REG_GUEST_AREA);
	u32 host = reg_read(PVSCHED_REG_HOST_AREA);

	room = pvsched.transport == PVSCHED_TRANSPORT_GPA ?
		       OWN_PAGES_SIZE :
		       pvsched.pci.size[PVSCHED_BAR_AREAS];
	return pvsched.areas && size >= pvsched.nr_slots * PVSCHED_SLOT_SIZE &&
	       size <= room && guest <= room - size && host <= room - size;
}

/* Take in what the host changed. */
void pvsched_config(void)
{
	u32 generation, i;
	bool present;

	pvsched.config_pending = false;
	do {
		generation = reg_read(PVSCHED_REG_GENERATION);
		pvsched.host_status = reg_read(PVSCHED_REG_HOST_STATUS);
		pvsched.nr_slots = reg_read(PVSCHED_REG_NR_SLOTS);
		if (pvsched.nr_slots > PVSCHED_MAX_SLOTS)
			pvsched.nr_slots = PVSCHED_MAX_SLOTS;
		read_policy();
		pvsched.result = reg_read(PVSCHED_REG_TRANSPORT_RESULT);
	} while (generation != reg_read(PVSCHED_REG_GENERATION));
	present = pvsched.host_status & PVSCHED_HOST_AREAS &&
		  pvsched.result == PVSCHED_RESULT_OK && areas_fit();
	if (present && !pvsched.present)
		pvsched.came++;
	else if (!present && pvsched.present)
		pvsched.went++;
	pvsched.generation = generation;
	pvsched.present = present;
	if (!present)
		unbind_all();
	for (i = 0; i < MAX_CPUS && present; i++) {
		if (cpus[i].intent)
			pvsched_bind_cpu(&cpus[i]);
	}
	pvsched.report = true;
}

void pvsched_report(void)
{
	pvsched.report = false;
	out("{\"event\":\"areas\",\"present\":%s,\"generation\":%u,"
	    "\"result\":%u,\"slots\":%u,\"slot\":%d,\"policy\":\"%s\","
	    "\"policy_version\":%u,\"host_status\":%u,\"came\":%u,"
	    "\"went\":%u,\"config_irqs\":%u}\n",
	    pvsched.present ? "true" : "false", pvsched.generation,
	    pvsched.result, pvsched.nr_slots,
	    pvsched.present ? (s32)cpus[0].slot_nr : -1, pvsched.policy,
	    pvsched.policy_version, pvsched.host_status, pvsched.came,
	    pvsched.went, pvsched.config_irqs);
}

void config_interrupt(void)
{
	intent_irq_enter(&cpus[0]);
	pvsched.config_irqs++;
	pvsched.config_pending = true;
	apic_eoi();
	intent_irq_exit(&cpus[0]);
}
