// SPDX-License-Identifier: GPL-2.0-or-later
// The device core's protocol: status, features, transports, the host's changes, migration.
#include <string>

#include "core_fixture.hpp"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

static const uint32_t kBegun = PVSCHED_DRIVER_ACKNOWLEDGE | PVSCHED_DRIVER_DRIVER;
static const uint32_t kReady = kBegun | PVSCHED_DRIVER_FEATURES_OK;

TEST_GROUP(CoreStatus) {
  CoreFixture f;
  void teardown() override { LONGS_EQUAL(0, f.misuse); }
};

TEST(CoreStatus, R4_steps_in_order_reach_driver_ok) {
  f.negotiate();
  UNSIGNED_LONGLONGS_EQUAL(kReady, f.status());
  f.driver_ok();
  UNSIGNED_LONGLONGS_EQUAL(kReady | PVSCHED_DRIVER_OK, f.status());
  UNSIGNED_LONGS_EQUAL(0, pvsched_core_errors(&f.core));
}

TEST(CoreStatus, R4_every_single_write_from_reset_ends_in_a_legal_status) {
  for (uint32_t value = 0; value <= 0xff; value++) {
    CoreFixture g;
    g.write(PVSCHED_REG_DRIVER_STATUS, value);
    uint64_t status = g.status();
    if (value & ~PVSCHED_DRIVER_ALL) UNSIGNED_LONGLONGS_EQUAL(0, status);
    if (status & PVSCHED_DRIVER_OK) CHECK_TRUE(status & PVSCHED_DRIVER_FEATURES_OK);
    if (status & PVSCHED_DRIVER_FEATURES_OK) UNSIGNED_LONGLONGS_EQUAL(kBegun, status & kBegun);
    bool whole = status == value;
    CHECK_EQUAL(whole, g.core.errors[PVSCHED_ERR_STATUS] == 0);
  }
}

TEST(CoreStatus, R4_bits_are_only_added) {
  f.negotiate();
  f.write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ACKNOWLEDGE);
  UNSIGNED_LONGLONGS_EQUAL(kReady, f.status());
  f.write(PVSCHED_REG_DRIVER_STATUS, kReady | 0x10);
  UNSIGNED_LONGLONGS_EQUAL(kReady, f.status());
  UNSIGNED_LONGS_EQUAL(2, f.core.errors[PVSCHED_ERR_STATUS]);
}

TEST(CoreStatus, R4_driver_ok_needs_features_ok) {
  f.write(PVSCHED_REG_DRIVER_STATUS, kBegun | PVSCHED_DRIVER_OK);
  UNSIGNED_LONGLONGS_EQUAL(kBegun, f.status());
  UNSIGNED_LONGS_EQUAL(1, f.core.errors[PVSCHED_ERR_STATUS]);
}

TEST(CoreStatus, R3_features_not_offered_keep_features_ok_clear) {
  CoreFixture g{4, PVSCHED_F_BAR | PVSCHED_F_IDLE};
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_F_BAR | PVSCHED_F_IDLE, g.read(PVSCHED_REG_HOST_FEATURES, 8));
  for (uint64_t bad : {uint64_t{PVSCHED_F_GPA}, uint64_t{1} << 63, ~uint64_t{0}}) {
    g.write(PVSCHED_REG_DRIVER_STATUS, 0);
    g.negotiate(bad | PVSCHED_F_BAR);
    UNSIGNED_LONGLONGS_EQUAL(kBegun, g.status());
  }
  UNSIGNED_LONGS_EQUAL(3, g.core.errors[PVSCHED_ERR_FEATURES]);
  g.write(PVSCHED_REG_GUEST_FEATURES, PVSCHED_F_BAR, 8);
  g.write(PVSCHED_REG_DRIVER_STATUS, kReady);
  UNSIGNED_LONGLONGS_EQUAL(kReady, g.status());
}

TEST(CoreStatus, R3_features_are_fixed_after_features_ok) {
  f.negotiate(PVSCHED_F_BAR);
  f.write(PVSCHED_REG_GUEST_FEATURES, PVSCHED_F_GPA, 8);
  f.write(PVSCHED_REG_GUEST_FEATURES, PVSCHED_F_GPA, 4);
  f.write(PVSCHED_REG_GUEST_FEATURES + 4, 1, 4);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_F_BAR, f.read(PVSCHED_REG_GUEST_FEATURES, 8));
  UNSIGNED_LONGS_EQUAL(3, f.core.errors[PVSCHED_ERR_FEATURES]);
}

