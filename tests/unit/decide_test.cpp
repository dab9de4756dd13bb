// SPDX-License-Identifier: GPL-2.0-or-later
// The framework's arithmetic with the default policy: cases by name, then properties under random intents and times.
// The intent word (R9) and the state word (R10).
#include "decide.h"

#include <random>
#include <vector>

#include <CppUTest/TestHarness.h>

#include "policies/latency.bpf.c"

namespace {

constexpr __u64 kUs = 1000, kMs = 1000 * kUs;

__u64 word(__u8 flags, __u8 critical = 0, __u8 seq = 0, __u8 policy = 0, int nice = 0, __u8 rt = 0) {
  return static_cast<__u64>(flags) << PVSCHED_INTENT_FLAGS_SHIFT |
         static_cast<__u64>(critical) << PVSCHED_INTENT_CRITICAL_SHIFT |
         static_cast<__u64>(seq) << PVSCHED_INTENT_IRQ_SEQ_SHIFT |
         static_cast<__u64>(static_cast<__u8>(nice)) << PVSCHED_INTENT_CUR_NICE_SHIFT |
         static_cast<__u64>(rt) << PVSCHED_INTENT_CUR_RT_SHIFT | policy;
}

__u64 pending(__u64 intent, __u8 policy, int nice, __u8 rt) {
  return intent | static_cast<__u64>(PVSCHED_INTENT_PENDING) << PVSCHED_INTENT_FLAGS_SHIFT |
         static_cast<__u64>(policy) << PVSCHED_INTENT_PEND_POLICY_SHIFT |
         static_cast<__u64>(static_cast<__u8>(nice)) << PVSCHED_INTENT_PEND_NICE_SHIFT |
         static_cast<__u64>(rt) << PVSCHED_INTENT_PEND_RT_SHIFT;
}

constexpr __u8 kValid = PVSCHED_INTENT_VALID;
constexpr __u8 kIdle = PVSCHED_INTENT_VALID | PVSCHED_INTENT_IDLE;

}  // namespace

TEST_GROUP(Decide) {
  pvs_limits l{};
  pvs_machine m{};
  pvs_policy_state state{};
  pvs_policy_wish wish{};
  __u64 now = 1000 * kMs;

  void setup() override {
    l.critical_ns = PVS_CRITICAL_NS_DEFAULT;
    l.total_ns = PVS_TOTAL_NS_DEFAULT;
    l.throttle_ns = PVS_THROTTLE_NS_DEFAULT;
    l.hold_ns = PVS_HOLD_NS_DEFAULT;
    l.inject_ns = PVS_INJECT_NS_DEFAULT;
    l.enabled = 1;
    l.rt_policy = PVSCHED_SCHED_FIFO;
    l.rt_max = PVS_RT_MAX_DEFAULT;
    l.rt_critical = PVS_RT_CRITICAL_DEFAULT;
    pvs_machine_init(&m, &l, now);
  }
  __u64 in_force_until = 0;  // a boost is taken back at once

  pvs_outcome step(pvs_event ev, __u64 intent = 0, __u64 after = 10 * kUs, bool on = true) {
    now += after;
    pvs_outcome out{};
    pvs_policy_event event{};
    pvs_account(&m, &l, pvs_run_after(m.run, ev), in_force_until, now, &out);
    pvs_tell(&m, &l, pvs_read_intent(&l, intent), PVS_EVENT(ev), now, &out, &event, &wish);
    pvs_policy_latency(&event, &state, &wish);
    pvs_decide(&m, &l, &wish, on, now, &out);
    return out;
  }
  unsigned class_of(const pvs_outcome& out) { return pvs_decision_class(out.decision); }
};

TEST(Decide, a_running_vcpu_is_not_raised) {
  step(PVS_EV_SWITCH_IN);
  pvs_outcome out = step(PVS_EV_GUEST, word(kValid, PVSCHED_CRITICAL_HARDIRQ));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(out));
}

TEST(Decide, a_preempted_critical_section_is_raised_and_lowered_when_done) {
  step(PVS_EV_SWITCH_IN);
  pvs_outcome out = step(PVS_EV_PREEMPTED, word(kValid, PVSCHED_CRITICAL_SOFTIRQ));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(out));
  LONGS_EQUAL(PVSCHED_SCHED_FIFO, pvs_decision_policy(out.decision));
  LONGS_EQUAL(PVS_RT_CRITICAL_DEFAULT, pvs_decision_rt(out.decision));
  CHECK(out.changed);
  step(PVS_EV_SWITCH_IN, word(kValid, PVSCHED_CRITICAL_SOFTIRQ));
  out = step(PVS_EV_GUEST, word(kValid));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(out));
}

