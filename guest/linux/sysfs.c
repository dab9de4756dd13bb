// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attributes of the device: pvsched/ for the device as a whole, cpuN/ for what
 * a CPU tells and what the host decided for it. ABI/ describes each.
 */
#include <linux/cpu.h>
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "pvsched.h"

static const char *name_of(const char *const *names, size_t nr, u32 value)
{
	return value < nr && names[value] ? names[value] : "unknown";
}

/* Each attribute of the device is shown under the lock. */
#define DEVICE_SHOW(attr, ...)                                                 \
	static ssize_t attr##_show(struct device *dev,                         \
				   struct device_attribute *unused, char *buf) \
	{                                                                      \
		const struct pvs_device *pvs;                                  \
		ssize_t len = -ENODEV;                                         \
                                                                               \
		mutex_lock(&pvs_lock);                                         \
		pvs = dev_get_drvdata(dev);                                    \
		if (pvs)                                                       \
			len = sysfs_emit(buf, __VA_ARGS__);                    \
		mutex_unlock(&pvs_lock);                                       \
		return len;                                                    \
	}                                                                      \
	static DEVICE_ATTR_RO(attr)

static const char *const transports[] = { "none", "bar", "gpa" };
static const char *const results[] = {
	"none", "ok", "waiting", "not-negotiated", "bad-gpa", "unknown",
};

DEVICE_SHOW(status, "%#x\n", pvs_read(pvs, PVSCHED_REG_DRIVER_STATUS));
DEVICE_SHOW(features, "%#llx\n", pvs->features);
DEVICE_SHOW(host_status, "%#x\n", pvs->host_status);
DEVICE_SHOW(generation, "%u\n", pvs->generation);
DEVICE_SHOW(slots, "%u\n", pvs->nr_slots);
DEVICE_SHOW(guest_errors, "%u\n", pvs_read(pvs, PVSCHED_REG_GUEST_ERRORS));
DEVICE_SHOW(policy_name, "%s\n", pvs->policy);
DEVICE_SHOW(policy_version, "%u\n", pvs->policy_version);
DEVICE_SHOW(bound, "%d\n", pvs->bound);
DEVICE_SHOW(transport, "%s\n",
	    name_of(transports, ARRAY_SIZE(transports), pvs->transport));
DEVICE_SHOW(transport_result, "%s\n",
	    name_of(results, ARRAY_SIZE(results), pvs->result));

static ssize_t hooks_show(struct device *dev, struct device_attribute *unused,
			  char *buf)
{
	ssize_t len;

	mutex_lock(&pvs_lock);
	len = pvs_hooks_show(buf);
	mutex_unlock(&pvs_lock);
	return len;
}
static DEVICE_ATTR_RO(hooks);

static struct attribute *device_attrs[] = { &dev_attr_status.attr,
					    &dev_attr_features.attr,
					    &dev_attr_host_status.attr,
					    &dev_attr_generation.attr,
					    &dev_attr_slots.attr,
					    &dev_attr_guest_errors.attr,
					    &dev_attr_policy_name.attr,
					    &dev_attr_policy_version.attr,
					    &dev_attr_bound.attr,
					    &dev_attr_transport.attr,
					    &dev_attr_transport_result.attr,
					    &dev_attr_hooks.attr,
					    NULL };

static const struct attribute_group device_group = {
	.name = "pvsched",
	.attrs = device_attrs,
};

const struct attribute_group *pvs_groups[] = { &device_group, NULL };

/* One folder for each possible CPU. */
struct cpu_folder {
	struct kobject kobj;
	unsigned int cpu;
};

static struct cpu_folder **folders;

static unsigned int cpu_of(struct kobject *kobj)
{
	return container_of(kobj, struct cpu_folder, kobj)->cpu;
}

#define STATE(kobj) pvs_cpu_state(cpu_of(kobj))
#define PLACE(kobj) pvs_cpu_placement(cpu_of(kobj))

#define CPU_SHOW(attr, ...)                                                  \
	static ssize_t attr##_show(struct kobject *kobj,                     \
				   struct kobj_attribute *unused, char *buf) \
	{                                                                    \
		return sysfs_emit(buf, __VA_ARGS__);                         \
	}                                                                    \
	static struct kobj_attribute cpu_##attr = __ATTR_RO(attr)

