// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * darma_fault: makes a Linux kernel fail, or misbehave for a while, on command.
 *
 * Test equipment only. Darma needs nothing of it: a stock kernel fails in these ways by itself,
 * only not when asked. Each line written to /proc/darma_fault is one act; reading the file lists
 * the words:
 *
 *	WORD [NUMBER]		does it
 *	provoke WORD SEED	does it for the fault campaign: the nanokernel is told the moment
 *	mark CODE		tells the nanokernel a point in time
 *	beat			tells the nanokernel that user space lives
 *
 * Acts that end the kernel never return. Acts that may end it return when they are done; whether
 * the kernel still lives then is what the campaign wants to know.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "fault.h"

#define LINE_ROOM	64

static const struct act *const tables[] = {
	death_acts, hang_acts, corruption_acts, processor_acts, device_acts, trespass_acts,
	storm_acts,
};

static const struct act *find(const char *word)
{
	const struct act *act;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (act = tables[i]; act->word; act++)
			if (!strcmp(word, act->word))
				return act;
	return NULL;
}

static int perform(char *rest)
{
	bool provoke = false;
	unsigned long number = 0;
	const struct act *act;
	char *word = strsep(&rest, " ");

	if (!strcmp(word, "provoke") && rest) {
		provoke = true;
		word = strsep(&rest, " ");
	}
	if (rest && kstrtoul(rest, 0, &number))
		return -EINVAL;
	if (!strcmp(word, "mark")) {
		fault_mark(number);
		return 0;
	}
	if (!strcmp(word, "beat")) {
		fault_beat();
		return 0;
	}
	act = find(word);
	if (!act)
		return -ENOENT;
	if (!provoke && act->counted != !!rest)
		return -EINVAL;
	fault_seed(number);
	if (provoke)
		fault_mark(MARK_CRASH_IMMINENT);
	return act->run(number);
}

static ssize_t fault_write(struct file *file, const char __user *text, size_t length, loff_t *at)
{
	char line[LINE_ROOM];
	int error;

	if (length >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, length))
		return -EFAULT;
	line[length] = '\0';
	error = perform(strim(line));
	return error ? error : length;
}

static int fault_show(struct seq_file *out, void *unused)
{
	const struct act *act;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (act = tables[i]; act->word; act++)
			seq_printf(out, "%s%s\n", act->word, act->counted ? " N" : "");
	return 0;
}

static int fault_open(struct inode *inode, struct file *file)
{
	return single_open(file, fault_show, NULL);
}

static const struct proc_ops fault_ops = {
	.proc_open = fault_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = fault_write,
};

static int __init fault_init(void)
{
	return proc_create("darma_fault", 0600, NULL, &fault_ops) ? 0 : -ENOMEM;
}

static void __exit fault_exit(void)
{
	remove_proc_entry("darma_fault", NULL);
}

module_init(fault_init);
module_exit(fault_exit);
MODULE_DESCRIPTION("Makes the kernel fail on command, for testing what survives it");
MODULE_LICENSE("Dual MIT/GPL");