TEST(Decide, the_doorbell_is_asked_for_only_where_it_ends_the_boost) {
  auto kick_wanted = [this] {
    return ((pvs_state_word(&m) >> PVSCHED_STATE_FLAGS_SHIFT) & PVSCHED_STATE_KICK_WANTED) != 0;
  };
  const __u64 urgent = word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 20);
  step(PVS_EV_SWITCH_IN);
  CHECK_FALSE(kick_wanted());
  step(PVS_EV_SLEEP, word(kIdle));
  step(PVS_EV_WAKING);
  step(PVS_EV_SWITCH_IN);
  CHECK_FALSE(kick_wanted());  // within the hold
  pvs_outcome out = step(PVS_EV_TIMER, urgent, l.hold_ns);
  LONGS_EQUAL(PVSCHED_CLASS_TASK, class_of(out));
  CHECK(kick_wanted());
}

TEST(Decide, what_a_word_seen_before_can_still_change) {
  const __u64 idle = word(kIdle, 0, 7);
  step(PVS_EV_SLEEP, idle);
  LONGS_EQUAL(PVS_EVENT(PVS_EV_GUEST), wish.quiet);  // not INJECT: the first that tells of an interrupt
  step(PVS_EV_INJECT, idle);
  LONGS_EQUAL(PVS_EVENT(PVS_EV_GUEST) | PVS_EVENT(PVS_EV_INJECT), wish.quiet);
  step(PVS_EV_WAKING, idle);
  step(PVS_EV_SWITCH_IN, idle);
  step(PVS_EV_TIMER, idle, l.hold_ns);
  step(PVS_EV_INJECT, idle);
  LONGS_EQUAL(PVS_EVENT(PVS_EV_GUEST), wish.quiet);  // beyond the hold each renews the reason
}

TEST(Decide, a_guest_task_is_mirrored_and_capped) {
  step(PVS_EV_SWITCH_IN);
  pvs_outcome out = step(PVS_EV_PREEMPTED, word(kValid, 0, 0, PVSCHED_SCHED_RR, 0, 20));
  LONGS_EQUAL(PVSCHED_CLASS_TASK, class_of(out));
  LONGS_EQUAL(PVSCHED_SCHED_RR, pvs_decision_policy(out.decision));
  LONGS_EQUAL(20, pvs_decision_rt(out.decision));
  out = step(PVS_EV_GUEST, word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 99));
  LONGS_EQUAL(PVS_RT_MAX_DEFAULT, pvs_decision_rt(out.decision));
}

TEST(Decide, the_pending_task_counts_if_it_is_more_urgent) {
  __u64 batch = word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 5);
  step(PVS_EV_SWITCH_IN);
  pvs_outcome out = step(PVS_EV_PREEMPTED, pending(batch, PVSCHED_SCHED_FIFO, 0, 30));
  LONGS_EQUAL(30, pvs_decision_rt(out.decision));
  out = step(PVS_EV_GUEST, pending(batch, PVSCHED_SCHED_OTHER, -5, 0));
  LONGS_EQUAL(5, pvs_decision_rt(out.decision));
}

TEST(Decide, fair_tasks_boost_only_where_a_nice_cap_lets_them) {
  step(PVS_EV_SWITCH_IN);
  LONGS_EQUAL(0, step(PVS_EV_PREEMPTED, word(kValid, 0, 0, PVSCHED_SCHED_OTHER, -10)).decision);
  l.nice_min = -5;
  pvs_outcome out = step(PVS_EV_GUEST, word(kValid, 0, 0, PVSCHED_SCHED_OTHER, -10));
  LONGS_EQUAL(PVSCHED_CLASS_TASK, class_of(out));
  LONGS_EQUAL(-5, pvs_decision_nice(out.decision));
}