static const char *const classes[] = { "baseline", "task", "critical",
				       "yield" };
static const char *const policies[] = {
	[PVSCHED_SCHED_OTHER] = "other", [PVSCHED_SCHED_FIFO] = "fifo",
	[PVSCHED_SCHED_RR] = "rr",	 [PVSCHED_SCHED_BATCH] = "batch",
	[PVSCHED_SCHED_IDLE] = "idle",	 [PVSCHED_SCHED_DEADLINE] = "deadline",
};

CPU_SHOW(slot, "%d\n", (int)pvs_cpu_slot(cpu_of(kobj)));
CPU_SHOW(intent, "%#018llx\n", pvs_cpu_intent(cpu_of(kobj)));
CPU_SHOW(class, "%s\n",
	 name_of(classes, ARRAY_SIZE(classes),
		 STATE(kobj) >> PVSCHED_STATE_CLASS_SHIFT & 0xff));
CPU_SHOW(policy, "%s\n",
	 name_of(policies, ARRAY_SIZE(policies),
		 STATE(kobj) >> PVSCHED_STATE_POLICY_SHIFT & 0xff));
CPU_SHOW(nice, "%d\n", (s8)(u8)(STATE(kobj) >> PVSCHED_STATE_NICE_SHIFT));
CPU_SHOW(rt, "%u\n", (u8)(STATE(kobj) >> PVSCHED_STATE_RT_SHIFT));
CPU_SHOW(flags, "%#x\n", (u8)(STATE(kobj) >> PVSCHED_STATE_FLAGS_SHIFT));
CPU_SHOW(host_cpu, "%u\n", (u16)(PLACE(kobj) >> PVSCHED_PLACEMENT_CPU_SHIFT));
CPU_SHOW(host_node, "%u\n", (u16)(PLACE(kobj) >> PVSCHED_PLACEMENT_NODE_SHIFT));
CPU_SHOW(placement, "%#x\n",
	 (u8)(PLACE(kobj) >> PVSCHED_PLACEMENT_FLAGS_SHIFT));

static const char *placement_name(u64 word)
{
	u8 flags = word >> PVSCHED_PLACEMENT_FLAGS_SHIFT;

	if (!(flags & PVSCHED_PLACEMENT_VALID))
		return "unknown";
	if (flags & PVSCHED_PLACEMENT_RUNNING)
		return "running";
	return flags & PVSCHED_PLACEMENT_PREEMPTED ? "preempted" : "halted";
}

CPU_SHOW(host_state, "%s\n", placement_name(PLACE(kobj)));

static struct attribute *cpu_attrs[] = {
	&cpu_slot.attr,	      &cpu_intent.attr,	   &cpu_class.attr,
	&cpu_policy.attr,     &cpu_nice.attr,	   &cpu_rt.attr,
	&cpu_flags.attr,      &cpu_host_cpu.attr,  &cpu_host_node.attr,
	&cpu_host_state.attr, &cpu_placement.attr, NULL
};
ATTRIBUTE_GROUPS(cpu);

static void cpu_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct cpu_folder, kobj));
}

static const struct kobj_type cpu_type = {
	.sysfs_ops = &kobj_sysfs_ops,
	.release = cpu_release,
	.default_groups = cpu_groups,
};

void pvs_cpus_remove(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		if (folders && folders[cpu])
			kobject_put(&folders[cpu]->kobj);
	}
	kfree(folders);
	folders = NULL;
}

int pvs_cpus_add(struct pvs_device *pvs)
{
	struct device *dev = &pvs->pdev->dev;
	unsigned int cpu;
	int ret = -ENOMEM;

	folders = kcalloc(nr_cpu_ids, sizeof(*folders), GFP_KERNEL);
	if (!folders)
		goto fail;
	for_each_possible_cpu(cpu) {
		struct cpu_folder *f = kzalloc(sizeof(*f), GFP_KERNEL);

		ret = -ENOMEM;
		if (!f)
			goto fail;
		f->cpu = cpu;
		folders[cpu] = f;
		ret = kobject_init_and_add(&f->kobj, &cpu_type, &dev->kobj,
					   "cpu%u", cpu);
		if (ret)
			goto fail;
	}
	return 0;

fail:
	dev_err(dev, "no folders for the CPUs: %pe\n", ERR_PTR(ret));
	pvs_cpus_remove();
	return ret;
}
