// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Chance, and addresses of what the kernel keeps to itself.
 *
 * The kernel exports no look-up of symbols to modules. A probe may be placed by name, though, and
 * a registered probe knows its address: one probe on the look-up function finds all others.
 */
#include <linux/kprobes.h>

#include "fault.h"

static u64 state;

void fault_seed(u64 seed)
{
	state = seed;
}

u64 fault_random(void)
{
	u64 mixed;

	state += 0x9e3779b97f4a7c15ULL;
	mixed = state;
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
	return mixed ^ (mixed >> 31);
}

u64 fault_below(u64 limit)
{
	return fault_random() % limit;
}

unsigned long fault_symbol(const char *name)
{
	static unsigned long (*look_up)(const char *name);
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };

	if (!look_up) {
		if (register_kprobe(&probe))
			return 0;
		look_up = (void *)probe.addr;
		unregister_kprobe(&probe);
	}
	return look_up(name);
}

unsigned long fault_pages(void)
{
	const unsigned long *max_pfn = (void *)fault_symbol("max_pfn");

	return max_pfn ? *max_pfn : 0;
}