TEST(Decide, an_empty_critical_budget_throttles_for_the_configured_time) {
  const __u64 rogue = word(kValid, PVSCHED_CRITICAL_PREEMPT_OFF);
  step(PVS_EV_SWITCH_IN, rogue);
  step(PVS_EV_PREEMPTED, rogue);
  pvs_outcome out = step(PVS_EV_SWITCH_IN, rogue);
  LONGS_EQUAL(now + l.critical_ns, out.deadline);
  out = step(PVS_EV_TIMER, rogue, l.critical_ns);
  CHECK(out.critical_throttle);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(out));
  CHECK((pvs_state_word(&m) >> PVSCHED_STATE_FLAGS_SHIFT) & PVSCHED_STATE_CRITICAL_THROTTLED);
  out = step(PVS_EV_PREEMPTED, rogue, kMs);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(out));
  CHECK(out.deadline != PVS_NEVER);
  CHECK(out.deadline >= now + l.throttle_ns - 2 * kMs);
  out = step(PVS_EV_TIMER, rogue, out.deadline - now);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(out));
}

TEST(Decide, a_boost_that_lasted_too_long_lengthens_its_throttle_in_proportion) {
  const __u64 rogue = word(kValid, PVSCHED_CRITICAL_PREEMPT_OFF);
  step(PVS_EV_SWITCH_IN, rogue);
  step(PVS_EV_PREEMPTED, rogue);
  step(PVS_EV_SWITCH_IN, rogue);
  step(PVS_EV_TIMER, rogue, l.critical_ns + l.critical_ns / 2);  // half a budget late
  CHECK(m.critical_until >= now + l.throttle_ns * 3 / 2 - 10 * kUs);
  CHECK(m.critical_until <= now + l.throttle_ns * 3 / 2 + 10 * kUs);
  in_force_until = now + l.critical_ns;  // and the actuator a whole budget
  pvs_outcome out = step(PVS_EV_PREEMPTED, rogue, l.critical_ns);
  CHECK(m.critical_until >= now - l.critical_ns + l.throttle_ns * 5 / 2 - 10 * kUs);
  CHECK(out.deadline >= m.critical_until);
  out = step(PVS_EV_TIMER, rogue, out.deadline - now);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(out));
}

// Preempted within its claim it is boosted, lowered soon after, and runs on; else it waits its turn.
TEST(Decide, a_guest_that_flaps_is_boosted_no_more_than_one_that_never_lets_go) {
  const __u64 urgent = word(kValid, PVSCHED_CRITICAL_PREEMPT_OFF), calm = word(kValid);
  const __u64 begin = now;
  __u64 boosted = 0;
  auto note = [&](const pvs_outcome& out) { boosted += out.ran_boosted; };
  for (int turn = 0; turn < 20000; ++turn) {
    note(step(PVS_EV_SWITCH_IN, calm, 3 * kMs));
    pvs_outcome out = step(PVS_EV_PREEMPTED, turn % 2 ? urgent : calm, kMs);
    note(out);
    if (class_of(out) == PVSCHED_CLASS_BASELINE) continue;
    note(step(PVS_EV_SWITCH_IN, urgent));
    note(step(PVS_EV_GUEST, calm, 500 * kUs));
    note(step(PVS_EV_PREEMPTED, calm, kMs));
  }
  double allowed =
      static_cast<double>(now - begin) * PVS_CRITICAL_NS_DEFAULT / (PVS_CRITICAL_NS_DEFAULT + PVS_THROTTLE_NS_DEFAULT);
  CHECK(static_cast<double>(boosted) > 0.8 * allowed);
  CHECK(static_cast<double>(boosted) < 1.1 * allowed);
}

TEST(Decide, sleep_refills_one_to_one) {
  const __u64 urgent = word(kValid, PVSCHED_CRITICAL_PREEMPT_OFF);
  step(PVS_EV_SWITCH_IN, urgent);
  step(PVS_EV_PREEMPTED, urgent);
  step(PVS_EV_SWITCH_IN, urgent);
  step(PVS_EV_SLEEP, word(kIdle), kMs);
  LONGS_EQUAL(l.critical_ns - kMs, m.critical_left);
  step(PVS_EV_WAKING, word(kIdle), PVS_RECOVERY_NS + kMs / 2);
  LONGS_EQUAL(l.critical_ns - kMs / 2, m.critical_left);
}

TEST(Decide, a_throttle_is_lengthened_by_a_second_at_most) {
  const __u64 rogue = word(kValid, PVSCHED_CRITICAL_PREEMPT_OFF);
  step(PVS_EV_SWITCH_IN, rogue);
  step(PVS_EV_PREEMPTED, rogue);
  step(PVS_EV_SWITCH_IN, rogue);
  step(PVS_EV_TIMER, rogue, 100 * 1000 * kMs);
  CHECK(m.critical_until <= now + l.throttle_ns + 1000 * kMs + 1);
  CHECK(m.critical_until >= now + 1000 * kMs);
}

