// SPDX-License-Identifier: GPL-2.0-or-later
// The policies of the library as native functions; the default one has its cases in decide_test.cpp.
#include <CppUTest/TestHarness.h>

#include "policies/agentless.bpf.c"
#include "policies/audio.bpf.c"
#include "policies/batch.bpf.c"
#include "policies/mirror.bpf.c"
#include "policies/tagged.bpf.c"

namespace {

constexpr __u64 kUs = 1000, kMs = 1000 * kUs;
constexpr __u32 kTask = 9u << 24 | PVSCHED_SCHED_FIFO << 8 | PVSCHED_CLASS_TASK;
using Policy = void (*)(const pvs_policy_event*, pvs_policy_state*, pvs_policy_wish*);

}  // namespace

TEST_GROUP(Policies) {
  pvs_policy_event event{};
  pvs_policy_state state{};
  pvs_policy_wish wish{};
  Policy policy = nullptr;

  void setup() override {
    event.now = 1000 * kMs;
    event.hold = 200 * kUs;
    event.inject = 500 * kUs;
    event.critical = pvs_decision(PVSCHED_CLASS_CRITICAL, PVSCHED_SCHED_FIFO, 0, 60);
  }
  // One event after `after`; returns the class that is wished.
  unsigned tell(pvs_event ev, __u64 after, __u64 need = 0, __u32 task = 0, bool ran = false) {
    event.now += after;
    event.ran = ran ? after : 0;
    event.events = PVS_EVENT(ev);
    event.need = need;
    event.task = task;
    wish = {PVS_NEVER, PVS_NEVER, 0, 0, 0, 0};
    policy(&event, &state, &wish);
    return pvs_decision_class(wish.body);
  }
  // Interrupts of a period, until it is known.
  void learn(__u64 period) {
    for (int i = 0; i < PVS_AUDIO_SURE; ++i) tell(PVS_EV_INJECT, period);
  }
};

TEST(Policies, mirror_gives_the_task_and_nothing_for_reasons_of_the_hosts) {
  policy = pvs_policy_mirror;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_SLEEP, kMs));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_INJECT, kMs, PVS_NEED_VALID | PVS_NEED_CRITICAL));
  tell(PVS_EV_GUEST, kMs, PVS_NEED_VALID, kTask);
  LONGS_EQUAL(kTask, wish.body);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_GUEST, kMs, PVS_NEED_VALID));
}

TEST(Policies, agentless_does_not_heed_the_guest) {
  policy = pvs_policy_agentless;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_PREEMPTED, kMs, PVS_NEED_VALID | PVS_NEED_CRITICAL, kTask));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_SLEEP, kMs, PVS_NEED_VALID));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_WAKING, kMs, PVS_NEED_BAD));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_TIMER, 200 * kUs, PVS_NEED_VALID, 0, true));
}

TEST(Policies, batch_always_gives_way) {
  policy = pvs_policy_batch;
  for (pvs_event ev : {PVS_EV_SLEEP, PVS_EV_INJECT, PVS_EV_GUEST})
    LONGS_EQUAL(PVSCHED_CLASS_YIELD, tell(ev, kMs, PVS_NEED_VALID | PVS_NEED_CRITICAL, kTask));
  LONGS_EQUAL(PVSCHED_NICE_MAX, pvs_decision_nice(wish.body));
}

TEST(Policies, audio_learns_a_period_and_boosts_ahead_of_the_next_interrupt) {
  policy = pvs_policy_audio;
  learn(2 * kMs);
  LONGS_EQUAL(2 * kMs, state.word[3]);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_PREEMPTED, kMs));
  LONGS_EQUAL(event.now + kMs - PVS_AUDIO_LEAD_NS, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_TIMER, kMs - PVS_AUDIO_LEAD_NS));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_INJECT, PVS_AUDIO_LEAD_NS + 100 * kUs));  // late: still waited for
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_PREEMPTED, kMs));
}

TEST(Policies, audio_boosts_what_comes_between_only_if_the_guest_asks) {
  policy = pvs_policy_audio;
  learn(2 * kMs);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_INJECT, 900 * kUs));
  LONGS_EQUAL(2 * kMs, state.word[3]);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_PREEMPTED, 10 * kUs, PVS_NEED_VALID, kTask));
}

TEST(Policies, audio_follows_a_new_period_and_is_as_agentless_meanwhile) {
  policy = pvs_policy_audio;
  learn(2 * kMs);
  for (int i = 0; i < 2 * PVS_AUDIO_SURE; ++i) tell(PVS_EV_INJECT, 10 * kMs);
  LONGS_EQUAL(10 * kMs, state.word[3]);
  tell(PVS_EV_INJECT, 200 * kMs);  // it pauses
  LONGS_EQUAL(0, state.word[4]);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_SLEEP, kMs));
}

TEST(Policies, audio_lets_go_of_a_guest_whose_word_is_bad) {
  policy = pvs_policy_audio;
  learn(2 * kMs);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_TIMER, 2 * kMs, PVS_NEED_BAD));
}

TEST(Policies, tagged_background_gives_way_while_a_foreground_thread_wants_a_cpu_and_a_little_longer) {
  policy = pvs_policy_tagged;
  event.tag = PVS_TAG_BACKGROUND;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_PREEMPTED, kMs, PVS_NEED_VALID | PVS_NEED_CRITICAL, kTask));
  event.foreground = 1;
  LONGS_EQUAL(PVSCHED_CLASS_YIELD, tell(PVS_EV_FOREGROUND, kMs));
  LONGS_EQUAL(PVSCHED_NICE_MAX, pvs_decision_nice(wish.body));
  event.foreground = 0;
  LONGS_EQUAL(PVSCHED_CLASS_YIELD, tell(PVS_EV_PREEMPTED, kMs));
  LONGS_EQUAL(event.now - kMs + PVS_TAGGED_LINGER_NS, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_TIMER, PVS_TAGGED_LINGER_NS - kMs));
  CHECK(wish.at == PVS_NEVER);
}

TEST(Policies, tagged_serves_all_others_by_what_they_need) {
  policy = pvs_policy_tagged;
  event.foreground = 1;
  for (__u32 tag : {PVS_TAG_FOREGROUND, PVS_TAG_NONE, PVS_TAG_OWN_MIN}) {
    event.tag = tag;
    LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_PREEMPTED, kMs, PVS_NEED_VALID | PVS_NEED_CRITICAL));
    LONGS_EQUAL(PVSCHED_CLASS_TASK, tell(PVS_EV_GUEST, kMs, PVS_NEED_VALID, kTask));
  }
}

TEST(Policies, tagged_leaves_no_reason_of_another_tags_time_over) {
  policy = pvs_policy_tagged;
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_SLEEP, kMs));
  event.tag = PVS_TAG_BACKGROUND;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_ADMIN, kMs));
  event.tag = PVS_TAG_NONE;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_ADMIN, kMs));
}