TEST(CoreStatus, R4_zero_resets_all_that_is_the_drivers) {
  pvsched_core_set_areas(&f.core, true);
  f.negotiate();
  f.choose_gpa(0x10000);
  f.driver_ok();
  pvsched_core_set_policy(&f.core, "p", 3);
  f.write(PVSCHED_REG_POLICY_ACCEPT, 3);
  f.write(PVSCHED_REG_MAGIC, 1);
  LONGS_EQUAL(PVSCHED_SHOWN_GPA, f.shown);
  f.write(PVSCHED_REG_DRIVER_STATUS, 0);
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
  LONGS_EQUAL(1, f.zeroed);
  for (uint64_t reg : {PVSCHED_REG_GUEST_FEATURES, PVSCHED_REG_DRIVER_STATUS, PVSCHED_REG_TRANSPORT,
                       PVSCHED_REG_TRANSPORT_RESULT, PVSCHED_REG_GPA, PVSCHED_REG_POLICY_ACCEPT})
    UNSIGNED_LONGLONGS_EQUAL(0, f.read(reg));
  UNSIGNED_LONGLONGS_EQUAL(2, f.read(PVSCHED_REG_GENERATION));
  UNSIGNED_LONGLONGS_EQUAL(1, f.read(PVSCHED_REG_GUEST_ERRORS));
  UNSIGNED_LONGLONGS_EQUAL(3, f.read(PVSCHED_REG_HOST_STATUS));
}

TEST(CoreStatus, R4_failed_gives_the_pages_back_and_ends_interrupts) {
  pvsched_core_set_areas(&f.core, true);
  f.negotiate();
  f.choose_gpa(0x10000);
  f.driver_ok();
  f.write(PVSCHED_REG_DRIVER_STATUS, PVSCHED_DRIVER_ALL);
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
  pvsched_core_set_policy(&f.core, "p", 1);
  LONGS_EQUAL(0, f.notified);
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_NOT_NEGOTIATED, f.result());
}

TEST_GROUP(CoreTransport) {
  CoreFixture f;
  void teardown() override { LONGS_EQUAL(0, f.misuse); }
};

TEST(CoreTransport, R6_needs_features_ok_and_the_feature) {
  pvsched_core_set_areas(&f.core, true);
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_NOT_NEGOTIATED, f.result());
  f.negotiate(PVSCHED_F_GPA);
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_NOT_NEGOTIATED, f.result());
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_TRANSPORT_NONE, f.read(PVSCHED_REG_TRANSPORT));
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
  UNSIGNED_LONGS_EQUAL(2, f.core.errors[PVSCHED_ERR_TRANSPORT]);
}

TEST(CoreTransport, R6_bar_waits_for_areas_and_follows_them) {
  f.negotiate();
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_WAITING, f.result());
  pvsched_core_set_areas(&f.core, true);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_OK, f.result());
  LONGS_EQUAL(PVSCHED_SHOWN_BAR, f.shown);
  pvsched_core_set_areas(&f.core, true);
  LONGS_EQUAL(PVSCHED_SHOWN_BAR, f.shown);
  pvsched_core_set_areas(&f.core, false);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_WAITING, f.result());
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
}

TEST(CoreTransport, R6_unknown_transports_end_the_one_before) {
  pvsched_core_set_areas(&f.core, true);
  f.negotiate();
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR);
  for (uint32_t bad : {3u, 0x80000001u, 0xffffffffu}) {
    f.write(PVSCHED_REG_TRANSPORT, bad);
    UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_UNKNOWN, f.result());
    LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
  }
  f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_NONE);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_NONE, f.result());
  UNSIGNED_LONGS_EQUAL(3, f.core.errors[PVSCHED_ERR_TRANSPORT]);
}

TEST(CoreTransport, R7_addresses_are_checked_before_the_machine_is_asked) {
  f.negotiate();
  f.is_ram = [](uint64_t gpa, uint64_t size) { return gpa + size - 1 >= gpa; };
  unsigned count = 0;
  for (uint64_t bad : {0ull, 1ull, 64ull, 0x10001ull, 0xffffffffffffffffull, 0xfffffffffffff000ull}) {
    f.write(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_NONE);
    f.choose_gpa(bad);
    UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_BAD_GPA, f.result());
    UNSIGNED_LONGS_EQUAL(++count, f.core.errors[PVSCHED_ERR_GPA]);
  }
  f.choose_gpa(0xffffffffffffe000);  // the last two pages that there are
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_WAITING, f.result());
}

TEST(CoreTransport, R7_the_whole_range_with_its_gap_must_be_ram) {
  CoreFixture g{129};
  g.negotiate();
  g.choose_gpa(0x40000);
  UNSIGNED_LONGLONGS_EQUAL(0x40000, g.asked_gpa);
  UNSIGNED_LONGLONGS_EQUAL(16384 + 12288, g.asked_size);
  g.is_ram = [](uint64_t, uint64_t) { return false; };
  g.choose_gpa(0x40000);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_BAD_GPA, g.result());
  LONGS_EQUAL(0, g.misuse);
}

