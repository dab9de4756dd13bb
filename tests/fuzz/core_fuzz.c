/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libFuzzer target for the device core. The input is a list of 12-byte steps:
 * guest accesses, changes by the host, save and load, all hostile (R17). After each step every
 * invariant of the contract must hold; R numbers are those of
 * docs/specs/pvsched.rst.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* Not assert(): it must stay in a build with NDEBUG. */
#define CHECK(cond)                                              \
  do {                                                           \
    if (!(cond)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
      abort();                                                   \
    }                                                            \
  } while (0)

typedef struct Machine {
  PvschedCore core;
  PvschedShown shown;
  uint64_t overlay_gpa;
  uint64_t asked_gpa;
  uint64_t asked_size;
  uint64_t ram_end;
  bool answered_ram;
  unsigned notified;
} Machine;

static void show_bar(void* opaque, bool show) {
  Machine* m = opaque;

  CHECK(m->shown == (show ? PVSCHED_SHOWN_NOWHERE : PVSCHED_SHOWN_BAR));
  CHECK(!show || m->core.areas);
  m->shown = show ? PVSCHED_SHOWN_BAR : PVSCHED_SHOWN_NOWHERE;
}

static bool is_ram(void* opaque, uint64_t gpa, uint64_t size) {
  Machine* m = opaque;

  CHECK(m->shown == PVSCHED_SHOWN_NOWHERE);
  CHECK(gpa != 0 && gpa % PVSCHED_PAGE_SIZE == 0 && gpa + (size - 1) >= gpa);
  m->asked_gpa = gpa;
  m->asked_size = size;
  m->answered_ram = size <= m->ram_end && gpa <= m->ram_end - size;
  return m->answered_ram;
}

static void overlay(void* opaque, uint64_t gpa) {
  Machine* m = opaque;

  CHECK(m->shown == PVSCHED_SHOWN_NOWHERE && m->core.areas);
  CHECK(m->answered_ram && gpa == m->asked_gpa);
  CHECK(m->asked_size >= pvsched_core_area_stride(&m->core) + pvsched_core_area_size(&m->core));
  m->shown = PVSCHED_SHOWN_GPA;
  m->overlay_gpa = gpa;
}

static void withdraw(void* opaque) {
  Machine* m = opaque;

  CHECK(m->shown == PVSCHED_SHOWN_GPA);
  m->shown = PVSCHED_SHOWN_NOWHERE;
}

static void zero_guest_area(void* opaque) {
  Machine* m = opaque;

  CHECK(m->core.areas && m->shown == PVSCHED_SHOWN_NOWHERE);
}

static void notify(void* opaque) {
  Machine* m = opaque;

  CHECK(m->core.driver_status & PVSCHED_DRIVER_OK);
  CHECK(!(m->core.driver_status & PVSCHED_DRIVER_FAILED));
  m->notified++;
}

static uint32_t slot_cpu(void* opaque, unsigned slot) {
  Machine* m = opaque;

  CHECK(slot < m->core.slots);
  return slot;
}

static const PvschedCoreOps ops = {show_bar, is_ram, overlay, withdraw, zero_guest_area, notify, slot_cpu};

static void check_invariants(Machine* m) {
  PvschedCore* c = &m->core;
  uint32_t status = c->driver_status;

  CHECK(c->shown == m->shown);
  CHECK(c->host_features == (c->host_features & PVSCHED_F_ALL)); /* R3 */
  CHECK(!(status & ~PVSCHED_DRIVER_ALL)); /* R4 */
  CHECK(!(status & PVSCHED_DRIVER_OK) || (status & PVSCHED_DRIVER_FEATURES_OK));
  if (status & PVSCHED_DRIVER_FEATURES_OK) {
    CHECK((status & 3) == 3);
    CHECK(!(c->guest_features & ~c->host_features));
  }
  if (c->transport != PVSCHED_TRANSPORT_NONE) { /* R6 */
    CHECK(c->transport <= PVSCHED_TRANSPORT_GPA);
    CHECK(status & PVSCHED_DRIVER_FEATURES_OK);
    CHECK(!(status & PVSCHED_DRIVER_FAILED));
    CHECK(c->guest_features & (c->transport == PVSCHED_TRANSPORT_BAR ? PVSCHED_F_BAR : PVSCHED_F_GPA));
  }
  CHECK((c->result == PVSCHED_RESULT_OK) == (m->shown != PVSCHED_SHOWN_NOWHERE));
  if (m->shown != PVSCHED_SHOWN_NOWHERE) {
    CHECK(c->areas);
    CHECK(c->transport == (m->shown == PVSCHED_SHOWN_BAR ? PVSCHED_TRANSPORT_BAR : PVSCHED_TRANSPORT_GPA));
  }
  if (m->shown == PVSCHED_SHOWN_GPA) { /* R7 */
    CHECK(m->overlay_gpa % PVSCHED_PAGE_SIZE == 0);
    CHECK(m->overlay_gpa + pvsched_core_area_stride(c) + pvsched_core_area_size(c) <= m->ram_end);
  }
  CHECK(c->result != PVSCHED_RESULT_WAITING || !c->areas);
  CHECK(c->policy_accept == 0 || c->policy_accept == c->policy_version);
  CHECK((c->policy_version == 0) == (c->policy_name[0] == '\0'));
  CHECK(c->policy_name[PVSCHED_POLICY_NAME_LEN - 1] == '\0');
}

