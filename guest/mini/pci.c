// SPDX-License-Identifier: GPL-2.0-or-later
/* Configuration space by ports 0xcf8/0xcfc, BARs, MSI-X. */
#include "mini.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define PCI_ID 0x00
#define PCI_COMMAND 0x04
#define PCI_HEADER 0x0c
#define PCI_BAR0 0x10
#define PCI_BUSES 0x18
#define PCI_WINDOW 0x20 /* memory base and limit of a bridge */
#define PCI_PREFETCH_WINDOW 0x24
#define PCI_CAPABILITIES 0x34
#define COMMAND_MEMORY 0x2
#define COMMAND_MASTER 0x4
#define STATUS_CAPABILITIES (1u << 20)
#define CAP_MSIX 0x11
#define MSIX_ENABLE (1u << 31)
#define MSIX_MASK_ALL (1u << 30)
#define BAR_IO 0x1
#define BAR_TYPE 0x6
#define BAR_64 0x4
#define HOLE_START 0xc0000000u /* memory hole below 4 GiB on pc and q35 */
#define HOLE_END 0xfd000000u

/* Where a BAR that firmware left out may go. */
static u32 window_start, window_end;

static u32 config_read(u32 address, u32 reg)
{
	outl(CONFIG_ADDRESS, address + reg);
	return inl(CONFIG_DATA);
}

static void config_write(u32 address, u32 reg, u32 val)
{
	outl(CONFIG_ADDRESS, address + reg);
	outl(CONFIG_DATA, val);
}

/* The lowest assigned memory BAR of bus 0: SeaBIOS assigns from above. */
static u32 lowest_bar(u32 address, u32 lowest)
{
	u32 header = (config_read(address, PCI_HEADER) >> 16) & 0x7f;
	u32 i, n = header == 0 ? 6 : 0;

	if (header == 1) {
		u32 reg;

		for (reg = PCI_WINDOW; reg <= PCI_PREFETCH_WINDOW; reg += 4) {
			u32 window = config_read(address, reg);
			u32 base = (window & 0xfff0) << 16;

			if (base >= HOLE_START && base < lowest &&
			    (window & 0xfff00000) >= base)
				lowest = base;
		}
	}
	for (i = 0; i < n; i++) {
		u32 bar = config_read(address, PCI_BAR0 + 4 * i), high = 0;

		if (bar & BAR_IO)
			continue;
		if ((bar & BAR_TYPE) == BAR_64)
			high = config_read(address, PCI_BAR0 + 4 * ++i);
		if (!high && (bar & ~0xfu) >= HOLE_START &&
		    (bar & ~0xfu) < lowest)
			lowest = bar & ~0xfu;
	}
	return lowest;
}

static u32 bus_address(u32 bus, u32 slot, u32 function)
{
	return 0x80000000u | bus << 16 | slot << 11 | function << 8;
}

static u32 find_on_bus(u32 bus, u32 id)
{
	u32 slot, function, lowest = HOLE_END, found = 0;

	for (slot = 0; slot < 32; slot++) {
		for (function = 0; function < 8; function++) {
			u32 address = bus_address(bus, slot, function);
			u32 here = config_read(address, PCI_ID), header;

			if (here == 0xffffffff) {
				if (!function)
					break;
				continue;
			}
			if (here == id && !found)
				found = address;
			if (!bus)
				lowest = lowest_bar(address, lowest);
			header = config_read(address, PCI_HEADER) >> 16;
			if ((header & 0x7f) == 1 && !found) {
				u32 buses = config_read(address, PCI_BUSES);
				u32 next = (buses >> 8) & 0xff;
				u32 inner = next > bus ? find_on_bus(next, id) :
							 0;
				u32 w = config_read(address, PCI_WINDOW);

				if (inner) {
					window_start = (w & 0xfff0) << 16;
					window_end = w | 0xfffff;
					return inner;
				}
			}
			if (!function && !(header & 0x80))
				break;
		}
	}
	if (!bus) {
		window_start = HOLE_START;
		window_end = lowest;
	}
	return found;
}