TEST(CoreTransport, R7_a_new_address_moves_the_overlay_on_its_second_half) {
  pvsched_core_set_areas(&f.core, true);
  f.negotiate();
  f.choose_gpa(0x100000);
  f.write(PVSCHED_REG_GPA, 0x200000, 4);
  UNSIGNED_LONGLONGS_EQUAL(0x100000, f.overlay_gpa);
  f.write(PVSCHED_REG_GPA + 4, 0x1, 4);
  UNSIGNED_LONGLONGS_EQUAL(0x100200000, f.overlay_gpa);
  f.write(PVSCHED_REG_GPA, 0x300008, 8);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_BAD_GPA, f.result());
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
  f.write(PVSCHED_REG_GPA, 0x300000, 8);
  UNSIGNED_LONGLONGS_EQUAL(0x300000, f.overlay_gpa);
}

TEST(CoreTransport, R7_an_address_gone_bad_while_waiting_is_found_when_areas_come) {
  f.negotiate();
  f.choose_gpa(0x100000);
  f.is_ram = [](uint64_t, uint64_t) { return false; };
  pvsched_core_set_areas(&f.core, true);
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_BAD_GPA, f.result());
  LONGS_EQUAL(PVSCHED_SHOWN_NOWHERE, f.shown);
}

TEST(CoreTransport, R7_writes_that_move_ram_are_known_before) {
  auto moves = [&](uint64_t a, uint64_t v, unsigned s) { return pvsched_core_moves_ram(&f.core, a, v, s); };
  CHECK_TRUE(moves(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA, 4));
  CHECK_TRUE(moves(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA, 8));
  CHECK_FALSE(moves(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_BAR, 4));
  CHECK_FALSE(moves(PVSCHED_REG_TRANSPORT, PVSCHED_TRANSPORT_GPA, 2));
  CHECK_FALSE(moves(PVSCHED_REG_GPA, 0x1000, 8));
  f.negotiate();
  f.choose_gpa(0x1000);
  CHECK_TRUE(moves(PVSCHED_REG_GPA + 4, 0, 4));
  CHECK_TRUE(moves(PVSCHED_REG_DRIVER_STATUS, 0, 4));
  CHECK_TRUE(moves(PVSCHED_REG_TRANSPORT, 0, 4));
  CHECK_FALSE(moves(PVSCHED_REG_DOORBELL, 0, 4));
}

TEST_GROUP(CoreHost) {
  CoreFixture f;
  void teardown() override { LONGS_EQUAL(0, f.misuse); }
};

TEST(CoreHost, R5_each_change_steps_the_generation_and_voids_acceptance) {
  f.negotiate();
  f.driver_ok();
  CHECK_TRUE(pvsched_core_set_policy(&f.core, "p", 1));
  f.write(PVSCHED_REG_POLICY_ACCEPT, 1);
  UNSIGNED_LONGLONGS_EQUAL(1, f.read(PVSCHED_REG_POLICY_ACCEPT));
  pvsched_core_set_areas(&f.core, true);
  UNSIGNED_LONGLONGS_EQUAL(0, f.read(PVSCHED_REG_POLICY_ACCEPT));
  pvsched_core_set_areas(&f.core, true);
  pvsched_core_set_areas(&f.core, false);
  pvsched_core_set_areas(&f.core, false);  // nothing to take away
  CHECK_TRUE(pvsched_core_set_policy(&f.core, "p", 1));  // nothing new
  CHECK_TRUE(pvsched_core_set_policy(&f.core, "", 0));
  UNSIGNED_LONGLONGS_EQUAL(5, f.read(PVSCHED_REG_GENERATION));
  LONGS_EQUAL(5, f.notified);
}

TEST(CoreHost, R5_no_interrupt_before_driver_ok) {
  f.negotiate();
  pvsched_core_set_areas(&f.core, true);
  LONGS_EQUAL(0, f.notified);
}

TEST(CoreHost, R5_only_the_current_version_is_accepted) {
  pvsched_core_set_policy(&f.core, "p", 7);
  f.write(PVSCHED_REG_POLICY_ACCEPT, 7);
  f.write(PVSCHED_REG_POLICY_ACCEPT, 8);
  UNSIGNED_LONGLONGS_EQUAL(0, f.read(PVSCHED_REG_POLICY_ACCEPT));
  f.write(PVSCHED_REG_POLICY_ACCEPT, 0);
  UNSIGNED_LONGS_EQUAL(1, f.core.errors[PVSCHED_ERR_POLICY]);
}

