// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For guests with a periodic deadline. It learns the period of the wake-ups
 * after which the guest has something urgent, and the run time that this takes
 * until it is done: a beat. A beat has until the next one. The vCPU runs as the
 * ordinary thread that it is while that suffices, and is boosted as soon as it
 * has to wait though what is left of the beat would just be done in time. So a
 * boost costs as much budget as the load makes necessary, and what is not
 * urgent costs none. A beat that is late all the same, or a task that is no
 * such one, and it is as `latency` until a period is known again.
 *
 * Urgent is what the guest's tasks ask for; without a driver, all from a
 * wake-up to the next halt.
 */
#include "pvsched/policy_interface.h"
#include "reasons.h"

#define PVS_BEAT_PERIOD_MIN_NS 500000ull    /* 0.5 ms */
#define PVS_BEAT_PERIOD_MAX_NS 100000000ull /* 100 ms */
#define PVS_BEAT_MARGIN_NS \
	100000ull	       /* done so long before the next, or a
					quarter of the period, if that is more */
#define PVS_BEAT_SKIPPED_MAX 8 /* that may pass without being seen */
#define PVS_BEAT_SURE 8
#define PVS_BEAT_TRUSTED 4

/* Words 0 and 1 of the state are those of reasons.h. */
#define BEAT_WOKEN 2  /* time of the wake-up that the beat begins with */
#define BEAT_BEGAN 3  /* the same of the last beat that was one */
#define BEAT_PERIOD 4 /* ns */
#define BEAT_WORK 5   /* run time of a beat, ns */
#define BEAT_RAN 6    /* of this one so far */
#define BEAT_FLAGS 7  /* how sure it is of the period in 0..7, and */

#define BEAT_SURE_MASK 0xffull
#define BEAT_ON 0x100ull     /* one is under way, or may be */
#define BEAT_ASKED 0x200ull  /* and the guest has asked: it is one */
#define BEAT_URGENT 0x400ull /* and cannot wait */

static __always_inline __u64 distance(__u64 a, __u64 b)
{
	return a > b ? a - b : b - a;
}

/* The time nearest to `when` at which a beat is due; 0: none is. */
static __always_inline __u64 due_at(const struct pvs_policy_state *state,
				    __u64 when)
{
	__u64 period = state->word[BEAT_PERIOD],
	      began = state->word[BEAT_BEGAN];
	__u64 count = period ? (when - began + period / 2) / period : 0;
	__u64 due = began + count * period;

	if (!count || count > PVS_BEAT_SKIPPED_MAX ||
	    distance(when, due) >= period / 4)
		return 0;
	return due;
}

/* A beat began at `when`: how sure does that make of the period? */
static __always_inline void learn(struct pvs_policy_state *state, __u64 when)
{
	__u64 gap = when - state->word[BEAT_BEGAN];
	__u64 sure = state->word[BEAT_FLAGS] & BEAT_SURE_MASK;
	__u64 period = state->word[BEAT_PERIOD];

	if (gap < PVS_BEAT_PERIOD_MIN_NS)
		return;
	state->word[BEAT_FLAGS] &= ~BEAT_SURE_MASK;
	if (sure && due_at(state, when)) {
		if (gap < period + period / 2)
			state->word[BEAT_PERIOD] =
				period - period / 8 + gap / 8;
		sure += sure < PVS_BEAT_SURE;
	} else if (sure) {
		sure--;
	} else if (gap <= PVS_BEAT_PERIOD_MAX_NS) {
		state->word[BEAT_PERIOD] = gap;
		sure = 1;
	}
	state->word[BEAT_BEGAN] = when;
	state->word[BEAT_FLAGS] |= sure;
}

/* The beat is done, or was none. */
static __always_inline void end(struct pvs_policy_state *state)
{
	__u64 ran = state->word[BEAT_RAN], work = state->word[BEAT_WORK];

	if (state->word[BEAT_FLAGS] & BEAT_ASKED) {
		work -= work / 16;
		state->word[BEAT_WORK] = ran > work ? ran : work;
	}
	state->word[BEAT_FLAGS] &= BEAT_SURE_MASK;
	state->word[BEAT_WOKEN] = 0;
}

/*
 * Does a beat begin, or may it? A wake-up tells when. Where the vCPU waits for a
 * CPU at that time or runs, what tells of it may come late: then it is taken to
 * have begun when it was due.
 */