TEST(Decide, a_throttled_critical_section_still_gets_its_tasks_boost) {
  const __u64 both = word(kValid, PVSCHED_CRITICAL_HARDIRQ, 0, PVSCHED_SCHED_FIFO, 0, 10);
  step(PVS_EV_SWITCH_IN, both);
  step(PVS_EV_PREEMPTED, both);
  step(PVS_EV_SWITCH_IN, both);
  pvs_outcome out = step(PVS_EV_TIMER, both, l.critical_ns);
  LONGS_EQUAL(PVSCHED_CLASS_TASK, class_of(out));
  LONGS_EQUAL(10, pvs_decision_rt(out.decision));
}

TEST(Decide, flapping_faster_than_the_recovery_time_refills_nothing) {
  const __u64 on = word(kValid, PVSCHED_CRITICAL_HARDIRQ), off = word(kValid);
  step(PVS_EV_SWITCH_IN);
  __u64 boosted = 0;
  for (int i = 0; i < 1000 && !m.critical_until; ++i) {
    step(PVS_EV_PREEMPTED, on);
    step(PVS_EV_SWITCH_IN, on);
    boosted += step(PVS_EV_GUEST, off, 10 * kUs).ran;
  }
  CHECK(m.critical_until != 0);
  LONGS_EQUAL(l.critical_ns, boosted);
}

TEST(Decide, a_boost_is_charged_until_it_is_taken_back) {
  const __u64 on = word(kValid, PVSCHED_CRITICAL_HARDIRQ), off = word(kValid);
  step(PVS_EV_SWITCH_IN);
  step(PVS_EV_PREEMPTED, on);
  step(PVS_EV_SWITCH_IN, on);
  step(PVS_EV_GUEST, off, 10 * kUs);
  __u64 left = m.critical_left;
  in_force_until = now + 40 * kUs;  // the actuator's delay
  pvs_outcome out = step(PVS_EV_GUEST, off, 60 * kUs);
  LONGS_EQUAL(40 * kUs, out.ran_boosted);
  LONGS_EQUAL(left - 40 * kUs, m.critical_left);
  LONGS_EQUAL(0, step(PVS_EV_GUEST, off, 60 * kUs).ran_boosted);
}

TEST(Decide, a_running_task_is_not_raised_within_its_class) {
  step(PVS_EV_SWITCH_IN);
  step(PVS_EV_PREEMPTED, word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 10));
  step(PVS_EV_SWITCH_IN, word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 10));
  CHECK_FALSE(step(PVS_EV_GUEST, word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 11)).changed);
  LONGS_EQUAL(9, pvs_decision_rt(step(PVS_EV_GUEST, word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 9)).decision));
}

TEST(Decide, a_halted_vcpu_without_driver_wakes_boosted_and_is_lowered_after_the_hold) {
  step(PVS_EV_SWITCH_IN);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_SLEEP)));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_WAKING, 0, 5 * kMs)));
  pvs_outcome out = step(PVS_EV_SWITCH_IN);
  LONGS_EQUAL(now + l.hold_ns, out.deadline);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_TIMER, 0, l.hold_ns)));
}

TEST(Decide, a_guest_that_wakes_for_an_ordinary_task_stays_boosted_for_the_hold) {
  step(PVS_EV_SWITCH_IN, word(kIdle));
  step(PVS_EV_SLEEP, word(kIdle));
  step(PVS_EV_INJECT, word(kIdle), kMs);
  step(PVS_EV_SWITCH_IN, word(kIdle));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_GUEST, word(kValid, 0, 1), 20 * kUs)));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_TIMER, word(kValid, 0, 1), l.hold_ns - 20 * kUs)));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_GUEST, word(kValid, 0, 1), kMs)));
}

TEST(Decide, an_idle_guest_that_halts_again_in_time_changes_nothing) {
  step(PVS_EV_SWITCH_IN, word(kIdle));
  CHECK(step(PVS_EV_SLEEP, word(kIdle)).changed);
  for (int i = 0; i < 100; ++i) {
    CHECK_FALSE(step(PVS_EV_WAKING, word(kIdle), kMs).changed);
    CHECK_FALSE(step(PVS_EV_SWITCH_IN, word(kIdle)).changed);
    CHECK_FALSE(step(PVS_EV_GUEST, word(kValid, PVSCHED_CRITICAL_HARDIRQ), 20 * kUs).changed);
    CHECK_FALSE(step(PVS_EV_SLEEP, word(kIdle), 50 * kUs).changed);
  }
}