static void load(Machine* m, const uint8_t* bytes, size_t len, bool mangle) {
  PvschedSaved saved;
  PvschedCore before = m->core;

  pvsched_core_save(&m->core, &saved);
  if (mangle) {
    memcpy((uint8_t*)&saved + bytes[0] % sizeof(saved), bytes,
           len < sizeof(saved) - bytes[0] % sizeof(saved) ? len : sizeof(saved) - bytes[0] % sizeof(saved));
  }
  if (pvsched_core_load(&m->core, &saved)) {
    CHECK(mangle);
    CHECK(memcmp(&before, &m->core, sizeof(before)) == 0);
  } else {
    CHECK(m->core.generation == saved.generation + 1);
    CHECK(m->core.areas == before.areas);
  }
}

static void write_register(Machine* m, uint64_t addr, uint64_t value, unsigned size) {
  PvschedShown shown = m->shown;
  uint64_t gpa = m->overlay_gpa;
  uint32_t generation = m->core.generation;
  uint32_t errors = pvsched_core_errors(&m->core);
  bool moves = pvsched_core_moves_ram(&m->core, addr, value, size);

  pvsched_core_write(&m->core, addr, value, size);
  if (!moves) {
    CHECK((shown == PVSCHED_SHOWN_GPA) == (m->shown == PVSCHED_SHOWN_GPA));
    CHECK(shown != PVSCHED_SHOWN_GPA || gpa == m->overlay_gpa);
  }
  CHECK(m->core.generation == generation); /* R5: the host's alone */
  CHECK(pvsched_core_errors(&m->core) >= errors);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const uint32_t slots[] = {1, 64, 65, 129, 512};
  static const uint16_t hot[] = {
      PVSCHED_REG_DRIVER_STATUS, PVSCHED_REG_GUEST_FEATURES, PVSCHED_REG_TRANSPORT, PVSCHED_REG_GPA,
      PVSCHED_REG_GPA + 4,       PVSCHED_REG_POLICY_ACCEPT,  PVSCHED_REG_DOORBELL,
  };
  Machine m = {.ram_end = 64 << 20};

  if (size < 2) {
    return 0;
  }
  pvsched_core_init(&m.core, &ops, &m, slots[data[0] % 5], data[1] ? PVSCHED_F_ALL : PVSCHED_F_BAR);
  for (data += 2, size -= 2; size >= 12; data += 12, size -= 12) {
    uint64_t value;
    uint16_t addr = (data[2] | data[3] << 8) % (PVSCHED_REGS_SIZE + 16);
    unsigned width = data[1] & 1 ? 8 : data[1] & 2 ? data[1] >> 2 : 4;

    memcpy(&value, data + 4, sizeof(value));
    switch (data[0] % 12) {
      case 0:
        CHECK(width == 4 || width == 8 || pvsched_core_read(&m.core, addr, width) == 0);
        pvsched_core_read(&m.core, addr, width);
        break;
      case 1:
        write_register(&m, addr, value, width);
        break;
      case 2: /* small values at the registers that matter */
        write_register(&m, hot[addr % 7], value & 0xff, 4);
        break;
      case 3:
        write_register(&m, PVSCHED_REG_GPA, (value & 0xfffff) << 12, 8);
        break;
      case 4:
        write_register(&m, PVSCHED_REG_DRIVER_STATUS, m.core.driver_status | 1u << (value & 7), 4);
        break;
      case 5:
        pvsched_core_set_areas(&m.core, value & 1);
        break;
      case 6:
        pvsched_core_set_policy(&m.core, value & 1 ? "fuzz" : "", value & 1 ? data[5] : 0);
        break;
      case 7:
        load(&m, data + 4, 8, value & 1);
        break;
      case 8:
        m.ram_end = (value & 0x3ff) << 16; /* memory was unplugged */
        if (m.shown == PVSCHED_SHOWN_GPA) {
          m.ram_end = 64 << 20;
        }
        break;
      case 9:
        pvsched_core_reset(&m.core);
        break;
      case 10: /* up to FEATURES_OK, so that short inputs get far */
        write_register(&m, PVSCHED_REG_DRIVER_STATUS, 0, 4);
        write_register(&m, PVSCHED_REG_GUEST_FEATURES, m.core.host_features, 8);
        write_register(&m, PVSCHED_REG_DRIVER_STATUS, 0xb, 4);
        break;
      case 11:
        write_register(&m, PVSCHED_REG_TRANSPORT, value & 3, 4);
        break;
    }
    check_invariants(&m);
  }
  return 0;
}