bool pci_find(u16 vendor, u16 device, struct pci_device *dev)
{
	memset(dev, 0, sizeof(*dev));
	dev->address = find_on_bus(0, vendor | (u32)device << 16);
	return dev->address;
}

/* A free place in the window, below what the device has there already. */
static u32 place(const struct pci_device *dev, u32 size)
{
	u32 base = (window_end - size) & ~(size - 1), i;

	for (i = 0; i < 6; i++) {
		u32 bar = dev->bar[i];

		if (bar && base < bar + dev->size[i] && bar < base + size) {
			if (bar < size)
				return 0;
			base = (bar - size) & ~(size - 1);
			i = -1u; /* compare with all of them again */
		}
	}
	return window_end > size && base >= window_start ? base : 0;
}

static void size_bars(struct pci_device *dev, bool *wide)
{
	u32 i;

	for (i = 0; i < 6; i++) {
		u32 reg = PCI_BAR0 + 4 * i, n = i, high = 0, size;
		u32 bar = config_read(dev->address, reg);

		config_write(dev->address, reg, ~0u);
		size = ~(config_read(dev->address, reg) & ~0xfu) + 1;
		config_write(dev->address, reg, bar);
		if (bar & BAR_IO || !size)
			continue;
		wide[n] = (bar & BAR_TYPE) == BAR_64;
		if (wide[n])
			high = config_read(dev->address, PCI_BAR0 + 4 * ++i);
		dev->size[n] = size;
		dev->bar[n] = high ? 0 : bar & ~0xfu;
	}
}

/* Give the BARs that need it an address below 4 GiB, and enable them. */
bool pci_enable(struct pci_device *dev)
{
	u32 command = config_read(dev->address, PCI_COMMAND) & 0xffff, i;
	bool wide[6] = { false };

	config_write(dev->address, PCI_COMMAND, command & ~COMMAND_MEMORY);
	size_bars(dev, wide);
	for (i = 0; i < 6; i++) {
		u32 reg = PCI_BAR0 + 4 * i;

		if (!dev->size[i] || dev->bar[i])
			continue;
		dev->bar[i] = place(dev, dev->size[i]);
		if (!dev->bar[i])
			return false;
		config_write(dev->address, reg, dev->bar[i]);
		if (wide[i])
			config_write(dev->address, reg + 4, 0);
	}
	config_write(dev->address, PCI_COMMAND,
		     command | COMMAND_MEMORY | COMMAND_MASTER);
	return true;
}

/* Vector 0 of the device to a vector of the calling CPU. */
bool pci_enable_msix(struct pci_device *dev, u8 vector)
{
	u32 cap, control, table, entry, left = 48;

	if (!(config_read(dev->address, PCI_COMMAND) & STATUS_CAPABILITIES))
		return false;
	cap = config_read(dev->address, PCI_CAPABILITIES) & 0xfc;
	while (cap && left--) {
		control = config_read(dev->address, cap);
		if ((control & 0xff) == CAP_MSIX)
			break;
		cap = (control >> 8) & 0xfc;
	}
	if (!cap || !left)
		return false;
	table = config_read(dev->address, cap + 4);
	if ((table & 7) > 5 || !dev->bar[table & 7])
		return false;
	entry = dev->bar[table & 7] + (table & ~7u);
	config_write(dev->address, cap, control | MSIX_ENABLE | MSIX_MASK_ALL);
	mmio_write(entry + 0, 0xfee00000u | apic_id() << 12);
	mmio_write(entry + 4, 0);
	mmio_write(entry + 8, vector);
	mmio_write(entry + 12, 0);
	config_write(dev->address, cap,
		     (control | MSIX_ENABLE) & ~MSIX_MASK_ALL);
	return true;
}
