// SPDX-License-Identifier: GPL-2.0-or-later
/* Command line: words of the form key=value; README.md lists them. */
#include "mini.h"

struct params params = {
	.source = "hpet",
	.transport = PVSCHED_TRANSPORT_BAR,
	.features = (u32)PVSCHED_F_ALL,
	.period_us = 2000,
	.samples = 250,
	.rounds = 1,
	.work_us = 100,
	.prio = 50,
	.flap_us = 10,
	.smp = 1,
	.seed = 1,
	.doorbell = true,
};

static const struct {
	const char *key;
	u32 *value;
	u32 min, max;
} numbers[] = {
	{ "period_us", &params.period_us, 100, 40000 },
	{ "samples", &params.samples, 0, MAX_SAMPLES },
	{ "rounds", &params.rounds, 0, ~0u },
	{ "work_us", &params.work_us, 1, 1000000 },
	{ "prio", &params.prio, PVSCHED_RT_MIN, PVSCHED_RT_MAX },
	{ "flap_us", &params.flap_us, 1, 1000000 },
	{ "smp", &params.smp, 1, MAX_CPUS },
	{ "seed", &params.seed, 1, ~0u },
	{ "features", &params.features, 0, ~0u },
	{ "debug_exit", &params.debug_exit, 0, 0xffff },
};

static const struct {
	const char *key;
	bool *value;
	const char *yes, *no;
} switches[] = {
	{ "doorbell", &params.doorbell, "yes", "no" },
	{ "wait", &params.wait, "yes", "no" },
	{ "print", &params.print_each, "each", "summary" },
	{ "areas", &params.areas_wait, "wait", "any" },
	{ "quit", &params.quit, "yes", "no" },
};

static const char *const sources[] = { "hpet", "pit", "rtc" };
static const char *const transports[] = { "none", "bar", "gpa" };

/* Is the text from word up to end the same as text? */
bool word_is(const char *word, const char *end, const char *text)
{
	while (word < end && *text && *word == *text) {
		word++;
		text++;
	}
	return word == end && !*text;
}

/* Decimal or 0x…; *end is set behind the last digit. */
u32 parse_u32(const char *s, const char **end)
{
	u32 base = 10, val = 0;

	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		u32 digit = (u8)*s - '0';

		if (digit > 9 && base == 16)
			digit = ((u8)*s | 0x20) - 'a' + 10;
		if (digit >= base || ((u8)*s | 0x20) < '0')
			break;
		val = val * base + digit;
	}
	if (end)
		*end = s;
	return val;
}

static bool set_value(const char *key, const char *eq, const char *end)
{
	const char *value = eq + 1;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *rest;
		u32 n;

		if (!word_is(key, eq, numbers[i].key))
			continue;
		n = parse_u32(value, &rest);
		if (rest != end || rest == value || n < numbers[i].min ||
		    n > numbers[i].max)
			return false;
		*numbers[i].value = n;
		return true;
	}
	for (i = 0; i < ARRAY_SIZE(switches); i++) {
		if (!word_is(key, eq, switches[i].key))
			continue;
		*switches[i].value = word_is(value, end, switches[i].yes);
		return *switches[i].value ||
		       word_is(value, end, switches[i].no);
	}
	if (word_is(key, eq, "scenario")) {
		const struct scenario *s = scenario_find(value, end);

		if (s)
			params.scenario = s;
		return s;
	}
	if (word_is(key, eq, "source")) {
		for (i = 0; i < ARRAY_SIZE(sources); i++) {
			if (!word_is(value, end, sources[i]))
				continue;
			params.source = sources[i];
			return true;
		}
	}
	if (word_is(key, eq, "transport")) {
		for (i = 0; i < ARRAY_SIZE(transports); i++) {
			if (!word_is(value, end, transports[i]))
				continue;
			params.transport = i;
			return true;
		}
	}
	return false;
}

/* A word without '=' is the file name that the loader puts first. */
void params_parse(const char *cmdline)
{
	const char *word = cmdline, *end;

	params.scenario = scenario_find("busy", (const char *)0);
	while (*word) {
		const char *eq = (const char *)0;

		while (*word == ' ')
			word++;
		for (end = word; *end && *end != ' '; end++) {
			if (*end == '=' && !eq)
				eq = end;
		}
		if (eq && !set_value(word, eq, end)) {
			out("{\"event\":\"error\",\"text\":\"bad parameter\","
			    "\"at\":%u}\n",
			    (u32)(word - cmdline));
		}
		word = end;
	}
	if (params.scenario->no_driver)
		params.transport = PVSCHED_TRANSPORT_NONE;
}
