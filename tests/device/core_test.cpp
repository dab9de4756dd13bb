// SPDX-License-Identifier: GPL-2.0-or-later
// Registers of the device core: every register, every width, reads and writes.
#include <map>

#include "core_fixture.hpp"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

// clang-format off
struct RegisterRow {
  const char* name;
  uint64_t address;
  unsigned bytes;
  bool writable;
  uint64_t reset;
};

// R2: the table of docs/specs/pvsched.rst, for a device with 100 slots.
static const RegisterRow registers[] = {
    {"MAGIC", PVSCHED_REG_MAGIC, 4, false, PVSCHED_MAGIC},
    {"VERSION", PVSCHED_REG_VERSION, 4, false, PVSCHED_VERSION},
    {"HOST_FEATURES", PVSCHED_REG_HOST_FEATURES, 8, false, PVSCHED_F_ALL},
    {"GUEST_FEATURES", PVSCHED_REG_GUEST_FEATURES, 8, true, 0},
    {"DRIVER_STATUS", PVSCHED_REG_DRIVER_STATUS, 4, true, 0},
    {"HOST_STATUS", PVSCHED_REG_HOST_STATUS, 4, false, 0},
    {"GENERATION", PVSCHED_REG_GENERATION, 4, false, 0},
    {"NR_SLOTS", PVSCHED_REG_NR_SLOTS, 4, false, 100},
    {"SLOT_SIZE", PVSCHED_REG_SLOT_SIZE, 4, false, 64},
    {"AREA_SIZE", PVSCHED_REG_AREA_SIZE, 4, false, 8192},
    {"GUEST_AREA", PVSCHED_REG_GUEST_AREA, 8, false, 0},
    {"HOST_AREA", PVSCHED_REG_HOST_AREA, 8, false, 8192},
    {"TRANSPORT", PVSCHED_REG_TRANSPORT, 4, true, 0},
    {"TRANSPORT_RESULT", PVSCHED_REG_TRANSPORT_RESULT, 4, false, 0},
    {"GPA", PVSCHED_REG_GPA, 8, true, 0},
    {"POLICY_VERSION", PVSCHED_REG_POLICY_VERSION, 4, false, 0},
    {"POLICY_ACCEPT", PVSCHED_REG_POLICY_ACCEPT, 4, true, 0},
    {"GUEST_ERRORS", PVSCHED_REG_GUEST_ERRORS, 4, false, 0},
    {"POLICY_NAME", PVSCHED_REG_POLICY_NAME, 32, false, 0},
    {"DOORBELL", PVSCHED_REG_DOORBELL, 4, true, 0},
};
// clang-format on

TEST_GROUP(CoreRegisters) {
  CoreFixture f{100};

  // What a 4-byte read anywhere must give after creation.
  static uint64_t reset_value(uint64_t address) {
    for (const auto& r : registers)
      if (address >= r.address && address < r.address + r.bytes)
        return r.bytes == 8 && address != r.address ? r.reset >> 32 : r.reset & 0xffffffff;
    if (address >= PVSCHED_REG_SLOT_TABLE && address < PVSCHED_REG_SLOT_TABLE + 4 * PVSCHED_MAX_SLOTS) {
      uint64_t slot = (address - PVSCHED_REG_SLOT_TABLE) / 4;
      return slot < 100 ? CoreFixture::cpu_of(slot) : PVSCHED_NO_CPU;
    }
    return 0;
  }
};

TEST(CoreRegisters, R2_reset_values_of_all_addresses_in_both_widths) {
  for (uint64_t a = 0; a < PVSCHED_REGS_SIZE; a += 4) UNSIGNED_LONGLONGS_EQUAL(reset_value(a), f.read(a, 4));
  for (uint64_t a = 0; a < PVSCHED_REGS_SIZE; a += 8)
    UNSIGNED_LONGLONGS_EQUAL(reset_value(a) | reset_value(a + 4) << 32, f.read(a, 8));
  UNSIGNED_LONGS_EQUAL(0, pvsched_core_errors(&f.core));
}

TEST(CoreRegisters, R2_other_widths_and_misaligned_accesses_read_zero_and_count) {
  unsigned bad = 0;
  for (uint64_t a = 0; a < PVSCHED_REGS_SIZE; a++) {
    for (unsigned size : {0u, 1u, 2u, 3u, 4u, 5u, 8u, 16u}) {
      if ((size == 4 || size == 8) && a % size == 0) continue;
      UNSIGNED_LONGLONGS_EQUAL(0, f.read(a, size));
      f.write(a, ~0ull, size);
      bad += 2;
    }
  }
  UNSIGNED_LONGS_EQUAL(bad, f.core.errors[PVSCHED_ERR_WIDTH]);
  UNSIGNED_LONGS_EQUAL(bad, pvsched_core_errors(&f.core));
  UNSIGNED_LONGLONGS_EQUAL(0, f.core.guest_features);
  UNSIGNED_LONGLONGS_EQUAL(0, f.core.doorbells);
}

TEST(CoreRegisters, R2_addresses_beyond_the_bar_are_refused) {
  for (uint64_t a : {uint64_t{PVSCHED_REGS_SIZE}, uint64_t{0x10000}, UINT64_MAX - 7, UINT64_MAX - 3}) {
    UNSIGNED_LONGLONGS_EQUAL(0, f.read(a, 4));
    f.write(a, 1, 8);
  }
  UNSIGNED_LONGS_EQUAL(8, f.core.errors[PVSCHED_ERR_WIDTH]);
}

