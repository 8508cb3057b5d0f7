// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * darma_fault: makes a Linux kernel fail, or misbehave for a while, on command.
 *
 * Test equipment only. Darma needs nothing of it: a stock kernel fails in these ways by itself,
 * only not when asked. Each word written to /proc/darma_fault is one act; reading the file lists
 * the words. The words that end the kernel never return; those with a count run that often (or
 * that many milliseconds) in the writing process and then return.
 *
 * A storm does the same small thing again and again with preemption on and interrupts on: it is
 * aimed at the layer below, which sees an exit for each, not at Linux's own scheduler.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/irqflags.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/tsc.h>

#define LINE_ROOM	64
#define BREATHE_EVERY	1024UL		/* acts between two looks at the scheduler */
#define IO_APIC_BASE	0xfec00000UL	/* where every PC has its first I/O APIC */

static void breathe(unsigned long done)
{
	if (done % BREATHE_EVERY == 0)
		cond_resched();
}

/* ---- acts that end the kernel ---- */

static int null_deref(unsigned long unused)
{
	/* Volatile and hidden from the compiler, which would otherwise emit an undefined opcode. */
	volatile unsigned long *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	*nowhere = 1;
	return 0;
}

static int plain_panic(unsigned long unused)
{
	panic("darma_fault: panic on command");
}

static int triple_fault(unsigned long unused)
{
	const struct desc_ptr empty = { .size = 0, .address = 0 };

	local_irq_disable();
	load_idt(&empty);
	asm volatile("int3");
	return 0;
}

static int cli_hlt(unsigned long unused)
{
	local_irq_disable();
	for (;;)
		asm volatile("hlt" : : : "memory");
	return 0;
}

static int cli_spin(unsigned long unused)
{
	local_irq_disable();
	for (;;)
		barrier();
	return 0;
}

/* ---- acts that return ---- */

static int cli_busy(unsigned long milliseconds)
{
	u64 until = rdtsc_ordered() + (u64)tsc_khz * milliseconds;
	unsigned long flags;

	local_irq_save(flags);
	while ((s64)(rdtsc_ordered() - until) < 0)
		barrier();
	local_irq_restore(flags);
	return 0;
}

static int hlt_storm(unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		asm volatile("sti; hlt" : : : "memory");
	return 0;
}

static int port_storm(unsigned long count)
{
	unsigned long i;

	/* Reads without side effects: PCI address latch, keyboard controller's status. */
	for (i = 0; i < count; i++) {
		inl(0xcf8);
		inb(0x64);
		breathe(i);
	}
	return 0;
}

static int mmio_storm(unsigned long count)
{
	void __iomem *io_apic = ioremap(IO_APIC_BASE, PAGE_SIZE);
	unsigned long i;

	if (!io_apic)
		return -ENOMEM;
	/* The index register only: reading it disturbs nobody who is between index and data. */
	for (i = 0; i < count; i++) {
		readl(io_apic);
		breathe(i);
	}
	iounmap(io_apic);
	return 0;
}

static int wbinvd_storm(unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		wbinvd();
		breathe(i);
	}
	return 0;
}

static int cpuid_storm(unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		cpuid_eax(0);
		breathe(i);
	}
	return 0;
}

static int msr_storm(unsigned long count)
{
	unsigned long i;
	u64 value;

	for (i = 0; i < count; i++) {
		if (rdmsrl_safe(MSR_IA32_APICBASE, &value))
			return -EIO;
		breathe(i);
	}
	return 0;
}

/* Touches a physical address that this kernel does not own: the partition has to hold. */
static int probe(unsigned long address)
{
	void __iomem *page = ioremap(address & PAGE_MASK, PAGE_SIZE);
	void __iomem *word;
	u32 before, after;

	if (!page)
		return -EINVAL;
	word = page + (address & ~PAGE_MASK & ~3UL);
	before = readl(word);
	writel(~before, word);
	after = readl(word);
	pr_info("darma_fault: probe %#lx read %#x, after writing %#x read %#x\n",
		address, before, ~before, after);
	iounmap(page);
	return 0;
}

static const struct act {
	const char *word;
	int (*run)(unsigned long count);
	bool counted;
} acts[] = {
	{ "null-deref", null_deref, false },
	{ "panic", plain_panic, false },
	{ "triple-fault", triple_fault, false },
	{ "cli-hlt", cli_hlt, false },
	{ "cli-spin", cli_spin, false },
	{ "cli-busy", cli_busy, true },
	{ "hlt-storm", hlt_storm, true },
	{ "port-storm", port_storm, true },
	{ "mmio-storm", mmio_storm, true },
	{ "wbinvd", wbinvd_storm, true },
	{ "cpuid-storm", cpuid_storm, true },
	{ "msr-storm", msr_storm, true },
	{ "probe", probe, true },
};

static ssize_t fault_write(struct file *file, const char __user *text, size_t length, loff_t *at)
{
	char line[LINE_ROOM];
	char *rest = line, *word;
	unsigned long count = 0;
	int error;
	size_t i;

	if (length >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, length))
		return -EFAULT;
	line[length] = '\0';
	rest = strim(line);
	word = strsep(&rest, " ");

	for (i = 0; i < ARRAY_SIZE(acts); i++) {
		if (strcmp(word, acts[i].word))
			continue;
		if (acts[i].counted != !!rest)
			return -EINVAL;
		if (rest && kstrtoul(rest, 0, &count))
			return -EINVAL;
		error = acts[i].run(count);
		return error ? error : length;
	}
	return -ENOENT;
}

static int fault_show(struct seq_file *out, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(acts); i++)
		seq_printf(out, "%s%s\n", acts[i].word, acts[i].counted ? " N" : "");
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
