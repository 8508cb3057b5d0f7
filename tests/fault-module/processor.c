// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The processor's own registers and the machine's ports, written without sense from ring 0.
 *
 * Ports that mean the machine's regular end are left out: a power-off is obeyed, not survived. The
 * emulator's own, which would end it, are not: they are the nanokernel's, and closed.
 */
#include <linux/io.h>
#include <linux/kernel.h>
#include <asm/msr.h>
#include <asm/special_insns.h>

#include "fault.h"

#define MSR_WRITES	512
#define CONTROL_WRITES	16
#define PORT_WRITES	4096
#define POWER_FIRST	0x600	/* ACPI's event and control registers on the q35 chip set */
#define POWER_LAST	0x607

static int msr_fuzz(unsigned long unused)
{
	/* Bases that are dense with registers: the architecture's, the APIC's, and AMD's three. */
	static const u32 bases[] = { 0, 0x100, 0x200, 0x400, 0x800, 0xc0000000, 0xc0000080,
				     0xc0000100, 0xc0010000, 0xc0010100, 0xc0011000 };
	unsigned int i;
	u64 value;

	for (i = 0; i < MSR_WRITES; i++) {
		u32 msr = bases[fault_below(ARRAY_SIZE(bases))] + fault_below(0x120);

		if (rdmsrl_safe(msr, &value) || fault_below(2))
			value = fault_random();
		else
			value ^= 1ULL << fault_below(64);
		wrmsrl_safe(msr, value);
	}
	return 0;
}

static int control_register_fuzz(unsigned long unused)
{
	unsigned long value;
	unsigned int i;

	for (i = 0; i < CONTROL_WRITES; i++) {
		switch (fault_below(5)) {
		case 0:
			value = read_cr0() ^ 1UL << fault_below(32);
			asm volatile("mov %0, %%cr0" : : "r"(value) : "memory");
			break;
		case 1:
			value = __read_cr3() ^ 1UL << fault_below(40);
			asm volatile("mov %0, %%cr3" : : "r"(value) : "memory");
			break;
		case 2:
			asm volatile("mov %%cr4, %0" : "=r"(value));
			value ^= 1UL << fault_below(26);
			asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
			break;
		case 3:
			asm volatile("mov %0, %%cr8" : : "r"(fault_below(16)) : "memory");
			break;
		default:
			asm volatile("mov %0, %%dr7" : : "r"(fault_random() & 0xffff07ff));
			break;
		}
	}
	return 0;
}

static int port_fuzz(unsigned long unused)
{
	unsigned int i;

	for (i = 0; i < PORT_WRITES; i++) {
		/* Half of them where a PC has its devices, half anywhere. */
		u16 port = fault_below(2) ? fault_below(0x1000) : fault_below(0x10000);
		u32 value = fault_random();

		if (port >= POWER_FIRST - 3 && port <= POWER_LAST)
			continue;
		switch (fault_below(3)) {
		case 0:
			outb(value, port);
			break;
		case 1:
			outw(value, port);
			break;
		default:
			outl(value, port);
			break;
		}
	}
	return 0;
}

const struct act processor_acts[] = {
	{ "msr-fuzz", msr_fuzz, true },
	{ "cr-fuzz", control_register_fuzz, true },
	{ "port-fuzz", port_fuzz, true },
	{ }
};
