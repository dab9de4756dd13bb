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
    if (ev == PVS_EV_SLEEP) event.run = PVS_RUN_SLEEPING;
    if (ev == PVS_EV_WAKING || ev == PVS_EV_PREEMPTED) event.run = PVS_RUN_WAITING;
    if (ev == PVS_EV_SWITCH_IN) event.run = PVS_RUN_RUNNING;
    event.need = need;
    event.task = task;
    wish = {PVS_NEVER, PVS_NEVER, 0, 0, 0, 0};
    policy(&event, &state, &wish);
    return pvs_decision_class(wish.body);
  }
  // The guest wakes, works on its urgent task and halts, the next time `period` later.
  void beat(__u64 period, __u64 work) {
    tell(PVS_EV_WAKING, period - work, PVS_NEED_VALID | PVS_NEED_IDLE);
    tell(PVS_EV_SWITCH_IN, 0, PVS_NEED_VALID | PVS_NEED_IDLE);
    tell(PVS_EV_GUEST, 0, PVS_NEED_VALID, kTask);
    tell(PVS_EV_SLEEP, work, PVS_NEED_VALID | PVS_NEED_IDLE, 0, true);
  }
  // Beats of a period, until it is known.
  void learn(__u64 period, __u64 work) {
    for (int i = 0; i < 2 * PVS_BEAT_SURE; ++i) beat(period, work);
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

TEST(Policies, audio_boosts_a_beat_only_when_it_would_be_late) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  LONGS_EQUAL(2 * kMs, state.word[BEAT_PERIOD]);
  LONGS_EQUAL(500 * kUs, state.word[BEAT_WORK]);
  const __u64 due = event.now + kMs + 500 * kUs;
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_WAKING, due - event.now, PVS_NEED_VALID | PVS_NEED_IDLE));
  LONGS_EQUAL(due + 2 * kMs - 500 * kUs - 500 * kUs, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_SWITCH_IN, 100 * kUs, PVS_NEED_VALID));
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_PREEMPTED, 200 * kUs, PVS_NEED_VALID, kTask, true));
  LONGS_EQUAL(due + 2 * kMs - 500 * kUs - 300 * kUs, wish.at);  // it has done a part
  tell(PVS_EV_TIMER, wish.at - event.now, PVS_NEED_VALID, kTask);
  LONGS_EQUAL(kTask, wish.body);
  tell(PVS_EV_SWITCH_IN, 50 * kUs, PVS_NEED_VALID, kTask);
  tell(PVS_EV_GUEST, 200 * kUs, PVS_NEED_VALID, kTask, true);
  LONGS_EQUAL(kTask, wish.body);  // to its end
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_SLEEP, 100 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE, 0, true));
}

TEST(Policies, audio_boosts_what_comes_between_only_if_the_guest_is_critical) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  tell(PVS_EV_SLEEP, 10 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_WAKING, 400 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE));
  LONGS_EQUAL(state.word[BEAT_BEGAN] + 2 * kMs, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_PREEMPTED, 10 * kUs, PVS_NEED_VALID | PVS_NEED_CRITICAL));
  LONGS_EQUAL(2 * kMs, state.word[BEAT_PERIOD]);
}

TEST(Policies, audio_knows_when_a_beat_is_due_while_the_vcpu_waits) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  const __u64 due = event.now - 500 * kUs + 2 * kMs;
  event.now = due - 300 * kUs;
  tell(PVS_EV_PREEMPTED, 0, PVS_NEED_VALID | PVS_NEED_IDLE);
  LONGS_EQUAL(due, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE,
              tell(PVS_EV_TIMER, wish.at + 8 * kUs - event.now, PVS_NEED_VALID | PVS_NEED_IDLE));
  LONGS_EQUAL(due + kUs + 2 * kMs - 500 * kUs - 500 * kUs, wish.at);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_INJECT, 50 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_TIMER, wish.at - event.now, PVS_NEED_VALID | PVS_NEED_IDLE));
  tell(PVS_EV_GUEST, 40 * kUs, PVS_NEED_VALID, kTask, true);
  LONGS_EQUAL(kTask, wish.body);
  LONGS_EQUAL(2 * kMs, (state.word[BEAT_PERIOD] + 500) / 1000 * 1000);
}

TEST(Policies, audio_is_as_latency_after_a_late_beat) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  tell(PVS_EV_WAKING, kMs + 500 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE);
  tell(PVS_EV_SWITCH_IN, 2 * kMs + 1, PVS_NEED_VALID, kTask);
  LONGS_EQUAL(0, state.word[BEAT_FLAGS] & BEAT_SURE_MASK);
  tell(PVS_EV_SLEEP, 100 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_WAKING, 300 * kUs, PVS_NEED_VALID | PVS_NEED_IDLE));
}

TEST(Policies, audio_keeps_its_period_where_beats_are_not_seen) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  event.now += 6 * kMs;
  beat(2 * kMs, 500 * kUs);
  LONGS_EQUAL(2 * kMs, state.word[BEAT_PERIOD]);
  LONGS_EQUAL(PVS_BEAT_SURE, state.word[BEAT_FLAGS] & BEAT_SURE_MASK);
}

TEST(Policies, audio_follows_a_new_period) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
  event.now += kMs;
  for (int i = 0; i < 3 * PVS_BEAT_SURE; ++i) beat(3 * kMs, 500 * kUs);
  LONGS_EQUAL(3 * kMs, state.word[BEAT_PERIOD]);
  CHECK((state.word[BEAT_FLAGS] & BEAT_SURE_MASK) >= PVS_BEAT_TRUSTED);
}

TEST(Policies, audio_learns_from_halts_where_there_is_no_driver) {
  policy = pvs_policy_audio;
  for (int i = 0; i < 2 * PVS_BEAT_SURE; ++i) {
    tell(PVS_EV_WAKING, kMs + 600 * kUs);
    tell(PVS_EV_SWITCH_IN, 100 * kUs);
    tell(PVS_EV_SLEEP, 300 * kUs, 0, 0, true);
  }
  LONGS_EQUAL(2 * kMs, state.word[BEAT_PERIOD]);
  LONGS_EQUAL(300 * kUs, state.word[BEAT_WORK]);
  LONGS_EQUAL(PVSCHED_CLASS_BASELINE, tell(PVS_EV_WAKING, kMs + 600 * kUs));
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, tell(PVS_EV_TIMER, wish.at - event.now));
}

TEST(Policies, audio_lets_go_of_a_guest_whose_word_is_bad) {
  policy = pvs_policy_audio;
  learn(2 * kMs, 500 * kUs);
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