TEST(Decide, a_driver_that_is_not_idle_sleeps_in_the_vmm_and_is_not_boosted) {
  step(PVS_EV_SWITCH_IN, word(kValid));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_SLEEP, word(kValid))));
}

TEST(Decide, an_interrupt_for_a_preempted_vcpu_boosts_it_until_the_sequence_moves) {
  step(PVS_EV_SWITCH_IN, word(kValid, 0, 7));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_PREEMPTED, word(kValid, 0, 7))));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_INJECT, word(kValid, 0, 7), kMs)));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_SWITCH_IN, word(kValid, 0, 7))));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_GUEST, word(kValid, 0, 7))));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_GUEST, word(kValid, PVSCHED_CRITICAL_HARDIRQ, 7))));
  const __u64 tail = l.inject_ns / PVS_TAIL_PART;
  pvs_outcome out = step(PVS_EV_GUEST, word(kValid, 0, 8));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(out));
  LONGS_EQUAL(now + tail, out.deadline);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_TIMER, word(kValid, 0, 8), tail)));
}

TEST(Decide, an_interrupt_that_is_handled_late_has_no_more_than_is_left_of_its_run_time) {
  step(PVS_EV_SWITCH_IN, word(kValid, 0, 7));
  step(PVS_EV_PREEMPTED, word(kValid, 0, 7));
  step(PVS_EV_INJECT, word(kValid, 0, 7));
  step(PVS_EV_SWITCH_IN, word(kValid, 0, 7));
  pvs_outcome out = step(PVS_EV_GUEST, word(kValid, 0, 8), l.inject_ns - kUs);
  LONGS_EQUAL(now + PVS_TIMER_MIN_NS, out.deadline);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_TIMER, word(kValid, 0, 8), kUs)));
}

TEST(Decide, an_interrupt_that_is_never_handled_is_let_go_after_its_run_time) {
  step(PVS_EV_SWITCH_IN);
  step(PVS_EV_PREEMPTED);
  step(PVS_EV_INJECT);
  pvs_outcome out = step(PVS_EV_SWITCH_IN);
  LONGS_EQUAL(now + l.inject_ns, out.deadline);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_TIMER, 0, l.inject_ns)));
}

TEST(Decide, bad_words_select_the_baseline) {
  const std::vector<__u64> bad = {
      word(kValid | 0x04),  // unknown flag
      word(kValid, 0x10),  // unknown critical bit
      word(kValid, 0, 0, 4),  // no such policy
      word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 0),  // real time without priority
      word(kValid, 0, 0, PVSCHED_SCHED_FIFO, 0, 100),  // above 99
      word(kValid, 0, 0, PVSCHED_SCHED_OTHER, 20),  // nice above 19
      word(kValid, 0, 0, PVSCHED_SCHED_OTHER, -21),  // nice below -20
      word(kValid, 0, 0, PVSCHED_SCHED_OTHER, 0, 1),  // fair with a priority
      pending(word(kValid), PVSCHED_SCHED_RR, 0, 0),  // the pending task's
  };
  for (__u64 w : bad) {
    CHECK(pvs_read_intent(&l, w) & PVS_NEED_BAD);
    step(PVS_EV_SLEEP);  // a reason to boost
    LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_WAKING, w)));
  }
  LONGS_EQUAL(0, pvs_read_intent(&l, ~0ull >> 8));  // not VALID: says nothing
}

TEST(Decide, both_switches_select_the_baseline_at_once) {
  step(PVS_EV_SWITCH_IN);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_SLEEP)));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_ADMIN, 0, 0, false)));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, class_of(step(PVS_EV_ADMIN)));
  l.enabled = 0;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, class_of(step(PVS_EV_ADMIN)));
}

TEST(Decide, a_lowered_budget_holds_at_once) {
  l.critical_ns = 100 * kUs;
  step(PVS_EV_ADMIN);
  CHECK(m.critical_left <= 100 * kUs);
}