TEST(CoreHost, R5_bad_policies_change_nothing) {
  CHECK_TRUE(pvsched_core_set_policy(&f.core, "good", 1));
  const std::string longest(31, 'x'), too_long(32, 'x');
  for (const char* bad : {"a b", "a:b", "a/b", "\xc3\xa4", too_long.c_str()})
    CHECK_FALSE(pvsched_core_set_policy(&f.core, bad, 1));
  CHECK_FALSE(pvsched_core_set_policy(&f.core, "good", 0));
  CHECK_FALSE(pvsched_core_set_policy(&f.core, "", 1));
  UNSIGNED_LONGLONGS_EQUAL(1, f.read(PVSCHED_REG_GENERATION));
  STRCMP_EQUAL("good", f.core.policy_name);
  CHECK_TRUE(pvsched_core_set_policy(&f.core, longest.c_str(), UINT32_MAX));
}

TEST_GROUP(CoreState) {
  CoreFixture f;
  PvschedSaved saved;
  void setup() override {
    pvsched_core_set_areas(&f.core, true);
    f.negotiate();
    f.choose_gpa(0x5000);
    f.driver_ok();
    f.write(PVSCHED_REG_MAGIC, 0);
    f.write(PVSCHED_REG_DOORBELL, 0);
    pvsched_core_save(&f.core, &saved);
  }
  void teardown() override { LONGS_EQUAL(0, f.misuse); }
};

TEST(CoreState, R14_the_drivers_side_arrives_without_areas_and_with_a_new_generation) {
  CoreFixture g;
  POINTERS_EQUAL(nullptr, pvsched_core_load(&g.core, &saved));
  UNSIGNED_LONGLONGS_EQUAL(f.status(), g.status());
  UNSIGNED_LONGLONGS_EQUAL(f.read(PVSCHED_REG_GENERATION) + 1, g.read(PVSCHED_REG_GENERATION));
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_WAITING, g.result());
  UNSIGNED_LONGLONGS_EQUAL(1, g.read(PVSCHED_REG_GUEST_ERRORS));
  UNSIGNED_LONGLONGS_EQUAL(1, g.core.doorbells);
  LONGS_EQUAL(1, g.notified);
  pvsched_core_set_areas(&g.core, true);
  UNSIGNED_LONGLONGS_EQUAL(0x5000, g.overlay_gpa);
  LONGS_EQUAL(0, g.misuse);
}

TEST(CoreState, R14_areas_that_are_there_already_are_mapped) {
  CoreFixture g;
  pvsched_core_set_areas(&g.core, true);
  POINTERS_EQUAL(nullptr, pvsched_core_load(&g.core, &saved));
  LONGS_EQUAL(PVSCHED_SHOWN_GPA, g.shown);
}

TEST(CoreState, R14_a_hostile_state_is_refused_whole) {
  auto refused = [&](auto change) {
    CoreFixture g;
    PvschedSaved bad = saved;
    change(bad);
    CHECK_TRUE(pvsched_core_load(&g.core, &bad) != nullptr);
    UNSIGNED_LONGLONGS_EQUAL(0, g.status());
    UNSIGNED_LONGLONGS_EQUAL(0, g.read(PVSCHED_REG_GENERATION));
  };
  refused([](auto& s) { s.slots = 5; });
  refused([](auto& s) { s.host_features |= 1ull << 40; });
  refused([](auto& s) { s.guest_features |= 1ull << 40; });
  refused([](auto& s) { s.driver_status |= 0x10; });
  refused([](auto& s) { s.driver_status = PVSCHED_DRIVER_OK; });
  refused([](auto& s) { s.driver_status = PVSCHED_DRIVER_FEATURES_OK; });
  refused([](auto& s) { s.driver_status |= PVSCHED_DRIVER_FAILED; });
  refused([](auto& s) { s.transport = 3; });
  refused([](auto& s) { s.guest_features &= ~PVSCHED_F_GPA; });
  refused([](auto& s) { s.result = 99; });
  refused([](auto& s) { s.transport = 0; });
}

TEST(CoreState, R14_a_bad_address_is_refused_where_it_is_no_ram) {
  CoreFixture g;
  g.is_ram = [](uint64_t, uint64_t) { return false; };
  POINTERS_EQUAL(nullptr, pvsched_core_load(&g.core, &saved));
  UNSIGNED_LONGLONGS_EQUAL(PVSCHED_RESULT_BAD_GPA, g.result());
}

TEST(CoreState, names_of_states) {
  STRCMP_EQUAL("gpa", pvsched_transport_name(PVSCHED_TRANSPORT_GPA));
  STRCMP_EQUAL("unknown", pvsched_transport_name(99));
  STRCMP_EQUAL("bad-gpa", pvsched_result_name(PVSCHED_RESULT_BAD_GPA));
  STRCMP_EQUAL("unknown", pvsched_result_name(99));
}
