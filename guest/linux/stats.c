// SPDX-License-Identifier: GPL-2.0-only
/*
 * Statistics in debugfs: pvsched/stats, one line for each CPU, and
 * pvsched/enable. Off, they cost a no-op in each hook.
 */
#include <linux/debugfs.h>
#include <linux/jump_label.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "intent.h"
#include "pvsched.h"

DEFINE_PER_CPU(struct pvs_stats, pvs_stats);
DEFINE_STATIC_KEY_FALSE(pvs_stats_on);

static const char *const names[PVS_NR_STATS] = {
	[PVS_STAT_STORES] = "stores",
	[PVS_STAT_UNCHANGED] = "unchanged",
	[PVS_STAT_REMOTE] = "remote",
	[PVS_STAT_DOORBELLS] = "doorbells",
	[PVS_STAT_SWITCHES] = "switches",
	[PVS_STAT_WAKEUPS] = "wakeups",
	[PVS_STAT_IRQS] = "irqs",
	[PVS_STAT_SOFTIRQS] = "softirqs",
	[PVS_STAT_NMIS] = "nmis",
	[PVS_STAT_PREEMPT_OFFS] = "preempt_offs",
	[PVS_STAT_USER_ENTRIES] = "user_entries",
};

static int stats_show(struct seq_file *m, void *unused)
{
	unsigned int cpu, i;

	for_each_online_cpu(cpu) {
		const struct pvs_stats *s = per_cpu_ptr(&pvs_stats, cpu);

		seq_printf(m, "cpu%u", cpu);
		for (i = 0; i < PVS_NR_STATS; i++)
			seq_printf(m, " %s=%llu", names[i],
				   READ_ONCE(s->count[i]));
		seq_putc(m, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static ssize_t enable_read(struct file *file, char __user *buf, size_t len,
			   loff_t *pos)
{
	const char *text = static_key_enabled(&pvs_stats_on) ? "1\n" : "0\n";

	return simple_read_from_buffer(buf, len, pos, text, 2);
}

static ssize_t enable_write(struct file *file, const char __user *buf,
			    size_t len, loff_t *pos)
{
	bool on;
	int ret = kstrtobool_from_user(buf, len, &on);

	if (ret)
		return ret;
	if (on)
		static_branch_enable(&pvs_stats_on);
	else
		static_branch_disable(&pvs_stats_on);
	return len;
}

static const struct file_operations enable_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = enable_read,
	.write = enable_write,
	.llseek = default_llseek,
};

static struct dentry *folder;

void pvs_stats_init(void)
{
	folder = debugfs_create_dir("pvsched", NULL);
	debugfs_create_file("stats", 0400, folder, NULL, &stats_fops);
	debugfs_create_file("enable", 0600, folder, NULL, &enable_fops);
}

void pvs_stats_exit(void)
{
	debugfs_remove(folder);
}
