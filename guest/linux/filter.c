// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which needs are told to the host: parameters, all writable at run time.
 * A task that is filtered out is told as an ordinary one, SCHED_OTHER nice 0.
 *
 * The hooks read a filter under RCU (interrupts are off there). There are two:
 * one in force, one to fill; parameters are serialised by the kernel's own lock.
 */
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>
#include <linux/string.h>

#include "intent.h"
#include "pvsched.h"

#define MAX_COMMS 16

struct filter {
	u32 allow;
	int rt_min;	       /* told from this rt priority on */
	int nice_max;	       /* told up to this nice */
	unsigned int nr_comms; /* 0: all */
	char comms[MAX_COMMS][TASK_COMM_LEN];
};

#define ALLOW_ALL                                             \
	(PVS_ALLOW_RT | PVS_ALLOW_NICE | PVS_ALLOW_CRITICAL | \
	 PVS_ALLOW_PENDING | PVS_ALLOW_IDLE)

static const struct pvs_word allow_words[] = {
	{ "rt", PVS_ALLOW_RT },
	{ "nice", PVS_ALLOW_NICE },
	{ "task", PVS_ALLOW_RT | PVS_ALLOW_NICE },
	{ "critical", PVS_ALLOW_CRITICAL },
	{ "pending", PVS_ALLOW_PENDING },
	{ "idle", PVS_ALLOW_IDLE },
	{ "all", ALLOW_ALL },
	{},
};

static struct filter filters[2] = {
	{ .allow = ALLOW_ALL, .rt_min = 1, .nice_max = MAX_NICE },
};
static struct filter __rcu *in_force = (struct filter __rcu *)&filters[0];

static struct filter *filter_now(void)
{
	return rcu_dereference_protected(in_force, true); /* parameters' lock */
}

/* A copy of the filter in force, to change and then put in force. */
static struct filter *filter_next(void)
{
	struct filter *now = filter_now();
	struct filter *next = &filters[now == &filters[0]];

	*next = *now;
	return next;
}

static void filter_put(struct filter *next)
{
	rcu_assign_pointer(in_force, next);
	synchronize_rcu();
	pvs_rebind();
}

u32 pvs_allowed(void)
{
	u32 allow;

	rcu_read_lock();
	allow = rcu_dereference(in_force)->allow;
	rcu_read_unlock();
	return allow;
}

static bool comm_is_told(const struct filter *f, const struct task_struct *p)
{
	unsigned int i;

	for (i = 0; i < f->nr_comms; i++) {
		if (!strncmp(f->comms[i], p->comm, TASK_COMM_LEN))
			return true;
	}
	return !f->nr_comms;
}

/* Interrupts are off. */
bool pvs_task_is_told(const struct task_struct *p)
{
	const struct filter *f = rcu_dereference_sched(in_force);
	int prio = READ_ONCE(p->prio);

	if (prio >= MAX_RT_PRIO) {
		if (!(f->allow & PVS_ALLOW_NICE) ||
		    PRIO_TO_NICE(prio) > f->nice_max)
			return false;
	} else if (!(f->allow & PVS_ALLOW_RT) ||
		   (prio >= 0 && MAX_RT_PRIO - 1 - prio < f->rt_min)) {
		return false;
	}
	return comm_is_told(f, p);
}

int pvs_words_parse(const char *val, const struct pvs_word *words, u32 *bits)
{
	u32 all = 0;

	while (*val) {
		size_t len = strcspn(val, ", \n");
		const struct pvs_word *w;

		for (w = words; len && w->name; w++) {
			if (strlen(w->name) == len &&
			    !strncmp(w->name, val, len))
				break;
		}
		if (len && !w->name)
			return -EINVAL;
		if (len)
			all |= w->bits;
		val += len + !!val[len];
	}
	*bits = all;
	return 0;
}

/* Words of one bit only: others are shorthands. */
int pvs_words_show(char *buf, const struct pvs_word *words, u32 bits)
{
	int len = 0;

	for (; words->name; words++) {
		if (is_power_of_2(words->bits) && words->bits & bits)
			len += sysfs_emit_at(buf, len, "%s%s", len ? "," : "",
					     words->name);
	}
	return len + sysfs_emit_at(buf, len, "\n");
}

static int allow_set(const char *val, const struct kernel_param *kp)
{
	struct filter *next = filter_next();
	int ret = pvs_words_parse(val, allow_words, &next->allow);

	if (!ret)
		filter_put(next);
	return ret;
}

static int allow_get(char *buf, const struct kernel_param *kp)
{
	return pvs_words_show(buf, allow_words, filter_now()->allow);
}

static int number(const char *val, int min, int max, int *out)
{
	int ret = kstrtoint(val, 0, out);

	if (ret)
		return ret;
	return *out < min || *out > max ? -ERANGE : 0;
}

static int rt_min_set(const char *val, const struct kernel_param *kp)
{
	struct filter *next = filter_next();
	int ret = number(val, 1, 100, &next->rt_min);

	if (!ret)
		filter_put(next);
	return ret;
}

static int rt_min_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", filter_now()->rt_min);
}

static int nice_max_set(const char *val, const struct kernel_param *kp)
{
	struct filter *next = filter_next();
	int ret = number(val, MIN_NICE - 1, MAX_NICE, &next->nice_max);

	if (!ret)
		filter_put(next);
	return ret;
}

static int nice_max_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", filter_now()->nice_max);
}

static int comms_set(const char *val, const struct kernel_param *kp)
{
	struct filter *next = filter_next();

	next->nr_comms = 0;
	memset(next->comms, 0, sizeof(next->comms));
	while (*val) {
		size_t len = strcspn(val, ",\n");

		if (len >= TASK_COMM_LEN)
			return -ENAMETOOLONG;
		if (len && next->nr_comms == MAX_COMMS)
			return -E2BIG;
		if (len)
			memcpy(next->comms[next->nr_comms++], val, len);
		val += len + !!val[len];
	}
	filter_put(next);
	return 0;
}

static int comms_get(char *buf, const struct kernel_param *kp)
{
	const struct filter *f = filter_now();
	unsigned int i;
	int len = 0;

	for (i = 0; i < f->nr_comms; i++)
		len += sysfs_emit_at(buf, len, "%s%s", i ? "," : "",
				     f->comms[i]);
	return len + sysfs_emit_at(buf, len, "\n");
}

#define FILTER_PARAM(name)                                  \
	static const struct kernel_param_ops name##_ops = { \
		.set = name##_set,                          \
		.get = name##_get,                          \
	};                                                  \
	module_param_cb(name, &name##_ops, NULL, 0644)

FILTER_PARAM(allow);
MODULE_PARM_DESC(
	allow,
	"needs to tell: rt, nice, task (both), critical, pending, idle, all");
FILTER_PARAM(rt_min);
MODULE_PARM_DESC(rt_min, "real-time tasks are told from this priority on, "
			 "1..99; 100: only SCHED_DEADLINE");
FILTER_PARAM(nice_max);
MODULE_PARM_DESC(nice_max, "nice is told up to this value, -21..19");
FILTER_PARAM(comms);
MODULE_PARM_DESC(comms, "only tasks with these names are told (up to 16, by "
			"commas); empty: all");