// A guest that writes anything at any time, with switches, interrupts and timers in any order. The test keeps its own
// account and holds the machine to it.
TEST(Decide, property_budget_and_caps_hold_and_the_baseline_is_reached) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    auto pick = [&](__u64 n) { return random() % n; };
    l.critical_ns = (1 + pick(40)) * 100 * kUs;
    l.total_ns = l.critical_ns + pick(100) * kMs;
    l.throttle_ns = pick(100) * kMs;
    l.rt_max = static_cast<__u8>(pick(99));
    l.rt_critical = static_cast<__u8>(std::max<__u64>(1 + pick(98), l.rt_max));
    l.nice_min = static_cast<__s8>(-static_cast<int>(pick(21)));
    pvs_machine_init(&m, &l, now);

    // A model of its own: what may be left at most, refilled by any rest, and how long each throttle must last.
    __u64 critical = l.critical_ns, total = l.total_ns, deadline = PVS_NEVER, no_critical_before = 0;
    pvs_run run = PVS_RUN_RUNNING;
    for (int i = 0; i < 2000; ++i) {
      __u64 after = pick(3) ? pick(50 * kUs) : pick(20 * kMs);
      pvs_event ev = PVS_EV_GUEST;
      __u64 kind = pick(8);
      if (run == PVS_RUN_RUNNING) {
        if (kind == 0) ev = PVS_EV_SLEEP;
        if (kind == 1) ev = PVS_EV_PREEMPTED;
      } else if (run == PVS_RUN_SLEEPING) {
        ev = PVS_EV_WAKING;
      } else if (kind < 3) {
        ev = PVS_EV_SWITCH_IN;
      }
      if (kind == 4) ev = PVS_EV_INJECT;
      if (deadline != PVS_NEVER && deadline <= now + after) {  // the timer comes first
        after = deadline - now;
        ev = PVS_EV_TIMER;
      }
      __u64 intent = pick(2) ? random()
                             : word(kValid, static_cast<__u8>(pick(16)), static_cast<__u8>(pick(256)),
                                    PVSCHED_SCHED_FIFO, 0, static_cast<__u8>(1 + pick(99)));
      unsigned before = pvs_decision_class(m.decision);
      bool ran_boosted = run == PVS_RUN_RUNNING && before != PVSCHED_CLASS_BASELINE;
      pvs_outcome out = step(ev, intent, after);
      if (ran_boosted) {
        CHECK(after <= total + PVS_TIMER_MIN_NS);
        total -= std::min(total, after);
        if (before == PVSCHED_CLASS_CRITICAL) {
          CHECK(after <= critical + PVS_TIMER_MIN_NS);
          critical -= std::min(critical, after);
        }
      } else {
        critical = std::min<__u64>(l.critical_ns, critical + after);
        total = std::min<__u64>(l.total_ns, total + after);
      }
      if (out.critical_throttle) no_critical_before = now + l.throttle_ns;
      if (now < no_critical_before) CHECK(pvs_decision_class(out.decision) != PVSCHED_CLASS_CRITICAL);
      // Nor more than a full budget in one go.
      CHECK(m.critical_left <= l.critical_ns);
      CHECK(m.total_left <= l.total_ns);
      switch (pvs_decision_class(out.decision)) {
        case PVSCHED_CLASS_BASELINE:
          LONGS_EQUAL(0, out.decision);
          break;
        case PVSCHED_CLASS_TASK:
          CHECK(pvs_decision_rt(out.decision) <= l.rt_max);
          CHECK(pvs_decision_nice(out.decision) >= l.nice_min);
          break;
        case PVSCHED_CLASS_CRITICAL:
          CHECK(pvs_decision_rt(out.decision) <= l.rt_critical);
          CHECK(!m.critical_until && !m.total_until);
          break;
        default:
          FAIL("no such class");
      }
      // Whatever runs boosted is looked at again in time.
      if (m.run == PVS_RUN_RUNNING && pvs_decision_class(out.decision)) CHECK(out.deadline <= now + l.total_ns + kMs);
      deadline = out.deadline;
      run = static_cast<pvs_run>(m.run);
    }
    // Left alone in its worst state it comes to the baseline by timers alone.
    const __u64 rogue = word(kValid, PVSCHED_CRITICAL_ALL, 0, PVSCHED_SCHED_FIFO, 0, 99);
    step(PVS_EV_SWITCH_IN, rogue);
    bool reached = pvs_decision_class(m.decision) == PVSCHED_CLASS_BASELINE;
    for (int i = 0; i < 10 && !reached; ++i) {
      pvs_outcome out = step(PVS_EV_GUEST, rogue, 0);
      CHECK(out.deadline != PVS_NEVER);
      reached = class_of(step(PVS_EV_TIMER, rogue, out.deadline - now)) == PVSCHED_CLASS_BASELINE;
    }
    CHECK(reached);
  }
}
