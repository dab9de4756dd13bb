/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BAR0: which access reaches which register (R2). An 8-byte access to two
 * 4-byte registers is the lower one and then the higher one.
 */
#include "core-internal.h"

#define SLOT_TABLE_END (PVSCHED_REG_SLOT_TABLE + 4 * PVSCHED_MAX_SLOTS)
#define POLICY_NAME_END (PVSCHED_REG_POLICY_NAME + PVSCHED_POLICY_NAME_LEN)

#define HALF(reg64, high) ((reg64) + ((high) ? 4 : 0))

static uint32_t low32(uint64_t value)
{
    return (uint32_t)value;
}

static uint32_t high32(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

static uint64_t with_low32(uint64_t old, uint32_t value)
{
    return (old & 0xffffffff00000000ull) | value;
}

static uint64_t with_high32(uint64_t old, uint32_t value)
{
    return (old & 0xffffffffull) | ((uint64_t)value << 32);
}

static uint32_t read32(PvschedCore *c, uint64_t addr)
{
    switch (addr) {
    case PVSCHED_REG_MAGIC:
        return PVSCHED_MAGIC;
    case PVSCHED_REG_VERSION:
        return PVSCHED_VERSION;
    case HALF(PVSCHED_REG_HOST_FEATURES, 0):
        return low32(c->host_features);
    case HALF(PVSCHED_REG_HOST_FEATURES, 1):
        return high32(c->host_features);
    case HALF(PVSCHED_REG_GUEST_FEATURES, 0):
        return low32(c->guest_features);
    case HALF(PVSCHED_REG_GUEST_FEATURES, 1):
        return high32(c->guest_features);
    case PVSCHED_REG_DRIVER_STATUS:
        return c->driver_status;
    case PVSCHED_REG_HOST_STATUS:
        return pvsched_core_host_status(c);
    case PVSCHED_REG_GENERATION:
        return c->generation;
    case PVSCHED_REG_NR_SLOTS:
        return c->slots;
    case PVSCHED_REG_SLOT_SIZE:
        return PVSCHED_SLOT_SIZE;
    case PVSCHED_REG_AREA_SIZE:
        return low32(pvsched_core_area_size(c));
    case HALF(PVSCHED_REG_HOST_AREA, 0):
        return low32(pvsched_core_area_stride(c));
    case PVSCHED_REG_TRANSPORT:
        return c->transport;
    case PVSCHED_REG_TRANSPORT_RESULT:
        return c->result;
    case HALF(PVSCHED_REG_GPA, 0):
        return low32(c->gpa);
    case HALF(PVSCHED_REG_GPA, 1):
        return high32(c->gpa);
    case PVSCHED_REG_POLICY_VERSION:
        return c->policy_version;
    case PVSCHED_REG_POLICY_ACCEPT:
        return c->policy_accept;
    case PVSCHED_REG_GUEST_ERRORS:
        return pvsched_core_errors(c);
    default:
        break;
    }
    if (addr >= PVSCHED_REG_POLICY_NAME && addr < POLICY_NAME_END) {
        const uint8_t *name =
            (const uint8_t *)c->policy_name + (addr - PVSCHED_REG_POLICY_NAME);

        return name[0] | (uint32_t)name[1] << 8 | (uint32_t)name[2] << 16 |
               (uint32_t)name[3] << 24;
    }
    if (addr >= PVSCHED_REG_SLOT_TABLE && addr < SLOT_TABLE_END) {
        unsigned slot = (addr - PVSCHED_REG_SLOT_TABLE) / 4;

        return slot < c->slots ? c->ops->slot_cpu(c->opaque, slot)
                               : PVSCHED_NO_CPU;
    }
    return 0; /* GUEST_AREA, the write-only doorbell, unknown registers */
}

static bool read_only(uint64_t addr)
{
    /* Writable registers below the doorbell were handled before. */
    if (addr < PVSCHED_REG_GUEST_ERRORS + 4) {
        return true;
    }
    return (addr >= PVSCHED_REG_POLICY_NAME && addr < POLICY_NAME_END) ||
           (addr >= PVSCHED_REG_SLOT_TABLE && addr < SLOT_TABLE_END);
}

static void write32(PvschedCore *c, uint64_t addr, uint32_t value)
{
    switch (addr) {
    case HALF(PVSCHED_REG_GUEST_FEATURES, 0):
        pvsched_core_write_features(c, with_low32(c->guest_features, value));
        break;
    case HALF(PVSCHED_REG_GUEST_FEATURES, 1):
        pvsched_core_write_features(c, with_high32(c->guest_features, value));
        break;
    case PVSCHED_REG_DRIVER_STATUS:
        pvsched_core_write_status(c, value);
        break;
    case PVSCHED_REG_TRANSPORT:
        pvsched_core_write_transport(c, value);
        break;
    case HALF(PVSCHED_REG_GPA, 0):
        pvsched_core_write_gpa(c, with_low32(c->gpa, value), false);
        break;
    case HALF(PVSCHED_REG_GPA, 1):
        pvsched_core_write_gpa(c, with_high32(c->gpa, value), true);
        break;
    case PVSCHED_REG_POLICY_ACCEPT:
        pvsched_core_write_policy_accept(c, value);
        break;
    case PVSCHED_REG_DOORBELL:
        pvsched_core_doorbell(c, 1);
        break;
    default:
        pvsched_core_error(c, read_only(addr) ? PVSCHED_ERR_READ_ONLY
                                              : PVSCHED_ERR_UNKNOWN);
        break;
    }
}

static bool good_access(uint64_t addr, unsigned size)
{
    return (size == 4 || size == 8) && addr % size == 0 &&
           addr <= PVSCHED_REGS_SIZE - size;
}

bool pvsched_core_moves_ram(const PvschedCore *c, uint64_t addr, uint64_t value,
                            unsigned size)
{
    if (!good_access(addr, size)) {
        return false;
    }
    if (c->transport != PVSCHED_TRANSPORT_GPA) {
        return addr == PVSCHED_REG_TRANSPORT &&
               low32(value) == PVSCHED_TRANSPORT_GPA;
    }
    return addr == PVSCHED_REG_DRIVER_STATUS || addr == PVSCHED_REG_TRANSPORT ||
           (addr >= PVSCHED_REG_GPA && addr < PVSCHED_REG_GPA + 8);
}

uint64_t pvsched_core_read(PvschedCore *c, uint64_t addr, unsigned size)
{
    if (!good_access(addr, size)) {
        pvsched_core_error(c, PVSCHED_ERR_WIDTH);
        return 0;
    }
    if (size == 8) {
        return read32(c, addr) | (uint64_t)read32(c, addr + 4) << 32;
    }
    return read32(c, addr);
}

void pvsched_core_write(PvschedCore *c, uint64_t addr, uint64_t value,
                        unsigned size)
{
    if (!good_access(addr, size)) {
        pvsched_core_error(c, PVSCHED_ERR_WIDTH);
        return;
    }
    if (size == 8 && addr == PVSCHED_REG_GUEST_FEATURES) {
        pvsched_core_write_features(c, value);
        return;
    }
    write32(c, addr, low32(value));
    if (size == 8) {
        write32(c, addr + 4, high32(value));
    }
}
