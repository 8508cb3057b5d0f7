// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Storms: acts that return, with a count of how often or a number of milliseconds.
 *
 * A storm does the same small thing again and again with preemption on and interrupts on: it is
 * aimed at the layer below, which sees an exit for each, not at Linux's own scheduler.
 */
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/tsc.h>

#include "fault.h"

#define BREATHE_EVERY	1024UL		/* acts between two looks at the scheduler */
#define IO_APIC_BASE	0xfec00000UL	/* where every PC has its first I/O APIC */

static void breathe(unsigned long done)
{
	if (done % BREATHE_EVERY == 0)
		cond_resched();
}

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

const struct act storm_acts[] = {
	{ "cli-busy", cli_busy, true },
	{ "hlt-storm", hlt_storm, true },
	{ "port-storm", port_storm, true },
	{ "mmio-storm", mmio_storm, true },
	{ "wbinvd", wbinvd_storm, true },
	{ "cpuid-storm", cpuid_storm, true },
	{ "msr-storm", msr_storm, true },
	{ "probe", probe, true },
	{ }
};
