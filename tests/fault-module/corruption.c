// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Corruption: bits that change in memory that the kernel relies on. Many such faults do nothing,
 * for most of memory is read seldom; those that do something do it late and anywhere.
 *
 * How many bits are flipped is drawn too, by powers of two, so that a class holds the single flip
 * of a particle as well as the trail of a driver run wild.
 */
#include <linux/crash_core.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/io.h>
#include <asm/pgtable.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>

#include "fault.h"

#define STALE		256		/* objects that are written after they were freed */
#define TABLE_ENTRIES	512
#define TABLE_LEVELS	4
#define ADDRESS_BITS	52
#define LOG2_FLIPS_MAX	10

/* 1, 2, 4 .. 1024 */
static unsigned int flips(void)
{
	return 1U << fault_below(LOG2_FLIPS_MAX + 1);
}

/* Flips a bit of a byte of RAM that may be mapped read-only, through a mapping of its own. */
static int flip_read_only(unsigned long physical)
{
	struct page *page = pfn_to_page(physical >> PAGE_SHIFT);
	u8 *mapped = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	if (!mapped)
		return -ENOMEM;
	mapped[physical & ~PAGE_MASK] ^= 1 << fault_below(8);
	vunmap(mapped);
	return 0;
}

static int flip_between(const char *first, const char *end)
{
	unsigned long from = fault_symbol(first), to = fault_symbol(end);
	unsigned int left = flips();
	int error = 0;

	if (!from || to <= from)
		return -ENOENT;
	while (left-- && !error)
		error = flip_read_only(__pa_symbol(from + fault_below(to - from)));
	return error;
}

static int flip_text(unsigned long unused)
{
	return flip_between("_stext", "_etext");
}

static int flip_data(unsigned long unused)
{
	return fault_below(2) ? flip_between("_sdata", "_edata") :
				flip_between("__bss_start", "__bss_stop");
}

static int flip_rodata(unsigned long unused)
{
	return flip_between("__start_rodata", "__end_rodata");
}

/* Bits of stacks in use: of a process that waits, from where it stopped up to its stack's end. */
static int flip_stack(unsigned long unused)
{
	unsigned int left = flips(), tasks = 0, chosen;
	struct task_struct *task;

	rcu_read_lock();
	for_each_process(task)
		tasks++;
	while (left--) {
		chosen = fault_below(tasks);
		for_each_process(task) {
			unsigned long from, to;

			if (chosen--)
				continue;
			from = task == current ? current_stack_pointer : task->thread.sp;
			to = (unsigned long)task_stack_page(task) + THREAD_SIZE;
			if (from < to && to - from <= THREAD_SIZE)
				*(u8 *)(from + fault_below(to - from)) ^= 1 << fault_below(8);
			break;
		}
	}
	rcu_read_unlock();
	return 0;
}

/* An entry in use of a table, or any if none is found in use. */
static unsigned int entry_in_use(const unsigned long *table)
{
	unsigned int entry, tries = 16 * TABLE_ENTRIES;

	do
		entry = fault_below(TABLE_ENTRIES);
	while (!(table[entry] & _PAGE_PRESENT) && --tries);
	return entry;
}

/* Bits of entries in use: from the table in CR3 down to a level drawn for each. */
static int flip_page_table(unsigned long unused)
{
	unsigned int left = flips();

	while (left--) {
		unsigned long *table = phys_to_virt(read_cr3_pa());
		unsigned int levels = fault_below(TABLE_LEVELS);
		unsigned int entry = entry_in_use(table);

		while (levels--) {
			unsigned long value = table[entry];

			/* A large page ends the walk, and so does an entry that was flipped before. */
			if (!(value & _PAGE_PRESENT) || (value & _PAGE_PSE) ||
			    !pfn_valid((value & PTE_PFN_MASK) >> PAGE_SHIFT))
				break;
			table = phys_to_virt(value & PTE_PFN_MASK);
			entry = entry_in_use(table);
		}
		table[entry] ^= 1UL << fault_below(ADDRESS_BITS);
	}
	write_cr3(__read_cr3());
	return 0;
}

static int use_after_free(unsigned long unused)
{
	static u64 *stale[STALE];
	static size_t size[STALE];
	unsigned int i;

	for (i = 0; i < STALE; i++) {
		size[i] = 32UL << fault_below(7);
		stale[i] = kmalloc(size[i], GFP_KERNEL);
	}
	for (i = 0; i < STALE; i++)
		kfree(stale[i]);
	for (i = 0; i < STALE; i++)
		if (stale[i])
			stale[i][fault_below(size[i] / sizeof(u64))] = fault_random();
	return 0;
}

/* All of memory, page by page from a place drawn, until it hits what this loop stands on. */
static int memory_scribble(unsigned long unused)
{
	unsigned long pages = fault_pages(), at, done, i;

	if (!pages)
		return -ENOENT;
	at = fault_below(pages);
	if (fault_below(2))
		local_irq_disable();
	for (done = 0; done < pages; done++, at = (at + 1) % pages) {
		u64 *words;

		if (!pfn_valid(at) || PageReserved(pfn_to_page(at)))
			continue;
		words = pfn_to_kaddr(at);
		for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
			words[i] = fault_random();
	}
	return 0;
}

/* The kernel's log and its keys are destroyed, and then it dies: what is left to report? */
static int log_destroyed(unsigned long unused)
{
	char *(*address)(void) = (void *)fault_symbol("log_buf_addr_get");
	u32 (*length)(void) = (void *)fault_symbol("log_buf_len_get");
	u32 i;
	char *log;

	if (!address || !length)
		return -ENOENT;
	log = address();
	for (i = 0; i < length(); i++)
		log[i] = fault_random();
	panic("darma_fault: panic with a destroyed log");
}

static int vmcoreinfo_destroyed(unsigned long unused)
{
	u8 *note = phys_to_virt(paddr_vmcoreinfo_note());
	unsigned int i;

	for (i = 0; i < VMCOREINFO_NOTE_SIZE; i++)
		note[i] = fault_random();
	panic("darma_fault: panic with a destroyed VMCOREINFO");
}

const struct act corruption_acts[] = {
	{ "flip-text", flip_text, true },
	{ "flip-rodata", flip_rodata, true },
	{ "flip-data", flip_data, true },
	{ "flip-stack", flip_stack, true },
	{ "flip-page-table", flip_page_table, true },
	{ "use-after-free", use_after_free, true },
	{ "memory-scribble", memory_scribble, true },
	{ "log-destroyed", log_destroyed, true },
	{ "vmcoreinfo-destroyed", vmcoreinfo_destroyed, true },
	{ }
};
