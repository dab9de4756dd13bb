// SPDX-License-Identifier: GPL-2.0-or-later
/* One round of samples, and what is said about it when it is over. */
#include "mini.h"

#define PER_LINE 50

struct round round;

static s32 lat[MAX_SAMPLES], start[MAX_SAMPLES], end[MAX_SAMPLES];

static s32 clamp_ticks(s64 ticks)
{
	return ticks > INT32_MAX ? INT32_MAX :
	       ticks < INT32_MIN ? INT32_MIN :
				   (s32)ticks;
}

/* Called with interrupts off. */
void round_sample(s64 ticks)
{
	if (!round.active || round.full)
		return;
	lat[round.n++] = clamp_ticks(ticks);
	if (round.n == round.want)
		round.full = true;
}

void round_task_start(u64 expiry, u64 now)
{
	if (round.active && round.started < round.want)
		start[round.started++] = clamp_ticks((s64)(now - expiry));
}

void round_task_end(u64 expiry, u64 now)
{
	if (round.active && round.ended < round.want)
		end[round.ended++] = clamp_ticks((s64)(now - expiry));
}

static void sift(s32 *v, u32 root, u32 n)
{
	s32 val = v[root];
	u32 child;

	while ((child = 2 * root + 1) < n) {
		if (child + 1 < n && v[child + 1] > v[child])
			child++;
		if (v[child] <= val)
			break;
		v[root] = v[child];
		root = child;
	}
	v[root] = val;
}

static void sort(s32 *v, u32 n)
{
	u32 i;

	for (i = n / 2; i-- > 0;)
		sift(v, i, n);
	for (i = n; i-- > 1;) {
		s32 last = v[i];

		v[i] = v[0];
		v[0] = last;
		sift(v, 0, i);
	}
}

static s32 percentile(const s32 *v, u32 n, u32 per_cent)
{
	u32 rank = (n * per_cent + 99) / 100;

	return v[rank ? rank - 1 : 0];
}

static void out_values(const char *prefix, s32 *v, u32 n)
{
	const char *const names[] = { "min", "p50", "p99", "max" };
	u32 i;

	if (!n)
		return;
	sort(v, n);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		s32 ticks = i == 0 ? v[0] :
			    i == 3 ? v[n - 1] :
				     percentile(v, n, i == 1 ? 50 : 99);

		if (ticks < 0)
			ticks = 0; /* within the error bound */
		out(",\"%s%s\":%d,\"%s%s_ns\":%llu", prefix, names[i], ticks,
		    prefix, names[i], tsc_to_ns((u64)ticks));
	}
}

static void out_each(void)
{
	u32 i, j;

	for (i = 0; i < round.n; i += PER_LINE) {
		out("{\"event\":\"lat\",\"round\":%u,\"n\":%u,\"tsc\":[",
		    round.number, i);
		for (j = i; j < round.n && j < i + PER_LINE; j++)
			out("%s%d", j == i ? "" : ",", lat[j]);
		out("]}\n");
	}
}

void round_begin(u32 samples)
{
	struct cpu *cpu = &cpus[0];
	u32 number = round.number + 1;

	memset(&round, 0, sizeof(round));
	round.number = number;
	round.want = samples ? samples : ENDLESS_ROUND;
	if (round.want > MAX_SAMPLES)
		round.want = MAX_SAMPLES;
	round.begin = rdtsc();
	round.work_begin = cpu->work;
	round.doorbells = cpu->doorbells;
	round.boosted = cpu->boosted;
	round.throttled_critical = cpu->throttled_critical;
	round.throttled_total = cpu->throttled_total;
	round.config_irqs = pvsched.config_irqs;
	round.active = true;
	clock_start();
}

/* The RTC knows its phase only from the best tick. */
static void from_best_tick(void)
{
	s32 best = INT32_MAX;
	u32 i;

	for (i = 0; i < round.n; i++) {
		if (lat[i] < best)
			best = lat[i];
	}
	for (i = 0; i < round.n; i++)
		lat[i] -= best;
}

void round_finish(void)
{
	u64 elapsed = rdtsc() - round.begin;
	struct cpu *cpu = &cpus[0];

	clock_stop();
	round.active = false;
	round.full = false;
	if (params.source[0] == 'r')
		from_best_tick();
	if (params.print_each)
		out_each();
	out("{\"event\":\"summary\",\"round\":%u,\"scenario\":\"%s\","
	    "\"samples\":%u,\"unsure\":%u,\"spurious\":%u,\"bound_ns\":%llu,"
	    "\"elapsed_us\":%llu,\"work\":%u",
	    round.number, params.scenario->name, round.n, round.unsure,
	    round.spurious, tsc_to_ns(round.bound),
	    div64(tsc_to_ns(elapsed), 1000, NULL),
	    cpu->work - (u32)round.work_begin);
	out_values("", lat, round.n);
	out_values("start_", start, round.started);
	out_values("end_", end, round.ended);
	out(",\"doorbells\":%u,\"config_irqs\":%u,\"boosted_seen\":%u,"
	    "\"throttled_seen\":%u,\"critical_throttled\":%u,"
	    "\"total_throttled\":%u}\n",
	    cpu->doorbells - round.doorbells,
	    pvsched.config_irqs - round.config_irqs,
	    cpu->boosted - round.boosted,
	    cpu->throttled_critical - round.throttled_critical +
		    cpu->throttled_total - round.throttled_total,
	    cpu->throttled_critical - round.throttled_critical,
	    cpu->throttled_total - round.throttled_total);
}
