// SPDX-License-Identifier: GPL-2.0-or-later
// A device core over a pretended machine that records what was asked of it.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>

#include "core.h"

struct CoreFixture {
  PvschedCore core;
  PvschedShown shown = PVSCHED_SHOWN_NOWHERE;
  uint64_t overlay_gpa = 0;
  int zeroed = 0;
  int notified = 0;
  int misuse = 0;  // the core asked for something twice, or out of order
  std::function<bool(uint64_t, uint64_t)> is_ram = [](uint64_t, uint64_t) { return true; };
  uint64_t asked_gpa = 0, asked_size = 0;

  explicit CoreFixture(uint32_t slots = 4, uint64_t features = PVSCHED_F_ALL) {
    pvsched_core_init(&core, &ops, this, slots, features);
  }
  CoreFixture(const CoreFixture&) = delete;
  CoreFixture& operator=(const CoreFixture&) = delete;

  uint64_t read(uint64_t address, unsigned size = 4) { return pvsched_core_read(&core, address, size); }
  void write(uint64_t address, uint64_t value, unsigned size = 4) { pvsched_core_write(&core, address, value, size); }
  uint64_t status() { return read(PVSCHED_REG_DRIVER_STATUS); }
  uint64_t result() { return read(PVSCHED_REG_TRANSPORT_RESULT); }

  // The driver's steps up to FEATURES_OK, and the last one.
  void negotiate(uint64_t features = PVSCHED_F_ALL) {
    write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ACKNOWLEDGE);
    write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ACKNOWLEDGE | PVSCHED_DRIVER_DRIVER);
    write(PVSCHED_REG_GUEST_FEATURES, features, 8);
    write(PVSCHED_REG_DRIVER_STATUS, 0xb);
  }
  void driver_ok() { write(PVSCHED_REG_DRIVER_STATUS, status() | PVSCHED_DRIVER_OK); }
  void choose_gpa(uint64_t gpa) {
    write(PVSCHED_REG_GPA, gpa, 8);
    write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA);
  }

  static uint32_t cpu_of(unsigned slot) { return slot % 5 == 4 ? PVSCHED_NO_CPU : slot * 2; }

  static CoreFixture& self(void* opaque) { return *static_cast<CoreFixture*>(opaque); }
  static void on_show_bar(void* o, bool show) {
    auto& f = self(o);
    f.misuse += f.shown != (show ? PVSCHED_SHOWN_NOWHERE : PVSCHED_SHOWN_BAR);
    f.shown = show ? PVSCHED_SHOWN_BAR : PVSCHED_SHOWN_NOWHERE;
  }
  static bool on_is_ram(void* o, uint64_t gpa, uint64_t size) {
    auto& f = self(o);
    f.misuse += f.shown != PVSCHED_SHOWN_NOWHERE;
    f.asked_gpa = gpa;
    f.asked_size = size;
    return f.is_ram(gpa, size);
  }
  static void on_overlay(void* o, uint64_t gpa) {
    auto& f = self(o);
    f.misuse += f.shown != PVSCHED_SHOWN_NOWHERE || gpa != f.asked_gpa;
    f.shown = PVSCHED_SHOWN_GPA;
    f.overlay_gpa = gpa;
  }
  static void on_withdraw(void* o) {
    auto& f = self(o);
    f.misuse += f.shown != PVSCHED_SHOWN_GPA;
    f.shown = PVSCHED_SHOWN_NOWHERE;
  }
  static void on_zero(void* o) {
    auto& f = self(o);
    f.misuse += !f.core.areas;
    f.zeroed++;
  }
  static void on_notify(void* o) { self(o).notified++; }
  static uint32_t on_slot_cpu(void* o, unsigned slot) {
    auto& f = self(o);
    f.misuse += slot >= f.core.slots;
    return cpu_of(slot);
  }
  inline static const PvschedCoreOps ops = {on_show_bar, on_is_ram, on_overlay, on_withdraw,
                                            on_zero,     on_notify, on_slot_cpu};
};