static __always_inline int begins(const struct pvs_policy_event *event,
				  struct pvs_policy_state *state, int asked)
{
	int woken = !!(event->events & PVS_EVENT(PVS_EV_WAKING));
	int injected = !!(event->events & PVS_EVENT(PVS_EV_INJECT));
	__u64 seen = event->now - event->ran, due;

	if (event->run == PVS_RUN_SLEEPING)
		state->word[BEAT_WOKEN] = 0;
	else if (woken || (injected && !state->word[BEAT_WOKEN]))
		state->word[BEAT_WOKEN] = event->now;
	if (asked && due_at(state, state->word[BEAT_WOKEN]))
		seen = state->word[BEAT_WOKEN];
	due = due_at(state, seen);
	if (due && !woken && seen > due &&
	    (asked || event->run == PVS_RUN_WAITING))
		seen = due + (seen - due) / 8;
	else if (!asked && !(due && (woken || injected)))
		return 0;
	if (due || !state->word[BEAT_WOKEN])
		state->word[BEAT_WOKEN] = seen;
	return 1;
}

/* One event in the life of a beat. */
static __always_inline void follow(const struct pvs_policy_event *event,
				   struct pvs_policy_state *state, int asked)
{
	if (state->word[BEAT_FLAGS] & BEAT_ON) {
		state->word[BEAT_RAN] += event->ran;
	} else {
		if (!begins(event, state, asked))
			return;
		state->word[BEAT_FLAGS] |= BEAT_ON;
		state->word[BEAT_RAN] = 0;
	}
	if (asked && !(state->word[BEAT_FLAGS] & BEAT_ASKED)) {
		state->word[BEAT_FLAGS] |= BEAT_ASKED;
		learn(state, state->word[BEAT_WOKEN]);
	}
	if (!asked && ((state->word[BEAT_FLAGS] & BEAT_ASKED) ||
		       event->run == PVS_RUN_SLEEPING))
		end(state);
	else if (event->now >
		 state->word[BEAT_WOKEN] + state->word[BEAT_PERIOD])
		state->word[BEAT_FLAGS] &= ~BEAT_SURE_MASK; /* late */
}

/* When a beat is due that nothing tells of while the vCPU waits. */
static __always_inline __u64 next_due(const struct pvs_policy_state *state,
				      __u64 now)
{
	__u64 period = state->word[BEAT_PERIOD],
	      began = state->word[BEAT_BEGAN];
	__u64 count = period ? (now - began) / period + 1 : 0;

	if (!count || count > PVS_BEAT_SKIPPED_MAX)
		return PVS_NEVER;
	return began + count * period;
}

/* The time from which on a beat under way cannot wait any more. */
static __always_inline __u64 latest(const struct pvs_policy_state *state)
{
	__u64 period = state->word[BEAT_PERIOD], margin = period / 4;
	__u64 work = state->word[BEAT_WORK], ran = state->word[BEAT_RAN];

	if (margin < PVS_BEAT_MARGIN_NS)
		margin = PVS_BEAT_MARGIN_NS;
	margin += work > ran ? work - ran : 0;
	return state->word[BEAT_WOKEN] +
	       (period > margin ? period - margin : 0);
}

PVS_POLICY(audio, "2.1", 2, "periodic deadlines: boosts what would be late")
{
	int valid = !!(event->need & PVS_NEED_VALID);
	int asked = valid ? !!event->task : event->run != PVS_RUN_SLEEPING;
	__u32 boost = event->task ? event->task : event->critical;

	pvs_reasons_update(event, state);
	if (event->need & PVS_NEED_BAD)
		return;
	follow(event, state, asked);
	wish->fallback = event->task;
	if ((state->word[BEAT_FLAGS] & BEAT_SURE_MASK) < PVS_BEAT_TRUSTED) {
		if ((event->need & PVS_NEED_CRITICAL) || pvs_reasons(state))
			wish->body = event->critical;
		else
			wish->body = event->task;
		pvs_reasons_bound(event, state, wish);
		return;
	}
	wish->kick = 1;
	wish->quiet = PVS_EVENT(PVS_EV_GUEST);
	if (!(state->word[BEAT_FLAGS] & BEAT_ON)) {
		if (event->need & PVS_NEED_CRITICAL)
			wish->body = event->critical;
		if (event->run == PVS_RUN_WAITING)
			wish->at = next_due(state, event->now);
		return;
	}
	if (event->now >= latest(state))
		state->word[BEAT_FLAGS] |= BEAT_URGENT;
	if (state->word[BEAT_FLAGS] & BEAT_URGENT)
		wish->body = boost;
	else if (event->run == PVS_RUN_WAITING)
		wish->at = latest(state);
}
