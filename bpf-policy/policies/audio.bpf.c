// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For guests with a periodic deadline. It learns the period of the vCPU's
 * interrupts, raises the vCPU shortly before the next one is due and holds it
 * until that has been dealt with. What comes at another time is boosted only
 * if the guest itself says that it is urgent, so it costs less budget than
 * `latency`. Until a period is known it is as `agentless`.
 *
 * State: words 0 and 1 as in reasons.h, 2 time of the last interrupt, 3 the
 * period in ns, 4 how sure it is of that, 0 to PVS_AUDIO_SURE.
 */
#include "pvsched/policy_interface.h"
#include "reasons.h"

#define PVS_AUDIO_PERIOD_MIN_NS 500000ull    /* 0.5 ms */
#define PVS_AUDIO_PERIOD_MAX_NS 100000000ull /* 100 ms */
#define PVS_AUDIO_LEAD_NS 200000ull	     /* raised so long before */
#define PVS_AUDIO_SURE 8
#define PVS_AUDIO_TRUSTED 4

static __always_inline __u64 distance(__u64 a, __u64 b)
{
	return a > b ? a - b : b - a;
}

/* One interrupt: is it the next of the period? */
static __always_inline void learn(const struct pvs_policy_event *event,
				  struct pvs_policy_state *state)
{
	__u64 gap = event->now - state->word[2];
	__u64 period = state->word[3], sure = state->word[4];

	/* The same one told twice, or one between two of the period. */
	if (gap < PVS_AUDIO_PERIOD_MIN_NS || (sure && gap < period / 2))
		return;
	state->word[2] = event->now;
	if (gap > PVS_AUDIO_PERIOD_MAX_NS) {
		state->word[4] = 0;
		return;
	}
	if (sure && distance(gap, period) < period / 4) {
		state->word[3] = period - period / 8 + gap / 8;
		if (sure < PVS_AUDIO_SURE)
			state->word[4] = sure + 1;
		return;
	}
	state->word[4] = sure ? sure - 1 : 1;
	if (!sure)
		state->word[3] = gap;
}

PVS_POLICY(audio, "1.0", 1, "periodic deadlines: boosts ahead of the next")
{
	__u64 due;
	int ahead, asked;

	if (event->events & PVS_EVENT(PVS_EV_INJECT))
		learn(event, state);
	pvs_reasons_update(event, state);
	if (event->need & PVS_NEED_BAD)
		return;
	asked = (event->need & PVS_NEED_CRITICAL) || event->task;
	wish->fallback = event->task;
	wish->kick = 1;
	if (state->word[4] < PVS_AUDIO_TRUSTED) {
		if (asked || pvs_reasons(state))
			wish->body = event->critical;
		pvs_reasons_bound(event, state, wish);
		return;
	}
	due = state->word[2] + state->word[3];
	ahead = event->now + PVS_AUDIO_LEAD_NS >= due &&
		event->now < due + state->word[3];
	if (asked || ahead || event->now < state->word[2] + event->hold)
		wish->body = event->critical;
	if (!ahead)
		wish->at = due - PVS_AUDIO_LEAD_NS;
	wish->after_run = event->hold;
	wish->quiet = PVS_EVENT(PVS_EV_GUEST);
}