TEST(CoreRegisters, R2_writes_to_read_only_and_unknown_addresses_change_nothing) {
  unsigned read_only = 0, unknown = 0;
  for (uint64_t a = 0; a < PVSCHED_REGS_SIZE; a += 4) {
    const RegisterRow* row = nullptr;
    for (const auto& r : registers)
      if (a >= r.address && a < r.address + r.bytes) row = &r;
    if (row && row->writable) continue;
    bool table = a >= PVSCHED_REG_SLOT_TABLE && a < PVSCHED_REG_SLOT_TABLE + 4 * PVSCHED_MAX_SLOTS;
    f.write(a, ~0u, 4);
    (row || table ? read_only : unknown)++;
  }
  UNSIGNED_LONGS_EQUAL(read_only, f.core.errors[PVSCHED_ERR_READ_ONLY]);
  UNSIGNED_LONGS_EQUAL(unknown, f.core.errors[PVSCHED_ERR_UNKNOWN]);
  for (uint64_t a = 0; a < PVSCHED_REGS_SIZE; a += 4)
    if (a != PVSCHED_REG_GUEST_ERRORS) UNSIGNED_LONGLONGS_EQUAL(reset_value(a), f.read(a, 4));
}

TEST(CoreRegisters, R2_wide_registers_take_halves_and_wholes) {
  for (uint64_t reg : {PVSCHED_REG_GUEST_FEATURES, PVSCHED_REG_GPA}) {
    f.write(reg, 0x1122334455667788, 8);
    UNSIGNED_LONGLONGS_EQUAL(0x1122334455667788, f.read(reg, 8));
    f.write(reg, 0xaabbccdd, 4);
    UNSIGNED_LONGLONGS_EQUAL(0x11223344aabbccdd, f.read(reg, 8));
    f.write(reg + 4, 0x99887766, 4);
    UNSIGNED_LONGLONGS_EQUAL(0x99887766aabbccdd, f.read(reg, 8));
    UNSIGNED_LONGLONGS_EQUAL(0x99887766, f.read(reg + 4, 4));
  }
}

TEST(CoreRegisters, R2_eight_bytes_over_two_registers_are_low_then_high) {
  f.write(PVSCHED_REG_DRIVER_STATUS, 0xffffffff00000001, 8);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_DRIVER_ACKNOWLEDGE, f.read(PVSCHED_REG_DRIVER_STATUS));
  UNSIGNED_LONGS_EQUAL(1, f.core.errors[PVSCHED_ERR_READ_ONLY]);
  pvsched_core_set_policy(&f.core, "p", 9);
  f.write(PVSCHED_REG_POLICY_VERSION, 9ull << 32, 8);
  UNSIGNED_LONGLONGS_EQUAL(9ull << 32 | 9, f.read(PVSCHED_REG_POLICY_VERSION, 8));
}

TEST(CoreRegisters, R2_doorbell_counts_whatever_is_written_and_reads_zero) {
  for (uint64_t value : {0ull, 1ull, ~0ull}) f.write(PVSCHED_REG_DOORBELL, value);
  UNSIGNED_LONGLONGS_EQUAL(3, f.core.doorbells);
  pvsched_core_doorbell(&f.core, 40);
  UNSIGNED_LONGLONGS_EQUAL(43, f.core.doorbells);
  UNSIGNED_LONGLONGS_EQUAL(0, f.read(PVSCHED_REG_DOORBELL));
  UNSIGNED_LONGS_EQUAL(0, pvsched_core_errors(&f.core));
}

TEST(CoreRegisters, R2_error_counters_saturate) {
  f.core.errors[PVSCHED_ERR_UNKNOWN] = UINT32_MAX - 1;
  for (int i = 0; i < 3; i++) f.write(0x3f8, 1);
  UNSIGNED_LONGS_EQUAL(UINT32_MAX, f.core.errors[PVSCHED_ERR_UNKNOWN]);
  f.write(PVSCHED_REG_MAGIC, 1);
  UNSIGNED_LONGLONGS_EQUAL(UINT32_MAX, f.read(PVSCHED_REG_GUEST_ERRORS));
}

TEST(CoreRegisters, R5_policy_name_reads_as_bytes_padded_with_nul) {
  CHECK_TRUE(pvsched_core_set_policy(&f.core, "latency-v2.1_x", 5));
  char name[PVSCHED_POLICY_NAME_LEN];
  for (unsigned i = 0; i < sizeof(name); i += 8) {
    uint64_t part = f.read(PVSCHED_REG_POLICY_NAME + i, 8);
    memcpy(name + i, &part, 8);
  }
  STRCMP_EQUAL("latency-v2.1_x", name);
  for (unsigned i = 14; i < sizeof(name); i++) BYTES_EQUAL(0, name[i]);
}

TEST(CoreRegisters, R8_area_sizes_are_whole_pages_and_strides_powers_of_two) {
  const std::map<uint32_t, std::pair<uint64_t, uint64_t>> expected = {{1, {4096, 4096}},     {64, {4096, 4096}},
                                                                      {65, {8192, 8192}},    {129, {12288, 16384}},
                                                                      {257, {20480, 32768}}, {512, {32768, 32768}}};
  for (const auto& [slots, sizes] : expected) {
    CoreFixture g{slots};
    UNSIGNED_LONGLONGS_EQUAL(sizes.first, g.read(PVSCHED_REG_AREA_SIZE));
    UNSIGNED_LONGLONGS_EQUAL(sizes.second, g.read(PVSCHED_REG_HOST_AREA, 8));
  }
}
